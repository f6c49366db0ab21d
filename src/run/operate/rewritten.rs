//! A person has looked at a rewritten history and lets the loop go on from it (law 10): here, and on the hosts that remember
//! a commit of the one before.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::journal::operation::Action;
use crate::model::desired::{Environment, Target};
use crate::model::ids::EnvName;
use crate::model::observed::{HostObserved, Observed};
use crate::model::shown::counted;
use crate::run::accepted::{self, AcceptedSnapshot};
use crate::run::controller::{Controller, ControllerError};
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::pass::hold::{Taking, holding, next_epoch};
use crate::run::pass::journaled::{Asked, Journal, OperateError, journaled};
use crate::run::step::site::Site;
use crate::run::step::stop_request::StopRequest;
use crate::state_repo::{CommitId, NotAccepted};

/// What is accepted from now on.
#[derive(Debug)]
pub struct Accepted {
    pub commit: CommitId,
    /// So many hosts remembered a commit, and were told.
    pub hosts: usize,
}

/// Accepts the newest commit. `say`: told what was lost, as this controller and as the hosts remember it, before anything is
/// accepted.
///
/// # Errors
/// The new line may not be accepted (an unsigned commit), or a host does not answer.
pub async fn accept(
    controller: &Arc<Controller>,
    reason: Option<String>,
    say: &dyn Fn(&str),
) -> Result<Accepted, OperateError> {
    let read = controller.beside(|controller| {
        controller.repo.refresh()?;
        let last = controller.store.accepted(&controller.accepted_key())?;
        let head = controller.repo.head()?;
        Ok::<_, ControllerError>((Arc::new(controller.acknowledged(&head)?), last))
    });
    let (snapshot, last) = read.await??;
    let asked = Asked {
        action: Action::Acknowledge,
        environment: None,
        hosts: Vec::new(),
        commit: snapshot.commit.to_string(),
        actor: controller.who.clone(),
        reason: reason.unwrap_or_default(),
    };
    journaled(controller, asked, async |journal| accepted(controller, &snapshot, last, journal, say).await).await
}

async fn accepted(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    last: Option<String>,
    journal: &Journal,
    say: &dyn Fn(&str),
) -> Result<Accepted, OperateError> {
    let head = snapshot.commit;
    let names: Vec<EnvName> = snapshot.desired.environments.keys().cloned().collect();
    let observed = observe(controller, snapshot, &names, Look { health: false, drift: Scan::Last }).await;
    // A controller that lost its disk remembers nothing: what the hosts acted on last is what counts.
    let hosts = names.iter().flat_map(|name| accepted::remembered(&observed, name));
    let remembered: BTreeSet<String> = last.into_iter().chain(hosts.map(|(_, commit)| commit.to_owned())).collect();
    let lost = controller.beside(move |controller| lost(controller, &remembered, &head)).await??;
    lost.iter().for_each(|lost| say(lost));
    let done = async {
        let mut hosts = 0;
        for (name, env) in &snapshot.desired.environments {
            hosts += tell(controller, snapshot, &observed, name, env).await?;
        }
        let keeper = snapshot.clone();
        let kept = controller.beside(move |controller| {
            controller.accept(&keeper)?;
            Ok::<_, ControllerError>(controller.repo.accept_words()?)
        });
        kept.await??;
        Ok(Accepted { commit: head, hosts })
    };
    let note = |accepted: &Accepted| {
        let hosts = counted(accepted.hosts as u64, "host", "hosts");
        let told = format!("commit {} is accepted here and on {hosts}", head.short());
        std::iter::once(told).chain(lost).collect::<Vec<_>>().join("; ")
    };
    journal.step("accept", None, note, done).await
}

/// What is not in the history of `head` any more, in words.
fn lost(
    controller: &Controller,
    remembered: &BTreeSet<String>,
    head: &CommitId,
) -> Result<Vec<String>, ControllerError> {
    let mut lost = Vec::new();
    for last in remembered {
        match controller.repo.check_order(&last.parse()?, head) {
            Ok(_) => {}
            Err(error @ NotAccepted::Rewritten { .. }) => lost.push(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(lost)
}

/// Tells every host of an environment that remembers a commit. Gives how many there were.
async fn tell(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    observed: &Observed,
    name: &EnvName,
    env: &Environment,
) -> Result<usize, OperateError> {
    let epoch = next_epoch(observed, name)?;
    let site = Site::new(controller.clone(), snapshot.clone(), Arc::new(StopRequest::default()), None);
    let seen = observed.environments.get(name);
    let remembers = |target: &&Target| {
        let host = seen.and_then(|seen| seen.hosts.get(&target.name));
        matches!(host, Some(HostObserved::Reached(state)) if state.record.accepted.is_some())
    };
    let taking = Taking {
        accept: Some(snapshot.commit.to_string()),
        ..Taking::beside(&site, "acknowledge", epoch, env.deadline)
    };
    let mut hosts = 0;
    for target in env.targets.iter().filter(remembers) {
        let told = holding(&site, target, &taking, async || Ok(())).await;
        told.map_err(|error| OperateError::Host { host: target.name.clone(), error })?;
        hosts += 1;
    }
    Ok(hosts)
}
