//! A backup on its way back: the stored file is read from its target, decrypted, unpacked and handed on, while its length and
//! its digests are compared with those of the manifest. Memory stays the same however much goes by.
//!
//! Nothing of it may be used before one whole reading has matched: whoever loads it reads it twice.

pub mod files;
pub mod gate;
pub mod mysql;
pub mod sqlite;

use std::cell::RefCell;
use std::io::{self, BufReader, Read, Write};
use std::rc::Rc;

use age::x25519::Identity;

use crate::backup::part::read_back;
use crate::backup::target::Target;
use crate::backup::{BackupError, Wanted, unwanted};
use crate::model::backup::manifest::PartEntry;
use crate::model::backup::name::{Compression, FileName, Part, What};
use crate::model::backup::proof::Outcome;
use crate::model::ids::{Digest, Hasher};

/// One part of a backup, as it lies on a target.
pub struct Stored<'a> {
    pub target: &'a Target,
    /// The directory of the backup's kind.
    pub dir: &'a str,
    pub part: &'a PartEntry,
    /// What opens it where it is encrypted.
    pub identities: &'a [Identity],
}

/// Why it did not come back whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoilt {
    /// Whether that says something about the backup, or only about the way to it.
    pub outcome: Outcome,
    pub why: String,
}

impl Spoilt {
    /// The backup is not what it should be.
    pub fn fail(why: impl Into<String>) -> Spoilt {
        Spoilt { outcome: Outcome::Fail, why: why.into() }
    }

    /// It could not be found out.
    pub fn open(why: impl Into<String>) -> Spoilt {
        Spoilt { outcome: Outcome::Inconclusive, why: why.into() }
    }
}

impl From<BackupError> for Spoilt {
    fn from(error: BackupError) -> Spoilt {
        Spoilt::open(error.0)
    }
}

/// What went by in a reading.
#[derive(Default)]
struct Tally {
    hasher: Hasher,
    bytes: u64,
    /// Why the target gave no more, where it did not come to its end.
    broke: Option<String>,
}

/// Counts and hashes what is read through it.
struct Tallied<R> {
    from: R,
    tally: Rc<RefCell<Tally>>,
}

impl<R: Read> Read for Tallied<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into);
        let mut tally = self.tally.borrow_mut();
        match &read {
            Ok(count) => {
                tally.hasher.update(&into[..*count]);
                tally.bytes += *count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => tally.broke = Some(error.to_string()),
        }
        read
    }
}

/// A reading under way. What it gives is not to be used before [`Reading::end`] has said that all of it was right.
pub struct Reading<'a> {
    of: &'a Stored<'a>,
    plain: Box<dyn Read>,
    stored: Rc<RefCell<Tally>>,
    hasher: Hasher,
    bytes: u64,
}

impl Read for Reading<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.plain.read(into)?;
        self.hasher.update(&into[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

impl Reading<'_> {
    /// Reads what is left of it, and compares all that can be compared.
    ///
    /// # Errors
    /// It is not what was written, or it cannot be read.
    pub fn end(mut self, wanted: &dyn Wanted) -> Result<(), Spoilt> {
        let mut piece = vec![0; 64 * 1024];
        while self.next(&mut piece, wanted)? > 0 {}
        let Reading { of, plain, stored, hasher, bytes } = self;
        drop(plain);
        let Tally { hasher: kept, bytes: read, .. } = stored.take();
        of.compare((read, kept.finish()), (bytes, hasher.finish()))
    }

    /// Its next piece; 0: it is over.
    fn next(&mut self, piece: &mut [u8], wanted: &dyn Wanted) -> Result<usize, Spoilt> {
        loop {
            match self.read(piece) {
                Ok(_) if !wanted.is_wanted() => return Err(Spoilt::open(unwanted().to_string())),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(&error, wanted)),
            }
        }
    }

    /// Why it broke off: by the target, or because the file is another one, which its digest says best.
    pub fn broken(&self, error: &io::Error, wanted: &dyn Wanted) -> Spoilt {
        let Stored { target, dir, part, .. } = self.of;
        let file = &part.file;
        if let Some(broke) = &self.stored.borrow().broke {
            return Spoilt::open(format!("{dir}/{file} cannot be read: {broke}"));
        }
        match read_back(target, dir, file, (part.bytes, part.sha256), wanted) {
            Err(other) => Spoilt::fail(other.0),
            Ok(()) => Spoilt::fail(format!("{dir}/{file} cannot be unpacked: {error}")),
        }
    }
}

impl<'a> Stored<'a> {
    /// Begins to read it.
    ///
    /// # Errors
    /// It is not there, or it cannot be opened.
    pub fn open(&'a self) -> Result<Reading<'a>, Spoilt> {
        let stored = Rc::new(RefCell::new(Tally::default()));
        let from = Tallied { from: self.target.read(self.dir, &self.part.file)?, tally: stored.clone() };
        let plain = self.unpacked(BufReader::with_capacity(256 * 1024, from))?;
        Ok(Reading { of: self, plain, stored, hasher: Hasher::new(), bytes: 0 })
    }

    /// Hands the plain stream on, and compares all that can be compared.
    ///
    /// # Errors
    /// It is not what was written, it cannot be read or opened, or whoever takes it cannot. What was handed on by then is not
    /// to be used.
    pub fn pour(&self, into: &mut dyn Write, wanted: &dyn Wanted) -> Result<(), Spoilt> {
        let mut reading = self.open()?;
        let mut piece = vec![0; 256 * 1024];
        loop {
            let count = reading.next(&mut piece, wanted)?;
            if count == 0 {
                return reading.end(wanted);
            }
            into.write_all(&piece[..count]).map_err(|error| taken_by(&error))?;
        }
    }

    /// What a reading must come to.
    fn compare(&self, stored: (u64, Digest), plain: (u64, Digest)) -> Result<(), Spoilt> {
        let (part, dir) = (self.part, self.dir);
        let file = &part.file;
        if stored.0 != part.bytes {
            let (there, wrote) = (stored.0, part.bytes);
            return Err(Spoilt::fail(format!("{dir}/{file} gave {there} bytes, and {wrote} were written")));
        }
        if stored.1 != part.sha256 {
            return Err(Spoilt::fail(format!("{dir}/{file} is not what was written: its SHA-256 is another one")));
        }
        let (bytes, digest) = (part.plain_bytes.unwrap_or(plain.0), part.plain_sha256.unwrap_or(plain.1));
        if (bytes, digest) != plain {
            let why =
                format!("{dir}/{file} unpacks to {} bytes that are not the {bytes} that its source gave", plain.0);
            return Err(Spoilt::fail(why));
        }
        Ok(())
    }

    /// The plain stream, by what the file's name says of it.
    fn unpacked(&self, from: impl Read + 'static) -> Result<Box<dyn Read>, Spoilt> {
        let file = &self.part.file;
        let named = file.parse::<FileName>().ok().map(|named| named.what);
        let Some(What::Part(Part { compression, encrypted, .. })) = named else {
            return Err(Spoilt::fail(format!("{file} is not the name of a part of a backup")));
        };
        let opened: Box<dyn Read> = if encrypted { self.opened(from)? } else { Box::new(from) };
        Ok(match compression {
            Compression::None => opened,
            Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(opened)),
            Compression::Zstd => {
                let decoder = zstd::stream::read::Decoder::new(opened);
                Box::new(decoder.map_err(|error| Spoilt::open(format!("{file} cannot be unpacked: {error}")))?)
            }
        })
    }

    fn opened(&self, from: impl Read + 'static) -> Result<Box<dyn Read>, Spoilt> {
        let file = &self.part.file;
        if self.identities.is_empty() {
            return Err(Spoilt::open(format!(
                "{file} is encrypted, and no identity of age was given that opens it: name the secret that holds one \
                 (`identity` of the backup)"
            )));
        }
        let header = age::Decryptor::new(from);
        let header = header.map_err(|error| Spoilt::fail(format!("{file} is no whole file of age: {error}")))?;
        let all = self.identities.iter().map(|identity| identity as &dyn age::Identity);
        match header.decrypt(all) {
            Ok(stream) => Ok(Box::new(stream)),
            Err(age::DecryptError::NoMatchingKeys) => Err(Spoilt::open(format!(
                "{file} is encrypted for other keys than the identity that was given: give the one of one of its recipients"
            ))),
            Err(error) => Err(Spoilt::fail(format!("{file} cannot be decrypted: {error}"))),
        }
    }
}

/// What whoever takes the stream says, with its own verdict where it has one.
fn taken_by(error: &io::Error) -> Spoilt {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Said>()) {
        Some(Said(spoilt)) => spoilt.clone(),
        None => Spoilt::open(format!("the restored data cannot be written: {error}")),
    }
}

/// A verdict on its way through a writer.
#[derive(Debug)]
struct Said(Spoilt);

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.why)
    }
}

impl std::error::Error for Said {}

/// As an error of a writer, which comes out of [`Stored::pour`] as it went in.
fn says(spoilt: Spoilt) -> io::Error {
    io::Error::other(Said(spoilt))
}

/// Takes a stream and keeps nothing of it.
pub struct Nowhere;

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
