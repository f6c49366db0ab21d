//! `soll plan`: what would be done. Changes nothing and runs no configured command.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::global::{Global, Output, blocking, names, tell_verified};
use super::{CliError, Result, out, screen};
use crate::model::ids::EnvName;
use crate::plan::render::{graph, markdown, text};
use crate::plan::{self, PlanVerdict};
use crate::run::accepted::{AcceptedSnapshot, tell_of_hosts};
use crate::run::controller::{Controller, ControllerError, Snapshot, now};
use crate::run::look::grounds::Grounds;
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::look::proposed::{complete, foresee};
use crate::run::look::published::Heard;
use crate::run::planned::planned;
use crate::state_repo::NotAccepted;

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
        let subject = Subject::read(&controller, self.rev.clone()).await?;
        let snapshot = subject.snapshot();
        let wanted = names(snapshot, &self.environments)?;
        let published = !pulls && !self.observation.is_empty();
        let mut oldest = None;
        let observed = if published {
            let (mut heard, settings) = (Heard::default(), &controller.settings);
            for place in &self.observation {
                let more = Heard::read(&settings.source(place), &settings.secrets).await;
                heard.add(more.map_err(CliError::plain)?);
            }
            oldest = heard.oldest;
            complete(&controller, subject.grounds(), heard.observed()).await
        } else {
            let look = Look { health: true, drift: Scan::Now };
            match &subject {
                Subject::Accepted(accepted) => {
                    let mut observed = observe(&controller, accepted, &wanted, look).await;
                    tell_of_hosts(&controller, accepted, &mut observed, &wanted);
                    observed
                }
                Subject::Proposed { proposal, accepted, .. } => {
                    foresee(&controller, proposal, accepted.as_ref(), &wanted, look).await
                }
            }
        };
        let mut plan = planned(&controller, snapshot, &wanted, &observed, !published);
        if let Subject::Proposed { accepted, refused, .. } = &subject {
            plan.accepted = accepted.as_ref().map(|accepted| accepted.commit.to_string());
            plan.refused = refused.clone();
        }
        if let Some(at) = oldest {
            plan.seen_at(at, now());
        }
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
        let unseen = |code| matches!(code, plan::Code::Unreachable | plan::Code::OtherMachine);
        env.hosts.iter().any(|host| !host.reachable) && env.blocking().any(|b| unseen(b.code))
    });
    match plan.verdict {
        _ if unseen => 6,
        PlanVerdict::None => 0,
        PlanVerdict::Changes | PlanVerdict::Blocked if detailed => 2,
        PlanVerdict::Changes | PlanVerdict::Blocked => 0,
    }
}

/// The commit that is planned.
enum Subject {
    /// The newest of the branch, which may be acted on.
    Accepted(Arc<AcceptedSnapshot>),
    /// Another one: text (law 11).
    Proposed {
        proposal: Arc<Snapshot>,
        /// What hosts are looked at as; nothing: no commit of the branch is accepted, or there is no such branch here.
        accepted: Option<Arc<AcceptedSnapshot>>,
        /// Why it is not acted on, where it is the newest one of the branch.
        refused: Option<String>,
    },
}

impl Subject {
    /// The commit that was named, else the newest one, and what it is.
    async fn read(controller: &Arc<Controller>, rev: Option<String>) -> Result<Subject> {
        let reader = controller.clone();
        blocking(move || Subject::judge(&reader, rev.as_deref())).await
    }

    fn judge(controller: &Controller, rev: Option<&str>) -> std::result::Result<Subject, ControllerError> {
        controller.repo.refresh()?;
        let named = rev.map(|rev| controller.repo.resolve(rev)).transpose()?;
        let (accepted, refused) = match (controller.standing(), named) {
            (Ok(standing), _) => {
                tell_verified(&standing);
                (Some(standing.accepted), standing.refused.map(|refused| (refused.commit, refused.why.to_string())))
            }
            // In a pull request's clone the branch itself may be missing, or cut off: then nothing is known of it.
            (Err(error), Some(_)) => {
                screen::line(&format!(
                    "soll: no host is looked at, because no commit of the branch is known to be accepted: {error}"
                ));
                (None, None)
            }
            (
                Err(ControllerError::NotAccepted(why @ (NotAccepted::Unsigned { .. } | NotAccepted::Rewritten { .. }))),
                None,
            ) => (None, Some((controller.repo.head()?, why.to_string()))),
            (Err(error), None) => return Err(error),
        };
        let newest = refused.as_ref().map(|(commit, _)| *commit).or(accepted.as_ref().map(|a| a.commit));
        let commit = named.or(newest).map_or_else(|| controller.repo.head(), Ok)?;
        if let Some(accepted) = accepted.as_ref().filter(|accepted| accepted.commit == commit) {
            return Ok(Subject::Accepted(accepted.clone()));
        }
        let refused = refused.filter(|(refused, _)| *refused == commit).map(|(_, why)| why);
        if let Some(why) = &refused {
            let seen = match &accepted {
                Some(accepted) => format!("hosts are looked at as commit {} names them", accepted.commit.short()),
                None => "no commit before it is accepted either, so no host is looked at".to_owned(),
            };
            screen::line(&format!("soll: the newest commit {} is not acted on: {why}\n  {seen}", commit.short()));
        }
        Ok(Subject::Proposed { proposal: Arc::new(controller.snapshot(commit)?), accepted, refused })
    }

    fn snapshot(&self) -> &Snapshot {
        match self {
            Subject::Accepted(accepted) => accepted,
            Subject::Proposed { proposal, .. } => proposal,
        }
    }

    fn grounds(&self) -> Grounds<'_> {
        match self {
            Subject::Accepted(accepted) => Grounds::Accepted(accepted),
            Subject::Proposed { proposal, accepted, .. } => {
                Grounds::Proposed { proposal, accepted: accepted.as_deref() }
            }
        }
    }
}
