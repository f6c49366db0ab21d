//! `soll plan`: what would be done. Changes nothing and runs no configured command.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::global::{Global, Output, blocking, names};
use super::{CliError, Result, out};
use crate::model::ids::EnvName;
use crate::model::observed::Observed;
use crate::plan::policy::Secrets;
use crate::plan::render::{graph, markdown, text};
use crate::plan::{self, Context, PlanVerdict};
use crate::run::controller::{Controller, Snapshot, now};
use crate::run::look::observe::{Look, complete, observe};
use crate::run::look::published::{Published, merge};

/// Show what would be done.
#[derive(Args)]
pub struct Plan {
    /// The environments [default: all]
    environments: Vec<EnvName>,
    /// Plan another commit than the newest of the branch
    #[arg(long = "ref", value_name = "REV")]
    rev: Option<String>,
    /// Save the plan, for `apply --plan`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Exit 2 where something would be done
    #[arg(long)]
    detailed_exitcode: bool,
    /// Plan from what daemons publish (may be repeated), without access to any host; with --host, beside the own look
    #[arg(long, value_name = "FILE|URL")]
    observation: Vec<String>,
}

impl Plan {
    /// Plans and prints.
    pub async fn run(self, global: &Global) -> Result {
        let pulls = global.settings()?.host.is_some();
        let controller = global.controller_with(if pulls { &self.observation } else { &[] })?;
        let snapshot = snapshot(&controller, self.rev.clone()).await?;
        let wanted = names(&snapshot, &self.environments)?;
        let plan = match &*self.observation {
            places @ [_, ..] if !pulls => {
                let mut published = Observed::default();
                for place in places {
                    merge(&mut published, Published::read(place).await.map_err(CliError::plain)?.observed);
                }
                let observed = complete(&controller, &snapshot, published).await;
                make(&controller, &snapshot, &wanted, &observed, false)
            }
            _ => {
                let look = Look { health: true, drift: true };
                let observed = observe(&controller, &snapshot, &wanted, look).await;
                make(&controller, &snapshot, &wanted, &observed, true)
            }
        };
        if let Some(path) = &self.out {
            let bytes = serde_json::to_vec_pretty(&plan.canonical()).map_err(|e| CliError::plain(e.to_string()))?;
            std::fs::write(path, bytes)
                .map_err(|error| CliError::plain(format!("cannot write the plan to {}: {error}", path.display())))?;
        }
        match global.output {
            Output::Json => out::json(&plan),
            Output::Markdown => out::text(&markdown::markdown(&plan)),
            Output::Mermaid => plan.environments.iter().for_each(|env| out::text(&graph::mermaid(&env.steps))),
            Output::Dot => {
                plan.environments.iter().for_each(|env| out::text(&graph::dot(env.name.as_str(), &env.steps)));
            }
            Output::Text => {
                let style = if out::colour() { text::Style::Colour } else { text::Style::Plain };
                out::text(&text::text(&plan, style));
            }
        }
        Ok(exit(&plan, self.detailed_exitcode))
    }
}

/// 6: something could not be seen, so that the plan says nothing of it; 2: changes, where that is asked for.
fn exit(plan: &plan::Plan, detailed: bool) -> u8 {
    let unseen = plan.environments.iter().any(|env| {
        env.hosts.iter().any(|host| !host.reachable) && env.blocking().any(|b| b.code == plan::Code::Unreachable)
    });
    match plan.verdict {
        _ if unseen => 6,
        PlanVerdict::None => 0,
        PlanVerdict::Changes | PlanVerdict::Blocked if detailed => 2,
        PlanVerdict::Changes | PlanVerdict::Blocked => 0,
    }
}

/// The newest commit, or the one that was named. Whether it may be acted on is `apply`'s question.
pub async fn snapshot(controller: &Arc<Controller>, rev: Option<String>) -> Result<Arc<Snapshot>> {
    let reader = controller.clone();
    let read = move || {
        reader.repo.refresh()?;
        let commit = match rev {
            Some(rev) => reader.repo.resolve(&rev)?,
            None => reader.repo.head()?,
        };
        reader.snapshot(commit)
    };
    Ok(Arc::new(blocking(read).await?))
}

/// The plan with estimates from past runs.
pub fn make(
    controller: &Controller,
    snapshot: &Snapshot,
    names: &[EnvName],
    observed: &Observed,
    secrets: bool,
) -> plan::Plan {
    let known = controller.settings.secrets.known();
    let commit = snapshot.commit.to_string();
    let context = Context { commit: &commit, now: now(), secrets: secrets.then_some(&known as &dyn Secrets) };
    let mut plan = plan::plan(&snapshot.desired, observed, names, &context);
    for env in plan.environments.iter_mut().filter(|env| env.has_changes()) {
        let estimates = controller.store.estimates(&env.name).unwrap_or_default();
        for step in &mut env.steps {
            step.estimate_ms = estimates.get(&step.id).copied();
        }
    }
    plan
}
