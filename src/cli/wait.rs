//! `soll wait`: until an environment runs what is desired; for CI jobs that committed a release.

use std::time::Duration;

use clap::Args;

use super::global::{self, Global, names, tell};
use super::{CliError, Result, out, screen};
use crate::model::desired::{Address, Target};
use crate::model::ids::EnvName;
use crate::model::observed::{HostObserved, Observed};
use crate::plan::render::parts;
use crate::plan::{Code, Health, Sync};
use crate::run::controller::{Controller, ControllerError};
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::pass::outcome::decisive;
use crate::run::planned::planned;

/// Between two looks at hosts: of this machine alone, or of others.
const NEAR: Duration = Duration::from_millis(250);
const FAR: Duration = Duration::from_secs(2);

/// A daemon begins within this time after a commit, where one follows the repository as often as is usual.
const QUIET: Duration = Duration::from_secs(30);

/// Where nobody works, as far as this controller sees.
fn idle(environment: &EnvName) -> String {
    format!("nobody was seen at work on {environment} from here")
}

/// What to do where nobody works.
fn nobody(environment: &EnvName) -> String {
    format!("soll apply {environment}, here; or let the daemon follow the repository: soll run")
}

/// Whether somebody works on the environment, as far as it can be seen from here.
struct Watch {
    since: tokio::time::Instant,
    seen: bool,
    told: bool,
}

impl Watch {
    /// A run of this controller that is not over, a root that somebody holds, a release on probation.
    fn look(&mut self, controller: &Controller, observed: &Observed, environment: &EnvName) {
        let at_work = |host: &HostObserved| match host {
            HostObserved::Reached(state) => state.holder.is_some() || state.record.probation.is_some(),
            // Who cannot be seen may be worked on.
            _ => true,
        };
        let hosts = observed.environments.get(environment).map(|seen| seen.hosts.values());
        let here = controller.store.last_run(environment).ok().flatten().is_some_and(|run| run.result.is_none());
        self.seen |= here || hosts.into_iter().flatten().any(at_work);
    }
}

/// Wait for an environment.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll release production v1.4.0
  soll wait production --timeout 5m")]
pub struct Wait {
    environment: EnvName,
    /// How long at most
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

impl Wait {
    /// Polls until it is in sync and healthy, quarantined, or too late.
    pub async fn run(self, options: &Global) -> Result {
        let controller = options.controller()?;
        let deadline = tokio::time::Instant::now() + self.timeout;
        // A repository of this machine costs nothing to ask; a remote one is asked as often as the loop asks it.
        let asks = if controller.repo.is_remote() { controller.settings.poll } else { Duration::ZERO };
        let mut told = None;
        let mut watch = Watch { since: tokio::time::Instant::now(), seen: false, told: false };
        let mut asked = tokio::time::Instant::now();
        let mut standing = global::standing(&controller).await?;
        loop {
            if asked.elapsed() >= asks {
                asked = tokio::time::Instant::now();
                standing = global::standing(&controller).await?;
            }
            let refused = standing.refused.as_ref().map(|refused| refused.why.to_string());
            if refused != told {
                tell(&standing);
                told.clone_from(&refused);
            }
            let snapshot = standing.accepted.clone();
            let wanted = names(&snapshot, std::slice::from_ref(&self.environment))?;
            let observed = observe(&controller, &snapshot, &wanted, Look { health: true, drift: Scan::Last }).await;
            let plan = planned(&controller, &snapshot, &wanted, &observed, Some(snapshot.secrets()));
            let Some(env) = plan.environments.first() else { return Ok(1) };
            watch.look(&controller, &observed, &self.environment);
            // What was asked for is in a commit that nobody acts on: until it is accepted, nothing gets there.
            let is_wrong = standing
                .refused
                .as_ref()
                .is_some_and(|r| matches!(r.why, ControllerError::Invalid(_) | ControllerError::Unread(_)));
            let more = format!("soll why {}", self.environment);
            let (exit, why, next) = match (&refused, decisive(env)) {
                (Some(why), _) => {
                    (if is_wrong { 1 } else { 4 }, format!("the newest commit is not acted on: {why}"), more)
                }
                _ if snapshot.held.as_ref().is_some_and(|held| held.environments.contains_key(&env.name)) => {
                    (1, "the file that defines it is wrong in the newest commit".to_owned(), more)
                }
                _ if env.sync == Sync::InSync && matches!(env.health, Health::Healthy | Health::Unknown) => {
                    out::text(&format!("{} runs {}\n", self.environment, parts::soll(env)));
                    return Ok(0);
                }
                (_, Some((blocker, _))) if blocker.code == Code::Quarantined => {
                    return Err(CliError::plain(blocker.message.clone()).hint(blocker.fix.clone()).exit(7));
                }
                // The exit code of an `apply` that stops for it.
                (_, Some((blocker, exit))) => (exit, blocker.message.clone(), format!("{}; {more}", blocker.fix)),
                _ if env.sync == Sync::Unknown => (6, "its state is unknown".to_owned(), more),
                _ if !watch.seen => (1, idle(&self.environment), nobody(&self.environment)),
                _ => (1, "it is not there yet".to_owned(), more),
            };
            // Whoever waits for what nobody does is told so before his patience is over.
            if exit == 1 && !watch.seen && !watch.told && watch.since.elapsed() >= QUIET {
                watch.told = true;
                screen::line(&format!("soll: {}\n  next: {}", idle(&self.environment), nobody(&self.environment)));
            }
            if tokio::time::Instant::now() >= deadline {
                let message = format!("{} did not get there within {:?}: {why}", self.environment, self.timeout);
                return Err(CliError::plain(message).hint(next).exit(exit));
            }
            let remote = |target: &Target| !matches!(target.address, Address::Local);
            let far =
                snapshot.desired.environments.get(&self.environment).is_some_and(|env| env.targets.iter().any(remote));
            // Each look at a host that is far away asks all of its checks.
            let pause = if far { FAR } else { NEAR };
            tokio::time::sleep(pause.min(self.timeout)).await;
        }
    }
}
