//! What people said, approvals and rejections, under `refs/soll/approvals`: a history to which each word adds one commit with
//! one file `ENV/BINDING/NAME.json`. It knows who committed what in which order; what a word means, and whether its
//! signature counts, is in the file and not its business (`model::approval`).
//!
//! The history is what counts, not the newest tree: a word is what its commit added, and its place in the history is its
//! time, whatever a clock says. A commit that does anything else (two parents, a file changed, removed, of another form)
//! takes nothing back and is no word; it is reported, and what was said before it stands.

use std::path::Path;
use std::sync::Arc;

use git2::{Delta, ErrorCode, Oid, Repository, Sort};

use super::CommitId;
use super::commit::{Author, edit_tree};
use super::error::{RepoError, Result};
use super::read::FILE_LIMIT;
use super::repo::{StateRepo, WORDS_REF};
use crate::model::approval::{Change, Read, WordFile};
use crate::model::ids::{Digest, EnvName};

const ATTEMPTS: usize = 5;

/// A commit that touches more is none of ours, and is not read.
const TOUCHED: usize = 64;

/// What the remote says the approvals are. Ours ([`WORDS_REF`]) follow only forward.
const THEIRS: &str = "refs/remotes/soll/approvals";

/// All that was said, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    tip: Option<Oid>,
    theirs: Option<Oid>,
    pub changes: Vec<Change>,
    /// The remote's approvals were force-pushed or removed. What was heard before still counts, new words cannot be
    /// said until [`StateRepo::accept_words`] takes the remote's as they are.
    pub rewritten: bool,
}

/// A person's word that is to be added to the history of words.
#[derive(Debug)]
pub struct Saying<'a> {
    pub environment: &'a EnvName,
    pub binding: &'a Digest,
    /// Told once; a part of the file's name.
    pub id: &'a str,
    /// The file.
    pub bytes: &'a [u8],
    /// Files of words that are over: they are cleared away, so that trees do not grow for ever.
    pub over: &'a [String],
}

impl StateRepo {
    /// Says a word. Pushed for a remote repository, and for a local one with `push` (to `origin`). Where somebody else
    /// speaks at the same time, both are heard.
    pub fn add_word(&self, word: &Saying<'_>, author: &Author, push: bool) -> Result<CommitId> {
        if word.bytes.len() > FILE_LIMIT {
            return Err(RepoError::Grammar(format!("an approval of {} bytes is too large", word.bytes.len())));
        }
        let push = push || self.mirror.is_some();
        if self.mirror.is_none() && push {
            self.must_have_remote("origin")?;
        }
        for _ in 0..ATTEMPTS {
            if push {
                self.refresh_words()?;
            }
            let repo = self.repository()?;
            let tip = self.words_tip(&repo)?;
            let id = self.write_word(&repo, tip, word, author)?;
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

    /// All that was said, as far as [`StateRepo::refresh`] brought it. Of what is `known`, only what follows it is read.
    pub fn words(&self, known: Option<&Arc<Words>>) -> Result<Arc<Words>> {
        self.reading(|repo| {
            let (tip, theirs) = (self.words_tip(repo)?, self.tip_of(repo, THEIRS)?);
            if let Some(known) = known.filter(|known| known.tip == tip && known.theirs == theirs) {
                return Ok(known.clone());
            }
            let rewritten = self.words_rewritten(repo)?;
            let mut heard = Words { tip, theirs, changes: Vec::new(), rewritten };
            let Some(tip) = tip else { return Ok(Arc::new(heard)) };
            let before = match known.and_then(|known| Some((known, known.tip?))) {
                Some((known, old)) if old == tip || self.descends(repo, tip, old).unwrap_or(false) => {
                    heard.changes.clone_from(&known.changes);
                    Some(old)
                }
                _ => None,
            };
            let objects = |error| self.objects("read the approvals", &error);
            for id in history(repo, tip, before).map_err(objects)? {
                heard.changes.push(self.change(repo, id)?);
            }
            Ok(Arc::new(heard))
        })
    }

    /// What one commit did.
    fn change(&self, repo: &Repository, id: Oid) -> Result<Change> {
        let objects = |error| self.objects("read the approvals", &error);
        let info = self.info(repo, id)?;
        let commit = repo.find_commit(id).map_err(objects)?;
        let mut change = Change {
            commit: id.to_string(),
            name: info.author_name,
            email: info.author_email,
            said: None,
            removed: Vec::new(),
            odd: None,
        };
        if commit.parent_count() > 1 {
            change.odd = Some(format!("joins {} histories", commit.parent_count()));
            return Ok(change);
        }
        let diff = || {
            let before = commit.parents().next().map(|parent| parent.tree()).transpose()?;
            repo.diff_tree_to_tree(before.as_ref(), Some(&commit.tree()?), None)
        };
        let diff = diff().map_err(objects)?;
        let deltas = diff.deltas().len();
        if deltas > TOUCHED {
            change.odd = Some(format!("touches {deltas} files"));
            return Ok(change);
        }
        for delta in diff.deltas() {
            let path = |file: git2::DiffFile<'_>| file.path().map(|path| path.to_string_lossy().into_owned());
            match delta.status() {
                Delta::Deleted => change.removed.extend(path(delta.old_file())),
                Delta::Added
                    if change.said.is_none() && super::read::not_a_file(delta.new_file().mode().into()).is_none() =>
                {
                    let path = path(delta.new_file()).unwrap_or_default();
                    let said = self.said(repo, &path, delta.new_file().id())?;
                    if said.is_none() {
                        change.odd = Some(format!("adds {path}, which is no place of a word"));
                    }
                    change.said = said;
                }
                Delta::Added => change.odd = Some("adds more than a word".to_owned()),
                _ => {
                    let path = path(delta.old_file()).unwrap_or_default();
                    change.odd = Some(format!("changes {path}"));
                }
            }
        }
        if change.odd.is_none() && change.said.is_none() && change.removed.is_empty() {
            change.odd = Some("adds no word".to_owned());
        }
        Ok(change)
    }

    /// The file of a word. `None`: it is in no such place, or larger than any word.
    fn said(&self, repo: &Repository, path: &str, blob: Oid) -> Result<Option<WordFile>> {
        let objects = |error| self.objects("read the approvals", &error);
        let mut parts = path.split('/');
        let (Some(environment), Some(binding), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Ok(None);
        };
        let placed =
            environment.parse::<EnvName>().is_ok() && binding.parse::<Digest>().is_ok() && name.ends_with(".json");
        let (size, _) = repo.odb().and_then(|odb| odb.read_header(blob)).map_err(objects)?;
        if !placed || size > FILE_LIMIT {
            return Ok(None);
        }
        let read = Read::of(repo.find_blob(blob).map_err(objects)?.content());
        let (environment, binding) = (environment.to_owned(), binding.to_owned());
        Ok(Some(WordFile { path: path.to_owned(), environment, binding, read }))
    }

    fn write_word(&self, repo: &Repository, tip: Option<Oid>, word: &Saying<'_>, author: &Author) -> Result<CommitId> {
        let objects = |error| self.objects("write an approval", &error);
        let (environment, binding) = (word.environment.as_str(), word.binding.to_string());
        let name = format!("{}-{}.json", slug(&author.email), word.id.get(..12).unwrap_or(word.id));
        let write = || {
            let mut tree = tip.map(|tip| repo.find_commit(tip).map(|commit| commit.tree_id())).transpose()?;
            for path in word.over.iter().take(TOUCHED / 2) {
                tree = edit_tree(repo, tree, &path.split('/').collect::<Vec<_>>(), None)?;
            }
            let blob = repo.blob(word.bytes)?;
            edit_tree(repo, tree, &[environment, &binding, &name], Some(blob))
        };
        let tree =
            write().map_err(objects)?.ok_or_else(|| objects(git2::Error::from_str("the tree came out empty")))?;
        let message = format!("{name} on {environment}");
        // Without a signature of its own: that of the word counts, and a signed commit could be mistaken for one of the branch.
        self.write_object(repo, tree, tip.as_slice(), &message, author, None)
    }

    /// The first commit of the state repository: the same for everybody who has it, by whatever address.
    pub fn first_commit(&self) -> Result<CommitId> {
        let head = self.head()?;
        self.reading(|repo| {
            if repo.is_shallow() {
                return Err(RepoError::Shallow { place: self.location.to_string() });
            }
            let walk = || -> std::result::Result<_, git2::Error> {
                let mut walk = repo.revwalk()?;
                walk.simplify_first_parent()?;
                walk.push(head.0)?;
                walk.last().transpose()
            };
            let first = walk().map_err(|error| self.objects("find the first commit", &error))?;
            Ok(first.map_or(head, CommitId))
        })
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
        // All of them will be read, whatever a partial clone leaves out.
        let options = ["--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-filter"];
        let output = git.run("fetch the approvals for", "fetch", &options, &["origin", &refspec])?;
        // The first word of all: there is no such ref yet.
        if output.success || output.stderr.contains("couldn't find remote ref") {
            return Ok(());
        }
        Err(git.failure("fetch the approvals for", &output))
    }
}

/// The commits up to `tip`, oldest first, without those that `known` ends. Of a joined history all of it: what a merge brings
/// in was said, whoever joined it.
fn history(repo: &Repository, tip: Oid, known: Option<Oid>) -> std::result::Result<Vec<Oid>, git2::Error> {
    let mut walk = repo.revwalk()?;
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::REVERSE)?;
    walk.push(tip)?;
    if let Some(known) = known {
        walk.hide(known)?;
    }
    walk.collect()
}

/// An address as part of a file name.
fn slug(email: &str) -> String {
    let text: String =
        email.chars().take(60).map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let text = text.trim_matches('-');
    if text.is_empty() { "someone".to_owned() } else { text.to_owned() }
}
