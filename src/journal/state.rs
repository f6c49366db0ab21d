//! The state of a run: a fold over its events, nothing else. The dispatcher is the only one that adds events.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Event, Failure, RunResult, Started, StepEnd};
use super::operation::Operation;
use crate::model::ids::{Epoch, HostName};
use crate::plan::{Action, Step};

/// Where a run stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunState {
    /// What it set out to do, where it is a deployment.
    pub started: Option<Started>,
    /// The same, where it is an operation.
    pub operation: Option<Operation>,
    pub epoch: Option<Epoch>,
    pub steps: BTreeMap<String, StepState>,
    /// Hosts that failed and go back alone while the others go on.
    pub aside: BTreeMap<HostName, Aside>,
    /// What the forward part failed with.
    pub failure: Option<Failure>,
    /// The steps of the way back, once it was taken.
    pub back: Option<Vec<Step>>,
    pub quarantined: bool,
    pub result: Option<(RunResult, String)>,
}

/// A host that the rollout goes on without.
#[derive(Debug, Clone, PartialEq)]
pub struct Aside {
    pub failure: Failure,
    /// Its own way back.
    pub steps: Vec<Step>,
}

/// Where a step stands. A step that is in no map has not been touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepState {
    /// Its effect may have happened.
    Intended,
    Ended(StepEnd),
}

impl RunState {
    /// The state after all of `events`.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut state = RunState::default();
        events.into_iter().for_each(|event| state.apply(event));
        state
    }

    /// One more event.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Started(started) => self.started = Some((**started).clone()),
            Event::Operation(operation) => self.operation = Some((**operation).clone()),
            Event::Acquired { epoch } => self.epoch = Some(*epoch),
            Event::Intended { step, .. } => {
                self.steps.insert(step.clone(), StepState::Intended);
            }
            Event::Attempted { .. } => {}
            Event::Ended { step, end, .. } => {
                self.steps.insert(step.clone(), StepState::Ended(end.clone()));
            }
            Event::SetAside { host, failure, steps, .. } => {
                // As below: the way back may name steps like the forward part did.
                steps.iter().for_each(|step| drop(self.steps.remove(&step.id)));
                self.aside.insert(host.clone(), Aside { failure: failure.clone(), steps: steps.clone() });
            }
            Event::TurnedBack { failure, steps, .. } => {
                self.failure = failure.clone();
                // The way back may name steps like the forward part did (`health:web1`): they start untouched.
                steps.iter().for_each(|step| drop(self.steps.remove(&step.id)));
                self.back = Some(steps.clone());
            }
            Event::Quarantined { .. } => self.quarantined = true,
            Event::Finished { result, reason, .. } => self.result = Some((*result, reason.clone())),
        }
    }

    /// Whether a step is over and what follows may start.
    pub fn passed(&self, step: &str) -> bool {
        matches!(self.steps.get(step), Some(StepState::Ended(StepEnd::Done { .. } | StepEnd::Warned { .. })))
    }

    /// Whether a step was touched.
    pub fn touched(&self, step: &str) -> bool {
        self.steps.contains_key(step)
    }

    /// The steps that may start now: untouched, and all that comes first has passed.
    pub fn ready<'a>(&self, steps: &'a [Step]) -> Vec<&'a Step> {
        let open = |step: &&Step| !self.touched(&step.id) && step.after.iter().all(|before| self.passed(before));
        steps.iter().filter(open).collect()
    }

    /// The same for the forward part: hosts that were set aside take no more part in it, whatever waits for them waits
    /// until they are home, and their own ways back go on beside it.
    pub fn ready_forward(&self) -> Vec<&Step> {
        if self.aside.is_empty() {
            return self.ready(self.forward());
        }
        let of = |step: &Step| step.host.as_ref().and_then(|host| self.aside.get_key_value(host));
        let left: BTreeMap<&str, &HostName> =
            self.forward().iter().filter_map(|step| Some((step.id.as_str(), of(step)?.0))).collect();
        let behind = |before: &String| match left.get(before.as_str()) {
            Some(host) => self.home(host),
            None => self.passed(before),
        };
        let open = |step: &&Step| of(step).is_none() && !self.touched(&step.id) && step.after.iter().all(behind);
        self.forward().iter().filter(open).chain(self.ready_aside()).collect()
    }

    /// The steps of hosts that were set aside that may start now: a way back that was begun goes to its end.
    pub fn ready_aside(&self) -> Vec<&Step> {
        self.aside.values().flat_map(|aside| self.ready(&aside.steps)).collect()
    }

    /// Whether a host that was set aside has come to the end of its way back.
    pub fn home(&self, host: &HostName) -> bool {
        self.aside.get(host).is_some_and(|aside| aside.steps.iter().all(|step| self.passed(&step.id)))
    }

    /// The hosts whose switch was begun.
    pub fn switched(&self) -> BTreeSet<HostName> {
        self.hosts_touched(|action| matches!(action, Action::Switch { .. }))
    }

    /// The hosts that were closed for maintenance and not opened again, and those that are [drained](Self::drained).
    pub fn closed(&self) -> BTreeSet<HostName> {
        use crate::model::desired::Phase;
        let phase = |action: &Action| match action {
            Action::Maintenance { hook, .. } => Some(hook.phase),
            _ => None,
        };
        let opened: BTreeSet<_> = self
            .forward()
            .iter()
            .filter(|s| phase(&s.action) == Some(Phase::MaintenanceOff) && self.passed(&s.id))
            .filter_map(|s| s.host.clone())
            .collect();
        let closed = self.hosts_touched(|action| phase(action) == Some(Phase::MaintenanceOn));
        closed.difference(&opened).cloned().chain(self.drained()).collect()
    }

    /// The hosts whose units were stopped before a migration and do not run again.
    pub fn drained(&self) -> BTreeSet<HostName> {
        let started = |s: &&Step| matches!(s.action, Action::Activate { .. }) && self.passed(&s.id);
        let started: BTreeSet<_> = self.forward().iter().filter(started).filter_map(|s| s.host.clone()).collect();
        let drained = self.hosts_touched(|action| matches!(action, Action::Drain { .. }));
        drained.difference(&started).cloned().collect()
    }

    /// Whether a step was left in the middle because somebody wanted the run to stop.
    pub fn is_interrupted(&self) -> bool {
        self.steps.values().any(|step| matches!(step, StepState::Ended(StepEnd::Interrupted { .. })))
    }

    /// Before the first switch a run may stop without a trace, unless a migration is under way.
    pub fn at_safe_point(&self) -> bool {
        self.switched().is_empty() && !self.forward().iter().any(|step| step.irreversible && self.touched(&step.id))
    }

    fn forward(&self) -> &[Step] {
        self.started.as_ref().map_or(&[], |s| &s.steps)
    }

    fn hosts_touched(&self, wanted: impl Fn(&Action) -> bool) -> BTreeSet<HostName> {
        let touched = self.forward().iter().filter(|s| wanted(&s.action) && self.touched(&s.id));
        touched.filter_map(|s| s.host.clone()).collect()
    }
}
