//! A person's word that what failed may be tried again, and on what became of its migrations.

use std::sync::Arc;

use crate::host::wire::{Op, Reply};
use crate::journal::operation::Action;
use crate::model::desired::{Environment, Phase};
use crate::model::ids::Sha;
use crate::model::observed::Resolved;
use crate::model::record::Migration;
use crate::model::shown::counted;
use crate::plan::forward::migration_key;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::{Controller, ControllerError};
use crate::run::pass::journaled::{Asked, Journal, OperateError, journaled};
use crate::run::pass::roots::Roots;

/// What was lifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifted {
    pub sha: Sha,
    /// How many verdicts stood against it, on the host that had the most.
    pub verdicts: u32,
    /// What the word on its migrations comes to, for each hook that migrates; empty where none was said.
    pub migrations: Vec<Settled>,
}

/// What becomes of one migration at the next attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The name of the hook.
    pub hook: String,
    pub runs: bool,
}

/// Lifts what stands against the desired release. `migration`: what became of those that said no, or were not seen to
/// finish.
///
/// # Errors
/// A host cannot be had, nothing is desired, or nothing was begun of what is said to be done.
pub async fn retry(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
    migration: Option<Migration>,
    reason: Option<String>,
) -> Result<Lifted, OperateError> {
    let asked = Asked::of(Action::Retry, controller, snapshot, env, reason);
    journaled(controller, asked, async |journal| {
        let roots = Roots::take(controller, snapshot, env, "by hand").await?;
        let lifted = match lift(&roots, journal, migration).await {
            Ok(lifted) => {
                let name = env.name.clone();
                let cleared = controller.beside(move |controller| controller.store.clear_backoff(&name)).await;
                cleared.and_then(|cleared| Ok(cleared?)).map(|()| lifted).map_err(OperateError::from)
            }
            Err(error) => Err(error),
        };
        roots.release().await;
        lifted
    })
    .await
}

async fn lift(roots: &Roots<'_>, journal: &Journal, migration: Option<Migration>) -> Result<Lifted, OperateError> {
    let env = roots.env;
    let Resolved::Sha(sha) = &roots.seen.resolved else {
        let why = format!("{} has no desired commit that could be tried again", env.name);
        return Err(ControllerError::Other(why).into());
    };
    // A host that looks after itself and does not migrate: a person has seen the migration done where it is.
    let vouched = migration == Some(Migration::Done) && !env.leads();
    let hooks = env.hooks_of(Phase::Migrate).filter(|_| vouched);
    let done: Vec<String> = hooks.map(|hook| migration_key(sha, hook)).collect();
    let migrations = match migration {
        Some(word) => settled(roots, sha, word, vouched)?,
        None => Vec::new(),
    };
    let mut verdicts = 0;
    for target in &env.targets {
        let op = Op::Retry { epoch: roots.epoch, sha: sha.clone(), migration, done: done.clone() };
        let lifted = |reply: &Reply| match reply {
            Reply::Retried { lifted } => *lifted,
            _ => 0,
        };
        let told = |reply: &Reply| counted(u64::from(lifted(reply)), "verdict", "verdicts");
        let note = |reply: &Reply| format!("{} of {} lifted", told(reply), env.release.short(sha));
        let step = format!("retry:{}", target.name);
        let reply = journal.step(&step, Some(&target.name), note, roots.call(target, op)).await?;
        verdicts = verdicts.max(lifted(&reply));
    }
    Ok(Lifted { sha: sha.clone(), verdicts, migrations })
}

/// What a word about the migrations of `sha` comes to. A word is about what was begun: a migration that never was, also
/// because the hook has another command by now, runs with the next attempt, and whoever believed it done hears it first.
fn settled(roots: &Roots<'_>, sha: &Sha, word: Migration, vouched: bool) -> Result<Vec<Settled>, OperateError> {
    let env = roots.env;
    let known = |key: &str| {
        let states = env.targets.iter().filter_map(|target| roots.state(&target.name));
        let all: Vec<_> = states.filter_map(|state| state.record.migrations.get(key).copied()).collect();
        let is_done = all.contains(&Migration::Done) || (!all.is_empty() && word == Migration::Done);
        (!all.is_empty(), is_done || vouched)
    };
    let hooks: Vec<_> = env.hooks_of(Phase::Migrate).map(|hook| (hook, known(&migration_key(sha, hook)))).collect();
    let (name, short) = (&env.name, env.release.short(sha));
    if word == Migration::Done && !hooks.iter().any(|(_, (begun, done))| *begun || *done) {
        let why = match hooks.is_empty() {
            true => format!("{name} has no migrate hook, so there is no migration of {short} to call done"),
            false => format!(
                "no migration of {short} was begun in {name} as it is configured now, so there is none to call done; \
                 nothing was lifted, and the next apply runs it"
            ),
        };
        return Err(OperateError::Refused(format!("{why}. To lift the verdicts alone: soll retry {name}")));
    }
    Ok(hooks.into_iter().map(|(hook, (_, done))| Settled { hook: hook.name.clone(), runs: !done }).collect())
}
