//! `soll provision ENV`: makes the layout of a new server. Again and again is as good as once.

use std::path::PathBuf;

use clap::Args;

use super::findings::print;
use super::global::Global;
use super::{CliError, Result};
use crate::host::wire::provision::{Provision, What};
use crate::host::wire::{HostError, Lost, Op, Reply, Secret};
use crate::model::ids::EnvName;
use crate::model::machine;
use crate::model::record::Refusal;
use crate::run::commit::known;
use crate::run::finding::{Findings, Opinion};
use crate::run::look::observe::must_lead_on;
use crate::run::look::reach::ask;

/// Make the directories of an environment on its hosts.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll provision production --dry-run
  soll provision production --owner www-data --env-file production.env")]
pub struct ProvisionArgs {
    environment: EnvName,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// The user that gets what is made (`www-data`) [default: who logs in]
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// The group that gets what is made [default: that of the owner]
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Give directories that exist the same owner and mode
    #[arg(long)]
    adjust: bool,
    /// Put this file of yours at the place of the environment file, with mode 640, where there is none yet
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
}

impl ProvisionArgs {
    /// Makes it on every host.
    pub async fn run(self, global: &Global) -> Result {
        let (controller, snapshot) = global.accepted().await?;
        let env = known(&snapshot, &self.environment)?;
        if !self.dry_run {
            must_lead_on(&controller, &snapshot, &env.name).await?;
        }
        let file = match &self.env_file {
            None => None,
            Some(path) => {
                let from = env.env_file().map(|file| file.from.clone()).ok_or_else(|| {
                    CliError::usage(format!("{} has no environment file among its `shared_files`", env.name))
                })?;
                if let Some(file) = env.rendered(&from) {
                    let (name, template) = (&env.name, &file.template);
                    return Err(CliError::usage(format!(
                        "shared/{from} of {name} is rendered from {template} with each deployment: what is put there would be \
                         replaced. Change the template, the variables or the secrets instead"
                    )));
                }
                let text = std::fs::read_to_string(path)
                    .map_err(|error| CliError::plain(format!("cannot read {}: {error}", path.display())))?;
                Some((from, Secret::new(text)))
            }
        };
        let (mut all, mut unreachable) = (Vec::new(), false);
        for target in &env.targets {
            let mut findings = Findings::about(target.name.as_str(), Some(&env.name));
            let machine = controller.machines(vec![target.name.clone()]).await?.remove(&target.name);
            let op = Op::Provision(Provision {
                machine,
                dry_run: self.dry_run,
                shared: env.kept(),
                owner: self.owner.clone(),
                group: self.group.clone(),
                adjust: self.adjust,
                file: file.clone(),
            });
            match ask(&controller, &snapshot, target, op).await {
                Ok(Reply::Provisioned(done)) => {
                    for done in done {
                        self.tell(&mut findings, &done.path, &done.what);
                    }
                }
                Ok(other) => findings.fail("provision", format!("the host answered {other:?}"), "report this"),
                Err(HostError::Connection(Lost { why, cure })) => {
                    unreachable = true;
                    findings.fail("connection", why, cure.unwrap_or_else(|| format!("soll doctor {}", env.name)));
                }
                Err(HostError::Refused { refusal: Refusal::OtherMachine(other) }) => {
                    findings.fail("machine", other.to_string(), machine::cure(&target.name));
                }
                Err(error) => findings.fail("provision", error.to_string(), "correct what is named, and run it again"),
            }
            all.extend(findings.all);
        }
        Ok(print(global, &all, unreachable))
    }

    fn tell(&self, findings: &mut Findings, path: &str, what: &What) {
        let would = if self.dry_run { "would be " } else { "" };
        match what {
            What::Made(how) => findings.ok("made", format!("{path} {would}made ({how})")),
            What::Kept(how) => findings.ok("kept", format!("{path} ({how})")),
            What::Changed(was, is) => findings.ok("changed", format!("{path} {would}changed from {was} to {is}")),
            What::Differs(is, wanted) => findings.warn(
                "differs",
                format!("{path} is {is}, not {wanted}: left as it is"),
                "give it the owner and the mode with --adjust, if nobody wants it so",
            ),
            What::Missing => findings.add(
                "missing",
                Opinion::Warn,
                format!("the shared file {path} is missing, and is never made empty"),
                "put it there; for the environment file: --env-file FILE",
            ),
            What::InTheWay(is) => findings.fail("in the way", format!("{path} is {is}"), "move it away"),
        }
    }
}
