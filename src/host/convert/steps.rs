//! One step of a conversion, forward and back. Each may be done a second time after a crash, either way.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::fault::fault;
use crate::host::disk::beneath::{Dir, at};
use crate::host::disk::root::Root;
use crate::host::wire::HostError;
use crate::host::wire::convert::Step;

impl Step {
    /// Does it.
    pub fn forward(&self, root: &Root) -> Result<(), HostError> {
        let path = |rel: &str| root.path().join(rel);
        match self {
            Step::Make { path: rel } => make(&path(rel)),
            Step::Move { from, to } => shift(&path(from), &path(to)),
            Step::Link { path: rel, text } => link(&path(rel), text),
            Step::Relink { path: rel, text, .. } => relink(&path(rel), text),
            Step::Current { text } => {
                fault!("host.convert.before-current");
                relink(&root.current(), text)?;
                fault!("host.convert.after-current");
                Ok(())
            }
        }
    }

    /// Undoes it, where it was done.
    pub fn back(&self, root: &Root) -> Result<(), HostError> {
        let path = |rel: &str| root.path().join(rel);
        match self {
            // What holds anything, or is gone, is not ours to remove.
            Step::Make { path: rel } => {
                let _ = fs::remove_dir(path(rel));
                Ok(())
            }
            Step::Move { from, to } => shift(&path(to), &path(from)),
            Step::Link { path: rel, text } => unlink(&path(rel), text),
            Step::Relink { path: rel, was, text } => match reads(&path(rel), text) {
                true => relink(&path(rel), was),
                false => Ok(()),
            },
            Step::Current { text } => unlink(&root.current(), text),
        }
    }
}

fn there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn reads(path: &Path, text: &str) -> bool {
    fs::read_link(path).is_ok_and(|there| there == Path::new(text))
}

fn parts(path: &Path) -> Result<(Dir, String), HostError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(HostError::Io(format!("{} has no directory", path.display())));
    };
    Ok((Dir::open(parent)?, name.to_string_lossy().into_owned()))
}

fn make(path: &Path) -> Result<(), HostError> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir(path).map_err(at("make the directory", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(at("set the mode of", path))?;
    parts(path)?.0.sync()
}

fn shift(from: &Path, to: &Path) -> Result<(), HostError> {
    match (there(from), there(to)) {
        (true, false) => {
            // Not `Dir::move_to`: where the flag is not known, a check has to do, for files have no empty stand-in.
            let ((old, _), (new, _)) = (parts(from)?, parts(to)?);
            fs::rename(from, to).map_err(|error| {
                HostError::Io(format!("cannot move {} to {}: {error}", from.display(), to.display()))
            })?;
            new.sync()?;
            old.sync()
        }
        (false, true) => Ok(()),
        (true, true) => Err(HostError::Precondition(format!(
            "{} is there, and so is {}: move one of them away, then run it again",
            from.display(),
            to.display()
        ))),
        (false, false) => Err(HostError::Precondition(format!(
            "neither {} nor {} is there: somebody moved it by hand",
            from.display(),
            to.display()
        ))),
    }
}

fn link(path: &Path, text: &str) -> Result<(), HostError> {
    if reads(path, text) {
        return Ok(());
    }
    let (dir, name) = parts(path)?;
    dir.link(text, &name)?;
    dir.sync()
}

fn unlink(path: &Path, text: &str) -> Result<(), HostError> {
    if !reads(path, text) {
        return Ok(());
    }
    let (dir, name) = parts(path)?;
    dir.unlink(&name)?;
    dir.sync()
}

/// A link with another text, in one rename.
fn relink(path: &Path, text: &str) -> Result<(), HostError> {
    if reads(path, text) {
        return Ok(());
    }
    let (dir, name) = parts(path)?;
    // A leftover of a killed process.
    let temp = format!(".{name}.tmp-soll");
    if there(&dir.path().join(&temp)) {
        dir.unlink(&temp)?;
    }
    dir.link(text, &temp)?;
    fs::rename(dir.path().join(&temp), path).map_err(at("switch the link", path))?;
    dir.sync()
}
