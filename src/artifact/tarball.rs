//! The members of a tar stream, read strictly: wherever two tar readers could disagree, the archive is refused. What all of
//! them read alike is read, whoever wrote it: v7, ustar, GNU and pax, with holes and without.
//!
//! Knows the format and nothing else: what a release may contain is decided in [`super::tree`].

use std::io::{self, Read};

use super::decode::Said;
use super::header::{BLOCK, Header, Layouter};
use super::sparse::{self, Layout};
use super::tree::Reason;

/// Longer names are refused anyway; one byte more, for the closing NUL.
const MAX_LONG_NAME: u64 = 4097;
/// Extended attributes end up here, so it is not small; it is held in memory, so it is not large.
const MAX_PAX: u64 = 1 << 20;

/// One thing in an archive, as it is spelt there.
pub(super) struct Member {
    pub(super) name: Vec<u8>,
    pub(super) kind: MemberKind,
    /// Bytes of contents that can be read; more than none for files only.
    pub(super) size: u64,
    /// So many of them are holes: nothing of the archive stands for them.
    pub(super) holes: u64,
    pub(super) mode: u32,
    /// When it was modified, in seconds since 1970; `None`: that is not said.
    pub(super) time: Option<i64>,
}

/// What a member is. All other kinds are refused here.
pub(super) enum MemberKind {
    File,
    Dir,
    /// A symbolic link and its target.
    Link(Vec<u8>),
    /// A second name for another member.
    Hard(Vec<u8>),
}

/// Why a member cannot be had.
pub(super) struct Fault {
    /// The member's name, where it is known.
    pub(super) entry: Option<Vec<u8>>,
    pub(super) cause: Cause,
}

/// Whose fault it is: the archive's, or that of whatever it is read from.
pub(super) enum Cause {
    Refused(Reason),
    Io(io::Error),
}

impl From<io::Error> for Cause {
    /// The operating system's own errors carry a number; all others come from the decoders above it.
    fn from(error: io::Error) -> Self {
        if let Some(Said(reason)) = error.get_ref().and_then(|error| error.downcast_ref()) {
            return Cause::Refused(reason.clone());
        }
        match error.kind() {
            _ if error.raw_os_error().is_some() => Cause::Io(error),
            io::ErrorKind::UnexpectedEof => truncated(),
            _ => refused(error.to_string()),
        }
    }
}

/// Reads one member after the other.
pub(super) struct Members<R> {
    reader: R,
    /// What is left of the current member's stored contents, and of the padding after it.
    left: u64,
    padding: u64,
    /// Of the current member, where it has holes.
    layout: Option<Layout>,
}

/// What extension headers say about the member that follows.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    time: Option<i64>,
    sparse: sparse::Said,
    sparse_name: Option<Vec<u8>>,
    any: bool,
}

impl Extensions {
    fn name(&self, header: &Header) -> Vec<u8> {
        // A sparse file stands under a made-up name, for readers that do not know what it is.
        let said = self.sparse_name.as_ref().or(self.name.as_ref());
        said.cloned().unwrap_or_else(|| header.name())
    }
}

impl<R: Read> Members<R> {
    pub(super) fn new(reader: R) -> Self {
        Members { reader, left: 0, padding: 0, layout: None }
    }

    /// The next member; its contents can be read until the next call. `None` at the proper end of the archive.
    pub(super) fn next(&mut self) -> Result<Option<Member>, Fault> {
        let mut known = Extensions::default();
        loop {
            let (name, result) = match self.block(&known) {
                Ok(Some(header)) => {
                    let name = known.name(&header);
                    let result = self.member(&header, &mut known);
                    (Some(name), result)
                }
                Ok(None) => return Ok(None),
                Err(cause) => (None, Err(cause)),
            };
            match result {
                Ok(Some(member)) => return Ok(Some(member)),
                Ok(None) => {}
                Err(cause) => return Err(Fault { entry: name, cause }),
            }
        }
    }

    /// The next header, its checksum checked; `None` at the end, after which there are only zeros.
    fn block(&mut self, known: &Extensions) -> Result<Option<Header>, Cause> {
        let skip = self.left + self.padding;
        (self.left, self.padding, self.layout) = (0, 0, None);
        if io::copy(&mut self.reader.by_ref().take(skip), &mut io::sink())? < skip {
            return Err(truncated());
        }
        let mut block = [0; BLOCK];
        match self.fill(&mut block)? {
            BLOCK => {}
            0 => {
                return refuse(
                    "it ends without the blocks of zeros that close an archive: it is truncated, or whatever wrote it did not \
                     finish it",
                );
            }
            _ => return Err(truncated()),
        }
        let header = Header(block);
        if header.is_zero() {
            if known.any {
                return refuse("the archive ends after a header that describes a member to come");
            }
            // A second block of zeros should follow, and some writers have only one.
            self.only_zeros()?;
            return Ok(None);
        }
        if !header.is_sound() {
            return refuse("the checksum of its header is wrong; the archive is damaged");
        }
        Ok(Some(header))
    }

    /// As much as there is.
    fn fill(&mut self, into: &mut [u8]) -> Result<usize, Cause> {
        let mut filled = 0;
        while filled < into.len() {
            match self.reader.read(&mut into[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(filled)
    }

    fn only_zeros(&mut self) -> Result<(), Cause> {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.fill(&mut buffer)? {
                0 => return Ok(()),
                n if buffer[..n].iter().all(|byte| *byte == 0) => {}
                _ => {
                    return refuse(
                        "there is data after the end of the archive: were two archives put one behind the other?",
                    );
                }
            }
        }
    }

    /// A member, or `None` after a header that only describes the next one.
    fn member(&mut self, header: &Header, known: &mut Extensions) -> Result<Option<Member>, Cause> {
        let size = header.size().ok_or_else(|| refused("its size is not a number that makes sense"))?;
        let limit = match header.kind() {
            b'L' | b'K' => MAX_LONG_NAME,
            b'x' | b'X' | b'g' => MAX_PAX,
            // The label of a tape: no member.
            b'V' if size == 0 => {
                *known = Extensions::default();
                return Ok(None);
            }
            _ => return self.plain(header, size, std::mem::take(known)).map(Some),
        };
        if size > limit {
            return refuse(format!("a header that describes it has {size} bytes; {limit} are the limit"));
        }
        self.expect(size);
        let mut text = vec![0; size as usize];
        self.read_exact(&mut text)?;
        match header.kind() {
            b'L' => set(&mut known.name, long_name(text), "name")?,
            b'K' => set(&mut known.target, long_name(text), "link target")?,
            b'g' => return pax(&text, for_all).map(|()| None),
            _ => pax(&text, |key, value| known.hear(key, value))?,
        }
        known.any = true;
        Ok(None)
    }

    fn plain(&mut self, header: &Header, size: u64, known: Extensions) -> Result<Member, Cause> {
        // Writers leave the field at nothing, or at all it can hold, where the number is too long for it.
        let says_little = size == 0 || size == 0o777_7777_7777;
        let size = match known.size {
            Some(pax) if pax != size && !says_little => {
                return refuse(format!("its size is {size} in one header and {pax} in another"));
            }
            said => said.unwrap_or(size),
        };
        let name = known.name(header);
        let target = known.target.unwrap_or_else(|| header.target().to_vec());
        let kind = match header.kind() {
            // Before there was a kind for directories, their names ended so.
            0 if name.ends_with(b"/") && size == 0 => MemberKind::Dir,
            0 | b'0' | b'7' | b'S' => MemberKind::File,
            b'1' => MemberKind::Hard(target),
            b'2' => MemberKind::Link(target),
            b'5' => MemberKind::Dir,
            other => return Err(other_kind(other)),
        };
        if size > 0 && !matches!(kind, MemberKind::File) {
            return refuse(format!("it is no file, and yet {size} bytes of contents follow"));
        }
        let usual = if matches!(kind, MemberKind::Dir) { 0o755 } else { 0o644 };
        let mode = header.mode(usual).ok_or_else(|| refused("its mode is not a number"))?;
        self.expect(size);
        if header.kind() == b'S' {
            if header.layouter() != Layouter::Gnu || known.sparse.any {
                return refuse("it is a sparse file in the form of star; pack it without -sparse");
            }
            self.layout = Some(sparse::of_header(&header.0, size, &mut self.reader)?);
        } else if known.sparse.any {
            let (layout, map) = known.sparse.layout(size, &mut self.reader)?;
            self.left -= map;
            self.layout = Some(layout);
        }
        let (size, holes) = self.layout.as_ref().map_or((size, 0), |layout| (layout.size, layout.holes));
        // A damaged time is no reason to refuse contents that are whole.
        let time = known.time.or_else(|| header.time());
        Ok(Member { name, kind, size, holes, mode, time: time.filter(|time| *time >= PLAUSIBLE) })
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
    }
}

impl Extensions {
    /// A record of a header that describes the next member. One without a value takes an earlier one back.
    fn hear(&mut self, key: &[u8], value: &[u8]) -> Result<(), Cause> {
        match key {
            b"path" | b"linkpath" | b"size" | b"mtime" if value.is_empty() => Ok(()),
            b"path" => set(&mut self.name, value.to_vec(), "name"),
            b"linkpath" => set(&mut self.target, value.to_vec(), "link target"),
            b"size" => set(&mut self.size, decimal(value)?, "size"),
            b"mtime" => set(&mut self.time, seconds(value)?, "modification time"),
            b"GNU.sparse.name" => set(&mut self.sparse_name, value.to_vec(), "name"),
            b"SCHILY.realsize" => refuse("it is a sparse file in the form of star; pack it without -sparse"),
            _ => match key.strip_prefix(b"GNU.sparse.") {
                Some(key) => self.sparse.hear(key, value),
                None => Ok(()),
            },
        }
    }
}

/// A record of a header that describes all that follows.
fn for_all(key: &[u8], _: &[u8]) -> Result<(), Cause> {
    match key {
        b"path" | b"linkpath" | b"size" => {
            refuse("a global header sets the name, the target or the size of everything that follows")
        }
        _ if key.starts_with(b"GNU.sparse.") => refuse("a global header makes everything that follows a sparse file"),
        _ => Ok(()),
    }
}

/// Kinds that are no part of a release.
fn other_kind(kind: u8) -> Cause {
    let what = match kind {
        b'3' => "it is a character device",
        b'4' => "it is a block device",
        b'6' => "it is a named pipe",
        b'D' => return refused("it comes from an incremental backup; pack it without --listed-incremental"),
        b'M' => return refused("it goes on from another volume; pack it without --multi-volume"),
        other => {
            let letter = char::from(other).escape_default();
            let text = format!("it is of the unknown kind `{letter}`; only files, directories and links go");
            return refused(text);
        }
    };
    Cause::Refused(Reason::Contents(format!(
        "{what}, and no part of a release can be one; leave it out (tar --exclude)"
    )))
}

/// The contents of the current member.
impl<R: Read> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut stored = self.reader.by_ref().take(self.left);
        let n = match &mut self.layout {
            Some(layout) => layout.read(&mut stored, into)?,
            None => stored.read(into)?,
        };
        self.left = stored.limit();
        Ok(n)
    }
}

/// Builders of reproducible archives write the beginning of time, 1970 or 1980, into all of them: that is no time. A web
/// server tells versions of a file apart by its time and size, so that none is better than one that stays the same.
const PLAUSIBLE: i64 = 10 * 366 * 24 * 3600;

pub(super) fn refused(why: impl Into<String>) -> Cause {
    Cause::Refused(Reason::packing(why))
}

fn refuse<T>(why: impl Into<String>) -> Result<T, Cause> {
    Err(refused(why))
}

fn truncated() -> Cause {
    refused("the archive is truncated")
}

fn set<T>(place: &mut Option<T>, value: T, what: &str) -> Result<(), Cause> {
    if place.replace(value).is_some() {
        return refuse(format!("two headers give it a {what}"));
    }
    Ok(())
}

/// GNU closes these with a NUL.
fn long_name(mut text: Vec<u8>) -> Vec<u8> {
    text.pop_if(|last| *last == 0);
    text
}

/// Calls `each` for every record `LENGTH KEY=VALUE\n`.
fn pax(mut text: &[u8], mut each: impl FnMut(&[u8], &[u8]) -> Result<(), Cause>) -> Result<(), Cause> {
    let bad = || refused("its extended header is malformed");
    while !text.is_empty() {
        let space = text.iter().take(20).position(|byte| *byte == b' ').ok_or_else(bad)?;
        let length = usize::try_from(decimal(&text[..space])?).map_err(|_| bad())?;
        if length <= space + 1 || length > text.len() || text[length - 1] != b'\n' {
            return Err(bad());
        }
        let record = &text[space + 1..length - 1];
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
        each(&record[..equals], &record[equals + 1..])?;
        text = &text[length..];
    }
    Ok(())
}

/// The whole seconds of a time with a fraction: `1700000000.123`.
fn seconds(text: &[u8]) -> Result<i64, Cause> {
    let whole = text.split(|byte| *byte == b'.').next().unwrap_or_default();
    let number = std::str::from_utf8(whole).ok().and_then(|text| text.parse().ok());
    number.map_or_else(|| refuse("its extended header is malformed"), Ok)
}

fn decimal(digits: &[u8]) -> Result<u64, Cause> {
    std::str::from_utf8(digits)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| refused("its extended header is malformed"))
}
