//! What the end of the forward part leads to (contract 1.2, A5). Pure: the dispatcher asks, the planner builds.

use super::event::{Failure, FailureClass, RunResult};
use super::state::RunState;
use crate::model::desired::{EnvFailure, Environment, OnFailure};

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// The way back is planned and run. `quarantine`: the verdict is recorded first.
    TurnBack { quarantine: bool },
    /// Nothing more is done by this controller: probation and lease say what happens (law 4: no rollback on missing evidence).
    Leave,
}

/// What follows from a failure.
pub fn consequence(failure: &Failure, state: &RunState) -> Consequence {
    let switched = state.switched();
    // A host that was closed and not switched has no probation that would open it again.
    let shut = state.closed().difference(&switched).next().is_some();
    match failure.class {
        FailureClass::Verdict => Consequence::TurnBack { quarantine: true },
        FailureClass::Fenced => Consequence::Leave,
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
    let what = &failure.message;
    if let Some(back) = back {
        let message = format!("{what}; AND THE WAY BACK FAILED: {}", back.message);
        let class = if back.class == FailureClass::Connection { RunResult::Unreachable } else { RunResult::Failed };
        return (class, message);
    }
    match failure.class {
        FailureClass::Connection => (RunResult::Unreachable, what.clone()),
        FailureClass::Error | FailureClass::Fenced | FailureClass::Stale => (RunResult::Error, what.clone()),
        FailureClass::Verdict => {
            let returned = state.back.iter().flatten().any(|s| matches!(s.action, crate::plan::Action::Rollback));
            let held = state.back.iter().flatten().any(|s| matches!(s.action, crate::plan::Action::Hold));
            match (returned, held) {
                (true, false) => (RunResult::RolledBack, what.clone()),
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

/// Whether rollback hooks run although nothing was switched (contract 1.2): where a step says so that said no. An error
/// says nothing about what there would be to take back.
pub fn back_on_failure(failure: Option<&Failure>) -> OnFailure {
    failure.filter(|f| f.class == FailureClass::Verdict).map_or(OnFailure::Abort, |f| f.on_failure)
}
