//! What a directory that is made in another one has from it: the group, and the access list for what is made in it. A tree
//! that is built aside gets it from the directory that it will be moved to.

use rustix::fs::{Gid, XattrFlags};

use super::{Dir, at};
use crate::host::wire::HostError;

const SETGID: u32 = 0o2000;
/// Where Linux keeps the access list that a new file in a directory begins with.
const DEFAULT_ACL: &str = "system.posix_acl_default";
/// Longer than any list that a file system takes.
const LONGEST: usize = 64 << 10;

impl Dir {
    /// Gives this directory, which is empty, what it would have if it had been made in `parent`; `false`: nothing.
    ///
    /// # Errors
    /// The operating system said no.
    pub fn inherit(&self, parent: &Dir) -> Result<bool, HostError> {
        let (own, theirs) = (self.own_stat()?, parent.own_stat()?);
        let failed = at("set what is inherited by", &self.path);
        let of_group = theirs.st_mode & SETGID != 0;
        if of_group {
            rustix::fs::fchown(&self.fd, None, Some(Gid::from_raw(theirs.st_gid))).map_err(&failed)?;
            self.set_own_mode(own.st_mode & 0o777 | SETGID)?;
        }
        let mut list = vec![0; LONGEST];
        // A file system without such lists has none to give.
        let length = rustix::fs::fgetxattr(&parent.fd, DEFAULT_ACL, &mut list).unwrap_or(0);
        if length > 0 {
            let list = list.get(..length).unwrap_or_default();
            rustix::fs::fsetxattr(&self.fd, DEFAULT_ACL, list, XattrFlags::empty()).map_err(&failed)?;
        }
        Ok(of_group || length > 0)
    }

    /// Makes a directory with this mode, and with the group that it has from this one.
    ///
    /// # Errors
    /// The operating system said no.
    pub fn make_inheriting(&self, name: &str, mode: u32) -> Result<(), HostError> {
        let inherited = self.own_stat()?.st_mode & SETGID;
        self.make_as(name, mode | inherited).map(drop)
    }
}
