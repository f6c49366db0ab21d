//! What the end of the forward part leads to (contract 1.2, A5). Pure: the dispatcher asks, the planner builds.

use std::collections::BTreeSet;

use super::event::{Failure, FailureClass, RunResult};
use super::state::RunState;
use crate::model::desired::{EnvFailure, Environment, OnFailure};
use crate::model::ids::HostName;
use crate::plan::{Action, Step};

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// The way back is planned and run. `quarantine`: the verdict is recorded first.
    TurnBack { quarantine: bool },
    /// Nothing more is done by this controller: probation and lease say what happens (law 4: no rollback on missing evidence).
    Leave,
}

/// The hosts of a run, as far as a failure of one of them asks for the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fleet {
    /// How many of the environment's hosts this run holds.
    pub hosts: usize,
    /// So many may fail.
    pub may_fail: usize,
    /// Hosts that failed alone before this run.
    pub failed: BTreeSet<HostName>,
    /// Hosts whose switch was an earlier run's: this run took their probation over.
    pub resumed: BTreeSet<HostName>,
}

impl Fleet {
    /// Whether the rollout goes on without the host of `failure`: the release was judged bad there after its switch, not
    /// more have failed than may, and somebody is left to run it.
    pub fn spares(&self, failure: &Failure, state: &RunState) -> bool {
        let Some(host) = &failure.host else { return false };
        let mut failed: BTreeSet<&HostName> = self.failed.iter().chain(state.aside.keys()).collect();
        let moved = state.switched().contains(host) || self.resumed.contains(host);
        let fresh = failed.insert(host);
        let judged = failure.class == FailureClass::Verdict && state.back.is_none();
        judged && moved && fresh && failed.len() <= self.may_fail && failed.len() < self.hosts
    }
}

/// Whether a run goes on after this step failed, with a warning. A fenced run stops at once: it would go on against the one
/// that took over. What runs and is not healthy is no way back, and the new release may be its cure; what runs and could not be
/// taken over for another reason would be a way back that is missing, so nothing is touched (A8).
pub fn tolerated(step: &Step, class: FailureClass) -> bool {
    let way_back = matches!(step.action, Action::Adopt { .. });
    match class {
        FailureClass::Fenced => false,
        FailureClass::Verdict => step.on_failure == OnFailure::Warn,
        _ => step.on_failure == OnFailure::Warn && !way_back,
    }
}

/// What follows from a failure that ended the forward part.
pub fn consequence(failure: &Failure, state: &RunState) -> Consequence {
    let switched = state.switched();
    // A host that was closed and not switched has no probation that would open it again.
    let shut = state.closed().difference(&switched).next().is_some();
    match failure.class {
        FailureClass::Verdict => Consequence::TurnBack { quarantine: true },
        FailureClass::Fenced | FailureClass::Interrupted => Consequence::Leave,
        FailureClass::Error | FailureClass::Connection | FailureClass::Stale if !switched.is_empty() && !shut => {
            Consequence::Leave
        }
        FailureClass::Error | FailureClass::Connection | FailureClass::Stale => {
            Consequence::TurnBack { quarantine: false }
        }
    }
}

/// The result of a run whose forward part failed and whose way back ended with `back`.
pub fn result(env: &Environment, failure: &Failure, state: &RunState, back: Option<&Failure>) -> (RunResult, String) {
    // The reason is read on its own, in a list of runs: it names the host, which a verdict does by itself.
    let told = |failure: &Failure| match &failure.host {
        Some(host) if failure.class != FailureClass::Verdict => format!("{host}: {}", failure.message),
        _ => failure.message.clone(),
    };
    let again = "see that the host is up and can be reached, then apply again: it is observed first";
    let what = told(failure);
    if let Some(back) = back {
        let message = format!("{what}; AND THE WAY BACK FAILED: {}", told(back));
        return match back.class {
            FailureClass::Connection => (RunResult::Unreachable, format!("{message}; {again}")),
            _ => (RunResult::Failed, message),
        };
    }
    match failure.class {
        FailureClass::Connection => (RunResult::Unreachable, format!("{what}; {again}")),
        FailureClass::Error | FailureClass::Fenced | FailureClass::Stale | FailureClass::Interrupted => {
            (RunResult::Error, what)
        }
        FailureClass::Verdict => {
            let alone = state.aside.values().flat_map(|aside| &aside.steps);
            let back: Vec<_> = state.back.iter().flatten().chain(alone).map(|s| &s.action).collect();
            let returned = back.iter().any(|action| matches!(action, Action::Rollback { .. }));
            let held = back.iter().any(|action| matches!(action, Action::Hold { .. }));
            match (returned, held) {
                (true, false) => (RunResult::RolledBack, what),
                (true, true) => (RunResult::Failed, format!("{what}; some hosts had nothing to go back to and stay")),
                (false, true) if env.on_failure == EnvFailure::Hold => {
                    (RunResult::Failed, format!("{what}; held for people to look at (`on_failure = \"hold\"`)"))
                }
                (false, true) => (RunResult::Failed, format!("{what}; there was no confirmed release to go back to")),
                (false, false) => (RunResult::Failed, format!("{what}; `current` is untouched")),
            }
        }
    }
}

/// The result of a forward part that came to its end, with or without all of its hosts: only with all of them it is a
/// success.
pub fn complete(state: &RunState, fleet: &Fleet) -> (RunResult, String) {
    if state.aside.is_empty() {
        return (RunResult::Succeeded, String::new());
    }
    let told: Vec<_> = state
        .aside
        .iter()
        .map(|(host, aside)| {
            let held = aside.steps.iter().any(|step| matches!(step.action, Action::Hold { .. }));
            let became = if held { "stays as it is" } else { "went back" };
            format!("{host} {became} ({})", aside.failure.message)
        })
        .collect();
    let environment = state.started.as_ref().map_or("ENV", |started| started.environment.as_str());
    let message = format!(
        "{} of {} hosts failed: {}; the others run what is desired; to try again: soll retry {environment}",
        told.len(),
        fleet.hosts,
        told.join(", ")
    );
    (RunResult::Failed, message)
}

/// Whether rollback hooks run although nothing was switched (contract 1.2): where a step says so that said no. An error
/// says nothing about what there would be to take back.
pub fn back_on_failure(failure: Option<&Failure>) -> OnFailure {
    failure.filter(|f| f.class == FailureClass::Verdict).map_or(OnFailure::Abort, |f| f.on_failure)
}
