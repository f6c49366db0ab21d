//! When the work beside deployments is due: health samples (C6) and drift scans (A7), each by a clock of its own, whatever
//! the plan of their environment says; and what has a schedule, as backups and restore tests have (F2, F4). Pure: how long
//! ago something was done, or when, is handed in.
//!
//! Samples and scans go by how long ago they were, so that a clock that is set changes nothing. What has a schedule goes by
//! the clock on the wall: one that was set forth and back again loses no more than what lay in between.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::desired::{DriftPolicy, Environment};
use crate::model::schedule::Schedule;

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

/// How it stands with something that has a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is to be done before `next`.
    Waiting { next: Timestamp },
    /// Its time came at `since`.
    Due { since: Timestamp },
    /// Its time came at `since`, and more than the grace has passed: people want to know (F6).
    Late { since: Timestamp },
}

impl Standing {
    /// The same where what came to nothing is made up for at `again`, before the next time of the schedule.
    pub fn or_again(self, again: Option<Timestamp>, now: Timestamp) -> Standing {
        match (self, again) {
            (Standing::Waiting { next }, Some(again)) if again < next => match now < again {
                true => Standing::Waiting { next: again },
                false => Standing::Due { since: again },
            },
            (by_schedule, _) => by_schedule,
        }
    }

    /// Since when it is to be done.
    pub fn since(self) -> Option<Timestamp> {
        match self {
            Standing::Waiting { .. } => None,
            Standing::Due { since } | Standing::Late { since } => Some(since),
        }
    }
}

/// How it stands at `now`. `last`: when it was begun last, where the question is whether to begin it; when it last came to a
/// good end, where the question is whether it is overdue. However many of its times were missed, they are made up for by
/// one, and what was never done is due now and not late. A `last` that lies ahead was written by a clock that was set
/// back since: it counts as now, so that the schedule goes on with its next time.
pub fn standing(schedule: &Schedule, last: Option<Timestamp>, now: Timestamp, grace: Duration) -> Standing {
    let Some(last) = last else { return Standing::Due { since: now } };
    let since = schedule.next_after(last.min(now));
    let grace = SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX);
    match now.duration_since(since) {
        passed if passed.is_negative() => Standing::Waiting { next: since },
        passed if passed <= grace => Standing::Due { since },
        _ => Standing::Late { since },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn nightly() -> Schedule {
        Schedule::parse("0 2 * * *", "Europe/Berlin").unwrap()
    }

    fn stands(last: &str, now: &str) -> Standing {
        standing(&nightly(), Some(at(last)), at(now), HOUR)
    }

    #[test]
    fn a_backup_waits_is_due_and_is_late() {
        let since = at("2026-11-30T01:00:00Z");
        assert_eq!(stands("2026-11-29T01:00:05Z", "2026-11-30T00:59:59Z"), Standing::Waiting { next: since });
        assert_eq!(stands("2026-11-29T01:00:05Z", "2026-11-30T01:00:00Z"), Standing::Due { since });
        assert_eq!(stands("2026-11-29T01:00:05Z", "2026-11-30T02:00:00Z"), Standing::Due { since });
        assert_eq!(stands("2026-11-29T01:00:05Z", "2026-11-30T02:00:01Z"), Standing::Late { since });
        let next = at("2026-12-01T01:00:00Z");
        assert_eq!(stands("2026-11-30T02:00:02Z", "2026-11-30T02:00:03Z"), Standing::Waiting { next });
        let now = at("2026-11-30T12:00:00Z");
        assert_eq!(standing(&nightly(), None, now, HOUR), Standing::Due { since: now });
    }

    #[test]
    fn lateness_is_counted_from_the_scheduled_instant_on_days_of_23_and_25_hours() {
        // Between these two nights lie 23 hours, and between the others 25.
        let since = at("2026-03-29T01:00:00Z");
        assert_eq!(stands("2026-03-28T01:00:00Z", "2026-03-29T01:30:00Z"), Standing::Due { since });
        let since = at("2026-03-30T00:00:00Z");
        assert_eq!(stands("2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"), Standing::Due { since });
        let next = at("2026-10-26T01:00:00Z");
        assert_eq!(stands("2026-10-25T00:00:00Z", "2026-10-26T00:30:00Z"), Standing::Waiting { next });
    }

    #[test]
    fn what_was_missed_is_caught_up_once() {
        // Ten nights without a controller.
        let since = at("2026-11-21T01:00:00Z");
        assert_eq!(stands("2026-11-20T01:00:00Z", "2026-11-30T12:00:00Z"), Standing::Late { since });
        let next = at("2026-12-01T01:00:00Z");
        assert_eq!(stands("2026-11-30T12:00:00Z", "2026-11-30T12:00:00Z"), Standing::Waiting { next });
    }

    #[test]
    fn a_clock_that_was_set_stops_no_backup() {
        // It ran a year ahead, and was set back: the backup of next year does not stand for this year's.
        let next = at("2026-12-01T01:00:00Z");
        assert_eq!(stands("2027-11-30T01:00:00Z", "2026-11-30T12:00:00Z"), Standing::Waiting { next });
        // It was set forth by a year: one backup, then the next night's.
        let since = at("2026-12-01T01:00:00Z");
        assert_eq!(stands("2026-11-30T01:00:00Z", "2027-11-30T12:00:00Z"), Standing::Late { since });
    }

    proptest! {
        #[test]
        fn begun_now_it_is_due_again_at_its_next_time_and_not_before(
            second in 1_700_000_000i64..1_900_000_000, later in 0i64..200_000,
        ) {
            let begun = Timestamp::from_second(second).unwrap();
            let now = begun + SignedDuration::from_secs(later);
            let next = nightly().next_after(begun);
            let due = standing(&nightly(), Some(begun), now, HOUR).since();
            prop_assert_eq!(due, (now >= next).then_some(next));
        }
    }
}
