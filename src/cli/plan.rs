//! `soll plan`: what would be done. Changes nothing and runs no configured command.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;

use super::chosen::Chosen;
use super::global::{Global, Output, blocking, tell_held, tell_verified};
use super::{CliError, Result, out, screen};
use crate::plan::render::{graph, markdown, text};
use crate::plan::{self, PlanVerdict};
use crate::run::changes;
use crate::run::controller::{Controller, Snapshot, now};
use crate::run::look::observe::{Look, Scan};
use crate::run::look::planned_commit::{Found, NothingAccepted, PlannedCommit, Proposed};
use crate::run::look::published::Heard;
use crate::run::planned::planned;
use crate::run::sizes;

/// Show what would be done.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll plan                                   of all environments
  soll plan production --out plan.json        then: soll apply --plan plan.json
  soll plan --ref HEAD --output markdown      the comment on a proposal")]
pub struct Plan {
    #[command(flatten)]
    chosen: Chosen,
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
        let (reader, rev) = (controller.clone(), self.rev.clone());
        let found = match blocking(move || PlannedCommit::find(&reader, rev.as_deref())).await {
            Ok(found) => found,
            Err(error) => return Err(self.comment(global, error)),
        };
        tell(&found);
        let commit = found.commit;
        if self.rev.is_none() {
            tell_edits(&controller, commit.snapshot());
        }
        let snapshot = commit.snapshot();
        let wanted = self.chosen.names(snapshot)?;
        let published = !pulls && !self.observation.is_empty();
        let mut oldest = None;
        let observed = if published {
            let (mut heard, settings) = (Heard::default(), &controller.settings);
            for place in &self.observation {
                let more = Heard::read(&settings.source(place), &settings.secrets).await;
                heard.add(more.map_err(CliError::plain)?);
            }
            oldest = heard.oldest;
            commit.hear(&controller, heard).await
        } else {
            commit.observe(&controller, &wanted, Look { health: true, drift: Scan::Now }).await
        };
        let secrets = commit.secrets(&controller);
        let mut plan = planned(&controller, snapshot, &wanted, &observed, (!published).then_some(&secrets));
        commit.mark(&mut plan);
        if let Some(at) = oldest {
            plan.seen_at(at, now());
        }
        if let Some(path) = &self.out {
            let bytes = serde_json::to_vec_pretty(&plan.canonical()).map_err(|e| CliError::plain(e.to_string()))?;
            std::fs::write(path, bytes)
                .map_err(|error| CliError::plain(format!("cannot write the plan to {}: {error}", path.display())))?;
        }
        // A commit that is not accepted makes nobody ask a registry (law 11).
        if let (PlannedCommit::Accepted(accepted), false) = (&commit, published) {
            sizes::tell(&controller, accepted, &mut plan).await;
            changes::tell(&controller, accepted, &observed, &mut plan).await;
        }
        match global.output {
            Output::Json => out::json(&plan),
            Output::Markdown => out::text(&match &commit.snapshot().held {
                Some(held) => markdown::with_mistakes(&plan, &held.told(&commit.snapshot().commit), &held.found),
                None => markdown::markdown(&plan),
            }),
            Output::Mermaid => plan.environments.iter().for_each(|env| out::text(&graph::mermaid(&env.steps))),
            Output::Dot => {
                plan.environments.iter().for_each(|env| out::text(&graph::dot(env.name.as_str(), &env.steps)));
            }
            Output::Text => {
                out::text(&text::text(&plan, style()));
            }
        }
        Ok(exit(&plan, self.detailed_exitcode))
    }
}

/// Colours where somebody sees them.
pub(super) fn style() -> text::Style {
    if out::colour() { text::Style::Colour } else { text::Style::Plain }
}

impl Plan {
    /// Where the state file is wrong, whoever reads the comment on a proposal is told so there.
    fn comment(&self, global: &Global, error: CliError) -> CliError {
        if let (Output::Markdown, Some(wrong)) = (global.output, error.wrong()) {
            out::text(&markdown::invalid(self.rev.as_deref().unwrap_or("of the branch"), wrong));
        }
        error
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

/// On standard error: edits of the work tree that are in no commit, and in no plan.
fn tell_edits(controller: &Controller, snapshot: &Snapshot) {
    let Some(tree) = controller.repo.work_tree() else { return };
    let written = &snapshot.written;
    let own = written.environments.values().chain(written.templates.values());
    let files: BTreeSet<&str> = own.map(|own| own.file.as_str()).collect();
    let main = controller.settings.file.as_str();
    let is_edited = |file: &&str| {
        let Ok(there) = std::fs::read(tree.join(file)) else { return false };
        let committed = controller.repo.read(&snapshot.commit, file);
        // Git may write line ends of its own into a work tree.
        let plain = |bytes: &[u8]| bytes.iter().copied().filter(|byte| *byte != b'\r').collect::<Vec<u8>>();
        committed.is_ok_and(|committed| committed.is_none_or(|committed| plain(&committed) != plain(&there)))
    };
    let edited: Vec<&str> =
        std::iter::once(main).chain(files.into_iter().filter(|file| *file != main)).filter(is_edited).collect();
    if !edited.is_empty() {
        let (files, commit) = (edited.join(", "), snapshot.commit.short());
        screen::line(&format!(
            "soll: {files} in {} is not as in commit {commit}: what is not committed is not looked at\n  commit it, or \
             check it first: soll validate",
            tree.display().to_string().trim_end_matches('/')
        ));
    }
}

/// On standard error: what the plan is about, where it is not the newest commit as it is acted on.
fn tell(found: &Found) {
    tell_verified(found.verified);
    let Proposed { proposal, accepted, refused } = match &found.commit {
        PlannedCommit::Accepted(accepted) => return tell_held(accepted),
        PlannedCommit::Proposed(proposed) => proposed,
    };
    if let Err(NothingAccepted(Some(error))) = accepted {
        screen::line(&format!(
            "soll: no host is looked at, because no commit of the branch is known to be accepted: {error}"
        ));
    }
    if let Some(why) = refused {
        let seen = match accepted {
            Ok(accepted) => format!("hosts are looked at as commit {} names them", accepted.commit.short()),
            Err(_) => "no commit before it is accepted either, so no host is looked at".to_owned(),
        };
        screen::line(&format!("soll: the newest commit {} is not acted on: {why}\n  {seen}", proposal.commit.short()));
    }
}
