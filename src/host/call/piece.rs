//! The bytes of an upload as they travel: cut, and packed where that makes them shorter, before anybody says to whom.

use std::io;

use crate::host::wire::frame::{DATA, FAST, PACKED_DATA, PIECE, TIGHT, WINDOW, data_head};

/// A small upload is cut into pieces of this size.
const LARGE: usize = 2 * 1024 * 1024;
/// Shorter ones stay as they are.
const WORTH: usize = 1024;

/// How an upload is cut and packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// No piece has more bytes than this.
    pub most: usize,
    /// How hard it is packed.
    level: i32,
}

impl Packing {
    /// For so many bytes together, over a wire that is slower than a processor.
    pub fn of(total: u64) -> Packing {
        // Little is packed tightly and in large pieces: then it is the bytes that take the time.
        let (most, level) = if total <= WINDOW { (LARGE, TIGHT) } else { (PIECE, FAST) };
        Packing { most, level }
    }

    /// Packs one piece.
    pub fn pack(&self, bytes: Vec<u8>) -> io::Result<Piece> {
        let length = bytes.len();
        if length >= WORTH {
            let packed = zstd::bulk::compress(&bytes, self.level)?;
            if packed.len() < length {
                return Ok(Piece { length, packed: true, bytes: packed });
            }
        }
        Ok(Piece { length, packed: false, bytes })
    }
}

/// A piece, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Of what was packed.
    pub length: usize,
    pub packed: bool,
    /// As they travel.
    pub bytes: Vec<u8>,
}

impl Piece {
    /// The frame that brings it to the upload of this call: its bytes, pushed back for what goes before them. Where they
    /// have room for [`DATA_HEAD`] more, nothing is copied elsewhere.
    pub fn into_frame(self, call: u64) -> io::Result<Vec<u8>> {
        let kind = if self.packed { PACKED_DATA } else { DATA };
        let head = data_head(kind, call, self.bytes.len())?;
        let mut frame = self.bytes;
        frame.splice(0..0, head);
        Ok(frame)
    }
}

/// Where the pieces of an upload come from, in their order.
pub trait Pieces: Send {
    /// The next one; `None`: there is no more.
    ///
    /// # Errors
    /// It cannot be read.
    fn next(&mut self) -> impl Future<Output = io::Result<Option<Piece>>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::wire::frame::Frame;

    #[test]
    fn a_piece_arrives_as_it_was_whoever_it_is_for() {
        let text = b"<?php echo 1;\n".repeat(1000);
        let noise: Vec<u8> = (0..64_u8).flat_map(|i| *crate::model::ids::Digest::of(&[i]).as_bytes()).collect();
        let wire = Packing::of(1);
        for (bytes, packing, packed) in [
            (text.clone(), wire, true),
            (text, Packing::of(WINDOW + 1), true),
            (noise, wire, false),
            (b"short".to_vec(), wire, false),
        ] {
            let piece = packing.pack(bytes.clone()).unwrap();
            assert_eq!((piece.length, piece.packed), (bytes.len(), packed));
            for call in [7, 8] {
                let frame = piece.clone().into_frame(call).unwrap();
                let Some((Frame::Data { call: to, bytes: came }, was)) = Frame::read(&mut &*frame).unwrap() else {
                    panic!("something else came back")
                };
                assert_eq!((to, came == bytes, was), (call, true, packed));
            }
        }
    }
}
