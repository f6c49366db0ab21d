//! A person's word about a host: it is taken as it is from now on.

use std::sync::Arc;

use futures_util::future::join_all;

use crate::host::wire::{HostError, Op, Reply};
use crate::journal::operation::Action;
use crate::model::desired::{Environment, Target};
use crate::model::epochs::implausible;
use crate::model::ids::{Digest, EnvName, Epoch, HostName};
use crate::model::machine::{self, Machine, OtherMachine};
use crate::model::observed::HostState;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::{Controller, ControllerError, now};
use crate::run::look::observe::{Scan, question};
use crate::run::look::reach::ask;
use crate::run::pass::journaled::{Asked, OperateError, journaled};

/// A host that a person looks at, in every environment that has it.
pub struct Acknowledged<'a> {
    controller: &'a Arc<Controller>,
    snapshot: &'a Arc<AcceptedSnapshot>,
    name: &'a HostName,
    roots: Vec<(&'a Environment, &'a Target, HostState)>,
}

/// Another machine than the one that was known.
pub struct Changed {
    /// What was known of it: by this controller, and by the record of each root.
    pub others: Vec<(Option<EnvName>, OtherMachine)>,
    /// The one that answers; `None`: it has no machine id.
    found: Option<Digest>,
}

impl<'a> Acknowledged<'a> {
    /// Looks at it.
    ///
    /// # Errors
    /// No environment has this host, or it does not answer.
    pub async fn look(
        controller: &'a Arc<Controller>,
        snapshot: &'a Arc<AcceptedSnapshot>,
        name: &'a HostName,
    ) -> Result<Acknowledged<'a>, OperateError> {
        let mut roots = Vec::new();
        for env in snapshot.desired.environments.values() {
            let Some(target) = env.targets.iter().find(|target| target.name == *name) else { continue };
            let state = state(controller, snapshot, env, target).await.map_err(|error| failed(name, error))?;
            roots.push((env, target, state));
        }
        if roots.is_empty() {
            let hosts = snapshot.desired.hosts();
            let known = hosts.into_iter().map(HostName::as_str).collect::<Vec<_>>().join(", ");
            return Err(ControllerError::NoHost { host: name.clone(), known }.into());
        }
        Ok(Acknowledged { controller, snapshot, name, roots })
    }

    /// Whether it is another machine than the one that is known.
    ///
    /// # Errors
    /// What is known cannot be read, or two machines answered.
    pub async fn changed(&self) -> Result<Option<Changed>, ControllerError> {
        let found = self.roots.first().and_then(|(_, _, state)| state.machine);
        if self.roots.iter().any(|(_, _, state)| state.machine != found) {
            let why =
                format!("two machines answered as {}, one after the other: look at what answers there", self.name);
            return Err(ControllerError::Other(why));
        }
        let known = self.controller.machines(vec![self.name.clone()]).await?;
        let here = machine::judge(known.get(self.name), None, found).err().map(|other| (None, other));
        let there = self.roots.iter().filter_map(|(env, _, state)| {
            let other = machine::judge(None, state.record.machine.as_ref(), found).err()?;
            Some((Some(env.name.clone()), other))
        });
        let others: Vec<_> = here.into_iter().chain(there).collect();
        Ok((!others.is_empty()).then_some(Changed { others, found }))
    }

    /// Takes it as it is: another machine where a person has seen that, and an epoch that cannot be true set back to where
    /// the others are. Gives what was done, as sentences.
    ///
    /// # Errors
    /// It is yet another machine by now, does not answer, or somebody holds one of its roots.
    pub async fn accept(&self, changed: Option<&Changed>, reason: Option<String>) -> Result<Vec<String>, OperateError> {
        let asked = Asked {
            action: Action::Acknowledge,
            environment: None,
            hosts: vec![self.name.clone()],
            commit: self.snapshot.commit.to_string(),
            actor: self.controller.who.clone(),
            reason: reason.unwrap_or_default(),
        };
        journaled(self.controller, asked, async |journal| {
            let mut said = Vec::new();
            if let Some(changed) = changed {
                let done = self.take(changed);
                said.push(journal.step("machine", Some(self.name), String::clone, done).await?);
            }
            for (env, target, _) in &self.roots {
                let failed = |error: HostError| failed(self.name, error);
                if let Some((have, to)) = recount(self.controller, self.snapshot, env, target).await.map_err(failed)? {
                    let done = async {
                        let op = Op::Recount { who: self.who(), have, to };
                        ask(self.controller, self.snapshot, target, op).await.map_err(failed)?;
                        Ok(format!("{}: the epoch of {} was {}, and is {} now", env.name, self.name, have.0, to.0))
                    };
                    let step = format!("recount:{}", env.name);
                    said.push(journal.step(&step, Some(self.name), String::clone, done).await?);
                }
            }
            Ok(said)
        })
        .await
    }

    /// It is the machine that answers from now on, on its roots and then here: whoever is stopped half way is asked again.
    async fn take(&self, changed: &Changed) -> Result<String, OperateError> {
        let found = changed.found;
        for (env, target, _) in &self.roots {
            if changed.others.iter().any(|(of, _)| of.as_ref() == Some(&env.name)) {
                let op = Op::Repin { who: self.who(), machine: found };
                let told = ask(self.controller, self.snapshot, target, op).await;
                told.map_err(|error| failed(self.name, error))?;
            }
        }
        let (name, at) = (self.name.clone(), now());
        self.controller
            .beside(move |controller| {
                let machine = found.map(|id| Machine { id, since: at });
                controller.store.set_machine(&controller.hosts_key(), &name, machine.as_ref())
            })
            .await?
            .map_err(ControllerError::from)?;
        Ok(match found {
            Some(found) => format!("{} is machine {} from now on", self.name, found.short()),
            None => format!("{} has no machine id: the next one that has is taken for it", self.name),
        })
    }

    fn who(&self) -> String {
        format!("{}, acknowledge", self.controller.who)
    }
}

fn failed(name: &HostName, error: HostError) -> OperateError {
    OperateError::Host { host: name.clone(), error }
}

async fn state(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
    target: &Target,
) -> Result<HostState, HostError> {
    match ask(controller, snapshot, target, Op::Observe(question(env, Scan::Last))).await? {
        Reply::State(state) => Ok(*state),
        _ => Err(HostError::Io("the host answered an observation with something else".to_owned())),
    }
}

/// The epoch of a root, and the one that it should have instead; `None`: it is one that can be true.
async fn recount(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
    target: &Target,
) -> Result<Option<(Epoch, Epoch)>, HostError> {
    let epoch = async |target: &Target| Ok(state(controller, snapshot, env, target).await?.record.epoch);
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
