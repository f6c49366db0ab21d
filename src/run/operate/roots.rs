//! All roots of an environment, held by an operation: looked at, taken one after the other, kept, given back.

use std::sync::Arc;
use std::time::Duration;

use crate::host::wire::{Op, Reply};
use crate::model::desired::{Environment, Target};
use crate::model::ids::{Epoch, HostName};
use crate::model::observed::{EnvObserved, HostObserved, HostState};
use crate::run::accepted::{AcceptedSnapshot, must_follow_hosts};
use crate::run::controller::Controller;
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::operate::journaled::OperateError;
use crate::run::pass::hold::{Taking, let_go, next_epoch, take};
use crate::run::step::site::Site;
use crate::run::step::stop_request::StopRequest;
use crate::run::step::world::World;

/// How long to wait for whoever holds a root (contract 1.2).
const PATIENCE: Duration = Duration::from_secs(10);

/// An environment whose roots are held.
pub struct Roots<'a> {
    pub env: &'a Environment,
    pub epoch: Epoch,
    /// What was seen before they were taken.
    pub seen: EnvObserved,
    site: Site,
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
        let look = Look { health: false, drift: Scan::Last };
        let observed = observe(controller, snapshot, std::slice::from_ref(&env.name), look).await;
        let (name, word, seen) = (env.name.clone(), snapshot.clone(), observed.clone());
        // What an older clone, or a rewritten branch, says of its hooks is not what these hosts have acted on.
        controller.beside(move |controller| must_follow_hosts(controller, &word, &seen, &name)).await??;
        let epoch = next_epoch(&observed, &env.name)?;
        let seen = observed.environments.get(&env.name).cloned().unwrap_or_default();
        let site = Site::new(controller.clone(), snapshot.clone(), Arc::new(StopRequest::default()), None);
        let taking = Taking { patience: PATIENCE, ..Taking::beside(&site, doing, epoch, env.deadline) };
        let mut held = Vec::new();
        for target in &env.targets {
            if let Err(error) = take(&site, target, &taking, None).await {
                for target in held {
                    let_go(&site, target, epoch).await;
                }
                return Err(OperateError::Host { host: target.name.clone(), error });
            }
            held.push(target);
        }
        Ok(Roots { env, epoch, seen, site })
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
        for target in &self.env.targets {
            let_go(&self.site, target, self.epoch).await;
        }
    }
}
