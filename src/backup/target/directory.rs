//! A directory of this machine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, CWD, OFlags, RenameFlags};

use super::{Found, NO_RIGHT};
use crate::backup::{BackupError, at, room};
use crate::model::backup::name::{TRASH, UNFINISHED};

/// A directory that is there already: what a mount point hides is not written to by mistake.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
}

/// A file on its way.
pub struct Part {
    file: File,
    part: PathBuf,
    whole: PathBuf,
    bytes: u64,
    done: bool,
}

impl Directory {
    /// This one. `make`: it is made where it is missing.
    ///
    /// # Errors
    /// It is not there, or no directory.
    pub fn open(path: &Path, make: bool) -> Result<Directory, BackupError> {
        if make {
            make_missing(path)?;
        }
        let place = path.display();
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => Ok(Directory { path: path.to_owned() }),
            Ok(_) => Err(BackupError(format!("{place} is no directory: name one for the backups"))),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(BackupError(format!(
                "{place} is not there: mount what belongs there, or make it: mkdir -p -m 700 '{place}'"
            ))),
            Err(error) => Err(at("look at", path)(error)),
        }
    }

    fn sub(&self, dir: &str) -> PathBuf {
        self.path.join(dir)
    }

    /// See [`super::Target::put`].
    pub fn put(&self, dir: &str, name: &str) -> Result<Part, BackupError> {
        let sub = self.sub(dir);
        make_missing(&sub)?;
        let (part, whole) = (sub.join(format!("{name}{UNFINISHED}")), sub.join(name));
        if fs::symlink_metadata(&whole).is_ok() {
            return Err(BackupError(format!("{} is there already, and no backup is overwritten", whole.display())));
        }
        let open = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
        let file = open().or_else(|error| match error.kind() {
            // Of a run that broke off: whoever holds the root is the only one who writes here.
            ErrorKind::AlreadyExists => fs::remove_file(&part).and_then(|()| open()),
            _ => Err(error),
        });
        let file = file.map_err(at("write", &part))?;
        Ok(Part { file, part, whole, bytes: 0, done: false })
    }

    /// See [`super::Target::list`].
    pub fn list(&self, dir: &str) -> Result<Vec<Found>, BackupError> {
        self.files(dir, |name| !name.ends_with(UNFINISHED))
    }

    /// See [`super::Target::unfinished`].
    pub fn unfinished(&self, dir: &str) -> Result<Vec<Found>, BackupError> {
        self.files(dir, |name| name.ends_with(UNFINISHED))
    }

    fn files(&self, dir: &str, wanted: fn(&str) -> bool) -> Result<Vec<Found>, BackupError> {
        let sub = self.sub(dir);
        let entries = match fs::read_dir(&sub) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(at("list", &sub)(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(at("list", &sub))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(at("look at", &entry.path())(error)),
            };
            if meta.is_file() && wanted(&name) {
                found.push(Found { name, bytes: meta.len() });
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// See [`super::Target::read`].
    pub fn read(&self, dir: &str, name: &str) -> Result<File, BackupError> {
        let path = self.sub(dir).join(name);
        // Neither a link is followed nor a pipe waited for, whoever else writes there.
        let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&path).map_err(at("read", &path))?;
        match file.metadata().map_err(at("look at", &path))?.is_file() {
            true => Ok(file),
            false => Err(BackupError(format!("{} is no regular file, and no backup", path.display()))),
        }
    }

    /// See [`super::Target::remove`].
    pub fn remove(&self, dir: &str, name: &str) -> Result<(), BackupError> {
        let (from, trash) = (self.sub(dir).join(name), self.sub(TRASH));
        make_missing(&trash)?;
        let to = trash.join(format!("{dir}-{name}").replace('/', "-"));
        let refused = |error: io::Error| match error.kind() {
            ErrorKind::PermissionDenied => BackupError(format!("{NO_RIGHT}: {}: {error}", from.display())),
            _ => at("remove", &from)(error),
        };
        fs::rename(&from, &to).map_err(refused)?;
        fs::remove_file(&to).map_err(|error| {
            // It counts as before: a manifest alone in the trash would make a good backup one without.
            let back = fs::rename(&to, &from).err();
            let lies = back.map(|back| format!("; it lies in {} now: {back}", to.display()));
            BackupError(format!("{}{}", refused(error), lies.unwrap_or_default()))
        })
    }

    /// See [`super::Target::room`].
    pub fn room(&self) -> Result<Option<u64>, BackupError> {
        room::free(&self.path).map_err(at("ask for the room of", &self.path))
    }
}

impl Part {
    /// See [`super::Put::end`].
    pub fn end(mut self) -> Result<(), BackupError> {
        self.file.sync_all().map_err(at("write", &self.part))?;
        // What is read back comes from where it was written to, and not from memory.
        let _ = rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed);
        let there = self.file.metadata().map_err(at("look at", &self.part))?.size();
        if there != self.bytes {
            let part = self.part.display();
            return Err(BackupError(format!("{part} has {there} bytes where {} were written", self.bytes)));
        }
        rustix::fs::renameat_with(CWD, &self.part, CWD, &self.whole, RenameFlags::NOREPLACE)
            .or_else(|error| match error {
                // File systems over a network do not know it; nobody else writes here while the root is held.
                rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS => rustix::fs::rename(&self.part, &self.whole),
                error => Err(error),
            })
            .map_err(at("name", &self.whole))?;
        self.done = true;
        if let Some(dir) = self.whole.parent() {
            File::open(dir).and_then(|dir| dir.sync_all()).map_err(at("write", dir))?;
        }
        Ok(())
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes).map_err(|error| {
            let place = self.part.display();
            match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    io::Error::new(error.kind(), format!("{place} does not fit: the target is full; make room there"))
                }
                _ => io::Error::new(error.kind(), format!("cannot write {place}: {error}")),
            }
        })?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.done {
            // What stays is a `.part`, which never counts.
            let _ = fs::remove_file(&self.part);
        }
    }
}

fn make_missing(path: &Path) -> Result<(), BackupError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(at("make", path)(error)),
        _ => Ok(()),
    }
}
