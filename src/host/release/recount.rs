//! A root whose epoch is set back by a person's word.

use crate::host::disk::lock::Lock;
use crate::host::disk::root::{Root, now};
use crate::host::wire::HostError;
use crate::model::ids::Epoch;
use crate::model::record::Holder;

/// Counts from `to` on, where the epoch is still the one that the person has seen and nobody holds the root.
///
/// # Errors
/// Somebody holds it, or acted there meanwhile.
pub fn recount(root: &Root, who: String, have: Epoch, to: Epoch) -> Result<(), HostError> {
    let _lock = Lock::take(root, &Holder { who, since: now(), epoch: to, pid: std::process::id() })?;
    root.update(|record| Ok(record.recount(have, to)?))
}
