//! Units on a host: what is done with them, and what came of it.

use serde::{Deserialize, Serialize};

/// What is done with the units of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Nothing yet: whether they are there and may be restarted, before anything is touched.
    Look,
    /// `current` has moved forward: they restart, and settle. A person may stop it.
    Restart,
    /// `current` is back: likewise, and nobody stops it. A probation that waited for this is over then.
    Back,
    /// `soll start` (D5).
    Start,
    /// `soll stop` (D5).
    Stop,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activated {
    /// What there is to say of each unit, as words for people.
    pub told: Vec<String>,
    /// The verdict, where one of them does not run as it should.
    pub failed: Option<UnitFailure>,
}

/// A unit that does not run the release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitFailure {
    pub unit: String,
    /// State, result and exit status, or where it runs instead.
    pub why: String,
    /// The last lines of what it wrote since it was started anew, secrets masked.
    pub journal: String,
}
