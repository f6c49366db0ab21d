//! The plan of a commit from what was observed, as commands show it and people approve it: with the names of the secrets that
//! this controller has, and with how long each step took before.

use crate::model::ids::EnvName;
use crate::model::observed::Observed;
use crate::plan::policy::Secrets;
use crate::plan::{self, Context};
use crate::run::controller::{Controller, Snapshot, now};
use crate::run::secrets::Store;

/// Plans these environments. `secrets`: of whom what is lacking stands in the way; where others observed, nobody here can
/// say.
pub fn planned(
    controller: &Controller,
    snapshot: &Snapshot,
    names: &[EnvName],
    observed: &Observed,
    secrets: Option<&Store>,
) -> plan::Plan {
    let known = secrets.map(Store::known);
    let commit = snapshot.commit.to_string();
    let context = Context { commit: &commit, now: now(), secrets: known.as_ref().map(|known| known as &dyn Secrets) };
    let mut plan = plan::plan(&snapshot.desired, observed, names, &context);
    for env in plan.environments.iter_mut().filter(|env| env.has_changes()) {
        let estimates = controller.store.estimates(&env.name).unwrap_or_default();
        for step in &mut env.steps {
            step.estimate_ms = estimates.get(&step.id).copied();
        }
    }
    plan
}
