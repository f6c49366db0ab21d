//! How long a controller waits for the answer to each operation (law 13). A host that takes longer hangs: its disk, a file
//! system over the network, a program that is stopped. No wait is short enough to fail where a slow disk is only slow.

use std::time::Duration;

use crate::host::wire::activate::Deed;
use crate::host::wire::trial::Trial;
use crate::host::wire::{Observe, Op};

/// A record, links and small files are read.
const LOOK: Duration = Duration::from_secs(30);
/// A few files are written and made durable.
const NOTE: Duration = Duration::from_secs(120);
/// Files of a release are read, copied or removed, however many.
const TREE: Duration = Duration::from_secs(3600);
/// Hooks that a host runs by itself, out of its own record.
const HOOKS: Duration = Duration::from_secs(3600);
/// All data of an application are read, or written to a slow target.
const DATA: Duration = Duration::from_secs(24 * 3600);

impl Op {
    /// How long its answer may take from the moment it is asked for. What runs a command may take as long as the command
    /// may, and a little more.
    pub fn patience(&self) -> Duration {
        match self {
            Op::Observe(Observe { scan_older_than: None, stamps: false, .. })
            | Op::Compare { .. }
            | Op::Sample { .. }
            | Op::Cancel { .. }
            | Op::Ping => LOOK,
            Op::Release { .. }
            | Op::Render { .. }
            | Op::Switch { .. }
            | Op::Confirm { .. }
            | Op::Return { .. }
            | Op::Hold { .. }
            | Op::Recount { .. }
            | Op::Claim { .. }
            | Op::Repin { .. }
            | Op::Watched { .. }
            | Op::Quarantine { .. }
            | Op::Retry { .. }
            | Op::Acquit { .. }
            | Op::SetStopped { .. }
            | Op::Examine(_)
            | Op::Provision(_)
            | Op::Trial { trial: Trial::Drop, .. } => NOTE,
            Op::Observe(_)
            | Op::Missing { .. }
            | Op::Upload { .. }
            | Op::Fetch { .. }
            | Op::Pull { .. }
            | Op::Lack { .. }
            | Op::Load { .. }
            | Op::Extract { .. }
            | Op::Link { .. }
            | Op::Seal { .. }
            | Op::Adopt { .. }
            | Op::Verify { .. }
            | Op::Prune { .. }
            | Op::Survey(_)
            | Op::Convert { .. }
            | Op::Trial { trial: Trial::Build { .. }, .. } => TREE,
            Op::Acquire { .. } | Op::Reopen { .. } => HOOKS,
            Op::Hook { command, .. } | Op::Trial { trial: Trial::Run { command }, .. } => {
                command.timeout.saturating_add(NOTE)
            }
            Op::Gate { gate, .. } | Op::Trial { trial: Trial::Gate { gate, .. }, .. } => {
                gate.timeout.saturating_add(NOTE)
            }
            Op::Backup { .. } | Op::Backups(_) => DATA,
            Op::Activate { deed: Deed::Look, .. } => NOTE,
            // Units that are stopped have the same time once more.
            Op::Activate { activation, .. } | Op::Drain { activation, .. } => {
                activation.limit().saturating_mul(2).saturating_add(NOTE)
            }
            // Assets are many requests, each with this limit and all together with ten of it.
            Op::Probe { timeout, .. } | Op::Measure { timeout, .. } => timeout.saturating_mul(11).saturating_add(LOOK),
        }
    }

    /// What is asked for, in words that go on with the root: `observing /srv/app`.
    pub fn doing(&self) -> &'static str {
        match self {
            Op::Observe(_) => "observing",
            Op::Acquire { .. } => "acquiring",
            Op::Release { .. } => "releasing",
            Op::Missing { .. } => "comparing a bundle with what is in",
            Op::Upload { .. } => "sending a bundle to",
            Op::Fetch { .. } => "fetching a bundle into",
            Op::Pull { .. } => "pulling images for",
            Op::Lack { .. } => "looking for images in",
            Op::Load { .. } => "giving the engine an image for",
            Op::Extract { .. } => "making a release in",
            Op::Render { .. } => "rendering files in",
            Op::Compare { .. } => "comparing rendered files in",
            Op::Link { .. } => "linking a release in",
            Op::Gate { .. } => "asking a gate in",
            Op::Hook { .. } => "running a hook in",
            Op::Reopen { .. } => "ending the maintenance of",
            Op::Seal { .. } => "sealing a release in",
            Op::Adopt { .. } => "adopting a release in",
            Op::Verify { .. } => "verifying a release in",
            Op::Switch { .. } => "switching",
            Op::Activate { .. } => "activating the units of",
            Op::Drain { .. } => "stopping the workers of",
            Op::Probe { .. } => "making a health check in",
            Op::Measure { .. } => "measuring in",
            Op::Confirm { .. } => "confirming the release of",
            Op::Return { .. } => "returning",
            Op::Hold { .. } => "ending the probation of",
            Op::Watched { .. } => "noting a watch in",
            Op::Prune { .. } => "removing old releases from",
            Op::Quarantine { .. } => "noting a verdict in",
            Op::Retry { .. } | Op::Acquit { .. } => "lifting a verdict in",
            Op::Sample { .. } => "noting a health sample in",
            Op::SetStopped { .. } => "noting in",
            Op::Recount { .. } => "setting back the epoch of",
            Op::Claim { .. } => "noting releases in",
            Op::Repin { .. } => "noting the machine in",
            Op::Cancel { .. } => "asking to cancel in",
            Op::Examine(_) => "examining",
            Op::Provision(_) => "making the directories of",
            Op::Trial { .. } => "trying a release in",
            Op::Survey(_) => "surveying",
            Op::Convert { .. } => "converting",
            Op::Backup { .. } => "saving data of",
            Op::Backups(_) => "looking at backups of",
            Op::Ping => "asking for a sign of life about",
        }
    }
}
