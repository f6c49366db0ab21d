//! What is saved of an environment: the jobs of `[backups.NAME]` (F1-F3), with their databases, files and targets. Where data
//! lie and who may read them is said here; when a job is due and what may go is `plan`'s to say.

use serde::{Deserialize, Serialize};

use crate::model::backup::address::Address;
use crate::model::backup::manifest::Engine;
use crate::model::backup::name::{Compression, PartName};
use crate::model::ids::EnvName;
use crate::model::rate::Rate;
use crate::model::schedule::{BadSchedule, Schedule};
use crate::model::secret::Secret;

/// One job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    pub name: String,
    /// When it is made by itself; `None`: before deployments and by hand alone.
    pub schedule: Option<Cron>,
    /// The zone whose dates count when it is decided what is kept.
    pub zone: String,
    /// A step before the migrations of every deployment; its failure stops the deployment (A4).
    pub pre_deploy: bool,
    pub keep: Keep,
    /// Fewer rows or bytes than so many percent of the last good one: it is held, fills no slot, and is told (I20).
    pub max_shrink: u32,
    pub compress: Compression,
    /// Recipients of age; empty: not encrypted.
    pub encrypt: Vec<String>,
    /// So fast a target is written to and read back from at most.
    pub limit: Option<Rate>,
    /// The name of a secret: a URL that hears of what is made by the schedule (I19).
    pub ping: Option<String>,
    pub databases: Vec<Database>,
    pub files: Vec<FileSet>,
    pub targets: Vec<BackupTarget>,
    /// The name of a secret of the controller: the identity of age that opens encrypted files where they are restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// A restore that is tried, elsewhere (F4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_test: Option<RestoreTest>,
}

/// A restore that is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreTest {
    /// When it is tried by itself; `None`: by hand alone.
    pub schedule: Option<Cron>,
    /// On whose first host.
    pub on: EnvName,
    /// Who makes scratch databases there, where the job has databases behind a server.
    pub scratch: Option<ScratchUser>,
    /// Questions that a good restore answers with anything but 0.
    pub queries: Vec<String>,
}

/// A user of a database server that may touch scratch databases, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScratchUser {
    pub user: String,
    /// The name of a secret of the controller.
    pub password: String,
    /// Where the server is; nothing of it: where the environment's own is.
    pub host: Option<String>,
    pub port: Option<u16>,
    pub socket: Option<String>,
}

/// A line of cron on the clocks of a zone, checked when the state file was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cron {
    pub line: String,
    pub zone: String,
}

impl Cron {
    /// The schedule that it says.
    ///
    /// # Errors
    /// It is none: the line of another program, which knows other schedules.
    pub fn schedule(&self) -> Result<Schedule, BadSchedule> {
        Schedule::parse(&self.line, &self.zone)
    }
}

/// How many of each kind are kept on a target (F3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    pub daily: u32,
    pub weekly: u32,
    pub monthly: u32,
    pub pre_deploy: u32,
    /// On the server itself, in ROOT/backups; 0: none is written there.
    pub local: u32,
}

impl Default for Keep {
    fn default() -> Self {
        Keep { daily: 7, weekly: 0, monthly: 0, pre_deploy: 10, local: 0 }
    }
}

/// A database that is dumped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// `None`: the first or only one of its job, whose files have F1's name.
    pub part: Option<PartName>,
    /// What the state file calls it.
    pub name: String,
    pub engine: Engine,
    pub access: Access,
    /// It is dumped inside the container of this service, by the programs that are there (I16).
    pub service: Option<String>,
}

/// How a database is reached from its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// As the application does: by the variables of this shared file (`DB_HOST`, …, or `DATABASE_URL`).
    EnvFile(String),
    /// As the state file says.
    Login(Login),
    /// A file: relative to ROOT, or absolute.
    Path(String),
}

/// A login that the state file spells out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    pub host: Option<String>,
    pub port: Option<u16>,
    pub socket: Option<String>,
    pub user: String,
    pub database: String,
    /// The name of a secret of the controller; `None`: without a password.
    pub password: Option<String>,
}

/// A set of files that is archived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSet {
    /// As for [`Database::part`].
    pub part: Option<PartName>,
    pub name: String,
    /// Relative to ROOT, or absolute.
    pub path: String,
    /// Globs relative to it.
    pub exclude: Vec<String>,
}

/// Where backups go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupTarget {
    pub name: String,
    /// Absolute, percent-decoded.
    pub place: Place,
}

/// Whose door it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// A directory of the host.
    Directory(String),
    /// A directory behind a server that speaks SFTP. The host logs in as its own user does by SSH.
    Sftp(SftpPlace),
    /// A bucket of S3, or of a server that speaks its language.
    S3(S3Place),
}

/// A directory on a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SftpPlace {
    /// `None`: as the SSH configuration of the host says.
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
    /// Absolute, as SFTP calls it.
    pub path: String,
    /// The key that the server must show, as in `known_hosts`; `None`: what that file of the host says.
    pub host_key: Option<String>,
}

/// A prefix in a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3Place {
    pub bucket: String,
    /// Empty: none.
    pub prefix: String,
    /// Where the server is; `None`: at AWS.
    pub endpoint: Option<String>,
    /// `None`: what servers without regions call theirs.
    pub region: Option<String>,
    pub key: Key,
}

/// What opens a bucket.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Key {
    /// The names of two secrets of the controller, as the state file says.
    Named { access: String, secret: String },
    /// Their values, on their way to who speaks with the bucket.
    Given { access: Secret, secret: Secret },
    /// Why they are not given for this.
    Refused(String),
}

/// Values are not compared: two keys are the same where they have the same names.
impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        match (self, other) {
            (Key::Named { access: a, secret: b }, Key::Named { access: c, secret: d }) => (a, b) == (c, d),
            (Key::Refused(a), Key::Refused(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Key {}

impl S3Place {
    /// Its address, as people write it.
    pub fn address(&self) -> Address {
        Address::S3 { bucket: self.bucket.clone(), prefix: self.prefix.clone() }
    }

    /// Where a request goes: what a secret may be bound to.
    pub fn url(&self) -> String {
        match (&self.endpoint, &self.region) {
            (Some(endpoint), _) => endpoint.clone(),
            (None, Some(region)) => format!("https://s3.{region}.amazonaws.com"),
            (None, None) => "https://s3.us-east-1.amazonaws.com".to_owned(),
        }
    }
}

impl Place {
    /// Its address, as people write it.
    pub fn address(&self) -> Address {
        match self {
            Place::Directory(path) => Address::Directory(path.clone()),
            Place::Sftp(SftpPlace { user, host, port, path, .. }) => {
                Address::Sftp { user: user.clone(), host: host.clone(), port: *port, path: path.clone() }
            }
            Place::S3(place) => place.address(),
        }
    }
}

/// The name of the target on the server itself.
pub const LOCAL: &str = "local";

impl Backup {
    /// Where its files go: the declared targets, and ROOT/backups where some are kept there.
    pub fn places(&self, root: &str) -> Vec<BackupTarget> {
        let local = (self.keep.local > 0)
            .then(|| BackupTarget { name: LOCAL.to_owned(), place: Place::Directory(format!("{root}/backups")) });
        self.targets.iter().cloned().chain(local).collect()
    }
}
