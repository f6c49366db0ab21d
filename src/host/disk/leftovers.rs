//! What was to go and did not: parts of old releases that another user of the host wrote, so that the agent may not
//! remove them. They are out of the way in `.soll/trash/`, they are told, and they stop nothing (A7).

use rustix::io::Errno;

use crate::host::disk::beneath::{Dir, Stuck, at};
use crate::host::disk::people;
use crate::host::disk::root::{Root, json};
use crate::host::wire::HostError;
use crate::model::observed::Leftover;

/// The directories of `.soll/` that hold nothing while nobody is at work.
const AREAS: [&str; 2] = ["staging", "trash"];
/// What the last attempt could not remove.
const NOTE: &str = "leftovers.json";
/// An old release may hold more of another user's files than anybody wants to read about.
pub const SHOWN: usize = 8;

/// Removes what lies in `.soll/staging/` and `.soll/trash/`, entry by entry, as far as the agent's user may, and notes what
/// stays, which it gives, too.
///
/// # Errors
/// `.soll/` itself cannot be used.
pub fn clear(root: &Root) -> Result<Vec<Leftover>, HostError> {
    let mut stuck = Vec::new();
    for area in AREAS {
        let dir = root.own_dir(area)?;
        for name in dir.names()? {
            dir.remove_as_far_as_possible(&name, &mut stuck)?;
        }
    }
    let left: Vec<_> = stuck.iter().take(SHOWN).map(leftover).collect();
    if left.is_empty() {
        root.remove_own(NOTE)?;
    } else if found(root) != left {
        root.write(NOTE, &json(&left)?)?;
    }
    Ok(left)
}

/// What the last attempt left, and is still there. Removes nothing.
pub fn found(root: &Root) -> Vec<Leftover> {
    let Ok(Some(bytes)) = root.read_own(NOTE) else { return Vec::new() };
    let noted: Vec<Leftover> = serde_json::from_slice(&bytes).unwrap_or_default();
    noted.into_iter().filter(|one| std::fs::symlink_metadata(&one.path).is_ok()).collect()
}

/// Moves what has this name out of the way, under a name that nothing there has yet. `false`: nothing that lies there can be
/// moved away, because a border of file systems, or of the layers of one, is between.
///
/// # Errors
/// It cannot be moved.
pub fn throw_away(from: &Dir, name: &str, trash: &Dir) -> Result<bool, HostError> {
    let mut as_name = name.to_owned();
    for again in 2.. {
        if trash.stat(&as_name)?.is_none() {
            break;
        }
        as_name = format!("{name}.{again}");
    }
    match from.try_move_to(name, trash, &as_name) {
        Ok(()) => Ok(true),
        Err(Errno::XDEV) => Ok(false),
        Err(error) => Err(at("move away", &from.path().join(name))(error)),
    }
}

fn leftover(stuck: &Stuck) -> Leftover {
    let owner = people::user(stuck.uid);
    let is = format!("{owner}:{} {:o}", people::group(stuck.gid), stuck.mode & 0o7777);
    Leftover { path: stuck.path.display().to_string(), is, owner, why: std::io::Error::from(stuck.error).to_string() }
}
