//! Pull mode: one host's share of the desired state, for a server that reconciles itself and is reached by nobody. Pure;
//! who asks for it, and what the other hosts publish, is not known here.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Address, Desired, Environment};
use crate::model::ids::{EnvName, HostName};

/// What is left of an environment that one host looks at alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// The first of all its hosts: the one that migrates.
    pub first: HostName,
    /// The hosts that are left out: each of them reconciles itself.
    pub others: Vec<HostName>,
}

impl Desired {
    /// The share of `host`: its environments, with itself as their only target, on this machine whatever its address says.
    pub fn pulled(self, host: &HostName) -> Desired {
        let share = |env: &Environment| {
            let mut mine = env.clone();
            let (own, others) = mine.targets.into_iter().partition(|target| target.name == *host);
            let others: Vec<super::Target> = others;
            mine.targets = own;
            mine.targets.first_mut()?.address = Address::Local;
            let first = env.targets.first()?.name.clone();
            mine.pull = Some(Pull { first, others: others.into_iter().map(|target| target.name).collect() });
            Some(mine)
        };
        let environments = self.environments.iter().filter_map(|(name, env)| Some((name.clone(), share(env)?)));
        Desired { environments: environments.collect(), whole: self.environments }
    }

    /// Every host that an environment names.
    pub fn hosts(&self) -> BTreeSet<&HostName> {
        self.environments.values().flat_map(|env| &env.targets).map(|target| &target.name).collect()
    }

    /// An environment that another one is promoted from, with all of its hosts: one of them alone vouches for nothing.
    pub fn source(&self, name: &EnvName) -> Option<&Environment> {
        self.whole.get(name).or_else(|| self.environments.get(name))
    }
}

impl Environment {
    /// Whether this host does what is done once per environment: migrate, follow a branch.
    pub fn leads(&self) -> bool {
        self.pull.as_ref().is_none_or(|pull| self.targets.iter().any(|target| target.name == pull.first))
    }

    /// Whether hosts of this environment are out of sight because each of them looks after itself.
    pub fn is_share(&self) -> bool {
        self.pull.as_ref().is_some_and(|pull| !pull.others.is_empty())
    }
}
