//! Law 10: the accepted commit only moves forward, and every new commit is signed by an allowed key where that is
//! required. The last accepted commit is the caller's to keep (the hosts hold it, too); this answers whether a commit may
//! follow it, and is the only place that makes an [`AcceptedCommit`] (law 11).
//!
//! With signers every ancestor is verified, both sides of a merge: back to the last accepted commit, to what was verified
//! before, or to the commit from which on the settings trust the branch (`trust_since`). A check of the newest commit alone
//! would let one signature launder everything below it.

use std::collections::HashSet;

use git2::{ErrorCode, Oid, Repository, Sort};
use jiff::Timestamp;

use super::error::{RepoError, Result};
use super::read::CommitInfo;
use super::repo::StateRepo;
use super::signers::AllowedSigners;
use super::{CommitId, Unverified};

/// So many lost commits are listed.
const LOST_LIMIT: usize = 50;

/// A commit that may be acted on. Nothing but [`StateRepo::check_advance`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptedCommit(CommitId);

impl AcceptedCommit {
    /// The commit.
    pub fn id(self) -> CommitId {
        self.0
    }
}

/// Whose signatures are asked for, and which commits need none.
#[derive(Debug, Clone)]
pub struct Trust<'a> {
    pub signers: &'a AllowedSigners,
    /// This commit and its ancestors are taken as they are (`trust_since`). `None`: every commit is verified.
    pub since: Option<CommitId>,
    /// This commit and its ancestors were verified before, by the same signers.
    pub verified: Option<CommitId>,
    /// Now: a key that has expired by then signs no new commit, whatever date the commit claims.
    pub at: Timestamp,
}

/// A commit that follows the last accepted one, or is it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    accepted: AcceptedCommit,
    /// So many signatures were verified for it now.
    pub verified: usize,
}

impl Advance {
    /// The commit that may be acted on.
    pub fn accepted(self) -> AcceptedCommit {
        self.accepted
    }
}

/// Why a commit is not accepted. Nothing may be done on its word.
#[derive(Debug, thiserror::Error)]
pub enum NotAccepted {
    /// A force-push: the loop stops until someone acknowledges it.
    #[error("{}", rewritten(old, new, merge_base.as_ref(), lost))]
    Rewritten {
        old: CommitId,
        new: CommitId,
        /// Where the two part, if they have anything in common.
        merge_base: Option<CommitId>,
        /// The commits that were accepted and are gone, newest first; empty where not even their objects are left.
        lost: Vec<CommitInfo>,
        /// The last accepted one, where it can still be read.
        before: Option<AcceptedCommit>,
    },
    /// The oldest of the new commits that is not signed by an allowed key.
    #[error("commit {} (\"{subject}\" by {author}) is not accepted: {why}; {}", commit.short(), cure(*first_contact))]
    Unsigned {
        commit: CommitId,
        subject: String,
        author: String,
        why: Unverified,
        /// The newest commit of the branch before it that may be acted on.
        before: Option<AcceptedCommit>,
        /// Nothing was accepted here before, so that the whole history had to be verified.
        first_contact: bool,
    },
    /// It could not be found out.
    #[error(transparent)]
    Repo(#[from] RepoError),
}

/// What was found out of a line of commits.
struct Line {
    /// So many commits were looked at.
    verified: usize,
    /// The oldest that is not signed, and why.
    unsigned: Option<(Oid, Unverified)>,
    /// Those that are signed, as are all their ancestors.
    good: HashSet<Oid>,
    /// All of them. Whatever is none of them was accepted, trusted or verified before.
    all: HashSet<Oid>,
}

impl StateRepo {
    /// Whether `new` may follow `last_accepted`. Without `trust` no signature is asked for.
    ///
    /// # Errors
    /// [`NotAccepted`]; among them [`RepoError::Shallow`] and [`RepoError::TrustSince`] where nobody can say.
    pub fn check_advance(
        &self,
        last_accepted: Option<&CommitId>,
        new: &CommitId,
        trust: Option<&Trust<'_>>,
    ) -> Result<Advance, NotAccepted> {
        let repo = self.repository()?;
        if let Some(old) = last_accepted.filter(|old| *old != new) {
            self.must_follow(&repo, old, new).map_err(|error| match error {
                NotAccepted::Rewritten { old, new, merge_base, lost, .. } => {
                    let before = (!lost.is_empty()).then_some(AcceptedCommit(old));
                    NotAccepted::Rewritten { old, new, merge_base, lost, before }
                }
                other => other,
            })?;
        }
        if let Some(since) = trust.and_then(|trust| trust.since) {
            self.must_contain(&repo, new, &since)?;
        }
        let accepted = AcceptedCommit(*new);
        if last_accepted == Some(new) {
            return Ok(Advance { accepted, verified: 0 });
        }
        let verified = trust.map_or(Ok(0), |trust| self.must_be_signed(&repo, last_accepted, new, trust))?;
        Ok(Advance { accepted, verified })
    }

    /// Whether a person may accept `new` although it does not follow `last_accepted`: what the rewritten line adds must be
    /// signed like every other commit.
    ///
    /// # Errors
    /// As [`StateRepo::check_advance`], but for [`NotAccepted::Rewritten`].
    pub fn check_rewritten(
        &self,
        last_accepted: Option<&CommitId>,
        new: &CommitId,
        trust: Option<&Trust<'_>>,
    ) -> Result<Advance, NotAccepted> {
        let repo = self.repository()?;
        if let Some(since) = trust.and_then(|trust| trust.since) {
            self.must_contain(&repo, new, &since)?;
        }
        let verified = trust.map_or(Ok(0), |trust| self.must_be_signed(&repo, last_accepted, new, trust))?;
        Ok(Advance { accepted: AcceptedCommit(*new), verified })
    }

    /// Whether `old` is `new` or one of its ancestors. Says nothing about signatures.
    ///
    /// # Errors
    /// [`NotAccepted::Rewritten`] where it is not.
    pub fn check_order(&self, old: &CommitId, new: &CommitId) -> Result<(), NotAccepted> {
        if old == new { Ok(()) } else { self.must_follow(&self.repository()?, old, new) }
    }

    /// Every commit of the line that ends with `new` is signed. Gives how many there were.
    fn must_be_signed(
        &self,
        repo: &Repository,
        last: Option<&CommitId>,
        new: &CommitId,
        trust: &Trust<'_>,
    ) -> Result<usize, NotAccepted> {
        let line = self.verify_line(repo, last, new, trust)?;
        let Some((id, why)) = &line.unsigned else { return Ok(line.verified) };
        let info = self.info(repo, *id)?;
        Err(NotAccepted::Unsigned {
            commit: info.id,
            subject: info.subject,
            author: format!("{} <{}>", info.author_name, info.author_email),
            why: why.clone(),
            before: self.newest_good(repo, last, new, &line)?,
            first_contact: last.is_none(),
        })
    }

    /// Verifies what is not known to be good: all ancestors of `new`, itself included, without those of the last accepted
    /// commit, of the trusted one and of what was verified before.
    fn verify_line(
        &self,
        repo: &Repository,
        last: Option<&CommitId>,
        new: &CommitId,
        trust: &Trust<'_>,
    ) -> Result<Line> {
        let walk = || {
            let mut walk = repo.revwalk()?;
            // Oldest first: that one is to be dealt with first.
            walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME | Sort::REVERSE)?;
            walk.push(new.0)?;
            for known in [last.copied(), trust.since, trust.verified].into_iter().flatten() {
                // A force-push and a mirror made anew may have taken it away; then nothing is left out for it.
                if repo.find_commit(known.0).is_ok() {
                    walk.hide(known.0)?;
                }
            }
            walk.collect::<std::result::Result<Vec<_>, _>>()
        };
        let commits = walk().map_err(|error| self.objects(&format!("walk the history of {new}"), &error))?;
        let edge = self.shallow_edge(repo)?;
        let (mut good, mut unsigned) = (HashSet::with_capacity(commits.len()), None);
        let all: HashSet<Oid> = commits.iter().copied().collect();
        for id in &commits {
            // What lies behind the edge is not here, and would count as not being there at all.
            if edge.contains(id) {
                return Err(RepoError::Shallow { place: self.location.to_string() });
            }
            let verdict = self.verify_new(repo, *id, trust.signers, trust.at)?;
            let commit = repo.find_commit(*id).map_err(|error| self.objects(&format!("read commit {id}"), &error))?;
            match verdict {
                Ok(_) if commit.parent_ids().all(|parent| good.contains(&parent) || !all.contains(&parent)) => {
                    good.insert(*id);
                }
                Ok(_) => {}
                Err(why) => drop(unsigned.get_or_insert((*id, why))),
            }
        }
        Ok(Line { verified: commits.len(), unsigned, good, all })
    }

    /// The newest commit along first parents that is good, where it follows the last accepted one; else that one.
    fn newest_good(
        &self,
        repo: &Repository,
        last: Option<&CommitId>,
        new: &CommitId,
        line: &Line,
    ) -> Result<Option<AcceptedCommit>> {
        let mut at = Some(new.0);
        while let Some(id) = at.filter(|id| line.all.contains(id) && !line.good.contains(id)) {
            let commit = repo.find_commit(id).map_err(|error| self.objects(&format!("read commit {id}"), &error))?;
            at = commit.parent_ids().next();
        }
        let descends = |id: Oid, last: Oid| id == last || repo.graph_descendant_of(id, last).unwrap_or_default();
        let found = at.filter(|id| last.is_none_or(|last| descends(*id, last.0))).map(CommitId);
        let found = found.or(last.copied().filter(|last| repo.find_commit(last.0).is_ok()));
        Ok(found.map(AcceptedCommit))
    }

    /// The commit from which on the branch is trusted must be on it: else everything, or nothing, would be verified.
    fn must_contain(&self, repo: &Repository, new: &CommitId, since: &CommitId) -> Result<()> {
        let descends = *since == *new || repo.graph_descendant_of(new.0, since.0).unwrap_or_default();
        if descends {
            return Ok(());
        }
        let (place, branch) = (self.location.to_string(), self.branch.clone());
        if repo.is_shallow() {
            return Err(RepoError::Shallow { place });
        }
        Err(RepoError::TrustSince { place, branch, since: *since, head: *new })
    }

    /// The commits whose parents a shallow clone does not have.
    fn shallow_edge(&self, repo: &Repository) -> Result<HashSet<Oid>> {
        let path = repo.commondir().join("shallow");
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().filter_map(|line| Oid::from_str(line.trim()).ok()).collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(HashSet::new()),
            Err(source) => Err(RepoError::Storage { what: "read", path, source }),
        }
    }

    fn must_follow(&self, repo: &Repository, old: &CommitId, new: &CommitId) -> Result<(), NotAccepted> {
        let rewritten = |merge_base, lost| {
            let (old, new) = (*old, *new);
            NotAccepted::Rewritten { old, new, merge_base, lost, before: None }
        };
        if repo.find_commit(old.0).is_err() {
            // In a shallow clone an honest predecessor is missing, too.
            if repo.is_shallow() {
                return Err(RepoError::Shallow { place: self.location.to_string() }.into());
            }
            return Err(rewritten(None, Vec::new()));
        }
        match repo.merge_base(old.0, new.0) {
            Ok(base) if base == old.0 => Ok(()),
            Ok(base) => Err(rewritten(Some(CommitId(base)), self.lost(repo, old, new)?)),
            Err(error) if error.code() == ErrorCode::NotFound && repo.is_shallow() => {
                Err(RepoError::Shallow { place: self.location.to_string() }.into())
            }
            Err(error) if error.code() == ErrorCode::NotFound => Err(rewritten(None, self.lost(repo, old, new)?)),
            Err(error) => Err(self.objects(&format!("compare {old} with {new}"), &error).into()),
        }
    }

    fn lost(&self, repo: &Repository, old: &CommitId, new: &CommitId) -> Result<Vec<CommitInfo>> {
        self.between(repo, new.0, old.0)?.into_iter().take(LOST_LIMIT).map(|id| self.info(repo, id)).collect()
    }
}

/// The next move for a commit that nobody allowed has signed.
fn cure(first_contact: bool) -> &'static str {
    match first_contact {
        false => "sign it with an allowed key, or revert to a signed state",
        true => {
            "sign it with an allowed key; where the branch was not signed from its beginning, name the last commit that is \
             taken as it is: `trust_since` in the settings, SOLL_TRUST_SINCE, --trust-since"
        }
    }
}

fn rewritten(old: &CommitId, new: &CommitId, base: Option<&CommitId>, lost: &[CommitInfo]) -> String {
    let (old, new) = (old.short(), new.short());
    let mut text = match base {
        Some(base) => {
            format!("the branch was rewritten: {new} does not follow the accepted {old}, they part at {}", base.short())
        }
        None => format!("the branch was rewritten: {new} has nothing in common with the accepted {old}"),
    };
    if lost.is_empty() {
        text.push_str("; the accepted commit is not in the repository any more");
    }
    for commit in lost {
        text.push_str(&format!("\n  lost: {} {} ({})", commit.id.short(), commit.subject, commit.author_name));
    }
    text.push_str("\nIf this was meant, `soll acknowledge` accepts it; if not, push the accepted commit back.");
    text
}
