//! Sparse members of a tar stream: which parts of a file are stored, as GNU tar, bsdtar and others say it, and where the
//! holes between them are. A hole is read as what it is: zeros.

use std::io::{self, Read};

use super::header::{BLOCK, number};
use super::tarball::{Cause, refused};

/// More parts than this are no file of an application.
const MAX_PARTS: usize = 1 << 20;

/// What extended headers say of a sparse file. Three forms of it are in use: 0.0, 0.1 and 1.0.
#[derive(Default)]
pub(super) struct Said {
    pub(super) any: bool,
    major: Option<u64>,
    minor: Option<u64>,
    size: Option<u64>,
    offset: Option<u64>,
    parts: Vec<Part>,
}

/// Stored bytes of a file: where they belong, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    at: u64,
    bytes: u64,
}

impl Said {
    /// A record `GNU.sparse.KEY=VALUE`; not the name.
    pub(super) fn hear(&mut self, key: &[u8], value: &[u8]) -> Result<(), Cause> {
        let number = || decimal(value).ok_or_else(malformed);
        self.any = true;
        match key {
            b"major" => self.major = Some(number()?),
            b"minor" => self.minor = Some(number()?),
            b"size" | b"realsize" => self.size = Some(number()?),
            b"offset" => self.offset = Some(number()?),
            b"numbytes" => {
                let at = self.offset.take().ok_or_else(malformed)?;
                push(&mut self.parts, at, number()?)?;
            }
            b"map" => {
                let numbers: Vec<&[u8]> = value.split(|byte| *byte == b',').collect();
                for pair in numbers.chunks(2) {
                    let [at, bytes] = pair else { return Err(malformed()) };
                    let part = decimal(at).zip(decimal(bytes));
                    let (at, bytes) = part.ok_or_else(malformed)?;
                    push(&mut self.parts, at, bytes)?;
                }
            }
            b"numblocks" => {}
            _ => return Err(refused("it is a sparse file of a kind that is not known; pack it without --sparse")),
        }
        Ok(())
    }

    /// The layout of the member, of which `stored` bytes follow. The form 1.0 has its map in front of them: it is read
    /// here, and how many bytes it took is given.
    pub(super) fn layout(self, stored: u64, reader: &mut impl Read) -> Result<(Layout, u64), Cause> {
        let size = self.size.ok_or_else(malformed)?;
        match (self.major.unwrap_or(0), self.minor.unwrap_or(0)) {
            (0, _) => Ok((Layout::new(self.parts, size, stored)?, 0)),
            (1, 0) => {
                let mut map = Map { reader, left: stored, block: [0; BLOCK], used: BLOCK, taken: 0 };
                let count = usize::try_from(map.number()?).ok().filter(|count| *count <= MAX_PARTS);
                let mut parts = Vec::new();
                for _ in 0..count.ok_or_else(malformed)? {
                    let at = map.number()?;
                    push(&mut parts, at, map.number()?)?;
                }
                let taken = map.taken;
                Ok((Layout::new(parts, size, stored - taken)?, taken))
            }
            _ => Err(refused("it is a sparse file of a form that is not known; pack it without --sparse")),
        }
    }
}

/// The map of the form 1.0: decimal numbers, each on a line, padded to whole blocks.
struct Map<'a, R> {
    reader: &'a mut R,
    left: u64,
    block: [u8; BLOCK],
    used: usize,
    taken: u64,
}

impl<R: Read> Map<'_, R> {
    fn number(&mut self) -> Result<u64, Cause> {
        let mut digits = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return decimal(&digits).ok_or_else(malformed),
                digit if digits.len() < 20 => digits.push(digit),
                _ => return Err(malformed()),
            }
        }
    }

    fn byte(&mut self) -> Result<u8, Cause> {
        if self.used == BLOCK {
            self.left = self.left.checked_sub(BLOCK as u64).ok_or_else(malformed)?;
            self.reader.read_exact(&mut self.block)?;
            self.taken += BLOCK as u64;
            self.used = 0;
        }
        self.used += 1;
        Ok(self.block[self.used - 1])
    }
}

/// The layout of a sparse file of the old GNU form: in its header, and in more blocks behind that.
pub(super) fn of_header(header: &[u8; BLOCK], stored: u64, reader: &mut impl Read) -> Result<Layout, Cause> {
    let mut parts = Vec::new();
    take(&header[386..482], &mut parts)?;
    let size = number(&header[483..495]).ok_or_else(malformed)?;
    let mut more = header[482] != 0;
    while more {
        let mut block = [0; BLOCK];
        reader.read_exact(&mut block)?;
        take(&block[..504], &mut parts)?;
        more = block[504] != 0;
    }
    Layout::new(parts, size, stored)
}

fn take(entries: &[u8], parts: &mut Vec<Part>) -> Result<(), Cause> {
    for entry in entries.chunks_exact(24) {
        if entry[12..].iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let (at, bytes) = number(&entry[..12]).zip(number(&entry[12..])).ok_or_else(malformed)?;
        push(parts, at, bytes)?;
    }
    Ok(())
}

fn push(parts: &mut Vec<Part>, at: u64, bytes: u64) -> Result<(), Cause> {
    if parts.len() == MAX_PARTS {
        return Err(refused(format!("it is a sparse file of more than {MAX_PARTS} parts; pack it without --sparse")));
    }
    parts.push(Part { at, bytes });
    Ok(())
}

/// A sparse file on its way: holes and stored parts, in their order.
pub(super) struct Layout {
    pub(super) size: u64,
    /// Bytes of it that are not stored.
    pub(super) holes: u64,
    parts: std::vec::IntoIter<Part>,
    now: Part,
    at: u64,
}

impl Layout {
    fn new(parts: Vec<Part>, size: u64, stored: u64) -> Result<Layout, Cause> {
        let (mut end, mut sum) = (0_u64, 0_u64);
        for part in &parts {
            if part.at < end {
                return Err(malformed());
            }
            end = part.at.checked_add(part.bytes).ok_or_else(malformed)?;
            sum += part.bytes;
        }
        if end > size || sum != stored {
            return Err(malformed());
        }
        let mut parts = parts.into_iter();
        let now = parts.next().unwrap_or(Part { at: size, bytes: 0 });
        Ok(Layout { size, holes: size - stored, parts, now, at: 0 })
    }

    /// Reads from a stream of what is stored.
    pub(super) fn read(&mut self, stored: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
        let most = |bytes: u64| into.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
        while self.now.bytes == 0 && self.at >= self.now.at && self.at < self.size {
            self.now = self.parts.next().unwrap_or(Part { at: self.size, bytes: 0 });
        }
        if self.at < self.now.at {
            let n = most(self.now.at - self.at);
            into[..n].fill(0);
            self.at += n as u64;
            return Ok(n);
        }
        let n = most(self.now.bytes);
        let n = stored.read(&mut into[..n])?;
        self.now.bytes -= n as u64;
        self.now.at += n as u64;
        self.at += n as u64;
        Ok(n)
    }
}

fn malformed() -> Cause {
    refused("what it says of its holes (it is a sparse file) does not fit together; pack it without --sparse")
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok().filter(|number| *number <= i64::MAX as u64)
}
