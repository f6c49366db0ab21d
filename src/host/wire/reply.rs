//! What an operation gives, and why it gives nothing.

use serde::{Deserialize, Serialize};

use crate::artifact::picked::Picked;
use crate::host::wire::activate::Activated;
use crate::host::wire::backup;
use crate::host::wire::compose::{Lacking, Loaded, Pulled};
use crate::host::wire::convert::Surveyed;
use crate::host::wire::examine::Examined;
use crate::host::wire::excerpt::Excerpt;
use crate::host::wire::provision::Provisioned;
use crate::host::wire::render::Compared;
use crate::model::ids::{Digest, ReleaseName};
use crate::model::observed::{Attempt, DriftReport, HostState, Leftover};
use crate::model::record::{Holder, Refusal};
use crate::model::telling::explaining;

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
    /// Of each contents the first file that has them.
    Missing {
        files: Picked,
        free_bytes: u64,
        /// The releases that went, because there was no room else.
        removed: Vec<ReleaseName>,
    },
    Uploaded {
        bytes: u64,
    },
    /// The bundle is unpacked. `bytes`: of the contents that nothing here had.
    Fetched {
        tree: Digest,
        bytes: u64,
        /// The releases that went, because there was no room else.
        removed: Vec<ReleaseName>,
        /// What people should know of it, as words for them.
        notes: Vec<String>,
    },
    Extracted {
        copied: u64,
        received: u64,
    },
    /// How each rendered file compares with what the live release reads.
    Rendered(Vec<Compared>),
    /// The images of a release are here.
    Pulled(Pulled),
    /// What the host has no images for.
    Lacking(Lacking),
    /// What became of an image for the engine.
    Loaded(Loaded),
    Gate(GateResult),
    Command(CommandResult),
    Activated(Activated),
    Sealed {
        tree: Digest,
        /// What of an adopted release the host's user may not read, as words for people: it is not vouched for.
        unread: Excerpt<String>,
    },
    Attempt(Attempt),
    /// A figure, or why there is none.
    Figure(Result<f64, String>),
    /// `current` leads to the release. `told`: what people should know of its rendered files.
    Switched {
        told: Vec<String>,
    },
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
    Examined(Box<Examined>),
    Surveyed(Box<Surveyed>),
    /// What came of a part of a backup, or of a question about backups.
    Backup(Box<backup::Answer>),
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
    /// Processes that went on after it and kept its output open, each with what became of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    pub millis: u64,
}

/// The end of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    Code(i32),
    Signal(i32),
    TimedOut,
    /// A person wanted it to stop.
    Stopped,
}

impl Reply {
    /// What commands, services and servers of the host have written: texts that may hold whatever their files hold.
    pub fn written(&mut self) -> Vec<&mut String> {
        match self {
            Reply::Gate(result) => vec![&mut result.evidence],
            Reply::Command(result) => std::iter::once(&mut result.output).chain(&mut result.left).collect(),
            Reply::Activated(activated) => {
                let failed = activated.failed.iter_mut().flat_map(|failed| [&mut failed.why, &mut failed.journal]);
                activated.told.iter_mut().chain(failed).collect()
            }
            Reply::Pulled(pulled) => pulled.warnings.iter_mut().collect(),
            Reply::Attempt(attempt) => vec![&mut attempt.evidence],
            Reply::Figure(Err(why)) => vec![why],
            _ => Vec::new(),
        }
    }
}

impl CommandResult {
    /// Exit code 0.
    pub fn ok(&self) -> bool {
        self.exit == Exit::Code(0)
    }

    /// What is to be told of one that did what it should: its output, after who was left behind.
    pub fn told(&self) -> String {
        match self.left_behind() {
            Some(left) => format!("{left}\n{}", self.output),
            None => self.output.clone(),
        }
    }

    fn left_behind(&self) -> Option<String> {
        (!self.left.is_empty()).then(|| {
            format!(
                "it left {} behind, which kept its output open: let a service manager start what is to go on, or send its \
                 output elsewhere (`> /dev/null 2>&1 &`)",
                self.left.join(", ")
            )
        })
    }

    /// `exit code 1: ` and the line of the output that explains it.
    pub fn evidence(&self) -> String {
        let end = match self.exit {
            Exit::Code(code) => format!("exit code {code}"),
            Exit::Signal(signal) => format!("killed by signal {signal}"),
            Exit::TimedOut => format!("still running after {} ms and was killed", self.millis),
            Exit::Stopped => format!("stopped after {} ms", self.millis),
        };
        let end = match explaining(&self.output) {
            Some(line) => format!("{end}: {line}"),
            None => end,
        };
        match self.left_behind() {
            Some(left) => format!("{end}; {left}"),
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
    Connection(Lost),
    /// The connection broke during an upload and stands again: what is complete was kept, the rest is still to be sent.
    #[error("{0}")]
    Interrupted(String),
    /// A person wanted the run to stop at once: no verdict, and whether it did its work is unknown.
    #[error("{0}")]
    Stopped(String),
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

/// Why a host is not heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    pub why: String,
    /// The next move, where it is another one than to wait until the host is back: an unknown key, a login that is refused.
    pub cure: Option<String>,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.cure {
            Some(cure) => write!(f, "{}; {cure}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

impl From<String> for Lost {
    fn from(why: String) -> Self {
        Lost { why, cure: None }
    }
}

impl From<&str> for Lost {
    fn from(why: &str) -> Self {
        Lost::from(why.to_owned())
    }
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
