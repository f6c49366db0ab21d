//! What goes by is counted and hashed, and nothing of it changed: what is written, as the plain stream before it is packed and as
//! the bytes that are stored; what is read; and the rows of a dump, by whoever knows its dialect.

use std::io::{self, Read, Write};

use crate::backup::copied::Copied;
use crate::backup::count::{Counted, Counter};
use crate::backup::{Wanted, unwanted};
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

/// Hands on what is read.
pub struct Tallied<'a, R> {
    from: R,
    wanted: &'a dyn Wanted,
    hasher: Hasher,
    bytes: u64,
    broke: Option<String>,
    is_over: bool,
}

impl<'a, R: Read> Tallied<'a, R> {
    /// Behind `from`, while somebody wants it.
    pub fn new(from: R, wanted: &'a dyn Wanted) -> Tallied<'a, R> {
        Tallied { from, wanted, hasher: Hasher::new(), bytes: 0, broke: None, is_over: false }
    }

    /// The length and the digest of all that was read.
    pub fn end(self) -> (u64, Digest) {
        (self.bytes, self.hasher.finish())
    }

    /// Why it gave no more although it was not over: whoever unpacks it has only seen it end too early.
    pub fn broke(&self) -> Option<&str> {
        self.broke.as_deref()
    }

    /// Whether its end was reached.
    pub fn is_over(&self) -> bool {
        self.is_over
    }
}

impl<R: Read> Read for Tallied<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = if self.wanted.is_wanted() { self.from.read(into) } else { Err(unwanted()) };
        match &read {
            Ok(0) => self.is_over |= !into.is_empty(),
            Ok(count) => {
                self.hasher.update(&into[..*count]);
                self.bytes += *count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => self.broke = Some(error.to_string()),
        }
        read
    }
}

/// What knows the dialect of a dump.
pub trait Dialect {
    /// More of it, cut anywhere.
    fn feed(&mut self, bytes: &[u8]);

    /// What all of it was.
    fn end(self) -> Counted;
}

impl Dialect for Counter {
    fn feed(&mut self, bytes: &[u8]) {
        Counter::feed(self, bytes);
    }

    fn end(self) -> Counted {
        Counter::end(self)
    }
}

impl Dialect for Copied {
    fn feed(&mut self, bytes: &[u8]) {
        Copied::feed(self, bytes);
    }

    fn end(self) -> Counted {
        Copied::end(self)
    }
}

/// Counts the rows of a dump that is handed on.
pub struct Counting<W, D> {
    to: W,
    dialect: D,
}

impl<W: Write, D: Dialect + Default> Counting<W, D> {
    /// In front of `to`.
    pub fn new(to: W) -> Counting<W, D> {
        Counting { to, dialect: D::default() }
    }

    /// What went by.
    pub fn end(self) -> Counted {
        self.dialect.end()
    }
}

impl<W: Write, D: Dialect> Write for Counting<W, D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.dialect.feed(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
