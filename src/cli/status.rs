//! `soll status` and `soll why`: where every environment stands.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::chosen::Chosen;
use super::edits::short;
use super::global::{Global, Output, names};
use super::{Result, apply, out};
use crate::journal::RunResult;
use crate::model::ids::EnvName;
use crate::model::shown::clean;
use crate::plan::render::{parts, services, why};
use crate::plan::{Health, Sync};
use crate::run::accepted::tell_of_hosts;
use crate::run::controller::now;
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::planned::planned;
use crate::run::standing::Standing;

/// Show every environment.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll status
  soll status production --drift")]
pub struct Status {
    #[command(flatten)]
    pub(super) chosen: Chosen,
    /// Compare the files of every live release now, instead of showing what the last scan found
    #[arg(long)]
    pub(super) drift: bool,
}

/// Say why.
#[derive(Args)]
pub struct Why {
    environment: EnvName,
}

impl Status {
    /// Looks and prints.
    pub async fn run(self, global: &Global) -> Result {
        let (controller, snapshot) = global.accepted().await?;
        apply::interrupt_dead(&controller.store);
        let wanted = self.chosen.names(&snapshot)?;
        let drift = if self.drift { Scan::Now } else { Scan::WhenDue };
        let mut observed = observe(&controller, &snapshot, &wanted, Look { health: true, drift }).await;
        tell_of_hosts(&controller, &snapshot, &mut observed, &wanted);
        let plan = planned(&controller, &snapshot, &wanted, &observed, Some(snapshot.secrets()));
        let rows: Vec<Standing> =
            plan.environments.into_iter().map(|env| Standing::of(&controller, &snapshot, &observed, env)).collect();
        if global.output == Output::Json {
            let mut all = serde_json::json!({ "commit": snapshot.commit.to_string(), "environments": rows });
            if let Some(held) = &snapshot.held {
                all["wrong"] = held.found.to_json();
            }
            out::json(&all);
            return Ok(0);
        }
        let now = now();
        let cells: Vec<[String; COLUMNS.len()]> = rows.iter().map(|row| cells(row, now)).collect();
        let widths: Vec<usize> = (0..COLUMNS.len())
            .map(|at| cells.iter().map(|row| row[at].chars().count()).max().unwrap_or(0).max(COLUMNS[at].len()))
            .collect();
        if !rows.is_empty() {
            out::text(&line(&COLUMNS.map(str::to_owned), &widths, [""; COLUMNS.len()]));
        }
        for (row, cells) in rows.iter().zip(&cells) {
            out::text(&line(cells, &widths, colours(row)));
            if !row.reason.is_empty() {
                out::text(&format!("    {}\n", row.reason));
            }
            if let Some(pin) = &row.pinned {
                let (name, template) = (&row.name, &pin.template);
                let release = short(&pin.release);
                out::text(&format!(
                    "    pinned: its template {template} is at {release}; to let it follow: soll unpin {name}\n"
                ));
            }
            for backup in &row.backups {
                out::text(&format!("    backup {}: {}\n", backup.name, backup.told()));
            }
            for host in row.hosts.iter().filter(|host| !host.services.is_empty()) {
                out::text(&format!("    {}: {}\n", host.name, services::summary(&host.services)));
            }
            for host in row.hosts.iter().filter(|host| !host.drift.is_empty()) {
                let (paths, compared) = (parts::count(host.drifted(), "path"), parts::compared(host));
                out::text(&format!(
                    "    drift on {}: {paths} not as released{compared}; see them: soll diff {}\n",
                    host.name, row.name
                ));
            }
        }
        Ok(0)
    }
}

impl Why {
    /// Looks and explains.
    pub async fn run(self, global: &Global) -> Result {
        let (controller, snapshot) = global.accepted().await?;
        apply::interrupt_dead(&controller.store);
        let wanted = names(&snapshot, &[self.environment])?;
        let mut observed = observe(&controller, &snapshot, &wanted, Look { health: true, drift: Scan::Now }).await;
        tell_of_hosts(&controller, &snapshot, &mut observed, &wanted);
        let plan = planned(&controller, &snapshot, &wanted, &observed, Some(snapshot.secrets()));
        for env in plan.environments {
            let text = why::why(&env);
            let row = Standing::of(&controller, &snapshot, &observed, env);
            if global.output == Output::Json {
                out::json(&serde_json::json!({ "name": row.name, "why": text, "status": row }));
                continue;
            }
            out::text(&text);
            if let Some(run) = row.last_run.filter(|run| run.result.is_some_and(|r| r != RunResult::Succeeded)) {
                let result = run.result.map_or("", RunResult::as_str);
                out::text(&format!(
                    "the last run {} ended {result}: {}\n  see it: soll show {}\n",
                    run.run, run.reason, run.run
                ));
            }
        }
        Ok(0)
    }
}

const COLUMNS: [&str; 7] = ["environment", "sync", "health", "operation", "desired", "runs", "since"];

/// One environment, column by column.
fn cells(row: &Standing, now: Timestamp) -> [String; COLUMNS.len()] {
    let short = |sha: &str| if sha.len() == 40 { sha[..8].to_owned() } else { clean(sha).into_owned() };
    // A tag is what people know, and its commit what is compared.
    let desired = match row.desired.as_deref() {
        None => format!("{} (unknown)", short(&row.release)),
        Some(sha) if sha == row.release => short(sha),
        Some(sha) => format!("{} ({})", clean(&row.release), short(sha)),
    };
    let mut runs: Vec<String> = row.hosts.iter().map(parts::current).collect();
    runs.dedup();
    let since = row.last_run.as_ref().map(|run| run.finished.unwrap_or(run.started));
    let since = since.map(|at| parts::age(u64::try_from(now.duration_since(at).as_secs()).unwrap_or(0)));
    let (sync, health) = (word(&row.sync), word(&row.health));
    let (name, operation) = (row.name.to_string(), row.operation.to_owned());
    [name, sync, health, operation, desired, runs.join(", "), since.unwrap_or_default()]
}

/// Green is as it should be, red is not, and yellow is on its way.
fn colours(row: &Standing) -> [&'static str; COLUMNS.len()] {
    let sync = match row.sync {
        Sync::InSync => "\x1b[32m",
        Sync::OutOfSync => "\x1b[33m",
        Sync::Unknown => "\x1b[36m",
    };
    let health = match row.health {
        Health::Healthy => "\x1b[32m",
        Health::Progressing | Health::Missing => "\x1b[33m",
        Health::Degraded => "\x1b[31m",
        Health::Unknown => "\x1b[36m",
    };
    let operation = match row.operation {
        "failed" | "error" | "rolled-back" => "\x1b[31m",
        "blocked" | "running" => "\x1b[33m",
        _ => "",
    };
    ["\x1b[1m", sync, health, operation, "", "", ""]
}

fn line(cells: &[String; COLUMNS.len()], widths: &[usize], colours: [&str; COLUMNS.len()]) -> String {
    let colour = out::colour();
    let padded = cells.iter().zip(widths).zip(colours).map(|((cell, width), with)| {
        let blanks = " ".repeat(width.saturating_sub(cell.chars().count()));
        match colour && !with.is_empty() {
            true => format!("{with}{cell}\x1b[0m{blanks}"),
            false => format!("{cell}{blanks}"),
        }
    });
    format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
}

fn word<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}
