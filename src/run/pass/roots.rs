//! Roots of an environment, held by an operation: looked at, taken one after the other, kept, given back.

use std::sync::Arc;
use std::time::Duration;

use crate::host::wire::{Op, Reply};
use crate::model::desired::{Environment, Target};
use crate::model::ids::{Epoch, HostName};
use crate::model::observed::{EnvObserved, HostObserved, HostState, Observed};
use crate::run::accepted::{AcceptedSnapshot, must_follow_hosts};
use crate::run::controller::Controller;
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::pass::hold::{Taking, let_go, next_epoch, take};
use crate::run::pass::journaled::OperateError;
use crate::run::step::site::Site;
use crate::run::step::stop_request::StopRequest;
use crate::run::step::world::World;

/// How long to wait for whoever holds a root (contract 1.2).
const PATIENCE: Duration = Duration::from_secs(10);

/// An environment whose roots are held: all of them, or the first.
pub struct Roots<'a> {
    pub env: &'a Environment,
    pub epoch: Epoch,
    /// What was seen before they were taken.
    pub seen: EnvObserved,
    site: Site,
    held: Vec<(&'a Target, Box<HostState>)>,
}

impl<'a> Roots<'a> {
    /// Takes them.
    ///
    /// # Errors
    /// The hosts have acted on a commit that this one does not follow; a root cannot be had.
    pub async fn take(
        controller: &Arc<Controller>,
        snapshot: &Arc<AcceptedSnapshot>,
        env: &'a Environment,
        doing: &str,
    ) -> Result<Roots<'a>, OperateError> {
        let observed = look(controller, snapshot, env).await?;
        let epoch = next_epoch(&observed, &env.name)?;
        let seen = observed.environments.get(&env.name).cloned().unwrap_or_default();
        let wish = (doing, PATIENCE);
        Roots::held(controller, snapshot, env, wish, (epoch, seen), env.targets.iter()).await
    }

    /// Takes one of them alone, for what is about its host and no other: hosts that cannot be seen are in nobody's way.
    ///
    /// # Errors
    /// Those of [`Roots::take`].
    pub async fn take_one(
        controller: &Arc<Controller>,
        snapshot: &Arc<AcceptedSnapshot>,
        env: &'a Environment,
        target: &'a Target,
        wish: (&str, Duration),
    ) -> Result<Roots<'a>, OperateError> {
        let observed = look(controller, snapshot, env).await?;
        let seen = observed.environments.get(&env.name).cloned().unwrap_or_default();
        // Those of the others do not matter: whoever takes all of them next goes beyond the highest.
        let epoch = match seen.hosts.get(&target.name) {
            Some(HostObserved::Reached(state)) => Epoch(state.record.epoch.0.saturating_add(1)),
            Some(HostObserved::Unreachable(why)) => {
                return Err(OperateError::Unreachable(format!("{} cannot be seen: {why}", target.name)));
            }
            None => return Err(OperateError::Unreachable(format!("{} was not looked at", target.name))),
        };
        Roots::held(controller, snapshot, env, wish, (epoch, seen), std::iter::once(target)).await
    }

    async fn held(
        controller: &Arc<Controller>,
        snapshot: &Arc<AcceptedSnapshot>,
        env: &'a Environment,
        (doing, patience): (&str, Duration),
        (epoch, seen): (Epoch, EnvObserved),
        targets: impl Iterator<Item = &'a Target>,
    ) -> Result<Roots<'a>, OperateError> {
        let site = Site::new(controller.clone(), snapshot.clone(), Arc::new(StopRequest::default()), None);
        let taking = Taking { patience, ..Taking::beside(&site, doing, epoch, env.deadline) };
        let mut held = Vec::new();
        for target in targets {
            match Box::pin(take(&site, target, &taking, None)).await {
                Ok(state) => held.push((target, state)),
                Err(error) => {
                    for (target, _) in held {
                        let_go(&site, target, epoch).await;
                    }
                    return Err(OperateError::Host { host: target.name.clone(), error });
                }
            }
        }
        Ok(Roots { env, epoch, seen, site, held })
    }

    /// The world in which they are held.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// What a host was like when it was taken.
    pub fn taken(&self, host: &HostName) -> Option<&HostState> {
        self.held.iter().find(|(target, _)| target.name == *host).map(|(_, state)| &**state)
    }

    /// What a host was like before it was taken.
    pub fn state(&self, host: &HostName) -> Option<&HostState> {
        match self.seen.hosts.get(host)? {
            HostObserved::Reached(state) => Some(state),
            HostObserved::Unreachable(_) => None,
        }
    }

    /// Asks for an operation on one of them.
    ///
    /// # Errors
    /// Those of the operation.
    pub async fn call(&self, target: &Target, op: Op) -> Result<Reply, OperateError> {
        let done = self.site.call(target, op).await;
        done.map_err(|error| OperateError::Host { host: target.name.clone(), error })
    }

    /// Gives them back, all of them at the end of whatever was done.
    pub async fn release(self) {
        for (target, _) in &self.held {
            let_go(&self.site, target, self.epoch).await;
        }
    }
}

/// Looks at an environment, on the word of a commit that its hosts follow.
async fn look(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
) -> Result<Observed, OperateError> {
    let look = Look { health: false, drift: Scan::Last };
    let observed = Box::pin(observe(controller, snapshot, std::slice::from_ref(&env.name), look)).await;
    let (name, word, seen) = (env.name.clone(), snapshot.clone(), observed.clone());
    // What an older clone, or a rewritten branch, says of its hooks is not what these hosts have acted on.
    controller.beside(move |controller| must_follow_hosts(controller, &word, &seen, &name)).await??;
    Ok(observed)
}
