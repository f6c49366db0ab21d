//! Reads ahead: brings the bundle of a commit that is new here while the hosts are still being reached, for the one takes as
//! long as the other. A guess that decides nothing: who needs the bundle asks for it all the same, and hears what is wrong.

use super::controller::Controller;
use super::observe::source;
use super::reconcile::Pass;
use crate::model::desired::{Environment, FetchFrom, ReleaseRef};
use crate::model::ids::Sha;

/// A commit that so many runs of an environment were not about is new to it.
const RUNS: usize = 100;

impl Pass {
    /// Begins to, where the history says that this environment is about to get something new.
    pub(super) fn read_ahead(&self, env: &Environment) {
        let ReleaseRef::Sha(sha) = &env.release else { return };
        if env.bundle.fetch_from != FetchFrom::Controller || !is_new(&self.controller, env, sha) {
            return;
        }
        let Ok(source) = source(env, sha, self.snapshot.base.as_deref()) else { return };
        let (controller, environment) = (self.controller.clone(), env.name.clone());
        tokio::spawn(async move {
            if let Err(error) = controller.artifacts.ensure(&source, None, &|_| ()).await {
                tracing::debug!(%environment, %error, "the bundle could not be fetched ahead");
            }
        });
    }
}

/// Without a history nothing is known, and most often nothing is to be done. What was tried is not tried again.
fn is_new(controller: &Controller, env: &Environment, sha: &Sha) -> bool {
    let runs = controller.store.runs(Some(&env.name), RUNS).unwrap_or_default();
    !runs.is_empty() && runs.iter().all(|run| run.to != sha.as_str()) && controller.first_time(&env.name, sha)
}
