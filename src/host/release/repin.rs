//! A root that is given to the machine that it is on by a person's word.

use crate::host::disk::lock::Lock;
use crate::host::disk::machine;
use crate::host::disk::root::{Root, now};
use crate::host::wire::HostError;
use crate::model::ids::Digest;
use crate::model::record::Holder;

/// It belongs to this machine from now on, where that is still the one that the person has seen and nobody holds the root.
///
/// # Errors
/// It is another one, or somebody holds the root.
pub fn repin(root: &Root, who: String, seen: Option<Digest>) -> Result<(), HostError> {
    if machine::id() != seen {
        let why =
            "this is another machine than the one that was shown: look at it, then acknowledge the host once more";
        return Err(HostError::Precondition(why.to_owned()));
    }
    let epoch = root.record()?.epoch;
    let _lock = Lock::take(root, &Holder { who, since: now(), epoch, pid: std::process::id() })?;
    root.update(|record| {
        record.repin(seen, now());
        Ok(())
    })
}
