//! The same operations in this process, for reading: a plan over a thousand local roots starts no agent. What changes a
//! root goes through an agent, so that its lease holds (law 6).

use crate::host::disk::root::Root;
use crate::host::release::stage::Feed;
use crate::host::serve::ops::{Prober, perform};
use crate::host::wire::frame::arrived;
use crate::host::wire::{HostError, Op, Reply};

/// Does an operation that holds nothing: observe, probe, measure, sample, cancel, examine, survey, provision.
///
/// # Errors
/// Those of the operation; one that carries an epoch is refused. What it says arrives as from any other host (law 13).
pub fn call(root: &str, op: Op, prober: &dyn Prober) -> Result<Reply, HostError> {
    if op.epoch().is_some() {
        let text = "an operation that changes a root needs an agent that holds it, and was asked for in process";
        return Err(HostError::Precondition(text.to_owned()));
    }
    arrived(perform(&Root::at(root)?, op, prober, &mut Nothing))
}

/// No data follow a call in process.
pub struct Nothing;

impl Feed for Nothing {
    fn next(&mut self) -> Option<Vec<u8>> {
        None
    }
}
