//! A tree on the disk as an archive: in the order of its manifest, with nothing of this machine in it. The same tree gives the
//! same bytes.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use flate2::{Compression, GzBuilder};

use crate::model::ids::{Digest, Hasher};

use super::files::{FileError, at};
use super::manifest::{Entry, Manifest, Node};

/// Writes the archive; gives its digest and size.
pub(super) fn write(dir: &Path, manifest: &Manifest, file: &File, path: &Path) -> Result<(Digest, u64), FileError> {
    let failed = at("writing", path);
    let out = Hashing { out: BufWriter::with_capacity(1 << 20, file), hasher: Hasher::new(), bytes: 0 };
    // 3 is Unix: the default is that of the machine.
    let gzip = GzBuilder::new().mtime(0).operating_system(3).write(out, Compression::default());
    let mut tar = tar::Builder::new(gzip);
    for entry in manifest.entries() {
        append(&mut tar, dir, entry)?;
    }
    let finished = tar.into_inner().and_then(|gzip| gzip.finish()).and_then(|mut out| {
        out.flush()?;
        Ok((out.hasher.finish(), out.bytes))
    });
    let (sha256, bytes) = finished.map_err(failed)?;
    file.sync_all().map_err(at("syncing", path))?;
    Ok((sha256, bytes))
}

fn append(tar: &mut tar::Builder<impl Write>, dir: &Path, entry: Entry<&str>) -> Result<(), FileError> {
    let full = dir.join(entry.path);
    let failed = at("adding", &full);
    let mut header = tar::Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    let done = match &entry.node {
        Node::Dir => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(entry.mode());
            tar.append_data(&mut header, entry.path, io::empty())
        }
        Node::Link { target } => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            append_link(tar, &mut header, entry.path, target)
        }
        Node::File { size, .. } => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_mode(entry.mode());
            header.set_size(*size);
            open(&full).and_then(|file| {
                let mut reader = Exactly { from: BufReader::with_capacity(256 << 10, file), left: *size };
                tar.append_data(&mut header, entry.path, &mut reader)
            })
        }
    };
    done.map_err(failed)
}

/// Targets are written as they are: the library would tidy them up.
fn append_link(
    tar: &mut tar::Builder<impl Write>,
    header: &mut tar::Header,
    path: &str,
    target: &str,
) -> io::Result<()> {
    if target.len() <= 100 {
        header.set_link_name_literal(target)?;
        return tar.append_data(header, path, io::empty());
    }
    tar.append_link(header, path, target)
}

/// Gives exactly as many bytes as were listed: a file that changes while it is read would shift all that follows.
struct Exactly<R> {
    from: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let changed = || Err(io::Error::other("it changed while it was read; bundle a tree that nothing writes to"));
        let n = self.from.read(into)?;
        match (n as u64, self.left) {
            (0, 0) => Ok(0),
            (0, _) => changed(),
            (n, left) if n > left => changed(),
            (n, _) => {
                self.left -= n;
                Ok(n as usize)
            }
        }
    }
}

struct Hashing<W> {
    out: W,
    hasher: Hasher,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let n = self.out.write(piece)?;
        self.hasher.update(&piece[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// It was a file when it was listed: a link that took its place meanwhile is not followed.
pub(super) fn open(full: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    File::options().read(true).custom_flags(flags).open(full)
}
