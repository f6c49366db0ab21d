//! What a host is like: the question of the doctor and of the preflight, and its answer.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::host::wire::compose::{AskEngine, EngineFacts};
use crate::host::wire::{Exposed, Secret};
use crate::model::activation::{Activation, Unit};
use crate::model::desired::Shared;
use crate::model::ids::{Digest, Epoch};
use crate::model::machine::Machine;
use crate::model::observed::{Current, Foreign, Leftover, Misplaced};

/// What is asked.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Examine {
    pub shared: Vec<Shared>,
    /// `from` of the shared environment file.
    pub env_file: Option<String>,
    pub required_env: Vec<String>,
    /// To whom rendered files are to belong: `user` or `user:group`.
    #[serde(default)]
    pub owners: Vec<String>,
    /// Programs that commands call.
    pub tools: Vec<String>,
    /// Whether to ask what may be done with `sudo`.
    pub sudo: bool,
    /// Units that are to be looked at.
    #[serde(default)]
    pub activation: Activation,
    /// The engine that runs its containers.
    #[serde(default)]
    pub engine: Option<AskEngine>,
    /// Variables of the environment file to be digested.
    pub tokens: Vec<String>,
    /// The repository that the host fetches releases from itself.
    #[serde(default)]
    pub repository: Option<Secret>,
    /// Makes those digests worth nothing to anybody who did not choose it.
    pub nonce: String,
}

/// What was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Examined {
    /// The host's clock, before and after.
    pub began: Timestamp,
    pub ended: Timestamp,
    pub user: String,
    pub uid: u32,
    /// ROOT, `releases`, `shared`, in this order.
    pub places: Vec<LayoutDirectory>,
    pub current: Current,
    /// What is live in ROOT and not soll's, where nothing was deployed yet.
    #[serde(default)]
    pub foreign: Foreign,
    pub room: Option<Room>,
    /// Where each program is; `None`: not on the PATH of commands.
    pub tools: BTreeMap<String, Option<String>>,
    /// What `sudo -n -l` prints, or why it does not.
    pub sudo: Option<Result<String, String>>,
    pub shared: Vec<SharedFact>,
    pub missing_env: Vec<String>,
    /// Of each owner that was asked for why files cannot be given to it; `None`: they can.
    #[serde(default)]
    pub owners: BTreeMap<String, Option<String>>,
    /// Of each variable that the environment file sets.
    pub tokens: BTreeMap<String, Digest>,
    pub nginx: Option<Nginx>,
    /// Each PHP-FPM of Debian, by the name of its unit: whether requests under way may end when it is reloaded.
    #[serde(default)]
    pub fpm: BTreeMap<String, bool>,
    #[serde(default)]
    pub units: Vec<UnitFact>,
    #[serde(default)]
    pub engine: Option<EngineFacts>,
    /// What the repository that was asked about says, or why it does not answer.
    pub repository: Option<Result<String, String>>,
    /// The highest that ever acted there, where the record can be read.
    #[serde(default)]
    pub epoch: Option<Epoch>,
    /// The record cannot be read, and why.
    pub record: Option<String>,
    /// The machine that it is, and the one that the record names.
    pub machine: Option<Digest>,
    pub pinned: Option<Machine>,
    /// A conversion is half done.
    pub unfinished: Option<String>,
    /// What the last run could not remove.
    #[serde(default)]
    pub leftovers: Vec<Leftover>,
    /// Places of the root that a deployment cannot use as they are.
    #[serde(default)]
    pub misplaced: Vec<Misplaced>,
    /// What of the root another user could change: nothing is done there until it is mended.
    pub exposed: Vec<Exposed>,
    /// Directories above ROOT in which another user could put another ROOT.
    pub above: Vec<Exposed>,
}

/// A directory of the layout.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LayoutDirectory {
    pub path: String,
    /// `None`: there is nothing.
    pub found: Option<Found>,
}

/// What lies at a path, links followed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    pub directory: bool,
    pub owner: String,
    pub group: String,
    pub mode: u32,
    /// By the user that logs in.
    pub writable: bool,
}

/// The file system of ROOT, or of where it would be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Room {
    pub free_bytes: u64,
    pub bytes: u64,
    pub free_inodes: u64,
    /// 0 where the file system counts none.
    pub inodes: u64,
    /// It is a quota of the user that leaves no more.
    pub quota: bool,
    pub kind: String,
    /// Whether a rename that replaces nothing is one call here; `None`: not known of this kind.
    pub noreplace: Option<bool>,
    /// Whether copies share their blocks; `None`: it could not be tried.
    pub reflink: Option<bool>,
}

/// A shared path.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SharedFact {
    pub shared: Shared,
    /// In `shared/`.
    pub found: Option<Found>,
    /// The text of the link in the live release; `None`: it is no link.
    pub link: Option<String>,
    /// Where the link comes out.
    pub leads_to: Option<String>,
}

/// A unit of systemd, or why nothing is known of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnitFact {
    pub unit: Unit,
    pub state: Result<UnitState, String>,
}

/// A unit as the host has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnitState {
    /// `loaded`, `not-found`, `masked`, …
    pub load: String,
    /// `active (running)`.
    pub state: String,
    /// The file that it was read from.
    pub file: String,
    /// That file was changed since.
    pub stale: bool,
    /// Its working directory or program leads through `current`.
    pub follows: bool,
    /// A path of it that names one release.
    pub pinned: Option<String>,
    /// Of a unit of the user: its manager runs without a login.
    pub lingers: bool,
    /// The user may read what units write to the journal.
    pub journal: bool,
}

/// The configuration of nginx, where it is installed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Nginx {
    /// It could not be read, and why.
    Unknown(String),
    /// The roots of servers behind `current` whose PHP gets `$document_root`.
    Read { stale: Vec<String> },
}

/// The SHA-256 of a secret, keyed: the same on both sides, and nothing that can be looked up in a table.
pub fn keyed(nonce: &str, value: &str) -> Digest {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(nonce.as_bytes()) else {
        unreachable!("a key of any length fits")
    };
    mac.update(Digest::of(value.as_bytes()).as_bytes());
    Digest::from_bytes(mac.finalize().into_bytes().into())
}
