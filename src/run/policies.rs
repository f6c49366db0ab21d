//! `[policy.NAME-or-glob]` of the settings, applied to every environment of a commit as it is read: all that plan, run or
//! show it see the guards that hold.

use std::collections::BTreeMap;

use crate::model::desired::bounds::Guards;
use crate::model::desired::{Desired, Environment};
use crate::run::pattern::Pattern;

/// The tables, by the names that they mean.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(transparent)]
pub struct Policies(BTreeMap<Pattern, Guards>);

impl Policies {
    /// Raises every environment to what the tables that match it demand. `signers`: there are allowed signers.
    pub fn raise(&self, desired: &mut Desired, signers: bool) {
        for env in desired.environments.values_mut() {
            let matching = self.matching(env);
            env.raise(&matching, signers);
        }
    }

    fn matching(&self, env: &Environment) -> Vec<(&str, &Guards)> {
        let matching = self.0.iter().filter(|(pattern, _)| pattern.matches(env.name.as_str()));
        matching.map(|(pattern, guards)| (pattern.as_str(), guards)).collect()
    }
}
