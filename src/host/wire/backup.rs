//! Backups on the wire: what a host that holds its root writes and removes, and what anybody may ask of a target.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Secret;
pub use super::restore::{Prove, Proved, PutBack, ScratchPlace, TestNote};
use crate::model::backup::manifest::{Engine, PartEntry};
use crate::model::backup::name::{BackupName, Compression, Content, PartName};
use crate::model::desired::backup::BackupTarget;
use crate::model::ids::Digest;
use crate::model::rate::Rate;
pub use crate::model::record::backup::End;
use crate::model::record::backup::Restoring;

/// What is done under an epoch: a dump and a migration exclude each other (I17).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Noted before anything is written: whoever asks when it was begun last asks the host. It says what it is called, and how
    /// much goes to each target.
    Begin { job: String, name: BackupName, targets: Vec<BackupTarget> },
    /// One database, or one set of files, to every target.
    Part(Box<Part>),
    /// The manifest, last: from here on it is a backup.
    Seal { targets: Vec<BackupTarget>, name: BackupName, manifest: String, by_hand: String },
    /// How it ended.
    End { job: String, end: End },
    /// A manifest, and checksums of files that have none, for a backup that something else made. `replaces`: its own manifest,
    /// whose text is in the new one.
    Import {
        target: BackupTarget,
        name: BackupName,
        manifest: String,
        checksums: Vec<(String, Digest)>,
        replaces: bool,
        by_hand: String,
    },
    /// Files of one backup that is not kept any more, in the order in which they go.
    Remove { target: BackupTarget, paths: Vec<String> },
    /// One part is restored into a place of its own, and looked at.
    Prove(Box<Prove>),
    /// How far a restore in place has come; `None`: it came to its end.
    Restoring { restoring: Option<Restoring> },
    /// One part is put back where it came from.
    PutBack(Box<PutBack>),
}

/// One part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Part {
    pub name: BackupName,
    pub part: Option<PartName>,
    pub content: Content,
    /// What its file is called.
    pub file: String,
    pub source: Source,
    pub compress: Compression,
    pub encrypt: Vec<String>,
    pub limit: Option<Rate>,
    pub targets: Vec<BackupTarget>,
}

/// Where it comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// With the login of the application. The first of these files that is there says it; relative to ROOT.
    EnvFile {
        engine: Engine,
        files: Vec<String>,
        /// Inside the container of this service, by the programs that are there.
        service: Option<String>,
    },
    Login {
        engine: Engine,
        login: Login,
        service: Option<String>,
    },
    /// A database in a file; relative to ROOT, or absolute.
    Database {
        path: String,
    },
    /// Relative to ROOT, or absolute.
    Files {
        path: String,
        exclude: Vec<String>,
    },
}

/// A login that the controller knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Login {
    pub host: Option<String>,
    pub port: Option<u16>,
    pub socket: Option<String>,
    pub user: String,
    pub database: String,
    pub password: Option<Secret>,
}

/// What is asked of a target. Reads only, `Try` aside, which leaves nothing, and `Note`, which is about no target.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// What lies there, with the manifests.
    List { target: BackupTarget },
    /// Whether the files of a backup are what they were when they were written.
    Verify { target: BackupTarget, name: BackupName, parts: Vec<PartEntry> },
    /// What is in files that something else made.
    Examine { target: BackupTarget, name: BackupName, files: Vec<Question> },
    /// Every step that a backup needs, with a small file (I20).
    Try { target: BackupTarget },
    /// Of a restore test that ran elsewhere: remembered where the data are.
    Note { job: String, note: TestNote },
}

/// What comes of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    Done,
    /// A backup is begun.
    Begun {
        /// What it is called.
        name: BackupName,
        /// By target: how many bytes still go there, where it says.
        room: Vec<(String, u64)>,
    },
    Part(Box<Made>),
    /// By target: why it did not take the manifest.
    Sealed {
        refused: Vec<Refused>,
    },
    Listed(Box<Listed>),
    /// What is wrong, one sentence each; empty: it is whole.
    Verified {
        wrong: Vec<String>,
    },
    Tried {
        steps: Vec<Tried>,
    },
    Examined {
        parts: Vec<Examined>,
    },
    Proved(Box<Proved>),
    Restored {
        told: String,
    },
}

/// A file that is asked about.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Question {
    pub file: String,
    /// Whose dialect a dump is in.
    pub engine: Option<Engine>,
}

/// What is in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Examined {
    pub file: String,
    pub bytes: u64,
    pub sha256: Digest,
    pub plain: Option<(u64, Digest)>,
    pub rows: Option<BTreeMap<String, u64>>,
    pub entries: Option<u64>,
    pub has_checksum: bool,
    /// Why it is no whole part of a backup.
    pub wrong: Option<String>,
}

/// A part that was written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Made {
    pub entry: PartEntry,
    pub warnings: Vec<String>,
    pub refused: Vec<Refused>,
}

/// A target that did not take something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub target: String,
    pub why: String,
}

/// What lies on a target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Listed {
    /// Relative to the target, with their sizes.
    pub files: Vec<(String, u64)>,
    pub kept: Vec<Kept>,
    /// How many bytes still go there, where it says.
    pub room: Option<u64>,
}

/// A backup that has a manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    pub name: BackupName,
    /// As it lies there: it vouches for itself, and is compared before anything of it is shown.
    pub manifest: String,
    /// Why it cannot be read; empty: it can.
    pub why: String,
}

/// One step of a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    pub step: String,
    /// `None`: it went well.
    pub why: Option<String>,
    /// What a person should know although it went well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}
