//! Law 10: the accepted commit only moves forward, and every new commit is signed by an allowed key where that is
//! required. The last accepted commit is the caller's to keep (the hosts hold it); this answers whether a commit may
//! follow it.
//!
//! At first contact there is nothing to move forward from, and a whole history cannot be demanded to be signed: only the
//! commit itself must be. From then on every commit in between is checked, those that a merge brings in too (a check of
//! HEAD alone is how others were tricked).

use git2::{ErrorCode, Repository};

use super::error::{RepoError, Result};
use super::read::CommitInfo;
use super::repo::StateRepo;
use super::signers::AllowedSigners;
use super::{CommitId, Unverified};

/// So many lost commits are listed.
const LOST_LIMIT: usize = 50;

/// How a commit follows the last accepted one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advance {
    /// It is the last accepted one.
    Same,
    /// It may be accepted. The new commits, newest first; at first contact only the commit itself.
    Forward { commits: Vec<CommitInfo> },
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
    },
    /// The oldest of the new commits that is not signed by an allowed key.
    #[error("commit {} (\"{subject}\" by {author}) is not accepted: {why}; sign it with an allowed key, or revert to a signed state", commit.short())]
    Unsigned { commit: CommitId, subject: String, author: String, why: Unverified },
    /// It could not be found out.
    #[error(transparent)]
    Repo(#[from] RepoError),
}

impl StateRepo {
    /// Whether `new` may follow `last_accepted`. Without `signers` no signature is asked for.
    pub fn check_advance(
        &self,
        last_accepted: Option<&CommitId>,
        new: &CommitId,
        signers: Option<&AllowedSigners>,
    ) -> Result<Advance, NotAccepted> {
        if last_accepted == Some(new) {
            return Ok(Advance::Same);
        }
        let repo = self.repository()?;
        let commits = match last_accepted {
            None => vec![new.0],
            Some(old) => {
                self.must_follow(&repo, old, new)?;
                self.between(&repo, old.0, new.0)?
            }
        };
        if let Some(signers) = signers {
            // Oldest first: that one is to be dealt with first.
            for id in commits.iter().rev() {
                if let Err(why) = self.verify_in(&repo, *id, signers)? {
                    let info = self.info(&repo, *id)?;
                    let author = format!("{} <{}>", info.author_name, info.author_email);
                    return Err(NotAccepted::Unsigned { commit: info.id, subject: info.subject, author, why });
                }
            }
        }
        let commits = commits.into_iter().map(|id| self.info(&repo, id)).collect::<Result<_>>()?;
        Ok(Advance::Forward { commits })
    }

    fn must_follow(&self, repo: &Repository, old: &CommitId, new: &CommitId) -> Result<(), NotAccepted> {
        let rewritten = |merge_base, lost| NotAccepted::Rewritten { old: *old, new: *new, merge_base, lost };
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
