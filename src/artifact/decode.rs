//! From the bytes of an archive to the stream of its members: what it is packed with, however many pieces that has, and
//! what stands behind its end. Knows nothing of what is in the stream.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender};

use flate2::bufread::GzDecoder;

use crate::model::ids::{Digest, Hasher};

use super::header::is_header;
use super::kind;
use super::tarball::Cause;
use super::tree::Reason;
use super::unpack::Limits;

/// Decoded bytes travel in pieces of this size.
const PIECE: usize = 256 << 10;

/// What an archive is packed with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Plain,
    Gzip,
    Zstd,
}

impl Format {
    /// By the first bytes, which are more than a header: of a regular file one read gives them.
    pub(super) fn of(start: &[u8]) -> Result<Format, Reason> {
        match start {
            [0x1f, 0x8b, ..] => Ok(Format::Gzip),
            // Some packers begin with a frame of their own, which decoders pass over.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Format::Zstd),
            _ if is_header(start) => Ok(Format::Plain),
            _ => {
                let (what, next) = kind::named(start);
                Err(Reason::contents(format!("it is {what}; {next}")))
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Format::Plain => "tar",
            Format::Gzip => "gzip",
            Format::Zstd => "zstd",
        }
    }
}

/// Decodes an archive, in pieces. Gives the digest of its own bytes; where a piece had an error, that is the answer.
pub(super) fn decode(
    file: BufReader<File>,
    format: Format,
    limits: &Limits,
    sender: &SyncSender<io::Result<Vec<u8>>>,
) -> Result<Digest, Cause> {
    let consumed = Rc::new(Cell::new(0));
    let raw = Raw { file, hasher: Hasher::new(), consumed: Rc::clone(&consumed) };
    let mut raw = BufReader::with_capacity(256 << 10, raw);
    let frames = Frames { format, now: Now::between(format, &mut raw, true)?, is_fresh: false };
    let mut guard = Guard { frames, given: 0, consumed, limits };
    let mut is_first = true;
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let mut read = (&mut guard).take(PIECE as u64).read_to_end(&mut piece);
        let is_start = std::mem::take(&mut is_first);
        if is_start && read.is_ok() && !is_header(&piece) {
            read = Err(within(format, &piece));
            piece.clear();
        }
        if matches!(read, Ok(0)) {
            break;
        }
        // What came before an error is still to be read: a member in it may have a fault that says more.
        if !piece.is_empty() && sender.send(Ok(piece)).is_err() {
            // Whoever takes the pieces has an error of its own, which says more.
            return Err(Cause::Refused(Reason::packing("nobody wants the rest of it")));
        }
        if let Err(error) = read {
            let cause = Cause::from(io::Error::new(error.kind(), error.to_string()));
            let _ = sender.send(Err(error));
            return Err(cause);
        }
    }
    drop(guard);
    Ok(raw.into_inner().hasher.finish())
}

/// What comes out is no tar archive.
fn within(format: Format, start: &[u8]) -> io::Error {
    let packed = format.name();
    let said = match Format::of(start) {
        Ok(again) if again != Format::Plain => format!(
            "it is packed twice ({} in {packed}): unpack it once (`{packed} -dc FILE`); was it packed again when it was uploaded?",
            again.name()
        ),
        _ => {
            let (what, next) = kind::named(start);
            format!("what is packed in it with {packed} is {what}; {next}")
        }
    };
    io::Error::other(Said(Reason::Contents(said)))
}

/// A reason on its way through a stream.
#[derive(Debug)]
pub(super) struct Said(pub(super) Reason);

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Said {}

/// What the decoder gives, as one stream.
pub(super) struct Pieces {
    pieces: Receiver<io::Result<Vec<u8>>>,
    now: io::Cursor<Vec<u8>>,
}

impl Pieces {
    /// Of this decoder.
    pub(super) fn of(pieces: Receiver<io::Result<Vec<u8>>>) -> Pieces {
        Pieces { pieces, now: io::Cursor::default() }
    }
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

/// Packed bytes are one stream of several frames (members, as gzip calls them): parallel packers make many.
struct Frames<R: BufRead> {
    format: Format,
    now: Now<R>,
    /// A further frame was begun, and nothing came out of it yet.
    is_fresh: bool,
}

enum Now<R: BufRead> {
    Plain(R),
    Gzip(Box<GzDecoder<R>>),
    Zstd(Box<zstd::Decoder<'static, R>>),
    /// Nothing follows.
    Over,
}

impl<R: BufRead> Now<R> {
    /// What comes before the first frame, or after one.
    fn between(format: Format, mut from: R, is_first: bool) -> io::Result<Now<R>> {
        if !is_first {
            match (from.fill_buf()?.first(), format) {
                (None, _) => return Ok(Now::Over),
                // Padding to whole blocks, as tapes and some object stores want it.
                (Some(0), _) => return only_zeros(&mut from, format).map(|()| Now::Over),
                (Some(0x1f), Format::Gzip) | (Some(0x28 | 0x50..=0x5f), Format::Zstd) => {}
                _ => return Err(junk(format)),
            }
        }
        Ok(match format {
            Format::Plain => Now::Plain(from),
            Format::Gzip => Now::Gzip(Box::new(GzDecoder::new(from))),
            Format::Zstd => Now::Zstd(Box::new(zstd::Decoder::with_buffer(from)?.single_frame())),
        })
    }

    /// What the frame came from; `None`: it is not packed.
    fn end(self) -> Option<R> {
        match self {
            Now::Gzip(decoder) => Some(decoder.into_inner()),
            Now::Zstd(decoder) => Some(decoder.finish()),
            Now::Plain(_) | Now::Over => None,
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match &mut self.now {
                Now::Plain(from) => return from.read(into),
                Now::Gzip(decoder) => decoder.read(into),
                Now::Zstd(decoder) => decoder.read(into),
                Now::Over => return Ok(0),
            };
            match read {
                Ok(0) if !into.is_empty() => {
                    let Some(from) = std::mem::replace(&mut self.now, Now::Over).end() else { return Ok(0) };
                    self.now = Now::between(self.format, from, false)?;
                    self.is_fresh = true;
                }
                Ok(n) => {
                    self.is_fresh = false;
                    return Ok(n);
                }
                Err(error) if error.raw_os_error().is_some() => return Err(error),
                Err(_) if self.is_fresh => return Err(junk(self.format)),
                Err(error) => return Err(spoilt(self.format, error)),
            }
        }
    }
}

fn only_zeros(from: &mut impl BufRead, format: Format) -> io::Result<()> {
    loop {
        let piece = from.fill_buf()?;
        if piece.is_empty() {
            return Ok(());
        }
        if piece.iter().any(|byte| *byte != 0) {
            return Err(junk(format));
        }
        let length = piece.len();
        from.consume(length);
    }
}

fn junk(format: Format) -> io::Error {
    let name = format.name();
    io::Error::other(Said(Reason::packing(format!(
        "behind the end of its {name} stream there is something else than a further one, or zeros: was something appended to it?"
    ))))
}

fn spoilt(format: Format, error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return error;
    }
    let text = error.to_string();
    let next = if text.contains("too much memory") { "pack it without --long" } else { "build and upload it again" };
    io::Error::other(Said(Reason::Contents(format!("its {} stream cannot be read ({text}); {next}", format.name()))))
}

/// Stops a bomb while it goes off, wherever in the stream it sits: contents, headers or padding.
struct Guard<'a, R: BufRead> {
    frames: Frames<R>,
    given: u64,
    consumed: Rc<Cell<u64>>,
    limits: &'a Limits,
}

impl<R: BufRead> Read for Guard<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.frames.read(into)?;
        self.given += n as u64;
        if self.given > self.limits.ratio_after && self.given / self.limits.ratio > self.consumed.get() {
            return Err(io::Error::other(Said(grows(self.limits))));
        }
        // Headers, names and padding come on top of the contents: 4 KiB for each entry is more than they ever need.
        let most = self.limits.total_bytes.saturating_add((self.limits.entries as u64).saturating_mul(4096));
        if self.given > most.saturating_add(1 << 20) {
            let text =
                format!("more than {most} bytes come out of it; leave out what the application does not need to run");
            return Err(io::Error::other(Said(Reason::Contents(text))));
        }
        Ok(n)
    }
}

/// What is said of something small that becomes something large.
pub(super) fn grows(limits: &Limits) -> Reason {
    Reason::contents(format!(
        "it grows to more than {} times its size, which is not what a release looks like; leave out files that are nothing but \
         zeros",
        limits.ratio
    ))
}
