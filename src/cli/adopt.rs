//! `soll adopt ENV`: takes over a server that something else has deployed to.

use clap::Args;

use super::findings::print;
use super::global::Global;
use super::{CliError, Result};
use crate::host::wire::convert::Survey;
use crate::model::desired::Shared;
use crate::model::ids::{EnvName, ReleaseName};
use crate::run::commit::known;
use crate::run::doctor::merged;
use crate::run::look::observe::must_lead_on;
use crate::run::operate::adopt::{self, Wishes};

/// Take over a server.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll adopt production --dry-run             what is there, and every step
  soll adopt production --shared exports/ --leave old.log
  soll adopt production --undo")]
pub struct Adopt {
    environment: EnvName,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Take a conversion back: everything where it was
    #[arg(long)]
    undo: bool,
    /// Data of a checkout that every release shares; a directory with a `/` at its end
    #[arg(long, value_name = "PATH")]
    shared: Vec<String>,
    /// Data of a checkout that no later release needs
    #[arg(long, value_name = "PATH")]
    leave: Vec<String>,
    /// A directory of `releases/` that another tool made, and that goes in its turn like an old release of soll's
    #[arg(long, value_name = "NAME")]
    release: Vec<ReleaseName>,
    /// Leave a link at every place that something is moved from, for web servers that point there
    #[arg(long)]
    keep_links: bool,
    /// Why, for the record
    #[arg(long)]
    reason: Option<String>,
}

impl Adopt {
    /// Looks, says, does.
    pub async fn run(self, global: &Global) -> Result {
        let (controller, snapshot) = global.accepted().await?;
        let env = known(&snapshot, &self.environment)?;
        if !self.dry_run {
            must_lead_on(&controller, &snapshot, &env.name).await?;
        }
        let mut shared = env.shared.clone();
        for path in &self.shared {
            let (path, directory) = path.strip_suffix('/').map_or((path.as_str(), false), |path| (path, true));
            let bad = path.is_empty() || path.split('/').any(|part| ["", ".", ".."].contains(&part));
            if bad {
                return Err(CliError::usage(format!("`{path}` is no path below ROOT: relative, without `..`")));
            }
            if !shared.iter().any(|one| one.path == path) {
                shared.push(Shared { path: path.to_owned(), from: path.to_owned(), directory });
            }
        }
        let survey = Survey {
            shared,
            mutable: env.mutable.clone(),
            leave: self.leave.clone(),
            keep_links: self.keep_links,
            time: adopt::time(),
        };
        let wishes =
            Wishes { dry_run: self.dry_run, undo: self.undo, claim: self.release, survey, reason: self.reason };
        let (findings, unreachable) = merged(adopt::adopt(&controller, &snapshot, env, &wishes).await);
        Ok(print(global, &findings, unreachable))
    }
}
