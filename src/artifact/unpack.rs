//! From an archive to a checked tree, in one pass over its bytes. Trusts nothing in it.
//!
//! Paths in the archive only ever become text in a manifest; contents go into one pack file ([`super::pack`]). So a
//! hostile archive can be refused or can waste what the limits allow, and nothing else. The result appears under its
//! name complete, or not at all.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::model::ids::{Digest, Hasher};
use flate2::bufread::MultiGzDecoder;

use super::files::{FileError, at, inside, sync_dir};
use super::intake::{Intake, Stop};
use super::manifest::Manifest;
use super::pack::{PackWriter, Unpacked};
use super::tarball::{Cause, Fault, Members};
use super::tree::{Tree, shown};

/// Decoded bytes travel in pieces of this size …
const PIECE: usize = 256 << 10;
/// … so many of them ahead of whoever takes them.
const AHEAD: usize = 8;

/// How much an archive may ask for.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of all files together.
    pub total_bytes: u64,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Paths, directories that are only implied included.
    pub entries: usize,
    /// How many bytes one compressed byte may become …
    pub ratio: u64,
    /// … once so many have come out.
    pub ratio_after: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { total_bytes: 8 << 30, file_bytes: 4 << 30, entries: 500_000, ratio: 1000, ratio_after: 64 << 20 }
    }
}

/// Why an archive did not become a tree.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive is at fault; trying again will not help.
    #[error(
        "{} is refused{}: {reason}; `soll bundle DIR` makes bundles that pass",
        archive.display(),
        entry.as_ref().map(|entry| format!(" because of `{entry}`")).unwrap_or_default()
    )]
    Refused { archive: PathBuf, entry: Option<String>, reason: String },
    /// This machine is at fault.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Unpacks an archive (tar, tar.gz, tar.zst, told apart by their first bytes) into `dest`, which must not exist yet.
/// Blocks: seconds for a large one.
pub fn unpack(archive: &Path, dest: &Path, limits: &Limits) -> Result<Unpacked, UnpackError> {
    if dest.symlink_metadata().is_ok() {
        let exists = io::Error::from(io::ErrorKind::AlreadyExists);
        return Err(at("unpacking into", dest)(exists).into());
    }
    let parent = dest.parent().unwrap_or(Path::new("/"));
    let name = dest.file_name().unwrap_or_default().to_string_lossy();
    let staging = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .tempdir_in(parent)
        .map_err(inside("making a directory in", parent))?;

    let mut pack = PackWriter::create(staging.path())?;
    let (bundle, manifest) = read(archive, &mut pack, limits)?;
    let unpacked = pack.finish(bundle, manifest)?;
    // From here on the staging directory is not a temporary one any more.
    let staging = staging.keep();
    std::fs::rename(&staging, dest).map_err(|error| {
        let _ = std::fs::remove_dir_all(&staging);
        at("moving what was unpacked to", dest)(error)
    })?;
    sync_dir(parent)?;
    Ok(unpacked.moved(dest))
}

/// Contents into the pack, everything else into the manifest; the digest is that of the archive.
fn read(archive: &Path, pack: &mut PackWriter, limits: &Limits) -> Result<(Digest, Manifest), UnpackError> {
    let refused = |entry: Option<&[u8]>, reason: String| UnpackError::Refused {
        archive: archive.to_owned(),
        entry: entry.map(|name| shown(&String::from_utf8_lossy(name))),
        reason,
    };
    let failed = |entry: Option<&[u8]>, cause: Cause| match cause {
        Cause::Refused(reason) => refused(entry, reason),
        Cause::Io(error) => at("reading", archive)(error).into(),
    };

    let file = File::open(archive).map_err(at("opening", archive))?;
    let mut file = BufReader::with_capacity(256 << 10, file);
    let format = Format::of(file.fill_buf().map_err(at("reading", archive))?);
    let format = format.map_err(|why| refused(None, why.to_owned()))?;
    let take_all = |pieces: Receiver<io::Result<Vec<u8>>>, pack: &mut PackWriter| {
        let mut members = Members::new(Pieces { pieces, now: io::Cursor::default() });
        let mut intake = Intake::new(pack, limits);
        let stopped = |stop| match stop {
            Stop::Archive(Fault { entry, cause }) => failed(entry.as_deref(), cause),
            Stop::File(error) => error.into(),
        };
        while intake.next(&mut members).map_err(stopped)? {}
        intake.finish().map_err(stopped)
    };
    // Decoding takes as long as hashing and writing what comes out: they need not wait for each other.
    let (tree, bundle) = std::thread::scope(|scope| {
        let (sender, pieces) = sync_channel(AHEAD);
        let decoding = std::thread::Builder::new()
            .name("decoder".to_owned())
            .spawn_scoped(scope, move || decode(file, format, limits, &sender))
            .map_err(at("starting a thread for", archive))?;
        let tree: Result<Tree, UnpackError> = take_all(pieces, pack);
        let decoded = decoding.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // What is wrong with a member says more than what is wrong with the stream.
        Ok::<_, UnpackError>((tree?, decoded.map_err(|cause| failed(None, cause))?))
    })?;
    if tree.is_empty() {
        return Err(refused(None, "it is empty; a release without a single file is never meant".to_owned()));
    }
    let manifest = tree.finish().map_err(|(path, reason)| refused(Some(path.as_bytes()), reason))?;
    Ok((bundle, manifest))
}

/// Decodes an archive, in pieces. Gives the digest of its own bytes; where a piece had an error, that is the answer.
fn decode(
    file: BufReader<File>,
    format: Format,
    limits: &Limits,
    sender: &SyncSender<io::Result<Vec<u8>>>,
) -> Result<Digest, Cause> {
    let consumed = Rc::new(Cell::new(0));
    let raw = Raw { file, hasher: Hasher::new(), consumed: Rc::clone(&consumed) };
    let mut raw = BufReader::with_capacity(256 << 10, raw);
    let mut guard = Guard { decoder: Decoder::new(format, &mut raw)?, given: 0, consumed, limits };
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let read = (&mut guard).take(PIECE as u64).read_to_end(&mut piece);
        if matches!(read, Ok(0)) {
            break;
        }
        let taken = sender.send(Ok(piece)).is_ok();
        if let Err(error) = read {
            let why = error.to_string();
            let _ = sender.send(Err(error));
            return Err(Cause::Refused(why));
        }
        if !taken {
            // Whoever takes the pieces has an error of its own, which says more.
            return Err(Cause::Refused("nobody wants the rest of it".to_owned()));
        }
    }
    drop(guard);
    if !raw.fill_buf()?.is_empty() {
        return Err(Cause::Refused("there is data after the end of the compressed stream".to_owned()));
    }
    Ok(raw.into_inner().hasher.finish())
}

/// What the decoder gives, as one stream.
struct Pieces {
    pieces: Receiver<io::Result<Vec<u8>>>,
    now: io::Cursor<Vec<u8>>,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.now.read(into)? {
                0 if !into.is_empty() => match self.pieces.recv() {
                    Ok(piece) => self.now = io::Cursor::new(piece?),
                    Err(_) => return Ok(0),
                },
                n => return Ok(n),
            }
        }
    }
}

/// The archive's own bytes, counted and hashed as they go by.
struct Raw {
    file: BufReader<File>,
    hasher: Hasher,
    consumed: Rc<Cell<u64>>,
}

impl Read for Raw {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(into)?;
        self.hasher.update(&into[..n]);
        self.consumed.set(self.consumed.get() + n as u64);
        Ok(n)
    }
}

/// What an archive is packed with.
#[derive(Clone, Copy)]
enum Format {
    Plain,
    Gzip,
    Zstd,
}

impl Format {
    /// By the first bytes, which are more than a header: of a regular file one read gives them.
    fn of(start: &[u8]) -> Result<Format, &'static str> {
        if start.starts_with(&[0x1f, 0x8b]) {
            return Ok(Format::Gzip);
        }
        if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            return Ok(Format::Zstd);
        }
        if start.get(257..262) == Some(b"ustar") {
            return Ok(Format::Plain);
        }
        Err(match start {
            [] => "it is an empty file",
            [b'<', ..] => "it is a web page, not an archive; look at the address and at who may read it",
            _ => "it is neither tar, tar.gz nor tar.zst",
        })
    }
}

enum Decoder<'a> {
    Plain(&'a mut BufReader<Raw>),
    Gzip(Box<MultiGzDecoder<&'a mut BufReader<Raw>>>),
    Zstd(Box<zstd::Decoder<'static, &'a mut BufReader<Raw>>>),
}

impl<'a> Decoder<'a> {
    fn new(format: Format, raw: &'a mut BufReader<Raw>) -> io::Result<Self> {
        Ok(match format {
            Format::Plain => Decoder::Plain(raw),
            Format::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(raw))),
            Format::Zstd => Decoder::Zstd(Box::new(zstd::Decoder::with_buffer(raw)?)),
        })
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::Plain(reader) => reader.read(into),
            Decoder::Gzip(reader) => reader.read(into),
            Decoder::Zstd(reader) => reader.read(into),
        }
    }
}

/// Stops a bomb while it goes off, wherever in the stream it sits: contents, headers or padding.
struct Guard<'a> {
    decoder: Decoder<'a>,
    given: u64,
    consumed: Rc<Cell<u64>>,
    limits: &'a Limits,
}

impl Read for Guard<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.decoder.read(into)?;
        self.given += n as u64;
        if self.given > self.limits.ratio_after && self.given / self.limits.ratio > self.consumed.get() {
            return Err(io::Error::other(format!(
                "it grows to more than {} times its size; this is not what a release looks like",
                self.limits.ratio
            )));
        }
        // Headers, names and padding come on top of the contents: 4 KiB for each entry is more than they ever need.
        let most = self.limits.total_bytes.saturating_add((self.limits.entries as u64).saturating_mul(4096));
        if self.given > most.saturating_add(1 << 20) {
            return Err(io::Error::other(format!("more than {most} bytes come out of it")));
        }
        Ok(n)
    }
}
