//! `cancel`, `retry`, `stop`, `start`: what a person tells the hosts directly. The truth that these change is theirs.

use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::apply::worst;
use super::chosen::{Chosen, must_be_said};
use super::global::Global;
use super::{CliError, Result, out};
use crate::host::wire::Op;
use crate::model::desired::Environment;
use crate::model::ids::EnvName;
use crate::model::observed::HostObserved;
use crate::model::record::Migration;
use crate::model::shown::counted;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::commit::known;
use crate::run::controller::Controller;
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::look::reach::ask;
use crate::run::operate::retry::{Lifted, retry};
use crate::run::operate::stop;
use crate::run::pass::journaled::OperateError;

/// Ask a run to stop.
#[derive(Args)]
pub struct Cancel {
    environment: EnvName,
    /// Stop what runs on the hosts, too, instead of waiting for it: TERM, and KILL five seconds later
    #[arg(long)]
    now: bool,
}

/// Try again.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll retry production
  soll retry production --migration done      its work is done, by hand")]
pub struct Retry {
    #[command(flatten)]
    chosen: Chosen,
    /// What became of a migration that failed, or was not seen to finish
    #[arg(long, value_enum)]
    migration: Option<Settled>,
    /// Why, for the record
    #[arg(long)]
    reason: Option<String>,
}

/// A person's answer about a migration.
#[derive(Clone, Copy, ValueEnum)]
enum Settled {
    /// Its work is done, by itself or by hand: go on without it
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
        // The run may be on any of them: one that is away keeps nobody from asking the others.
        let mut unheard = None;
        for target in &env.targets {
            let op = Op::Cancel { by: controller.who.clone(), now: self.now, only: None };
            if let Err(error) = ask(&controller, &snapshot, target, op).await {
                unheard.get_or_insert(OperateError::Host { host: target.name.clone(), error });
            }
        }
        match held.first() {
            Some(who) if self.now => out::text(&format!(
                "{who} is asked to stop at once: what runs on the hosts is stopped, and everything goes back\n"
            )),
            Some(who) => {
                let name = &self.environment;
                out::text(&format!("{who} is asked to stop at its next safe point{}\n", longest(env)));
                out::text(&format!("not to wait for what runs on the hosts: soll cancel {name} --now\n"));
            }
            None => out::text(&format!("nothing is seen to run on {} right now\n", self.environment)),
        }
        unheard.map_or(Ok(0), |error| Err(error.into()))
    }
}

/// How long a hook may be waited for.
fn longest(env: &Environment) -> String {
    let longest = env.hooks.iter().max_by_key(|hook| hook.timeout);
    longest.map_or_else(String::new, |hook| {
        let (phase, limit) = (hook.phase.as_str(), humantime::format_duration(hook.timeout));
        format!(": a hook that runs is waited for, the {phase} hook `{}` for up to {limit}", hook.name)
    })
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
    /// Lifts what stands against the desired releases. An environment whose hosts cannot be had keeps no other one waiting.
    pub async fn run(self, global: &Global) -> Result {
        let choice = must_be_said(self.chosen.choice()?)?;
        let (controller, snapshot) = global.accepted().await?;
        let migration = self.migration.map(|settled| match settled {
            Settled::Done => Migration::Done,
            Settled::Again => Migration::Failed,
        });
        let names = choice.of(&snapshot)?;
        let lift = async |name: &EnvName| {
            let env = known(&snapshot, name)?;
            Ok::<_, CliError>((env, retry(&controller, &snapshot, env, migration, self.reason.clone()).await?))
        };
        if let Some(name) = choice.only() {
            let (env, lifted) = lift(name).await?;
            lifted_is_told(env, &lifted);
            return Ok(0);
        }
        let mut exits = Vec::new();
        for name in &names {
            match lift(name).await {
                // Of many only those are told for which something changed.
                Ok((env, lifted)) if lifted.verdicts > 0 || !lifted.migrations.is_empty() => {
                    lifted_is_told(env, &lifted)
                }
                Ok(_) => {}
                Err(error) => {
                    exits.push(error.exit);
                    error.print();
                }
            }
        }
        let (all, failed) = (counted(names.len() as u64, "environment", "environments"), exits.len());
        out::text(&match failed {
            0 => format!("{all} may be tried again\n"),
            failed => format!("{failed} of {all} could not be had\n"),
        });
        Ok(worst(exits))
    }
}

fn lifted_is_told(env: &Environment, lifted: &Lifted) {
    let (name, sha) = (&env.name, env.release.short(&lifted.sha));
    let verdicts = counted(u64::from(lifted.verdicts), "verdict", "verdicts");
    out::text(&format!("{name}: {sha} may be tried again ({verdicts} lifted)\n"));
    for migration in &lifted.migrations {
        let becomes = if migration.runs { "runs with the next attempt" } else { "is done, and does not run again" };
        out::text(&format!("{name}: the migration `{}` of {sha} {becomes}\n", migration.hook));
    }
}

impl Stop {
    /// Maintenance on, then the stop hooks, then units and services are stopped, on every host.
    pub async fn run(self, global: &Global) -> Result {
        let (controller, snapshot) = global.accepted().await?;
        let env = known(&snapshot, &self.environment)?;
        stop::stop(&controller, &snapshot, env, self.reason, &said).await?;
        out::text(&format!("{} is stopped; start it again: soll start {0}\n", self.environment));
        Ok(0)
    }
}

impl Start {
    /// Units and services run again, then the start hooks, then maintenance off, on every host.
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
