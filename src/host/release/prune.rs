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
use crate::host::release::contents::file_name;
use crate::host::release::observe::current;
use crate::host::release::stamps;
use crate::host::wire::{HostError, Reply};
use crate::model::ids::ReleaseName;

/// Removes what is beyond `keep`. Each release is moved aside in one step first: half of one is never a release, and
/// its entry goes after it, so that a failed one is never mistaken for a directory that someone else made.
pub fn prune(root: &Root, keep: u32) -> Result<Reply, HostError> {
    let present: BTreeSet<ReleaseName> = root.present()?.into_iter().collect();
    let live = current(root)?;
    let record = root.record()?;
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    let wanted = record.prunable(&present, live.release(), keep, &BTreeSet::new());
    let in_use = if wanted.is_empty() { BTreeSet::new() } else { used(root) };
    let kept_in_use = wanted.into_iter().filter(|name| in_use.contains(name)).collect();
    let removed = record.prunable(&present, live.release(), keep, &in_use);
    let (releases, trash) = (Dir::open(&root.releases())?, root.own_dir("trash")?);
    for name in &removed {
        leftovers::throw_away(&releases, name.as_str(), &trash)?;
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
    let left = if removed.is_empty() { Vec::new() } else { leftovers::clear(root)? };
    fault!("host.prune.after-removal");
    Ok(Reply::Pruned { removed, kept_in_use, left })
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
