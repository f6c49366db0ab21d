//! Who of a run goes back, and to where: the facts that [`back`] makes a graph of. Decides from the run's state and from
//! the states that the hosts had at its start; does nothing.

use std::collections::BTreeMap;

use crate::journal::consequence::back_on_failure;
use crate::journal::{Failure, FailureClass, StepEnd, StepState};
use crate::model::activation::Activation;
use crate::model::desired::EnvFailure;
use crate::model::ids::{HostName, ReleaseName, Sha};
use crate::model::observed::HostState;
use crate::model::record::Quarantine;
use crate::plan::{Action, Judged, Step, back};
use crate::run::step::dispatch::Dispatcher;
use crate::run::step::world::World;

/// Who goes back. Without a verdict or a person's word nobody who was switched is sent back: that is left to its
/// probation (law 4).
#[derive(Debug, PartialEq, Eq)]
pub(in crate::run) enum Who {
    All,
    /// Only what was closed is opened again.
    Unswitched,
    /// Those who are on probation under a verdict of their own.
    Condemned,
    One(HostName),
}

impl<W: World> Dispatcher<W> {
    /// The verdict under which a host is on probation for what this run is about.
    pub(in crate::run) fn condemned<'a>(&self, state: &'a HostState) -> Option<&'a Quarantine> {
        let probation = state.record.probation.as_ref().filter(|p| p.sha == *self.task.sha())?;
        state.record.verdict_on(&probation.key)
    }

    /// The way back of those who are to take it.
    pub(in crate::run) fn way_back(&self, failure: Option<&Failure>, who: &Who) -> Vec<Step> {
        let task = &self.task;
        let (switched, closed) = (self.state.switched(), self.state.closed());
        let took_part = |name: &HostName| task.started.steps.iter().any(|s| s.host.as_ref() == Some(name));
        let goes = |name: &HostName, state: &HostState| match who {
            _ if self.state.home(name) => false,
            Who::Unswitched => took_part(name) && !switched.contains(name),
            Who::All => took_part(name) || self.condemned(state).is_some(),
            Who::Condemned => self.condemned(state).is_some(),
            Who::One(host) => name == host,
        };
        let hosts: Vec<_> = task
            .states
            .iter()
            .filter(|(name, state)| goes(name, state))
            .map(|(name, state)| {
                let goal = self.goal(name);
                // A probation that this run took over is its switch too.
                let resumed = self.fleet.resumed.contains(name) || self.condemned(state).is_some();
                let switched = switched.contains(name) || (*who != Who::Unswitched && resumed);
                let confirmed = state.record.confirmed.as_ref().map(|c| (c.release.clone(), c.sha.clone()));
                let confirmed = confirmed.or_else(|| self.adopted(name));
                back::Host {
                    name: name.clone(),
                    switched,
                    activation: self.activation(name, state),
                    confirmed: confirmed.filter(|(release, _)| !switched || Some(release) != goal.as_ref()),
                    closed: closed.contains(name) || state.record.closed.is_some(),
                    drained: self.drained(name, state),
                }
            })
            .collect();
        let alone = matches!(who, Who::One(_))
            || (*who == Who::Condemned && task.states.values().filter_map(|s| self.condemned(s)).all(|v| v.alone));
        let verdict = failure.is_some_and(|f| f.class == FailureClass::Verdict);
        let everybody = matches!(who, Who::All | Who::Unswitched);
        // What failed on one host says nothing of those that look after themselves: they may run it well.
        let everybody = everybody && !task.env.is_share();
        let wanted = verdict && everybody && task.env.revert_commit && task.env.on_failure == EnvFailure::Rollback;
        let cause = back::Cause {
            on_failure: back_on_failure(failure),
            reason: failure.map_or_else(|| "it was stopped".to_owned(), |f| f.message.clone()),
            verdict: failure.filter(|_| verdict).map(|f| Judged { reason: f.message.clone(), alone }),
            revert: back::common(&hosts)
                .or_else(|| self.restarted().then(|| earlier(&task.states, task.sha())).flatten())
                .filter(|to| wanted && to != task.sha())
                .map(|to| (task.sha().clone(), to)),
        };
        back::back(&task.env, &hosts, &cause)
    }

    /// What has to run once a host is back. A probation says it; that of this run is not in the state at its start, and says
    /// the same.
    fn activation(&self, name: &HostName, state: &HostState) -> Activation {
        let own = self.state.switched().contains(name);
        match state.record.probation.as_ref().filter(|_| !own) {
            Some(probation) => probation.activation.clone(),
            None => self
                .task
                .target(name)
                .map_or_else(Activation::default, |target| Activation::back(&self.task.env, target, &state.record)),
        }
    }

    /// What this run, or an earlier one, stopped before a migration and nobody has started again.
    fn drained(&self, name: &HostName, state: &HostState) -> Activation {
        let target = self.task.target(name).filter(|_| self.state.drained().contains(name));
        let earlier = || state.record.closed.as_ref().map(|closed| closed.start.clone());
        let own = target.map(|target| Activation::drained(&self.task.env, target));
        own.or_else(earlier).unwrap_or_default()
    }

    /// The release that this run wants a host to be at.
    pub(in crate::run) fn goal(&self, host: &HostName) -> Option<ReleaseName> {
        let place = |step: &Step| match &step.action {
            Action::Switch { to } => Some(to.clone()),
            Action::Confirm { release, .. } => Some(release.clone()),
            _ => None,
        };
        let mut steps = self.task.started.steps.iter().filter(|s| s.host.as_ref() == Some(host));
        steps.find_map(place).and_then(|place| self.task.locate(host, &place).release)
    }

    /// What was adopted in this run is the way back, although the state at its start did not say so.
    fn adopted(&self, host: &HostName) -> Option<(ReleaseName, Option<Sha>)> {
        let mut steps = self.task.started.steps.iter().filter(|s| s.host.as_ref() == Some(host) && self.done(&s.id));
        steps.find_map(|s| match &s.action {
            Action::Adopt { release, sha, .. } => Some((release.clone(), sha.clone())),
            _ => None,
        })
    }

    /// This run was the restart of a confirmed release: the second rung of the ladder is the one before it (C6).
    fn restarted(&self) -> bool {
        let mut steps = self.task.started.steps.iter();
        steps.any(|s| matches!(&s.action, Action::Confirm { again: true, .. }))
    }

    /// Passed without a warning.
    fn done(&self, step: &str) -> bool {
        matches!(self.state.steps.get(step), Some(StepState::Ended(StepEnd::Done { .. })))
    }
}

/// What every host had confirmed before `sha`, where it is one commit.
fn earlier(states: &BTreeMap<HostName, HostState>, sha: &Sha) -> Option<Sha> {
    let mut before = states.values().map(|state| {
        let others = state.record.releases.values().filter(|r| r.sha.as_ref() != Some(sha) && !r.failed);
        others.filter(|r| r.confirmed_at.is_some()).max_by_key(|r| r.confirmed_at).and_then(|r| r.sha.clone())
    });
    let first = before.next()??;
    before.all(|other| other.as_ref() == Some(&first)).then_some(first)
}
