//! Room that is kept for the record, so that a host whose disk is full can still go back: files of spaces in `.soll/`. A
//! record that finds no room is written over one of them, behind which nothing is ever written, and takes its place by a
//! rename: that needs neither a block nor an inode, whoever else fills the disk meanwhile.

use std::io::{self, Seek, SeekFrom, Write};

use rustix::fs::OFlags;

use crate::host::disk::root::Root;
use crate::host::disk::trust;

/// A way back writes the record a few times; each time frees the room of the one before.
const FILES: usize = 4;
/// No file is smaller.
const LEAST: u64 = 16 << 10;
/// A record that has grown since finds room, too.
const TIMES: u64 = 2;

fn name(number: usize) -> String {
    format!("reserve.{number}")
}

/// Keeps as much room as the record may need, as far as there is any. For who holds the root.
pub fn fill(root: &Root) {
    let Ok(Some(own)) = root.own_dir_if("") else { return };
    let length = |name: &str| own.stat(name).ok().flatten().map(|stat| u64::try_from(stat.st_size).unwrap_or(0));
    let wanted = (length("record.json").unwrap_or(0) * TIMES).next_multiple_of(4096).max(LEAST);
    for name in (0..FILES).map(name) {
        if length(&name).is_some_and(|length| length >= wanted) {
            continue;
        }
        let spaces = vec![b' '; usize::try_from(wanted).unwrap_or(0)];
        let made = own.remove(&name).and_then(|()| own.create(&name, 0o600));
        let made = made.is_ok_and(|mut file| file.write_all(&spaces).is_ok());
        if !made {
            // Half of one is no use, and takes what others need.
            let _ = own.unlink(&name);
            return;
        }
    }
}

/// Writes a file of `.soll/` that is JSON over room that was kept.
///
/// # Errors
/// None is left that is large enough: then all of it was given up, and there may be room now.
pub fn write(root: &Root, to: &str, bytes: &[u8]) -> io::Result<()> {
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    let own = root.own_dir_if("").ok().flatten().ok_or_else(full)?;
    for name in (0..FILES).map(name) {
        let Ok(Some(mut file)) = trust::file(&own, &name, OFlags::WRONLY, root.path()) else { continue };
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        if length < bytes.len() {
            continue;
        }
        file.seek(SeekFrom::Start(0))?;
        file.write_all(bytes)?;
        // What stands behind it stays as long as it was: JSON may end in spaces.
        file.write_all(&vec![b' '; length - bytes.len()])?;
        file.sync_all()?;
        own.try_rename(&name, to)?;
        own.try_sync()?;
        return Ok(());
    }
    while give_up_one(root) {}
    Err(full())
}

/// Gives up a part of it, for something else that cannot be done without; whether there was any.
pub fn give_up_one(root: &Root) -> bool {
    let Ok(Some(own)) = root.own_dir_if("") else { return false };
    (0..FILES).rev().map(name).any(|name| own.unlink(&name).is_ok())
}
