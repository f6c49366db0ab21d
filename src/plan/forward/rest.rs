//! Who rests while a migration runs (D1): the units that must not work while the database changes.

use super::{Forward, Host, migration_key};
use crate::model::activation::Activation;
use crate::model::desired::{Environment, Hook, OnFailure, Phase};
use crate::plan::step::Action;

impl<'a> Forward<'a> {
    /// The migrations that this run makes.
    pub(super) fn migrations(&self) -> Vec<&'a Hook> {
        // In pull mode another host does it, and this one is blocked until it is seen to be done.
        let due = |hook: &&'a Hook| !self.migrated.contains(migration_key(self.sha, hook).as_str()) && self.env.leads();
        let env: &'a Environment = self.env;
        env.hooks_of(Phase::Migrate).filter(due).collect()
    }

    /// The units that must not work while the database changes, on every host where something runs.
    pub(super) fn drain(&mut self, deploying: &[&Host<'_>], ready: Vec<String>) -> Vec<String> {
        if self.migrations().is_empty() || self.env.drains.is_empty() {
            return ready;
        }
        let mut drained = Vec::new();
        for host in deploying.iter().filter(|host| host.state.current.release().is_some()) {
            let activation = Activation::drained(self.env, host.target);
            let why =
                format!("{}: stopped before the migration, each when it has finished its work", activation.told());
            let action = Action::Drain { activation };
            drained.push(self.steps.push(Some(host.name()), None, action, &ready, OnFailure::Abort, why));
        }
        if drained.is_empty() { ready } else { self.join("drained", drained, "all workers rest before the migration") }
    }
}
