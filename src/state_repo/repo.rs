//! Opening a state repository, bringing it up to date, and finding the commit that its branch names.

use std::path::{Path, PathBuf};

use git2::{ErrorCode, Repository};

use super::command::{Git, GitSettings};
use super::error::{RepoError, Result};
use super::location::{self, Location};
use super::mirror::{Mirror, MirrorLock};
use super::{Author, CommitId, open, partial};
use crate::model::shown::shell_word;

/// A state repository at one branch. Cheap to clone; holds paths, no open files, so that a `gc`, a repack or a mirror
/// made anew is never in its way.
#[derive(Debug, Clone)]
pub struct StateRepo {
    pub(super) location: Location,
    pub(super) branch: String,
    /// `refs/heads/BRANCH`.
    pub(super) refname: String,
    pub(super) git_dir: PathBuf,
    pub(super) settings: GitSettings,
    /// Only a remote one has a mirror.
    pub(super) mirror: Option<Mirror>,
}

/// The ref that holds approvals and rejections.
pub(super) const WORDS_REF: &str = "refs/soll/approvals";

impl StateRepo {
    /// A path is read in place: a work tree, a bare repository, or a directory inside of one. Anything remote gets a
    /// bare mirror under `cache_dir/repos/`, which is fetched here when it is missing or broken, and only then.
    ///
    /// # Errors
    /// A path that is no repository; a remote that cannot be reached, is empty or lacks the branch.
    pub fn open(location: Location, branch: &str, cache_dir: &Path, settings: GitSettings) -> Result<StateRepo> {
        // CI says it in full (`GITHUB_REF`).
        let branch = branch.strip_prefix("refs/heads/").unwrap_or(branch).to_owned();
        let refname = location::branch_ref(&branch)?;
        match &location {
            Location::Local(path) => {
                let repo = open::discover(path)?;
                let git_dir = repo.path().to_owned();
                Ok(StateRepo { location, branch, refname, git_dir, settings, mirror: None })
            }
            Location::Remote(_) => {
                let mirror = Mirror::at(cache_dir, "repos", &location)?;
                let git_dir = mirror.dir.clone();
                let state = StateRepo { location, branch, refname, git_dir, settings, mirror: Some(mirror.clone()) };
                if state.tip().is_none() {
                    let held = mirror.lock(&state.settings)?;
                    // Another process may have made it while we waited; one that only lacks this branch is fetched.
                    match Repository::open_bare(&state.git_dir) {
                        Ok(_) => state.fetch_or_rebuild(&mirror, &held)?,
                        Err(_) => state.rebuild(&mirror, &held)?,
                    }
                }
                Ok(state)
            }
        }
    }

    /// Brings the mirror of a remote up to date: the branch, the tags, the approvals. Nothing to do for a path.
    ///
    /// A force-push of the branch is followed here; [`StateRepo::check_advance`] is what notices it. Approvals only move
    /// forward: [`super::Words::rewritten`] says when theirs do not.
    pub fn refresh(&self) -> Result<()> {
        let Some(mirror) = &self.mirror else { return Ok(()) };
        let held = mirror.lock(&self.settings)?;
        self.fetch_or_rebuild(mirror, &held)
    }

    /// The commit that the branch names now. In a clone without that branch, where CI has checked out a commit and no branch at
    /// all, it is the one of its `origin`.
    ///
    /// # Errors
    /// [`RepoError::NoBranch`] with the names there are, [`RepoError::Empty`].
    pub fn head(&self) -> Result<CommitId> {
        let repo = self.repository()?;
        let detached = repo.head_detached().unwrap_or_default();
        for name in [Some(self.refname.clone()), self.at_origin().filter(|_| detached)].into_iter().flatten() {
            match repo.find_reference(&name).and_then(|reference| reference.peel_to_commit()) {
                Ok(commit) => return Ok(CommitId(commit.id())),
                Err(error) if error.code() == ErrorCode::NotFound && repo.find_reference(&name).is_err() => {}
                Err(error) => return Err(self.objects(&format!("read the branch `{}`", self.branch), &error)),
            }
        }
        Err(self.without_branch(&repo))
    }

    /// A commit is made on a branch of this repository, not on what its `origin` had at the last fetch.
    pub(super) fn must_have_branch(&self) -> Result<()> {
        let repo = self.repository()?;
        match self.at_origin().is_none() || repo.find_reference(&self.refname).is_ok() {
            true => Ok(()),
            false => Err(self.without_branch(&repo)),
        }
    }

    /// The name of the branch.
    pub fn branch(&self) -> &str {
        &self.branch
    }

    /// Where it is, for people: without credentials.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The Git directory that is read.
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// Whether every look at it asks another machine.
    pub fn is_remote(&self) -> bool {
        self.mirror.is_some()
    }

    /// The top of the work tree, where the repository is a local one with a work tree. Relative bundle paths count from
    /// there; the state itself is never read from it.
    pub fn work_tree(&self) -> Option<PathBuf> {
        self.mirror.is_none().then(|| self.repository().ok()?.workdir().map(Path::to_owned)).flatten()
    }

    /// Who commits here, from `GIT_AUTHOR_NAME`, `GIT_AUTHOR_EMAIL` or git's configuration (`user.name`, `user.email`).
    pub fn configured_author(&self) -> Option<Author> {
        let config = self.repository().ok()?.config().ok()?;
        let value = |variable: &str, key: &str| {
            let from_environment = std::env::var(variable).ok().filter(|value| !value.is_empty());
            from_environment.or_else(|| config.get_string(key).ok())
        };
        Some(Author { name: value("GIT_AUTHOR_NAME", "user.name")?, email: value("GIT_AUTHOR_EMAIL", "user.email")? })
    }

    pub(super) fn repository(&self) -> Result<Repository> {
        Repository::open(&self.git_dir).map_err(|error| self.objects("open the repository", &error))
    }

    pub(super) fn objects(&self, what: &str, error: &git2::Error) -> RepoError {
        RepoError::Objects {
            what: what.to_owned(),
            place: self.location.to_string(),
            detail: self.location.redact(error.message()),
            missing: partial::missing(error),
        }
    }

    pub(super) fn git<'a>(&'a self, dir: &'a Path) -> Git<'a> {
        Git::new(&self.settings, &self.location).within(dir, dir)
    }

    /// Runs `read`; where libgit2 cannot read an object of a mirror, the mirror is made anew and `read` runs once more. What
    /// a partial clone has left at its remote is fetched.
    pub(super) fn reading<T>(&self, read: impl Fn(&Repository) -> Result<T>) -> Result<T> {
        let first = self.repository().and_then(|repo| read(&repo));
        let Err(RepoError::Objects { .. }) = &first else { return first };
        let Some(mirror) = &self.mirror else { return self.with_what_is_missing(first, read) };
        let held = mirror.lock(&self.settings)?;
        if mirror.is_whole(&self.settings, &self.location) {
            return first;
        }
        self.rebuild(mirror, &held)?;
        read(&self.repository()?)
    }

    /// The branch's commit, where everything down to its tree can be read.
    fn tip(&self) -> Option<CommitId> {
        let repo = self.repository().ok()?;
        let commit = repo.find_reference(&self.refname).ok()?.peel_to_commit().ok()?;
        commit.tree().ok()?;
        Some(CommitId(commit.id()))
    }

    /// Fetches under the lock that the caller holds.
    pub(super) fn fetch_or_rebuild(&self, mirror: &Mirror, held: &MirrorLock) -> Result<()> {
        match self.fetch_into(&self.git_dir) {
            Err(RepoError::Command { .. }) if !mirror.is_whole(&self.settings, &self.location) => {
                self.rebuild(mirror, held)
            }
            fetched => fetched,
        }
    }

    fn rebuild(&self, mirror: &Mirror, held: &MirrorLock) -> Result<()> {
        mirror.create(&self.location, held, |dir| self.fetch_into(dir))
    }

    fn fetch_into(&self, dir: &Path) -> Result<()> {
        let branch = format!("+{0}:{0}", self.refname);
        let refspecs = ["origin", &branch, "+refs/tags/*:refs/tags/*", "+refs/soll/*:refs/remotes/soll/*"];
        let git = self.git(dir);
        let output = git.run("fetch from", "fetch", FETCH_ALL, &refspecs)?;
        // Of a shallow repository Git takes no ref, and says so in passing.
        if output.success && output.stderr.contains("shallow roots") {
            return Err(RepoError::Shallow { place: self.location.to_string() });
        }
        if output.success {
            return self.follow_words(dir);
        }
        let failure = git.failure("fetch from", &output);
        if !output.stderr.contains("couldn't find remote ref") {
            return Err(failure);
        }
        // The branch is gone or was never there: which ones are?
        let heads = git.must("list the branches of", "ls-remote", &["--heads"], &["origin"])?;
        let text = String::from_utf8_lossy(&heads);
        let names = text.lines().filter_map(|line| line.split_once("\trefs/heads/")).map(|(_, name)| name.to_owned());
        Err(self.no_branch(names.collect()))
    }

    /// Where a clone keeps what its `origin` said of the branch. A mirror is its remote, and keeps nothing of the kind.
    fn at_origin(&self) -> Option<String> {
        self.mirror.is_none().then(|| format!("refs/remotes/origin/{}", self.branch))
    }

    /// The branch is not here: which ones are, and what makes it so.
    fn without_branch(&self, repo: &Repository) -> RepoError {
        let mut known = branches(repo, git2::BranchType::Local);
        let at_origin = branches(repo, git2::BranchType::Remote);
        let at_origin = at_origin.iter().filter_map(|name| name.strip_prefix("origin/")).filter(|name| *name != "HEAD");
        known.extend(at_origin.map(str::to_owned).filter(|name| !known.contains(name)).collect::<Vec<_>>());
        let (place, branch) = (self.location.to_string(), self.branch.clone());
        let git = format!("git -C {}", shell_word(&place));
        if known.contains(&branch) {
            let cure = format!("; its `origin` has it, and `{git} branch {branch} origin/{branch}` makes it here");
            return RepoError::NoBranch { place, branch, known, cure };
        }
        if !known.is_empty() || repo.head().is_err() || self.mirror.is_some() {
            return self.no_branch(known);
        }
        // A commit is checked out, and no branch was fetched.
        let cure = match (repo.find_remote("origin"), repo.is_shallow()) {
            (Ok(_), shallow) => {
                let deep = if shallow { " --unshallow" } else { "" };
                format!("; `{git} fetch{deep} origin +refs/heads/{branch}:refs/remotes/origin/{branch}` fetches it")
            }
            (Err(_), _) => format!("; `{git} branch {branch}` makes it of the commit that is checked out"),
        };
        RepoError::NoBranch { place, branch, known, cure }
    }

    fn no_branch(&self, known: Vec<String>) -> RepoError {
        let place = self.location.to_string();
        if known.is_empty() {
            return RepoError::Empty { place };
        }
        let one = if known.len() == 1 { known[0].as_str() } else { "NAME" };
        let cure = format!("; `--branch {one}` or SOLL_BRANCH={one} names the one that is meant");
        RepoError::NoBranch { place, branch: self.branch.clone(), known, cure }
    }
}

fn branches(repo: &Repository, kind: git2::BranchType) -> Vec<String> {
    let found = repo.branches(Some(kind)).ok().into_iter().flat_map(Iterator::flatten);
    found.filter_map(|(branch, _)| branch.name().ok().flatten().map(str::to_owned)).collect()
}

const FETCH_ALL: &[&str] = &["--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--prune"];
