//! What a release brings, in the words of the application's own history: beside each plan the commits between what runs and what
//! is desired, asked for once for all environments that go the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::model::desired::Environment;
use crate::model::desired::forge::Home;
use crate::model::ids::Sha;
use crate::model::observed::{EnvObserved, HostObserved, Observed};
use crate::plan::Plan;
use crate::plan::changes::{Changes, Commit};
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::Controller;
use crate::state_repo::between::{Authored, Between};
use crate::state_repo::{AppRepo, GitSettings};

/// Whoever plans does not wait longer for the repository of an application.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many commits are told.
const TOLD: usize = 20;

/// Puts beside each environment that changes what comes and goes with the change. What the repository does not tell within a
/// moment is left out: nothing is decided by it. Of an accepted commit alone: no other one makes anybody ask a repository (law
/// 11).
pub async fn tell(controller: &Arc<Controller>, word: &AcceptedSnapshot, observed: &Observed, plan: &mut Plan) {
    let mut asked: BTreeMap<(String, Sha, Sha), Option<Changes>> = BTreeMap::new();
    for planned in plan.environments.iter_mut().filter(|env| env.has_changes()) {
        let Some(env) = word.desired.environments.get(&planned.name) else { continue };
        let seen = observed.environments.get(&planned.name);
        let (Some(repository), Some(from), Some(to)) =
            (&env.repository, seen.and_then(|seen| running(env, seen)), &planned.desired)
        else {
            continue;
        };
        if from == *to || to.is_unknown() || from.is_unknown() {
            continue;
        }
        let key = (repository.clone(), from, to.clone());
        if !asked.contains_key(&key) {
            let told = told(controller, &key).await;
            asked.insert(key.clone(), told);
        }
        planned.changes = asked.get(&key).cloned().flatten();
    }
}

/// The commit that every host of an environment runs.
fn running(env: &Environment, seen: &EnvObserved) -> Option<Sha> {
    let mut found = BTreeSet::new();
    for target in &env.targets {
        let HostObserved::Reached(state) = seen.hosts.get(&target.name)? else { return None };
        found.insert(state.sha_of(state.current.release()?)?.clone());
    }
    found.pop_first().filter(|_| found.is_empty())
}

async fn told(controller: &Arc<Controller>, (repository, from, to): &(String, Sha, Sha)) -> Option<Changes> {
    let (address, one, two) = (repository.clone(), from.clone(), to.clone());
    let read = controller.beside(move |controller| {
        let caches = controller.settings.state_dir.join("cache");
        // A server that hangs is left by then, with its process.
        let git = GitSettings { timeout: PATIENCE, ..controller.settings.git.clone() };
        AppRepo::new(&address, git)?.between(&one, &two, &caches, TOLD + 1)
    });
    let between = match tokio::time::timeout(PATIENCE, read).await {
        Ok(Ok(Ok(between))) => between,
        Ok(Ok(Err(error))) => {
            tracing::info!(%error, "the commits between two releases cannot be told");
            None
        }
        _ => None,
    };
    let compare = Home::of(repository).and_then(|home| home.compare(from, to));
    if between.is_none() && compare.is_none() {
        return None;
    }
    let Between { come, gone } = between.unwrap_or(Between { come: Vec::new(), gone: Vec::new() });
    let more = come.len() > TOLD || gone.len() > TOLD;
    let (come, gone) = (commits(come), commits(gone));
    Some(Changes { from: from.clone(), to: to.clone(), come, gone, more, compare })
}

fn commits(all: Vec<Authored>) -> Vec<Commit> {
    let one = |Authored { sha, author, subject }| Commit { sha, author, subject };
    all.into_iter().take(TOLD).map(one).collect()
}
