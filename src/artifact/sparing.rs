//! A file whose growth leaves some room on its disk for whoever else writes there. A bundle lies beside the journal of its
//! runs: a bundle that does not fit must not keep the run from writing down that it did not.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// The room that is left, in bytes; on a small disk the eighth part of it.
const LEFT: u64 = 16 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Sparing(File);

impl Sparing {
    pub(super) fn new(file: File) -> Self {
        Sparing(file)
    }

    pub(super) fn file(&self) -> &File {
        &self.0
    }

    /// Whether so many bytes more leave the room that is left for others.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`], as if there were no room at all: so many bytes more would take what is left for
    /// others.
    fn spares(&self, bytes: usize) -> io::Result<()> {
        let disk = rustix::fs::fstatvfs(&self.0)?;
        let size = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        let left = LEFT.min(size(disk.f_blocks) / 8);
        // Some file systems do not count their blocks.
        match disk.f_blocks > 0 && size(disk.f_bavail) < left.saturating_add(bytes as u64) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl Write for Sparing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.spares(bytes.len())?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Seek for Sparing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    /// Nobody writes so much beside it in the meantime that it matters: the file asks for more than the disk has.
    #[test]
    fn a_write_that_would_take_what_is_left_for_others_finds_no_room() {
        let mut sparing = Sparing::new(tempfile::tempfile().unwrap());
        sparing.write_all(b"little").unwrap();
        let all = rustix::fs::fstatvfs(sparing.file()).unwrap();
        let all = usize::try_from(all.f_blocks * all.f_frsize).unwrap();
        assert_eq!(sparing.spares(all).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(sparing.file().metadata().unwrap().size(), 6);
    }
}
