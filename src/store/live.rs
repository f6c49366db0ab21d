//! Who is alive: a file per unfinished run, locked by the process that works on it. The kernel drops the lock with the
//! process, so no reused process id and no other container can be taken for it.

use std::fs::TryLockError;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::PoisonError;

use super::{Store, StoreError, private};
use crate::model::ids::RunId;

impl Store {
    /// Whether the process that works on a run is there, this one included.
    pub fn alive(&self, run: &RunId) -> Result<bool, StoreError> {
        let path = self.live_path(run);
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(StoreError::Io { path, error }),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(StoreError::Io { path, error }),
        }
    }

    /// Says that this process works on a run: before its row can be seen.
    pub(super) fn claim(&self, run: &RunId) -> Result<(), StoreError> {
        let path = self.live_path(run);
        let io = |error| StoreError::Io { path: path.clone(), error };
        let file = private(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Twice(run.clone())),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        self.live.lock().unwrap_or_else(PoisonError::into_inner).insert(run.clone(), file);
        Ok(())
    }

    /// The run is over, or never began.
    pub(super) fn give_up(&self, run: &RunId) {
        let held = self.live.lock().unwrap_or_else(PoisonError::into_inner).remove(run);
        if held.is_some() {
            self.forget(run);
        }
    }

    /// Removes the file of a run that is over. One that stays behind is an empty file and says nothing wrong.
    pub(super) fn forget(&self, run: &RunId) {
        if let Err(error) = std::fs::remove_file(self.live_path(run))
            && error.kind() != ErrorKind::NotFound
        {
            tracing::debug!(%run, %error, "the lock file of a finished run stays behind");
        }
    }

    fn live_path(&self, run: &RunId) -> PathBuf {
        self.live_dir.join(run.as_str())
    }
}
