//! The layout of a new root: what is to be made, and what became of each path.

use serde::{Deserialize, Serialize};

use crate::host::wire::Secret;
use crate::model::desired::Shared;
use crate::model::machine::Machine;

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Provision {
    /// The machine that the host is known to be: nothing is made on another one, and no file put there.
    pub machine: Option<Machine>,
    /// Say only what would be done.
    pub dry_run: bool,
    pub shared: Vec<Shared>,
    /// User and group of `shared/` and of what is made in it; without them, those of who logs in.
    pub owner: Option<String>,
    pub group: Option<String>,
    /// Give what exists its owner and its mode, too.
    pub adjust: bool,
    /// `from` of a shared file, and its contents: never shown, never put over a file.
    pub file: Option<(String, Secret)>,
}

/// One thing that was done, would be done, or is as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provisioned {
    pub path: String,
    pub what: What,
}

/// What became of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Made, with this owner and mode.
    Made(String),
    /// It is there already, and as it should be.
    Kept(String),
    /// It is there with the first, and should be the second: left alone.
    Differs(String, String),
    /// It had the first, and has the second.
    Changed(String, String),
    /// A shared file that nobody can make.
    Missing,
    /// There is something else.
    InTheWay(String),
}
