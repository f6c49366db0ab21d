//! Taking and giving back roots (law 3): all of an environment for a run, or one for whoever asks for something else. What
//! is planned is only carried out on what is held.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::fault::fault;
use crate::host::wire::{HostError, Observe, Op, Reply};
use crate::model::desired::{Environment, Target};
use crate::model::ids::{EnvName, Epoch, HostName, RunId};
use crate::model::observed::{HostObserved, HostState, Observed, Resolved};
use crate::model::record::Refusal;
use crate::run::controller::ControllerError;
use crate::run::look::observe::{Left, Scan, question};
use crate::run::pass::reconcile::{Pass, PassError};
use crate::run::rendered;
use crate::run::step::site::Site;
use crate::run::step::world::World;

/// A root that has nothing to go back to is taken at once, on the slowest disk.
const PROMPT: Duration = Duration::from_secs(120);

/// How a root is taken.
pub(in crate::run) struct Taking {
    pub epoch: Epoch,
    /// Who has it, for people who find it locked.
    pub who: String,
    /// How long the host waits for a controller that it does not hear any more.
    pub lease: Duration,
    /// The commit that is acted on from now on; `None`: nothing is accepted with it.
    pub accept: Option<String>,
    /// What the answer looks at.
    pub look: Observe,
    /// How long to wait for another holder.
    pub patience: Duration,
}

impl Taking {
    /// For something else than a deployment, which accepts no commit. `doing`: the word for people who find the root locked.
    pub fn beside(site: &Site, doing: &str, epoch: Epoch, lease: Duration) -> Taking {
        let who = format!("{} pid {}, {doing}", site.controller.who, std::process::id());
        Taking { epoch, who, lease, accept: None, look: Observe::default(), patience: Duration::ZERO }
    }
}

/// Takes one root, waiting for another holder as long as the patience goes, and renews its lease from then on. Gives what it
/// is like now that nobody else changes it.
///
/// # Errors
/// Those of the acquisition; [`HostError::Locked`]: somebody else has it still.
pub(in crate::run) async fn take(
    site: &Site,
    target: &Target,
    taking: &Taking,
    within: Option<Duration>,
) -> Result<Box<HostState>, HostError> {
    let deadline = Instant::now() + taking.patience;
    loop {
        let Taking { epoch, who, lease, accept, look, .. } = taking;
        let (epoch, who, lease, accept, look) = (*epoch, who.clone(), *lease, accept.clone(), look.clone());
        let acquire = Op::Acquire { epoch, who, lease, accept, machine: None, tenant: None, look };
        let within = within.unwrap_or_else(|| acquire.patience());
        match site.call_within(target, acquire, within).await {
            Ok(Reply::Acquired(state)) => {
                site.keep(target, lease, epoch).await?;
                return Ok(state);
            }
            Ok(other) => return Err(HostError::Io(format!("the host answered an acquisition with {other:?}"))),
            Err(HostError::Locked { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Takes one root, does the work, and gives the root back, whatever came of the work.
///
/// # Errors
/// Those of [`take`] and of the work.
pub(in crate::run) async fn holding<T>(
    site: &Site,
    target: &Target,
    taking: &Taking,
    work: impl AsyncFnOnce() -> Result<T, HostError>,
) -> Result<T, HostError> {
    take(site, target, taking, None).await?;
    let done = work().await;
    let_go(site, target, taking.epoch).await;
    done
}

/// Gives one root back. The agent does so anyway when it hears the end of this connection.
pub(in crate::run) async fn let_go(site: &Site, target: &Target, epoch: Epoch) {
    let _ = site.call(target, Op::Release { epoch, look: None }).await;
}

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
        let before = |name: &HostName| match observed.environments.get(&env.name)?.hosts.get(name)? {
            HostObserved::Reached(state) => Some(state),
            HostObserved::Unreachable(_) => None,
        };
        let reached = |target: &&Target| before(&target.name).is_some();
        let targets: Vec<&Target> = env.targets.iter().filter(reached).collect();
        site.connect(targets.iter().copied()).await;
        let taking = Taking {
            accept: accepts.then(|| self.snapshot.commit.to_string()),
            look: question(env, Scan::Last),
            patience: self.patience,
            ..Taking::beside(site, &format!("run {run}"), epoch, env.deadline)
        };
        let take = async |target: &Target| {
            // A host whose lease is over goes back first, with hooks of its own.
            let hooks = before(&target.name).is_none_or(|state| state.record.leased().is_some());
            let within = (!hooks).then_some(PROMPT);
            match take(site, target, &taking, within).await {
                Ok(state) => Ok((target.name.clone(), state)),
                // Another run came and went between the look and the lock, or another machine came: look again.
                Err(error @ HostError::Refused { refusal: Refusal::Fenced { .. } | Refusal::OtherMachine(_) }) => {
                    Err(PassError::Raced(error, target.name.clone()))
                }
                Err(error) => Err(PassError::Host(error, target.name.clone())),
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
                    state.rerendered = before(&name).map(|before| before.rerendered.clone()).unwrap_or_default();
                    let resolved = observed.environments.get(&env.name).map(|seen| &seen.resolved);
                    if let (Some(Resolved::Sha(sha)), Some(target)) =
                        (resolved, env.targets.iter().find(|target| target.name == name))
                    {
                        rendered::note(&self.snapshot, env, target, sha, &mut state);
                    }
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
