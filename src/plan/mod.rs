//! The pure core: `Desired` x `Observed` -> `Plan`. No I/O, no clock (`now` is handed in), no tokio. A rollback is the
//! same planner aimed at the confirmed release (`back`), not a second mechanism.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::approval::Reviewed;
use crate::model::compose::ServiceSeen;
use crate::model::desired::Grade;
use crate::model::ids::{AppName, Digest, EnvName, HostName, ReleaseName, Sha};
use crate::model::observed::{Current, Drift};
use crate::model::record::Healed;

pub mod back;
pub mod backup;
mod binding;
pub mod changes;
mod delivery;
pub mod due;
mod fingerprint;
pub mod forward;
pub mod graph;
pub mod heal;
pub mod intent;
pub mod pick;
pub mod planner;
pub mod policy;
mod promotion;
pub mod proof;
pub mod render;
pub mod retention;
pub mod reviewable;
pub mod services;
pub mod step;
pub mod tend;
pub mod window;

pub use planner::{Context, plan, plan_environment};
pub use step::{Action, Judged, ReleaseDir, Step};

/// The version of the plan's JSON form.
pub const SCHEMA: u32 = 1;

/// What would be done, for every environment that was asked for (contract 1.3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub schema: u32,
    /// The commit of the state repository.
    pub commit: String,
    /// The commit as which hosts were looked at, where that is another one, because this one is not accepted (law 11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
    /// Why this commit is not acted on, where it is the newest one of the branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What it was made from, where that was seen before it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Seen>,
    /// Over the fingerprints of the environments.
    pub fingerprint: Digest,
    pub verdict: PlanVerdict,
    pub environments: Vec<EnvPlan>,
}

/// When something was seen that is shown later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub at: Timestamp,
    /// How long before the question that was, in seconds.
    pub age_s: u64,
}

/// The whole plan in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanVerdict {
    None,
    Changes,
    Blocked,
}

/// The plan of one environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnvPlan {
    pub name: EnvName,
    pub app: AppName,
    /// The commit that is desired, where it could be resolved.
    pub desired: Option<Sha>,
    /// What the state file says: the SHA, or the tag that came to it.
    pub release: String,
    /// Over the effective configuration and what decides on the hosts; no health, no disk, no times.
    pub fingerprint: Digest,
    /// What an approval of this plan is bound to: the digest of `reviewed`. `None`: the plan was made from what a daemon
    /// publishes, where the contents of shared files are not.
    pub binding: Option<Digest>,
    /// What there is to review of it. `None`: likewise, or the plan was saved by a program that bound less.
    #[serde(default)]
    pub reviewed: Option<Reviewed>,
    pub sync: Sync,
    pub health: Health,
    pub verdict: Verdict,
    pub blockers: Vec<Blocker>,
    pub hosts: Vec<HostView>,
    pub steps: Vec<Step>,
    /// How it stands with its backups. No part of what is compared or approved: they are made beside deployments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backups: Vec<backup::View>,
    /// The commits that come and go with the change, where the repository of the application tells them. No part of what is
    /// compared or approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<changes::Changes>,
}

/// Desired against observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sync {
    InSync,
    OutOfSync,
    Unknown,
}

/// The health axis; later is worse, the worst host wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    Healthy,
    Unknown,
    Progressing,
    Missing,
    Degraded,
}

/// GO, NO-GO or PENDING: only a person's word is missing (B3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    #[serde(rename = "GO")]
    Go,
    #[serde(rename = "NO-GO")]
    NoGo,
    #[serde(rename = "PENDING")]
    Pending,
}

impl Verdict {
    /// As people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Go => "GO",
            Verdict::NoGo => "NO-GO",
            Verdict::Pending => "PENDING",
        }
    }
}

/// One reason against a change, with what cures it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocker {
    pub grade: Grade,
    pub code: Code,
    pub message: String,
    pub fix: String,
}

/// What kind of reason it is. Scripts match on these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    Frozen,
    Stopped,
    /// Something else than a release failed on a host, and nobody has looked at it yet.
    Suspect,
    Window,
    Approval,
    Rejected,
    NotPromoted,
    NotGreen,
    Soak,
    Checks,
    MigrationUnknown,
    Quarantined,
    /// Another machine answers under the name of a host, or has its disk.
    OtherMachine,
    /// Two names of the state are one directory of one machine.
    SharedRoot,
    Unreachable,
    Unresolved,
    BundleMissing,
    CommitMissing,
    SharedFileMissing,
    VariableMissing,
    SecretMissing,
    CurrentNotALink,
    /// An application that soll does not know is live in the root.
    Foreign,
    /// A directory of the root, or a shared path, is not such that a release could be made and linked there.
    Misplaced,
    /// The host is the controller's own machine, and the settings do not allow that.
    LocalRoot,
    /// A guard of the settings, which the state file does not lower.
    Policy,
    /// Shown only: an exception is in force.
    Emergency,
    /// The commit is not accepted: what it adds or changes was not looked at (law 11).
    NotAccepted,
    /// The hosts acted on a commit that does not lead to this one (law 10).
    Rewritten,
    /// Shown only: something differs and is not acted on.
    Drift,
    /// The contents of a release changed again soon after they were healed.
    HealDidNotLast,
    /// Shown only: the host went back by itself.
    Returned,
    /// Shown only: part of an old release cannot be removed.
    Leftovers,
    /// Shown only: directories beside the releases that soll did not make.
    Strangers,
    /// Closed for maintenance, and nobody is at it.
    Closed,
    /// Shown only: the soak or another fact could not be seen.
    Note,
}

impl Blocker {
    /// P0 and P1 block, P2 is shown (B3).
    pub fn blocks(&self) -> bool {
        self.grade <= Grade::P1
    }
}

/// SOLL against IST on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostView {
    pub name: HostName,
    pub reachable: bool,
    /// Nobody asked whether it is, because the commit is not accepted (law 11).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unasked: bool,
    /// The live release's directory name, or what `current` is instead.
    pub current: Option<String>,
    pub confirmed: Option<ReleaseName>,
    pub releases: Vec<ReleaseName>,
    pub drift: Vec<Drift>,
    /// So many more paths drifted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub drift_more: u64,
    /// How many seconds before the question contents were compared last; 0: for this question, or never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub drift_age_s: u64,
    /// The heal that made the live release, where it is not long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healed: Option<Healed>,
    /// The services of the live release, where it is a project of containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceSeen>,
    /// Why the host needs what the plan does, in words.
    pub reason: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl HostView {
    /// How many paths drifted.
    pub fn drifted(&self) -> usize {
        self.drift.len().saturating_add(usize::try_from(self.drift_more).unwrap_or(usize::MAX))
    }

    /// `current` as people and scripts read it.
    pub fn current_text(current: &Current) -> Option<String> {
        match current {
            Current::Missing => None,
            Current::Release(name) => Some(name.to_string()),
            Current::Elsewhere(target) => Some(format!("elsewhere: {target}")),
            Current::NotALink => Some("not a link".to_owned()),
        }
    }
}

impl Plan {
    /// It was made from what was published at `at`, and asked for `now`.
    pub fn seen_at(&mut self, at: Timestamp, now: Timestamp) {
        let age_s = u64::try_from(now.duration_since(at).as_secs()).unwrap_or(0);
        self.observed = Some(Seen { at, age_s });
        for host in self.environments.iter_mut().flat_map(|env| &mut env.hosts) {
            if host.drift_age_s > 0 || !host.drift.is_empty() {
                host.drift_age_s = host.drift_age_s.saturating_add(age_s);
            }
        }
    }

    /// The plan as it is compared (law 7): without estimates, which differ from one controller to the next, and without
    /// the age of what it was made from.
    pub fn canonical(&self) -> Plan {
        let mut plan = self.clone();
        plan.observed = None;
        for env in &mut plan.environments {
            env.estimate(&BTreeMap::new());
            env.changes = None;
            for host in &mut env.hosts {
                host.drift_age_s = 0;
                // These come and go by themselves, and decide nothing.
                host.services.iter_mut().for_each(|service| (service.health, service.restarts) = (None, 0));
            }
        }
        plan
    }

    /// The bytes that two plans of one case have in common.
    pub fn compare_bytes(&self) -> Vec<u8> {
        // Serialization of our own plain data into memory has no failing case.
        serde_json::to_vec(&self.canonical()).unwrap_or_default()
    }
}

impl EnvPlan {
    /// What stands for the desired commit before people: its first digits, or the name of the directory where nobody knows the
    /// commit.
    pub fn desired_short(&self) -> Option<&str> {
        self.desired.as_ref().map(|sha| if sha.is_unknown() { self.release.as_str() } else { sha.short() })
    }

    /// Sets what each step is expected to take, by step id; a step that is not in `millis` gets no estimate.
    pub fn estimate(&mut self, millis: &BTreeMap<String, u64>) {
        for step in &mut self.steps {
            step.estimate_ms = millis.get(&step.id).copied();
        }
    }

    /// What the whole is expected to take, in milliseconds: the longest way through the graph, as far as times are
    /// known. `None`: no time is known.
    pub fn expected_ms(&self) -> Option<u64> {
        graph::longest(&self.steps)
    }

    /// Whether something would be done.
    pub fn has_changes(&self) -> bool {
        !self.steps.is_empty()
    }

    /// The blockers that block.
    pub fn blocking(&self) -> impl Iterator<Item = &Blocker> {
        self.blockers.iter().filter(|b| b.blocks())
    }
}
