//! `cancel`, `retry`, `stop`, `start`: what a person tells the hosts directly. The truth that these change is theirs.

use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::global::Global;
use super::{Result, out};
use crate::host::wire::Op;
use crate::model::ids::EnvName;
use crate::model::observed::HostObserved;
use crate::model::record::Migration;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::commit::known;
use crate::run::controller::Controller;
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::look::reach::ask;
use crate::run::operate::journaled::OperateError;
use crate::run::operate::retry::retry;
use crate::run::operate::stop;

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
    /// Why, for the record
    #[arg(long)]
    reason: Option<String>,
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
    /// Why: shown to whoever wants to deploy meanwhile, and kept for the record
    #[arg(long, default_value = "stopped by hand")]
    reason: String,
}

/// Start again.
#[derive(Args)]
pub struct Start {
    environment: EnvName,
    /// Why, for the record
    #[arg(long)]
    reason: Option<String>,
}

impl Cancel {
    /// Leaves the wish on every host.
    pub async fn run(self, global: &Global) -> Result {
        let (controller, snapshot) = global.accepted().await?;
        let env = known(&snapshot, &self.environment)?;
        let held = observed_holders(&controller, &snapshot, &self.environment).await;
        for target in &env.targets {
            let told = ask(&controller, &snapshot, target, Op::Cancel { by: controller.who.clone() }).await;
            told.map_err(|error| OperateError::Host { host: target.name.clone(), error })?;
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
        let (controller, snapshot) = global.accepted().await?;
        let env = known(&snapshot, &self.environment)?;
        let migration = self.migration.map(|settled| match settled {
            Settled::Done => Migration::Done,
            Settled::Again => Migration::Failed,
        });
        let lifted = retry(&controller, &snapshot, env, migration, self.reason).await?;
        let (name, sha, verdicts) = (&self.environment, lifted.sha.short(), lifted.verdicts);
        out::text(&format!("{name}: {sha} may be tried again ({verdicts} verdict(s) lifted)\n"));
        Ok(0)
    }
}

impl Stop {
    /// Maintenance on, then the stop hooks, on every host.
    pub async fn run(self, global: &Global) -> Result {
        let (controller, snapshot) = global.accepted().await?;
        let env = known(&snapshot, &self.environment)?;
        stop::stop(&controller, &snapshot, env, self.reason, &said).await?;
        out::text(&format!("{} is stopped; start it again: soll start {0}\n", self.environment));
        Ok(0)
    }
}

impl Start {
    /// The start hooks, then maintenance off, on every host.
    pub async fn run(self, global: &Global) -> Result {
        let (controller, snapshot) = global.accepted().await?;
        let env = known(&snapshot, &self.environment)?;
        stop::start(&controller, &snapshot, env, self.reason, &said).await?;
        out::text(&format!("{} is started\n", self.environment));
        Ok(0)
    }
}

/// A hook has run.
fn said(line: &str) {
    out::text(&format!("{line}\n"));
}
