//! What an operation gives, and why it gives nothing.

use serde::{Deserialize, Serialize};

use crate::artifact::manifest::Manifest;
use crate::host::wire::convert::Surveyed;
use crate::host::wire::examine::Examined;
use crate::host::wire::provision::Provisioned;
use crate::model::ids::{Digest, ReleaseName};
use crate::model::observed::{Attempt, DriftReport, HostState, Leftover};
use crate::model::record::{Holder, Refusal};

/// The answer to one call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    pub id: u64,
    pub result: Result<Reply, HostError>,
    /// A person asked this run to stop (any reply may say so).
    pub cancelled: Option<String>,
}

/// What an operation gives.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    Done,
    /// The root is given back. `watched`: what is on probation there, or closed, is watched on until its lease is over.
    Released {
        watched: bool,
        state: Option<Box<HostState>>,
    },
    State(Box<HostState>),
    /// The root is held; what the host did by itself before is in the state.
    Acquired(Box<HostState>),
    Missing {
        blobs: Vec<Digest>,
        free_bytes: u64,
    },
    Uploaded {
        bytes: u64,
    },
    /// The bundle is unpacked. `bytes`: of the contents that nothing here had.
    Fetched {
        tree: Digest,
        bytes: u64,
    },
    Extracted {
        copied: u64,
        received: u64,
    },
    Gate(GateResult),
    Command(CommandResult),
    Sealed {
        tree: Digest,
        /// What of an adopted release the host's user may not read, as words for people: it is not vouched for.
        unread: Vec<String>,
    },
    Attempt(Attempt),
    /// A figure, or why there is none.
    Figure(Result<f64, String>),
    Confirmed,
    /// Where the host is now.
    Returned {
        to: ReleaseName,
    },
    Pruned {
        removed: Vec<ReleaseName>,
        kept_in_use: Vec<ReleaseName>,
        /// Of the removed ones, what the host's user may not remove.
        left: Vec<Leftover>,
    },
    Retried {
        lifted: u32,
    },
    Drift(DriftReport),
    Manifest(Manifest),
    Examined(Box<Examined>),
    Surveyed(Box<Surveyed>),
    /// The release that the checkout became; `None`: it is a checkout again.
    Converted {
        name: Option<ReleaseName>,
    },
    Provisioned(Vec<Provisioned>),
}

/// What a gate says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateResult {
    pub pass: bool,
    pub evidence: String,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandResult {
    pub exit: Exit,
    /// Standard output and error together, the first and the last part where there was too much.
    pub output: String,
    pub millis: u64,
}

/// The end of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    Code(i32),
    Signal(i32),
    TimedOut,
}

impl CommandResult {
    /// Exit code 0.
    pub fn ok(&self) -> bool {
        self.exit == Exit::Code(0)
    }

    /// `exit code 1: last line of the output`.
    pub fn evidence(&self) -> String {
        let end = match self.exit {
            Exit::Code(code) => format!("exit code {code}"),
            Exit::Signal(signal) => format!("killed by signal {signal}"),
            Exit::TimedOut => format!("still running after {} ms and was killed", self.millis),
        };
        match self.output.lines().rfind(|line| !line.trim().is_empty()) {
            Some(line) => format!("{end}: {}", line.trim()),
            None => end,
        }
    }
}

/// Why an operation was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum HostError {
    /// The host could not be reached, or the answer was lost: whether the effect happened is unknown.
    #[error("{0}")]
    Connection(String),
    /// The connection broke during an upload and stands again: what is complete was kept, the rest is still to be sent.
    #[error("{0}")]
    Interrupted(String),
    #[error("{refusal}")]
    Refused { refusal: Refusal },
    #[error("{root} is held by {} since {}", holder.who, holder.since)]
    Locked { root: String, holder: Box<Holder> },
    /// What the configuration asks for cannot be had here: a shared file is missing, a variable is absent.
    /// A verdict, not an accident.
    #[error("{0}")]
    Precondition(String),
    /// The operating system said no: object, place, reason.
    #[error("{0}")]
    Io(String),
    /// Contents do not match their digest.
    #[error("{0}")]
    Integrity(String),
    /// Another user of the host could change what the agent goes by, commands among it: nothing is done there.
    #[error("{}", exposed(found))]
    Exposed { found: Vec<Exposed> },
}

/// A place of a root that another user than the agent's could change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposed {
    pub path: String,
    /// `www-data:www-data 775`.
    pub is: String,
    /// Who could change it, and what follows; the path is its subject.
    pub why: String,
    /// The commands that mend it, for a shell on the host.
    pub cure: Vec<String>,
}

impl Exposed {
    /// What is wrong, in one sentence without its end.
    pub fn what(&self) -> String {
        format!("{} ({}) {}", self.path, self.is, self.why)
    }
}

/// The commands that mend all of this, each once, in an order that works.
pub fn cures(found: &[Exposed]) -> String {
    let mut all: Vec<&str> = Vec::new();
    for cure in found.iter().flat_map(|one| &one.cure) {
        if !all.contains(&cure.as_str()) {
            all.push(cure);
        }
    }
    all.join("; ")
}

fn exposed(found: &[Exposed]) -> String {
    let what: Vec<_> = found.iter().map(Exposed::what).collect();
    let own = found.iter().find_map(|one| one.path.split_once("/.soll").map(|(root, _)| root));
    let first = match own {
        Some(root) => format!(
            "read {root}/.soll/record.json there first (whoever could write it may have put commands into it), then run"
        ),
        None => "run there".to_owned(),
    };
    format!("{}; nothing was done. To mend it, {first}, as root: {}", what.join("; "), cures(found))
}

impl From<Refusal> for HostError {
    fn from(refusal: Refusal) -> Self {
        HostError::Refused { refusal }
    }
}
