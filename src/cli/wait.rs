//! `soll wait`: until an environment runs what is desired; for CI jobs that committed a release.

use std::time::Duration;

use clap::Args;

use super::global::{self, Global, names, tell};
use super::{CliError, Result, out};
use crate::model::desired::{Address, Target};
use crate::model::ids::EnvName;
use crate::plan::{Code, Health, Sync};
use crate::run::look::observe::{Look, Scan, observe};
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
            let plan = planned(&controller, &snapshot, &wanted, &observed, true);
            let Some(env) = plan.environments.first() else { return Ok(1) };
            // What was asked for is in a commit that nobody acts on: until it is accepted, nothing gets there.
            let waited = match (&refused, env.blocking().next()) {
                (Some(why), _) => (4, format!("the newest commit is not acted on: {why}")),
                _ if env.sync == Sync::InSync && matches!(env.health, Health::Healthy | Health::Unknown) => {
                    let desired = env.desired.as_ref().map_or("", |sha| sha.short());
                    out::text(&format!("{} runs {desired}\n", self.environment));
                    return Ok(0);
                }
                (_, Some(blocker)) if blocker.code == Code::Quarantined => {
                    return Err(CliError::plain(blocker.message.clone()).hint(blocker.fix.clone()).exit(7));
                }
                (_, Some(blocker)) => (4, blocker.message.clone()),
                _ if env.sync == Sync::Unknown => (6, "its state is unknown".to_owned()),
                _ => (1, "it is not there yet".to_owned()),
            };
            if tokio::time::Instant::now() >= deadline {
                let message = format!("{} did not get there within {:?}: {}", self.environment, self.timeout, waited.1);
                let hint = format!("soll why {}", self.environment);
                return Err(CliError::plain(message).hint(hint).exit(waited.0));
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
