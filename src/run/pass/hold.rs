//! Taking and giving back the roots of one environment (law 3). What is planned is only carried out on what is held.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::SignedDuration;

use crate::fault::fault;
use crate::host::wire::{HostError, Op, Reply};
use crate::model::desired::{Environment, Target};
use crate::model::ids::{EnvName, Epoch, HostName, RunId};
use crate::model::observed::{HostObserved, HostState, Observed};
use crate::model::record::Refusal;
use crate::run::controller::{ControllerError, now};
use crate::run::look::observe::{Left, Scan, question};
use crate::run::pass::reconcile::{Pass, PassError};
use crate::run::step::site::Site;
use crate::run::step::world::World;

/// A root that has nothing to go back to is taken at once, on the slowest disk.
const PROMPT: Duration = Duration::from_secs(120);

impl Pass {
    /// Takes every root that can be reached, waiting for other holders as long as the patience goes; `accepts`: to act on
    /// this commit. Gives what they are like now that nobody else changes them.
    pub(in crate::run) async fn acquire(
        &self,
        site: &Arc<Site>,
        env: &Environment,
        observed: &Observed,
        (run, epoch): (&RunId, Epoch),
        accepts: bool,
    ) -> Result<BTreeMap<HostName, HostState>, PassError> {
        fault!("run.before-acquire");
        let deadline = now() + SignedDuration::try_from(self.patience).unwrap_or_default();
        let before = |name: &HostName| match observed.environments.get(&env.name)?.hosts.get(name)? {
            HostObserved::Reached(state) => Some(state),
            HostObserved::Unreachable(_) => None,
        };
        let reached = |target: &&Target| before(&target.name).is_some();
        let targets: Vec<&Target> = env.targets.iter().filter(reached).collect();
        site.connect(targets.iter().copied()).await;
        let take = async |target: &Target| {
            let who = format!("{} pid {}, run {run}", self.controller.who, std::process::id());
            loop {
                let (who, lease, look) = (who.clone(), env.deadline, question(env, Scan::Last));
                let accept = accepts.then(|| self.snapshot.commit.to_string());
                let acquire = Op::Acquire { epoch, who, lease, accept, look };
                // A host whose lease is over goes back first, with hooks of its own.
                let hooks = before(&target.name).is_none_or(|state| state.record.leased().is_some());
                let patience = if hooks { acquire.patience() } else { PROMPT };
                match site.call_within(target, acquire, patience).await {
                    Ok(Reply::Acquired(state)) => {
                        site.keep(target, env.deadline).await.map_err(|e| PassError::Host(e, target.name.clone()))?;
                        return Ok((target.name.clone(), state));
                    }
                    Ok(other) => {
                        let error = HostError::Io(format!("the host answered an acquisition with {other:?}"));
                        return Err(PassError::Host(error, target.name.clone()));
                    }
                    Err(HostError::Locked { .. }) if now() < deadline => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    // Another run came and went between the look and the lock: look again.
                    Err(error @ HostError::Refused { refusal: Refusal::Fenced { .. } }) => {
                        return Err(PassError::Raced(error, target.name.clone()));
                    }
                    Err(error) => return Err(PassError::Host(error, target.name.clone())),
                }
            }
        };
        // Who has the first has them all: two runs that begin at once do not take half of the hosts each.
        let mut taken = Vec::new();
        if let Some((first, others)) = targets.split_first() {
            taken.push(take(first).await);
            if taken.iter().all(Result::is_ok) {
                taken.extend(join_all(others.iter().map(|target| take(target))).await);
            }
        }
        let mut states = BTreeMap::new();
        let mut failed = None;
        for one in taken {
            match one {
                Ok((name, mut state)) => {
                    state.health = before(&name).map(|before| before.health.clone()).unwrap_or_default();
                    states.insert(name, *state);
                }
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        if let Some(error) = failed {
            release(site, env, &states, epoch, false).await;
            return Err(error);
        }
        fault!("run.after-acquire");
        Ok(states)
    }
}

/// Gives the roots back that are held. Where nothing is left to watch anywhere, the agents are given back, too. `looks`:
/// gives what the roots were like then, as far as their hosts said.
pub async fn release(
    site: &Arc<Site>,
    env: &Environment,
    held: &BTreeMap<HostName, HostState>,
    epoch: Epoch,
    looks: bool,
) -> Left {
    let held = env.targets.iter().filter(|target| held.contains_key(&target.name));
    // The agent gives the root back anyway when it hears the end of this run's connection.
    let released = join_all(held.map(async |target| {
        let look = looks.then(|| question(env, Scan::WhenDue));
        match site.call(target, Op::Release { epoch, look }).await {
            Ok(Reply::Released { watched, state }) => Some((&target.name, watched, state)),
            _ => None,
        }
    }));
    let (mut free, mut left) = (Vec::new(), Left::new());
    for (name, watched, state) in released.await.into_iter().flatten() {
        if !watched {
            free.push(name);
        }
        left.extend(state.map(|state| (name.clone(), *state)));
    }
    // Whoever took a root of ours and could not say so still holds it: only what is known to be free is given back.
    let (free, others): (Vec<&Target>, Vec<_>) = env.targets.iter().partition(|target| free.contains(&&target.name));
    site.give_back(&free, &others).await;
    left
}

/// The highest epoch of the hosts plus one (contract 1.4).
///
/// # Errors
/// There is none, and which host is the cause.
pub fn next_epoch(observed: &Observed, name: &EnvName) -> Result<Epoch, ControllerError> {
    observed.next_epoch(name).map_err(|error| ControllerError::Other(error.to_string()))
}
