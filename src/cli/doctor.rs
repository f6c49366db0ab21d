//! `soll doctor`: what stands between an environment and its next deployment. Changes nothing on any host.

use clap::Args;

use super::findings::print;
use super::global::{Global, names};
use super::plan::snapshot;
use super::{Result, global};
use crate::model::ids::EnvName;
use crate::run::controller::Controller;
use crate::run::doctor;
use crate::run::finding::Findings;

/// Look for what is wrong.
#[derive(Args)]
pub struct Doctor {
    /// The environments [default: all]
    environments: Vec<EnvName>,
    /// Believe hosts that nobody knows yet, show their fingerprints and add them to `known_hosts`; never a changed key
    #[arg(long)]
    accept_new_host_keys: bool,
}

impl Doctor {
    /// Looks and prints.
    pub async fn run(self, global: &Global) -> Result {
        let mut settings = global.settings()?;
        settings.ssh.accept = self.accept_new_host_keys.then(Default::default);
        let controller = match Controller::open(settings) {
            Ok(controller) => controller,
            Err(error) => {
                let mut findings = Findings::about("controller", None);
                findings.fail("start", error.to_string(), "correct the controller's settings");
                return Ok(print(global, &findings.all, false));
            }
        };
        let snapshot = snapshot(&controller, None).await;
        let (own, read) =
            (controller.clone(), snapshot.as_ref().map(|s| s.clone()).map_err(|error| error.text().to_owned()));
        let own = global::blocking(move || {
            let read = read.as_deref().map_err(String::as_str);
            Ok::<_, super::CliError>(doctor::controller(&own, read))
        })
        .await?;
        let mut all = vec![own];
        if let Ok(snapshot) = snapshot {
            let wanted = names(&snapshot, &self.environments)?;
            all.extend(doctor::doctor(&controller, &snapshot, &wanted).await);
        }
        let (findings, unreachable) = doctor::merged(all);
        Ok(print(global, &findings, unreachable))
    }
}
