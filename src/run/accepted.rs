//! What may be acted on (laws 10 and 11): the newest commit of the branch where it follows the last accepted one and is
//! signed as the settings ask, else the last good one before it. Whatever touches a host, runs a command, reads a file of
//! this controller or sends a secret takes an [`AcceptedSnapshot`]; only this module makes one, and only of what
//! `state_repo::advance` has accepted. Every other commit is a [`Snapshot`], which is text.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::ids::{Digest, EnvName, HostName};
use crate::model::observed::{HostObserved, Observed, Remark};
use crate::run::controller::{Controller, ControllerError, Snapshot, now};
use crate::run::secrets::Store;
use crate::state_repo::{AcceptedCommit, Advance, CommitId, NotAccepted, Trust};

/// A commit that may be acted on, read.
#[derive(Debug, Clone)]
pub struct AcceptedSnapshot {
    snapshot: Snapshot,
    secrets: Arc<Store>,
}

impl AcceptedSnapshot {
    fn of(controller: &Controller, snapshot: Snapshot) -> AcceptedSnapshot {
        let secrets = Arc::new(controller.settings.secrets.accepted(&snapshot.desired));
        AcceptedSnapshot { snapshot, secrets }
    }

    /// The secrets of this controller, with those of the commit's encrypted files: of no other commit any is opened.
    pub fn secrets(&self) -> &Store {
        &self.secrets
    }
}

impl Deref for AcceptedSnapshot {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// Where the branch stands.
#[derive(Debug)]
pub struct Standing {
    /// The newest commit that may be acted on.
    pub accepted: Arc<AcceptedSnapshot>,
    /// The newest commit of the branch, where it is another one, because it may not be acted on.
    pub refused: Option<Refused>,
    /// What had to be verified for it, where that was more than what is new.
    pub verified: Option<Verified>,
}

impl Standing {
    /// The newest commit, or why it may not be acted on.
    pub fn newest(self) -> Result<Arc<AcceptedSnapshot>, ControllerError> {
        match self.refused {
            None => Ok(self.accepted),
            Some(refused) => Err(refused.why),
        }
    }
}

/// The newest commit, as far as it may be acted on.
pub struct Newest {
    /// `None`: the one that the caller has already.
    pub snapshot: Option<AcceptedSnapshot>,
    /// Why that is an older one.
    pub refused: Option<ControllerError>,
    /// Nothing is changed on its word: the newest commit is not signed, or the branch was rewritten, and until people have
    /// looked what runs is only looked after.
    pub looks_only: bool,
}

/// A newest commit that nothing is done on the word of.
#[derive(Debug)]
pub struct Refused {
    pub commit: CommitId,
    /// [`ControllerError::NotAccepted`], or what is wrong with its state file.
    pub why: ControllerError,
}

/// A history whose signatures were verified at first contact.
#[derive(Debug, Clone, Copy)]
pub struct Verified {
    pub commits: usize,
    pub took: Duration,
}

/// What may be acted on, before it is read.
struct Judged {
    accepted: AcceptedCommit,
    refused: Option<Refused>,
    verified: Option<Verified>,
}

impl Controller {
    /// Where the branch stands, as far as [`crate::state_repo::StateRepo::refresh`] brought it.
    ///
    /// # Errors
    /// [`ControllerError::NotAccepted`] where there is not even an older commit that may be acted on; what is wrong with
    /// the state file of an accepted commit, where it was never good.
    pub fn standing(&self) -> Result<Standing, ControllerError> {
        let Judged { accepted, refused, verified } = self.judge()?;
        let (accepted, wrong) = self.read_or_before(accepted)?;
        Ok(Standing { accepted: Arc::new(accepted), refused: refused.or(wrong), verified })
    }

    /// The newest commit of the branch, unless it is the one that the caller has already. Asks the remote first. Whoever has
    /// none yet gets an older one where the state file of the newest is wrong, and the last one that was acted on where the
    /// newest may not be.
    ///
    /// # Errors
    /// [`ControllerError::NotAccepted`] where none may be acted on; what is wrong with the state file of the newest.
    pub fn newest_after(&self, have: Option<CommitId>) -> Result<Newest, ControllerError> {
        self.repo.refresh()?;
        let Judged { accepted, refused, .. } = self.judge()?;
        if let Some(refused) = refused {
            // What was acted on last is looked after, not what was accepted and never acted on.
            let snapshot = match have.or(self.last_accepted()?) {
                Some(last) if have.is_none() => {
                    self.snapshot_in_part(last).ok().map(|last| AcceptedSnapshot::of(self, last))
                }
                _ => None,
            };
            return Ok(Newest { snapshot, refused: Some(refused.why), looks_only: true });
        }
        if have == Some(accepted.id()) {
            return Ok(Newest { snapshot: None, refused: None, looks_only: false });
        }
        if have.is_some() {
            return Ok(Newest { snapshot: Some(self.read(accepted)?), refused: None, looks_only: false });
        }
        let (snapshot, wrong) = self.read_or_before(accepted)?;
        Ok(Newest { snapshot: Some(snapshot), refused: wrong.map(|wrong| wrong.why), looks_only: false })
    }

    /// The commit that a new one is to be built on: a signature on top of what nobody checked would launder it.
    ///
    /// # Errors
    /// [`ControllerError::NotAccepted`].
    pub fn accepted_parent(&self, parent: &CommitId) -> Result<AcceptedSnapshot, ControllerError> {
        let advance = self.advance(self.last_accepted()?.as_ref(), parent)?;
        self.read(advance.accepted())
    }

    /// A rewritten branch, which a person accepts after a look at it (`soll acknowledge`).
    ///
    /// # Errors
    /// [`NotAccepted::Unsigned`]: a rewritten history may be acknowledged, an unsigned commit may not.
    pub fn acknowledged(&self, head: &CommitId) -> Result<AcceptedSnapshot, ControllerError> {
        let (last, signers) = (self.last_accepted()?, self.signers_key());
        let trust = self.trust(signers.as_ref())?;
        let advance = self.repo.check_rewritten(last.as_ref(), head, trust.as_ref())?;
        self.read(advance.accepted())
    }

    /// From now on nothing older is acted on.
    pub fn accept(&self, snapshot: &AcceptedSnapshot) -> Result<(), ControllerError> {
        Ok(self.store.set_accepted(&self.accepted_key(), &snapshot.commit.to_string())?)
    }

    /// The commit that this controller acted on last.
    pub fn last_accepted(&self) -> Result<Option<CommitId>, ControllerError> {
        let last = self.store.accepted(&self.accepted_key())?;
        Ok(last.map(|text| text.parse::<CommitId>()).transpose()?)
    }

    fn read(&self, commit: AcceptedCommit) -> Result<AcceptedSnapshot, ControllerError> {
        Ok(AcceptedSnapshot::of(self, self.snapshot_in_part(commit.id())?))
    }

    /// This commit; or, where its state file is wrong, the newest one before it that can be read. All that lies below an
    /// accepted commit was accepted with it; one that is older than what was acted on before is not gone back to (law 10).
    fn read_or_before(&self, commit: AcceptedCommit) -> Result<(AcceptedSnapshot, Option<Refused>), ControllerError> {
        let why = match self.read(commit) {
            Ok(snapshot) => return Ok((snapshot, None)),
            Err(why @ (ControllerError::Invalid(_) | ControllerError::Unread(_))) => why,
            Err(why) => return Err(why),
        };
        let last = self.last_accepted()?;
        let is_newer = |before: &CommitId| last.is_none_or(|last| self.repo.check_order(&last, before).is_ok());
        let before = match self.good_before(commit.id())?.filter(|before| is_newer(&before.commit)) {
            Some(before) => Some(before),
            None => last.and_then(|last| self.snapshot_in_part(last).ok()),
        };
        let Some(before) = before else { return Err(why) };
        Ok((AcceptedSnapshot::of(self, before), Some(Refused { commit: commit.id(), why })))
    }

    fn judge(&self) -> Result<Judged, ControllerError> {
        let (head, last) = (self.repo.head()?, self.last_accepted()?);
        let began = Instant::now();
        let why = match self.advance(last.as_ref(), &head) {
            Ok(advance) => {
                let whole = last.is_none() && advance.verified > 1;
                let verified = whole.then(|| Verified { commits: advance.verified, took: began.elapsed() });
                if let Some(Verified { commits, took }) = verified {
                    tracing::info!(commits, ?took, "the signatures of the whole history were verified");
                }
                return Ok(Judged { accepted: advance.accepted(), refused: None, verified });
            }
            Err(why) => why,
        };
        let before = match &why {
            NotAccepted::Unsigned { before, .. } | NotAccepted::Rewritten { before, .. } => *before,
            NotAccepted::Repo(_) => None,
        };
        match before {
            Some(accepted) => {
                let refused = Some(Refused { commit: head, why: why.into() });
                Ok(Judged { accepted, refused, verified: None })
            }
            None => Err(why.into()),
        }
    }

    /// Whether `new` may follow `last`. What was verified for it is remembered.
    fn advance(&self, last: Option<&CommitId>, new: &CommitId) -> Result<Advance, NotAccepted> {
        let signers = self.signers_key();
        let trust = self.trust(signers.as_ref())?;
        let checked = self.repo.check_advance(last, new, trust.as_ref());
        let good = match &checked {
            Ok(advance) if advance.verified > 0 => Some(advance.accepted()),
            Err(NotAccepted::Unsigned { before, .. }) => *before,
            _ => None,
        };
        if let (Some(good), Some(key)) = (good, &signers)
            && trust.as_ref().is_some_and(|trust| trust.verified != Some(good.id()))
            && let Err(error) = self.store.set_verified(&self.accepted_key(), key, &good.id().to_string())
        {
            // Then it is verified once more the next time.
            tracing::warn!(%error, "what was verified could not be remembered");
        }
        checked
    }

    /// What verified commits are filed under: the signers, and from where on they are asked for.
    fn signers_key(&self) -> Option<Digest> {
        let signers = self.signers.as_ref()?;
        Some(Digest::of_json(&(signers.digest(), self.settings.trust_since)))
    }

    fn trust(&self, key: Option<&Digest>) -> Result<Option<Trust<'_>>, NotAccepted> {
        let (Some(signers), Some(key)) = (&self.signers, key) else { return Ok(None) };
        let verified = self.store.verified(&self.accepted_key(), key).unwrap_or_else(|error| {
            tracing::warn!(%error, "what was verified before is not known");
            None
        });
        let verified = verified.and_then(|text| text.parse().ok());
        Ok(Some(Trust { signers, since: self.settings.trust_since, verified, at: now() }))
    }
}

/// What the hosts of an environment last acted on must not be newer than this commit, or lost from its history (law 10): a
/// controller that lost its memory learns it from them.
///
/// # Errors
/// [`NotAccepted::Rewritten`].
pub fn must_follow_hosts(
    controller: &Controller,
    snapshot: &AcceptedSnapshot,
    observed: &Observed,
    name: &EnvName,
) -> Result<(), ControllerError> {
    for (_, commit) in remembered(observed, name) {
        controller.repo.check_order(&commit.parse()?, &snapshot.commit)?;
    }
    Ok(())
}

/// Notes of these environments why nothing would be done there: their hosts acted on a commit that does not lead to this
/// one. A controller that remembers nothing learns it from them alone, and its plan says so before `apply` refuses.
pub fn tell_of_hosts(controller: &Controller, snapshot: &AcceptedSnapshot, observed: &mut Observed, names: &[EnvName]) {
    for name in names {
        let Err(why) = must_follow_hosts(controller, snapshot, observed, name) else { continue };
        let text = why.to_string();
        let message =
            format!("its hosts acted on another line of commits: {}", text.lines().next().unwrap_or_default());
        let fix = "use the clone that has that commit; or, where the branch was rewritten on purpose: soll acknowledge";
        if let Some(seen) = observed.environments.get_mut(name) {
            seen.astray = Some(Remark { message, fix: fix.to_owned() });
        }
    }
}

/// The commits that the hosts of an environment acted on last.
pub fn remembered<'a>(observed: &'a Observed, name: &EnvName) -> impl Iterator<Item = (&'a HostName, &'a str)> {
    let hosts = observed.environments.get(name).map(|seen| seen.hosts.iter()).into_iter().flatten();
    hosts.filter_map(|(host, seen)| match seen {
        HostObserved::Reached(state) => Some((host, state.record.accepted.as_ref()?.commit.as_str())),
        HostObserved::Unreachable(_) => None,
    })
}
