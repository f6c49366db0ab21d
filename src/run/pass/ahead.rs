//! Reads ahead: brings the bundle of a commit that is new here while the hosts are still being reached, for the one takes as
//! long as the other. A guess that decides nothing: who needs the bundle asks for it all the same, and hears what is wrong.

use tokio_util::task::AbortOnDropHandle;

use crate::model::desired::{Environment, FetchFrom, ReleaseRef};
use crate::model::ids::Digest;
use crate::run::look::build::Build;
use crate::run::pass::reconcile::Pass;

impl Pass {
    /// Begins to, where the history says that this environment is about to get something new. It ends with the pass: what
    /// that is not allowed to roll out needs no bundle yet.
    pub(in crate::run) fn read_ahead(&self, env: &Environment) -> Option<AbortOnDropHandle<()>> {
        let ReleaseRef::Sha(sha) = &env.release else { return None };
        if env.delivery.fetch_from() != FetchFrom::Controller {
            return None;
        }
        let build = Build::of(env, sha, self.snapshot.base.as_deref()).ok()?;
        let (controller, environment) = (self.controller.clone(), env.name.clone());
        let address = Digest::of(build.address().as_bytes());
        let sha = sha.clone();
        Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let name = environment.clone();
            // Without a history nothing is known, and most often nothing is to be done.
            let is_new = controller.beside(move |controller| controller.store.is_new(&name, &sha).unwrap_or_default());
            if !is_new.await.unwrap_or_default() || !controller.ahead.is_untried(address) {
                return;
            }
            let _turn = controller.ahead.turn().await;
            if let Err(error) = build.bring(&controller, None, &|_| ()).await {
                tracing::debug!(%environment, %error, "the bundle could not be fetched ahead");
            }
        })))
    }
}
