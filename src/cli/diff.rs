//! `soll diff`: desired against observed, and every path that is not as it was released.

use clap::Args;

use super::global::{Global, Output, names};
use super::plan::make;
use super::{Result, out};
use crate::host::wire::{Observe, Op, Reply};
use crate::model::ids::EnvName;
use crate::model::observed::{DriftKind, HostObserved};
use crate::model::shown::clean;
use crate::run::look::observe::{Look, observe, question};
use crate::run::look::reach::ask;

/// Show the differences.
#[derive(Args)]
pub struct Diff {
    environment: EnvName,
}

impl Diff {
    /// Scans now and prints.
    pub async fn run(self, global: &Global) -> Result {
        let (controller, snapshot) = global.accepted().await?;
        let wanted = names(&snapshot, std::slice::from_ref(&self.environment))?;
        let mut observed = observe(&controller, &snapshot, &wanted, Look { health: false, drift: false }).await;
        let env = crate::run::commit::known(&snapshot, &self.environment)?;
        if let Some(seen) = observed.environments.get_mut(&self.environment) {
            for target in &env.targets {
                let op = Op::Observe(Observe { scan_older_than: Some(0), ..question(env, false) });
                if let Ok(Reply::State(state)) = ask(&controller, &snapshot, target, op).await {
                    seen.hosts.insert(target.name.clone(), HostObserved::Reached(state));
                }
            }
        }
        let plan = make(&controller, &snapshot, &wanted, &observed, true);
        let Some(plan) = plan.environments.first() else { return Ok(1) };
        if global.output == Output::Json {
            out::json(&serde_json::json!({
                "name": plan.name, "desired": plan.desired, "release": plan.release, "sync": plan.sync, "hosts": plan.hosts,
            }));
            return Ok(0);
        }
        out::text(&format!("{}: soll {}\n", plan.name, plan.release));
        for host in &plan.hosts {
            let current = host.current.as_deref().unwrap_or("nothing");
            out::text(&format!("  {}: ist {}: {}\n", host.name, clean(current), clean(&host.reason)));
            for drift in &host.drift {
                let sign = match drift.kind {
                    DriftKind::Added => '+',
                    DriftKind::Missing => '-',
                    DriftKind::Changed => '~',
                    DriftKind::Mode => 'm',
                    DriftKind::Link => 'l',
                };
                out::text(&format!("    {sign} {}\n", clean(&drift.path)));
            }
        }
        Ok(0)
    }
}
