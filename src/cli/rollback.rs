//! `soll rollback`: each environment that is named to the release that was confirmed there before, in one commit; one alone
//! also with its databases.

use std::sync::Arc;

use clap::Args;

use super::apply::{Apply, worst};
use super::chosen::{Chosen, must_be_said};
use super::edits::{Commit, Target};
use super::global::Global;
use super::restore::{PATIENCE, Restore, confirmed};
use super::{CliError, Result, out, screen};
use crate::model::backup::name::{BackupName, Content};
use crate::model::backup::proof::Outcome;
use crate::model::desired::Environment;
use crate::model::ids::{EnvName, ReleaseName, Sha};
use crate::model::observed::{EnvObserved, HostObserved, HostState, Observed, Resolved};
use crate::plan::pick::{Pick, before, named};
use crate::run::accepted::AcceptedSnapshot;
use crate::run::commit::{Change, Line, Place, known};
use crate::run::controller::{Controller, Snapshot};
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::operate::restore::{At, Wish, plan};
use crate::run::pass::backup::prove::{Trying, prove};

/// Commit an earlier release.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll rollback production                    to the one confirmed before
  soll rollback production --to f0959baf
  soll rollback production --with-database    and its data, as they were then")]
pub struct Rollback {
    #[command(flatten)]
    chosen: Chosen,
    /// A SHA, or the name of a release on the host [default: the one that was confirmed before]
    #[arg(long, value_name = "SHA|RELEASE")]
    to: Option<String>,
    /// Then deploy it, and put its databases back as they were before the release that is left was deployed
    #[arg(long)]
    with_database: bool,
    /// With --with-database: do it without asking
    #[arg(long, requires = "with_database")]
    yes: bool,
}

impl Rollback {
    /// Finds the earlier releases, and commits them.
    pub async fn run(self, global: &Global) -> Result {
        let choice = must_be_said(self.chosen.clone().choice()?)?;
        if let Some(to) = self.to.as_ref().filter(|to| to.parse::<Sha>().is_err() && to.parse::<ReleaseName>().is_err())
        {
            return Err(CliError::usage(format!(
                "`{to}` is neither a commit nor the name of a release such as 20251028_150000-abc12345"
            )));
        }
        if self.with_database && choice.only().is_none() {
            return Err(CliError::usage("--with-database puts the data of one environment back: name one"));
        }
        let (controller, snapshot) = global.newest(&[]).await?;
        let names = choice.of(&snapshot)?;
        let observed = observe(&controller, &snapshot, &names, Look { health: false, drift: Scan::Last }).await;
        if let Some(name) = choice.only() {
            let (states, desired) = states(&observed, name)?;
            let pick = self.pick(name, &states, desired.as_ref())?;
            return match self.with_database {
                true => self.with_database(global, &controller, &snapshot, name, (&states, &pick)).await,
                false => one(&snapshot, name, &pick).run(global).await,
            };
        }
        let picked = |name: &EnvName| {
            let (states, desired) = states(&observed, name)?;
            self.pick(name, &states, desired.as_ref())
        };
        if let Some(template) = choice.whole_template() {
            // Those that are pinned have left it.
            let follow = names.into_iter().filter(|name| snapshot.written.pin(name).is_none());
            let picks = follow.map(|name| Ok((picked(&name)?, name))).collect::<Result<Vec<_>>>()?;
            return of_template(&snapshot, template, &picks)?.run(global).await;
        }
        let (mut picks, mut exits) = (Vec::new(), Vec::new());
        for name in names {
            match picked(&name) {
                Ok(pick) => picks.push((name, pick)),
                // What cannot go back keeps nobody else from it.
                Err(error) => {
                    exits.push(error.exit);
                    error.print();
                }
            }
        }
        if picks.is_empty() {
            return Ok(worst(exits));
        }
        exits.push(of_each(&snapshot, picks).run(global).await?);
        Ok(worst(exits))
    }

    fn pick(&self, name: &EnvName, states: &[HostState], desired: Option<&Sha>) -> Result<Pick> {
        let pick = match &self.to {
            Some(to) => named(to, states, name),
            None => before(name, states, desired),
        };
        pick.map_err(|unclear| CliError::plain(unclear.message).hint(unclear.fix))
    }

    async fn with_database(
        &self,
        global: &Global,
        controller: &Arc<Controller>,
        snapshot: &Arc<AcceptedSnapshot>,
        name: &EnvName,
        (states, pick): (&[HostState], &Pick),
    ) -> Result {
        let env = known(snapshot, name)?;
        let Some((backup, job)) = self.saved(controller, snapshot, env, states).await? else {
            out::text("nothing was changed\n");
            return Ok(1);
        };
        tried(controller, snapshot, env, (backup, &job)).await?;
        let commit = one(snapshot, name, pick);
        let message = commit.subject.clone();
        commit.run(global).await?;
        let apply = Apply { chosen: Chosen::one(name.clone()), plan: None, observation: Vec::new() };
        let exit = Box::pin(apply.run(global)).await?;
        if exit != 0 {
            let hint = format!("--at {backup} --backup {job} --database-only");
            screen::line(&format!("soll: the databases of {name} are as they were; then: soll restore {name} {hint}"));
            return Ok(exit);
        }
        Box::pin(Restore::of_databases(name.clone(), backup, job, message).run(global)).await
    }

    /// The backup from before the release that is left, by name and job, and a person's word; `None`: the word is no.
    async fn saved(
        &self,
        controller: &Arc<Controller>,
        snapshot: &Arc<AcceptedSnapshot>,
        env: &Environment,
        states: &[HostState],
    ) -> Result<Option<(BackupName, String)>> {
        let name = &env.name;
        let Some(left) = states.iter().find_map(|state| state.current.release().cloned()) else {
            return Err(CliError::plain(format!("{name} runs no release that could be left")));
        };
        let mut why = format!("no backup of {name} is made before deployments (`pre_deploy`)");
        for backup in env.backups.iter().filter(|backup| backup.pre_deploy && !backup.databases.is_empty()) {
            let (only, reason) = (Some(Content::Database), String::new());
            let wish = Wish {
                at: At::Before(left.clone()),
                only,
                unproven: false,
                without_safety: false,
                tried: false,
                reason,
            };
            match plan(controller, snapshot, (env, backup), wish).await {
                Ok(plan) if self.yes || confirmed(env, &plan)? => {
                    return Ok(Some((plan.backup(), plan.job().to_owned())));
                }
                Ok(_) => return Ok(None),
                Err(error) => why = format!("the backup from before {left} cannot be had: {error}"),
            }
        }
        Err(CliError::plain(format!("nothing was changed: {why}")).hint(format!("without it: soll rollback {name}")))
    }
}

/// Tries it before the earlier release is deployed: that would run on data that nobody can bring back.
async fn tried(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
    (backup, job): (BackupName, &str),
) -> Result<()> {
    let Some(of) = env.backups.iter().find(|backup| backup.name == job) else { return Ok(()) };
    let (only, reason) = (Some(Content::Database), format!("before a rollback of {}", env.name));
    let trying = Trying { backup: Some(backup), reason, patience: PATIENCE, keep: false, here: true, only };
    let report = prove(controller, snapshot, (env, of), trying, &|line| screen::line(line)).await?;
    match report.faithful() {
        Outcome::Pass => Ok(()),
        _ => {
            let why =
                format!("nothing was changed, because {backup} cannot be shown to be what was saved: {}", report.why());
            Err(CliError::plain(why).hint(format!("without it: soll rollback {}", env.name)))
        }
    }
}

/// One environment; where it followed a template it is pinned by that.
fn one(snapshot: &Snapshot, name: &EnvName, pick: &Pick) -> Commit {
    let target = Target::Environments(vec![name.clone()]);
    let lines = vec![Line::of(name.clone(), Change::Release(pick.text()))];
    let subject = format!("Roll {name} back to {}", pick.short());
    Commit { pins: pinned(snapshot, [name]), ..Commit::of(target, lines, subject) }
}

/// Each to its own.
fn of_each(snapshot: &Snapshot, picks: Vec<(EnvName, Pick)>) -> Commit {
    let body = picks.iter().map(|(name, pick)| format!("{name} to {}", pick.short())).collect::<Vec<_>>().join("\n");
    let lines = picks.iter().map(|(name, pick)| Line::of(name.clone(), Change::Release(pick.text()))).collect();
    let pins = pinned(snapshot, picks.iter().map(|(name, _)| name));
    let target = Target::Environments(picks.into_iter().map(|(name, _)| name).collect());
    let subject = format!("Roll {} back", target.told());
    Commit { body: Some(body), pins, ..Commit::of(target, lines, subject) }
}

/// Those of them that have followed their template so far, and do not any more with a line of their own.
fn pinned<'a>(snapshot: &Snapshot, names: impl IntoIterator<Item = &'a EnvName>) -> Vec<EnvName> {
    let written = &snapshot.written;
    let follows = |name: &&EnvName| {
        let has_own = written.environments.get(*name).is_some_and(|own| own.release.is_some());
        !has_own && written.template_of(name).is_some_and(|(_, own)| own.release.is_some())
    };
    names.into_iter().filter(follows).cloned().collect()
}

/// The line that all of them follow, where all of them go back to the same.
fn of_template(snapshot: &Snapshot, template: &str, picks: &[(Pick, EnvName)]) -> Result<Commit> {
    let Some((pick, first)) = picks.first() else {
        return Err(CliError::plain(format!(
            "no environment follows the template {template}, so none says where it was"
        )));
    };
    if let Some((other, name)) = picks.iter().find(|(other, _)| other != pick) {
        let why = format!("{first} goes back to {}, and {name} to {}", pick.short(), other.short());
        return Err(CliError::plain(format!("the template {template} has one line for all of them: {why}"))
            .hint(format!("say where to: --to SHA; or each to its own: soll rollback {first} {name} …")));
    }
    let place = Place::Template(template.to_owned());
    let lines = vec![Line { place, change: Change::Release(pick.text()) }];
    let subject = format!("Roll the template {template} back to {}", pick.short());
    Ok(Commit::of(Target::template(snapshot, template), lines, subject))
}

/// The hosts of an environment, and the commit that is desired there, where that is known.
fn states(observed: &Observed, name: &EnvName) -> Result<(Vec<HostState>, Option<Sha>)> {
    let seen = observed.environments.get(name).cloned().unwrap_or_default();
    let desired = match seen.resolved {
        Resolved::Sha(sha) => Some(sha),
        Resolved::Unknown(_) | Resolved::NotAsked => None,
    };
    let EnvObserved { hosts, cures, .. } = seen;
    let states = hosts.into_iter().map(|(host, seen)| match seen {
        HostObserved::Reached(state) => Ok(*state),
        HostObserved::Unreachable(why) => {
            let fix = cures.get(&host).cloned().unwrap_or_else(|| format!("see what it needs: soll why {name}"));
            Err(CliError::plain(format!("{host} cannot be reached: {why}")).hint(fix).exit(6))
        }
    });
    Ok((states.collect::<Result<_>>()?, desired))
}
