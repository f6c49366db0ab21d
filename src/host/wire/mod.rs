//! The typed operations of one host; [`reply`]: what they give. The same operations serve this machine and,
//! over any byte stream, another one: nothing here assumes that the controller and the host share a file system.

pub mod activate;
pub mod backup;
pub mod challenge;
pub mod compose;
pub mod convert;
pub mod examine;
pub mod excerpt;
pub mod frame;
mod patience;
pub mod provision;
pub mod render;
mod reply;
pub mod restore;
pub mod tame;
pub mod trial;

use std::time::Duration;

pub use reply::{Answer, CommandResult, Exit, Exposed, GateResult, HostError, Lost, Reply, cures};
use serde::{Deserialize, Serialize};

use crate::artifact::delta::Listing;
use crate::artifact::picked::Picked;
use crate::artifact::terms::Terms;
use crate::host::wire::activate::Deed;
use crate::host::wire::compose::{Load, Pull};
use crate::host::wire::convert::{Convert, Survey};
use crate::host::wire::examine::Examine;
use crate::host::wire::provision::Provision;
use crate::host::wire::render::Version;
use crate::host::wire::trial::Trial;
use crate::model::activation::Activation;
use crate::model::desired::{Gate, MetricSource, Probe, Shared};
use crate::model::ids::{Digest, Epoch, ReleaseName, Sha};
use crate::model::machine::Machine;
use crate::model::record::{
    Command, Confirmed, Migration, Probation, Quarantine, QuarantineKey, Release, Stopped, Suspect, Watched,
};
use crate::model::tenancy::Tenant;

pub use crate::model::secret::Secret;

/// One request about one root.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Call {
    /// Chosen by the client; the reply carries it.
    pub id: u64,
    /// ROOT, absolute.
    pub root: String,
    pub op: Op,
}

/// What a host can do. Operations that change something carry the epoch of the run (law 3).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// Read-only, takes no lock.
    Observe(Observe),
    /// Makes the layout if it is missing, takes the root's lock and raises its epoch. A probation whose lease is over
    /// is ended first (the host goes back); a live one is taken over.
    Acquire {
        epoch: Epoch,
        who: String,
        #[serde(with = "crate::model::desired::seconds")]
        lease: Duration,
        /// The commit that whoever takes it acts on: noted with the epoch (law 10).
        accept: Option<String>,
        /// The machine that the host is known to be: another one refuses, and nothing happens there.
        machine: Option<Machine>,
        /// By which names it is taken: noted, so that one who comes by others is told.
        tenant: Option<Tenant>,
        /// What the state in the answer looks at: nobody else changes it any more.
        look: Observe,
    },
    /// Gives the lock back, and says what the root is like then, where that is asked.
    Release {
        epoch: Epoch,
        look: Option<Observe>,
    },
    /// The contents of which files of this manifest no release here has, and no earlier upload left. The lines of the
    /// manifest follow as data frames, cut as the sender likes. It stays here for `Upload` and `Extract`. One that is the
    /// difference from a tree that is not here is an [`HostError::Integrity`]: send it whole.
    Missing {
        epoch: Epoch,
        listing: Listing,
        /// So many releases are to be kept, this one included: where there is no room for it, older ones go before it is
        /// staged. `None`: nothing goes for it.
        keep: Option<u32>,
    },
    /// The contents of these files of the manifest with this digest follow as data frames, one after the other in the order
    /// of the manifest, cut as the sender likes.
    Upload {
        epoch: Epoch,
        tree: Digest,
        files: Picked,
    },
    /// Brings a bundle, or the tree of a commit, here and unpacks what nothing here has. Its manifest stays here for
    /// `Extract`.
    Fetch {
        epoch: Epoch,
        /// https://, http://, file:// or an absolute path; with `commit` the address of a repository.
        place: Secret,
        /// What is brought goes by this; a bundle has it as its SHA-256.
        digest: Digest,
        /// The commit of which it is the tree. `None`: it is a bundle.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<Commit>,
        /// The terms of the application.
        terms: Terms,
        /// As for [`Op::Missing`].
        keep: Option<u32>,
    },
    /// Builds the tree of the manifest that `Missing` or `Fetch` left, outside `releases/` from uploaded blobs and copies, checks
    /// every digest, moves it in complete.
    Extract {
        epoch: Epoch,
        name: ReleaseName,
        release: Release,
        /// The digest of the manifest.
        tree: Digest,
    },
    /// Writes versions of rendered files, those that are not there yet. Nothing that runs sees them.
    Render {
        epoch: Epoch,
        files: Vec<Version>,
    },
    /// How versions of rendered files compare with what the live release reads. Reads only, takes no lock.
    Compare {
        files: Vec<Version>,
    },
    /// Makes the links to `shared/`.
    Link {
        epoch: Epoch,
        name: ReleaseName,
        shared: Vec<Shared>,
        env_file: Option<String>,
        required_env: Vec<String>,
    },
    /// Resolves the project of a release that is linked and not sealed, and brings what images it needs. Nothing that runs sees
    /// it.
    Pull {
        epoch: Epoch,
        name: ReleaseName,
        pull: Box<Pull>,
    },
    /// What of its images the host lacks, of a release that is linked and not sealed. Reads only.
    Lack {
        epoch: Epoch,
        name: ReleaseName,
        pull: Box<Pull>,
    },
    /// An image for the engine of the host, whose layers were uploaded. Nothing that runs sees it.
    Load {
        epoch: Epoch,
        load: Box<Load>,
    },
    Gate {
        epoch: Epoch,
        name: ReleaseName,
        gate: Gate,
        command: Option<Command>,
    },
    /// Runs a configured command.
    Hook {
        epoch: Epoch,
        cwd: Cwd,
        command: Command,
        means: CommandRole,
    },
    /// Opens what maintenance hooks of an earlier run closed, with the commands that it left for that.
    Reopen {
        epoch: Epoch,
    },
    /// Records the final contents: after this they do not change, `mutable` globs aside.
    Seal {
        epoch: Epoch,
        name: ReleaseName,
        shared: Vec<Shared>,
        mutable: Vec<String>,
    },
    /// Takes over a directory that `soll` did not make: computes its manifest, seals it.
    Adopt {
        epoch: Epoch,
        name: ReleaseName,
        release: Release,
        shared: Vec<Shared>,
        mutable: Vec<String>,
    },
    /// A sealed release against its manifest, before it is returned to. One that drifted loses its seal.
    Verify {
        epoch: Epoch,
        name: ReleaseName,
    },
    /// Writes the probation, then renames the link.
    Switch {
        epoch: Epoch,
        probation: Probation,
    },
    /// Makes what `current` leads to run, or asks whether it could.
    Activate {
        epoch: Epoch,
        activation: Activation,
        deed: Deed,
    },
    /// Stops units before a migration. Without a controller they are started again when the lease is over.
    Drain {
        epoch: Epoch,
        activation: Activation,
        #[serde(with = "crate::model::desired::seconds")]
        lease: Duration,
    },
    /// One attempt of a check that is made from the host.
    Probe {
        cwd: Cwd,
        probe: Probe,
        command: Option<Command>,
        secret: Option<Secret>,
        #[serde(with = "crate::model::desired::seconds")]
        timeout: Duration,
    },
    /// One sample of a watched figure.
    Measure {
        cwd: Cwd,
        source: MetricSource,
        command: Option<Command>,
        secret: Option<Secret>,
        #[serde(with = "crate::model::desired::seconds")]
        timeout: Duration,
    },
    /// The watch of the release on probation has come so far.
    Watched {
        epoch: Epoch,
        watched: Watched,
    },
    /// The release on probation is good: a request of its own (law 6).
    Confirm {
        epoch: Epoch,
        confirmed: Confirmed,
    },
    /// Back to the confirmed release; probation ends. `verdict`: recorded by the same change of the record, so that nobody
    /// finds a host that is back without the reason (law 4).
    Return {
        epoch: Epoch,
        verdict: Option<Quarantine>,
    },
    /// Probation ends, the release stays. `verdict`: likewise.
    Hold {
        epoch: Epoch,
        verdict: Option<Quarantine>,
    },
    Prune {
        epoch: Epoch,
        keep: u32,
    },
    Quarantine {
        epoch: Epoch,
        entry: Quarantine,
    },
    /// What was said of this case is taken back: it was not the release. `suspect`: this host is what failed.
    Acquit {
        epoch: Epoch,
        case: QuarantineKey,
        suspect: Option<Suspect>,
    },
    /// Lifts what is known against a commit; settles its migrations that are not done.
    Retry {
        epoch: Epoch,
        sha: Sha,
        migration: Option<Migration>,
        /// Migrations that somebody saw done elsewhere: recorded as done here too (pull mode).
        #[serde(default)]
        done: Vec<String>,
    },
    /// A health sample between deployments. No lock, no epoch: it only ever shortens or continues a count.
    Sample {
        healthy: bool,
        #[serde(with = "crate::model::desired::seconds")]
        every: Duration,
    },
    SetStopped {
        epoch: Epoch,
        stopped: Option<Stopped>,
    },
    /// A person's word: the epoch, which no number of runs explains, is set back. Not under an epoch, because there may be
    /// no higher one; refused where it is another one by now, or somebody holds the root.
    Recount {
        who: String,
        have: Epoch,
        to: Epoch,
    },
    /// A person's word: these directories of `releases/` are releases, and old ones of them may be removed. Not under an
    /// epoch: nothing else in the record changes. Refused where somebody holds the root.
    Claim {
        who: String,
        /// As for [`Op::Acquire`].
        machine: Option<Machine>,
        releases: Vec<ReleaseName>,
    },
    /// A person's word: the root belongs to this machine from now on. Not under an epoch, because no run can hold it before;
    /// refused where the machine is another one than the person has seen, or somebody holds the root.
    Repin {
        who: String,
        machine: Option<Digest>,
    },
    /// Asks the run of the current epoch to stop at its next safe point; with `now` at once, also in the middle of a command.
    Cancel {
        by: String,
        now: bool,
        /// Only where it is this run.
        only: Option<Epoch>,
    },
    /// What the host is like (`doctor`). Reads only.
    Examine(Box<Examine>),
    /// Makes the layout of a new root. Takes no lock: it makes what nothing else makes, and changes nothing silently.
    Provision(Provision),
    /// A release that is only tried.
    Trial {
        epoch: Epoch,
        trial: Trial,
    },
    /// What kind of root it is, and what its conversion would do. Reads only.
    Survey(Box<Survey>),
    /// From a plain checkout to a root with releases, or back.
    Convert {
        epoch: Epoch,
        convert: Convert,
    },
    /// A part of a backup, its end, or the removal of an old one.
    Backup {
        epoch: Epoch,
        work: Box<backup::Work>,
    },
    /// What lies on a target of backups. Takes no lock.
    Backups(Box<backup::Ask>),
    /// Nothing; renews the lease.
    Ping,
}

/// What of a commit is brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    pub sha: Sha,
    /// The directory that becomes the release; empty: all.
    pub directory: String,
    /// Whether what its submodules have belongs to it.
    pub submodules: bool,
}

impl Op {
    /// Whether data frames follow the call.
    pub fn is_followed(&self) -> bool {
        matches!(self, Op::Missing { .. } | Op::Upload { .. })
    }

    /// The epoch that the operation acts under; `None`: it holds nothing and may be asked at any time.
    pub fn epoch(&self) -> Option<Epoch> {
        match self {
            Op::Acquire { epoch, .. }
            | Op::Release { epoch, .. }
            | Op::Missing { epoch, .. }
            | Op::Upload { epoch, .. }
            | Op::Fetch { epoch, .. }
            | Op::Extract { epoch, .. }
            | Op::Render { epoch, .. }
            | Op::Link { epoch, .. }
            | Op::Pull { epoch, .. }
            | Op::Lack { epoch, .. }
            | Op::Load { epoch, .. }
            | Op::Gate { epoch, .. }
            | Op::Hook { epoch, .. }
            | Op::Reopen { epoch }
            | Op::Seal { epoch, .. }
            | Op::Adopt { epoch, .. }
            | Op::Verify { epoch, .. }
            | Op::Switch { epoch, .. }
            | Op::Activate { epoch, .. }
            | Op::Drain { epoch, .. }
            | Op::Confirm { epoch, .. }
            | Op::Watched { epoch, .. }
            | Op::Return { epoch, .. }
            | Op::Hold { epoch, .. }
            | Op::Prune { epoch, .. }
            | Op::Quarantine { epoch, .. }
            | Op::Retry { epoch, .. }
            | Op::Acquit { epoch, .. }
            | Op::Trial { epoch, .. }
            | Op::Convert { epoch, .. }
            | Op::Backup { epoch, .. }
            | Op::SetStopped { epoch, .. } => Some(*epoch),
            Op::Observe(_)
            | Op::Compare { .. }
            | Op::Probe { .. }
            | Op::Measure { .. }
            | Op::Sample { .. }
            | Op::Recount { .. }
            | Op::Claim { .. }
            | Op::Repin { .. }
            | Op::Cancel { .. }
            | Op::Examine(_)
            | Op::Survey(_)
            | Op::Provision(_)
            | Op::Backups(_)
            | Op::Ping => None,
        }
    }
}

/// What an observation looks at.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Observe {
    pub shared: Vec<Shared>,
    /// `from` of the shared environment file.
    pub env_file: Option<String>,
    pub required_env: Vec<String>,
    /// A drift scan that is older than so many seconds is made anew, reading every byte; `None`: the last one will do.
    pub scan_older_than: Option<u64>,
    /// Whether the files of the live release are compared now by how they look, and those that look otherwise are read.
    #[serde(default)]
    pub stamps: bool,
}

/// Where a command runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cwd {
    Release(ReleaseName),
    /// What `current` leads to; ROOT where there is none yet.
    Current,
}

/// What the host notes about a configured command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandRole {
    /// Nothing.
    Work,
    /// The same, and it is part of a way back: nobody stops it.
    Back,
    /// A migration, by its key: begun before, its verdict after (law 5). `case`: what a no condemns at once, so that the
    /// verdict outlives the controller (law 4).
    Migration { key: String, case: Option<QuarantineKey> },
    /// It closes the root for maintenance. Without a controller it is opened when the lease is over, by these.
    Close { open: Vec<Command>, lease: Duration },
    /// It opens it again.
    Open,
}
