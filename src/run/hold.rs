//! Taking and giving back the roots of one environment (law 3). What is planned is only carried out on what is held.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::controller::now;
use super::observe::question;
use super::reconcile::{Pass, PassError};
use super::site::Site;
use super::world::World;
use crate::fault::fault;
use crate::host::wire::{HostError, Op, Reply};
use crate::model::desired::{Environment, Target};
use crate::model::ids::{EnvName, Epoch, HostName, RunId};
use crate::model::observed::{HostObserved, HostState, Observed};
use crate::model::record::Refusal;

impl Pass {
    /// Takes every root that can be reached, waiting for other holders as long as the patience goes.
    pub(super) async fn acquire(
        &self,
        site: &Arc<Site>,
        env: &Environment,
        observed: &Observed,
        run: &RunId,
        epoch: Epoch,
    ) -> Result<Vec<Target>, PassError> {
        fault!("run.before-acquire");
        let deadline = now() + SignedDuration::try_from(self.patience).unwrap_or_default();
        let mut held = Vec::new();
        let seen = observed.environments.get(&env.name);
        let reached =
            |target: &&Target| matches!(seen.and_then(|s| s.hosts.get(&target.name)), Some(HostObserved::Reached(_)));
        site.connect(env.targets.iter().filter(reached)).await;
        for target in env.targets.iter().filter(reached) {
            let who = format!("{} pid {}, run {run}", self.controller.who, std::process::id());
            loop {
                let op = Op::Acquire { epoch, who: who.clone(), lease: env.deadline };
                match site.call(target, op).await {
                    Ok(_) => break,
                    Err(HostError::Locked { .. }) if now() < deadline => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    Err(error) => {
                        release(site, &held, epoch).await;
                        return Err(match error {
                            // Another run came and went between the look and the lock: look again.
                            HostError::Refused { refusal: Refusal::Fenced { .. } } => {
                                PassError::Raced(error, target.name.clone())
                            }
                            error => PassError::Host(error, target.name.clone()),
                        });
                    }
                }
            }
            site.keep(target, env.deadline).await.map_err(|e| PassError::Host(e, target.name.clone()))?;
            held.push(target.clone());
        }
        fault!("run.after-acquire");
        Ok(held)
    }

    /// The states of what is held, now that nobody else changes them.
    pub(super) async fn look_again(
        &self,
        site: &Arc<Site>,
        env: &Environment,
        observed: &mut Observed,
    ) -> Result<BTreeMap<HostName, HostState>, PassError> {
        let mut states = BTreeMap::new();
        let Some(seen) = observed.environments.get_mut(&env.name) else { return Ok(states) };
        for target in &env.targets {
            let Some(HostObserved::Reached(before)) = seen.hosts.get_mut(&target.name) else { continue };
            let reply = site.call(target, Op::Observe(question(env, false))).await;
            match reply.map_err(|e| PassError::Host(e, target.name.clone()))? {
                Reply::State(mut state) => {
                    state.health = std::mem::take(&mut before.health);
                    states.insert(target.name.clone(), (*state).clone());
                    *before = state;
                }
                other => {
                    let error = HostError::Io(format!("answered an observation with {other:?}"));
                    return Err(PassError::Host(error, target.name.clone()));
                }
            }
        }
        Ok(states)
    }
}

/// Gives the roots back.
pub async fn release(site: &Arc<Site>, held: &[Target], epoch: Epoch) {
    for target in held {
        // The agent gives the root back anyway when it hears the end of this run's connection.
        let _ = site.call(target, Op::Release { epoch }).await;
    }
}

/// The highest epoch of the hosts plus one (contract 1.4).
pub fn next_epoch(observed: &Observed, name: &EnvName) -> Epoch {
    let hosts = observed.environments.get(name).map(|seen| seen.hosts.values()).into_iter().flatten();
    let epochs = hosts.filter_map(|host| match host {
        HostObserved::Reached(state) => Some(state.record.epoch),
        HostObserved::Unreachable(_) => None,
    });
    epochs.max().unwrap_or_default().next()
}
