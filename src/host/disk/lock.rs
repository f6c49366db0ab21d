//! Who holds a root: an `flock` that the agent's process keeps, with the holder's name in the file. The kernel gives it
//! back when the process is gone, so there is no stale lock to break.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};

use rustix::fs::{FlockOperation, OFlags};

use crate::host::disk::beneath::at;
use crate::host::disk::room;
use crate::host::disk::root::{Root, now};
use crate::host::wire::HostError;
use crate::model::ids::Epoch;
use crate::model::record::Holder;

/// A held root. Dropping it gives it back.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Takes the root, without waiting.
    ///
    /// # Errors
    /// [`HostError::Locked`] names the holder.
    pub fn take(root: &Root, holder: &Holder) -> Result<Lock, HostError> {
        let path = root.own("lock");
        let failed = at("lock", &path);
        let _turn = root.turn()?;
        let file = root.own_file("lock", OFlags::RDWR | OFlags::CREATE)?;
        let mut file = file.ok_or_else(|| failed(ErrorKind::NotFound.into()))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let holder = read(&mut file).unwrap_or_else(unnamed);
                return Err(HostError::Locked { root: root.path().display().to_string(), holder: Box::new(holder) });
            }
            Err(error) => return Err(failed(error.into())),
        }
        let text = serde_json::to_vec(holder).unwrap_or_default();
        let written = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).and_then(|_| file.write_all(&text));
        let lock = Lock(file);
        match written {
            // The name of the holder is for people. Whoever has no room for it may be about to make some.
            Err(error) if !room::is_no_room(&error) => Err(failed(error)),
            _ => Ok(lock),
        }
    }

    /// Who holds the root now, if anyone does.
    pub fn holder(root: &Root) -> Result<Option<Holder>, HostError> {
        let path = root.own("lock");
        let Ok(Some(mut file)) = root.own_file("lock", OFlags::RDONLY) else { return Ok(None) };
        // Testing means taking for a moment: the turn keeps that moment from refusing a run that wants the root.
        let _turn = root.turn()?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {
                let _ = rustix::fs::flock(&file, FlockOperation::Unlock);
                Ok(None)
            }
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(Some(read(&mut file).unwrap_or_else(unnamed))),
            Err(error) => Err(at("look at the lock", &path)(error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.set_len(0);
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

fn read(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// The lock is held by someone who had no room on the disk for a name.
fn unnamed() -> Holder {
    Holder { who: "a process that left no name".to_owned(), since: now(), epoch: Epoch::default(), pid: 0 }
}
