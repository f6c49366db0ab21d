//! `soll apply`: once, like cron: until everything that was asked for is as desired, or something stops it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::chosen::Chosen;
use super::daemon::StopSignals;
use super::global::{Global, Output, blocking};
use super::{CliError, Result, out, progress, screen};
use crate::journal::RunResult;
use crate::journal::notice::Notice;
use crate::model::format::{Form, Unreadable};
use crate::model::ids::{Digest, EnvName};
use crate::plan::{self, render::why};
use crate::run::accepted::AcceptedSnapshot;
use crate::run::commit::must_be_of_this_commit;
use crate::run::controller::{Controller, Snapshot};
use crate::run::look::observe::Left;
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::look::track;
use crate::run::pass::backup::due as backup;
use crate::run::pass::outcome::Outcome;
use crate::run::pass::reconcile::Pass;
use crate::run::step::stop_request::StopRequest;
use crate::run::step::world::Interruption;
use crate::run::width::Width;
use crate::store::Store;

/// An environment that is still not settled after so many runs will not be.
const ROUNDS: usize = 5;
/// So many environments at once.
const WIDTH: usize = 16;
/// How long an explicit apply waits for whoever holds a root (contract 1.2).
const PATIENCE: Duration = Duration::from_secs(10);

/// Work until converged.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll apply                                  all environments
  soll apply production
  soll apply --plan plan.json                 what that plan says, or nothing")]
pub struct Apply {
    #[command(flatten)]
    pub(super) chosen: Chosen,
    /// Do exactly what this saved plan says, or nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["environments", "app", "template", "all"])]
    pub(super) plan: Option<PathBuf>,
    /// Pull mode: where others publish what they see (may be repeated)
    #[arg(long, value_name = "FILE|URL")]
    pub(super) observation: Vec<String>,
}

/// What became of one environment.
struct Done {
    name: EnvName,
    outcome: Outcome,
    /// The last run, where there was one.
    ran: Option<Outcome>,
}

impl Apply {
    /// Applies and prints.
    pub async fn run(self, global: &Global) -> Result {
        let (controller, mut snapshot) = global.newest(&self.observation).await?;
        interrupt_dead(&controller.store);
        if self.plan.is_none() && follow(&controller, &snapshot).await? {
            snapshot = global.newest(&self.observation).await?.1;
        }
        let keeper = (controller.clone(), snapshot.clone());
        blocking(move || keeper.0.accept(&keeper.1)).await?;
        let only = match &self.plan {
            Some(path) => Some(saved(path)?),
            None => None,
        };
        let wanted = match &only {
            Some(saved) => saved.environments.iter().map(|env| env.name.clone()).collect(),
            None => self.chosen.names(&snapshot)?,
        };
        // Whoever asks for everything gets what is good, and hears of the rest by the exit code.
        let all = only.is_none() && self.chosen.clone().choice()?.is_everything();
        if !all {
            must_be_of_this_commit(&snapshot, &wanted)?;
        }
        if let Some(saved) = &only
            && let Some(stale) = stale(&controller, &snapshot, saved).await?
        {
            return Err(CliError::plain(stale).hint("make the plan again and have it reviewed").exit(8));
        }
        let wish = Arc::new(StopRequest::default());
        let (stop, who, mut signals) = (wish.clone(), controller.who.clone(), StopSignals::hear());
        tokio::spawn(async move {
            signals.next().await;
            stop.say(Interruption::Terminating);
            signals.next_again(|| stop.stop_now(&who)).await;
        });
        let listener = progress::listener()?;
        let tasks: Vec<_> = wanted
            .into_iter()
            .map(|name| {
                let only = only.as_ref().and_then(|plan| fingerprint(plan, &name));
                let listener = Some(listener.clone());
                let pass = Pass {
                    controller: controller.clone(),
                    snapshot: snapshot.clone(),
                    wish: wish.clone(),
                    listener,
                    patience: PATIENCE,
                    only,
                    samples: true,
                    tends: false,
                };
                converge(pass, name)
            })
            .collect();
        let mut done: Vec<Done> = Width::new(WIDTH).all(tasks).await;
        done.sort_by(|a, b| a.name.cmp(&b.name));
        // A saved plan says all that is to be done.
        let saved = if only.is_none() { save(&controller, &snapshot, &done).await } else { Vec::new() };
        print(global, &snapshot, &done, &saved);
        let held = u8::from(snapshot.held.is_some() && all);
        Ok(worst(done.iter().map(Done::exit).chain(saved.iter().map(Saved::exit)).chain([held])))
    }
}

/// A backup that was due.
struct Saved {
    environment: EnvName,
    done: backup::Done,
}

impl Saved {
    fn exit(&self) -> u8 {
        match &self.done.result {
            Ok(_) => 0,
            Err(error) if backup::is_busy(error) => 5,
            Err(error) => error.result().exit(),
        }
    }
}

/// Makes the backups that are due, as the daemon does (F2).
async fn save(controller: &Arc<Controller>, snapshot: &Arc<AcceptedSnapshot>, done: &[Done]) -> Vec<Saved> {
    let mut saved = Vec::new();
    for Done { name, .. } in done {
        let Some(env) = snapshot.desired.environments.get(name).filter(|env| !env.backups.is_empty()) else { continue };
        let say = |line: &str| screen::line(&format!("{name}: {line}"));
        let (made, notices) = backup::due(controller, snapshot, env, PATIENCE, &say).await;
        for notice in notices.iter().filter(|notice| matches!(notice, Notice::BackupOverdue { .. })) {
            screen::line(&format!("soll: {}", notice.text()));
        }
        saved.extend(made.into_iter().map(|done| Saved { environment: name.clone(), done }));
    }
    saved
}

impl Done {
    /// What a run ended with counts more than the look after it.
    fn exit(&self) -> u8 {
        // Nothing newer supersedes an `apply`: it was told to end before it was done.
        let ended = matches!(self.outcome, Outcome::Ran { result: RunResult::Superseded, .. });
        worst([u8::from(ended), self.outcome.exit(), self.ran.as_ref().map_or(0, Outcome::exit)])
    }
}

/// The first of 8, 1, 3, 6, 7, 5, 4, 0 that applies (contract 1.2).
pub fn worst(exits: impl IntoIterator<Item = u8>) -> u8 {
    let rank = |exit: &u8| [8, 1, 3, 6, 7, 5, 4, 0].iter().position(|e| e == exit).unwrap_or(1);
    exits.into_iter().min_by_key(rank).unwrap_or(0)
}

async fn converge(pass: Pass, name: EnvName) -> Done {
    let (mut ran, mut left) = (None, Left::new());
    for _ in 0..ROUNDS {
        let mut outcome = pass.environment(&name, &std::mem::take(&mut left)).await;
        if let Outcome::Ran { result: RunResult::Succeeded, left: seen, .. } = &mut outcome {
            left = std::mem::take(seen);
        }
        let again = match &outcome {
            Outcome::Ran { result: RunResult::Succeeded, .. } => true,
            Outcome::Ran { stale, .. } => *stale,
            _ => false,
        };
        if !again {
            // A saved plan is used up by its own run: that the world has moved since is its success.
            let used = ran.is_some() && matches!(outcome, Outcome::Stale(_));
            let outcome = if used { Outcome::Converged { healthy: None } } else { outcome };
            // A daemon that shares this history need not wait any longer.
            if matches!(outcome, Outcome::Converged { .. }) {
                let of = name.clone();
                let cleared = pass.controller.beside(move |controller| controller.store.clear_backoff(&of));
                if let Err(error) = cleared
                    .await
                    .map_err(|error| error.to_string())
                    .and_then(|done| done.map_err(|error| error.to_string()))
                {
                    tracing::warn!(error, "the backoff could not be cleared");
                }
            }
            return Done { name, outcome, ran };
        }
        let stale = matches!(outcome, Outcome::Ran { stale: true, .. });
        ran = (!stale).then_some(outcome);
    }
    let message = format!("{name} does not settle: {ROUNDS} runs succeeded and something is still out of sync");
    Done { outcome: Outcome::Error { unreachable: false, message }, ran, name }
}

/// Runs whose controller died are closed in the history; what to do about them, the hosts say.
pub fn interrupt_dead(store: &Store) {
    match store.interrupt_dead(crate::run::controller::now()) {
        Ok(rows) => rows.iter().for_each(|row| tracing::warn!(run = %row.run, "this run was interrupted")),
        Err(error) => tracing::warn!(%error, "interrupted runs could not be looked for"),
    }
}

/// Moves environments that track a branch. Gives whether something was committed.
async fn follow(controller: &Arc<Controller>, snapshot: &Arc<AcceptedSnapshot>) -> Result<bool> {
    let mut moved = false;
    for notice in track::follow(controller, snapshot).await {
        match notice {
            Notice::Followed { .. } => {
                moved = true;
                screen::line(&notice.text());
            }
            Notice::CannotFollow { .. } => screen::line(&format!("soll: {}", notice.text())),
            _ => {}
        }
    }
    Ok(moved)
}

/// Reads a saved plan.
pub fn saved(path: &std::path::Path) -> Result<plan::Plan> {
    let at = path.display();
    let bytes = std::fs::read(path).map_err(|error| CliError::plain(format!("cannot read the plan {at}: {error}")))?;
    const FORM: Form = Form { known: plan::SCHEMA as u64, unsaid: None };
    FORM.read(&bytes).map_err(|error| match error {
        Unreadable::Newer { .. } => CliError::plain(format!("the plan {at} cannot be read here: {error}"))
            .hint("or make the plan again")
            .exit(8),
        Unreadable::Damaged(error) => CliError::plain(format!("{at} is no saved plan: {error}")),
    })
}

fn fingerprint(plan: &plan::Plan, name: &EnvName) -> Option<Digest> {
    plan.environments.iter().find(|env| env.name == *name).map(|env| env.fingerprint)
}

/// All or nothing: the reason why the plan is not what would be done now.
async fn stale(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    saved: &plan::Plan,
) -> Result<Option<String>> {
    let commit = saved.commit.parse()?;
    let (repo, head) = (controller.repo.clone(), snapshot.commit);
    let checked = tokio::task::spawn_blocking(move || repo.check_order(&commit, &head)).await;
    let on_branch = matches!(checked, Ok(Ok(_)));
    if !on_branch {
        let branch = controller.repo.branch();
        return Ok(Some(format!("commit {} of the saved plan is not on the accepted branch {branch}", saved.commit)));
    }
    let wanted: Vec<_> = saved.environments.iter().map(|env| env.name.clone()).collect();
    let observed = observe(controller, snapshot, &wanted, Look { health: false, drift: Scan::Last }).await;
    let fresh = crate::run::planned::planned(controller, snapshot, &wanted, &observed, Some(snapshot.secrets()));
    for env in &saved.environments {
        if fingerprint(&fresh, &env.name) != Some(env.fingerprint) {
            return Ok(Some(format!(
                "the saved plan is stale: {} is not what it was when the plan was made",
                env.name
            )));
        }
    }
    Ok(None)
}

fn print(global: &Global, snapshot: &Snapshot, done: &[Done], saved: &[Saved]) {
    if global.output == Output::Json {
        let environments: Vec<_> = done.iter().map(as_json).collect();
        let mut all = json!({ "commit": snapshot.commit.to_string(), "environments": environments });
        if !saved.is_empty() {
            let backup = |saved: &Saved| {
                let (environment, done) = (&saved.environment, &saved.done);
                let told = done.result.as_ref().map_or_else(ToString::to_string, Clone::clone);
                let what = if done.is_test { "restore-test" } else { "backup" };
                json!({ "name": done.job, "what": what, "environment": environment, "good": done.result.is_ok(), "message": told })
            };
            all["backups"] = saved.iter().map(backup).collect();
        }
        out::json(&all);
        return;
    }
    for done in done {
        out::text(&format!("{}: {}\n", done.name, sentence(done)));
    }
    for Saved { environment, done } in saved {
        let told = match &done.result {
            Ok(told) => told.clone(),
            Err(error) => format!("failed: {error}"),
        };
        let what = if done.is_test { "restore test" } else { "backup" };
        out::text(&format!("{environment}: {what} {}: {told}\n", done.job));
    }
}

fn sentence(done: &Done) -> String {
    let last = done.ran.as_ref().unwrap_or(&done.outcome);
    match (&done.outcome, last) {
        (Outcome::Converged { .. }, Outcome::Ran { run, result, .. }) => format!("{} (run {run})", result.as_str()),
        (Outcome::Converged { healthy: Some(false) }, _) => "in sync, but not healthy".to_owned(),
        (Outcome::Converged { .. }, _) => "in sync".to_owned(),
        (other, _) => describe(other),
    }
}

/// An outcome in words, with the next move.
pub fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Converged { healthy: Some(false) } => "in sync, but not healthy".to_owned(),
        Outcome::Converged { .. } => "in sync".to_owned(),
        Outcome::Ran { run, result, reason, .. } if reason.is_empty() => format!("{} (run {run})", result.as_str()),
        Outcome::Ran { run, result, reason, .. } => {
            format!("{}: {reason}\n  see the whole run: soll show {run}", result.as_str())
        }
        Outcome::Blocked(plan) => why::why(plan).trim_end().to_owned(),
        Outcome::Locked { root, host, holder } => {
            let age = crate::run::controller::now().duration_since(holder.since);
            format!(
                "locked: {root} on {host} is held by {} for {age:#}\n  wait for it, or stop it there: kill {}",
                holder.who, holder.pid
            )
        }
        Outcome::Stale(_) => "stale: what would be done now is not what was planned".to_owned(),
        Outcome::Error { message, .. } | Outcome::Refused { message } => message.clone(),
        Outcome::Waiting { until, reason } => format!("waits until {until} after an error: {reason}"),
    }
}

fn as_json(done: &Done) -> serde_json::Value {
    let last = done.ran.as_ref().unwrap_or(&done.outcome);
    let (run, result, reason) = match last {
        Outcome::Ran { run, result, reason, .. } => (Some(run.to_string()), Some(result.as_str()), reason.clone()),
        _ => (None, None, String::new()),
    };
    let (outcome, blockers) = match &done.outcome {
        Outcome::Converged { .. } => ("converged", None),
        Outcome::Ran { .. } => ("ran", None),
        Outcome::Blocked(plan) => ("blocked", Some(plan.blockers.clone())),
        Outcome::Locked { .. } => ("locked", None),
        Outcome::Stale(_) => ("stale", None),
        Outcome::Error { .. } => ("error", None),
        Outcome::Refused { .. } => ("refused", None),
        Outcome::Waiting { .. } => ("waiting", None),
    };
    let message = sentence(done);
    json!({
        "name": done.name, "outcome": outcome, "exit": done.exit(), "run": run, "result": result, "reason": reason,
        "message": message, "blockers": blockers,
    })
}
