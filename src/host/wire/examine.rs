//! What a host is like: the question of the doctor and of the preflight, and its answer.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::host::wire::Exposed;
use crate::model::desired::Shared;
use crate::model::ids::{Digest, Epoch};
use crate::model::machine::Machine;
use crate::model::observed::{Current, Leftover};

/// What is asked.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Examine {
    pub shared: Vec<Shared>,
    /// `from` of the shared environment file.
    pub env_file: Option<String>,
    pub required_env: Vec<String>,
    /// Programs that commands call.
    pub tools: Vec<String>,
    /// Whether to ask what may be done with `sudo`.
    pub sudo: bool,
    /// Variables of the environment file to be digested.
    pub tokens: Vec<String>,
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
    pub room: Option<Room>,
    /// Where each program is; `None`: not on the PATH of commands.
    pub tools: BTreeMap<String, Option<String>>,
    /// What `sudo -n -l` prints, or why it does not.
    pub sudo: Option<Result<String, String>>,
    pub shared: Vec<SharedFact>,
    pub missing_env: Vec<String>,
    /// Of each variable that the environment file sets.
    pub tokens: BTreeMap<String, Digest>,
    pub nginx: Option<Nginx>,
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
