//! Whether what a host says of itself is believed: of one that cannot be the host that is meant nothing is known (law 13).

use crate::host::wire::{HostError, Lost};
use crate::model::epochs;
use crate::model::ids::HostName;
use crate::model::machine::{self, Machine, OtherMachine};
use crate::model::observed::{EnvObserved, HostObserved, HostState};

/// Why nothing is known of a host.
pub enum Unseen {
    /// It did not answer, or not as it should.
    Error(HostError),
    /// It was not asked.
    Unknown(String),
    /// Another machine answers, and what it says is not about this host.
    Other(OtherMachine),
}

impl From<HostError> for Unseen {
    fn from(error: HostError) -> Self {
        Unseen::Error(error)
    }
}

/// What a host says, where it is the machine that it is known to be.
pub fn recognised(known: Option<&Machine>, state: HostState) -> Result<HostState, Unseen> {
    match machine::judge(known, state.record.machine.as_ref(), state.machine) {
        Ok(()) => Ok(state),
        Err(other) => Err(Unseen::Other(other)),
    }
}

/// Enters what became of the look at a host.
pub fn enter(seen: &mut EnvObserved, name: &HostName, host: Result<HostState, Unseen>) {
    let host = match host {
        Ok(state) => HostObserved::Reached(Box::new(state)),
        Err(Unseen::Error(HostError::Connection(Lost { why, cure }))) => {
            seen.cures.extend(cure.map(|cure| (name.clone(), cure)));
            HostObserved::Unreachable(why)
        }
        Err(Unseen::Unknown(why)) => HostObserved::Unreachable(why),
        // It answered: to bring it back, or to go on without it, mends nothing.
        Err(Unseen::Error(error)) => {
            seen.cures.insert(name.clone(), format!("put that right on {name}; soll doctor says more of it"));
            HostObserved::Unreachable(error.to_string())
        }
        Err(Unseen::Other(other)) => {
            let why = machine::refused(name, &other);
            seen.other_machines.insert(name.clone(), other);
            HostObserved::Unreachable(why)
        }
    };
    seen.hosts.insert(name.clone(), host);
}

/// Of a host whose epoch cannot be true nothing is known. The others go on, as far as `unreachable` lets them.
pub fn disbelieve(seen: &mut EnvObserved) {
    let epoch = |host: &HostObserved| match host {
        HostObserved::Reached(state) => Some(state.record.epoch),
        HostObserved::Unreachable(_) => None,
    };
    let epochs = seen.hosts.iter().filter_map(|(name, host)| Some((name, epoch(host)?)));
    let Some((highest, hosts)) = epochs::implausible(epochs) else { return };
    let hosts: Vec<_> = hosts.into_iter().map(|(name, epoch)| (name.clone(), epoch)).collect();
    for (name, epoch) in hosts {
        let why = epochs::disbelieved(&name, epoch, highest);
        seen.cures.insert(name.clone(), format!("look at {name}, then: soll acknowledge --host {name}"));
        seen.hosts.insert(name, HostObserved::Unreachable(why));
    }
}
