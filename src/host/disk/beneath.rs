//! A directory that is held open, and what is done below it. No path that came over the wire leaves it: every step is
//! resolved by the kernel beneath the directory and through no link (or, where the kernel cannot, part by part).
//! Knows nothing of releases.

mod inherit;
mod remove;

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::io::Errno;

use crate::fault::fault;
use crate::host::disk::file;
use crate::host::wire::HostError;

pub use remove::Stuck;

/// An open directory. The path is for messages only.
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Dir {
    /// Opens a directory of our own layout; links on the way are the administrator's and are followed.
    pub fn open(path: &Path) -> Result<Dir, HostError> {
        Dir::try_open(path).map_err(at("open the directory", path))
    }

    /// The same, for whoever knows what an error means there.
    pub fn try_open(path: &Path) -> Result<Dir, Errno> {
        let fd = rustix::fs::open(path, DIRECTORY, Mode::empty())?;
        Ok(Dir { fd, path: path.to_owned() })
    }

    /// A directory below this one, through no link. The empty path is the directory itself.
    pub fn sub(&self, rel: &str) -> Result<Dir, HostError> {
        let path = self.path.join(rel);
        if !rel.is_empty() {
            check(rel)?;
        }
        self.try_sub(rel).map_err(at("open the directory", &path))
    }

    /// The same below a path of our own, for whoever knows what an error means there.
    pub fn try_sub(&self, rel: &str) -> Result<Dir, Errno> {
        let fd = resolve(self.fd.as_fd(), rel, DIRECTORY)?;
        Ok(Dir { fd, path: self.path.join(rel) })
    }

    /// Opens a file in this directory with these flags, through no link and without waiting for the other end of a pipe.
    pub fn try_file(&self, name: &str, flags: OFlags, mode: Mode) -> Result<File, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.fd, name, flags, mode).map(File::from)
    }

    /// What this directory is itself.
    pub fn own_stat(&self) -> Result<Stat, HostError> {
        rustix::fs::fstat(&self.fd).map_err(at("look at", &self.path))
    }

    /// Sets the mode of this directory itself.
    pub fn set_own_mode(&self, mode: u32) -> Result<(), HostError> {
        rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(mode)).map_err(at("set the mode of", &self.path))
    }

    /// Gives this directory itself to a user and a group; `None`: as it is.
    pub fn give(&self, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        rustix::fs::fchown(&self.fd, uid.map(Uid::from_raw), gid.map(Gid::from_raw))
    }

    /// The names in this directory; what is no UTF-8 in them is replaced.
    pub fn names(&self) -> Result<Vec<String>, HostError> {
        let names = self.raw_names().map_err(at("list", &self.path))?;
        Ok(names.iter().map(|name| name.to_string_lossy().into_owned()).collect())
    }

    fn raw_names(&self) -> Result<Vec<CString>, Errno> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let name = entry?.file_name().to_owned();
            if !matches!(name.to_bytes(), b"." | b"..") {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// The directory that holds `rel`, and the last part of it.
    pub fn parent<'a>(&self, rel: &'a str) -> Result<(Dir, &'a str), HostError> {
        check(rel)?;
        let (parent, name) = rel.rsplit_once('/').unwrap_or(("", rel));
        Ok((self.sub(parent)?, name))
    }

    /// A directory below this one, made (755) where parts of it are missing.
    pub fn make_all(&self, rel: &str) -> Result<Dir, HostError> {
        let mut dir = self.sub("")?;
        for part in rel.split('/').filter(|part| !part.is_empty()) {
            if dir.stat(part)?.is_none() {
                dir.make(part)?;
            }
            dir = dir.sub(part)?;
        }
        Ok(dir)
    }

    /// Makes a directory with mode 755, whatever the umask.
    pub fn make(&self, name: &str) -> Result<(), HostError> {
        self.make_as(name, 0o755).map(drop)
    }

    /// Makes a directory with exactly this mode, and opens it. Where others may write here, one of them could put
    /// something else under the name a moment later: the mode is given to nothing but an empty directory of ours.
    pub fn make_as(&self, name: &str, mode: u32) -> Result<Dir, HostError> {
        let path = self.path.join(name);
        let failed = |error: Errno| at("make the directory", &path)(error);
        rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode)).map_err(failed)?;
        fault!("host.make.after-mkdir");
        let fd = rustix::fs::openat(&self.fd, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).map_err(failed)?;
        let made = Dir { fd, path: path.clone() };
        if made.own_stat()?.st_uid == rustix::process::geteuid().as_raw() && made.names()?.is_empty() {
            made.set_own_mode(mode)?;
        }
        Ok(made)
    }

    /// The same where nothing is there yet.
    pub fn make_missing(&self, name: &str, mode: u32) -> Result<(), HostError> {
        if self.stat(name)?.is_some() {
            return Ok(());
        }
        match self.make_as(name, mode) {
            // Somebody else was faster.
            Err(_) if self.stat(name)?.is_some() => Ok(()),
            made => made.map(drop),
        }
    }

    /// Makes a file that was not there, with exactly this mode.
    pub fn create(&self, name: &str, mode: u32) -> Result<File, HostError> {
        let failed = |error: Errno| at("write", &self.path.join(name))(error);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o600)).map_err(&failed)?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode)).map_err(&failed)?;
        Ok(File::from(fd))
    }

    /// Makes a file with the mode that most files of a release have, in place of what was there.
    pub fn replace(&self, name: &str) -> Result<File, HostError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = || rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o644));
        let made = match make() {
            // Not emptied: under another name the same file may be somebody else's.
            Err(Errno::EXIST) => {
                let mut stuck = Vec::new();
                self.remove_all(&CString::new(name).unwrap_or_default(), &mut stuck);
                stuck.first().map_or_else(make, |one| Err(one.error))
            }
            made => made,
        };
        made.map(File::from).map_err(|error| at("write", &self.path.join(name))(error))
    }

    /// Sets the mode of a file that was put here by us: nothing but that can be under its name.
    pub fn set_mode(&self, name: &str, mode: u32) -> Result<(), HostError> {
        let set = rustix::fs::chmodat(&self.fd, name, Mode::from_raw_mode(mode), AtFlags::empty());
        set.map_err(|error| at("set the mode of", &self.path.join(name))(error))
    }

    /// Sets the modification time of a file that was put here by us, in seconds since 1970.
    pub fn set_time(&self, name: &str, time: i64) -> Result<(), HostError> {
        let times = rustix::fs::Timestamps {
            last_access: rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
            last_modification: rustix::fs::Timespec { tv_sec: time, tv_nsec: 0 },
        };
        let set = rustix::fs::utimensat(&self.fd, name, &times, AtFlags::SYMLINK_NOFOLLOW);
        set.map_err(|error| at("set the time of", &self.path.join(name))(error))
    }

    /// Opens a regular file below this directory for reading, through no link, without waiting for a pipe's writer.
    pub fn read(&self, rel: &str) -> Result<File, HostError> {
        check(rel)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let failed = |error: io::Error| at("read", &self.path.join(rel))(error);
        let file = File::from(resolve(self.fd.as_fd(), rel, flags).map_err(|error| failed(error.into()))?);
        file.metadata().and_then(|meta| file::regular(&meta)).map_err(failed)?;
        Ok(file)
    }

    /// Makes a symbolic link.
    pub fn link(&self, target: &str, name: &str) -> Result<(), HostError> {
        rustix::fs::symlinkat(target, &self.fd, name).map_err(at("make the link", &self.path.join(name)))
    }

    /// Gives what has a name here another name as well; a link itself, not what it leads to.
    pub fn name_also(&self, name: &str, also: &str) -> Result<(), HostError> {
        rustix::fs::linkat(&self.fd, name, &self.fd, also, AtFlags::empty()).map_err(at("write", &self.path.join(also)))
    }

    /// What a name is here, links not followed; `None`: nothing.
    pub fn stat(&self, name: &str) -> Result<Option<Stat>, HostError> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(at("look at", &self.path.join(name))(error)),
        }
    }

    /// What a name here leads to, links followed; `None`: nothing.
    pub fn stat_behind(&self, name: &str) -> Result<Option<Stat>, HostError> {
        match rustix::fs::statat(&self.fd, name, AtFlags::empty()) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT | Errno::LOOP) => Ok(None),
            Err(error) => Err(at("look at", &self.path.join(name))(error)),
        }
    }

    /// Gives what has a name here another one, in place of what had it.
    pub fn rename(&self, name: &str, to: &str) -> Result<(), HostError> {
        rustix::fs::renameat(&self.fd, name, &self.fd, to).map_err(at("write", &self.path.join(to)))
    }

    /// The same, for whoever knows what an error means there.
    pub fn try_rename(&self, name: &str, to: &str) -> Result<(), Errno> {
        rustix::fs::renameat(&self.fd, name, &self.fd, to)
    }

    /// Makes what was done in this directory durable, for whoever knows what an error means there.
    pub fn try_sync(&self) -> Result<(), Errno> {
        rustix::fs::fsync(&self.fd)
    }

    /// Removes a directory that holds nothing.
    pub fn remove_empty(&self, name: &str) -> Result<(), Errno> {
        rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)
    }

    /// Moves `name` to a place in another directory, in place of what is there.
    pub fn rename_into(&self, name: &str, other: &Dir, as_name: &str) -> Result<(), HostError> {
        rustix::fs::renameat(&self.fd, name, &other.fd, as_name).map_err(|error| {
            let (from, to) = (self.path.join(name), other.path.join(as_name));
            HostError::Io(format!("cannot move {} to {}: {}", from.display(), to.display(), io::Error::from(error)))
        })
    }

    /// Removes a file or a link.
    pub fn unlink(&self, name: &str) -> Result<(), HostError> {
        rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()).map_err(at("remove", &self.path.join(name)))
    }

    /// The text of a link.
    pub fn target(&self, name: &str) -> Result<String, HostError> {
        let text =
            rustix::fs::readlinkat(&self.fd, name, Vec::new()).map_err(at("read the link", &self.path.join(name)))?;
        Ok(text.to_string_lossy().into_owned())
    }

    /// Moves `name` to a place in another directory where nothing is yet (RENAME_NOREPLACE).
    pub fn move_to(&self, name: &str, other: &Dir, as_name: &str) -> Result<(), HostError> {
        self.try_move_to(name, other, as_name).map_err(|error| {
            let (from, to) = (self.path.join(name), other.path.join(as_name));
            let error = io::Error::from(error);
            HostError::Io(format!("cannot move {} to {}: {error}", from.display(), to.display()))
        })
    }

    /// The same, for whoever knows what an error means there.
    pub fn try_move_to(&self, name: &str, other: &Dir, as_name: &str) -> Result<(), Errno> {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&self.fd, name, &other.fd, as_name, flags) {
            // A file system without the flag: an exclusively made empty directory is what rename may replace.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::mkdirat(&other.fd, as_name, Mode::from_raw_mode(0o755))?;
                rustix::fs::renameat(&self.fd, name, &other.fd, as_name)
            }
            done => done,
        }
    }

    /// Makes what was done in this directory durable.
    pub fn sync(&self) -> Result<(), HostError> {
        rustix::fs::fsync(&self.fd).map_err(at("sync", &self.path))
    }

    /// Makes everything on this file system durable.
    pub fn sync_all(&self) -> Result<(), HostError> {
        rustix::fs::syncfs(&self.fd).map_err(at("sync the file system of", &self.path))
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The directory of the last path: the next one is mostly in it as well.
pub struct Parent<'a, 'b> {
    tree: &'a Dir,
    last: Option<(&'b str, Dir)>,
}

impl<'a, 'b> Parent<'a, 'b> {
    /// Below this directory.
    pub fn new(tree: &'a Dir) -> Self {
        Parent { tree, last: None }
    }

    /// The directory that a path lies in, and its name there.
    pub fn of(&mut self, path: &'b str) -> Result<(&Dir, &'b str), HostError> {
        let (prefix, name) = path.rsplit_once('/').unwrap_or(("", path));
        if self.last.as_ref().is_none_or(|(at, _)| *at != prefix) {
            self.last = Some((prefix, self.tree.sub(prefix)?));
        }
        match &self.last {
            Some((_, dir)) => Ok((dir, name)),
            None => unreachable!("it was just set"),
        }
    }
}

/// Whether this is a directory.
pub fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Whether this is a regular file.
pub fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Whether this is a symbolic link.
pub fn is_link(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
}

/// The grammar of a relative path: parts without `.` and `..`, nothing empty, no NUL.
pub fn check(rel: &str) -> Result<(), HostError> {
    let bad_part = |part: &str| part.is_empty() || part == "." || part == "..";
    if rel.is_empty() || rel.contains('\0') || rel.split('/').any(bad_part) {
        let text = format!("`{rel}` is not a path below a release: relative, without `.`, `..` and empty parts");
        return Err(HostError::Precondition(text));
    }
    Ok(())
}

/// An error that names what was tried and where. A full disk names the directory to make room in, a read-only one what
/// makes it so.
pub fn at<E: Into<io::Error>>(action: &str, path: &Path) -> impl Fn(E) -> HostError + use<E> {
    let (action, path) = (action.to_owned(), path.to_owned());
    move |error| {
        let error = error.into();
        let mut text = format!("cannot {action} {}: {error}", path.display());
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            let dir = path.parent().unwrap_or(&path);
            text += &format!(
                "; make room on the file system of {} (or lower `keep_releases`), then run again",
                dir.display()
            );
        }
        if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
            text += "; after a disk error Linux makes a file system read-only: look at `dmesg` there, repair it, \
                     `mount -o remount,rw` it, then run again";
        }
        HostError::Io(text)
    }
}

fn resolve(base: BorrowedFd<'_>, rel: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    match by_kernel(base, rel, flags) {
        // Older than Linux 5.6, or a sandbox that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => by_parts(base, rel, flags),
        done => done,
    }
}

fn by_kernel(base: BorrowedFd<'_>, rel: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let rel = if rel.is_empty() { "." } else { rel };
    loop {
        match rustix::fs::openat2(base, rel, flags, Mode::empty(), how) {
            // A rename elsewhere on the system made the kernel unsure: ask again.
            Err(Errno::AGAIN | Errno::INTR) => continue,
            done => return done,
        }
    }
}

fn by_parts(base: BorrowedFd<'_>, rel: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut dir = rustix::fs::openat(base, ".", DIRECTORY, Mode::empty())?;
    let mut parts = rel.split('/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        if part == ".." {
            return Err(Errno::XDEV);
        }
        let flags = if parts.peek().is_some() { DIRECTORY } else { flags } | OFlags::NOFOLLOW;
        dir = rustix::fs::openat(&dir, part, flags, Mode::empty())?;
    }
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_way_of_resolving_leaves_the_directory() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("in/a/b")).unwrap();
        std::fs::write(temp.path().join("secret"), "x").unwrap();
        std::fs::write(temp.path().join("in/a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink("..", temp.path().join("in/up")).unwrap();
        std::os::unix::fs::symlink("/etc", temp.path().join("in/a/etc")).unwrap();
        std::os::unix::fs::symlink("file", temp.path().join("in/a/b/link")).unwrap();
        let dir = Dir::open(&temp.path().join("in")).unwrap();
        for way in [by_kernel, by_parts] {
            let open = |rel: &str| way(dir.fd.as_fd(), rel, OFlags::RDONLY);
            assert!(open("a/b/file").is_ok());
            assert!(open("").is_ok());
            for out in ["up/secret", "../secret", "a/etc/passwd", "a/b/link", "a/../../secret"] {
                assert!(open(out).is_err(), "{out}");
            }
        }
    }

    #[test]
    fn the_grammar_refuses_what_could_leave() {
        for bad in ["", "/etc", "a//b", "../a", "a/..", "./a", "a/", "a\0b"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert!(check("a/.env/...").is_ok());
    }
}
