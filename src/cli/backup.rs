//! `soll backup`: make one now, list what there is, read it back, say when the next one is due, prune, try a target.

mod import;
mod prune;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use self::prune::Prune;
use self::verify::Verify;
use super::global::{Global, Output};
use super::{CliError, Result, apply, out, screen};
use crate::host::wire::backup::{Answer, Ask};
use crate::host::wire::{Op, Reply};
use crate::model::backup::name::{BackupName, Kind};
use crate::model::backup::proof::Outcome;
use crate::model::desired::{Backup as Declared, Environment, Target};
use crate::model::observed::HostObserved;
use crate::model::shown::counted;
use crate::plan::backup::{State as Standing, View, views};
use crate::plan::retention::State;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::{Controller, now};
use crate::run::doors;
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::look::reach::ask;
use crate::run::pass::backup::make::{self, Wish};
use crate::run::pass::backup::{due, saver, shelf};
use crate::run::pass::journaled::OperateError;

/// How long an explicit command waits for whoever holds a root (contract 1.2).
const PATIENCE: Duration = Duration::from_secs(10);

/// Backups.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll backup test                            can every target be used?
  soll backup now production
  soll backup list
  soll backup verify --all
  soll backup prune --dry-run")]
pub struct Backup {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a backup now, or those that are due
    Now(Now),
    /// List the backups on every target
    List(Which),
    /// Read backups back, every byte, and compare them with their manifests
    Verify(Verify),
    /// Say when each backup is due next, and which is the last good one
    Next(Which),
    /// Remove what is not kept any more
    Prune(Prune),
    /// Try every step that a backup needs on each target
    Test(Which),
    /// Take over backups that something else made under the same names
    Import(import::Import),
}

/// Which jobs.
#[derive(Args)]
struct Which {
    /// The backups, as `[backups.NAME]` calls them [default: all]
    names: Vec<String>,
}

#[derive(Args)]
struct Now {
    /// The backups, as `[backups.NAME]` calls them [default: all]
    names: Vec<String>,
    /// Only those whose time has come, as the daemon makes them
    #[arg(long)]
    due: bool,
    /// Why, for the record
    #[arg(long, default_value = "by hand")]
    reason: String,
}

/// One job with what it is of.
struct Job<'a> {
    env: &'a Environment,
    backup: &'a Declared,
    target: &'a Target,
}

struct Shell<'a> {
    global: &'a Global,
    controller: Arc<Controller>,
    snapshot: Arc<AcceptedSnapshot>,
}

impl Backup {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result {
        let (controller, snapshot) = global.accepted().await?;
        apply::interrupt_dead(&controller.store);
        let shell = Shell { global, controller, snapshot };
        match self.command {
            Command::Now(now) => shell.now(now).await,
            Command::List(which) => shell.list(&which.names).await,
            Command::Verify(verify) => shell.verify(verify).await,
            Command::Import(wanted) => shell.import(wanted).await,
            Command::Next(which) => shell.next(&which.names).await,
            Command::Prune(prune) => shell.prune(prune).await,
            Command::Test(which) => shell.test(&which.names).await,
        }
    }
}

impl Shell<'_> {
    /// The jobs of these names, or all of them.
    fn jobs(&self, names: &[String]) -> Result<Vec<Job<'_>>> {
        let all = self.snapshot.desired.environments.values().flat_map(|env| {
            let target = saver(&self.snapshot.desired, env);
            env.backups.iter().filter_map(move |backup| Some(Job { env, backup, target: target? }))
        });
        let all: Vec<Job<'_>> = all.collect();
        if let Some(unknown) = names.iter().find(|name| all.iter().all(|job| job.backup.name != **name)) {
            let known: Vec<&str> = all.iter().map(|job| job.backup.name.as_str()).collect();
            let hint = match known.is_empty() {
                true => "declare one: `[backups.NAME]` in the state file".to_owned(),
                false => format!("there are: {}", known.join(", ")),
            };
            return Err(CliError::usage(format!("there is no backup `{unknown}`")).hint(hint));
        }
        if all.is_empty() && self.snapshot.desired.environments.values().any(|env| !env.backups.is_empty()) {
            let whole = self.snapshot.desired.whole.values().filter(|env| !env.backups.is_empty());
            let first = whole.filter_map(|env| Some(format!("{} on {}", env.name, env.targets.first()?.name)));
            let first = first.collect::<Vec<_>>().join(", ");
            let why = format!("backups are made on the first host of each environment, which is not this one: {first}");
            return Err(CliError::plain(why).hint("ask there"));
        }
        if all.is_empty() {
            let hint = "declare one: `[backups.NAME]` in the state file";
            return Err(CliError::plain("no backup is declared").hint(hint));
        }
        let wanted = |job: &Job<'_>| names.is_empty() || names.contains(&job.backup.name);
        Ok(all.into_iter().filter(wanted).collect())
    }

    fn is_json(&self) -> bool {
        self.global.output == Output::Json
    }

    async fn now(&self, wanted: Now) -> Result {
        let (mut rows, mut exits) = (Vec::new(), Vec::new());
        let say = |line: &str| screen::line(line);
        if wanted.due {
            if !wanted.names.is_empty() {
                self.jobs(&wanted.names)?;
            }
            let is_meant = |job: &Declared| wanted.names.is_empty() || wanted.names.contains(&job.name);
            for env in self.snapshot.desired.environments.values().filter(|env| env.backups.iter().any(is_meant)) {
                let due = due::these(&self.controller, &self.snapshot, env, &is_meant, PATIENCE, &say);
                match due.await {
                    Ok((done, _)) => {
                        for due::Done { job, is_test, result } in done {
                            let what = if is_test { "restore-test" } else { "backup" };
                            exits.push(self.made((what, &job), env, result, &mut rows));
                        }
                    }
                    Err(error) => {
                        screen::line(&format!("soll: nobody can say what is due of {}: {error}", env.name));
                        exits.push(CliError::from(error).exit);
                    }
                }
            }
        } else {
            for Job { env, backup, .. } in self.jobs(&wanted.names)? {
                let wish = Wish { kind: Kind::Manual, reason: wanted.reason.clone(), patience: PATIENCE };
                let made = make::make(&self.controller, &self.snapshot, env, backup, wish, &say).await;
                let made = made.map(|saved| saved.told());
                exits.push(self.made(("backup", &backup.name), env, made, &mut rows));
            }
        }
        if self.is_json() {
            out::json(&rows);
        } else if rows.is_empty() && exits.is_empty() {
            out::text("nothing is due\n");
        }
        Ok(apply::worst(exits))
    }

    fn made(
        &self,
        (what, job): (&str, &str),
        env: &Environment,
        made: std::result::Result<String, OperateError>,
        rows: &mut Vec<serde_json::Value>,
    ) -> u8 {
        let good = made.is_ok();
        let (told, exit) = match made {
            Ok(told) => (told, 0),
            Err(error) => (error.to_string(), CliError::from(error).exit),
        };
        if !self.is_json() {
            let word = if good { "good" } else { "failed" };
            let of = if what == "backup" { "" } else { "restore test of " };
            out::text(&format!("{of}{job}: {word}: {told}\n"));
        }
        rows.push(json!({ "name": job, "what": what, "environment": env.name, "good": good, "message": told }));
        exit
    }

    async fn list(&self, names: &[String]) -> Result {
        let (mut rows, mut unread) = (Vec::new(), false);
        let jobs = self.jobs(names)?;
        let mut wanted: Vec<_> = jobs.iter().map(|job| job.env.name.clone()).collect();
        wanted.dedup();
        let look = Look { health: false, drift: Scan::Last };
        let observed = observe(&self.controller, &self.snapshot, &wanted, look).await;
        for Job { env, backup, target } in jobs {
            // What was restored and is what it should be, its host remembers.
            let seen = observed.environments.get(&env.name).and_then(|seen| seen.hosts.get(&target.name));
            let tested = match seen {
                Some(HostObserved::Reached(state)) => {
                    state.record.backups.get(&backup.name).and_then(|backed| backed.tested.clone())
                }
                _ => None,
            };
            let tested = tested.unwrap_or_default();
            let is_proven = |name: BackupName| {
                let mut trials = tested.past.iter().chain(&tested.proven);
                trials.any(|trial| trial.backup == Some(name) && trial.outcome == Outcome::Pass)
            };
            for row in shelf::all(&self.controller, &self.snapshot, env, backup, target).await {
                let place = &row.target.name;
                let backups = match row.backups {
                    Ok(backups) => backups,
                    Err(why) => {
                        unread = true;
                        screen::line(&format!("soll: {} on {place}: {why}", backup.name));
                        continue;
                    }
                };
                for one in backups {
                    let manifest = one.manifest.as_ref();
                    let bytes = manifest.map_or_else(|| one.set.bytes(), |manifest| manifest.bytes());
                    let verified = one.state == State::Verified;
                    let release = manifest.and_then(|manifest| manifest.release.as_ref());
                    if !self.is_json() {
                        let rows = manifest.and_then(|manifest| manifest.rows());
                        let rows = rows.map_or_else(String::new, |rows| format!("  {}", counted(rows, "row", "rows")));
                        let proven = if is_proven(one.name) { ", proven" } else { "" };
                        let state = format!("{}{proven}", told(&one.state));
                        let size = crate::run::size::bytes(bytes);
                        out::text(&format!(
                            "{:<16} {:<28} {place:<10} {size:>10}{rows}  {state}\n",
                            backup.name,
                            one.name.to_string()
                        ));
                    }
                    rows.push(json!({
                        "name": backup.name,
                        "backup": one.name,
                        "kind": one.name.kind,
                        "at": one.name.at.at(),
                        "target": place,
                        "bytes": bytes,
                        "verified": verified,
                        "proven": is_proven(one.name),
                        "release": release,
                        "rows": manifest.and_then(|manifest| manifest.rows()),
                        "state": told(&one.state),
                    }));
                }
            }
        }
        if self.is_json() {
            out::json(&rows);
        } else if rows.is_empty() && !unread {
            out::text("there is no backup yet; make one: soll backup now\n");
        }
        Ok(u8::from(unread))
    }

    async fn asked(&self, target: &Target, question: Ask) -> Result<Answer> {
        let answer = ask(&self.controller, &self.snapshot, target, Op::Backups(Box::new(question))).await;
        match answer.map_err(|error| OperateError::Host { host: target.name.clone(), error })? {
            Reply::Backup(answer) => Ok(*answer),
            other => Err(CliError::plain(format!("the host gave an answer that does not fit: {other:?}"))),
        }
    }

    async fn next(&self, names: &[String]) -> Result {
        let mut rows: Vec<(View, &Environment)> = Vec::new();
        let jobs = self.jobs(names)?;
        let mut wanted: Vec<_> = jobs.iter().map(|job| job.env.name.clone()).collect();
        wanted.dedup();
        let look = Look { health: false, drift: Scan::Last };
        let observed = observe(&self.controller, &self.snapshot, &wanted, look).await;
        let mut exits = Vec::new();
        for name in &wanted {
            let seen = observed.environments.get(name);
            for job in jobs.iter().filter(|job| job.env.name == *name) {
                let is_seen = seen.and_then(|seen| seen.hosts.get(&job.target.name));
                if !matches!(is_seen, Some(HostObserved::Reached(_))) {
                    exits.push(6);
                }
                let view = views(job.env, seen, now()).into_iter().find(|view| view.name == job.backup.name);
                rows.extend(view.map(|view| (view, job.env)));
            }
        }
        if self.is_json() {
            let rows: Vec<_> = rows
                .iter()
                .map(|(view, env)| {
                    json!({
                        "name": view.name, "environment": env.name, "state": view.state, "at": view.at,
                        "last_good": view.last_good, "last_good_at": view.last_good_at, "failed": view.failed,
                        "test": view.test,
                    })
                })
                .collect();
            out::json(&rows);
        } else {
            for (view, env) in &rows {
                out::text(&format!("{} ({}): {}\n", view.name, env.name, view.told()));
            }
        }
        let is_overdue =
            |view: &View| view.state == Standing::Overdue || view.test.as_ref().is_some_and(|test| test.overdue);
        exits.extend(rows.iter().filter(|(view, _)| is_overdue(view)).map(|_| 1));
        Ok(apply::worst(exits))
    }

    async fn test(&self, names: &[String]) -> Result {
        let (mut rows, mut bad) = (Vec::new(), false);
        for Job { env, backup, target } in self.jobs(names)? {
            for place in doors::opened(self.snapshot.secrets(), env, backup.places(&target.root)) {
                let steps = match self.asked(target, Ask::Try { target: place.clone() }).await {
                    Ok(Answer::Tried { steps }) => steps,
                    Ok(other) => {
                        return Err(CliError::plain(format!("the host gave an answer that does not fit: {other:?}")));
                    }
                    // The other targets are tried all the same.
                    Err(error) => {
                        bad = true;
                        screen::line(&format!("soll: {} on {}: {}", backup.name, place.name, error.text()));
                        continue;
                    }
                };
                let failed = steps.iter().find_map(|step| Some((step.step.as_str(), step.why.as_deref()?)));
                bad |= failed.is_some();
                if !self.is_json() {
                    let went: Vec<&str> =
                        steps.iter().filter(|step| step.why.is_none()).map(|step| step.step.as_str()).collect();
                    let remarks = steps.iter().filter_map(|step| step.remark.as_ref());
                    let remarks: String = remarks.map(|remark| format!("; {remark}")).collect();
                    let told = match failed {
                        Some((step, why)) => format!("{step} failed: {why}"),
                        None => format!("good: {}{remarks}", went.join(", ")),
                    };
                    out::text(&format!("{} on {}: {told}\n", backup.name, place.name));
                }
                rows.push(json!({
                    "name": backup.name, "target": place.name, "good": failed.is_none(), "steps": steps,
                }));
            }
        }
        if self.is_json() {
            out::json(&rows);
        }
        Ok(u8::from(bad))
    }
}

/// What is known of a backup, for people.
fn told(state: &State) -> String {
    match state {
        State::Verified => "verified".to_owned(),
        State::Broken(why) => format!("broken: {why}"),
        State::Shrunk(what) => format!("shrunk: {what}"),
        State::Left | State::NoManifest => "no manifest: not finished, or not made by soll".to_owned(),
    }
}
