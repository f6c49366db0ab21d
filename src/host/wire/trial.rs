//! A release that is only tried, move by move.

use serde::{Deserialize, Serialize};

use crate::host::wire::render::Version;
use crate::model::desired::{Gate, Shared};
use crate::model::ids::Digest;
use crate::model::record::Command;

/// One move of a trial.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trial {
    /// Builds the tree of the manifest that `Missing` or `Fetch` left from uploaded blobs and copies, and links it.
    Build {
        tree: Digest,
        shared: Vec<Shared>,
        /// Rendered files: they lie in the trial as they would be rendered, for the agent's user alone.
        rendered: Vec<Version>,
    },
    Gate {
        gate: Gate,
        command: Option<Command>,
    },
    /// A command that only looks.
    Run {
        command: Command,
    },
    /// Throws everything away.
    Drop,
}
