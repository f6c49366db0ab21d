//! One directory of one machine under two names: two hosts of the state file that are the same machine, two paths that a
//! link joins. Whoever deploys there would overwrite the other. A host says of each root which directory it is, and its
//! record names the environment that took it last, so that two are compared that nobody would have looked at together. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::desired::{Desired, Environment, Target};
use super::ids::{Digest, EnvName, HostName};
use super::machine::Machine;
use super::observed::{EnvObserved, HostObserved, HostState, Observed};

/// By which names a root was taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tenant {
    pub environment: EnvName,
    pub host: HostName,
    pub root: String,
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} ({})", self.root, self.environment, self.host)
    }
}

impl Tenant {
    /// By these names.
    pub fn of(environment: &Environment, target: &Target) -> Tenant {
        Tenant { environment: environment.name.clone(), host: target.name.clone(), root: target.root.clone() }
    }

    /// Whether the state still wants it there.
    fn is_wanted(&self, desired: &Desired) -> bool {
        let env = desired.environments.get(&self.environment);
        env.is_some_and(|env| env.targets.iter().any(|target| Tenant::of(env, target) == *self))
    }
}

/// What else is the same directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shared {
    /// It is: both say so.
    With(Tenant),
    /// It was taken by this one, which does not answer, so that nobody knows.
    Perhaps(Tenant),
}

/// What is known beside one look.
pub struct Hints<'a> {
    /// Which machines hosts are.
    pub machines: &'a BTreeMap<HostName, Machine>,
    /// Where roots were when they were seen last.
    pub seats: &'a dyn Fn(&EnvName, &HostName) -> Option<Digest>,
    /// Where a root was when it was compared with the others.
    pub compared: Compared<'a>,
}

/// Where a root was when it was compared with the others.
pub type Compared<'a> = &'a dyn Fn(&EnvName, &HostName) -> Option<Digest>;

/// Whether a root of this environment is not known to be its own yet: others may be there. One that was compared where it is
/// now needs no other comparison.
pub fn is_new(env: &Environment, seen: &EnvObserved, compared: Compared<'_>) -> bool {
    reached(env, seen).any(|(target, state)| is_new_at(env, target, state, compared))
}

fn is_new_at(env: &Environment, target: &Target, state: &HostState, compared: Compared<'_>) -> bool {
    let own = state.record.tenant.as_ref() == Some(&Tenant::of(env, target));
    !own && state.seat.is_some() && compared(&env.name, &target.name) != state.seat
}

/// The environments that may be at the same place as this one: they are looked at before anything is done. Those that took
/// one of its roots last and are wanted there still; and, for a root that it did not take yet, those on the same machine.
pub fn suspects(desired: &Desired, env: &Environment, seen: &EnvObserved, hints: &Hints<'_>) -> BTreeSet<EnvName> {
    let mut found = BTreeSet::new();
    for (target, state) in reached(env, seen) {
        found.extend(foreign(desired, env, target, state).map(|tenant| tenant.environment.clone()));
        if !is_new_at(env, target, state, hints.compared) {
            continue;
        }
        let on_this_machine = |host: &HostName| {
            let known = hints.machines.get(host).map(|machine| machine.id);
            *host == target.name || known.is_some() && known == state.machine
        };
        let elsewhere = |env: &Environment, there: &Target| {
            (hints.seats)(&env.name, &there.name).is_some_and(|seat| Some(seat) != state.seat)
        };
        let may_be_here = |other: &&Environment| {
            other.targets.iter().any(|there| on_this_machine(&there.name) && !elsewhere(other, there))
        };
        found.extend(desired.environments.values().filter(may_be_here).map(|other| other.name.clone()));
    }
    found.remove(&env.name);
    found
}

fn reached<'a>(env: &'a Environment, seen: &'a EnvObserved) -> impl Iterator<Item = (&'a Target, &'a HostState)> {
    env.targets.iter().filter_map(|target| Some((target, state(seen, &target.name)?)))
}

/// What else of this state is the directory of this root.
pub fn shared(
    desired: &Desired,
    observed: &Observed,
    env: &Environment,
    target: &Target,
    state: &HostState,
) -> Option<Shared> {
    let own = Tenant::of(env, target);
    let seat = state.seat?;
    for (name, seen) in &observed.environments {
        let Some(other) = desired.environments.get(name) else { continue };
        for there in &other.targets {
            let tenant = Tenant::of(other, there);
            let same = self::state(seen, &there.name).is_some_and(|state| state.seat == Some(seat));
            if same && tenant != own {
                return Some(Shared::With(tenant));
            }
        }
    }
    let before = foreign(desired, env, target, state)?;
    let answered = observed.environments.get(&before.environment).and_then(|seen| self::state(seen, &before.host));
    answered.is_none().then(|| Shared::Perhaps(before.clone()))
}

/// Who took this root last by other names, if the state still wants that.
fn foreign<'a>(desired: &Desired, env: &Environment, target: &Target, state: &'a HostState) -> Option<&'a Tenant> {
    state.record.tenant.as_ref().filter(|tenant| **tenant != Tenant::of(env, target) && tenant.is_wanted(desired))
}

fn state<'a>(seen: &'a EnvObserved, host: &HostName) -> Option<&'a HostState> {
    match seen.hosts.get(host)? {
        HostObserved::Reached(state) => Some(state),
        HostObserved::Unreachable(_) => None,
    }
}
