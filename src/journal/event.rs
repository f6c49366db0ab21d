//! The events of runs, in the order in which they were journaled: intent before effect (law 5).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::operation::Operation;
use crate::model::desired::OnFailure;
use crate::model::ids::{EnvName, Epoch, HostName, ReleaseName, RunId, Sha};
use crate::model::observed::Attempt;
use crate::plan::Step;

/// One line of a run's journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The first line of a deployment.
    Started(Box<Started>),
    /// The first line of an operation.
    Operation(Box<Operation>),
    /// The epoch under which every effect of this run happens.
    Acquired {
        epoch: Epoch,
    },
    /// A step is about to have an effect.
    Intended {
        step: String,
        at: Timestamp,
    },
    /// Evidence on the way (C2).
    Attempted {
        step: String,
        attempt: Attempt,
    },
    Ended {
        step: String,
        at: Timestamp,
        millis: u64,
        end: StepEnd,
    },
    /// A host failed after its switch and the rollout can do without it: its own way back is in `steps`, and the others
    /// go on.
    SetAside {
        at: Timestamp,
        host: HostName,
        failure: Failure,
        steps: Vec<Step>,
    },
    /// The forward part is over without success; what follows is in `steps`.
    TurnedBack {
        at: Timestamp,
        failure: Option<Failure>,
        steps: Vec<Step>,
    },
    /// The failed case was recorded on these hosts (law 4).
    Quarantined {
        hosts: Vec<HostName>,
        reason: String,
    },
    Finished {
        at: Timestamp,
        result: RunResult,
        reason: String,
    },
}

/// What a deployment set out to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    pub run: RunId,
    pub environment: EnvName,
    pub at: Timestamp,
    /// Of the state repository, with its author (B3: who).
    pub commit: String,
    pub actor: String,
    /// What ran before, where it was one release.
    pub from: Option<ReleaseName>,
    pub from_sha: Option<Sha>,
    pub to: Sha,
    /// The directory that a deployment makes; of a release of which nobody knows the commit that which is there.
    pub release: ReleaseName,
    /// When the desired commit was committed, for the lead time (G3).
    pub committed_at: Option<Timestamp>,
    pub reason: String,
    pub steps: Vec<Step>,
}

impl Started {
    /// What stands for the goal before people: the first digits of its commit, or the name of the directory where nobody knows
    /// that.
    pub fn goal(&self) -> &str {
        if self.to.is_unknown() { self.release.as_str() } else { self.to.short() }
    }
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum StepEnd {
    /// With what there is to say about it: bytes, evidence, output.
    Done {
        note: String,
    },
    /// The step failed, and its `on_failure` is `warn`: the run goes on.
    Warned {
        failure: Failure,
    },
    Failed {
        failure: Failure,
    },
    /// Somebody wanted the run to stop in the middle of it. Nothing is judged: what is on probation stays so, and whoever
    /// comes next goes on with it.
    Interrupted {
        note: String,
    },
}

/// A step that did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub step: String,
    pub host: Option<HostName>,
    pub class: FailureClass,
    pub on_failure: OnFailure,
    /// Object, place, reason.
    pub message: String,
    /// The tail of what a command printed.
    pub output: Option<String>,
}

/// What kind of failure it is: a verdict is acted on, an error is retried (law 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// The release was judged and found bad.
    Verdict,
    /// Something around it failed; nothing is known about the release.
    Error,
    /// The same, and the host could not be reached.
    Connection,
    /// Another run has taken over.
    Fenced,
    /// What was planned with is not there any more as it was: plan again.
    Stale,
    /// Somebody wanted the run to stop, and it did in the middle of a step: nothing is judged.
    Interrupted,
}

impl FailureClass {
    /// The class of a failure that says nothing about the release of the run.
    pub fn without_verdict(self) -> Self {
        if self == FailureClass::Verdict { FailureClass::Error } else { self }
    }
}

/// How a run ended: the one row that exit code, page, metric and notification come from (law 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunResult {
    Succeeded,
    /// A negative verdict; nothing is switched, or what is switched was held.
    Failed,
    /// Everybody who was switched is back and healthy.
    RolledBack,
    /// No verdict could be had.
    Error,
    /// The same, because a host could not be reached.
    Unreachable,
    Superseded,
    Cancelled,
    /// The controller died in it.
    Interrupted,
}

impl Event {
    /// Whether a run begins with it.
    pub fn opens(&self) -> bool {
        matches!(self, Event::Started(_) | Event::Operation(_))
    }
}

impl RunResult {
    /// As in the contract's JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            RunResult::Succeeded => "succeeded",
            RunResult::Failed => "failed",
            RunResult::RolledBack => "rolled-back",
            RunResult::Error => "error",
            RunResult::Unreachable => "unreachable",
            RunResult::Superseded => "superseded",
            RunResult::Cancelled => "cancelled",
            RunResult::Interrupted => "interrupted",
        }
    }

    /// The contract's exit code (1.2).
    pub fn exit(self) -> u8 {
        match self {
            RunResult::Succeeded | RunResult::Superseded => 0,
            RunResult::RolledBack => 3,
            RunResult::Unreachable => 6,
            RunResult::Failed | RunResult::Error | RunResult::Cancelled | RunResult::Interrupted => 1,
        }
    }
}
