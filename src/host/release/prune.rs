//! Removing old releases. Which ones may go is the record's decision; that nobody is using them is looked up here.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::fault::fault;
use crate::host::disk::beneath::Dir;
use crate::host::disk::leftovers;
use crate::host::disk::root::Root;
use crate::host::release::compose::{self, Held};
use crate::host::release::contents::file_name;
use crate::host::release::observe::current;
use crate::host::release::render;
use crate::host::release::stamps;
use crate::host::wire::HostError;
use crate::model::ids::ReleaseName;
use crate::model::observed::Leftover;

/// What went.
pub struct Pruned {
    pub removed: Vec<ReleaseName>,
    pub kept_in_use: Vec<ReleaseName>,
    /// Of the removed ones, what this user may not remove.
    pub left: Vec<Leftover>,
}

/// What may go where there is no room for a new release: first what failed ones left, then the oldest of those beyond the
/// ones to be kept, of which the new one takes a place.
pub struct Cures(Vec<u32>);

impl Cures {
    /// `keep`: so many releases are kept; `None`: nothing goes.
    pub fn of(keep: Option<u32>) -> Cures {
        Cures(keep.iter().flat_map(|keep| [keep.saturating_sub(1), u32::MAX]).collect())
    }

    /// Lets the next ones go. None: there is nothing left that may.
    pub fn next(&mut self, root: &Root) -> Result<Vec<ReleaseName>, HostError> {
        while let Some(keep) = self.0.pop() {
            let removed = old(root, keep)?.removed;
            if !removed.is_empty() {
                return Ok(removed);
            }
        }
        Ok(Vec::new())
    }
}

/// A run is over: what it staged and did not bring to a success holds room that nobody uses.
pub fn give_back(root: &Root) {
    if let Err(error) = old(root, u32::MAX) {
        tracing::warn!(root = %root.path().display(), %error, "what a failed release left could not be removed");
    }
}

/// Removes what is beyond `keep`. Each release is moved aside in one step first: half of one is never a release, and
/// its entry goes after it, so that a failed one is never mistaken for a directory that someone else made.
pub fn old(root: &Root, keep: u32) -> Result<Pruned, HostError> {
    let present: BTreeSet<ReleaseName> = root.present()?.into_iter().collect();
    let live = current(root)?;
    let record = root.record()?;
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    let wanted = record.prunable(&present, live.release(), keep, &BTreeSet::new());
    let in_use = if wanted.is_empty() { BTreeSet::new() } else { used(root) };
    let kept_in_use = wanted.into_iter().filter(|name| in_use.contains(name)).collect();
    let removed = record.prunable(&present, live.release(), keep, &in_use);
    let (releases, trash) = (Dir::open(&root.releases())?, root.own_dir("trash")?);
    let mut projects = Vec::new();
    for name in &removed {
        // One that cannot be read keeps its images.
        projects.extend(Held::of(root, name).ok().flatten());
        if !leftovers::throw_away(&releases, name.as_str(), &trash)? {
            // It goes where it lies: nobody vouches for it from the moment on in which it is not whole any more.
            root.update(|record| {
                record.releases.entry(name.clone()).and_modify(|release| release.sealed = false);
                Ok(())
            })?;
            releases.remove(name.as_str())?;
        }
        releases.sync()?;
        fault!("host.prune.after-rename");
        root.update(|record| {
            record.releases.remove(name);
            Ok(())
        })?;
        fault!("host.prune.after-record");
        for file in [file_name(name), stamps::file_name(name)] {
            root.remove_own(&file)?;
        }
    }
    if let Err(error) = compose::prune(root, &projects) {
        tracing::warn!(root = %root.path().display(), %error, "images that nobody uses any more could not be removed");
    }
    // Whatever it is that goes wrong with them: what is live does not need them.
    if let Err(error) = render::sweep(root) {
        tracing::warn!(root = %root.path().display(), %error, "versions of rendered files that nobody uses could not be removed");
    }
    let left = if removed.is_empty() { Vec::new() } else { leftovers::clear(root)? };
    fault!("host.prune.after-removal");
    Ok(Pruned { removed, kept_in_use, left })
}

/// The releases that a process stands in, was started from, or has a file of open or mapped. A process that this user
/// may not look into is not seen.
pub fn used(root: &Root) -> BTreeSet<ReleaseName> {
    let home = root.releases().canonicalize().unwrap_or_else(|_| root.releases());
    let mut used = BTreeSet::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if !process.file_name().as_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let dir = process.path();
        let named = ["cwd", "root", "exe"].map(|name| dir.join(name));
        let open = fs::read_dir(dir.join("fd")).into_iter().flatten().flatten().map(|fd| fd.path());
        for link in named.into_iter().chain(open) {
            used.extend(fs::read_link(link).ok().and_then(|path| release_of(&home, &path)));
        }
        for line in fs::read(dir.join("maps")).unwrap_or_default().split(|byte| *byte == b'\n') {
            let path = line.iter().position(|byte| *byte == b'/').map(|at| Path::new(OsStr::from_bytes(&line[at..])));
            used.extend(path.and_then(|path| release_of(&home, path)));
        }
    }
    used
}

fn release_of(home: &Path, path: &Path) -> Option<ReleaseName> {
    path.strip_prefix(home).ok()?.components().next()?.as_os_str().to_str()?.parse().ok()
}
