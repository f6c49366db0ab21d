//! `soll status` and `soll why`: where every environment stands.

use clap::Args;
use serde::Serialize;

use super::chosen::Chosen;
use super::edits::short;
use super::global::{Global, Output, names};
use super::{Result, apply, out};
use crate::journal::RunResult;
use crate::model::ids::EnvName;
use crate::plan::render::{parts, services, why};
use crate::run::accepted::tell_of_hosts;
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::planned::planned;
use crate::run::standing::Standing;

/// Show every environment.
#[derive(Args)]
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
        for row in &rows {
            let current: Vec<_> = row.hosts.iter().map(parts::current).collect();
            let desired = row.desired.as_deref().map_or("unknown", |sha| if sha.len() == 40 { &sha[..8] } else { sha });
            out::text(&format!(
                "{:<20} {:<12} {:<12} {:<12} soll {desired}  ist {}\n",
                row.name.as_str(),
                word(&row.sync),
                word(&row.health),
                row.operation,
                current.join(", "),
            ));
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

fn word<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}
