//! A lock between processes: a file that is there while somebody holds it.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::files::{FileError, at};

/// Held until it is dropped, or its process ends.
pub(super) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Waits until nobody else holds it.
    pub(super) async fn wait(path: &Path) -> Result<Lock, FileError> {
        // Asking again and again, instead of waiting in the kernel, lets the caller be cancelled.
        let mut pause = Duration::from_millis(5);
        loop {
            if let Some(lock) = Lock::attempt(path)? {
                return Ok(lock);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(25));
        }
    }

    /// Takes it, unless somebody else holds it.
    pub(super) fn attempt(path: &Path) -> Result<Option<Lock>, FileError> {
        let file = File::options().write(true).create(true).truncate(false).open(path).map_err(at("opening", path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(at("locking", path)(error.into())),
        }
        // Whoever held it before may have retired it: then this is the lock of a file that is gone.
        let same = |found: std::fs::Metadata| file.metadata().is_ok_and(|own| own.ino() == found.ino());
        if !std::fs::metadata(path).is_ok_and(same) {
            return Ok(None);
        }
        Ok(Some(Lock { path: path.to_owned(), _file: file }))
    }

    /// Removes the lock file, while it is still held.
    pub(super) fn retire(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
