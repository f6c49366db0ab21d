//! `release`, `promote`, `rollback`, `freeze`, `unfreeze`: commits to the state file, everything else in it kept byte
//! for byte. What is committed is carried out by the daemon, or by the next `apply`.

use std::sync::Arc;

use clap::Args;

use super::apply::Apply;
use super::global::{Global, Output, blocking};
use super::restore::{Restore, confirmed};
use super::{CliError, Result, out, screen, shortened};
use crate::model::backup::name::{BackupName, Content};
use crate::model::desired::Environment;
use crate::model::ids::{EnvName, ReleaseName, Sha};
use crate::model::observed::{EnvObserved, HostObserved, HostState, Resolved};
use crate::plan::pick::{before, named, promoted};
use crate::run::accepted::AcceptedSnapshot;
use crate::run::commit::{Change, commit, known};
use crate::run::controller::Controller;
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::operate::restore::{At, Wish, plan};

/// Commit a release.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll release staging v1.4.0                 a tag, or a full commit id
  soll release staging v1.4.0 -m Hotfix")]
pub struct Release {
    environment: EnvName,
    /// A full SHA, or a tag; the first digits of a commit that an environment wants or that was deployed here
    release: String,
    /// For the commit message
    #[arg(long, short)]
    message: Option<String>,
}

/// Commit what one environment was released to, and has confirmed, as the release of another.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll promote staging production")]
pub struct Promote {
    from: EnvName,
    to: EnvName,
    /// What it has confirmed and runs, where it is to run something else by now
    #[arg(long)]
    running: bool,
}

/// Commit an earlier release.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll rollback production                    to the one confirmed before
  soll rollback production --to f0959baf
  soll rollback production --with-database    and its data, as they were then")]
pub struct Rollback {
    environment: EnvName,
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

/// Commit a freeze.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll freeze production --reason Holidays
  soll unfreeze production")]
pub struct Freeze {
    environment: EnvName,
    #[arg(long)]
    reason: String,
}

/// Commit its end.
#[derive(Args)]
pub struct Unfreeze {
    environment: EnvName,
}

impl Release {
    /// Commits.
    pub async fn run(self, global: &Global) -> Result {
        let controller = global.controller()?;
        let release = blocking(move || {
            controller.repo.refresh()?;
            shortened::whole(&self.release, &controller)
        })
        .await?;
        let subject = format!("Release {} to {}", short(&release), self.environment);
        let message = self.message.map_or(subject.clone(), |more| format!("{subject}\n\n{more}\n"));
        write(global, self.environment, Change::Release(release), message).await
    }
}

impl Promote {
    /// Looks at what is desired and confirmed there, and commits it here.
    pub async fn run(self, global: &Global) -> Result {
        let (controller, snapshot) = global.newest(&[]).await?;
        known(&snapshot, &self.to)?;
        let seen = seen(&controller, &snapshot, &self.from).await?;
        let from = known(&snapshot, &self.from)?;
        let sha = promoted(from, &seen, &self.to, self.running).map_err(|unclear| {
            CliError::plain(unclear.message).hint(unclear.fix).exit(if unclear.unseen { 6 } else { 4 })
        })?;
        let message = format!("Promote {} from {} to {}", sha.short(), self.from, self.to);
        write(global, self.to, Change::Release(sha.to_string()), message).await
    }
}

impl Rollback {
    /// Finds the earlier release, and commits it.
    pub async fn run(self, global: &Global) -> Result {
        let (controller, snapshot) = global.newest(&[]).await?;
        known(&snapshot, &self.environment)?;
        let (states, desired) = states(&controller, &snapshot, &self.environment).await?;
        let pick = match &self.to {
            Some(to) if to.parse::<Sha>().is_err() && to.parse::<ReleaseName>().is_err() => {
                return Err(CliError::usage(format!(
                    "`{to}` is neither a commit nor the name of a release such as 20251028_150000-abc12345"
                )));
            }
            Some(to) => named(to, &states, &self.environment),
            None => before(&self.environment, &states, desired.as_ref()),
        };
        let pick = pick.map_err(|unclear| CliError::plain(unclear.message).hint(unclear.fix))?;
        let message = format!("Roll {} back to {}", self.environment, pick.short());
        if !self.with_database {
            return write(global, self.environment, Change::Release(pick.text()), message).await;
        }
        let env = known(&snapshot, &self.environment)?;
        let Some((backup, job)) = self.saved(&controller, &snapshot, env, &states).await? else {
            out::text("nothing was changed\n");
            return Ok(1);
        };
        write(global, self.environment.clone(), Change::Release(pick.text()), message.clone()).await?;
        let apply = Apply { environments: vec![self.environment.clone()], plan: None, observation: Vec::new() };
        let exit = Box::pin(apply.run(global)).await?;
        if exit != 0 {
            let (name, hint) = (&self.environment, format!("--at {backup} --backup {job} --database-only"));
            screen::line(&format!("soll: the databases of {name} are as they were; then: soll restore {name} {hint}"));
            return Ok(exit);
        }
        Box::pin(Restore::of_databases(self.environment, backup, job, message).run(global)).await
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
            let wish = Wish { at: At::Before(left.clone()), only, unproven: false, without_safety: false, reason };
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

impl Freeze {
    /// Commits.
    pub async fn run(self, global: &Global) -> Result {
        if self.reason.trim().is_empty() {
            return Err(CliError::usage("a freeze needs a reason that people understand"));
        }
        let message = format!("Freeze {}: {}", self.environment, self.reason);
        write(global, self.environment, Change::Set { key: "frozen", value: self.reason }, message).await
    }
}

impl Unfreeze {
    /// Commits.
    pub async fn run(self, global: &Global) -> Result {
        let message = format!("Unfreeze {}", self.environment);
        write(global, self.environment, Change::Remove { key: "frozen" }, message).await
    }
}

async fn write(global: &Global, env: EnvName, change: Change, message: String) -> Result {
    let controller = global.controller()?;
    let worker = controller.clone();
    let subject = message.lines().next().unwrap_or_default().to_owned();
    let (before, after) = blocking(move || {
        worker.repo.refresh()?;
        let before = worker.repo.head()?;
        Ok::<_, CliError>((before, commit(&worker, &env, &change, &message, None)?))
    })
    .await?;
    let changed = before != after;
    if global.output == Output::Json {
        out::json(&serde_json::json!({ "commit": after.to_string(), "changed": changed, "subject": subject }));
    } else if changed {
        out::text(&format!("{subject} (commit {})\n", after.short()));
    } else {
        out::text("nothing to commit: it says so already\n");
    }
    Ok(0)
}

/// An environment as it is now.
async fn seen(controller: &Arc<Controller>, snapshot: &Arc<AcceptedSnapshot>, name: &EnvName) -> Result<EnvObserved> {
    known(snapshot, name)?;
    let look = Look { health: false, drift: Scan::Last };
    let mut observed = observe(controller, snapshot, std::slice::from_ref(name), look).await;
    Ok(observed.environments.remove(name).unwrap_or_default())
}

/// The hosts of an environment, and the commit that is desired there, where that is known.
async fn states(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    name: &EnvName,
) -> Result<(Vec<HostState>, Option<Sha>)> {
    let seen = seen(controller, snapshot, name).await?;
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

fn short(release: &str) -> &str {
    if release.parse::<Sha>().is_ok() { &release[..8] } else { release }
}
