//! What goes by is counted and hashed: the plain stream before it is packed, and the bytes as they are stored.

use std::io::{self, Write};

use crate::model::ids::{Digest, Hasher};

/// Passes everything on.
pub struct Measure<W> {
    to: W,
    hasher: Hasher,
    bytes: u64,
}

impl<W: Write> Measure<W> {
    /// In front of `to`.
    pub fn new(to: W) -> Measure<W> {
        Measure { to, hasher: Hasher::new(), bytes: 0 }
    }

    /// What it stands in front of, with the length and the digest of all that went by.
    pub fn end(self) -> (W, u64, Digest) {
        (self.to, self.bytes, self.hasher.finish())
    }
}

impl<W: Write> Write for Measure<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
