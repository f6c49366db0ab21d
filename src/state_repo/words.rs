//! What people said, approvals and rejections, as signed commits under `refs/soll/approvals`: each adds one file
//! `ENV/BINDING/WHO-N.json`. It knows who said something and when; what it means is in the payload and not its business.
//!
//! The history is what counts, not the newest tree: a word is what its commit added, and the person is who made and
//! signed that commit, whatever the JSON says. A later commit that changes or removes a file takes nothing back; it is
//! reported as tampering. Who withdraws an approval says a new word.

use std::path::Path;

use git2::{ErrorCode, Oid, Repository, Sort};
use jiff::Timestamp;

use super::CommitId;
use super::commit::{Author, edit_tree};
use super::error::{RepoError, Result};
use super::read::FILE_LIMIT;
use super::repo::{StateRepo, WORDS_REF};
use super::signature::Signer;
use super::signers::AllowedSigners;
use crate::model::ids::{Digest, EnvName};

const ATTEMPTS: usize = 5;

/// One thing that a person said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// As the commit says; proven only by `signature`.
    pub name: String,
    pub email: String,
    /// The committer's time.
    pub at: Timestamp,
    pub payload: Vec<u8>,
    /// The verified principal, where signers were given and the signature is theirs.
    pub signature: Option<super::Verified>,
    /// The commit that said it.
    pub commit: CommitId,
}

/// What the remote says the approvals are. Ours ([`WORDS_REF`]) follow only forward.
const THEIRS: &str = "refs/remotes/soll/approvals";

/// What was said about one thing, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    pub words: Vec<Word>,
    /// Attempts to change or remove a word. They have no effect, and somebody should ask why.
    pub tampered: Vec<Tampering>,
    /// The remote's approvals were force-pushed or removed. What was heard before still counts, new words cannot be
    /// said until [`StateRepo::accept_words`] takes the remote's as they are.
    pub rewritten: bool,
}

/// A commit that did more than add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tampering {
    pub path: String,
    pub commit: CommitId,
    pub name: String,
    pub email: String,
}

impl StateRepo {
    /// Says something about `binding` in `environment`. Pushed for a remote repository, and for a local one with `push`
    /// (to `origin`). Where somebody else speaks at the same time, both are heard.
    pub fn add_word(
        &self,
        environment: &EnvName,
        binding: &Digest,
        payload: &[u8],
        author: &Author,
        signing_key: Option<&Path>,
        push: bool,
    ) -> Result<CommitId> {
        if payload.len() > FILE_LIMIT {
            return Err(RepoError::Grammar(format!("an approval of {} bytes is too large", payload.len())));
        }
        let push = push || self.mirror.is_some();
        if self.mirror.is_none() && push {
            self.must_have_remote("origin")?;
        }
        let signer = signing_key.map(Signer::load).transpose()?;
        let directory = [environment.as_str(), &binding.to_string()].map(str::to_owned);
        for _ in 0..ATTEMPTS {
            if push {
                self.refresh_words()?;
            }
            let repo = self.repository()?;
            let tip = self.words_tip(&repo)?;
            let id = self.write_word(&repo, tip, &directory, payload, author, signer.as_ref())?;
            // A fetch in between could put an older answer of the remote over ours.
            let _held = self.mirror.as_ref().map(|mirror| mirror.lock(&self.settings)).transpose()?;
            if push && !self.push_object(&id, WORDS_REF)? {
                continue;
            }
            if self.mirror.is_some() {
                self.set(&repo, THEIRS, id.0)?;
            }
            match self.swap(&repo, WORDS_REF, tip.map(CommitId).as_ref(), &id, "a word") {
                Err(RepoError::Moved { .. }) if !push => {}
                // A fetch of someone else's has brought it here already.
                Err(RepoError::Moved { .. }) | Ok(()) => return Ok(id),
                Err(error) => return Err(error),
            }
        }
        Err(RepoError::Moved { place: self.location.to_string(), name: WORDS_REF.to_owned() })
    }

    /// What was said about `binding` in `environment`, as far as [`StateRepo::refresh`] brought it.
    pub fn words(&self, environment: &EnvName, binding: &Digest, signers: Option<&AllowedSigners>) -> Result<Words> {
        let directory = format!("{environment}/{binding}");
        self.reading(|repo| {
            let mut heard = Words { rewritten: self.words_rewritten(repo)?, ..Words::default() };
            let Some(tip) = self.words_tip(repo)? else { return Ok(heard) };
            let objects = |error| self.objects("read the approvals", &error);
            for id in history(repo, tip).map_err(objects)? {
                let change = Change::of(repo, id, &directory).map_err(objects)?;
                if change.is_empty() {
                    continue;
                }
                let info = self.info(repo, id)?;
                for (name, blob) in change.added {
                    let (size, _) = repo.odb().and_then(|odb| odb.read_header(blob)).map_err(objects)?;
                    let path = format!("{directory}/{name}");
                    if size > FILE_LIMIT {
                        return Err(RepoError::TooLarge { commit: info.id, path, size, limit: FILE_LIMIT });
                    }
                    let signature = signers.map(|signers| self.verify_in(repo, id, signers)).transpose()?;
                    heard.words.push(Word {
                        name: info.author_name.clone(),
                        email: info.author_email.clone(),
                        at: info.time,
                        payload: repo.find_blob(blob).map_err(objects)?.content().to_vec(),
                        signature: signature.and_then(|verdict| verdict.ok()),
                        commit: info.id,
                    });
                }
                heard.tampered.extend(change.altered.into_iter().map(|name| Tampering {
                    path: format!("{directory}/{name}"),
                    commit: info.id,
                    name: info.author_name.clone(),
                    email: info.author_email.clone(),
                }));
            }
            Ok(heard)
        })
    }

    fn write_word(
        &self,
        repo: &Repository,
        tip: Option<Oid>,
        directory: &[String; 2],
        payload: &[u8],
        author: &Author,
        signer: Option<&Signer>,
    ) -> Result<CommitId> {
        let objects = |error| self.objects("write an approval", &error);
        let tree = tip.map(|tip| repo.find_commit(tip).map(|commit| commit.tree_id())).transpose().map_err(objects)?;
        let there = tree.map(|tree| names(repo, tree, &directory.join("/"))).transpose().map_err(objects)?;
        let there = there.unwrap_or_default();
        let who = slug(&author.email);
        let name =
            (1usize..).map(|n| format!("{who}-{n}.json")).find(|name| there.iter().all(|(other, ..)| other != name));
        let name = name.unwrap_or_default();
        let write = || {
            let blob = repo.blob(payload)?;
            edit_tree(repo, tree, &[&directory[0], &directory[1], &name], Some(blob))
        };
        let tree =
            write().map_err(objects)?.ok_or_else(|| objects(git2::Error::from_str("the tree came out empty")))?;
        let message = format!("{name} on {}", directory[0]);
        self.write_object(repo, tree, tip.as_slice(), &message, author, signer)
    }

    /// Takes the remote's approvals as they are now, after a person has looked why they were rewritten.
    pub fn accept_words(&self) -> Result<()> {
        let repo = self.repository()?;
        match self.tip_of(&repo, THEIRS)? {
            Some(theirs) => self.set(&repo, WORDS_REF, theirs),
            None if self.mirror.is_some() => match repo.find_reference(WORDS_REF) {
                Ok(mut ours) => ours.delete().map_err(|error| self.objects("forget the approvals", &error)),
                Err(_) => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// After a fetch into `dir`: our approvals move to the remote's, where that is forward.
    pub(super) fn follow_words(&self, dir: &Path) -> Result<()> {
        let repo = Repository::open(dir).map_err(|error| self.objects("open the repository", &error))?;
        let (ours, theirs) = (self.tip_of(&repo, WORDS_REF)?, self.tip_of(&repo, THEIRS)?);
        match (ours, theirs) {
            (None, Some(theirs)) => self.set(&repo, WORDS_REF, theirs),
            (Some(ours), Some(theirs)) if self.descends(&repo, theirs, ours)? => self.set(&repo, WORDS_REF, theirs),
            _ => Ok(()),
        }
    }

    fn words_rewritten(&self, repo: &Repository) -> Result<bool> {
        match (self.tip_of(repo, WORDS_REF)?, self.tip_of(repo, THEIRS)?) {
            (Some(ours), Some(theirs)) => Ok(ours != theirs && !self.descends(repo, theirs, ours)?),
            (Some(_), None) => Ok(self.mirror.is_some()),
            (None, _) => Ok(false),
        }
    }

    fn descends(&self, repo: &Repository, new: Oid, old: Oid) -> Result<bool> {
        repo.graph_descendant_of(new, old).map_err(|error| self.objects("compare the approvals", &error))
    }

    fn set(&self, repo: &Repository, name: &str, id: Oid) -> Result<()> {
        let moved = repo.reference(name, id, true, "the remote's approvals");
        moved.map(drop).map_err(|error| self.objects("follow the approvals", &error))
    }

    fn words_tip(&self, repo: &Repository) -> Result<Option<Oid>> {
        self.tip_of(repo, WORDS_REF)
    }

    fn tip_of(&self, repo: &Repository, name: &str) -> Result<Option<Oid>> {
        match repo.find_reference(name).and_then(|reference| reference.peel_to_commit()) {
            Ok(commit) => Ok(Some(commit.id())),
            Err(error) if error.code() == ErrorCode::NotFound && repo.find_reference(name).is_err() => Ok(None),
            Err(error) => Err(self.objects("read the approvals", &error)),
        }
    }

    /// Brings the words of others here. A local ref only moves forward: what was said here and not pushed stays.
    fn refresh_words(&self) -> Result<()> {
        if self.mirror.is_some() {
            return self.refresh();
        }
        let cwd = self.work_tree().unwrap_or_else(|| self.git_dir.clone());
        let git = super::command::Git::new(&self.settings, &self.location).within(&self.git_dir, &cwd);
        let refspec = format!("{WORDS_REF}:{WORDS_REF}");
        let options = ["--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"];
        let output = git.run("fetch the approvals for", "fetch", &options, &["origin", &refspec])?;
        // The first word of all: there is no such ref yet.
        if output.success || output.stderr.contains("couldn't find remote ref") {
            return Ok(());
        }
        Err(git.failure("fetch the approvals for", &output))
    }
}

/// What one commit did to one directory, compared with its first parent.
#[derive(Default)]
struct Change {
    added: Vec<(String, Oid)>,
    altered: Vec<String>,
}

impl Change {
    fn of(repo: &Repository, id: Oid, directory: &str) -> std::result::Result<Change, git2::Error> {
        let commit = repo.find_commit(id)?;
        let after = names(repo, commit.tree_id(), directory)?;
        let before = match commit.parents().next() {
            Some(parent) => names(repo, parent.tree_id(), directory)?,
            None => Vec::new(),
        };
        let mut change = Change::default();
        for (name, blob) in &after {
            match before.iter().find(|(other, _)| other == name) {
                None => change.added.push((name.clone(), *blob)),
                Some((_, old)) if old != blob => change.altered.push(name.clone()),
                Some(_) => {}
            }
        }
        let gone = before.iter().filter(|(name, _)| after.iter().all(|(other, _)| other != name));
        change.altered.extend(gone.map(|(name, _)| name.clone()));
        Ok(change)
    }

    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.altered.is_empty()
    }
}

/// The chain of first parents, oldest first. What a merge brought in counts as said by who merged.
fn history(repo: &Repository, tip: Oid) -> std::result::Result<Vec<Oid>, git2::Error> {
    let mut walk = repo.revwalk()?;
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::REVERSE)?;
    walk.simplify_first_parent()?;
    walk.push(tip)?;
    walk.collect()
}

/// The ordinary files of a directory of a tree. Links and directories say nothing.
fn names(repo: &Repository, tree: Oid, directory: &str) -> std::result::Result<Vec<(String, Oid)>, git2::Error> {
    let mut tree = repo.find_tree(tree)?;
    for part in directory.split('/') {
        let id =
            tree.get_name(part).filter(|entry| entry.kind() == Some(git2::ObjectType::Tree)).map(|entry| entry.id());
        match id {
            Some(id) => tree = repo.find_tree(id)?,
            None => return Ok(Vec::new()),
        }
    }
    let files = tree.iter().filter(|entry| super::read::not_a_file(entry.filemode()).is_none());
    Ok(files.filter_map(|entry| Some((entry.name().ok()?.to_owned(), entry.id()))).collect())
}

/// An address as part of a file name.
fn slug(email: &str) -> String {
    let text: String =
        email.chars().take(60).map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let text = text.trim_matches('-');
    if text.is_empty() { "someone".to_owned() } else { text.to_owned() }
}
