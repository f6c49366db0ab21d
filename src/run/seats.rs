//! Where roots were when they were seen last: which directory of which running machine. In memory alone; what it does not
//! know is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::desired::Environment;
use crate::model::ids::{Digest, EnvName, HostName};
use crate::model::observed::{EnvObserved, HostObserved};
use crate::model::tenancy::{Hints, is_new, suspects};
use crate::run::controller::{Controller, Snapshot};

/// By the names that they have in the state file.
type Places = BTreeMap<(EnvName, HostName), Digest>;

/// What was seen, and what of that was compared with the others.
#[derive(Debug, Default)]
pub struct Seats {
    seen: Mutex<Places>,
    compared: Mutex<Places>,
}

impl Seats {
    /// An environment was looked at.
    pub fn note(&self, name: &EnvName, seen: &EnvObserved) {
        note(&self.seen, name, seen);
    }
}

fn note(places: &Mutex<Places>, name: &EnvName, seen: &EnvObserved) {
    let mut places = places.lock().unwrap_or_else(PoisonError::into_inner);
    for (host, state) in &seen.hosts {
        if let HostObserved::Reached(state) = state
            && let Some(seat) = state.seat
        {
            places.insert((name.clone(), host.clone()), seat);
        }
    }
}

fn place(places: &Mutex<Places>, name: &EnvName, host: &HostName) -> Option<Digest> {
    places.lock().unwrap_or_else(PoisonError::into_inner).get(&(name.clone(), host.clone())).copied()
}

impl Controller {
    /// The environments that may be at the same places as these, as they were seen now. Whatever is seen is noted.
    pub async fn suspects(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        looked: &[(&Environment, &EnvObserved)],
    ) -> BTreeSet<EnvName> {
        let Seats { seen, compared } = &self.seats;
        let is_new = |(env, now): &(&Environment, &EnvObserved)| {
            is_new(env, now, &|name: &EnvName, host: &HostName| place(compared, name, host))
        };
        let machines = match looked.iter().any(is_new) {
            true => self.machines(snapshot.desired.hosts().into_iter().cloned().collect()).await,
            false => Ok(BTreeMap::new()),
        };
        // Without them the names that roots were taken by still tell.
        let machines = machines.unwrap_or_default();
        let hints = Hints {
            machines: &machines,
            seats: &|name, host| place(seen, name, host),
            compared: &|name, host| place(compared, name, host),
        };
        let found = looked.iter().flat_map(|(env, now)| suspects(&snapshot.desired, env, now, &hints)).collect();
        for (env, now) in looked {
            note(seen, &env.name, now);
            note(compared, &env.name, now);
        }
        found
    }
}
