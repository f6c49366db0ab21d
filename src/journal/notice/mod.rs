//! What people want to know beside what runs say themselves: a change of state, told once. A notice is about something, and
//! a newer one about the same takes its place: `news` decides whether it says anything new, `words` makes its text.

mod news;
mod words;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::ids::{Digest, EnvName, HostName, Sha};
use crate::plan::Code;

/// So many paths are named where contents differ.
pub const PATHS: usize = 20;

/// A change of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "kebab-case")]
pub enum Notice {
    /// A commit of the state repository is acted on from now on.
    AcceptedCommit {
        commit: String,
        /// The first line of its message.
        subject: String,
        /// How many it has.
        environments: usize,
    },
    /// The newest commit is not acted on: it is not signed, the branch was rewritten, its state file is wrong.
    RefusedCommit {
        why: String,
        /// Every mistake of the state file, with its place; empty: it is about something else.
        details: String,
    },
    /// The state repository cannot be read, so that nobody knows the newest commit.
    RepositoryAway {
        why: String,
    },
    /// Changes of the repository are not heard of, so that it is asked again and again.
    Polled {
        why: String,
    },
    /// A branch that is tracked has moved, and the environment with it.
    Followed {
        environment: EnvName,
        branch: String,
        to: Sha,
        commit: String,
    },
    CannotFollow {
        environment: EnvName,
        why: String,
    },
    /// The end of [`Notice::CannotFollow`].
    CanFollow {
        environment: EnvName,
    },
    /// As desired, and nothing is known against its health.
    InSync {
        environment: EnvName,
    },
    /// As desired, and a check says no.
    Unhealthy {
        environment: EnvName,
    },
    /// What would be done waits for nothing but a person's word (B3).
    ApprovalWanted {
        environment: EnvName,
        desired: Option<Sha>,
        /// What a word would be bound to.
        binding: Digest,
        /// What would be done, and the next move, for people.
        explanation: String,
    },
    /// What is desired may not be done: a policy, a freeze, a window, a quarantine, a host that cannot be seen.
    Blocked {
        environment: EnvName,
        desired: Option<Sha>,
        /// All that is in the way, the first reason first.
        codes: Vec<Code>,
        /// The same for people, with the next move.
        explanation: String,
    },
    /// Somebody else is at work there.
    Locked {
        environment: EnvName,
        host: HostName,
        root: String,
        holder: String,
        since: Timestamp,
        pid: u32,
    },
    /// The hosts have acted on a commit that the accepted one does not follow.
    NotFollowed {
        environment: EnvName,
        why: String,
    },
    /// A pass over the environment ended with an error before anything was done.
    Trouble {
        environment: EnvName,
        unreachable: bool,
        why: String,
    },
    /// A deployment ended with an error and is tried again by itself, after a wait that grows with each error.
    Retried {
        environment: EnvName,
        again_ms: u64,
        failures: u32,
        why: String,
    },
    /// A person stopped the deployment, so it is not tried again by itself.
    LeftAlone {
        environment: EnvName,
        why: String,
    },
    /// A host cannot be seen as this environment needs it.
    HostAway {
        environment: EnvName,
        host: HostName,
        why: String,
    },
    /// The end of [`Notice::HostAway`].
    HostBack {
        environment: EnvName,
        host: HostName,
    },
    /// The live release is not what was deployed (A7).
    Drift {
        environment: EnvName,
        host: HostName,
        /// How many paths differ.
        count: usize,
        /// The first of them.
        paths: Vec<String>,
    },
    /// What was healed is changed again, soon after (A7).
    HealDidNotLast {
        environment: EnvName,
        host: HostName,
        /// How many heals in a row did not last.
        times: u32,
        /// The first paths that differ.
        paths: Vec<String>,
    },
    /// The end of [`Notice::HealDidNotLast`].
    HealLasts {
        environment: EnvName,
        host: HostName,
    },
    /// The end of [`Notice::Drift`].
    DriftGone {
        environment: EnvName,
        host: HostName,
    },
    /// Work that comes again and again was not done for much longer than it should be (`plan::due`).
    Overdue {
        environment: EnvName,
        /// What it is, in words.
        job: String,
        /// How often it is wanted.
        every_ms: u64,
        /// How much later than its time it is.
        late_ms: u64,
    },
    /// The end of [`Notice::Overdue`].
    OnTime {
        environment: EnvName,
        job: String,
    },
    /// A backup by its schedule is good: written, read back, its manifest after it.
    BackupSucceeded {
        environment: EnvName,
        job: String,
        /// What it is called, how much it is, where it lies.
        told: String,
    },
    /// A backup by its schedule is whole, and so much smaller than the good one before it that it is held (I20).
    BackupShrunk {
        environment: EnvName,
        job: String,
        /// What it is called.
        name: String,
        /// What it has, and what the one before it had.
        why: String,
    },
    /// A backup by its schedule came to nothing, or a target did not take it.
    BackupFailed {
        environment: EnvName,
        job: String,
        why: String,
    },
    /// There should be a good backup, and is none, for long (F6).
    BackupOverdue {
        environment: EnvName,
        job: String,
        /// The last good one.
        last: Option<String>,
    },
    /// The end of [`Notice::BackupOverdue`].
    BackupInTime {
        environment: EnvName,
        job: String,
    },
    /// A backup was restored elsewhere, and is what it should be (F4).
    RestoreTestPassed {
        environment: EnvName,
        job: String,
        told: String,
    },
    /// A backup was restored elsewhere, and is not what it should be.
    RestoreTestFailed {
        environment: EnvName,
        job: String,
        why: String,
    },
    /// It could not be found out, again and again.
    RestoreTestInconclusive {
        environment: EnvName,
        job: String,
        why: String,
    },
    /// There should be a proven restore, and is none, for long (F6).
    RestoreTestOverdue {
        environment: EnvName,
        job: String,
        /// What was proven last.
        last: Option<String>,
    },
    /// The end of [`Notice::RestoreTestOverdue`].
    RestoreTestInTime {
        environment: EnvName,
        job: String,
    },
}

/// A notice in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    pub at: Timestamp,
    #[serde(flatten)]
    pub notice: Notice,
}
