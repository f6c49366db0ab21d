//! The state repository (law 10): read as objects, never as a work tree; moved forward only; written as commits.
//!
//! libgit2 reads and writes objects and refs; the `git` command does what crosses a connection, through one builder
//! ([`command`]). Everything here is synchronous (callers use `spawn_blocking`) apart from the hint of [`watch`]. The
//! room knows bytes at paths of commits, and who signed them; it knows nothing of what the files mean.
//!
//! Reading order: [`location`] (what an address may be), [`repo`] (open, refresh, head), `open` and `partial` (clones that
//! others made), [`read`], `revision` (what `--ref` means), [`advance`] (may this commit be acted on), [`signers`] and
//! [`signature`], [`commit`] and [`publish`] (writing), [`words`] (approvals), [`application`] and [`tree`] (the other kind of
//! repository; `between`: what lies between two of its commits, `led`: which of its commits are taken, `submodules`, `tidy`),
//! [`sources`] (the work tree of a build), [`watch`].

pub mod advance;
pub mod application;
pub mod between;
mod command;
pub mod commit;
mod directory;
pub mod error;
mod led;
pub mod location;
mod mirror;
mod open;
mod partial;
pub mod publish;
pub mod read;
pub mod repo;
mod revision;
pub mod signature;
pub mod signers;
pub mod sources;
mod submodules;
mod tidy;
pub mod tree;
pub mod watch;
pub mod words;
mod worktree;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use advance::{AcceptedCommit, Advance, NotAccepted, Trust};
pub use application::{AppRepo, CommitSummary, RemoteRef};
pub use command::{GitKey, GitSettings, KeyUse};
pub use commit::{Author, Edits};
pub use error::{RepoError, Result};
pub use location::Location;
pub use publish::Publish;
pub use read::CommitInfo;
pub use repo::StateRepo;
pub use signature::{Signer, Unverified, Verified, sign_word, verify_observation, verify_word};
pub use signers::AllowedSigners;
pub use watch::Watcher;
pub use words::{Saying, Words};

/// A commit of the state repository.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CommitId(git2::Oid);

impl CommitId {
    /// The first eight digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for CommitId {
    type Err = RepoError;
    fn from_str(text: &str) -> Result<Self> {
        let full = text.len() == 40 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match git2::Oid::from_str(text) {
            Ok(oid) if full => Ok(CommitId(oid)),
            _ => Err(RepoError::Grammar(format!("`{text}` is not a full commit id: 40 lower-case hexadecimal digits"))),
        }
    }
}

impl From<CommitId> for String {
    fn from(id: CommitId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for CommitId {
    type Error = RepoError;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}
