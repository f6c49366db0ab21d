//! The words of people about what would be done: bound to a plan, so they are read after a first one is made. The history of
//! words is read once for all environments and passes, and only what was added is read anew.

use std::sync::Arc;

use crate::model::approval::{Judge, Maker, Reviewed, Signed, judge};
use crate::model::ids::EnvName;
use crate::model::observed::{Approval, Observed, Remark};
use crate::plan::{self, Context};
use crate::run::controller::{Controller, ControllerError, Snapshot, now};
use crate::run::look::makers::makers;
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
    let mut plans = plans(snapshot, names, observed);
    if plans.is_empty() {
        return;
    }
    let (commit, written) = (snapshot.commit, snapshot.written.clone());
    let read = controller.beside(move |controller| {
        for plan in plans.iter_mut().filter(|plan| plan.not_author) {
            plan.makers = makers(controller, commit, &written, &plan.environment).map_err(|error| error.to_string());
        }
        hear(controller, &plans).map_err(ControllerError::from)
    });
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

/// What there is to be said something about.
struct About {
    environment: EnvName,
    reviewed: Reviewed,
    /// Words are asked for.
    asks: bool,
    /// Those of `makers` do not count; where nobody can say who they are, nobody's do.
    not_author: bool,
    makers: Result<Vec<Maker>, String>,
}

fn plans(snapshot: &Snapshot, names: &[EnvName], observed: &Observed) -> Vec<About> {
    let commit = snapshot.commit.to_string();
    let context = Context { commit: &commit, now: now(), secrets: None };
    let environments = names.iter().filter_map(|name| snapshot.desired.environments.get(name));
    let plans = environments.filter_map(|env| {
        let plan = plan::plan_environment(&snapshot.desired, observed, env, &context);
        let reviewed = plan.reviewed.clone().filter(|_| plan.has_changes())?;
        let (environment, asks, not_author) = (env.name.clone(), env.approvals > 0, env.not_author);
        Some(About { environment, reviewed, asks, not_author, makers: Ok(Vec::new()) })
    });
    plans.collect()
}

fn hear(controller: &Controller, plans: &[About]) -> Result<Vec<Heard>, RepoError> {
    let words = controller.ear.words(&controller.repo)?;
    if words.changes.is_empty() {
        return Ok(Vec::new());
    }
    let repository = controller.ear.repository(&controller.repo)?;
    let signers = controller.signers.as_ref();
    let now = now();
    let heard = plans.iter().map(|About { environment, reviewed: plan, asks, makers, .. }| {
        let (ttl, strict) = (controller.settings.approval_ttl, signers.is_some());
        let (makers, unknown) = match makers {
            Ok(makers) => (makers.as_slice(), None),
            Err(why) => (&[][..], Some(why)),
        };
        let judged = Judge { repository: &repository, environment, plan, now, ttl, strict, makers };
        let verify = |word: &crate::model::approval::Word, bytes: &str, armor: &str| {
            let signers = signers.ok_or_else(|| "nobody's signature is allowed here".to_owned())?;
            let verified = verify_word(bytes, armor, &word.email, now, signers).map_err(|why| why.to_string())?;
            Ok(Signed { principal: verified.principal, fingerprint: verified.fingerprint })
        };
        let (mut approvals, mut remarks) = judge(&words.changes, &judged, verify);
        if let Some(why) = unknown {
            approvals.retain(|word| !word.approve);
            let fix = "look at the history of the state repository";
            remarks.push(Remark { message: format!("no approval counts: {why}"), fix: fix.to_owned() });
        }
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
