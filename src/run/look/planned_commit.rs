//! The commit that a plan is made of: accepted, or text (law 11). From it follows as what hosts are looked at.

use std::borrow::Cow;
use std::sync::Arc;

use crate::model::ids::EnvName;
use crate::model::observed::Observed;
use crate::plan::Plan;
use crate::run::accepted::{AcceptedSnapshot, Verified, tell_of_hosts};
use crate::run::controller::{Controller, ControllerError, Snapshot};
use crate::run::look::grounds::Grounds;
use crate::run::look::observe::{Look, observe};
use crate::run::look::proposed::{complete, foresee};
use crate::run::look::published::Heard;
use crate::run::secrets::Store;
use crate::state_repo::NotAccepted;

/// The commit that is planned.
pub enum PlannedCommit {
    /// The newest of the branch, which may be acted on.
    Accepted(Arc<AcceptedSnapshot>),
    /// Another one: text.
    Proposed(Proposed),
}

/// A commit that is not accepted, and what is known of the branch beside it.
pub struct Proposed {
    pub proposal: Arc<Snapshot>,
    /// What hosts are looked at as.
    pub accepted: Result<Arc<AcceptedSnapshot>, NothingAccepted>,
    /// Why the proposal is not acted on, where it is the newest commit of the branch.
    pub refused: Option<String>,
}

/// Why no commit of the branch is known to be accepted, so that no host is looked at. Nothing: no commit before the
/// refused one is.
pub struct NothingAccepted(pub Option<ControllerError>);

/// A commit, and the signatures that were verified for the answer.
pub struct Found {
    pub commit: PlannedCommit,
    pub verified: Option<Verified>,
}

impl PlannedCommit {
    /// The commit that was named, else the newest one, and what it is. Asks the remote. Blocks.
    ///
    /// # Errors
    /// The repository cannot be read, no such revision, what is wrong with the state file.
    pub fn find(controller: &Controller, rev: Option<&str>) -> Result<Found, ControllerError> {
        controller.repo.refresh()?;
        let named = rev.map(|rev| controller.repo.resolve(rev)).transpose()?;
        let (accepted, refused, verified) = match (controller.standing(), named) {
            (Ok(standing), _) => {
                let refused = standing.refused.map(|refused| (refused.commit, refused.why.to_string()));
                (Ok(standing.accepted), refused, standing.verified)
            }
            // In a pull request's clone the branch itself may be missing, or cut off: then nothing is known of it.
            (Err(error), Some(_)) => (Err(NothingAccepted(Some(error))), None, None),
            (
                Err(ControllerError::NotAccepted(why @ (NotAccepted::Unsigned { .. } | NotAccepted::Rewritten { .. }))),
                None,
            ) => (Err(NothingAccepted(None)), Some((controller.repo.head()?, why.to_string())), None),
            (Err(error), None) => return Err(error),
        };
        let newest = refused.as_ref().map(|(commit, _)| *commit).or(accepted.as_ref().ok().map(|a| a.commit));
        let commit = named.or(newest).map_or_else(|| controller.repo.head(), Ok)?;
        let commit = match accepted {
            Ok(accepted) if accepted.commit == commit => PlannedCommit::Accepted(accepted),
            accepted => {
                let refused = refused.filter(|(refused, _)| *refused == commit).map(|(_, why)| why);
                PlannedCommit::Proposed(Proposed {
                    proposal: Arc::new(controller.snapshot(commit)?),
                    accepted,
                    refused,
                })
            }
        };
        Ok(Found { commit, verified })
    }

    /// What it says.
    pub fn snapshot(&self) -> &Snapshot {
        match self {
            PlannedCommit::Accepted(accepted) => accepted,
            PlannedCommit::Proposed(proposed) => &proposed.proposal,
        }
    }

    /// The secrets that it can name: of one that is not accepted no file is opened.
    pub fn secrets(&self, controller: &Controller) -> Cow<'_, Store> {
        match self {
            PlannedCommit::Accepted(accepted) => Cow::Borrowed(accepted.secrets()),
            PlannedCommit::Proposed(Proposed { proposal, .. }) => {
                Cow::Owned(controller.settings.secrets.proposed(&proposal.desired))
            }
        }
    }

    /// Looks at these environments' hosts.
    pub async fn observe(&self, controller: &Arc<Controller>, names: &[EnvName], look: Look) -> Observed {
        match self {
            PlannedCommit::Accepted(accepted) => {
                let mut observed = observe(controller, accepted, names, look).await;
                tell_of_hosts(controller, accepted, &mut observed, names);
                observed
            }
            PlannedCommit::Proposed(Proposed { proposal, accepted, .. }) => {
                foresee(controller, proposal, accepted.as_ref().ok(), names, look).await
            }
        }
    }

    /// Takes what others published of the hosts, and completes it with what is seen without hosts.
    pub async fn hear(&self, controller: &Arc<Controller>, heard: Heard) -> Observed {
        let grounds = match self {
            PlannedCommit::Accepted(accepted) => Grounds::Accepted(accepted),
            PlannedCommit::Proposed(Proposed { proposal, accepted, .. }) => {
                Grounds::Proposed { proposal, accepted: accepted.as_ref().ok().map(|accepted| &**accepted) }
            }
        };
        complete(controller, grounds, heard.observed()).await
    }

    /// Notes in its plan as which commit hosts were looked at, and why this one is not acted on.
    pub fn mark(&self, plan: &mut Plan) {
        if let PlannedCommit::Proposed(proposed) = self {
            plan.accepted = proposed.accepted.as_ref().ok().map(|accepted| accepted.commit.to_string());
            plan.refused = proposed.refused.clone();
        }
    }
}
