//! What an earlier run left undone when its controller died. Nothing of it is resumed: each case is read off the hosts
//! (and, for the commit that only the controller can owe, off the journal), and decided anew (law 5).

use std::sync::Arc;

use crate::host::wire::Op;
use crate::journal::{RunResult, RunState};
use crate::model::desired::Environment;
use crate::model::ids::{EnvName, Sha};
use crate::model::observed::{EnvObserved, HostObserved, HostState, Observed};
use crate::plan::{Action, Code, EnvPlan};
use crate::run::commit;
use crate::run::pass::hold::{next_epoch, release};
use crate::run::pass::reconcile::{Pass, PassError, run_id};
use crate::run::step::site::Site;
use crate::run::step::world::World;

impl Pass {
    /// A lease ran out and no agent was left to act on it: whoever takes the root next makes the host go back (law 6).
    /// That is nobody's plan, so no freeze and no quarantine keeps a host where it is. Gives whether it was needed.
    pub(in crate::run) async fn relieve(&self, env: &Environment, observed: &Observed) -> Result<bool, PassError> {
        let left = |state: &HostState| state.lease_over;
        if !states(observed, &env.name).any(left) {
            return Ok(false);
        }
        let (controller, snapshot) = (self.controller.clone(), self.snapshot.clone());
        let site = Arc::new(Site::new(controller, snapshot, self.wish.clone(), None));
        let epoch = next_epoch(observed, &env.name)?;
        let held = self.acquire(&site, env, observed, (&run_id(), epoch), false).await?;
        release(&site, env, &held, epoch, false).await;
        Ok(true)
    }

    /// A run closed a root for maintenance and nobody is left to open it, and no plan is about to: it is opened now.
    pub(in crate::run) async fn reopen(&self, env: &Environment, observed: &Observed) -> Result<(), PassError> {
        let shut = |state: &HostState| {
            let record = &state.record;
            record.closed.is_some() && record.probation.is_none() && state.holder.is_none()
        };
        if !states(observed, &env.name).any(shut) {
            return Ok(());
        }
        let (controller, snapshot) = (self.controller.clone(), self.snapshot.clone());
        let site = Arc::new(Site::new(controller, snapshot, self.wish.clone(), None));
        let epoch = next_epoch(observed, &env.name)?;
        let held = self.acquire(&site, env, observed, (&run_id(), epoch), false).await?;
        for target in env.targets.iter().filter(|target| held.contains_key(&target.name)) {
            if let Err(error) = site.call(target, Op::Reopen { epoch }).await {
                tracing::warn!(environment = %env.name, host = %target.name, %error, "it could not be opened");
            }
        }
        release(&site, env, &held, epoch, false).await;
        Ok(())
    }

    /// Writes the commit that a run was about to write when its controller died: the hosts are back already (H2).
    pub(in crate::run) async fn pay(&self, env: &Environment, plan: &EnvPlan, observed: &Observed) {
        let Some((from, to, reason)) = self.owed(env, plan, observed).await else { return };
        let (controller, worker) = (self.controller.clone(), env.clone());
        let done = move || commit::revert(&controller, &worker, &from, &to, &reason);
        match tokio::task::spawn_blocking(done).await {
            Ok(Ok(commit)) => tracing::info!(environment = %env.name, commit = %commit.short(), "reverted"),
            Ok(Err(error)) => tracing::warn!(environment = %env.name, %error, "the revert could not be committed"),
            Err(error) => tracing::warn!(environment = %env.name, %error, "the revert broke off"),
        }
    }

    async fn owed(&self, env: &Environment, plan: &EnvPlan, observed: &Observed) -> Option<(Sha, Sha, String)> {
        let (name, commit) = (env.name.clone(), self.snapshot.commit.to_string());
        let events = self.controller.beside(move |controller| {
            let last = controller.store.last_run(&name).ok()??;
            // A person who has committed since then has had the last word.
            let died = last.result == Some(RunResult::Interrupted) && last.commit == commit;
            controller.store.events(&last.run).ok().filter(|_| died)
        });
        let events = events.await.ok()??;
        let state = RunState::of(events.iter().map(|(_, event)| event));
        let (from, to, step) = state.back.iter().flatten().find_map(|step| match &step.action {
            Action::RevertCommit { from, to } => Some((from.clone(), to.clone(), step.id.clone())),
            _ => None,
        })?;
        let home = |state: &HostState| {
            let confirmed = state.record.confirmed.as_ref();
            state.record.probation.is_none()
                && confirmed.is_some_and(|c| c.sha.as_ref() == Some(&to) && state.current.release() == Some(&c.release))
        };
        let due = plan.desired.as_ref() == Some(&from) && !state.passed(&step) && states(observed, &env.name).all(home);
        let reason = state.failure.map_or_else(String::new, |failure| failure.message);
        due.then_some((from, to, reason))
    }
}

/// The verdict that stands on a host where the condemned is still on probation: the run that said so did not live to
/// go back.
pub fn condemned(plan: &EnvPlan, seen: &EnvObserved) -> Option<String> {
    plan.blocking().find(|blocker| blocker.code == Code::Quarantined)?;
    seen.hosts.values().find_map(|host| {
        let HostObserved::Reached(state) = host else { return None };
        let probation = state.record.probation.as_ref()?;
        // The link may be back already: the probation ends with the hooks of the way back.
        let ours = plan.desired.as_ref() == Some(&probation.sha);
        let verdict = state.record.verdict_on(&probation.key).filter(|_| ours)?;
        Some(verdict.reason.clone())
    })
}

fn states<'a>(observed: &'a Observed, name: &EnvName) -> impl Iterator<Item = &'a HostState> + use<'a> {
    let hosts = observed.environments.get(name).map(|seen| seen.hosts.values()).into_iter().flatten();
    hosts.filter_map(|host| match host {
        HostObserved::Reached(state) => Some(&**state),
        HostObserved::Unreachable(_) => None,
    })
}
