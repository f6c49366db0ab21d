//! Making a commit from objects alone: no work tree, no hooks, no editor. The branch moves by compare-and-swap, so that
//! nobody's commit is lost. Where the branch is checked out, the edited files move along ([`super::worktree`]).

use git2::{ErrorCode, ObjectType, Oid, Repository, Signature, Time};
use jiff::Timestamp;

use super::CommitId;
use super::error::{RepoError, Result};
use super::read::{not_a_file, parts};
use super::repo::StateRepo;
use super::signature::Signer;
use super::signers::Purpose;
use super::worktree;
use crate::model::key_text::KeySource;

const FILE: i32 = 0o100_644;
const DIRECTORY: i32 = 0o040_000;

/// Who makes a commit: author and committer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    pub name: String,
    pub email: String,
}

/// What a commit changes.
#[derive(Debug, Clone, Default)]
pub struct Edits {
    /// Path and new contents; `None` removes the file. The mode of a file that is there is kept.
    pub files: Vec<(String, Option<Vec<u8>>)>,
    pub message: String,
}

impl StateRepo {
    /// Commits on top of `expected_parent`, which must be the branch's commit, and moves the branch of a local
    /// repository; a remote one is written with [`StateRepo::edit_and_push`]. Signed where a key (an OpenSSH private key
    /// file) is given. Edits that change nothing make no commit: the parent is returned.
    ///
    /// # Errors
    /// [`RepoError::Moved`] where the branch is elsewhere; [`RepoError::Dirty`] where an edited file has changes of its
    /// own in a work tree that has the branch checked out. Nothing is changed then.
    pub fn commit(
        &self,
        edits: &Edits,
        author: &Author,
        signing_key: Option<&KeySource>,
        expected_parent: &CommitId,
    ) -> Result<CommitId> {
        if self.mirror.is_some() {
            let why = format!("{} is remote: a commit in its mirror must be pushed with it", self.location);
            return Err(RepoError::Grammar(why));
        }
        self.must_have_branch()?;
        if self.head()? != *expected_parent {
            return Err(self.moved());
        }
        let id = self.write_commit(edits, author, signing_key, expected_parent)?;
        if id != *expected_parent {
            self.move_branch(edits, expected_parent, &id)?;
        }
        Ok(id)
    }

    /// The commit as an object; no ref moves.
    pub(super) fn write_commit(
        &self,
        edits: &Edits,
        author: &Author,
        signing_key: Option<&KeySource>,
        parent: &CommitId,
    ) -> Result<CommitId> {
        let signer = signing_key.map(Signer::load).transpose()?;
        let repo = self.repository()?;
        let mut tree = self.tree(&repo, parent)?.id();
        for (path, contents) in &edits.files {
            let parts = parts(path)?;
            if let Some((_, mode)) = self.entry(&repo, parent, &parts)?
                && let Some(what) = not_a_file(mode)
            {
                return Err(RepoError::Entry { commit: *parent, path: path.clone(), what: what.to_owned() });
            }
            let write = || -> std::result::Result<Oid, git2::Error> {
                let blob = contents.as_ref().map(|bytes| repo.blob(bytes)).transpose()?;
                edit_tree(&repo, Some(tree), &parts, blob)?.map_or_else(|| repo.treebuilder(None)?.write(), Ok)
            };
            tree = write().map_err(|error| self.objects(&format!("write {path}"), &error))?;
        }
        if tree == self.tree(&repo, parent)?.id() {
            return Ok(*parent);
        }
        self.write_object(&repo, tree, &[parent.0], &edits.message, author, signer.as_ref())
    }

    /// A commit of a finished tree.
    pub(super) fn write_object(
        &self,
        repo: &Repository,
        tree: Oid,
        parents: &[Oid],
        message: &str,
        author: &Author,
        signer: Option<&Signer>,
    ) -> Result<CommitId> {
        let signature = author.signature()?;
        let message = format!("{}\n", message.trim_end());
        let objects = |error| self.objects("write a commit", &error);
        let write = || -> std::result::Result<_, git2::Error> {
            let tree = repo.find_tree(tree)?;
            let parents = parents.iter().map(|id| repo.find_commit(*id)).collect::<std::result::Result<Vec<_>, _>>()?;
            let parents: Vec<_> = parents.iter().collect();
            repo.commit_create_buffer(&signature, &signature, &message, &tree, &parents)
        };
        let buffer = write().map_err(objects)?;
        let text =
            std::str::from_utf8(&buffer).map_err(|_| objects(git2::Error::from_str("the commit is not UTF-8")))?;
        let id = match signer {
            Some(signer) => {
                let armor =
                    signer.sign(&buffer, Purpose::Commit).map_err(|why| objects(git2::Error::from_str(&why)))?;
                repo.commit_signed(text, &armor, None)
            }
            None => repo.odb().and_then(|odb| odb.write(ObjectType::Commit, &buffer)),
        };
        id.map(CommitId).map_err(objects)
    }

    /// Moves the branch of a local repository, and the edited files of the work tree that has it checked out.
    ///
    /// The files move first: after a crash in between they look like an edit of their own, which the next attempt
    /// refuses to touch. The other way round the next `git commit -a` would silently take the release back.
    pub(super) fn move_branch(&self, edits: &Edits, parent: &CommitId, new: &CommitId) -> Result<()> {
        let paths: Vec<&str> = edits.files.iter().map(|(path, _)| path.as_str()).collect();
        let repo = self.repository()?;
        let along = worktree::with_branch(&repo, &self.refname);
        for tree in &along {
            worktree::must_be_clean(tree, &paths)?;
        }
        for (done, tree) in along.iter().enumerate() {
            if let Err(error) = worktree::follow(tree, new, &paths) {
                // A conflict is found before anything is written; anything else (a locked index) may come after.
                let touched = if matches!(error, RepoError::Dirty { .. }) { done } else { done + 1 };
                along[..touched].iter().for_each(|tree| worktree::go_back(tree, &paths));
                return Err(error);
            }
        }
        let moved = self.swap(&repo, &self.refname, Some(parent), new, &edits.message);
        if moved.is_err() {
            along.iter().for_each(|tree| worktree::go_back(tree, &paths));
        }
        moved
    }

    /// Moves a ref from `old` (`None`: it must not be there) to `new`.
    pub(super) fn swap(
        &self,
        repo: &Repository,
        name: &str,
        old: Option<&CommitId>,
        new: &CommitId,
        message: &str,
    ) -> Result<()> {
        let subject = message.lines().next().unwrap_or_default();
        let old = old.map_or(Oid::ZERO_SHA1, |old| old.0);
        match repo.reference_matching(name, new.0, true, old, &format!("commit (soll): {subject}")) {
            Ok(_) => Ok(()),
            Err(error)
                if matches!(
                    error.code(),
                    ErrorCode::Modified | ErrorCode::NotFound | ErrorCode::Exists | ErrorCode::Locked
                ) =>
            {
                Err(RepoError::Moved { place: self.location.to_string(), name: name.to_owned() })
            }
            Err(error) => Err(self.objects(&format!("move {name}"), &error)),
        }
    }

    pub(super) fn moved(&self) -> RepoError {
        RepoError::Moved { place: self.location.to_string(), name: self.branch.clone() }
    }
}

impl Author {
    fn signature(&self) -> Result<Signature<'static>> {
        let bad =
            |text: &str| text.trim().is_empty() || text.contains(['<', '>']) || text.chars().any(char::is_control);
        let now = Time::new(Timestamp::now().as_second(), 0);
        match Signature::new(&self.name, &self.email, &now) {
            Ok(signature) if !bad(&self.name) && !bad(&self.email) => Ok(signature),
            _ => Err(RepoError::Grammar(format!(
                "`{} <{}>` cannot be the author of a commit: set user.name and user.email",
                self.name, self.email
            ))),
        }
    }
}

/// `tree` with `blob` at the path (`None`: without it). `None` comes back for a directory that became empty.
pub(super) fn edit_tree(
    repo: &Repository,
    tree: Option<Oid>,
    parts: &[&str],
    blob: Option<Oid>,
) -> std::result::Result<Option<Oid>, git2::Error> {
    let Some((name, below)) = parts.split_first() else { return Ok(tree) };
    let tree = tree.map(|id| repo.find_tree(id)).transpose()?;
    let there = tree.as_ref().and_then(|tree| tree.get_name(name));
    if !below.is_empty() && there.as_ref().is_some_and(|entry| entry.kind() != Some(ObjectType::Tree)) {
        return Err(git2::Error::from_str(&format!("`{name}` is not a directory there")));
    }
    let mut builder = repo.treebuilder(tree.as_ref())?;
    let (id, mode) = match below {
        [] => {
            let mode = there.as_ref().filter(|e| e.kind() == Some(ObjectType::Blob)).map_or(FILE, |e| e.filemode());
            (blob, mode)
        }
        _ => {
            let subtree = there.as_ref().map(|entry| entry.id());
            if subtree.is_none() && blob.is_none() {
                return Ok(tree.as_ref().map(|tree| tree.id()));
            }
            (edit_tree(repo, subtree, below, blob)?, DIRECTORY)
        }
    };
    match id {
        Some(id) => {
            builder.insert(*name, id, mode)?;
        }
        None if there.is_some() => builder.remove(*name)?,
        None => {}
    }
    if builder.is_empty() { Ok(None) } else { builder.write().map(Some) }
}
