//! `soll backup prune`: what is not kept any more goes, and of everything it is said why.

use clap::Args;
use serde_json::json;

use super::{Job, PATIENCE, Shell};
use crate::cli::{Result, out, screen};
use crate::plan::retention::{Decision, Still, Verdict};
use crate::run::controller::now;
use crate::run::pass::backup::shelf;
use crate::run::pass::roots::Roots;
use crate::run::step::prune::{self, AT_MOST};
use crate::run::step::shelf::Grounds;

#[derive(Args)]
pub(super) struct Prune {
    /// The backups, as `[backups.NAME]` calls them [default: all]
    names: Vec<String>,
    /// Only say what would go, and why everything else stays
    #[arg(long)]
    dry_run: bool,
    /// Also where more would go at once than is expected
    #[arg(long)]
    yes: bool,
}

impl Shell<'_> {
    pub(super) async fn prune(&self, wanted: Prune) -> Result {
        let (mut rows, mut bad) = (Vec::new(), false);
        for Job { env, backup, target } in self.jobs(&wanted.names)? {
            let at_most = if wanted.yes { None } else { Some(AT_MOST) };
            let roots = Roots::take_one(&self.controller, &self.snapshot, env, target, ("prune", PATIENCE)).await?;
            let state = roots.taken(&target.name);
            let backed = state.and_then(|state| state.record.backups.get(&backup.name));
            let rows_of = shelf::all(&self.controller, &self.snapshot, env, backup, target).await;
            for row in &rows_of {
                let place = &row.target.name;
                // Whoever has seen what would go, and says so, knows that the last one failed.
                let failed = backed.is_some_and(|backed| backed.failed_on(place).is_some());
                let still = (failed && !wanted.yes).then_some(Still::LastFailed);
                let grounds = Grounds { backup, state, now: now(), still, at_most };
                let decisions = match shelf::decide(&rows_of, place, &grounds) {
                    Ok(decisions) => decisions,
                    Err(error) => {
                        bad = true;
                        screen::line(&format!("soll: {} on {place}: {error}", backup.name));
                        continue;
                    }
                };
                let mut gone = Vec::new();
                for Decision { name, verdict, reason } in &decisions {
                    if !self.is_json() {
                        let word = match verdict {
                            Verdict::Keep => "keep",
                            Verdict::Prune => "prune",
                            Verdict::Hold => "hold",
                        };
                        out::text(&format!("{word:<6} {} {name} on {place}: {reason}\n", backup.name));
                    }
                }
                if !wanted.dry_run {
                    let done = prune::prune(roots.site(), (target, roots.epoch), &rows_of, &row.target, &grounds).await;
                    let refused = match done {
                        Ok(pruned) => {
                            gone = pruned.gone;
                            pruned.refused.or(pruned.failed)
                        }
                        Err(trouble) => Some(trouble.message),
                    };
                    if let Some(why) = refused {
                        bad = true;
                        screen::line(&format!("soll: {} on {place}: {why}", backup.name));
                    }
                }
                rows.extend(decisions.iter().map(|Decision { name, verdict, reason }| {
                    json!({
                        "name": backup.name, "backup": name, "target": place, "verdict": verdict, "reason": reason,
                        "removed": gone.contains(name),
                    })
                }));
            }
            roots.release().await;
        }
        if self.is_json() {
            out::json(&rows);
        }
        Ok(u8::from(bad))
    }
}
