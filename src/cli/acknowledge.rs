//! `soll acknowledge`: a person has looked at a rewritten history and lets the loop go on from it (law 10).

use std::io::IsTerminal;

use clap::Args;

use super::global::Global;
use super::{CliError, Result, out, screen};
use crate::model::ids::HostName;
use crate::model::shown::counted;
use crate::run::operate::acknowledge::Acknowledged;
use crate::run::operate::rewritten;

/// Accept a rewritten history; with --host NAME: take that host as it is, another machine under its name included, and set
/// back an epoch that cannot be true.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll acknowledge                            a rewritten history
  soll acknowledge --host web1                another machine under this name")]
pub struct Acknowledge {
    /// With --host: take another machine without asking
    #[arg(long)]
    yes: bool,
    /// Why, for the record
    #[arg(long)]
    reason: Option<String>,
}

impl Acknowledge {
    /// Shows what was lost, as this controller and as the hosts remember it, then accepts the newest commit here and there.
    pub async fn run(self, global: &Global) -> Result {
        if let Some(host) = &global.host {
            return accept_host(global, host, self.yes, self.reason).await;
        }
        let controller = global.controller()?;
        let say = |line: &str| out::text(&format!("{line}\n"));
        let accepted = rewritten::accept(&controller, self.reason, &say).await?;
        let (commit, hosts) = (accepted.commit.short(), counted(accepted.hosts as u64, "host", "hosts"));
        out::text(&format!("commit {commit} is accepted here and on {hosts}\n"));
        Ok(0)
    }
}

/// A host as it is. Here its name is no word about this machine, as it is elsewhere.
async fn accept_host(global: &Global, host: &HostName, yes: bool, reason: Option<String>) -> Result {
    let (controller, snapshot) = Global { host: None, ..global.clone() }.accepted().await?;
    let acknowledged = Acknowledged::look(&controller, &snapshot, host).await?;
    let changed = acknowledged.changed().await?;
    if let Some(changed) = &changed {
        for (env, other) in &changed.others {
            let place = env.as_ref().map_or_else(String::new, |env| format!("{env} on "));
            out::text(&format!("{place}{host}: {other}\n"));
        }
        if !yes && !confirmed(host)? {
            return Err(CliError::plain(format!("nothing was changed: {host} stays the machine that it was")));
        }
    }
    let done = acknowledged.accept(changed.as_ref(), reason).await?;
    done.iter().for_each(|said| out::text(&format!("{said}\n")));
    if done.is_empty() {
        out::text(&format!("{host} is as it should be: there was nothing to accept\n"));
    }
    Ok(0)
}

/// A person's word on a terminal. Where nobody can be asked it has to be said beforehand.
fn confirmed(host: &HostName) -> Result<bool> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        let hint = format!("look at that machine; then: soll acknowledge --host {host} --yes");
        return Err(CliError::plain("nothing was changed, because nobody can be asked here").hint(hint));
    }
    screen::line(&format!("Whatever is meant for {host} goes to this machine from now on. Is that so? (yes/no)"));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|error| CliError::plain(format!("no answer was read: {error}")))?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
