//! How long steps took: what a plan may expect. A step's id names what is done where and no release, so the same step
//! is found again in the next run.

use std::collections::BTreeMap;

use super::journal::event_of;
use super::{Store, StoreError};
use crate::journal::Event;
use crate::model::ids::EnvName;

/// So many successful runs are looked at.
const RUNS: u32 = 5;

impl Store {
    /// The median milliseconds of each step over the newest successful runs of an environment, by step id. For
    /// [`EnvPlan::estimate`](crate::plan::EnvPlan::estimate).
    pub fn estimates(&self, env: &EnvName) -> Result<BTreeMap<String, u64>, StoreError> {
        let events: Vec<(u64, Event)> = self.read("read how long steps took", |connection| {
            let sql = "
                SELECT number, event FROM events WHERE run IN (
                    SELECT run FROM runs WHERE subject = 'deploy' AND environment = ?1 AND result = 'succeeded'
                    ORDER BY started DESC, run DESC LIMIT ?2
                ) AND json_extract(event, '$.event') = 'ended'";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_map(rusqlite::params![env.as_str(), RUNS], event_of)?.collect()
        })?;
        let mut times: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (_, event) in events {
            if let Event::Ended { step, millis, .. } = event {
                times.entry(step).or_default().push(millis);
            }
        }
        Ok(times.into_iter().map(|(step, times)| (step, median(times))).collect())
    }
}

/// Of an even number the lower one: an estimate should be a time that was seen.
fn median(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}
