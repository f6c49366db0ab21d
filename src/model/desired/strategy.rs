//! In which order the hosts of an environment are switched, and how many may fail.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::seconds;

/// In which order hosts are switched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    AllAtOnce,
    Rolling {
        batch: Batch,
        /// So many hosts may fail after their switch, go back alone, and the rollout goes on.
        max_failures: u32,
        /// Between two batches.
        #[serde(with = "seconds", default)]
        pause: Duration,
    },
}

impl Strategy {
    /// How many hosts may fail before everybody goes back.
    pub fn max_failures(&self) -> usize {
        match self {
            Strategy::AllAtOnce => 0,
            Strategy::Rolling { max_failures, .. } => *max_failures as usize,
        }
    }
}

/// How many hosts a batch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Batch {
    Hosts(u32),
    Percent(u32),
}

impl Batch {
    /// Hosts per batch of an environment with `hosts` hosts; at least one.
    pub fn size(self, hosts: usize) -> usize {
        match self {
            Batch::Hosts(n) => (n as usize).max(1),
            Batch::Percent(p) => (hosts * p as usize).div_ceil(100).max(1),
        }
    }
}
