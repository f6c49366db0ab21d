//! Old releases that something else has made, taken for releases on a person's word: they count from then on, and go when
//! newer ones take their place (A8). Their contents are not vouched for.

use std::os::unix::fs::MetadataExt;

use jiff::Timestamp;

use crate::host::disk::file;
use crate::host::disk::lock::Lock;
use crate::host::disk::machine as this_machine;
use crate::host::disk::root::{Root, now};
use crate::host::wire::HostError;
use crate::model::ids::{ReleaseName, Sha};
use crate::model::machine::{self, Machine};
use crate::model::record::{Holder, Refusal, Release};

/// Notes these directories of `releases/` as adopted ones. Those that are known already stay as they are.
///
/// # Errors
/// One of them is not there: then none is noted. Somebody holds the root. This is another machine than the one that is meant.
pub fn claim(root: &Root, who: String, meant: Option<&Machine>, names: &[ReleaseName]) -> Result<(), HostError> {
    machine::judge(meant, root.record()?.machine.as_ref(), this_machine::id()).map_err(Refusal::OtherMachine)?;
    root.prepare()?;
    let epoch = root.record()?.epoch;
    let _lock = Lock::take(root, &Holder { who, since: now(), epoch, pid: std::process::id() })?;
    let present = root.present()?;
    if let Some(missing) = names.iter().find(|name| !present.contains(name)) {
        return Err(Refusal::NoSuchRelease(missing.clone()).into());
    }
    root.update(|record| {
        for name in names.iter().filter(|name| !record.releases.contains_key(*name)).collect::<Vec<_>>() {
            record.staged(name.clone(), adopted(root, name));
        }
        Ok(())
    })
}

fn adopted(root: &Root, name: &ReleaseName) -> Release {
    let meta = std::fs::metadata(root.release(name)).ok();
    let changed = meta.and_then(|meta| Timestamp::from_second(meta.mtime()).ok());
    Release {
        sha: commit(root, name),
        bundle: None,
        tree: None,
        links: None,
        strip: 0,
        staged_at: changed.unwrap_or_else(now),
        sealed: false,
        confirmed_at: None,
        failed: false,
        adopted: true,
    }
}

/// The commit that Capistrano and Deployer note in each release.
fn commit(root: &Root, name: &ReleaseName) -> Option<Sha> {
    let bytes = file::read(&root.release(name).join("REVISION"), file::CONFIGURATION).ok()?;
    String::from_utf8(bytes).ok()?.trim().parse().ok()
}
