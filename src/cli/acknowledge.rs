//! `soll acknowledge`: a person has looked at a rewritten history and lets the loop go on from it (law 10).

use clap::Args;

use super::global::Global;
use super::{Result, out};
use crate::model::ids::HostName;
use crate::run::operate::{acknowledge, rewritten};

/// Accept a rewritten history; with --host NAME: take that host as it is, with an epoch that cannot be true set back.
#[derive(Args)]
pub struct Acknowledge {
    /// Why, for the record
    #[arg(long)]
    reason: Option<String>,
}

impl Acknowledge {
    /// Shows what was lost, as this controller and as the hosts remember it, then accepts the newest commit here and there.
    pub async fn run(self, global: &Global) -> Result {
        if let Some(host) = &global.host {
            return accept_host(global, host, self.reason).await;
        }
        let controller = global.controller()?;
        let say = |line: &str| out::text(&format!("{line}\n"));
        let accepted = rewritten::accept(&controller, self.reason, &say).await?;
        let (commit, hosts) = (accepted.commit.short(), accepted.hosts);
        out::text(&format!("commit {commit} is accepted here and on {hosts} host(s)\n"));
        Ok(0)
    }
}

/// A host as it is. Here its name is no word about this machine, as it is elsewhere.
async fn accept_host(global: &Global, host: &HostName, reason: Option<String>) -> Result {
    let (controller, snapshot) = Global { host: None, ..global.clone() }.accepted().await?;
    let done = acknowledge::host(&controller, &snapshot, host, reason).await?;
    done.iter().for_each(|said| out::text(&format!("{said}\n")));
    if done.is_empty() {
        out::text(&format!("{host} is as it should be: there was nothing to accept\n"));
    }
    Ok(0)
}
