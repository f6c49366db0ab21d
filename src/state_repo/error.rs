//! What can go wrong with a Git repository, said with the object, the place and the next move. It knows no secret:
//! every text that reaches it has been through [`super::location::Address::redact`].

use std::path::PathBuf;
use std::time::Duration;

use super::CommitId;
use crate::model::ids::Sha;

/// A failure of the state repository or of an application's repository.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepoError {
    /// An address, branch, revision or path that the grammar does not allow.
    #[error("{0}")]
    Grammar(String),
    #[error(
        "{path} is not in a Git repository: {detail}; clone it there, or name another one with --repo or SOLL_REPO"
    )]
    NotARepository { path: String, detail: String },
    /// Whoever owns a repository decides what Git runs in it.
    #[error(
        "{path} belongs to another user, and Git takes it only from people who say so: run `{line}` if you trust it"
    )]
    Foreign { path: String, line: String },
    /// It is whole, but not of a form that libgit2 reads.
    #[error("{place} {what}, which is not read here: {cure}")]
    Form { place: String, what: String, cure: String },
    #[error("{place} has no commits yet: commit the state file and push it")]
    Empty { place: String },
    #[error("{place} has no branch `{branch}`{}{cure}", known_names(branch, known))]
    NoBranch {
        place: String,
        branch: String,
        known: Vec<String>,
        /// Begins with `; `, or is empty.
        cure: String,
    },
    #[error("{place} has no tag `{tag}`{}", known_names(tag, known))]
    NoTag { place: String, tag: String, known: Vec<String> },
    #[error(
        "no branch or tag of {place} leads to a commit {sha}: push it there, or name another one (a commit of a fork, of a \
         pull request or of a branch that was deleted is not taken)"
    )]
    NoCommit { place: String, sha: Sha },
    #[error(
        "commit {} of {place} has no directory `{directory}`: `checkout = {{ directory = \"…\" }}` in the state file names the \
         one that is deployed",
        sha.short()
    )]
    NoDirectory { place: String, sha: Sha, directory: String },
    /// They would come out as empty directories.
    #[error(
        "commit {} of {place} has submodules, which are not fetched and would be empty in the release: {}{}; say \
         `checkout = {{ submodules = true }}` in the state file, or make them part of the repository (`git subtree`)",
        sha.short(),
        paths.join(", "),
        if *more > 0 { format!(" and {more} more") } else { String::new() }
    )]
    Submodules { place: String, sha: Sha, paths: Vec<String>, more: usize },
    /// `why` goes on after the submodule, and ends with the next move where there is one.
    #[error("the submodule `{path}` of commit {} of {place} {why}", sha.short())]
    Submodule { place: String, sha: Sha, path: String, why: String },
    /// A moving name where a fixed one is needed.
    #[error(
        "`{name}` is a branch of {place}, not a tag: name a full SHA or a tag; a branch is followed only through `track`"
    )]
    BranchAsTag { place: String, name: String },
    /// `detail` ends with the next move, where there is one.
    #[error("`{rev}` names no commit of {place}: {detail}")]
    NoRevision { place: String, rev: String, detail: String },
    /// The tree holds something at this path that is never followed.
    #[error("{path} in commit {commit} is {what}, which is never followed: make it an ordinary file")]
    Entry { commit: CommitId, path: String, what: String },
    #[error("{path} in commit {commit} has {size} bytes, more than the limit of {limit}: is it really a state file?")]
    TooLarge { commit: CommitId, path: String, size: usize, limit: usize },
    #[error("`{glob}` matches more than {limit} files in commit {commit}: use a narrower pattern")]
    TooMany { commit: CommitId, glob: String, limit: usize },
    #[error(
        "{place} is a shallow clone, so that its history cannot be checked: run `git fetch --unshallow` in it (a CI job gets the whole history with `fetch-depth: 0` or `GIT_DEPTH: 0`)"
    )]
    Shallow { place: String },
    /// Nobody can say which commits need a signature.
    #[error(
        "trust_since = {since} is not among the commits of `{branch}` of {place} ({} and its ancestors), so that nothing says which of them must be signed: name one of them (`git log --format=%H {branch}`), or leave it out to have all of them verified",
        head.short()
    )]
    TrustSince { place: String, branch: String, since: CommitId, head: CommitId },
    /// Nothing was changed.
    #[error("{} has changes of its own in {tree}: commit or stash them first, then try again (nothing was changed)", paths.join(", "))]
    Dirty { tree: String, paths: Vec<String> },
    /// Someone else moved the ref in between; nothing of ours was recorded.
    #[error("`{name}` of {place} was moved by someone else in the meantime: try again")]
    Moved { place: String, name: String },
    /// The other side took the push and said no.
    #[error("{place} refused the push to `{name}`: {reason}")]
    Rejected { place: String, name: String, reason: String },
    #[error(
        "the commit was pushed to {place}, but this repository could not follow: {detail}; run `git pull --ff-only` in it"
    )]
    Behind { place: String, detail: String },
    #[error("git could not {what} {place}: {detail}")]
    Command { what: String, place: String, detail: String },
    #[error("git could not {what} {place} within {after:?} and was stopped: is the server reachable?")]
    TimedOut { what: String, place: String, after: Duration },
    #[error("the signing key {key} cannot be used: {why}")]
    Key { key: String, why: String },
    #[error("{}:{line}: {why}", file.display())]
    Signers { file: PathBuf, line: usize, why: String },
    #[error("cannot {what} {}: {source}", path.display())]
    Storage { what: &'static str, path: PathBuf, source: std::io::Error },
    /// Another process works on the same mirror.
    #[error("another soll has been working on {} for more than {after:?}: wait for it, or stop it", path.display())]
    Busy { path: PathBuf, after: Duration },
    /// libgit2 could not read or write something.
    #[error("cannot {what} in {place}: {detail}")]
    Objects {
        what: String,
        place: String,
        detail: String,
        /// What is not there, where that is the reason: a partial clone has left it at its remote.
        missing: Vec<git2::Oid>,
    },
}

impl RepoError {
    /// Whether trying the same again later may help: the network, a timeout, a lock, a race.
    pub fn is_transient(&self) -> bool {
        use RepoError as E;
        matches!(self, E::Command { .. } | E::TimedOut { .. } | E::Moved { .. } | E::Busy { .. } | E::Storage { .. })
    }
}

/// The result of everything in this room.
pub type Result<T, E = RepoError> = std::result::Result<T, E>;

/// `: did you mean …; it has …`, or nothing where there is nothing to name.
fn known_names(wanted: &str, known: &[String]) -> String {
    const SHOWN: usize = 10;
    let known: Vec<String> = known.iter().filter(|name| *name != wanted).cloned().collect();
    if known.is_empty() {
        return ": it has none".to_owned();
    }
    let known = known.as_slice();
    let mut text = match nearest(wanted, known) {
        Some(name) => format!(": did you mean `{name}`? It has "),
        None => ": it has ".to_owned(),
    };
    let shown: Vec<_> = known.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    text.push_str(&shown.join(", "));
    if known.len() > SHOWN {
        text.push_str(&format!(" and {} more", known.len() - SHOWN));
    }
    text
}

/// The known name that looks most like `wanted`, where one does.
fn nearest<'a>(wanted: &str, known: &'a [String]) -> Option<&'a str> {
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(wanted, name), name.as_str()))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_name_says_what_there_is() {
        let known = vec!["main".to_owned(), "v1.2.0".to_owned()];
        assert_eq!(known_names("mian", &known), ": did you mean `main`? It has `main`, `v1.2.0`");
        assert_eq!(known_names("zzz", &known), ": it has `main`, `v1.2.0`");
        assert_eq!(known_names("x", &[]), ": it has none");
        let many: Vec<String> = (0..12).map(|i| format!("b{i}")).collect();
        assert!(known_names("zzz", &many).ends_with("`b9` and 2 more"));
    }
}
