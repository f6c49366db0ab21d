//! The backups whose time has come, one after the other, and what people are told of them. Cron mode and the daemon do the
//! same: what the host remembers decides.

use std::sync::Arc;
use std::time::Duration;

use super::make::{Wish, make};
use super::prove::{Trying, prove};
use super::saver;
use crate::host::wire::HostError;
use crate::journal::notice::Notice;
use crate::model::backup::name::Kind;
use crate::model::backup::proof::Outcome;
use crate::model::desired::{Backup, Environment};
use crate::model::observed::{Current, HostObserved, HostState};
use crate::plan::backup;
use crate::plan::proof::Report;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::{Controller, ControllerError, now};
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::pass::journaled::OperateError;

/// What became of one that was due.
pub struct Done {
    pub job: String,
    /// It was not made, but restored elsewhere.
    pub is_test: bool,
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
    // That a host is away is told by whoever looks at its environment.
    these(controller, snapshot, env, &|_| true, patience, say).await.unwrap_or_default()
}

/// The same of those jobs that are `wanted`.
///
/// # Errors
/// [`OperateError::Unreachable`]: nobody can say what is due, because the host of the data cannot be seen.
pub async fn these(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
    wanted: &(dyn Fn(&Backup) -> bool + Sync),
    patience: Duration,
    say: &(dyn Fn(&str) + Sync),
) -> Result<(Vec<Done>, Vec<Notice>), OperateError> {
    let (mut done, mut notices) = (Vec::new(), Vec::new());
    for job in env.backups.iter().filter(|job| job.schedule.is_some() && wanted(job)) {
        let Some(state) = state(controller, snapshot, env).await? else { break };
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
            done.push(Done { job: job.name.clone(), is_test: false, result: result.map(|saved| saved.told()) });
        }
    }
    for job in env.backups.iter().filter(|job| job.restore_test.is_some() && wanted(job)) {
        let Some(state) = state(controller, snapshot, env).await? else { break };
        let backed = state.record.backups.get(&job.name).cloned().unwrap_or_default();
        let Some(since) = backup::trial::due(job, &backed, now()) else { continue };
        let trying = Trying {
            backup: None,
            reason: format!("due since {since}"),
            patience,
            keep: false,
            here: false,
            only: None,
        };
        let result = Box::pin(prove(controller, snapshot, (env, job), trying, say)).await;
        let earlier = backed.tested.unwrap_or_default().inconclusive();
        notices.extend(tested(env, job, &result, earlier));
        let result = result.and_then(|report| match report.outcome {
            Outcome::Pass => Ok(report.told()),
            Outcome::Fail => Err(OperateError::Refused(report.told())),
            Outcome::Inconclusive => Err(ControllerError::Other(report.told()).into()),
        });
        done.push(Done { job: job.name.clone(), is_test: true, result });
    }
    if let Some(state) = state(controller, snapshot, env).await? {
        for job in env.backups.iter().filter(|job| job.restore_test.is_some()) {
            let (environment, name) = (env.name.clone(), job.name.clone());
            let backed = state.record.backups.get(&job.name).cloned().unwrap_or_default();
            let proven = backed.tested.as_ref().and_then(|tested| tested.proven.as_ref()?.backup);
            notices.push(match backup::trial::is_overdue(job, &backed, now()) {
                true => {
                    let last = proven.map(|name| name.to_string());
                    Notice::RestoreTestOverdue { environment, job: name, last }
                }
                false => Notice::RestoreTestInTime { environment, job: name },
            });
        }
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
    Ok((done, notices))
}

/// What its host remembers; `None`: another one saves.
///
/// # Errors
/// [`OperateError::Unreachable`]: it cannot be seen.
pub(super) async fn state(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
) -> Result<Option<Box<HostState>>, OperateError> {
    let Some(target) = saver(&snapshot.desired, env) else { return Ok(None) };
    let look = Look { health: false, drift: Scan::Last };
    let mut observed = Box::pin(observe(controller, snapshot, std::slice::from_ref(&env.name), look)).await;
    let seen = observed.environments.get_mut(&env.name).and_then(|seen| seen.hosts.remove(&target.name));
    let unseen =
        |why: &str| OperateError::Unreachable(format!("{} of {} cannot be seen: {why}", target.name, env.name));
    match seen {
        Some(HostObserved::Reached(state)) => Ok(Some(state)),
        Some(HostObserved::Unreachable(why)) => Err(unseen(&why)),
        None => Err(unseen("it was not looked at")),
    }
}

/// What people are told of a restore test. That it could not be done is told when it could not be done twice.
fn tested(env: &Environment, job: &Backup, result: &Result<Report, OperateError>, earlier: usize) -> Option<Notice> {
    let (environment, job) = (env.name.clone(), job.name.clone());
    let why = match result {
        Ok(report) => match report.outcome {
            Outcome::Pass => return Some(Notice::RestoreTestPassed { environment, job, told: report.told() }),
            Outcome::Fail => return Some(Notice::RestoreTestFailed { environment, job, why: report.why() }),
            Outcome::Inconclusive => report.why(),
        },
        Err(error) if is_busy(error) => return None,
        Err(error) => error.to_string(),
    };
    (earlier > 0).then_some(Notice::RestoreTestInconclusive { environment, job, why })
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
