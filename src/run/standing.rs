//! Where an environment stands: what `status` shows of it, and every page (law 8).

use serde::Serialize;

use crate::journal::RunResult;
use crate::model::desired::written::Pin;
use crate::model::ids::EnvName;
use crate::model::observed::{HostObserved, Observed};
use crate::model::record::Quarantine;
use crate::plan::backup::View;
use crate::plan::{Code, EnvPlan, Health, HostView, Sync};
use crate::run::controller::{Controller, Snapshot};
use crate::store::{Details, RunRow};

/// One environment (contract 1.3).
#[derive(Serialize)]
pub struct Standing {
    pub name: EnvName,
    pub desired: Option<String>,
    /// What the state file says: a commit, a tag, a directory.
    pub release: String,
    pub sync: Sync,
    pub health: Health,
    pub operation: &'static str,
    pub reason: String,
    pub quarantined: Vec<Quarantine>,
    pub hosts: Vec<HostView>,
    pub last_run: Option<RunRow>,
    /// It has a release of its own where its template has one, and stays when the template moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Pin>,
    /// How it stands with its backups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backups: Vec<View>,
}

impl Standing {
    /// Of an environment, from its plan, its hosts and its last run.
    pub fn of(controller: &Controller, snapshot: &Snapshot, observed: &Observed, env: EnvPlan) -> Standing {
        let last_run = controller.store.last_run(&env.name).unwrap_or_default();
        let hosts = observed.environments.get(&env.name).map(|seen| seen.hosts.values()).into_iter().flatten();
        let mut quarantined: Vec<Quarantine> = Vec::new();
        for host in hosts {
            if let HostObserved::Reached(state) = host {
                let new = state
                    .record
                    .quarantined
                    .iter()
                    .filter(|q| q.verdict && !quarantined.iter().any(|k| k.key == q.key));
                let new: Vec<_> = new.cloned().collect();
                quarantined.extend(new);
            }
        }
        let (operation, reason) = operation(&env, last_run.as_ref());
        let desired = env.desired.map(|sha| if sha.is_unknown() { env.release.clone() } else { sha.to_string() });
        Standing {
            pinned: snapshot.written.pin(&env.name),
            name: env.name,
            desired,
            release: env.release,
            sync: env.sync,
            health: env.health,
            operation,
            reason,
            quarantined,
            hosts: env.hosts,
            last_run,
            backups: env.backups,
        }
    }
}

/// idle|running|succeeded|failed|error|rolled-back|blocked|superseded, and why.
fn operation(env: &EnvPlan, last: Option<&RunRow>) -> (&'static str, String) {
    if let Some(run) = last.filter(|run| run.result.is_none()) {
        return ("running", format!("run {}", run.run));
    }
    // The last run says how it went; a block that is only its shadow adds nothing.
    let quarantined = env.blocking().any(|b| b.code == Code::Quarantined);
    if let Some(blocker) = env.blocking().next().filter(|_| !quarantined) {
        return ("blocked", format!("{}; {}", blocker.message, blocker.fix));
    }
    let Some((run, result)) = last.and_then(|run| Some((run, run.result?))) else { return ("idle", String::new()) };
    let word = match result {
        RunResult::Succeeded => "succeeded",
        RunResult::Failed => "failed",
        RunResult::RolledBack => "rolled-back",
        RunResult::Superseded | RunResult::Cancelled => "superseded",
        RunResult::Error | RunResult::Unreachable | RunResult::Interrupted => "error",
    };
    // A run for another release than the one that is desired now says so: else its failure reads as that of what runs.
    let other = match &run.details {
        Details::Deployment(moved) if result != RunResult::Succeeded => env
            .desired
            .as_ref()
            .filter(|desired| !desired.is_unknown() && moved.to != desired.as_str())
            .map(|_| format!("the last run, of {}: ", moved.to.get(..8).unwrap_or(&moved.to))),
        _ => None,
    };
    (word, other.unwrap_or_default() + &run.reason)
}
