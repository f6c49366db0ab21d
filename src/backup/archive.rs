//! Files as a tar archive that `tar` unpacks: regular files, directories and links, with owners, modes and times. What cannot
//! be in an archive is named, and so is what changed while it was read.
//!
//! Whoever may write into the directory may exchange its files while they are read, and the archive is made by another user:
//! nothing is opened by its whole path. Each entry is opened below the directory that was opened before it, a link is not
//! followed and a pipe not waited for, and what was opened must be what was seen there; else it is looked at once more.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rustix::fs::{CWD, Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::backup::{BackupError, Wanted, at, unwanted};

/// What goes into an archive.
pub struct Files<'a> {
    /// The directory, or the file.
    pub path: &'a Path,
    /// What it is called in the archive: `shared`, or the absolute path without its first `/`.
    pub name: &'a Path,
    /// Globs relative to the directory; `*` stays inside one directory.
    pub exclude: &'a [String],
    /// Absolute paths that are left out whatever the globs say, by whatever name they are reached: backups do not go into
    /// backups.
    pub leave_out: &'a [PathBuf],
}

/// What is in one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archived {
    pub entries: u64,
    /// Sockets, devices and pipes: relative paths.
    pub special: Vec<String>,
    pub warnings: Vec<String>,
}

/// So many of a kind are named.
const NAMED: usize = 20;
/// An entry that is another one each time it is opened is left out after so many times, and named.
const TRIES: usize = 3;

/// Writes the archive.
///
/// # Errors
/// The directory is not there, or cannot be read; it is neither directory nor file; whoever takes the archive cannot.
pub fn archive(files: &Files<'_>, to: &mut dyn Write, wanted: &dyn Wanted) -> Result<Archived, BackupError> {
    let mut globs = GlobSetBuilder::new();
    for exclude in files.exclude {
        let glob = GlobBuilder::new(exclude).literal_separator(true).build();
        globs.add(glob.map_err(|error| BackupError(format!("`{exclude}` is not a glob: {error}")))?);
    }
    let globs = globs.build().map_err(|error| BackupError(error.to_string()))?;
    let mut builder = tar::Builder::new(to);
    builder.follow_symlinks(false);
    let left_out = files.leave_out.iter().filter_map(|path| std::fs::metadata(path).ok());
    let left_out = left_out.map(|meta| (meta.dev(), meta.ino())).collect();
    let mut walk = Walk { files, globs, left_out, builder, archived: Archived::default(), changed: Vec::new(), wanted };
    walk.root()?;
    let Walk { mut builder, mut archived, mut changed, .. } = walk;
    builder.finish().map_err(|error| lost(files.path, &error))?;
    if !changed.is_empty() {
        let more = changed.len().saturating_sub(NAMED);
        changed.truncate(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        archived.warnings.push(format!("changed while they were read: {}{more}", changed.join(", ")));
    }
    Ok(archived)
}

fn lost(path: &Path, error: &io::Error) -> BackupError {
    BackupError(format!("the archive of {} is lost: {error}", path.display()))
}

/// Of a file that may be exchanged at any time: a pipe is not waited for.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Only to look at it, whatever it is.
const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Opens an entry of a directory.
fn open(dir: BorrowedFd<'_>, name: &Path, flags: OFlags) -> io::Result<(File, Metadata)> {
    let file = File::from(rustix::fs::openat(dir, name, flags, Mode::empty())?);
    let meta = file.metadata()?;
    Ok((file, meta))
}

/// Whether these are of the same file.
fn same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino(), a.file_type()) == (b.dev(), b.ino(), b.file_type())
}

/// What an open says of an entry that was exchanged, or is gone: it is looked at once more.
/// A file that another program holds a lease on (Samba, an NFS server) is not opened without waiting: that program is told, and
/// has some seconds to give it back. The regular file that was looked at is waited for, and nothing that stands in its place by
/// now.
fn leased(error: io::Error, seen: &File) -> io::Result<(File, Metadata)> {
    if error.kind() != ErrorKind::WouldBlock || !seen.metadata()?.is_file() {
        return Err(error);
    }
    let path = format!("/proc/self/fd/{}", seen.as_raw_fd());
    open(CWD, Path::new(&path), OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY)
}

fn is_exchanged(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::NXIO, Errno::NODEV];
    Errno::from_io_error(error).is_some_and(|error| gone.contains(&error))
}

struct Walk<'a, 'b> {
    files: &'a Files<'a>,
    globs: GlobSet,
    /// What is left out, by device and inode.
    left_out: Vec<(u64, u64)>,
    builder: tar::Builder<&'b mut dyn Write>,
    archived: Archived,
    changed: Vec<String>,
    wanted: &'a dyn Wanted,
}

impl Walk<'_, '_> {
    /// The directory, or the file, itself. It may be named by a link, as `current` is; links in it are archived as links.
    fn root(&mut self) -> Result<(), BackupError> {
        let path = self.files.path;
        let (link, seen) = open(CWD, path, LOOK).map_err(at("read", path))?;
        let flags = if seen.is_dir() { DIRECTORY } else { READ };
        if !seen.is_dir() && !seen.is_file() {
            let why = "is neither a directory nor a file: nothing of it can be in a backup";
            return Err(BackupError(format!("{} {why}", path.display())));
        }
        let opened = open(CWD, path, flags).or_else(|error| leased(error, &link));
        let (file, meta) = opened.map_err(at("read", path))?;
        if !same(&seen, &meta) {
            return Err(BackupError(format!("{} was exchanged while it was opened", path.display())));
        }
        match meta.is_dir() {
            true => self.directory(&file, &meta, Path::new("")),
            false => self.file(file, &meta, Path::new("")),
        }
    }

    /// An entry of a directory. `rel`: its path below the directory that is archived.
    fn entry(&mut self, dir: BorrowedFd<'_>, name: &OsStr, rel: &Path) -> Result<(), BackupError> {
        let (name, path) = (Path::new(name), self.files.path.join(rel));
        for _ in 0..TRIES {
            let (link, seen) = match open(dir, name, LOOK | OFlags::NOFOLLOW) {
                Ok(seen) => seen,
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                Err(error) => return Err(at("read", &path)(error)),
            };
            if !self.wanted.is_wanted() {
                return Err(lost(self.files.path, &unwanted()));
            }
            if self.left_out.contains(&(seen.dev(), seen.ino())) {
                return Ok(());
            }
            let kind = seen.file_type();
            let flags = if kind.is_dir() {
                DIRECTORY
            } else if kind.is_file() {
                READ
            } else if kind.is_symlink() {
                return self.link(&link, &seen, rel);
            } else {
                let what = if kind.is_socket() {
                    "socket"
                } else if kind.is_fifo() {
                    "pipe"
                } else {
                    "device"
                };
                self.archived.special.push(format!("{} ({what})", rel.display()));
                return Ok(());
            };
            match open(dir, name, flags | OFlags::NOFOLLOW).or_else(|error| leased(error, &link)) {
                Ok((file, meta)) if same(&seen, &meta) => {
                    return if kind.is_dir() { self.directory(&file, &meta, rel) } else { self.file(file, &meta, rel) };
                }
                Ok(_) => {}
                Err(error) if is_exchanged(&error) => {}
                Err(error) => return Err(at("read", &path)(error)),
            }
        }
        self.changed.push(rel.display().to_string());
        Ok(())
    }

    fn directory(&mut self, dir: &File, meta: &Metadata, rel: &Path) -> Result<(), BackupError> {
        let path = self.files.path.join(rel);
        let mut header = header(meta, tar::EntryType::Directory, 0);
        let added = self.builder.append_data(&mut header, self.named(rel), io::empty());
        added.map_err(|error| lost(&path, &error))?;
        self.archived.entries += 1;
        let mut names = Vec::new();
        for entry in Dir::read_from(dir).map_err(at("read", &path))? {
            let entry = entry.map_err(at("read", &path))?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        names.sort();
        for name in names {
            let rel = rel.join(&name);
            if !self.globs.is_match(&rel) {
                self.entry(dir.as_fd(), &name, &rel)?;
            }
        }
        Ok(())
    }

    fn link(&mut self, link: &File, meta: &Metadata, rel: &Path) -> Result<(), BackupError> {
        let path = self.files.path.join(rel);
        // An empty name: of the link that was opened, and no other.
        let target = rustix::fs::readlinkat(link, "", Vec::new()).map_err(at("read the link", &path))?;
        let mut header = header(meta, tar::EntryType::Symlink, 0);
        let added = self.builder.append_link(&mut header, self.named(rel), OsStr::from_bytes(target.to_bytes()));
        added.map_err(|error| lost(&path, &error))?;
        self.archived.entries += 1;
        Ok(())
    }

    /// A regular file, as it is now, and not as it was listed.
    fn file(&mut self, file: File, meta: &Metadata, rel: &Path) -> Result<(), BackupError> {
        let path = self.files.path.join(rel);
        let size = meta.len();
        let mut header = header(meta, tar::EntryType::Regular, size);
        let mut exact = Exact { file, left: size, short: false };
        let added = self.builder.append_data(&mut header, self.named(rel), &mut exact);
        added.map_err(|error| lost(&path, &error))?;
        let is_other =
            |now: Metadata| (now.len(), now.mtime(), now.mtime_nsec()) != (size, meta.mtime(), meta.mtime_nsec());
        if exact.short || exact.file.metadata().is_ok_and(is_other) {
            let shown = if rel.as_os_str().is_empty() { self.files.name } else { rel };
            self.changed.push(shown.display().to_string());
        }
        self.archived.entries += 1;
        Ok(())
    }

    /// What an entry is called in the archive. The name of a file must not end in `/`: `tar` would take it for a directory.
    fn named(&self, rel: &Path) -> PathBuf {
        if rel.as_os_str().is_empty() { self.files.name.to_owned() } else { self.files.name.join(rel) }
    }
}

fn header(meta: &Metadata, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_metadata_in_mode(meta, tar::HeaderMode::Complete);
    header.set_entry_type(kind);
    header.set_size(size);
    header
}

/// A file as long as the archive says that it is, whatever becomes of it meanwhile.
struct Exact {
    file: File,
    left: u64,
    short: bool,
}

impl Read for Exact {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        if most == 0 {
            return Ok(0);
        }
        let read = if self.short { 0 } else { self.file.read(&mut into[..most])? };
        let read = if read == 0 {
            self.short = true;
            into[..most].fill(0);
            most
        } else {
            read
        };
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
