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
mod tests {
    use super::*;
    use crate::backup::Always;
    use std::fs;
    use std::os::unix::net::UnixListener;

    #[test]
    fn excluded_and_special_files_are_not_in_it_and_links_are_links() {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("shared");
        for sub in ["storage/logs", "uploads", "backups"] {
            fs::create_dir_all(shared.join(sub)).unwrap();
        }
        for file in ["storage/logs/app.log", "uploads/a b.jpg", "backups/old.tar", ".env"] {
            fs::write(shared.join(file), file).unwrap();
        }
        std::os::unix::fs::symlink("../.env", shared.join("uploads/link")).unwrap();
        let _socket = UnixListener::bind(shared.join("app.sock")).unwrap();
        let (exclude, leave_out) = (["storage/logs/**".to_owned()], [shared.join("backups")]);
        let files = Files { path: &shared, name: Path::new("shared"), exclude: &exclude, leave_out: &leave_out };
        let mut bytes = Vec::new();
        let archived = archive(&files, &mut bytes, &Always).unwrap();
        assert_eq!(archived.special, ["app.sock (socket)"]);
        let mut archive = tar::Archive::new(bytes.as_slice());
        let names: Vec<String> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        let wanted = ["shared", "shared/.env", "shared/storage", "shared/storage/logs", "shared/uploads"];
        let wanted: Vec<String> = wanted.into_iter().map(str::to_owned).collect();
        let plain: Vec<String> = names.iter().map(|name| name.trim_end_matches('/').to_owned()).collect();
        assert_eq!(plain[..5], wanted[..]);
        assert_eq!(plain[5..], ["shared/uploads/a b.jpg", "shared/uploads/link"]);
        assert_eq!(archived.entries, 7);
    }

    #[test]
    fn what_is_left_out_is_left_out_by_whatever_name_it_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("volume/data/nas")).unwrap();
        fs::write(dir.path().join("volume/data/nas/backup"), "large").unwrap();
        std::os::unix::fs::symlink("volume", dir.path().join("link")).unwrap();
        let (path, leave_out) = (dir.path().join("link/data"), [dir.path().join("volume/data/nas")]);
        let files = Files { path: &path, name: Path::new("data"), exclude: &[], leave_out: &leave_out };
        assert_eq!(archive(&files, &mut Vec::new(), &Always).unwrap().entries, 1);
    }

    /// What `tar` makes of an archive.
    fn unpacked(bytes: &[u8]) -> tempfile::TempDir {
        let out = tempfile::tempdir().unwrap();
        fs::write(out.path().join("archive.tar"), bytes).unwrap();
        let done = std::process::Command::new("tar").args(["-xf", "archive.tar"]).current_dir(out.path()).output();
        let done = done.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        out
    }

    #[test]
    fn a_set_that_is_one_file_is_a_file_to_tar() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("app.conf"), "listen = 80").unwrap();
        std::os::unix::fs::symlink("app.conf", dir.path().join("link.conf")).unwrap();
        // A link is what it leads to where the state file names it.
        for name in ["app.conf", "link.conf"] {
            let path = dir.path().join(name);
            let files = Files { path: &path, name: Path::new("etc/app.conf"), exclude: &[], leave_out: &[] };
            let mut bytes = Vec::new();
            assert_eq!(archive(&files, &mut bytes, &Always).unwrap().entries, 1);
            let out = unpacked(&bytes);
            assert_eq!(fs::read_to_string(out.path().join("etc/app.conf")).unwrap(), "listen = 80");
        }
        let path = dir.path().join("socket");
        let _socket = UnixListener::bind(&path).unwrap();
        let files = Files { path: &path, name: Path::new("socket"), exclude: &[], leave_out: &[] };
        let told = archive(&files, &mut Vec::new(), &Always).unwrap_err().to_string();
        assert!(told.contains("socket is neither a directory nor a file"), "{told}");
    }

    /// Exchanges an entry at the last moment: after it was looked at, and before it is opened.
    struct Exchanges<F>(std::sync::Mutex<Option<F>>);
    impl<F: FnOnce()> Wanted for Exchanges<F> {
        fn is_wanted(&self) -> bool {
            if let Some(exchange) = self.0.lock().unwrap().take() {
                exchange();
            }
            true
        }
    }

    /// Archives a directory in which `entry` becomes another thing while it is opened. In a thread: a pipe would be waited
    /// for, for ever.
    fn exchanged(before: fn(&Path), after: fn(&Path, &Path)) -> (Vec<u8>, Archived) {
        let dir = tempfile::tempdir().unwrap();
        let (shared, outside) = (dir.path().join("shared"), dir.path().join("outside"));
        fs::create_dir(&shared).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "planted-secret").unwrap();
        before(&shared.join("entry"));
        let (done, archived) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let entry = shared.join("entry");
            let exchange = Exchanges(std::sync::Mutex::new(Some(|| after(&entry, &outside))));
            let files = Files { path: &shared, name: Path::new("shared"), exclude: &[], leave_out: &[] };
            let mut bytes = Vec::new();
            let archived = archive(&files, &mut bytes, &exchange).unwrap();
            let _ = done.send((bytes, archived));
        });
        archived.recv_timeout(std::time::Duration::from_secs(60)).expect("an archive waits for a pipe")
    }

    #[test]
    fn what_is_exchanged_while_it_is_opened_leads_nowhere_else() {
        let file = |path: &Path| fs::write(path, "mine").unwrap();
        let holds = |bytes: &[u8]| bytes.windows(14).any(|window| window == b"planted-secret");
        // A file becomes a link to one that only the maker of backups may read.
        let (bytes, archived) = exchanged(file, |entry, outside| {
            fs::remove_file(entry).unwrap();
            std::os::unix::fs::symlink(outside.join("secret"), entry).unwrap();
        });
        assert!(!holds(&bytes) && archived.entries == 2, "{archived:?}");
        assert!(fs::symlink_metadata(unpacked(&bytes).path().join("shared/entry")).unwrap().is_symlink());
        // A directory becomes a link to another one.
        let (bytes, archived) = exchanged(
            |path| fs::create_dir(path).unwrap(),
            |entry, outside| {
                fs::remove_dir(entry).unwrap();
                std::os::unix::fs::symlink(outside, entry).unwrap();
            },
        );
        assert!(!holds(&bytes) && archived.entries == 2, "{archived:?}");
        // A file becomes a pipe that nobody writes into.
        let (_, archived) = exchanged(file, |entry, _| {
            fs::remove_file(entry).unwrap();
            rustix::fs::mknodat(CWD, entry, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        });
        assert_eq!(archived.special, ["entry (pipe)"]);
        // A file becomes another file, as programs write theirs: it is that one, whole.
        let (bytes, archived) = exchanged(file, |entry, _| {
            fs::write(entry.with_extension("new"), "the new one").unwrap();
            fs::rename(entry.with_extension("new"), entry).unwrap();
        });
        assert_eq!(fs::read_to_string(unpacked(&bytes).path().join("shared/entry")).unwrap(), "the new one");
        assert_eq!(archived.warnings, Vec::<String>::new());
        // What is gone is named.
        let (_, archived) = exchanged(file, |entry, _| fs::remove_file(entry).unwrap());
        assert_eq!(archived.warnings, ["changed while they were read: entry"]);
    }

    #[test]
    fn a_file_that_another_program_has_leased_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("leased");
        fs::write(&path, "the contents").unwrap();
        let holder = File::open(&path).unwrap();
        let lease = |command: libc::c_int, kind: libc::c_int| {
            // SAFETY: the call takes three numbers; the file is open.
            #[allow(unsafe_code)]
            unsafe {
                libc::fcntl(holder.as_raw_fd(), command, kind)
            }
        };
        // Linux's number for it, which the crate does not know.
        const F_SETSIG: libc::c_int = 10;
        // Who holds it is told by a signal, which by itself ends a program: by one that does not.
        assert_eq!((lease(F_SETSIG, libc::SIGURG), lease(libc::F_SETLEASE, libc::F_WRLCK)), (0, 0));
        let bytes = std::thread::scope(|scope| {
            let archiving = scope.spawn(|| {
                let files = Files { path: dir.path(), name: Path::new("shared"), exclude: &[], leave_out: &[] };
                let mut bytes = Vec::new();
                archive(&files, &mut bytes, &Always).map(|_| bytes)
            });
            let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
            while !archiving.is_finished() && lease(libc::F_GETLEASE, 0) == libc::F_WRLCK {
                assert!(std::time::Instant::now() < until, "nobody wants it");
                std::thread::yield_now();
            }
            lease(libc::F_SETLEASE, libc::F_UNLCK);
            archiving.join().unwrap()
        });
        assert_eq!(fs::read_to_string(unpacked(&bytes.unwrap()).path().join("shared/leased")).unwrap(), "the contents");
    }

    #[test]
    fn a_file_that_shrinks_leaves_the_archive_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, [7; 10]).unwrap();
        let mut exact = Exact { file: File::open(&path).unwrap(), left: 20, short: false };
        let mut all = Vec::new();
        exact.read_to_end(&mut all).unwrap();
        assert_eq!((all.len(), all[9], all[10], exact.short), (20, 7, 0, true));
    }
}
