//! `soll status` and `soll why`: where every environment stands.

use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::global::{Global, Output, names};
use super::plan::make;
use super::{Result, apply, out};
use crate::journal::RunResult;
use crate::model::ids::EnvName;
use crate::model::observed::{HostObserved, Observed};
use crate::model::record::Quarantine;
use crate::plan::render::{parts, why};
use crate::plan::{EnvPlan, Health, HostView, Sync};
use crate::run::accepted::tell_of_hosts;
use crate::run::controller::Controller;
use crate::run::look::observe::{Look, Scan, observe};
use crate::store::RunRow;

/// Show every environment.
#[derive(Args)]
pub struct Status {
    /// The environments [default: all]
    environments: Vec<EnvName>,
    /// Compare the files of every live release now, instead of showing what the last scan found
    #[arg(long)]
    drift: bool,
}

/// Say why.
#[derive(Args)]
pub struct Why {
    environment: EnvName,
}

/// One environment (contract 1.3).
#[derive(Serialize)]
pub struct Row {
    pub name: EnvName,
    pub desired: Option<String>,
    pub sync: Sync,
    pub health: Health,
    pub operation: &'static str,
    pub reason: String,
    pub quarantined: Vec<Quarantine>,
    pub hosts: Vec<HostView>,
    pub last_run: Option<RunRow>,
}

impl Status {
    /// Looks and prints.
    pub async fn run(self, global: &Global) -> Result {
        let (controller, snapshot) = global.accepted().await?;
        apply::interrupt_dead(&controller.store);
        let wanted = names(&snapshot, &self.environments)?;
        let drift = if self.drift { Scan::Now } else { Scan::WhenDue };
        let mut observed = observe(&controller, &snapshot, &wanted, Look { health: true, drift }).await;
        tell_of_hosts(&controller, &snapshot, &mut observed, &wanted);
        let plan = make(&controller, &snapshot, &wanted, &observed, true);
        let rows: Vec<Row> = plan.environments.into_iter().map(|env| row(&controller, &observed, env)).collect();
        if global.output == Output::Json {
            out::json(&serde_json::json!({ "commit": snapshot.commit.to_string(), "environments": rows }));
            return Ok(0);
        }
        for row in &rows {
            let current: Vec<_> = row.hosts.iter().map(|h| h.current.as_deref().unwrap_or("nothing")).collect();
            let desired = row.desired.as_deref().map_or("unknown", |sha| sha.get(..8).unwrap_or(sha));
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
            for host in row.hosts.iter().filter(|host| !host.drift.is_empty()) {
                let (paths, compared) = (parts::count(host.drift.len(), "path"), parts::compared(host));
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
        let plan = make(&controller, &snapshot, &wanted, &observed, true);
        for env in plan.environments {
            let text = why::why(&env);
            let row = row(&controller, &observed, env);
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

/// The row of an environment, from its plan, its hosts and its last run.
pub fn row(controller: &Arc<Controller>, observed: &Observed, env: EnvPlan) -> Row {
    let last_run = controller.store.last_run(&env.name).unwrap_or_default();
    let hosts = observed.environments.get(&env.name).map(|seen| seen.hosts.values()).into_iter().flatten();
    let mut quarantined: Vec<Quarantine> = Vec::new();
    for host in hosts {
        if let HostObserved::Reached(state) = host {
            let new =
                state.record.quarantined.iter().filter(|q| q.verdict && !quarantined.iter().any(|k| k.key == q.key));
            let new: Vec<_> = new.cloned().collect();
            quarantined.extend(new);
        }
    }
    let (operation, reason) = operation(&env, last_run.as_ref());
    Row {
        name: env.name,
        desired: env.desired.map(|sha| sha.to_string()),
        sync: env.sync,
        health: env.health,
        operation,
        reason,
        quarantined,
        hosts: env.hosts,
        last_run,
    }
}

/// idle|running|succeeded|failed|error|rolled-back|blocked|superseded, and why.
fn operation(env: &EnvPlan, last: Option<&RunRow>) -> (&'static str, String) {
    if let Some(run) = last.filter(|run| run.result.is_none()) {
        return ("running", format!("run {}", run.run));
    }
    // The last run says how it went; a block that is only its shadow adds nothing.
    let quarantined = env.blocking().any(|b| b.code == crate::plan::Code::Quarantined);
    if let Some(blocker) = env.blocking().next().filter(|_| !quarantined) {
        return ("blocked", format!("{}; {}", blocker.message, blocker.fix));
    }
    let Some((run, result)) = last.and_then(|run| Some((run, run.result?))) else { return ("idle", String::new()) };
    let word = match result {
        RunResult::Succeeded => "succeeded",
        RunResult::Failed => "failed",
        RunResult::RolledBack => "rolled-back",
        RunResult::Superseded | RunResult::Cancelled => "superseded",
        RunResult::Error | RunResult::Unreachable | RunResult::Interrupted => "error",
    };
    (word, run.reason.clone())
}

fn word<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}
