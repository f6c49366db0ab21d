//! A person's word about a host: it is taken as it is from now on.

use std::sync::Arc;

use futures_util::future::join_all;

use crate::host::wire::{HostError, Op, Reply};
use crate::journal::operation::Action;
use crate::model::desired::{Environment, Target};
use crate::model::epochs::implausible;
use crate::model::ids::{Epoch, HostName};
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::{Controller, ControllerError};
use crate::run::look::observe::{Scan, question};
use crate::run::look::reach::ask;
use crate::run::operate::journaled::{Asked, OperateError, journaled};

/// Takes a host as it is, in every environment that has it: an epoch that cannot be true is set back to where the others
/// are. Gives what was done, as sentences.
///
/// # Errors
/// No environment has this host, it does not answer, or somebody holds its root.
pub async fn host(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    name: &HostName,
    reason: Option<String>,
) -> Result<Vec<String>, OperateError> {
    if !snapshot.desired.hosts().contains(name) {
        let hosts = snapshot.desired.hosts();
        let known = hosts.into_iter().map(HostName::as_str).collect::<Vec<_>>().join(", ");
        return Err(ControllerError::NoHost { host: name.clone(), known }.into());
    }
    let asked = Asked {
        action: Action::Acknowledge,
        environment: None,
        hosts: vec![name.clone()],
        commit: snapshot.commit.to_string(),
        actor: controller.who.clone(),
        reason: reason.unwrap_or_default(),
    };
    journaled(controller, asked, async |journal| {
        let mut said = Vec::new();
        for env in snapshot.desired.environments.values() {
            let Some(target) = env.targets.iter().find(|target| target.name == *name) else { continue };
            let failed = |error: HostError| ControllerError::Other(format!("{} on {name}: {error}", env.name));
            if let Some((have, to)) = recount(controller, snapshot, env, target).await.map_err(failed)? {
                let who = format!("{}, acknowledge", controller.who);
                let done = async {
                    ask(controller, snapshot, target, Op::Recount { who, have, to }).await.map_err(failed)?;
                    Ok(format!("{}: the epoch of {name} was {}, and is {} now", env.name, have.0, to.0))
                };
                said.push(journal.step(&format!("recount:{}", env.name), Some(name), String::clone, done).await?);
            }
        }
        Ok(said)
    })
    .await
}

/// The epoch of a root, and the one that it should have instead; `None`: it is one that can be true.
async fn recount(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
    target: &Target,
) -> Result<Option<(Epoch, Epoch)>, HostError> {
    let epoch = async |target: &Target| match ask(controller, snapshot, target, Op::Observe(question(env, Scan::Last)))
        .await?
    {
        Reply::State(state) => Ok(state.record.epoch),
        _ => Err(HostError::Io("the host answered an observation with something else".to_owned())),
    };
    let all = join_all(env.targets.iter().map(async |target| (&target.name, epoch(target).await))).await;
    let mut epochs = Vec::new();
    for (name, epoch) in all {
        match epoch {
            Ok(epoch) => epochs.push((name, epoch)),
            Err(error) if *name == target.name => return Err(error),
            // What does not answer has nothing to compare with.
            Err(_) => {}
        }
    }
    let Some((_, have)) = epochs.iter().copied().find(|(name, _)| **name == target.name) else { return Ok(None) };
    let above = implausible(epochs).filter(|(_, hosts)| hosts.iter().any(|(name, _)| **name == target.name));
    Ok(match (above, have.next()) {
        (Some((highest, _)), _) => Some((have, highest.next().unwrap_or_default())),
        // Alone at the end of the numbers: it is counted from the beginning.
        (None, None) => Some((have, Epoch(1))),
        (None, Some(_)) => None,
    })
}
