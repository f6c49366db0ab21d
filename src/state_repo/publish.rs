//! Making a commit the truth: pushing it, or trying again on top of what someone else pushed first. What is shown of a
//! remote repository is only what it has: its mirror's branch moves after the push, never before.

use std::path::Path;

use super::CommitId;
use super::commit::{Author, Edits};
use super::error::{RepoError, Result};
use super::repo::StateRepo;
use super::worktree;
use crate::model::key_text::KeySource;

/// So often an edit is made again on top of a newer commit.
const ATTEMPTS: usize = 5;

/// How a commit is made and where it goes.
#[derive(Debug, Clone)]
pub struct Publish {
    pub author: Author,
    /// A private key without a passphrase.
    pub signing_key: Option<KeySource>,
    /// For a local repository: push to the branch's upstream, else to `origin`. A remote one is always pushed.
    pub push: bool,
}

/// What the other side said to a push.
enum Pushed {
    Done,
    /// Somebody was faster.
    Behind,
}

impl StateRepo {
    /// Lets `edit` change the newest commit, commits, and pushes. Where somebody else was faster, `edit` is called again
    /// with their commit, up to five times in all. A push that fails changes nothing here.
    ///
    /// Edits that change nothing make no commit: the commit they were made on is returned.
    ///
    /// # Errors
    /// What `edit` says; [`RepoError::Dirty`], [`RepoError::Rejected`], [`RepoError::Moved`] after the last attempt.
    pub fn edit_and_push<E: From<RepoError>>(
        &self,
        publish: &Publish,
        mut edit: impl FnMut(&CommitId) -> Result<Edits, E>,
    ) -> Result<CommitId, E> {
        for _ in 0..ATTEMPTS {
            self.refresh()?;
            let parent = self.head()?;
            let edits = edit(&parent)?;
            match self.publish(publish, &edits, &parent) {
                Ok(Some(id)) => return Ok(id),
                Ok(None) => {}
                Err(RepoError::Moved { .. }) if self.mirror.is_none() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(self.moved().into())
    }

    /// `None`: somebody was faster.
    fn publish(&self, publish: &Publish, edits: &Edits, parent: &CommitId) -> Result<Option<CommitId>> {
        let key = publish.signing_key.as_ref();
        if self.mirror.is_none() && !publish.push {
            return self.commit(edits, &publish.author, key, parent).map(Some);
        }
        if self.mirror.is_none() {
            return self.commit_and_push(publish, edits, parent).map(Some);
        }
        let id = self.write_commit(edits, &publish.author, key, parent)?;
        if id == *parent {
            return Ok(Some(id));
        }
        match self.push_from_mirror(&id, &self.refname)? {
            Pushed::Behind => Ok(None),
            Pushed::Done => {
                // Losing this race means that a fetch has brought our commit, or one after it, already.
                let _ = self.swap(&self.repository()?, &self.refname, Some(parent), &id, &edits.message);
                Ok(Some(id))
            }
        }
    }

    /// A local repository with an upstream: the push comes first, so that a refusal leaves nothing behind.
    fn commit_and_push(&self, publish: &Publish, edits: &Edits, parent: &CommitId) -> Result<CommitId> {
        self.must_have_branch()?;
        let repo = self.repository()?;
        let paths: Vec<&str> = edits.files.iter().map(|(path, _)| path.as_str()).collect();
        for tree in worktree::with_branch(&repo, &self.refname) {
            worktree::must_be_clean(&tree, &paths)?;
        }
        let id = self.write_commit(edits, &publish.author, publish.signing_key.as_ref(), parent)?;
        if id == *parent {
            return Ok(id);
        }
        let (remote, target) = self.upstream()?;
        match self.push_from_local(&remote, &id, &target)? {
            Pushed::Behind => Err(RepoError::Rejected {
                place: remote,
                name: self.branch.clone(),
                reason: "it has commits that are not here: run `git pull` first (nothing was changed)".to_owned(),
            }),
            Pushed::Done => self
                .move_branch(edits, parent, &id)
                .map(|()| id)
                .map_err(|error| RepoError::Behind { place: remote, detail: error.to_string() }),
        }
    }

    /// The remote and the ref there that the branch goes to.
    fn upstream(&self) -> Result<(String, String)> {
        let repo = self.repository()?;
        let config = repo.config().map_err(|error| self.objects("read the configuration", &error))?;
        let of_branch = |key: &str| config.get_string(&format!("branch.{}.{key}", self.branch)).ok();
        // `.` is an upstream in the same repository: nothing to push to.
        let remote = of_branch("remote").filter(|remote| remote != ".").unwrap_or_else(|| "origin".to_owned());
        let target = of_branch("merge").filter(|target| target.starts_with("refs/heads/"));
        self.must_have_remote(&remote)?;
        Ok((remote, target.unwrap_or_else(|| self.refname.clone())))
    }

    pub(super) fn must_have_remote(&self, remote: &str) -> Result<()> {
        match self.repository()?.find_remote(remote) {
            Ok(_) if git2::Remote::is_valid_name(remote) && !remote.starts_with('-') => Ok(()),
            _ => Err(RepoError::Grammar(format!(
                "{} has no remote `{remote}` to push to: add one with `git remote add`, or do not push",
                self.location
            ))),
        }
    }

    /// Pushes to the remote of a mirror. `true`: done; `false`: somebody was faster.
    pub(super) fn push_object(&self, id: &CommitId, target: &str) -> Result<bool> {
        let pushed = match self.mirror {
            Some(_) => self.push_from_mirror(id, target)?,
            None => self.push_from_local("origin", id, target)?,
        };
        Ok(matches!(pushed, Pushed::Done))
    }

    fn push_from_mirror(&self, id: &CommitId, target: &str) -> Result<Pushed> {
        self.push_in(&self.git_dir, "origin", id, target)
    }

    fn push_from_local(&self, remote: &str, id: &CommitId, target: &str) -> Result<Pushed> {
        let repo = self.repository()?;
        let cwd = repo.workdir().unwrap_or(repo.path()).to_owned();
        self.push_in(&cwd, remote, id, target)
    }

    /// A plain push, never a forced one: the other side takes it as a fast-forward or not at all.
    fn push_in(&self, cwd: &Path, remote: &str, id: &CommitId, target: &str) -> Result<Pushed> {
        let git = super::command::Git::new(&self.settings, &self.location).within(&self.git_dir, cwd);
        let options = ["--porcelain", "--no-verify", "--no-signed", "--no-follow-tags", "--recurse-submodules=no"];
        let output = git.run("push to", "push", &options, &[remote, &format!("{id}:{target}")])?;
        if output.success {
            return Ok(Pushed::Done);
        }
        let stdout = String::from_utf8_lossy(&output.stdout);
        let refusal = stdout.lines().find(|line| line.starts_with("!\t")).and_then(|line| line.rsplit('\t').next());
        match refusal {
            None => Err(git.failure("push to", &output)),
            Some(refusal) if is_race(refusal) => Ok(Pushed::Behind),
            Some(refusal) => {
                let said: Vec<_> =
                    output.stderr.lines().filter_map(|line| line.strip_prefix("remote:")).map(str::trim).collect();
                let reason = self.location.redact(&format!("{refusal} {}", said.join(" ")));
                let place =
                    if self.mirror.is_some() { self.location.to_string() } else { format!("the remote `{remote}`") };
                Err(RepoError::Rejected { place, name: target.to_owned(), reason: reason.trim().to_owned() })
            }
        }
    }
}

/// Whether a refusal means that the ref moved between our look and our push.
fn is_race(refusal: &str) -> bool {
    refusal.starts_with("[rejected]")
        || ["cannot lock ref", "failed to update ref", "reference already exists", "fetch first", "incorrect old value"]
            .iter()
            .any(|sign| refusal.contains(sign))
}
