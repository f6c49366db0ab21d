//! `soll restore`: the data of an environment as a backup has them, into a place of their own or where they came from.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::global::{Global, Output};
use super::{CliError, Result, apply, out, screen};
use crate::model::backup::name::{BackupName, Content};
use crate::model::backup::proof::Outcome;
use crate::model::desired::{Backup, Environment};
use crate::model::ids::EnvName;
use crate::model::shown::shell_word;
use crate::run::commit::known;
use crate::run::operate::restore::{At, Plan, Restored, Wish, named, plan};
use crate::run::pass::backup::prove::{Trying, prove};

/// How long an explicit command waits for whoever holds a root (contract 1.2).
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A restore.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll restore production --dry-run           every step
  soll restore production --at daily/20261130_010000
  soll restore production --at 2026-11-30T12:00:00Z --database-only
  soll restore production --to-scratch        beside what is live")]
pub struct Restore {
    environment: EnvName,
    /// This backup, as `soll backup list` calls it, or the newest one from then or earlier [default: the newest one; of a
    /// restore that broke off: the same]
    #[arg(long, value_name = "KIND/TIME|TIME", value_parser = at)]
    at: Option<At>,
    /// Of this job, as `[backups.NAME]` calls it [default: the only one]
    #[arg(long, value_name = "NAME")]
    backup: Option<String>,
    /// Leave files as they are
    #[arg(long, conflicts_with = "files_only")]
    database_only: bool,
    /// Leave databases as they are
    #[arg(long)]
    files_only: bool,
    /// Into a place of its own on the same host, to look at: nothing that is live is touched
    #[arg(long)]
    to_scratch: bool,
    /// Only show every step
    #[arg(long, conflicts_with = "to_scratch")]
    dry_run: bool,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
    /// Also where nobody can say whether the backup is what it should be
    #[arg(long)]
    unproven: bool,
    /// Without saving first what is there: it is broken, and cannot be saved
    #[arg(long)]
    without_safety: bool,
    /// It was tried just now.
    #[arg(skip)]
    tried: bool,
    /// Why, for the record
    #[arg(long, default_value = "by hand")]
    reason: String,
}

fn at(text: &str) -> std::result::Result<At, String> {
    if let Ok(name) = text.parse::<BackupName>() {
        return Ok(At::Name(name));
    }
    text.parse::<Timestamp>().map(At::Time).map_err(|_| {
        "a backup as `soll backup list` calls it (daily/20261130_010000), or a time (2026-11-30T01:00:00Z)".to_owned()
    })
}

impl Restore {
    /// The databases alone, from this backup of this job; whoever asks has been asked, and has tried it.
    pub(super) fn of_databases(environment: EnvName, name: BackupName, job: String, reason: String) -> Restore {
        Restore {
            environment,
            at: Some(At::Name(name)),
            backup: Some(job),
            database_only: true,
            files_only: false,
            to_scratch: false,
            dry_run: false,
            yes: true,
            unproven: false,
            without_safety: false,
            tried: true,
            reason,
        }
    }

    /// Asks, and restores.
    pub async fn run(self, global: &Global) -> Result {
        let (controller, snapshot) = global.accepted().await?;
        apply::interrupt_dead(&controller.store);
        let env = known(&snapshot, &self.environment)?;
        let backup = self.job(env)?;
        let only = match (self.database_only, self.files_only) {
            (true, _) => Some(Content::Database),
            (_, true) => Some(Content::Files),
            _ => None,
        };
        let say = |line: &str| screen::line(line);
        let wish = Wish {
            at: self.at.clone().unwrap_or(At::Newest),
            only,
            unproven: self.unproven,
            without_safety: self.without_safety,
            tried: self.tried,
            reason: self.reason.clone(),
        };
        if self.to_scratch {
            // Whatever stands in the way of putting it back: here it is only looked at.
            let name = named(&controller, &snapshot, (env, backup), &wish.at).await?;
            let (name, reason) = (Some(name), self.reason.clone());
            let trying = Trying { backup: name, reason, patience: PATIENCE, keep: true, here: true, only };
            let report = prove(&controller, &snapshot, (env, backup), trying, &say).await?;
            match global.output {
                Output::Json => out::json(&report),
                Output::Markdown => out::text(&report.markdown()),
                _ => out::text(&report.text()),
            }
            return Ok(match report.outcome {
                Outcome::Pass => 0,
                Outcome::Fail => 1,
                Outcome::Inconclusive => 3,
            });
        }
        let plan = plan(&controller, &snapshot, (env, backup), wish).await?;
        if self.dry_run {
            show(global, &plan);
            return Ok(0);
        }
        if !self.yes && !confirmed(env, &plan)? {
            out::text("nothing was changed\n");
            return Ok(1);
        }
        let name = plan.backup();
        let job = plan.job().to_owned();
        let Restored { safety, halted } = plan.restore(&say).await?;
        if global.output == Output::Json {
            let stopped = halted.is_some();
            out::json(&json!({ "environment": env.name, "backup": name, "safety": safety, "stopped": stopped }));
            return Ok(0);
        }
        let started = halted.map_or_else(
            || "started".to_owned(),
            |halted| format!("stays stopped, as before ({} by {}): soll start {}", halted.reason, halted.by, env.name),
        );
        let before = safety.map_or_else(String::new, |safety| {
            let job = shell_word(&job);
            format!("; what was there before is {safety}: soll restore {} --at {safety} --backup {job}", env.name)
        });
        out::text(&format!("{} is restored from {name}, and {started}{before}\n", env.name));
        // Whether it is well with these data, its checks say.
        super::status::Status { chosen: super::chosen::Chosen::one(env.name.clone()), drift: false }.run(global).await
    }

    fn job<'a>(&self, env: &'a Environment) -> Result<&'a Backup> {
        let known = || env.backups.iter().map(|backup| backup.name.as_str()).collect::<Vec<_>>().join(", ");
        match (&self.backup, &env.backups[..]) {
            (_, []) => {
                let error = CliError::plain(format!("no backup of {} is declared", env.name));
                Err(error.hint("declare one: `[backups.NAME]` in the state file"))
            }
            (Some(name), all) => all.iter().find(|backup| backup.name == *name).ok_or_else(|| {
                CliError::usage(format!("{} has no backup `{name}`", env.name)).hint(format!("there are: {}", known()))
            }),
            (None, [only]) => Ok(only),
            (None, _) => {
                let error = CliError::usage(format!("{} has several backups: name one with --backup", env.name));
                Err(error.hint(format!("there are: {}", known())))
            }
        }
    }
}

fn show(global: &Global, plan: &Plan<'_>) {
    if global.output == Output::Json {
        out::json(&json!({ "backup": plan.backup(), "broken": plan.broken(), "steps": plan.steps() }));
        return;
    }
    if let Some(broken) = plan.broken() {
        out::text(&format!("{broken}\n"));
    }
    for (number, step) in plan.steps().iter().enumerate() {
        out::text(&format!("{:>3}. {:<28} {}: {}\n", number + 1, step.step, step.host, step.does));
    }
}

/// A person's word on a terminal. Where nobody can be asked it has to be said beforehand.
pub(super) fn confirmed(env: &Environment, plan: &Plan<'_>) -> Result<bool> {
    let (name, backup) = (&env.name, plan.backup());
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        let hint = format!("see every step: soll restore {name} --at {backup} --dry-run; then with --yes instead");
        return Err(CliError::plain("nothing was changed, because nobody can be asked here").hint(hint));
    }
    if let Some(broken) = plan.broken() {
        screen::line(&broken);
    }
    for step in plan.steps() {
        screen::line(&format!("  {:<28} {}: {}", step.step, step.host, step.does));
    }
    screen::line(&format!("The data of {name} become what they were in {backup}. Is that so? (yes/no)"));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|error| CliError::plain(format!("no answer was read: {error}")))?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
