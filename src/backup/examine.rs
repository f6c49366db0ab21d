//! Files of a backup that somebody else made: read to their end, unpacked on the way, so that what is cut off or damaged is found
//! before it is counted as a backup.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::rc::Rc;

use crate::backup::copied::Copied;
use crate::backup::count::{Counted, Counter};
use crate::backup::target::Target;
use crate::backup::{BackupError, Wanted, unwanted};
use crate::model::backup::manifest::Engine;
use crate::model::backup::name::{Compression, Content, Part};
use crate::model::ids::{Digest, Hasher};

/// What is in a file.
#[derive(Debug, Default)]
pub struct Found {
    /// As it is stored.
    pub bytes: u64,
    pub sha256: Option<Digest>,
    /// As it is unpacked; absent where it is encrypted.
    pub plain: Option<(u64, Digest)>,
    /// Rows by table, where the dialect is known.
    pub rows: Option<BTreeMap<String, u64>>,
    /// Entries of an archive.
    pub entries: Option<u64>,
    /// Why it is no whole part of a backup, in spite of its name.
    pub wrong: Option<String>,
}

/// Reads a file. `engine`: whose dialect a dump is in.
///
/// # Errors
/// The target cannot be read, or nobody waits for it any more. What is wrong with the file itself is in what is given.
pub fn examine(
    target: &Target,
    (dir, file): (&str, &str),
    part: &Part,
    engine: Option<Engine>,
    wanted: &dyn Wanted,
) -> Result<Found, BackupError> {
    let stored = Rc::new(RefCell::new(Tally::default()));
    let from = Watched { from: target.read(dir, file)?, tally: stored.clone(), wanted };
    let mut found = Found::default();
    let (read, rest) = if part.encrypted {
        (Ok(()), Some(Box::new(from) as Box<dyn Read + '_>))
    } else {
        let plain = Rc::new(RefCell::new(Tally::default()));
        let unpacked: Box<dyn Read + '_> = match part.compression {
            Compression::None => Box::new(from),
            Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(from)),
            Compression::Zstd => match zstd::stream::read::Decoder::new(from) {
                Ok(decoder) => Box::new(decoder),
                Err(error) => return Err(BackupError(format!("{dir}/{file} cannot be unpacked: {error}"))),
            },
        };
        let mut unpacked = Watched { from: unpacked, tally: plain.clone(), wanted };
        let read = contents(&mut unpacked, part.content, engine, &mut found).and_then(|()| drain(&mut unpacked));
        let tally = plain.take();
        found.plain = read.is_ok().then(|| (tally.bytes, tally.hasher.finish()));
        (read, None)
    };
    let failed = |error: io::Error| BackupError(format!("{dir}/{file} cannot be read: {error}"));
    if !wanted.is_wanted() {
        return Err(failed(unwanted()));
    }
    if let Some(mut rest) = rest {
        drain(&mut rest).map_err(failed)?;
    }
    if let Err(error) = read {
        found.wrong = Some(format!("{file} cannot be unpacked to its end: {error}"));
    }
    let tally = stored.take();
    found.bytes = tally.bytes;
    found.sha256 = Some(tally.hasher.finish());
    Ok(found)
}

fn contents(from: &mut dyn Read, content: Content, engine: Option<Engine>, found: &mut Found) -> io::Result<()> {
    match content {
        Content::Files => {
            let mut archive = tar::Archive::new(from);
            let mut entries = 0;
            for entry in archive.entries()? {
                entry?;
                entries += 1;
            }
            found.entries = Some(entries);
        }
        Content::Database => {
            let counted = match engine {
                Some(Engine::Mysql) => {
                    let mut counter = Counter::default();
                    each(from, |piece| counter.feed(piece))?;
                    Some(counter.end())
                }
                Some(Engine::Postgres) => {
                    let mut counter = Copied::default();
                    each(from, |piece| counter.feed(piece))?;
                    Some(counter.end())
                }
                Some(Engine::Sqlite) | None => None,
            };
            if let Some(Counted { tables, is_complete }) = counted {
                if !is_complete {
                    let why =
                        "its dump does not say that it came to its end: what is in it may be a part of the database";
                    found.wrong = Some(why.to_owned());
                }
                found.rows = Some(tables);
            }
        }
    }
    Ok(())
}

fn each(from: &mut dyn Read, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut piece = vec![0; 256 * 1024];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => take(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn drain(from: &mut dyn Read) -> io::Result<()> {
    each(from, |_| ())
}

/// What went by.
#[derive(Default)]
struct Tally {
    bytes: u64,
    hasher: Hasher,
}

/// Counts and hashes what is read.
struct Watched<'a, R> {
    from: R,
    tally: Rc<RefCell<Tally>>,
    wanted: &'a dyn Wanted,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.wanted.is_wanted() {
            return Err(unwanted());
        }
        let length = self.from.read(into)?;
        let mut tally = self.tally.borrow_mut();
        tally.bytes += length as u64;
        tally.hasher.update(&into[..length]);
        Ok(length)
    }
}
