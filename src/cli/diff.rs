//! `soll diff`: desired against observed, and every path that is not as it was released.

use clap::Args;

use super::global::{Global, Output, names};
use super::{Result, out};
use crate::model::ids::EnvName;
use crate::model::observed::DriftKind;
use crate::model::shown::clean;
use crate::plan::render::{parts, services};
use crate::run::changes;
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::planned::planned;

/// Show the differences.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll diff production
  soll diff production --bytes                every byte, also of files that look untouched")]
pub struct Diff {
    environment: EnvName,
    /// Read every byte, also of files that look as they did when they were read last
    #[arg(long)]
    bytes: bool,
}

impl Diff {
    /// Compares now and prints.
    pub async fn run(self, global: &Global) -> Result {
        let (controller, snapshot) = global.accepted().await?;
        let wanted = names(&snapshot, std::slice::from_ref(&self.environment))?;
        let drift = if self.bytes { Scan::Bytes } else { Scan::Now };
        let observed = observe(&controller, &snapshot, &wanted, Look { health: false, drift }).await;
        let mut plan = planned(&controller, &snapshot, &wanted, &observed, Some(snapshot.secrets()));
        changes::tell(&controller, &snapshot, &observed, &mut plan).await;
        let Some(plan) = plan.environments.first() else { return Ok(1) };
        // Of a host that is not seen nobody can say what differs.
        let exit = if plan.hosts.iter().all(|host| host.reachable) { 0 } else { 6 };
        if global.output == Output::Json {
            let mut all = serde_json::json!({
                "name": plan.name, "desired": plan.desired, "release": plan.release, "sync": plan.sync, "hosts": plan.hosts,
            });
            if let Some(changes) = &plan.changes {
                all["changes"] = serde_json::json!(changes);
            }
            out::json(&all);
            return Ok(exit);
        }
        out::text(&format!("{}: desired {}\n", plan.name, plan.release));
        if let Some(changes) = &plan.changes {
            out::text(&format!("  {}\n", changes.summary()));
            changes.lines().for_each(|line| out::text(&format!("    {line}\n")));
        }
        for host in &plan.hosts {
            out::text(&format!("  {}: runs {}: {}\n", host.name, parts::current(host), clean(&host.reason)));
            for drift in &host.drift {
                let sign = match drift.kind {
                    DriftKind::Added => '+',
                    DriftKind::Missing => '-',
                    DriftKind::Changed => '~',
                    DriftKind::Mode => 'm',
                    DriftKind::Link => 'l',
                    DriftKind::Unreadable => '?',
                };
                out::text(&format!("    {sign} {}\n", clean(&drift.path)));
            }
            services::of(plan, host).iter().for_each(|line| out::text(&format!("    {line}\n")));
            if host.drift_more > 0 {
                out::text(&format!("    … and {} more\n", host.drift_more));
            }
        }
        Ok(exit)
    }
}
