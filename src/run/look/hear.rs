//! The words of people about what would be done: bound to a plan, so they are read after a first one is made. The history of
//! words is read once for all environments and passes, and only what was added is read anew.

use std::sync::Arc;

use crate::model::approval::{Judge, Reviewed, Signed, judge};
use crate::model::ids::EnvName;
use crate::model::observed::{Approval, Observed, Remark};
use crate::plan::{self, Context};
use crate::run::controller::{Controller, ControllerError, Snapshot, now};
use crate::state_repo::{RepoError, verify_word};

/// What was said about one environment's plan.
type Heard = (EnvName, Vec<Approval>, Vec<Remark>);

/// Completes an observation with the words about the plans that come of it.
pub(super) async fn listen(
    controller: &Arc<Controller>,
    snapshot: &Snapshot,
    names: &[EnvName],
    observed: &mut Observed,
) {
    let plans = plans(snapshot, names, observed);
    if plans.is_empty() {
        return;
    }
    let read = controller.beside(move |controller| hear(controller, &plans).map_err(ControllerError::from));
    let heard = match read.await.flatten() {
        Ok(heard) => heard,
        Err(error) => {
            tracing::warn!(%error, "approvals could not be read: none count");
            return;
        }
    };
    for (name, approvals, remarks) in heard {
        if let Some(seen) = observed.environments.get_mut(&name) {
            (seen.approvals, seen.remarks) = (approvals, remarks);
        }
    }
}

/// What there is to be said something about: the environment, what is reviewed of it, whether words are asked for.
fn plans(snapshot: &Snapshot, names: &[EnvName], observed: &Observed) -> Vec<(EnvName, Reviewed, bool)> {
    let commit = snapshot.commit.to_string();
    let context = Context { commit: &commit, now: now(), secrets: None };
    let environments = names.iter().filter_map(|name| snapshot.desired.environments.get(name));
    let plans = environments.filter_map(|env| {
        let plan = plan::plan_environment(&snapshot.desired, observed, env, &context);
        let reviewed = plan.reviewed.clone().filter(|_| plan.has_changes())?;
        Some((env.name.clone(), reviewed, env.approvals > 0))
    });
    plans.collect()
}

fn hear(controller: &Controller, plans: &[(EnvName, Reviewed, bool)]) -> Result<Vec<Heard>, RepoError> {
    let words = controller.ear.words(&controller.repo)?;
    if words.changes.is_empty() {
        return Ok(Vec::new());
    }
    let repository = controller.ear.repository(&controller.repo)?;
    let signers = controller.signers.as_ref();
    let now = now();
    let heard = plans.iter().map(|(environment, plan, asks)| {
        let ttl = controller.settings.approval_ttl;
        let judged = Judge { repository: &repository, environment, plan, now, ttl, strict: signers.is_some() };
        let verify = |word: &crate::model::approval::Word, bytes: &str, armor: &str| {
            let signers = signers.ok_or_else(|| "nobody's signature is allowed here".to_owned())?;
            let verified = verify_word(bytes, armor, &word.email, now, signers).map_err(|why| why.to_string())?;
            Ok(Signed { principal: verified.principal, fingerprint: verified.fingerprint })
        };
        let (approvals, mut remarks) = judge(&words.changes, &judged, verify);
        if words.rewritten {
            let message = "the history of approvals was rewritten at the remote; what was heard before still counts";
            let fix = "look why; to take the remote's as it is: soll acknowledge";
            remarks.push(Remark { message: message.to_owned(), fix: fix.to_owned() });
        }
        // Where nobody's word is asked for, nobody need hear about those that do not count.
        remarks.retain(|_| *asks || !approvals.is_empty());
        (environment.clone(), approvals, remarks)
    });
    Ok(heard.collect())
}
