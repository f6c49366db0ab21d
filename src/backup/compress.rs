//! Packs a stream: gzip, which every server unpacks, as members that several processors make side by side, or zstd.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use libdeflater::{CompressionLvl, Compressor};

use crate::model::backup::name::Compression as How;

/// One member of a gzip file holds so much of the plain stream.
const MEMBER: usize = 1 << 20;
/// So many processors pack at most: whoever serves requests needs some, too.
const PACKERS: usize = 4;
/// Of libdeflate: smaller than what gzip makes where nobody says otherwise. What is above it takes longer for little.
const LEVEL: i32 = 4;

/// A stream that is packed.
pub enum Packer<W: Write> {
    Plain(W),
    Gzip(Members<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Packer<W> {
    /// In front of `to`.
    ///
    /// # Errors
    /// No thread, or no memory for it.
    pub fn new(how: How, to: W) -> io::Result<Packer<W>> {
        Ok(match how {
            How::None => Packer::Plain(to),
            How::Gzip => Packer::Gzip(Members::new(to)?),
            How::Zstd => Packer::Zstd(zstd::stream::write::Encoder::new(to, 3)?),
        })
    }

    /// The rest of it goes out. Gives what it stands in front of.
    ///
    /// # Errors
    /// Those of whoever takes it.
    pub fn end(self) -> io::Result<W> {
        match self {
            Packer::Plain(to) => Ok(to),
            Packer::Gzip(members) => members.end(),
            Packer::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Packer::Plain(to) => to.write(bytes),
            Packer::Gzip(members) => members.write(bytes),
            Packer::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Piece = (Vec<u8>, SyncSender<io::Result<Vec<u8>>>);

/// A gzip file of several members, made side by side and written in their order.
pub struct Members<W> {
    to: W,
    piece: Vec<u8>,
    /// `None`: all is handed out.
    work: Option<SyncSender<Piece>>,
    packers: Vec<JoinHandle<()>>,
    /// Members that are being made, the first one first.
    ahead: VecDeque<Receiver<io::Result<Vec<u8>>>>,
    /// A file has a member at least.
    empty: bool,
}

impl<W: Write> Members<W> {
    fn new(to: W) -> io::Result<Members<W>> {
        let packers = std::thread::available_parallelism().map_or(1, usize::from).min(PACKERS);
        let (work, pieces) = sync_channel::<Piece>(packers);
        let pieces = Arc::new(Mutex::new(pieces));
        let begin = |_| {
            let pieces = pieces.clone();
            std::thread::Builder::new().name("pack".to_owned()).spawn(move || pack(&pieces))
        };
        let packers = (0..packers).map(begin).collect::<io::Result<Vec<_>>>()?;
        Ok(Members {
            to,
            piece: Vec::with_capacity(MEMBER),
            work: Some(work),
            packers,
            ahead: VecDeque::new(),
            empty: true,
        })
    }

    fn hand_out(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(MEMBER));
        let (done, member) = sync_channel(1);
        let gone = || io::Error::other("the threads that pack have ended");
        self.work.as_ref().ok_or_else(gone)?.send((piece, done)).map_err(|_| gone())?;
        self.empty = false;
        self.ahead.push_back(member);
        // So many are in memory at once, and no more.
        while self.ahead.len() > 2 * self.packers.len() {
            self.take_in()?;
        }
        Ok(())
    }

    fn take_in(&mut self) -> io::Result<()> {
        let Some(member) = self.ahead.pop_front() else { return Ok(()) };
        let member = member.recv().map_err(|_| io::Error::other("a thread that packs broke off"))??;
        self.to.write_all(&member)
    }

    fn end(mut self) -> io::Result<W> {
        if !self.piece.is_empty() || self.empty {
            self.hand_out()?;
        }
        self.work = None;
        while !self.ahead.is_empty() {
            self.take_in()?;
        }
        for packer in std::mem::take(&mut self.packers) {
            packer.join().map_err(|_| io::Error::other("a thread that packs broke off"))?;
        }
        Ok(self.to)
    }
}

impl<W: Write> Write for Members<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(MEMBER - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == MEMBER {
            self.hand_out()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes members until nobody hands out any.
fn pack(pieces: &Mutex<Receiver<Piece>>) {
    let mut compressor = Compressor::new(CompressionLvl::new(LEVEL).unwrap_or_default());
    loop {
        let next = pieces.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((piece, done)) = next else { return };
        let mut member = vec![0; compressor.gzip_compress_bound(piece.len())];
        let packed = compressor.gzip_compress(&piece, &mut member).map_err(|why| io::Error::other(why.to_string()));
        let member = packed.map(|bytes| {
            member.truncate(bytes);
            // Members wait for those before them: what is not used of their room is given back.
            member.shrink_to_fit();
            member
        });
        // Whoever gave it may have failed meanwhile.
        let _ = done.send(member);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn packed(how: How, bytes: &[u8]) -> Vec<u8> {
        let mut packer = Packer::new(how, Vec::new()).unwrap();
        bytes.chunks(70_001).for_each(|part| packer.write_all(part).unwrap());
        packer.end().unwrap()
    }

    #[test]
    fn members_are_in_their_order_and_one_file() {
        let plain: Vec<u8> = (0..5 * MEMBER + 17).map(|n| (n / 7 % 251) as u8).collect();
        let mut back = Vec::new();
        let file = packed(How::Gzip, &plain);
        flate2::read::MultiGzDecoder::new(file.as_slice()).read_to_end(&mut back).unwrap();
        assert_eq!(back, plain);
        assert_eq!(zstd::decode_all(packed(How::Zstd, &plain).as_slice()).unwrap(), plain);
    }

    #[test]
    fn nothing_is_a_file_too() {
        let mut back = Vec::new();
        let file = packed(How::Gzip, b"");
        flate2::read::MultiGzDecoder::new(file.as_slice()).read_to_end(&mut back).unwrap();
        assert!(back.is_empty() && !file.is_empty());
    }

    #[test]
    fn who_takes_it_may_fail() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut packer = Packer::new(How::Gzip, Full).unwrap();
        let wrote = (0..64).try_for_each(|_| packer.write_all(&[7; MEMBER]));
        assert!(wrote.and_then(|()| packer.end().map(drop)).is_err());
    }
}
