//! One step of a conversion, forward and back. Each may be done a second time after a crash, either way.

use rustix::io::Errno;

use crate::fault::fault;
use crate::host::disk::beneath::{Dir, at, is_dir, is_link};
use crate::host::disk::root::Root;
use crate::host::wire::HostError;
use crate::host::wire::convert::Step;

impl Step {
    /// Does it.
    pub fn forward(&self, root: &Root) -> Result<(), HostError> {
        match self {
            Step::Make { path } => make(root, path),
            Step::Move { from, to } => shift(root, from, to),
            Step::Link { path, text } => link(root, path, text),
            Step::Relink { path, text, .. } => relink(root, path, text),
            Step::Current { text } => {
                fault!("host.convert.before-current");
                relink(root, "current", text)?;
                fault!("host.convert.after-current");
                Ok(())
            }
        }
    }

    /// Undoes it, where it was done.
    pub fn back(&self, root: &Root) -> Result<(), HostError> {
        match self {
            Step::Make { path } => {
                unmake(root, path);
                Ok(())
            }
            Step::Move { from, to } => shift(root, to, from),
            Step::Link { path, text } => unlink(root, path, text),
            Step::Relink { path, was, text } => {
                let (dir, name) = parts(root, path)?;
                if reads(&dir, name, text) { relink(root, path, was) } else { Ok(()) }
            }
            Step::Current { text } => unlink(root, "current", text),
        }
    }
}

/// The directory in ROOT that a path lies in, reached through no link, and its name there: what is moved may belong to
/// the application's user, who could put a link in the way at any time.
fn parts<'a>(root: &Root, rel: &'a str) -> Result<(Dir, &'a str), HostError> {
    let ground = root.ground()?.ok_or_else(|| HostError::Io(format!("{} is not there", root.path().display())))?;
    ground.parent(rel)
}

/// Whether anything is there.
fn there(root: &Root, rel: &str) -> Result<bool, HostError> {
    let ground = root.ground()?.ok_or_else(|| HostError::Io(format!("{} is not there", root.path().display())))?;
    let (parent, name) = rel.rsplit_once('/').unwrap_or(("", rel));
    match ground.try_sub(parent) {
        Ok(dir) => Ok(dir.stat(name)?.is_some()),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(at("look into", &root.path().join(parent))(error)),
    }
}

fn reads(dir: &Dir, name: &str, text: &str) -> bool {
    dir.stat(name).is_ok_and(|stat| stat.is_some_and(|stat| is_link(&stat)))
        && dir.target(name).is_ok_and(|is| is == text)
}

fn make(root: &Root, rel: &str) -> Result<(), HostError> {
    let (dir, name) = parts(root, rel)?;
    if dir.stat_behind(name)?.is_some_and(|stat| is_dir(&stat)) {
        return Ok(());
    }
    dir.make(name)?;
    dir.sync()
}

/// A directory that holds nothing goes; another one, or none, is not ours to remove.
fn unmake(root: &Root, rel: &str) {
    if let Ok((dir, name)) = parts(root, rel) {
        let _ = dir.remove_empty(name);
    }
}

fn shift(root: &Root, from: &str, to: &str) -> Result<(), HostError> {
    let path = |rel: &str| root.path().join(rel);
    match (there(root, from)?, there(root, to)?) {
        (true, false) => {
            // Not `Dir::move_to`: where the flag is not known, a check has to do, for files have no empty stand-in.
            let ((old, name), (new, as_name)) = (parts(root, from)?, parts(root, to)?);
            old.rename_into(name, &new, as_name)?;
            new.sync()?;
            old.sync()
        }
        (false, true) => Ok(()),
        (true, true) => Err(HostError::Precondition(format!(
            "{} is there, and so is {}: move one of them away, then run it again",
            path(from).display(),
            path(to).display()
        ))),
        (false, false) => Err(HostError::Precondition(format!(
            "neither {} nor {} is there: somebody moved it by hand",
            path(from).display(),
            path(to).display()
        ))),
    }
}

fn link(root: &Root, rel: &str, text: &str) -> Result<(), HostError> {
    let (dir, name) = parts(root, rel)?;
    if reads(&dir, name, text) {
        return Ok(());
    }
    dir.link(text, name)?;
    dir.sync()
}

fn unlink(root: &Root, rel: &str, text: &str) -> Result<(), HostError> {
    if !there(root, rel)? {
        return Ok(());
    }
    let (dir, name) = parts(root, rel)?;
    if !reads(&dir, name, text) {
        return Ok(());
    }
    dir.unlink(name)?;
    dir.sync()
}

/// A link with another text, in one rename.
fn relink(root: &Root, rel: &str, text: &str) -> Result<(), HostError> {
    let (dir, name) = parts(root, rel)?;
    if reads(&dir, name, text) {
        return Ok(());
    }
    // A leftover of a killed process.
    let temp = format!(".{name}.tmp-soll");
    if dir.stat(&temp)?.is_some() {
        dir.unlink(&temp)?;
    }
    dir.link(text, &temp)?;
    dir.rename(&temp, name)?;
    dir.sync()
}
