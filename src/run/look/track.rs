//! Following a branch (B1): the newest commit of the application's branch that has a bundle becomes the desired one, by a
//! commit to the state file that people see and can revert.

use std::sync::Arc;

use crate::journal::notice::Notice;
use crate::model::desired::{Environment, Track};
use crate::model::ids::Sha;
use crate::model::observed::{Fact, HostObserved};
use crate::run::accepted::AcceptedSnapshot;
use crate::run::commit::{Change, commit};
use crate::run::controller::{Controller, ControllerError};
use crate::run::look::build::Build;
use crate::run::look::observe::{Look, Scan, observe};
use crate::state_repo::{AppRepo, CommitSummary};

/// So many commits of the branch are looked at.
const DEPTH: usize = 50;
/// Names, in the message, what was followed to: a person's revert is not undone by following to the same commit again.
const TRAILER: &str = "Soll-Track:";

/// Follows every environment that tracks a branch. Gives what became of each: [`Notice::Followed`] where something was
/// committed, else whether it can be followed.
pub async fn follow(controller: &Arc<Controller>, snapshot: &Arc<AcceptedSnapshot>) -> Vec<Notice> {
    let mut done = Vec::new();
    for env in snapshot.desired.environments.values() {
        // Of hosts that look after themselves one follows: the commits of the others would only be in its way.
        let follows = env.frozen.is_none() && env.leads();
        let Some(track) = env.track.as_ref().filter(|_| follows) else { continue };
        let environment = env.name.clone();
        done.push(match follow_one(controller, snapshot, env, track).await {
            Ok(Some(followed)) => followed,
            Ok(None) => Notice::CanFollow { environment },
            Err(error) => Notice::CannotFollow { environment, why: error.to_string() },
        });
    }
    done
}

async fn follow_one(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
    track: &Track,
) -> Result<Option<Notice>, ControllerError> {
    let missing =
        || ControllerError::Other(format!("{} tracks a branch, but app `{}` has no `repository`", env.name, env.app));
    let repository = env.repository.clone().ok_or_else(missing)?;
    let (shared, branch) = (controller.clone(), track.branch.clone());
    let commits = tokio::task::spawn_blocking(move || {
        let caches = shared.settings.state_dir.join("cache");
        AppRepo::new(&repository, shared.settings.git.clone())?.branch_commits(&branch, &caches, DEPTH)
    });
    let commits = commits.await.map_err(|error| ControllerError::Other(error.to_string()))??;
    let Some(newest) = newest_with_bundle(controller, snapshot, env, commits).await? else { return Ok(None) };
    if last_followed(controller, snapshot, env).await?.as_deref() == Some(newest.sha.as_str()) {
        return Ok(None);
    }
    if failed_before(controller, snapshot, env, &newest.sha).await {
        return Ok(None);
    }
    let (name, short) = (&env.name, newest.sha.short());
    let subject = &newest.subject;
    let message =
        format!("{name} follows {} to {short}\n\n{subject}\n\n{TRAILER} {name} {}\n", track.branch, newest.sha);
    let (shared, env_name, change) = (controller.clone(), env.name.clone(), Change::Release(newest.sha.to_string()));
    let expect = env.release.as_str().to_owned();
    let made = tokio::task::spawn_blocking(move || commit(&shared, &env_name, &change, &message, Some(&expect)));
    let made = made.await.map_err(|error| ControllerError::Other(error.to_string()))??;
    let (environment, branch, to, commit) = (name.clone(), track.branch.clone(), newest.sha.clone(), made.to_string());
    Ok(Some(Notice::Followed { environment, branch, to, commit }))
}

/// The newest commit that is newer than the desired one and has a bundle.
async fn newest_with_bundle(
    controller: &Controller,
    snapshot: &AcceptedSnapshot,
    env: &Environment,
    commits: Vec<CommitSummary>,
) -> Result<Option<CommitSummary>, ControllerError> {
    for commit in commits {
        if commit.sha.as_str() == env.release.as_str() {
            return Ok(None);
        }
        let build = Build::of(env, &commit.sha, snapshot.base.as_deref()).map_err(ControllerError::Other)?;
        match build.exists(controller, snapshot, env).await {
            Fact::Known(()) => return Ok(Some(commit)),
            Fact::Missing | Fact::NotAsked => {}
            Fact::Unknown(why) => {
                let short = commit.sha.short();
                return Err(ControllerError::Other(format!("{}: whether {short} has a bundle: {why}", env.name)));
            }
        }
    }
    Ok(None)
}

/// What this environment was last followed to, from the messages of the state repository.
async fn last_followed(
    controller: &Arc<Controller>,
    snapshot: &AcceptedSnapshot,
    env: &Environment,
) -> Result<Option<String>, ControllerError> {
    let prefix = format!("{TRAILER} {} ", env.name);
    let commit = snapshot.commit;
    let messages = controller.beside(move |controller| controller.repo.messages(&commit, 1000)).await??;
    let found = messages.into_iter().find_map(|message| {
        message.lines().find_map(|line| line.strip_prefix(&prefix).map(|sha| sha.trim().to_owned()))
    });
    Ok(found)
}

async fn failed_before(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
    sha: &Sha,
) -> bool {
    let look = Look { health: false, drift: Scan::Last };
    let observed = observe(controller, snapshot, std::slice::from_ref(&env.name), look).await;
    let hosts = observed.environments.get(&env.name).map(|seen| seen.hosts.values()).into_iter().flatten();
    hosts.into_iter().any(|host| match host {
        HostObserved::Reached(state) => state.record.quarantined.iter().any(|q| q.verdict && q.key.sha == *sha),
        HostObserved::Unreachable(_) => false,
    })
}
