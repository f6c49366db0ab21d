//! The conversion of a plain checkout into a root with releases: what is asked about it, what is answered, and its steps.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::host::wire::excerpt::Excerpt;
use crate::model::desired::Shared;
use crate::model::ids::{Epoch, ReleaseName, Sha};
use crate::model::observed::Current;

/// What a look at a root asks, and what its conversion goes by.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Survey {
    /// Those of the environment, and those that a person added.
    pub shared: Vec<Shared>,
    pub mutable: Vec<String>,
    /// Data that may go with the release, by a person's word.
    pub leave: Vec<String>,
    /// Leave a link at every place that something was moved from.
    pub keep_links: bool,
    /// `YYYYMMDD_HHMMSS`, for the name of the release.
    pub time: String,
}

/// What kind of root it is, and what would be done about it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Surveyed {
    pub kind: Kind,
    pub current: Current,
    /// What lies in `releases/`.
    pub releases: Excerpt<Lying>,
    /// The commit that is checked out.
    pub head: Option<Sha>,
    /// Data that no shared path covers, and why it is thought to be data.
    pub uncovered: Excerpt<(String, String)>,
    /// What every build makes anew.
    pub rebuilt: Excerpt<String>,
    /// Files that Git knows, and that were edited here.
    pub edited: Excerpt<String>,
    /// Shared files that are nowhere.
    pub missing: Vec<String>,
    /// What a conversion cannot do, each with the next move.
    pub refused: Excerpt<(String, String)>,
    pub name: ReleaseName,
    pub steps: Excerpt<Step>,
    /// The highest that ever acted here.
    pub epoch: Epoch,
}

impl Surveyed {
    /// As it is told to somebody else: a checkout may have any number of edited files.
    #[must_use]
    pub fn told(self) -> Surveyed {
        Surveyed {
            releases: self.releases.cut(),
            uncovered: self.uncovered.cut(),
            rebuilt: self.rebuilt.cut(),
            edited: self.edited.cut(),
            refused: self.refused.cut(),
            steps: self.steps.cut(),
            ..self
        }
    }
}

/// One entry of `releases/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lying {
    pub name: String,
    pub kind: LyingKind,
    /// What its files take; `None`: there are too many to count in a look.
    pub bytes: Option<u64>,
}

/// What an entry of `releases/` is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LyingKind {
    /// The record knows it, or its name begins with a time, as deployment tools write it.
    Release,
    /// Another directory with a name that a release can have, and that nobody has called one: it is never removed.
    Stranger,
    /// A file, a link, or a directory with a name that no release can have.
    Other,
}

/// The kinds of roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Nothing to take over.
    Empty,
    /// `releases/` and `current`: taken over as it is.
    Releases,
    /// Files directly in ROOT.
    Checkout,
    /// A conversion was begun and not finished.
    Converting,
    /// An undo was begun and not finished.
    Undoing,
}

/// One move of a conversion.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Convert {
    /// Begins, or goes on with what was begun.
    Do(Survey),
    /// Back to how it was.
    Undo,
}

/// Paths are relative to ROOT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// A directory that may be there; back: gone where it is empty.
    Make { path: String },
    /// Nothing is ever replaced.
    Move { from: String, to: String },
    /// A symbolic link where nothing is.
    Link { path: String, text: String },
    /// A link that named the old place.
    Relink { path: String, was: String, text: String },
    /// `current`, in one rename.
    Current { text: String },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Make { path } => write!(f, "make the directory {path}"),
            Step::Move { from, to } => write!(f, "move {from} to {to}"),
            Step::Link { path, text } => write!(f, "link {path} -> {text}"),
            Step::Relink { path, was, text } => write!(f, "the link {path} -> {was} leads to {text} instead"),
            Step::Current { text } => write!(f, "link current -> {text}"),
        }
    }
}
