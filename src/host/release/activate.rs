//! Makes what `current` leads to run: its project of containers, then its units. On the way back and at a stop likewise, and a
//! way back that waited for this is over when it went well.

use super::compose;
use super::units;
use crate::fault::fault;
use crate::host::disk::root::{Root, now};
use crate::host::wire::HostError;
use crate::host::wire::activate::{Activated, Deed};
use crate::model::activation::Activation;
use crate::model::ids::Epoch;

/// Does it. What fails keeps the rest from being done.
pub fn perform(root: &Root, epoch: Epoch, activation: &Activation, deed: Deed) -> Result<Activated, HostError> {
    let began = now();
    let mut stop = || match deed {
        Deed::Restart => root.record().ok().and_then(|record| record.stops(epoch, began).map(str::to_owned)),
        _ => None,
    };
    let done = match deed {
        Deed::Stop => then(units::perform(root, activation, deed, &mut stop)?, || {
            compose::perform(root, activation, deed, &mut || None)
        })?,
        _ => {
            let first = compose::perform(root, activation, deed, &mut stop)?;
            then(first, || units::perform(root, activation, deed, &mut stop))?
        }
    };
    if deed == Deed::Back && done.failed.is_none() {
        fault!("host.activate.before-record");
        root.update(|record| {
            record.activated();
            record.started(&activation.units);
            Ok(())
        })?;
        fault!("host.activate.after-record");
    }
    if matches!(deed, Deed::Restart | Deed::Start) && done.failed.is_none() {
        units::running(root, activation)?;
    }
    Ok(done)
}

/// The same for a host that goes back by itself: its record says that in its own way.
pub fn back(root: &Root, activation: &Activation) -> Result<Activated, HostError> {
    let first = compose::perform(root, activation, Deed::Back, &mut || None)?;
    let done = then(first, || units::perform(root, activation, Deed::Back, &mut || None))?;
    if done.failed.is_none() {
        root.update(|record| {
            record.started(&activation.units);
            Ok(())
        })?;
    }
    Ok(done)
}

fn then(mut first: Activated, next: impl FnOnce() -> Result<Activated, HostError>) -> Result<Activated, HostError> {
    if first.failed.is_some() {
        return Ok(first);
    }
    let next = next()?;
    first.told.extend(next.told);
    Ok(Activated { told: first.told, failed: next.failed })
}
