//! `soll acknowledge`: a person has looked at a rewritten history and lets the loop go on from it (law 10).

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::Args;

use super::global::{Global, blocking};
use super::{CliError, Result, out};
use crate::host::wire::{Observe, Op};
use crate::model::desired::{Environment, Target};
use crate::model::ids::{EnvName, Epoch, HostName};
use crate::model::observed::{HostObserved, Observed};
use crate::run::accepted::{self, AcceptedSnapshot};
use crate::run::controller::{Controller, ControllerError};
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::operate;
use crate::run::pass::hold::next_epoch;
use crate::run::step::site::{Site, Wish};
use crate::run::step::world::World;
use crate::state_repo::{CommitId, NotAccepted};

/// Accept a rewritten history; with --host NAME: take that host as it is, with an epoch that cannot be true set back.
#[derive(Args)]
pub struct Acknowledge {}

impl Acknowledge {
    /// Shows what was lost, as this controller and as the hosts remember it, then accepts the newest commit here and there.
    pub async fn run(self, global: &Global) -> Result {
        if let Some(host) = &global.host {
            return accept_host(global, host).await;
        }
        let controller = global.controller()?;
        let worker = controller.clone();
        let (snapshot, last) = blocking(move || {
            worker.repo.refresh()?;
            let last = worker.store.accepted(&worker.accepted_key())?;
            let head = worker.repo.head()?;
            Ok::<_, ControllerError>((Arc::new(worker.acknowledged(&head)?), last))
        })
        .await?;
        let head = snapshot.commit;
        let names: Vec<EnvName> = snapshot.desired.environments.keys().cloned().collect();
        let observed = observe(&controller, &snapshot, &names, Look { health: false, drift: Scan::Last }).await;
        // A controller that lost its disk remembers nothing: what the hosts acted on last is what counts.
        let hosts = names.iter().flat_map(|name| accepted::remembered(&observed, name));
        let remembered: BTreeSet<String> = last.into_iter().chain(hosts.map(|(_, commit)| commit.to_owned())).collect();
        let worker = controller.clone();
        let lost = blocking(move || lost(&worker, &remembered, &head)).await?;
        lost.iter().for_each(|lost| out::text(&format!("{lost}\n")));
        let mut hosts = 0;
        for (name, env) in &snapshot.desired.environments {
            hosts += accept(&controller, &snapshot, &observed, name, env).await?;
        }
        controller.accept(&snapshot)?;
        controller.repo.accept_words()?;
        out::text(&format!("commit {} is accepted here and on {hosts} host(s)\n", head.short()));
        Ok(0)
    }
}

/// A host as it is. Here its name is no word about this machine, as it is elsewhere.
async fn accept_host(global: &Global, host: &HostName) -> Result {
    let (controller, snapshot) = Global { host: None, ..global.clone() }.accepted().await?;
    let done = operate::acknowledge::host(&controller, &snapshot, host).await?;
    done.iter().for_each(|said| out::text(&format!("{said}\n")));
    if done.is_empty() {
        out::text(&format!("{host} is as it should be: there was nothing to accept\n"));
    }
    Ok(0)
}

/// What is not in the history of `head` any more, in words.
fn lost(
    controller: &Controller,
    remembered: &BTreeSet<String>,
    head: &CommitId,
) -> std::result::Result<Vec<String>, ControllerError> {
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
async fn accept(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    observed: &Observed,
    name: &EnvName,
    env: &Environment,
) -> Result<usize> {
    let epoch = next_epoch(observed, name)?;
    let site = Site::new(controller.clone(), snapshot.clone(), Arc::new(Wish::default()), None);
    let seen = observed.environments.get(name);
    let remembers = |target: &&Target| {
        let host = seen.and_then(|seen| seen.hosts.get(&target.name));
        matches!(host, Some(HostObserved::Reached(state)) if state.record.accepted.is_some())
    };
    let mut hosts = 0;
    for target in env.targets.iter().filter(remembers) {
        for op in ops(controller, snapshot, epoch, env) {
            let told = site.call(target, op).await;
            told.map_err(|error| CliError::plain(format!("{}: {error}", target.name)))?;
        }
        hosts += 1;
    }
    Ok(hosts)
}

fn ops(controller: &Controller, snapshot: &AcceptedSnapshot, epoch: Epoch, env: &Environment) -> [Op; 2] {
    let who = format!("{}, acknowledge", controller.who);
    let accept = Some(snapshot.commit.to_string());
    [
        Op::Acquire { epoch, who, lease: env.deadline, accept, look: Observe::default() },
        Op::Release { epoch, look: None },
    ]
}
