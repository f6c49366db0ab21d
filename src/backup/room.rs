//! How much still goes on the disk below a directory.

use std::io;
use std::path::Path;

/// How many bytes a user may still write there. `None`: nobody can say. File systems that are made of others, or lie behind a
/// network, answer that they have no blocks at all, or nothing: that is no full disk.
///
/// # Errors
/// The directory cannot be asked.
pub fn free(path: &Path) -> io::Result<Option<u64>> {
    use rustix::io::Errno;
    match rustix::fs::statvfs(path) {
        Ok(stat) => Ok(said(stat.f_blocks, stat.f_bavail, stat.f_frsize)),
        Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What a file system says of itself. `unit`: the size of a block in bytes.
pub fn said(blocks: u64, free: u64, unit: u64) -> Option<u64> {
    (blocks > 0 && unit > 0).then(|| free.saturating_mul(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_blocks_is_no_full_one() {
        assert_eq!((said(0, 0, 4096), said(10, 5, 0)), (None, None));
        assert_eq!((said(10, 0, 4096), said(10, 5, 4096)), (Some(0), Some(20480)));
        assert_eq!(free(Path::new("/proc")).unwrap(), None);
        assert!(free(Path::new("/")).unwrap().is_some());
        assert!(free(Path::new("/nowhere at all")).is_err());
    }
}
