//! The frames between a controller and an agent: a length (u32, big-endian) over what follows, one byte of kind, and the
//! payload. Knows the shapes, not their meaning.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::host::wire::{Answer, Call, HostError, Reply, Secret, tame};
use crate::model::ids::Digest;

/// No frame is longer than this.
pub const MAX: usize = 16 * 1024 * 1024;
/// Data are cut into pieces of at most this size.
pub const PIECE: usize = 256 * 1024;
/// So many bytes of one upload may be under way without the agent having taken them: its memory is bounded by this, and
/// a slow disk under one root does not stop the frames of another.
pub const WINDOW: u64 = 8 * 1024 * 1024;
/// Where frames are packed, those that are longer than this.
const WORTH: usize = 1024;
/// The fastest that still halves source text: the wire is slower than this, the disk is not.
pub const FAST: i32 = 1;
/// For what is small as a whole: a tenth smaller, at half the speed.
pub const TIGHT: i32 = 3;
/// The kind of a frame with a piece of an upload: the call, then the bytes.
pub const DATA: u8 = 2;
/// The kind of a frame that holds another one, compressed.
const PACKED: u8 = 6;
/// The same as [`DATA`] with compressed bytes: the call stands before them, so that they are the same for every host.
pub const PACKED_DATA: u8 = 11;
/// The version of frames and operations. An agent of another version is another binary: it is put beside, not talked to.
pub const PROTOCOL: u32 = 11;

/// The first frame of an agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    pub protocol: u32,
    /// `soll 0.1.0`.
    pub version: String,
    /// The path of the agent's own binary: where it was put by digest, the name says which one it is.
    pub binary: String,
    /// How this agent can be reached again when the stream is lost; `None`: it ends with it.
    #[serde(default)]
    pub session: Option<Resumable>,
}

/// A session that outlives its stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Resumable {
    /// Where it is found. Every user of the host can see it.
    pub name: String,
    /// By this the two know each other there ([`super::challenge`]). It goes over the first stream and nowhere else.
    pub key: Secret,
}

/// One frame.
#[derive(Debug)]
pub enum Frame {
    Call(Box<Call>),
    /// A piece of what follows a call; an empty one gives the call up.
    Data {
        call: u64,
        bytes: Vec<u8>,
    },
    Answer(Box<Answer>),
    Hello(Hello),
    /// So many bytes of the upload were taken: as many more may be sent.
    Credit {
        call: u64,
        bytes: u64,
    },
    /// The first frame on a new stream to an agent whose old one was lost: a number that nobody could foresee.
    Challenge(String),
    /// The agent's answer: its proof that it is the one, and a number of its own.
    Proof {
        number: String,
        proof: Digest,
    },
    /// The controller's answer to that: its proof, and the calls that wait for an answer.
    Resume {
        proof: Digest,
        waiting: Vec<u64>,
    },
    /// Its answer: those of them that the agent knows. Answers that are ready follow; the others have to be sent again.
    Resumed(Vec<u64>),
    /// These answers arrived: nobody will ask for them again.
    Got(Vec<u64>),
    /// There is no more to come. From a controller: it is done, and did not just vanish. Instead of [`Frame::Resumed`]:
    /// the agent that was asked for is gone.
    Bye,
}

impl Frame {
    /// The bytes for the wire, length and kind included.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        let mut out = vec![0; 5];
        let kind = match self {
            Frame::Call(call) => json(&mut out, call, 1)?,
            Frame::Data { call, bytes } => {
                out.extend(call.to_be_bytes());
                out.extend(bytes);
                DATA
            }
            Frame::Answer(answer) => json(&mut out, answer, 3)?,
            Frame::Hello(hello) => json(&mut out, hello, 4)?,
            Frame::Credit { call, bytes } => {
                out.extend(call.to_be_bytes());
                out.extend(bytes.to_be_bytes());
                5
            }
            Frame::Challenge(number) => json(&mut out, number, 12)?,
            Frame::Proof { number, proof } => json(&mut out, &(number, proof), 13)?,
            Frame::Resume { proof, waiting } => json(&mut out, &(proof, waiting), 7)?,
            Frame::Resumed(calls) => json(&mut out, calls, 8)?,
            Frame::Got(calls) => json(&mut out, calls, 9)?,
            Frame::Bye => 10,
        };
        let head = head(out.len() - 4)?;
        out[..4].copy_from_slice(&head);
        out[4] = kind;
        Ok(out)
    }

    /// The same, compressed where that makes it shorter: for a wire that is slower than a processor.
    pub fn encode_packed(&self) -> io::Result<Vec<u8>> {
        let plain = self.encode()?;
        if plain.len() < WORTH {
            return Ok(plain);
        }
        let packed = zstd::bulk::compress(&plain[4..], FAST)?;
        if packed.len() + 1 >= plain.len() - 4 {
            return Ok(plain);
        }
        framed(PACKED, &packed)
    }

    /// Whether these are the bytes of a packed frame, without its length.
    pub fn is_packed(body: &[u8]) -> bool {
        matches!(body.first(), Some(&(PACKED | PACKED_DATA)))
    }

    /// From kind and payload, as they follow the length.
    pub fn decode(body: &[u8]) -> io::Result<Frame> {
        // Never longer than a frame may be: a few bytes that claim to be a gigabyte are none of ours.
        let unpack = |packed: &[u8]| {
            zstd::bulk::decompress(packed, MAX).map_err(|error| bad(&format!("a packed frame: {error}")))
        };
        match body.split_first() {
            Some((&PACKED, packed)) => Frame::decode_plain(&unpack(packed)?),
            Some((&PACKED_DATA, payload)) => {
                let (call, packed) = number(payload)?;
                Ok(Frame::Data { call, bytes: unpack(packed)? })
            }
            _ => Frame::decode_plain(body),
        }
    }

    fn decode_plain(body: &[u8]) -> io::Result<Frame> {
        let (kind, payload) = body.split_first().ok_or_else(|| bad("a frame without a kind"))?;
        match kind {
            1 => Ok(Frame::Call(serde_json::from_slice(payload)?)),
            &DATA => {
                let (call, bytes) = number(payload)?;
                Ok(Frame::Data { call, bytes: bytes.to_vec() })
            }
            3 => Ok(Frame::Answer(tamed(payload)?)),
            4 => Ok(Frame::Hello(tamed(payload)?)),
            5 => {
                let (call, rest) = number(payload)?;
                let (bytes, _) = number(rest)?;
                Ok(Frame::Credit { call, bytes })
            }
            7 => {
                let (proof, waiting) = serde_json::from_slice(payload)?;
                Ok(Frame::Resume { proof, waiting })
            }
            8 => Ok(Frame::Resumed(serde_json::from_slice(payload)?)),
            9 => Ok(Frame::Got(serde_json::from_slice(payload)?)),
            10 => Ok(Frame::Bye),
            12 => Ok(Frame::Challenge(serde_json::from_slice(payload)?)),
            13 => {
                let (number, proof) = serde_json::from_slice(payload)?;
                Ok(Frame::Proof { number, proof })
            }
            other => Err(bad(&format!("a frame of the unknown kind {other}"))),
        }
    }

    /// Reads one frame, and whether it came packed; `None` at a clean end.
    pub fn read(from: &mut impl Read) -> io::Result<Option<(Frame, bool)>> {
        let mut head = [0; 4];
        let mut have = 0;
        while have < 4 {
            match from.read(&mut head[have..]) {
                Ok(0) if have == 0 => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => have += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut body = vec![0; length(head)?];
        from.read_exact(&mut body)?;
        Ok(Some((Frame::decode(&body)?, Frame::is_packed(&body))))
    }

    /// Writes one frame and flushes.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&self.encode()?)?;
        to.flush()
    }
}

/// A frame of this kind.
fn framed(kind: u8, payload: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(5 + payload.len());
    out.extend(head(1 + payload.len())?);
    out.push(kind);
    out.extend(payload);
    Ok(out)
}

/// So many bytes go before those of a piece of an upload.
pub const DATA_HEAD: usize = 4 + 1 + 8;

/// What goes before a piece of an upload: length, kind, call.
///
/// # Errors
/// It is too long for a frame.
pub fn data_head(kind: u8, call: u64, length: usize) -> io::Result<[u8; DATA_HEAD]> {
    let mut out = [0; DATA_HEAD];
    out[..4].copy_from_slice(&head(DATA_HEAD - 4 + length)?);
    out[4] = kind;
    out[5..].copy_from_slice(&call.to_be_bytes());
    Ok(out)
}

fn head(length: usize) -> io::Result<[u8; 4]> {
    if length > MAX {
        let text = format!("a message of {length} bytes is more than the {MAX} that a frame may have");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(u32::try_from(length).map_err(io::Error::other)?.to_be_bytes())
}

/// The length of what follows a head, refused where it is too long to be a frame of ours.
pub fn length(head: [u8; 4]) -> io::Result<usize> {
    match usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX) {
        0 => Err(bad("an empty frame")),
        long if long > MAX => {
            Err(bad(&format!("a frame of {long} bytes: something else than an agent is talking here")))
        }
        length => Ok(length),
    }
}

fn json<T: Serialize>(out: &mut Vec<u8>, value: &T, kind: u8) -> io::Result<u8> {
    serde_json::to_writer(out, value)?;
    Ok(kind)
}

/// What an operation of this process gives, as it would arrive from another one: of a bounded length, its texts for the eyes
/// of people.
///
/// # Errors
/// Those of the operation; it gives more than a frame may have.
pub fn arrived(result: Result<Reply, HostError>) -> Result<Reply, HostError> {
    let failed = |error: io::Error| HostError::Io(format!("the answer cannot be used: {error}"));
    let payload = serde_json::to_vec(&result).map_err(|error| failed(error.into()))?;
    head(1 + payload.len()).map_err(failed)?;
    if tame::is_calm(&payload) { result } else { tamed(&payload).map_err(failed)? }
}

/// What an agent says: its texts are for the eyes of people.
fn tamed<T: serde::de::DeserializeOwned>(payload: &[u8]) -> io::Result<T> {
    if tame::is_calm(payload) {
        return Ok(serde_json::from_slice(payload)?);
    }
    let mut value = serde_json::from_slice(payload)?;
    tame::answer(&mut value);
    Ok(serde_json::from_value(value)?)
}

fn number(payload: &[u8]) -> io::Result<(u64, &[u8])> {
    let (head, rest) = payload.split_first_chunk::<8>().ok_or_else(|| bad("a frame that ends too early"))?;
    Ok((u64::from_be_bytes(*head), rest))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::wire::Op;

    #[test]
    fn frames_come_back_as_they_went() {
        let call = Call { id: 7, root: "/srv/app".to_owned(), op: Op::Ping };
        let mut wire = Vec::new();
        Frame::Call(Box::new(call)).write(&mut wire).unwrap();
        Frame::Data { call: 7, bytes: vec![1, 2, 3] }.write(&mut wire).unwrap();
        Frame::Credit { call: 7, bytes: 3 }.write(&mut wire).unwrap();
        let proof = Digest::of(b"proof");
        Frame::Challenge("0a".to_owned()).write(&mut wire).unwrap();
        Frame::Proof { number: "0b".to_owned(), proof }.write(&mut wire).unwrap();
        Frame::Resume { proof, waiting: vec![7, 9] }.write(&mut wire).unwrap();
        Frame::Resumed(vec![9]).write(&mut wire).unwrap();
        Frame::Got(vec![7]).write(&mut wire).unwrap();
        Frame::Bye.write(&mut wire).unwrap();
        let mut wire = wire.as_slice();
        let mut next = || Frame::read(&mut wire).unwrap();
        assert!(matches!(next(), Some((Frame::Call(call), false)) if call.id == 7 && call.root == "/srv/app"));
        assert!(matches!(next(), Some((Frame::Data { call: 7, bytes }, false)) if bytes == [1, 2, 3]));
        assert!(matches!(next(), Some((Frame::Credit { call: 7, bytes: 3 }, false))));
        assert!(matches!(next(), Some((Frame::Challenge(number), false)) if number == "0a"));
        assert!(
            matches!(next(), Some((Frame::Proof { number, proof: same }, false)) if number == "0b" && same == proof)
        );
        assert!(
            matches!(next(), Some((Frame::Resume { proof: same, waiting }, false)) if same == proof && waiting == [7, 9])
        );
        assert!(matches!(next(), Some((Frame::Resumed(calls), false)) if calls == [9]));
        assert!(matches!(next(), Some((Frame::Got(calls), false)) if calls == [7]));
        assert!(matches!(next(), Some((Frame::Bye, false))));
        assert!(next().is_none());
    }

    #[test]
    fn packed_frames_come_back_as_they_went_and_are_bounded() {
        let frame = Frame::Data { call: 7, bytes: b"<?php echo 1;\n".repeat(1000) };
        let wire = frame.encode_packed().unwrap();
        assert!(wire.len() * 10 < frame.encode().unwrap().len(), "{}", wire.len());
        let Some((Frame::Data { call: 7, bytes }, true)) = Frame::read(&mut wire.as_slice()).unwrap() else {
            panic!("something else came back")
        };
        assert_eq!(bytes.len(), 14_000);
        // Short ones, and what does not get shorter, stay as they are.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let noise = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[3]
        });
        let noise: Vec<u8> = noise.take(5000).collect();
        for bytes in [vec![0; 100], noise] {
            let frame = Frame::Data { call: 7, bytes };
            assert_eq!(frame.encode_packed().unwrap(), frame.encode().unwrap());
        }
        let bomb = zstd::bulk::compress(&vec![2; MAX + 1], 1).unwrap();
        assert!(Frame::decode(&[&[PACKED], &*bomb].concat()).is_err());
        assert!(Frame::decode(&[PACKED, 1, 2, 3]).is_err());
        let nested = zstd::bulk::compress(&[&[PACKED], &*wire].concat(), 1).unwrap();
        assert!(Frame::decode(&[&[PACKED], &*nested].concat()).is_err(), "one inside another");
    }

    #[test]
    fn rubbish_is_an_error_and_allocates_nothing() {
        let shell_noise = b"bash: warning: setlocale\n";
        assert!(Frame::read(&mut shell_noise.as_slice()).is_err());
        for bad in [
            &[0, 0, 0, 0][..],
            &[0, 0, 0, 1, 9],
            &[0, 0, 0, 3, 2, 0, 0],
            &[0, 0, 0],
            &[0, 0, 0, 9, 1],
            &[0, 0, 0, 1, 7],
        ] {
            assert!(Frame::read(&mut &*bad).is_err(), "{bad:?}");
        }
    }
}
