//! What a pass looks at, and what it writes on the board: once for its plan, again while it takes its time, and where nothing
//! else is to be done.

use std::time::Duration;

use crate::model::desired::{DriftPolicy, Environment};
use crate::model::ids::EnvName;
use crate::model::observed::Observed;
use crate::run::controller::now;
use crate::run::look::observe::{Left, Look, Scan, observe_after};
use crate::run::look::sample;
use crate::run::pass::reconcile::Pass;

/// What is known of an environment is not older than this while a run is under way, or while it waits after an error.
pub(in crate::run) const FRESH: Duration = Duration::from_secs(60);

impl Pass {
    pub(super) async fn look(&self, name: &EnvName, left: &Left) -> Observed {
        // A plan shows what was edited by hand a moment ago: what is healed on a person's word is looked for likewise.
        let heals = self.snapshot.desired.environments.get(name).is_some_and(|env| env.drift == DriftPolicy::Heal);
        let scan = if heals && !self.tends { Scan::Now } else { Scan::WhenDue };
        self.look_by(name, left, scan).await
    }

    async fn look_by(&self, name: &EnvName, left: &Left, drift: Scan) -> Observed {
        let look = Look { health: false, drift };
        observe_after(&self.controller, &self.snapshot, std::slice::from_ref(name), look, Some((name, left))).await
    }

    /// Does something that takes its time. Meanwhile the loop shows what becomes of the hosts.
    pub(super) async fn shown<T>(&self, name: &EnvName, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            let again = async {
                tokio::time::sleep(FRESH).await;
                if self.tends {
                    self.see(name, Scan::Last).await;
                }
            };
            tokio::select! {
                done = &mut work => return done,
                () = again => {}
            }
        }
    }

    /// Looks after what runs while nothing else is done (a wait after an error): drift is scanned, health is sampled.
    pub async fn look_after(&self, name: &EnvName) {
        if let Some((env, observed)) = self.see(name, Scan::WhenDue).await {
            self.sampled(env, &observed).await;
        }
    }

    /// Looks, and writes it on the board; nothing where the hosts know a commit that this one does not follow.
    async fn see(&self, name: &EnvName, drift: Scan) -> Option<(&Environment, Observed)> {
        let env = self.snapshot.desired.environments.get(name)?;
        let at = now();
        let observed = self.look_by(name, &Left::new(), drift).await;
        self.follows(&observed, name).await.ok()?;
        self.controller.board.looked(&self.snapshot, at, &self.plan(env, &observed), &observed);
        Some((env, observed))
    }

    pub(super) async fn sampled(&self, env: &Environment, observed: &Observed) -> Option<bool> {
        if !self.samples {
            return None;
        }
        let sampled = sample::sample(&self.controller, &self.snapshot, env, observed).await;
        self.controller.board.sampled(&env.name, sampled.hosts);
        sampled.healthy
    }
}
