//! Opening a repository that somebody else made: a checkout of CI, a clone of another user, one of a newer Git. What cannot
//! be read here is named with the line that makes it readable. It knows no branches and no commits.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Once;

use git2::{ErrorCode, Repository};

use super::command::quiet;
use super::error::{RepoError, Result};
use crate::model::shown::shell_word;

/// The repository that `path` is in: a work tree, a bare repository, or a directory inside of one.
///
/// # Errors
/// Nothing there; another user's, which Git does not take either; a form that is not read here.
pub(super) fn discover(path: &Path) -> Result<Repository> {
    match Repository::discover(path) {
        Err(error) if error.code() == ErrorCode::Owner => {
            taken_by_git(path)?;
            trust_what_git_takes();
            Repository::discover(path).map_err(|error| unreadable(path, &error))
        }
        found => found.map_err(|error| unreadable(path, &error)),
    }
}

/// Whether Git takes a directory of another user (`safe.directory`). libgit2 does not see all of the user's configuration
/// (`GIT_CONFIG_GLOBAL`, `GIT_CONFIG_COUNT`), so Git itself is asked.
fn taken_by_git(path: &Path) -> Result<()> {
    let mut git = Command::new("git");
    quiet(&mut git);
    git.arg("-C").arg(path).args(["rev-parse", "--git-dir"]);
    git.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let line = |said: &str| {
        let proposed = said.lines().map(str::trim).find(|line| line.starts_with("git config ")).map(str::to_owned);
        proposed.unwrap_or_else(|| {
            format!("git config --global --add safe.directory {}", shell_word(&path.display().to_string()))
        })
    };
    let foreign = |line| Err(RepoError::Foreign { path: path.display().to_string(), line });
    match git.output() {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => foreign(line(&String::from_utf8_lossy(&done.stderr))),
        Err(_) => foreign(line("")),
    }
}

/// From now on libgit2 opens what belongs to others: whoever comes here has asked Git about it, and every other repository
/// that is opened by this process is a mirror of its own.
fn trust_what_git_takes() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: it sets one number of libgit2, which is read when a repository is opened; either value may be read there.
        let set = unsafe { git2::opts::set_verify_owner_validation(false) };
        if let Err(error) = set {
            tracing::warn!("libgit2 keeps to owners: {}", error.message());
        }
    });
}

/// Why libgit2 does not open what is there.
fn unreadable(path: &Path, error: &git2::Error) -> RepoError {
    let place = path.display().to_string();
    let said = error.message();
    if said.contains("object format") {
        return sha256(&place, Some(path));
    }
    if said.contains("extensions.refstorage") {
        let (old, new) = (shell_word(&place), shell_word(&beside(path, "-files")));
        let what = "keeps its refs as a reftable".to_owned();
        let cure = format!("`git clone --ref-format=files {old} {new}` makes one that is, to be named with --repo");
        return RepoError::Form { place, what, cure };
    }
    if let Some(name) = said.strip_prefix("unsupported extension name extensions.") {
        let what = format!("has the extension `{name}`");
        let cure = "name a clone of it without that extension with --repo".to_owned();
        return RepoError::Form { place, what, cure };
    }
    RepoError::NotARepository { path: place, detail: said.to_owned() }
}

/// A repository whose objects have SHA-256 ids. `path`: where it is, if it is here.
pub(super) fn sha256(place: &str, path: Option<&Path>) -> RepoError {
    let name = place.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let name = name.strip_suffix(".git").filter(|name| !name.is_empty()).unwrap_or(name);
    let (first, old, new) = match path {
        Some(path) => (String::new(), shell_word(&path.display().to_string()), shell_word(&beside(path, "-sha1.git"))),
        None => {
            let old = shell_word(&format!("{name}-sha256.git"));
            let clone = format!("git clone -q --mirror {} {old} && ", shell_word(place));
            (clone, old, shell_word(&format!("{name}-sha1.git")))
        }
    };
    let cure = format!(
        "`{first}git init -q --bare --object-format=sha1 {new} && git -C {old} fast-export --all | git -C {new} fast-import \
         --quiet` makes one that is, whose commits have other ids and no signatures"
    );
    RepoError::Form { place: place.to_owned(), what: "has objects with SHA-256 ids".to_owned(), cure }
}

/// A new name beside this one, which may be `.`.
fn beside(path: &Path, end: &str) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    format!("{}{end}", whole.display())
}
