//! `soll doctor`: what stands between an environment and its next deployment. Changes nothing on any host.

use clap::Args;

use super::findings::print;
use super::global::{Global, names};
use super::{Result, global};
use crate::model::ids::EnvName;
use crate::run::accepted::Standing;
use crate::run::controller::{Controller, ControllerError};
use crate::run::doctor;
use crate::run::finding::Findings;

/// Look for what is wrong.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll doctor                                 every environment
  soll doctor production --accept-new-host-keys")]
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
        let own = controller.clone();
        let (findings, standing) = global::blocking(move || {
            let standing = own.repo.refresh().map_err(ControllerError::from).and_then(|()| own.standing());
            Ok::<_, super::CliError>((doctor::controller(&own, &standing), standing))
        })
        .await?;
        let mut all = vec![findings];
        if let Ok(Standing { accepted, .. }) = standing {
            let wanted = names(&accepted, &self.environments)?;
            all.extend(doctor::doctor(&controller, &accepted, &wanted).await);
        }
        let (findings, unreachable) = doctor::merged(all);
        Ok(print(global, &findings, unreachable))
    }
}
