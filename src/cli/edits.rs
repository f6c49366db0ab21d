//! `release`, `promote`, `rollback`, `freeze`, `unfreeze`: commits to the state file, everything else in it kept byte
//! for byte. What is committed is carried out by the daemon, or by the next `apply`.

use std::sync::Arc;

use clap::Args;

use super::global::{Global, Output, blocking};
use super::{CliError, Result, out};
use crate::model::ids::{EnvName, ReleaseName, Sha};
use crate::model::observed::{HostObserved, HostState, Resolved};
use crate::run::accepted::AcceptedSnapshot;
use crate::run::commit::{Change, commit, known};
use crate::run::controller::Controller;
use crate::run::look::observe::{Look, Scan, observe};

/// Commit a release.
#[derive(Args)]
pub struct Release {
    environment: EnvName,
    /// A full SHA, or a tag
    release: String,
    /// For the commit message
    #[arg(long, short)]
    message: Option<String>,
}

/// Commit what one environment runs as the release of another.
#[derive(Args)]
pub struct Promote {
    from: EnvName,
    to: EnvName,
}

/// Commit an earlier release.
#[derive(Args)]
pub struct Rollback {
    environment: EnvName,
    /// A SHA, or the name of a release on the host [default: the one that was confirmed before]
    #[arg(long, value_name = "SHA|RELEASE")]
    to: Option<String>,
}

/// Commit a freeze.
#[derive(Args)]
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
        let subject = format!("Release {} to {}", short(&self.release), self.environment);
        let message = self.message.map_or(subject.clone(), |more| format!("{subject}\n\n{more}\n"));
        write(global, self.environment, Change::Release(self.release), message).await
    }
}

impl Promote {
    /// Looks at what runs there, and commits it here.
    pub async fn run(self, global: &Global) -> Result {
        let (controller, snapshot) = global.newest(&[]).await?;
        known(&snapshot, &self.to)?;
        let (states, _) = states(&controller, &snapshot, &self.from).await?;
        let mut shas = states.iter().map(|state| {
            let confirmed = state.record.confirmed.as_ref().filter(|_| state.record.probation.is_none());
            confirmed.filter(|c| state.current.release() == Some(&c.release)).and_then(|c| c.sha.clone())
        });
        let sha = shas.next().flatten();
        let same = shas.all(|other| other == sha);
        let sha = sha.filter(|_| same).ok_or_else(|| {
            CliError::plain(format!("{} does not run one confirmed release on all of its hosts", self.from))
                .hint(format!("soll why {}", self.from))
                .exit(4)
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
        let sha = match &self.to {
            Some(to) => named(to, &states, &self.environment)?,
            None => states.iter().find_map(|state| before(state, desired.as_ref())).ok_or_else(|| {
                CliError::plain(format!("{} has no earlier release that was confirmed", self.environment))
                    .hint("name one: --to SHA or --to RELEASE")
            })?,
        };
        let message = format!("Roll {} back to {}", self.environment, sha.short());
        write(global, self.environment, Change::Release(sha.to_string()), message).await
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

/// The hosts of an environment, and the commit that is desired there, where that is known.
async fn states(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    name: &EnvName,
) -> Result<(Vec<HostState>, Option<Sha>)> {
    known(snapshot, name)?;
    let look = Look { health: false, drift: Scan::Last };
    let mut observed = observe(controller, snapshot, std::slice::from_ref(name), look).await;
    let seen = observed.environments.remove(name).unwrap_or_default();
    let desired = match seen.resolved {
        Resolved::Sha(sha) => Some(sha),
        Resolved::Unknown(_) | Resolved::NotAsked => None,
    };
    let states = seen.hosts.into_iter().map(|(host, seen)| match seen {
        HostObserved::Reached(state) => Ok(*state),
        HostObserved::Unreachable(why) => Err(CliError::plain(format!("{host} cannot be reached: {why}")).exit(6)),
    });
    Ok((states.collect::<Result<_>>()?, desired))
}

/// What was confirmed before what is desired now; the confirmed one itself, where something else is desired.
fn before(state: &HostState, desired: Option<&Sha>) -> Option<Sha> {
    let record = &state.record;
    if let Some(sha) = record.confirmed.as_ref().and_then(|c| c.sha.clone())
        && Some(&sha) != desired
    {
        return Some(sha);
    }
    let live = record.confirmed.as_ref().map(|c| &c.release);
    let earlier = record.releases.iter().filter(|(name, release)| {
        let other = release.sha.is_some() && release.sha.as_ref() != desired;
        release.confirmed_at.is_some() && !release.failed && Some(*name) != live && other
    });
    earlier.max_by_key(|(_, release)| release.confirmed_at).and_then(|(_, release)| release.sha.clone())
}

/// A SHA as it is; a release by what the host knows of it.
fn named(to: &str, states: &[HostState], env: &EnvName) -> Result<Sha> {
    if let Ok(sha) = to.parse::<Sha>() {
        return Ok(sha);
    }
    let name: ReleaseName = to.parse().map_err(|_| {
        CliError::usage(format!(
            "`{to}` is neither a full SHA nor the name of a release such as 20251028_150000-abc12345"
        ))
    })?;
    let state = states.iter().find(|state| state.releases.contains(&name));
    let Some(state) = state else {
        let there: Vec<_> = states.iter().flat_map(|s| &s.releases).map(ReleaseName::as_str).collect();
        let hint = format!("there are: {}", there.join(", "));
        return Err(CliError::plain(format!("{env} has no release {name}")).hint(hint));
    };
    let known = state.record.releases.get(&name).and_then(|release| release.sha.clone());
    known.ok_or_else(|| {
        CliError::plain(format!("nobody knows the full commit of release {name}: soll did not make it"))
            .hint("name the full SHA; if its first digits are those of the release, no bundle is needed")
    })
}

fn short(release: &str) -> &str {
    if release.parse::<Sha>().is_ok() { &release[..8] } else { release }
}
