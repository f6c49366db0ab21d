//! What a host knows about one root: the truth that decides (contract 1.4), kept under `ROOT/.soll/`.
//!
//! Every change of it is one of the transitions in `transition`, [`heal`] and [`forget`], pure and total, so that the real host
//! and the simulated one of the law tests run the same code. No files, no clock: `now` is handed in.

pub mod backup;
pub mod forget;
pub mod heal;
mod transition;
pub mod unknown;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::activation::Activation;
use super::format::Form;
use super::ids::{Digest, Epoch, ReleaseName, Sha};
use super::machine::{Machine, OtherMachine};
use super::tenancy::Tenant;

pub use heal::Healed;

/// The version of this format, which every record that is written gets: from then on an older program, which would forget
/// what it does not know, refuses it. A newer one is refused, never rewritten; an older one is read.
///
/// 1: the first release. 2: what is not known is kept ([`unknown`]), `by` names the program that wrote it.
pub const FORMAT: u32 = 2;

/// How a record is read.
pub const FORM: Form = Form { known: FORMAT as u64, unsaid: None };

/// The record of one root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub format: u32,
    /// The highest epoch that ever acted here (law 3).
    pub epoch: Epoch,
    pub confirmed: Option<Confirmed>,
    pub probation: Option<Probation>,
    /// Maintenance hooks closed it, and nobody has opened it yet (D1).
    #[serde(default)]
    pub closed: Option<Closed>,
    /// What is known of each release directory.
    #[serde(default)]
    pub releases: BTreeMap<ReleaseName, Release>,
    #[serde(default)]
    pub quarantined: Vec<Quarantine>,
    /// By `SHA/digest of the hook`.
    #[serde(default)]
    pub migrations: BTreeMap<String, Migration>,
    /// Their keys in the order in which they were noted last ([`forget`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub migrated: Vec<String>,
    pub green: Option<Green>,
    /// The opposite of green: bad samples in a row (C6).
    #[serde(default)]
    pub ailing: Option<Ailing>,
    /// The last time contents were healed, where nothing was deployed since ([`heal`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healed: Option<Healed>,
    /// The last commit of the state repository that was acted on here (law 10).
    pub accepted: Option<Accepted>,
    pub stopped: Option<Stopped>,
    /// What failed here was not the release: nothing is changed until a person has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspect: Option<Suspect>,
    /// The last time the host went back by itself (law 6).
    pub returned: Option<Returned>,
    /// A person asked the run of this epoch to stop at its next safe point.
    pub cancel: Option<Cancel>,
    /// The machine that this root belongs to, noted when it was first taken there. `None`: it has no id, or nobody took it
    /// since there were such notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    /// By which names it was taken last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// The backups of its data, by the names of their jobs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub backups: backup::Backups,
    /// Databases and directories that are there only for a restore.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scratch: Vec<backup::Scratch>,
    /// A restore in place that did not come to its end yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restoring: Option<backup::Restoring>,
}

impl Default for Record {
    fn default() -> Self {
        Record {
            format: FORMAT,
            epoch: Epoch::default(),
            confirmed: None,
            probation: None,
            closed: None,
            releases: BTreeMap::new(),
            quarantined: Vec::new(),
            migrations: BTreeMap::new(),
            migrated: Vec::new(),
            green: None,
            ailing: None,
            healed: None,
            accepted: None,
            stopped: None,
            suspect: None,
            returned: None,
            cancel: None,
            machine: None,
            tenant: None,
            backups: BTreeMap::new(),
            scratch: Vec::new(),
            restoring: None,
        }
    }
}

/// The release that was healthy last, and what it was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    pub release: ReleaseName,
    /// Unknown for an adopted directory whose name says nothing.
    pub sha: Option<Sha>,
    pub bundle: Option<Digest>,
    pub at: Timestamp,
    /// [`Environment::inputs_digest`](super::desired::Environment::inputs_digest) at that time; `None` for an adopted release.
    pub inputs: Option<Digest>,
    /// The shared files (`from` → digest) at that time (A10).
    #[serde(default)]
    pub files: BTreeMap<String, Digest>,
    /// The units that ran it: what a way back to it restarts.
    #[serde(default, skip_serializing_if = "Activation::is_empty")]
    pub activation: Activation,
}

/// A switched release that is not confirmed yet. Written before the switch (law 6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probation {
    pub release: ReleaseName,
    pub sha: Sha,
    /// Where the host goes when nobody is heard; `None`: there is nothing to go back to.
    pub back_to: Option<ReleaseName>,
    pub epoch: Epoch,
    pub armed_at: Timestamp,
    #[serde(with = "super::desired::seconds")]
    pub lease: Duration,
    /// What the failure of this release would be recorded as.
    pub key: QuarantineKey,
    /// The rollback hooks, ready to run: the host needs nobody for its way back.
    pub rollback: Vec<Command>,
    /// What makes the release run that the host goes back to, before the rollback hooks.
    #[serde(default, skip_serializing_if = "Activation::is_empty")]
    pub activation: Activation,
    /// `current` is back already, and what runs is not known to be: it ends when the activation has succeeded, or with the
    /// lease, when the host does all of it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub returning: bool,
    /// How far the watch after the switch has come: whoever takes over goes on from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched: Option<Watched>,
}

/// What was seen in the watch of a release on probation (C8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// For so long figures were asked for, gaps between controllers left out.
    #[serde(with = "super::desired::seconds")]
    pub time: Duration,
    /// Samples beyond their limit that were forgiven, by the name of the metric.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub broken: BTreeMap<String, u32>,
}

/// A root that is closed for maintenance. Written before it is closed: whoever finds it after a crash can open it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    pub epoch: Epoch,
    pub at: Timestamp,
    #[serde(with = "super::desired::seconds")]
    pub lease: Duration,
    /// The hooks that open it, ready to run, those that did not run well yet.
    pub open: Vec<Command>,
    /// The units that were stopped before a migration, those that do not run again yet.
    #[serde(default, skip_serializing_if = "Activation::is_empty")]
    pub start: Activation,
}

impl Closed {
    /// The commands that open it, as a person would type them.
    pub fn commands(&self) -> String {
        let start = self.start.units.iter().map(|unit| {
            let user = if unit.user { "--user " } else { "" };
            format!("systemctl {user}start {}", unit.name)
        });
        start.chain(self.open.iter().map(|command| command.run.clone())).collect::<Vec<_>>().join("; ")
    }

    /// Nothing is left to be done before it is as it was.
    fn is_open(&self) -> bool {
        self.open.is_empty() && self.start.is_empty()
    }
}

/// What a host undoes by itself when no controller is heard (law 6): a probation, a closed door, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leased {
    pub epoch: Epoch,
    pub since: Timestamp,
    pub lease: Duration,
}

/// A configured command with everything it needs: the only shell there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub name: String,
    /// For `sh -c`; templates filled.
    pub run: String,
    /// The whole environment beside PATH, HOME, USER and LANG.
    pub env: BTreeMap<String, String>,
    #[serde(with = "super::desired::seconds")]
    pub timeout: Duration,
    /// Environment files of the host whose values its output must not show (law 9).
    #[serde(default)]
    pub hides: Vec<String>,
}

/// One release directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub sha: Option<Sha>,
    pub bundle: Option<Digest>,
    /// The digest of its manifest, once it is complete.
    pub tree: Option<Digest>,
    /// The digest of the shared paths that are linked into it.
    pub links: Option<Digest>,
    /// So many directories were stripped of its archive: the same bundle with another number is another release.
    #[serde(default, skip_serializing_if = "strips_none")]
    pub strip: u32,
    pub staged_at: Timestamp,
    /// Contents do not change any more.
    pub sealed: bool,
    pub confirmed_at: Option<Timestamp>,
    pub failed: bool,
    /// `soll` did not make it.
    pub adopted: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
pub(in crate::model) fn strips_none(strip: &u32) -> bool {
    *strip == 0
}

/// What a verdict was about (law 4). The environment is the root itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineKey {
    pub sha: Sha,
    pub bundle: Option<Digest>,
    pub config: Digest,
    /// The shared files that it ran with: a repaired `.env` is a new case (A10).
    pub files: Digest,
}

/// A release that failed and is not tried again by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    pub key: QuarantineKey,
    pub reason: String,
    pub at: Timestamp,
    /// `false`: a lease ran out once, which is an error and not yet a verdict.
    pub verdict: bool,
    /// Found on this host while the rollout went on without it (`max_failures`): it says nothing to the other hosts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
}

/// How far a migration came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Migration {
    /// Begun and not seen to finish: unknown, unless the run that began it is alive (law 5).
    Begun,
    Done,
    /// It said no. It may run again.
    Failed,
}

/// How long a release has been green without a gap (B2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Green {
    pub release: ReleaseName,
    pub since: Timestamp,
    pub last: Timestamp,
    pub samples: u64,
}

/// A confirmed release whose health fails between deployments (C6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ailing {
    pub release: ReleaseName,
    pub since: Timestamp,
    /// Bad samples in a row.
    pub samples: u32,
}

/// A commit of the state repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    pub commit: String,
    pub at: Timestamp,
}

/// Everything was stopped here on purpose (D5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    pub reason: String,
    pub by: String,
    pub at: Timestamp,
}

/// A release failed here, and so did the one before it, in the same way, which had been well: something else is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    /// What failed both times.
    pub reason: String,
    pub at: Timestamp,
}

/// The host went back by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    pub from: ReleaseName,
    pub to: Option<ReleaseName>,
    pub at: Timestamp,
    pub reason: String,
}

/// A wish to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    pub epoch: Epoch,
    pub by: String,
    pub at: Timestamp,
    /// What runs then is stopped, and not waited for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub now: bool,
}

/// Who holds a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// `user@machine pid N, run R`.
    pub who: String,
    pub since: Timestamp,
    pub epoch: Epoch,
    /// The agent's process.
    pub pid: u32,
}

/// Why the host does not do what was asked. None of these is an accident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    #[error(
        "epoch {got} does not hold this root (the newest is {have}): another run has taken over, or its lease is over"
    )]
    Fenced { have: u64, got: u64 },
    #[error("release {0} is not complete and sealed here")]
    NotSealed(ReleaseName),
    #[error("there is no release {0} here")]
    NoSuchRelease(ReleaseName),
    #[error("release {0} is not on probation here")]
    NotOnProbation(ReleaseName),
    #[error("`current` points to {current}, not to {wanted}")]
    NotCurrent { current: String, wanted: ReleaseName },
    #[error("there is no confirmed release to go back to")]
    NowhereToGo,
    #[error(
        "{0}; nothing was done. If it was replaced on purpose, take it with `soll acknowledge --host NAME`; if not, look at \
         what answers there"
    )]
    OtherMachine(OtherMachine),
    #[error(
        "the record of this root has format {format}, which is newer than this program (it knows {FORMAT}): use a newer soll, \
         {by} or a later one. Nothing is wrong with the root. To go back to this soll for good, end with the newer one \
         what is under way there, then set \"format\": {FORMAT} in ROOT/.soll/record.json on the host: what only the \
         newer one knows stays in the file and is not heeded"
    )]
    NewerFormat { format: u64, by: String },
}
