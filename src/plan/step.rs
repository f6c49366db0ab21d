//! One step of a plan: data that a person can read and an executor can carry out without deciding anything.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::activation::Activation;
use crate::model::compose::Project;
use crate::model::desired::{Backup, Check, Gate, Hook, OnFailure, Watch};
use crate::model::ids::{Digest, HostName, ReleaseName, Sha};
use crate::model::record::Watched;

/// One node of the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Unique in its plan: `switch:web1`, `gate:web1:autoload`.
    pub id: String,
    #[serde(flatten)]
    pub action: Action,
    /// `None`: the controller's own work, once per environment.
    pub host: Option<HostName>,
    /// The ids of the steps that come first.
    pub after: Vec<String>,
    pub on_failure: OnFailure,
    /// Cannot be taken back by a rollback: a migration.
    pub irreversible: bool,
    /// Why it is in the plan, for people.
    pub reason: String,
    /// From past runs; never part of what is compared (law 7).
    pub estimate_ms: Option<u64>,
}

/// What a step does. The tag is the contract's step kind (1.3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Action {
    /// A look at the live release before anything is touched (A4).
    HealthBefore {
        check: Check,
        attempts: u32,
    },
    /// The healthy `current` of a host without a confirmed release becomes the confirmed one.
    Adopt {
        release: ReleaseName,
        sha: Option<Sha>,
        checks: Vec<Check>,
    },
    /// Only the SHA-256 of the bundle: the hosts fetch it themselves.
    Checksum {
        sha: Sha,
    },
    /// The bundle: once for all hosts, or, with a host, by that one.
    Fetch {
        sha: Sha,
    },
    /// The bundle against its SHA-256, or, on a host, a release that is there against its manifest (law 1).
    Verify {
        place: ReleaseDir,
    },
    Upload,
    Extract,
    /// The rendered files of the release get their versions on the host (A10).
    Render,
    Link,
    /// The images come to the host, and what the release runs with is resolved: nothing that runs is touched.
    Pull {
        project: Box<Project>,
    },
    Gate {
        gate: Gate,
        place: ReleaseDir,
    },
    Hook {
        hook: Hook,
        place: ReleaseDir,
    },
    Migrate {
        hook: Hook,
        place: ReleaseDir,
    },
    Maintenance {
        hook: Hook,
        place: ReleaseDir,
    },
    Reload {
        hook: Hook,
        place: ReleaseDir,
    },
    /// From here on the contents are final.
    Seal {
        place: ReleaseDir,
    },
    Switch {
        to: ReleaseDir,
    },
    /// What a deployment may damage is saved first (A4): all parts of a job, read back, with its manifest.
    Backup {
        backup: Box<Backup>,
    },
    /// Units that must not work while the database changes stop, each when it has finished what it is at (D1).
    Drain {
        activation: Activation,
    },
    /// The units restart what `current` leads to, and settle (I7).
    Activate {
        activation: Activation,
    },
    Grace {
        seconds: f64,
    },
    Health {
        check: Check,
        place: ReleaseDir,
    },
    Assets {
        check: Check,
        place: ReleaseDir,
    },
    Watch {
        watch: Watch,
        place: ReleaseDir,
        /// What an earlier run has seen of it already.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        watched: Option<Watched>,
    },
    Confirm {
        release: ReleaseDir,
        inputs: Digest,
        /// It was confirmed before and only restarted: what it was made with stays what it was.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
    },
    Prune {
        keep: u32,
    },
    /// The host goes back to its confirmed release. The verdict goes with it: whoever finds the host back finds the reason.
    Rollback {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verdict: Option<Judged>,
    },
    /// Probation ends and the release stays: nowhere to go, or `on_failure = "hold"`.
    Hold {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verdict: Option<Judged>,
    },
    /// The state repository gets a commit that takes the failed release back (H2).
    RevertCommit {
        from: Sha,
        to: Sha,
    },
}

/// A verdict on the release of a run, as its hosts record it (law 4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    pub reason: String,
    /// It says nothing about the other hosts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
}

/// A directory of a host, as far as it is known before the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "in", rename_all = "kebab-case")]
pub enum ReleaseDir {
    /// The release that this run makes; it gets its name when the run starts.
    New { sha: Sha },
    /// A release that is on the host already.
    Existing { release: ReleaseName, sha: Option<Sha> },
    /// Whatever `current` leads to at that moment.
    Live { sha: Option<Sha> },
}

impl ReleaseDir {
    /// The commit that `SOLL_SHA` names there.
    pub fn sha(&self) -> Option<&Sha> {
        match self {
            ReleaseDir::New { sha } => Some(sha),
            ReleaseDir::Existing { sha, .. } | ReleaseDir::Live { sha } => sha.as_ref(),
        }
    }
}

impl Action {
    /// How long it may take, where that is configured: then it is over, whatever it came to.
    pub fn limit(&self) -> Option<Duration> {
        match self {
            Action::Hook { hook, .. }
            | Action::Migrate { hook, .. }
            | Action::Maintenance { hook, .. }
            | Action::Reload { hook, .. } => Some(hook.timeout),
            Action::Gate { gate, .. } => Some(gate.timeout),
            Action::Grace { seconds } => Duration::try_from_secs_f64(*seconds).ok(),
            Action::Watch { watch, .. } => Some(watch.duration),
            Action::Activate { activation } | Action::Drain { activation } => Some(activation.limit()),
            _ => None,
        }
    }

    /// The contract's name of the kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Action::HealthBefore { .. } => "health-before",
            Action::Adopt { .. } => "adopt",
            Action::Checksum { .. } => "checksum",
            Action::Fetch { .. } => "fetch",
            Action::Verify { .. } => "verify",
            Action::Upload => "upload",
            Action::Extract => "extract",
            Action::Render => "render",
            Action::Link => "link",
            Action::Pull { .. } => "pull",
            Action::Gate { .. } => "gate",
            Action::Hook { .. } => "hook",
            Action::Migrate { .. } => "migrate",
            Action::Backup { .. } => "backup",
            Action::Maintenance { .. } => "maintenance",
            Action::Reload { .. } => "reload",
            Action::Seal { .. } => "seal",
            Action::Switch { .. } => "switch",
            Action::Activate { .. } => "activate",
            Action::Drain { .. } => "drain",
            Action::Grace { .. } => "grace",
            Action::Health { .. } => "health",
            Action::Assets { .. } => "assets",
            Action::Watch { .. } => "watch",
            Action::Confirm { .. } => "confirm",
            Action::Prune { .. } => "prune",
            Action::Rollback { .. } => "rollback",
            Action::Hold { .. } => "hold",
            Action::RevertCommit { .. } => "revert-commit",
        }
    }
}
