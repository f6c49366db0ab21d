//! What lies in ROOT and is nobody's who prepares one: where nothing was deployed yet, it is an application that is live there.
//! Reads names only.

use std::fs;
use std::path::Path;

use crate::host::disk::root::{Root, list};
use crate::host::wire::HostError;
use crate::model::observed::{Current, Foreign};

/// What belongs to the layout, and what a file system makes in its own root: never moved, never in the way.
pub const LAYOUT: [&str; 5] = [".soll", "releases", "shared", "current", "lost+found"];
/// What other deployment tools keep beside their releases, and what runs nothing: logs, scratch, copies.
const BESIDE: [&str; 7] = ["repo", "revisions.log", "log", "logs", "tmp", "backup", "backups"];
/// A hidden entry is somebody's settings (`.env`, `.htaccess`, a home directory's own), unless it makes ROOT a checkout.
const CHECKOUT: [&str; 4] = [".git", ".hg", ".svn", ".bzr"];
/// So many names are told.
const TOLD: usize = 5;
/// So many entries of a directory are looked at until it counts as one that holds something.
const LOOKED: usize = 1_000;

/// What is there that no layout has, in the order of the names. Nothing where something was deployed: beside that, people
/// keep what they like.
///
/// # Errors
/// ROOT cannot be listed.
pub fn found(root: &Root, current: &Current, is_confirmed: bool) -> Result<Foreign, HostError> {
    if *current != Current::Missing || is_confirmed {
        return Ok(Foreign::default());
    }
    let mut names = Vec::new();
    for entry in list(root.path())? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_foreign(root, &name, &entry.path()) {
            names.push(name);
        }
    }
    names.sort();
    let count = names.len();
    names.truncate(TOLD);
    Ok(Foreign { names, count })
}

fn is_foreign(root: &Root, name: &str, path: &Path) -> bool {
    if LAYOUT.contains(&name) || BESIDE.contains(&name) || (name.starts_with('.') && !CHECKOUT.contains(&name)) {
        return false;
    }
    match fs::symlink_metadata(path) {
        // A place for a web server to point at, made before there is anything that it leads to.
        Ok(meta) if meta.is_symlink() => {
            !fs::read_link(path).is_ok_and(|to| root.path().join(to).starts_with(root.current()))
        }
        Ok(meta) if meta.is_dir() => holds_something(path, &mut LOOKED.clone()),
        // A file without contents is a mark that somebody set for a check or a script.
        Ok(meta) if meta.is_file() => meta.len() > 0,
        // Gone meanwhile, or nobody may look: that it is there was seen.
        _ => true,
    }
}

/// Whether there is anything in it but directories, and files that keep them in a repository.
fn holds_something(dir: &Path, left: &mut usize) -> bool {
    let Ok(entries) = list(dir) else { return true };
    entries.iter().any(|entry| {
        *left = left.saturating_sub(1);
        let kept = [".gitkeep", ".keep"].iter().any(|name| entry.file_name() == *name);
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        *left == 0 || if is_dir { holds_something(&entry.path(), left) } else { !kept }
    })
}
