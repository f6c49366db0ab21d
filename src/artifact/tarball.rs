//! The members of a tar stream, read strictly: wherever two tar readers could disagree, the archive is refused.
//!
//! Knows the format and nothing else: what a release may contain is decided in [`super::tree`].

use std::io::{self, Read};

use tar::{EntryType, Header};

/// Longer names are refused anyway; one byte more, for the closing NUL.
const MAX_LONG_NAME: u64 = 4097;
/// Extended attributes end up here, so it is not small; it is held in memory, so it is not large.
const MAX_PAX: u64 = 1 << 20;
const BLOCK: usize = 512;

/// One thing in an archive, as it is spelt there.
pub(super) struct Member {
    pub(super) name: Vec<u8>,
    pub(super) kind: MemberKind,
    /// Bytes of contents that follow; more than none for files only.
    pub(super) size: u64,
    pub(super) executable: bool,
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
    Refused(String),
    Io(io::Error),
}

impl From<io::Error> for Cause {
    /// The operating system's own errors carry a number; all others come from the decoders above it.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            _ if error.raw_os_error().is_some() => Cause::Io(error),
            io::ErrorKind::UnexpectedEof => Cause::Refused("the archive is truncated".to_owned()),
            _ => Cause::Refused(error.to_string()),
        }
    }
}

/// Reads one member after the other.
pub(super) struct Members<R> {
    reader: R,
    /// What is left of the current member's contents, and of the padding after it.
    left: u64,
    padding: u64,
}

/// What extension headers say about the member that follows.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    any: bool,
}

impl<R: Read> Members<R> {
    pub(super) fn new(reader: R) -> Self {
        Members { reader, left: 0, padding: 0 }
    }

    /// The next member; its contents can be read until the next call. `None` at the proper end of the archive.
    pub(super) fn next(&mut self) -> Result<Option<Member>, Fault> {
        let mut known = Extensions::default();
        loop {
            let (name, result) = match self.block(&known) {
                Ok(Some(header)) => {
                    let name = known.name.clone().unwrap_or_else(|| header.path_bytes().into_owned());
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
        (self.left, self.padding) = (0, 0);
        if io::copy(&mut self.reader.by_ref().take(skip), &mut io::sink())? < skip {
            return Err(Cause::Refused("the archive is truncated".to_owned()));
        }
        let mut header = Header::new_old();
        self.reader.read_exact(header.as_mut_bytes())?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            if known.any {
                return refuse("the archive ends after a header that describes a member to come");
            }
            let mut second = [0; BLOCK];
            self.reader.read_exact(&mut second)?;
            if second.iter().any(|byte| *byte != 0) {
                return refuse("there is data after the end of the archive");
            }
            self.only_zeros()?;
            return Ok(None);
        }
        let bytes = header.as_bytes();
        let sum = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        if header.cksum().ok() != Some(sum) {
            return refuse("the checksum of its header is wrong; the archive is damaged");
        }
        if header.as_ustar().is_none() && header.as_gnu().is_none() {
            return refuse("its header is neither POSIX nor GNU; make the archive with tar --format=pax or gnu");
        }
        Ok(Some(header))
    }

    fn only_zeros(&mut self) -> Result<(), Cause> {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) if buffer[..n].iter().all(|byte| *byte == 0) => {}
                Ok(_) => return refuse("there is data after the end of the archive"),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A member, or `None` after a header that only describes the next one.
    fn member(&mut self, header: &Header, known: &mut Extensions) -> Result<Option<Member>, Cause> {
        let size = size(header)?;
        let kind = header.entry_type();
        let extension = match kind {
            EntryType::GNULongName | EntryType::GNULongLink => MAX_LONG_NAME,
            EntryType::XHeader | EntryType::XGlobalHeader => MAX_PAX,
            _ => return self.plain(header, size, std::mem::take(known)).map(Some),
        };
        if size > extension {
            return refuse(format!("a header that describes it has {size} bytes; {extension} are the limit"));
        }
        self.expect(size);
        let mut text = vec![0; size as usize];
        self.read_exact(&mut text)?;
        match kind {
            EntryType::GNULongName => set(&mut known.name, long_name(text), "name")?,
            EntryType::GNULongLink => set(&mut known.target, long_name(text), "link target")?,
            EntryType::XHeader => pax(&text, |key, value| match key {
                b"path" => set(&mut known.name, value.to_vec(), "name"),
                b"linkpath" => set(&mut known.target, value.to_vec(), "link target"),
                b"size" => set(&mut known.size, decimal(value)?, "size"),
                _ if key.starts_with(b"GNU.sparse.") => refuse(SPARSE),
                _ => Ok(()),
            })?,
            _ => {
                return pax(&text, |key, _| match key {
                    b"path" | b"linkpath" | b"size" => {
                        refuse("a global header sets the name, the target or the size of everything that follows")
                    }
                    _ if key.starts_with(b"GNU.sparse.") => refuse(SPARSE),
                    _ => Ok(()),
                })
                .map(|()| None);
            }
        }
        known.any = true;
        Ok(None)
    }

    fn plain(&mut self, header: &Header, size: u64, known: Extensions) -> Result<Member, Cause> {
        if let Some(pax) = known.size
            && pax != size
        {
            return refuse(format!("its size is {size} in one header and {pax} in another"));
        }
        let name = known.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let own = header.link_name_bytes().map(|target| target.into_owned()).unwrap_or_default();
        let target = known.target.unwrap_or(own);
        let kind = match header.entry_type() {
            EntryType::Regular => MemberKind::File,
            EntryType::Directory => MemberKind::Dir,
            EntryType::Symlink => MemberKind::Link(target),
            EntryType::Link => MemberKind::Hard(target),
            EntryType::GNUSparse => return refuse(SPARSE),
            EntryType::Char => return refuse("it is a character device"),
            EntryType::Block => return refuse("it is a block device"),
            EntryType::Fifo => return refuse("it is a named pipe"),
            other => {
                let letter = char::from(other.as_byte()).escape_default();
                return refuse(format!("it is of the unknown kind `{letter}`; only files, directories and links go"));
            }
        };
        if size > 0 && !matches!(kind, MemberKind::File) {
            return refuse(format!("it is no file, and yet {size} bytes of contents follow"));
        }
        let mode = header.mode().map_err(|_| Cause::Refused("its mode is not a number".to_owned()))?;
        self.expect(size);
        Ok(Member { name, kind, size, executable: mode & 0o111 != 0 })
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
    }
}

/// The contents of the current member.
impl<R: Read> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let want = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.reader.read(&mut into[..want])?;
        self.left -= n as u64;
        Ok(n)
    }
}

const SPARSE: &str = "it is a sparse file; make the archive without --sparse";

fn refuse<T>(why: impl Into<String>) -> Result<T, Cause> {
    Err(Cause::Refused(why.into()))
}

fn size(header: &Header) -> Result<u64, Cause> {
    let field = &header.as_bytes()[124..136];
    let wide = field[0] & 0x80 != 0;
    let size = header.entry_size().ok().filter(|size| {
        // The binary form has 95 bits, the decoder takes 64 of them.
        *size <= i64::MAX as u64 && (!wide || (field[0] == 0x80 && field[1..4] == [0, 0, 0]))
    });
    size.ok_or_else(|| Cause::Refused("its size is not a number that makes sense".to_owned()))
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
    let bad = || Cause::Refused("its extended header is malformed".to_owned());
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

fn decimal(digits: &[u8]) -> Result<u64, Cause> {
    std::str::from_utf8(digits)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Cause::Refused("its extended header is malformed".to_owned()))
}
