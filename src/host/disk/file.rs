//! Reads files that others than the agent may have put there: the application's user, an administrator, a hook. A pipe, a
//! device, or a file without an end must hold nobody up, so only regular files are read, and never more than was asked for.

use std::fs::{self, File, FileType, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// No environment file has more bytes than this.
pub const CONFIGURATION: u64 = 1 << 20;

/// Opens a regular file for reading, links followed: where a shared file lies is the administrator's business.
///
/// # Errors
/// It is not there, may not be read, or is no regular file: then the error says what it is.
pub fn open(path: &Path) -> io::Result<(File, Metadata)> {
    // Looked at first, because opening some devices is a deed already; and once more when it is open, because it may be
    // another one by then.
    regular(&fs::metadata(path)?)?;
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    regular(&meta)?;
    Ok((file, meta))
}

/// The bytes of a regular file that has no more than `most`.
///
/// # Errors
/// Those of [`open`]; it is larger.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let (file, _) = open(path)?;
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    small(bytes.len() as u64, most)?;
    Ok(bytes)
}

/// Whether it is a regular file that has no more than `most` bytes.
///
/// # Errors
/// Those of [`read`], without reading anything.
pub fn fits(path: &Path, most: u64) -> io::Result<()> {
    let meta = fs::metadata(path)?;
    regular(&meta)?;
    small(meta.len(), most)
}

fn small(bytes: u64, most: u64) -> io::Result<()> {
    if bytes <= most {
        return Ok(());
    }
    Err(unfit(format!("it has more than {most} bytes, and so much is not read of such a file")))
}

/// Refuses what is no regular file.
pub fn regular(meta: &Metadata) -> io::Result<()> {
    match kind(meta.file_type()) {
        None => Ok(()),
        Some(kind) => Err(unfit(format!("it is {kind}, and no regular file"))),
    }
}

/// Whether an error says that what lies there is not what is read from such a place, and nothing about the disk.
pub fn is_unfit(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput
}

/// Why there is no file at the end of a way that begins: a link to nothing, a circle of links, a file in the place of a
/// directory.
pub fn leads_nowhere(path: &Path, error: &io::Error) -> Option<String> {
    match error.raw_os_error().map(Errno::from_raw_os_error)? {
        Errno::NOENT => {
            fs::read_link(path).ok().map(|to| format!("it is a link to {}, where nothing is", to.display()))
        }
        Errno::LOOP => Some("it is a link that leads in a circle".to_owned()),
        Errno::NOTDIR => Some("it lies below a file".to_owned()),
        _ => None,
    }
}

fn unfit(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// What it is, where it is no regular file.
fn kind(of: FileType) -> Option<&'static str> {
    if of.is_file() {
        return None;
    }
    Some(match () {
        () if of.is_dir() => "a directory",
        () if of.is_fifo() => "a pipe (FIFO)",
        () if of.is_socket() => "a socket",
        () if of.is_char_device() || of.is_block_device() => "a device",
        () => "a link",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_of_the_right_size_is_read() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        fs::write(at("file"), "12345").unwrap();
        fs::create_dir(at("dir")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, 0o666.into(), 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for (link, to) in [("to-file", "file"), ("to-pipe", "pipe"), ("to-device", "/dev/zero"), ("to-nothing", "none")]
        {
            std::os::unix::fs::symlink(to, at(link)).unwrap();
        }
        assert_eq!(read(&at("file"), 5).unwrap(), b"12345");
        assert_eq!(read(&at("to-file"), 5).unwrap(), b"12345");
        for (name, says) in [
            ("dir", "a directory"),
            ("pipe", "a pipe"),
            ("to-pipe", "a pipe"),
            ("socket", "a socket"),
            ("to-device", "a device"),
        ] {
            let error = read(&at(name), 5).unwrap_err();
            assert!(is_unfit(&error) && error.to_string().contains(says), "{name}: {error}");
        }
        let error = read(&at("file"), 4).unwrap_err();
        assert!(is_unfit(&error) && error.to_string().contains("more than 4 bytes"), "{error}");
        // A file with a hole of a terabyte is refused like any that is too large.
        File::create(at("huge")).unwrap().set_len(1 << 40).unwrap();
        assert!(is_unfit(&read(&at("huge"), CONFIGURATION).unwrap_err()));
        let error = read(&at("to-nothing"), 5).unwrap_err();
        assert!(!is_unfit(&error) && error.kind() == io::ErrorKind::NotFound, "{error}");
    }
}
