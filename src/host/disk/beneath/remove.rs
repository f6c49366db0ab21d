//! Removing what has a name in an opened directory, and all that is below it, through no link, as far as this user may.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{Access, AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{DIRECTORY, Dir, at};
use crate::host::wire::HostError;

/// What could not be removed.
#[derive(Debug, Clone)]
pub struct Stuck {
    pub path: PathBuf,
    pub error: Errno,
    /// Whose it is.
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

impl Dir {
    /// Removes whatever has this name, and all that is below it, through no link; nothing there is fine.
    pub fn remove(&self, name: &str) -> Result<(), HostError> {
        let mut stuck = Vec::new();
        self.remove_as_far_as_possible(name, &mut stuck)?;
        stuck.first().map_or(Ok(()), |one| Err(at("remove", &one.path)(one.error)))
    }

    /// The same, and goes on where something cannot be removed: each such place is added to `stuck`, those above it are not.
    ///
    /// # Errors
    /// The name is none.
    pub fn remove_as_far_as_possible(&self, name: &str, stuck: &mut Vec<Stuck>) -> Result<(), HostError> {
        let name = CString::new(name).map_err(|error| at("remove", &self.path.join(name))(io::Error::from(error)))?;
        self.remove_all(&name, stuck);
        Ok(())
    }

    /// Whether nothing has that name any more.
    pub(super) fn remove_all(&self, name: &CStr, stuck: &mut Vec<Stuck>) -> bool {
        let first = match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return true,
            Err(error) => error,
        };
        let done = match rustix::fs::openat(&self.fd, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(fd) => Dir { fd, path: self.path.join(OsStr::from_bytes(name.to_bytes())) }.empty(stuck),
            // Not a directory: what was said first is what is in the way.
            Err(Errno::NOTDIR | Errno::LOOP) => Err(first),
            Err(error) => Err(error),
        };
        let done = done.and_then(|empty| match empty {
            true => rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR).map(|()| true),
            false => Ok(false),
        });
        match done {
            Ok(gone) => gone,
            Err(Errno::NOENT) => true,
            Err(error) => {
                stuck.extend(self.stuck(name, error));
                false
            }
        }
    }

    /// Removes all that is in this directory; whether nothing is left.
    fn empty(&self, stuck: &mut Vec<Stuck>) -> Result<bool, Errno> {
        // Whoever may not write here removes nothing here: that is said of the directory, not of each entry.
        rustix::fs::accessat(&self.fd, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::empty())?;
        let mut empty = true;
        for name in self.raw_names()? {
            empty &= self.remove_all(&name, stuck);
        }
        Ok(empty)
    }

    fn stuck(&self, name: &CStr, error: Errno) -> Option<Stuck> {
        let stat = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let path = self.path.join(OsStr::from_bytes(name.to_bytes()));
        Some(Stuck { path, error, uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode })
    }
}
