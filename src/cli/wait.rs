//! `soll wait`: until an environment runs what is desired; for CI jobs that committed a release.

use std::time::Duration;

use clap::Args;

use super::global::{self, Global, names, tell};
use super::{CliError, Result, out};
use crate::model::desired::{Address, Target};
use crate::model::ids::EnvName;
use crate::plan::render::parts;
use crate::plan::{Code, Health, Sync};
use crate::run::controller::ControllerError;
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::pass::outcome::decisive;
use crate::run::planned::planned;

/// Between two looks at hosts: of this machine alone, or of others.
const NEAR: Duration = Duration::from_millis(250);
const FAR: Duration = Duration::from_secs(2);

/// Wait for an environment.
#[derive(Args)]
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
                _ => (1, "it is not there yet".to_owned(), more),
            };
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
