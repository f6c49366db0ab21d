//! When the work beside deployments is due: health samples (C6) and drift scans (A7), each by a clock of its own, whatever
//! the plan of their environment says. Pure: how long ago something was done is handed in, so that a clock that is set
//! changes nothing.

use std::time::Duration;

use crate::model::desired::{DriftPolicy, Environment};

/// One kind of work that comes again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Job {
    /// Every check is asked once, and the hosts count the answer.
    Sample,
    /// The hosts compare what they run with what was released.
    Drift,
}

/// How long ago each job of an environment was last done; `None`: not since this program began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ago {
    pub sample: Option<Duration>,
    pub drift: Option<Duration>,
}

/// A job whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    pub job: Job,
    /// How much later than its time it is.
    pub late: Duration,
}

impl Job {
    /// Every job.
    pub const ALL: [Job; 2] = [Job::Sample, Job::Drift];

    /// How often an environment wants it; `None`: never.
    pub fn every(self, env: &Environment) -> Option<Duration> {
        match self {
            Job::Sample => Some(env.health.every),
            Job::Drift => (env.drift != DriftPolicy::Ignore).then_some(env.drift_every),
        }
    }

    fn ago(self, ago: &Ago) -> Option<Duration> {
        match self {
            Job::Sample => ago.sample,
            Job::Drift => ago.drift,
        }
    }
}

/// What is due. What was never done is due now, and not late.
pub fn due(env: &Environment, ago: &Ago) -> Vec<Due> {
    let one = |job: Job| {
        let every = job.every(env)?;
        let late = job.ago(ago).map_or(Some(Duration::ZERO), |ago| ago.checked_sub(every))?;
        Some(Due { job, late })
    };
    Job::ALL.into_iter().filter_map(one).collect()
}

/// How long until the next job is due.
pub fn next(env: &Environment, ago: &Ago) -> Duration {
    let left = |job: Job| Some(job.every(env)?.saturating_sub(job.ago(ago)?));
    Job::ALL
        .into_iter()
        .filter(|job| job.every(env).is_some())
        .map(|job| left(job).unwrap_or_default())
        .min()
        .unwrap_or(Duration::MAX)
}
