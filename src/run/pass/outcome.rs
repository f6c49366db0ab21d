//! How a pass over one environment ended, and the exit code that says so (contract 1.2).

use crate::journal::RunResult;
use crate::model::ids::{HostName, RunId};
use crate::model::record::Holder;
use crate::plan::{Blocker, Code, EnvPlan};
use crate::run::look::observe::Left;

/// How a pass ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Nothing to do, or nothing left to do.
    Converged {
        healthy: Option<bool>,
    },
    Ran {
        run: RunId,
        result: RunResult,
        reason: String,
        stale: bool,
        /// What its hosts were like when it gave them back, where it succeeded.
        left: Left,
    },
    /// The plan says no.
    Blocked(Box<EnvPlan>),
    Locked {
        root: String,
        host: HostName,
        holder: Box<Holder>,
    },
    /// The saved plan is not what would be done now.
    Stale(Box<EnvPlan>),
    Error {
        unreachable: bool,
        message: String,
    },
    /// The hosts have acted on a commit that this one does not follow (law 10).
    Refused {
        message: String,
    },
    /// Not tried yet again after an error.
    Waiting {
        until: jiff::Timestamp,
        reason: String,
    },
}

impl Outcome {
    /// The contract's exit code (1.2).
    pub fn exit(&self) -> u8 {
        match self {
            Outcome::Converged { .. } => 0,
            Outcome::Ran { result, .. } => result.exit(),
            Outcome::Blocked(plan) => blocked_exit(plan),
            Outcome::Refused { .. } => 4,
            Outcome::Locked { .. } => 5,
            Outcome::Stale(_) => 8,
            Outcome::Error { unreachable: true, .. } => 6,
            Outcome::Error { .. } | Outcome::Waiting { .. } => 1,
        }
    }
}

/// The exit code that a blocked plan leads to.
fn blocked_exit(plan: &EnvPlan) -> u8 {
    decisive(plan).map_or(4, |(_, exit)| exit)
}

/// The reason that counts where a plan is blocked, and the exit code it leads to: what is wrong outranks what is unknown,
/// quarantined, and merely waited for.
pub fn decisive(plan: &EnvPlan) -> Option<(&Blocker, u8)> {
    let weight = |code: Code| match code {
        Code::Unresolved
        | Code::BundleMissing
        | Code::CommitMissing
        | Code::SharedFileMissing
        | Code::VariableMissing
        | Code::SecretMissing
        | Code::SharedRoot
        | Code::Misplaced
        | Code::CurrentNotALink
        | Code::Foreign => (0, 1),
        Code::Unreachable | Code::OtherMachine => (1, 6),
        Code::Quarantined => (2, 7),
        _ => (3, 4),
    };
    let first = plan.blocking().min_by_key(|blocker| weight(blocker.code).0)?;
    Some((first, weight(first.code).1))
}
