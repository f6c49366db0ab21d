//! The backups whose time has come, one after the other, and what people are told of them. Cron mode and the daemon do the
//! same: what the host remembers decides.

use std::sync::Arc;
use std::time::Duration;

use super::make::{Wish, make};
use super::saver;
use crate::host::wire::HostError;
use crate::journal::notice::Notice;
use crate::model::backup::name::Kind;
use crate::model::desired::{Backup, Environment};
use crate::model::observed::{Current, HostObserved, HostState};
use crate::plan::backup;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::{Controller, now};
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::pass::journaled::OperateError;

/// What became of one that was due.
pub struct Done {
    pub job: String,
    /// What it came to, or why it came to nothing.
    pub result: Result<String, OperateError>,
}

/// Makes what is due of an environment. Gives what was made, and what there is to tell.
pub async fn due(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
    patience: Duration,
    say: &(dyn Fn(&str) + Sync),
) -> (Vec<Done>, Vec<Notice>) {
    these(controller, snapshot, env, &|_| true, patience, say).await
}

/// The same of those jobs that are `wanted`.
pub async fn these(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
    wanted: &(dyn Fn(&Backup) -> bool + Sync),
    patience: Duration,
    say: &(dyn Fn(&str) + Sync),
) -> (Vec<Done>, Vec<Notice>) {
    let (mut done, mut notices) = (Vec::new(), Vec::new());
    for job in env.backups.iter().filter(|job| job.schedule.is_some() && wanted(job)) {
        let Some(state) = state(controller, snapshot, env).await else { break };
        // Nothing was deployed yet: there is nothing to save, and nothing that would be missed.
        if state.current == Current::Missing {
            break;
        }
        let nothing = Default::default();
        let backed = state.record.backups.get(&job.name).unwrap_or(&nothing);
        // Whoever has the root makes it: nobody waits for that, and it is no reason to come back in vain.
        if backup::under_way(backed, state.holder.as_ref()).is_some() {
            continue;
        }
        if let Some(since) = backup::due(job, backed, now()) {
            let wish = Wish { kind: Kind::Daily, reason: format!("due since {since}"), patience };
            let result = Box::pin(make(controller, snapshot, env, job, wish, say)).await;
            notices.extend(told(env, job, &result));
            done.push(Done { job: job.name.clone(), result: result.map(|saved| saved.told()) });
        }
    }
    if let Some(state) = state(controller, snapshot, env).await {
        notices.extend(env.backups.iter().map(|job| {
            let (environment, name) = (env.name.clone(), job.name.clone());
            let nothing = Default::default();
            let backed = state.record.backups.get(&job.name).unwrap_or(&nothing);
            match backup::is_overdue(job, backed, now()) {
                true => {
                    let last = backed.good.as_ref().map(|good| good.name.to_string());
                    Notice::BackupOverdue { environment, job: name, last }
                }
                false => Notice::BackupInTime { environment, job: name },
            }
        }));
    }
    (done, notices)
}

/// What its host remembers; `None`: it cannot be seen, or another one saves.
async fn state(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
) -> Option<Box<HostState>> {
    let target = saver(&snapshot.desired, env)?;
    let look = Look { health: false, drift: Scan::Last };
    let mut observed = Box::pin(observe(controller, snapshot, std::slice::from_ref(&env.name), look)).await;
    match observed.environments.get_mut(&env.name)?.hosts.remove(&target.name)? {
        HostObserved::Reached(state) => Some(state),
        HostObserved::Unreachable(_) => None,
    }
}

/// A root that somebody holds is no failure, and neither is a release on probation: it is asked for again.
pub fn is_busy(error: &OperateError) -> bool {
    matches!(error, OperateError::Host { error: HostError::Locked { .. }, .. } | OperateError::Waits(_))
}

fn told(
    env: &Environment,
    job: &Backup,
    result: &Result<crate::run::step::backup::Saved, OperateError>,
) -> Option<Notice> {
    let (environment, job) = (env.name.clone(), job.name.clone());
    match result {
        Ok(saved) => Some(match &saved.shrunk {
            Some(why) => {
                let (name, why) = (saved.name.to_string(), why.clone());
                Notice::BackupShrunk { environment, job, name, why }
            }
            None => Notice::BackupSucceeded { environment, job, told: saved.told() },
        }),
        Err(error) if is_busy(error) => None,
        Err(error) => Some(Notice::BackupFailed { environment, job, why: error.to_string() }),
    }
}
