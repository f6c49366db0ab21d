//! Stopping everything by declared hooks and units, and starting it again (D5).

use std::sync::Arc;

use crate::host::wire::activate::{Activated, Deed};
use crate::host::wire::{CommandRole, Cwd, Op, Reply};
use crate::journal::operation::Action;
use crate::model::activation::Activation;
use crate::model::desired::{Environment, Phase, Target};
use crate::model::record::Stopped;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::{Controller, now};
use crate::run::fill::command;
use crate::run::pass::journaled::{Asked, Journal, OperateError, journaled};
use crate::run::pass::roots::Roots;

/// Maintenance on, then the stop hooks, then the units, the last one first, on every host. `say`: told of each hook that has run.
///
/// # Errors
/// A host cannot be had, or a hook says no; the others have run.
pub async fn stop(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
    reason: String,
    say: &(dyn Fn(&str) + Sync),
) -> Result<(), OperateError> {
    let asked = Asked::of(Action::Stop, controller, snapshot, env, Some(reason.clone()));
    journaled(controller, asked, async |journal| {
        let stopped = Stopped { reason, by: controller.who.clone(), at: now() };
        holding(controller, snapshot, env, async |roots| {
            // Recorded first: nothing is deployed into what is half stopped.
            mark(roots, journal, Some(stopped)).await?;
            hooks(roots, journal, &[Phase::MaintenanceOn, Phase::Stop], say).await?;
            units(roots, journal, Deed::Stop, say).await
        })
        .await
    })
    .await
}

/// The units, the start hooks, then maintenance off, on every host.
///
/// # Errors
/// Those of [`stop`].
pub async fn start(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
    reason: Option<String>,
    say: &(dyn Fn(&str) + Sync),
) -> Result<(), OperateError> {
    let asked = Asked::of(Action::Start, controller, snapshot, env, reason);
    journaled(controller, asked, async |journal| {
        holding(controller, snapshot, env, async |roots| {
            not_restoring(roots)?;
            units(roots, journal, Deed::Start, say).await?;
            hooks(roots, journal, &[Phase::Start, Phase::MaintenanceOff], say).await?;
            mark(roots, journal, None).await
        })
        .await
    })
    .await
}

/// Data that are neither the old nor the new ones are not started on.
fn not_restoring(roots: &Roots<'_>) -> Result<(), OperateError> {
    let env = &roots.env.name;
    let states = roots.env.targets.iter().filter_map(|target| roots.taken(&target.name));
    match states.filter_map(|state| state.record.restoring.as_ref()).next() {
        None => Ok(()),
        Some(restoring) => Err(OperateError::Refused(format!(
            "the restore of {} did not come to its end, and its data are neither the old nor the new ones: go on with \
             {}",
            restoring.backup,
            restoring.way_on(env)
        ))),
    }
}

async fn holding(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
    work: impl AsyncFnOnce(&Roots<'_>) -> Result<(), OperateError>,
) -> Result<(), OperateError> {
    let roots = Roots::take(controller, snapshot, env, "by hand").await?;
    let done = work(&roots).await;
    roots.release().await;
    done
}

pub(super) async fn mark(roots: &Roots<'_>, journal: &Journal, stopped: Option<Stopped>) -> Result<(), OperateError> {
    let word = if stopped.is_some() { "stopped" } else { "started" };
    for target in &roots.env.targets {
        let op = Op::SetStopped { epoch: roots.epoch, stopped: stopped.clone() };
        let step = format!("{word}:{}", target.name);
        journal.step(&step, Some(&target.name), |_| String::new(), roots.call(target, op)).await?;
    }
    Ok(())
}

/// Runs the hooks of these phases; one that says no is told at the end, the others have run.
pub(super) async fn hooks(
    roots: &Roots<'_>,
    journal: &Journal,
    phases: &[Phase],
    say: &(dyn Fn(&str) + Sync),
) -> Result<(), OperateError> {
    let mut refused = Vec::new();
    for target in &roots.env.targets {
        let state = roots.state(&target.name);
        let release = state.and_then(|state| state.current.release());
        let sha = state.and_then(|state| state.sha_of(release?).cloned());
        for hook in phases.iter().flat_map(|phase| roots.env.hooks_of(*phase)) {
            let command = command(roots.env, target, (release, sha.as_ref()), &hook.name, &hook.run, hook.timeout);
            let op = Op::Hook { epoch: roots.epoch, cwd: Cwd::Current, command, means: CommandRole::Work };
            let step = format!("hook:{}:{}", target.name, hook.name);
            let ran = run_hook(roots, target, &hook.name, op);
            match journal.step(&step, Some(&target.name), String::clone, ran).await {
                Ok(_) => say(&format!("{}: {}", target.name, hook.name)),
                Err(OperateError::Refused(why)) => refused.push(why),
                Err(error) => return Err(error),
            }
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    Err(OperateError::Refused(format!("hooks said no: {}", refused.join("; "))))
}

/// Stops or starts the units of every host; one that says no is told at the end, the others were told to.
pub(super) async fn units(
    roots: &Roots<'_>,
    journal: &Journal,
    deed: Deed,
    say: &(dyn Fn(&str) + Sync),
) -> Result<(), OperateError> {
    let mut refused = Vec::new();
    for target in &roots.env.targets {
        let activation = Activation::of(roots.env, target);
        if activation.is_empty() {
            continue;
        }
        let op = Op::Activate { epoch: roots.epoch, activation, deed };
        let step = format!("activate:{}", target.name);
        match journal.step(&step, Some(&target.name), String::clone, run_units(roots, target, op)).await {
            Ok(told) => say(&format!("{}: {told}", target.name)),
            Err(OperateError::Refused(why)) => refused.push(why),
            Err(error) => return Err(error),
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    Err(OperateError::Refused(format!("units or services said no: {}", refused.join("; "))))
}

async fn run_units(roots: &Roots<'_>, target: &Target, op: Op) -> Result<String, OperateError> {
    match roots.call(target, op).await? {
        Reply::Activated(Activated { told, failed: None }) => Ok(told.join("; ")),
        Reply::Activated(Activated { failed: Some(failed), .. }) => {
            let lines = match failed.journal.is_empty() {
                true => String::new(),
                false => format!("\n{}", failed.journal),
            };
            Err(OperateError::Refused(format!("{} on {}: {}{lines}", failed.unit, target.name, failed.why)))
        }
        other => Err(OperateError::Refused(format!("{} answered {other:?}", target.name))),
    }
}

async fn run_hook(roots: &Roots<'_>, target: &Target, name: &str, op: Op) -> Result<String, OperateError> {
    match roots.call(target, op).await? {
        Reply::Command(result) if result.ok() => Ok(result.told()),
        Reply::Command(result) => {
            Err(OperateError::Refused(format!("`{name}` on {}: {}", target.name, result.evidence())))
        }
        other => Err(OperateError::Refused(format!("{} answered {other:?}", target.name))),
    }
}
