//! What is asked of a release and run in it: gates and hooks, the phases of a deployment, and what a failure does.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::seconds;

/// A check of the new release directory before anything is switched (A3, A4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    pub name: String,
    pub test: GateTest,
    #[serde(with = "seconds")]
    pub timeout: Duration,
}

/// What a gate asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateTest {
    File(String),
    Dir(String),
    Run(String),
}

/// A configured command at one phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    pub name: String,
    pub phase: Phase,
    pub run: String,
    pub on_failure: OnFailure,
    #[serde(with = "seconds")]
    pub timeout: Duration,
    /// Shown and counted as a `reload` step (A5: warn in staging, rollback in production).
    pub reload: bool,
}

/// When a hook runs, in the order of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Prepare,
    MaintenanceOn,
    /// Once per environment, on its first host.
    Migrate,
    PreSwitch,
    PostSwitch,
    MaintenanceOff,
    /// After the health checks, before the confirmation.
    Verify,
    After,
    /// In the release that is returned to.
    Rollback,
    /// `soll stop` (D5).
    Stop,
    /// `soll start` (D5).
    Start,
    /// Between deployments, when health fails (C6): the first rung of the ladder.
    Restart,
}

impl Phase {
    /// The name in the state file.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Prepare => "prepare",
            Phase::MaintenanceOn => "maintenance-on",
            Phase::Migrate => "migrate",
            Phase::PreSwitch => "pre-switch",
            Phase::PostSwitch => "post-switch",
            Phase::MaintenanceOff => "maintenance-off",
            Phase::Verify => "verify",
            Phase::After => "after",
            Phase::Rollback => "rollback",
            Phase::Stop => "stop",
            Phase::Start => "start",
            Phase::Restart => "restart",
        }
    }

    /// What a failure does where the hook does not say (contract 1.1).
    pub fn default_on_failure(self) -> OnFailure {
        match self {
            Phase::Prepare | Phase::PreSwitch | Phase::MaintenanceOn | Phase::Stop | Phase::Start | Phase::Restart => {
                OnFailure::Abort
            }
            Phase::Migrate | Phase::PostSwitch | Phase::Verify | Phase::MaintenanceOff => OnFailure::Rollback,
            Phase::After | Phase::Rollback => OnFailure::Warn,
        }
    }
}

/// What the failure of a step does to its run (A5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The run ends; `current` is untouched.
    Abort,
    /// What was switched goes back; before the switch, the rollback hooks run.
    Rollback,
    /// Recorded, shown, and the run goes on.
    Warn,
}
