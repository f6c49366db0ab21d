//! Restores on the wire: what is restored into a place of its own, and what was found there.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Secret;
use super::backup::{Login, Part};
use crate::model::backup::manifest::PartEntry;
use crate::model::backup::name::BackupName;
use crate::model::backup::proof::Check;
use crate::model::desired::backup::BackupTarget;
use crate::model::record::backup::Trial;

/// One part, to be restored into a place of its own and looked at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Prove {
    pub job: String,
    /// Where it is read from.
    pub target: BackupTarget,
    pub name: BackupName,
    /// What the manifest says of it.
    pub part: PartEntry,
    /// When the backup was begun and ended.
    pub window: (Timestamp, Timestamp),
    /// Identities of age, as `age-keygen` writes them.
    pub identities: Option<Secret>,
    pub place: ScratchPlace,
    /// Questions that a good restore answers with anything but 0.
    pub queries: Vec<String>,
    /// It stays, for somebody who wants to look at it.
    pub keep: bool,
}

/// Where a place of its own is made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScratchPlace {
    /// Below `.soll` of the root.
    Own,
    /// Behind a server, by a user that may touch scratch databases and nothing else. The database is named by the host.
    Server(Login),
    /// The same, where the first of these files that is there says that the server is.
    Beside { files: Vec<String>, user: String, password: Secret },
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Proved {
    pub checks: Vec<Check>,
    /// Where it was restored: a server, or this machine.
    pub instance: String,
    /// How long it took to read, load and check.
    pub millis: u64,
    /// What was kept for somebody to look at: a database, or a path.
    pub kept: Option<String>,
}

/// One part, to be put back where it came from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PutBack {
    /// Where it came from, and where it is read from: its only target.
    pub part: Part,
    /// What the manifest says of it.
    pub entry: PartEntry,
    /// Identities of age, as `age-keygen` writes them.
    pub identities: Option<Secret>,
    /// Paths that stay as they are, relative to the directory: data of databases.
    pub spare: Vec<String>,
}

/// What is remembered of a restore test.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestNote {
    Begun(Timestamp),
    Ended(Trial),
}
