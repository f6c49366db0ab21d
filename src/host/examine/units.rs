//! What the doctor asks about a unit: whether it is there, from where it starts, and who may see what it writes.

use crate::host::disk::root::Root;
use crate::host::release::units::journal::reads_all;
use crate::host::release::units::process::{follows, pinned};
use crate::host::release::units::systemctl::Systemd;
use crate::host::wire::examine::{UnitFact, UnitState};
use crate::model::activation::Unit;

/// Looks at one unit.
pub fn fact(root: &Root, unit: &Unit) -> UnitFact {
    let systemd = Systemd::here();
    let state = systemd.show(unit).map_err(|error| error.to_string()).map(|seen| UnitState {
        follows: follows(root, &seen),
        pinned: pinned(root, &seen),
        lingers: systemd.lingers(unit),
        journal: unit.user || reads_all(),
        state: format!("{} ({})", seen.active, seen.sub),
        load: seen.load,
        file: seen.fragment,
        stale: seen.stale,
    });
    UnitFact { unit: unit.clone(), state }
}
