//! One line of the journal, whatever it is about.

use serde::Serialize;

use super::event::Event;
use super::notice::Noted;
use crate::model::ids::RunId;

/// One line, with its place in the one sequence of all lines.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    pub number: u64,
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum What {
    /// To a run.
    Event { run: RunId, event: Event },
    /// Something else.
    Notice(Noted),
}
