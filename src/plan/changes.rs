//! What a release brings, for people: the commits between what runs and what is desired. No plan decides by it.

use serde::{Deserialize, Serialize};

use crate::model::ids::Sha;
use crate::model::shown::{clean, counted};

/// What comes and goes with a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// What every host of the environment runs.
    pub from: Sha,
    pub to: Sha,
    /// The commits that come, the newest first.
    pub come: Vec<Commit>,
    /// The commits that run, and do not any more afterwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<Commit>,
    /// There are more of them than are told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// The page of the forge that shows the difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<String>,
}

/// One commit of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    pub sha: Sha,
    pub author: String,
    pub subject: String,
}

impl Changes {
    /// `3 commits come, 1 goes (aaaaaaaa..bbbbbbbb)`.
    pub fn summary(&self) -> String {
        let more = if self.more { "more than " } else { "" };
        let mut said = Vec::new();
        if !self.come.is_empty() {
            let verb = if self.come.len() == 1 { "comes" } else { "come" };
            said.push(format!("{more}{} {verb}", counted(self.come.len() as u64, "commit", "commits")));
        }
        if !self.gone.is_empty() {
            let verb = if self.gone.len() == 1 { "goes" } else { "go" };
            said.push(format!("{} {verb}", counted(self.gone.len() as u64, "commit", "commits")));
        }
        let said = if said.is_empty() { "what changes".to_owned() } else { said.join(", ") };
        format!("{said} ({}..{})", self.from.short(), self.to.short())
    }

    /// Each commit: whether it comes, its first digits, its subject, its author.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let line = |sign: char| {
            move |commit: &Commit| {
                format!("{sign} {}  {}  ({})", commit.sha.short(), clean(&commit.subject), clean(&commit.author))
            }
        };
        self.come.iter().map(line('+')).chain(self.gone.iter().map(line('-')))
    }
}
