//! `cancel`, `retry`, `stop`, `start`: what a person tells the hosts directly. The truth that these change is theirs.

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::global::Global;
use super::{CliError, Result, out};
use crate::host::wire::{Cwd, HostError, Means, Observe, Op, Reply};
use crate::model::desired::{Environment, Phase, Target};
use crate::model::ids::{EnvName, Epoch};
use crate::model::observed::{HostObserved, Resolved};
use crate::model::record::{Migration, Stopped};
use crate::plan::forward::migration_key;
use crate::plan::intent::sha_of;
use crate::run::accepted::{AcceptedSnapshot, must_follow_hosts};
use crate::run::commit::known;
use crate::run::controller::{Controller, now};
use crate::run::fill::command;
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::look::reach::ask;
use crate::run::pass::hold::next_epoch;
use crate::run::step::site::{Site, Wish};
use crate::run::step::world::World;

/// Ask a run to stop.
#[derive(Args)]
pub struct Cancel {
    environment: EnvName,
}

/// Try again.
#[derive(Args)]
pub struct Retry {
    environment: EnvName,
    /// What became of a migration that was not seen to finish
    #[arg(long, value_enum)]
    migration: Option<Settled>,
}

/// A person's answer about a migration.
#[derive(Clone, Copy, ValueEnum)]
enum Settled {
    /// It did its work: go on without it
    Done,
    /// It may run again
    Again,
}

/// Stop everything.
#[derive(Args)]
pub struct Stop {
    environment: EnvName,
    #[arg(long, default_value = "stopped by hand")]
    reason: String,
}

/// Start again.
#[derive(Args)]
pub struct Start {
    environment: EnvName,
}

impl Cancel {
    /// Leaves the wish on every host.
    pub async fn run(self, global: &Global) -> Result {
        let (controller, snapshot) = global.accepted().await?;
        let env = known(&snapshot, &self.environment)?;
        let held = observed_holders(&controller, &snapshot, &self.environment).await;
        for target in &env.targets {
            ask(&controller, &snapshot, target, Op::Cancel { by: controller.who.clone() })
                .await
                .map_err(|e| host_error(target, e))?;
        }
        match held.first() {
            Some(who) => out::text(&format!("{who} is asked to stop at its next safe point\n")),
            None => out::text(&format!("nothing runs on {} right now\n", self.environment)),
        }
        Ok(0)
    }
}

async fn observed_holders(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    name: &EnvName,
) -> Vec<String> {
    let look = Look { health: false, drift: Scan::Last };
    let observed = observe(controller, snapshot, std::slice::from_ref(name), look).await;
    let hosts = observed.environments.get(name).map(|seen| seen.hosts.values()).into_iter().flatten();
    hosts
        .filter_map(|host| match host {
            HostObserved::Reached(state) => state.holder.as_ref().map(|holder| holder.who.clone()),
            HostObserved::Unreachable(_) => None,
        })
        .collect()
}

impl Retry {
    /// Lifts what stands against the desired release.
    pub async fn run(self, global: &Global) -> Result {
        let held = Held::acquire(global, &self.environment).await?;
        let sha = held.desired.clone().ok_or_else(|| {
            CliError::plain(format!("{} has no desired commit that could be tried again", self.environment))
        })?;
        let migration = self.migration.map(|settled| match settled {
            Settled::Done => Migration::Done,
            Settled::Again => Migration::Failed,
        });
        // A host that looks after itself and does not migrate: a person has seen the migration done where it is.
        let vouched = migration == Some(Migration::Done) && !held.env.leads();
        let hooks = held.env.hooks_of(Phase::Migrate).filter(|_| vouched);
        let done: Vec<String> = hooks.map(|hook| migration_key(&sha, hook)).collect();
        let mut lifted = 0;
        for target in &held.env.targets {
            let op = Op::Retry { epoch: held.epoch, sha: sha.clone(), migration, done: done.clone() };
            if let Reply::Retried { lifted: n } = held.call(target, op).await? {
                lifted = lifted.max(n);
            }
        }
        held.controller.store.clear_backoff(&self.environment)?;
        held.release().await;
        out::text(&format!("{}: {} may be tried again ({lifted} verdict(s) lifted)\n", self.environment, sha.short()));
        Ok(0)
    }
}

impl Stop {
    /// Maintenance on, then the stop hooks, on every host.
    pub async fn run(self, global: &Global) -> Result {
        let held = Held::acquire(global, &self.environment).await?;
        let by = held.controller.who.clone();
        let stopped = Stopped { reason: self.reason, by, at: now() };
        // Recorded first: nothing is deployed into what is half stopped.
        held.mark(Some(stopped)).await?;
        held.hooks(&[Phase::MaintenanceOn, Phase::Stop]).await?;
        held.release().await;
        out::text(&format!("{} is stopped; start it again: soll start {0}\n", self.environment));
        Ok(0)
    }
}

impl Start {
    /// The start hooks, then maintenance off, on every host.
    pub async fn run(self, global: &Global) -> Result {
        let held = Held::acquire(global, &self.environment).await?;
        held.hooks(&[Phase::Start, Phase::MaintenanceOff]).await?;
        held.mark(None).await?;
        held.release().await;
        out::text(&format!("{} is started\n", self.environment));
        Ok(0)
    }
}

/// An environment whose roots this command holds.
struct Held {
    controller: Arc<Controller>,
    site: Site,
    env: Environment,
    epoch: Epoch,
    desired: Option<crate::model::ids::Sha>,
    live: std::collections::BTreeMap<crate::model::ids::HostName, crate::model::observed::HostState>,
}

impl Held {
    async fn acquire(global: &Global, name: &EnvName) -> Result<Held> {
        let (controller, snapshot) = global.accepted().await?;
        let env = known(&snapshot, name)?.clone();
        let look = Look { health: false, drift: Scan::Last };
        let observed = observe(&controller, &snapshot, std::slice::from_ref(name), look).await;
        // What an older clone, or a rewritten branch, says of its hooks is not what these hosts have acted on.
        must_follow_hosts(&controller, &snapshot, &observed, name)?;
        let seen = observed.environments.get(name).cloned().unwrap_or_default();
        let desired = match &seen.resolved {
            Resolved::Sha(sha) => Some(sha.clone()),
            _ => None,
        };
        let live = seen.hosts.into_iter().filter_map(|(host, seen)| match seen {
            HostObserved::Reached(state) => Some((host, *state)),
            HostObserved::Unreachable(_) => None,
        });
        let site = Site::new(controller.clone(), snapshot, Arc::new(Wish::default()), None);
        let epoch = next_epoch(&observed, name)?;
        let held = Held { controller, site, env, epoch, desired, live: live.collect() };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        for target in &held.env.targets {
            let who = format!("{} pid {}, by hand", held.controller.who, std::process::id());
            loop {
                let (who, lease) = (who.clone(), held.env.deadline);
                let op = Op::Acquire { epoch, who, lease, accept: None, look: Observe::default() };
                match held.site.call(target, op).await {
                    Ok(_) => break,
                    Err(HostError::Locked { .. }) if tokio::time::Instant::now() < deadline => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    Err(error) => return Err(host_error(target, error)),
                }
            }
            held.site.keep(target, held.env.deadline).await.map_err(|e| host_error(target, e))?;
        }
        Ok(held)
    }

    async fn call(&self, target: &Target, op: Op) -> Result<Reply> {
        self.site.call(target, op).await.map_err(|error| host_error(target, error))
    }

    async fn mark(&self, stopped: Option<Stopped>) -> Result<()> {
        for target in &self.env.targets {
            self.call(target, Op::SetStopped { epoch: self.epoch, stopped: stopped.clone() }).await?;
        }
        Ok(())
    }

    /// Runs the hooks of these phases; one that says no is told at the end, the others have run.
    async fn hooks(&self, phases: &[Phase]) -> Result<()> {
        let mut refused = Vec::new();
        for target in &self.env.targets {
            let state = self.live.get(&target.name);
            let release = state.and_then(|state| state.current.release());
            let sha = state.and_then(|state| sha_of(&state.record, release?));
            for hook in phases.iter().flat_map(|phase| self.env.hooks_of(*phase)) {
                let command = command(&self.env, target, (release, sha.as_ref()), &hook.name, &hook.run, hook.timeout);
                let op = Op::Hook { epoch: self.epoch, cwd: Cwd::Current, command, means: Means::Work };
                match self.call(target, op).await? {
                    Reply::Command(result) if result.ok() => out::text(&format!("{}: {}\n", target.name, hook.name)),
                    Reply::Command(result) => {
                        refused.push(format!("`{}` on {}: {}", hook.name, target.name, result.evidence()));
                    }
                    other => refused.push(format!("{} answered {other:?}", target.name)),
                }
            }
        }
        if refused.is_empty() {
            return Ok(());
        }
        Err(CliError::plain(format!("hooks said no: {}", refused.join("; "))))
    }

    async fn release(&self) {
        for target in &self.env.targets {
            // The end of the connection gives it back anyway.
            let _ = self.site.call(target, Op::Release { epoch: self.epoch, look: None }).await;
        }
    }
}

fn host_error(target: &Target, error: HostError) -> CliError {
    let exit = match &error {
        HostError::Connection(_) => 6,
        HostError::Locked { .. } => 5,
        _ => 1,
    };
    CliError::plain(format!("{}: {error}", target.name)).exit(exit)
}
