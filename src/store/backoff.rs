//! How long an environment waits after an error before it is tried again by itself (law 4). Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::ids::Digest;

const FIRST: f64 = 2.0;
const FACTOR: f64 = 3.0;
const CAP: f64 = 300.0;

/// One environment's wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// Errors in a row.
    pub failures: u32,
    pub next_at: Timestamp,
    /// Of the plan that failed: another plan does not wait for it.
    pub fingerprint: Digest,
    pub reason: String,
}

impl Backoff {
    /// The wait after one more error. A plan with another fingerprint starts the count anew.
    pub fn after(
        previous: Option<&Backoff>,
        fingerprint: Digest,
        now: Timestamp,
        jitter: f64,
        reason: impl Into<String>,
    ) -> Self {
        let same = previous.filter(|p| p.fingerprint == fingerprint);
        let failures = same.map_or(1, |p| p.failures.saturating_add(1));
        let wait = SignedDuration::try_from(delay(failures, jitter)).unwrap_or_default();
        let next_at = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        Backoff { failures, next_at, fingerprint, reason: reason.into() }
    }

    /// A person stopped it: it waits until something changes, or somebody says so.
    pub fn stopped(fingerprint: Digest, reason: impl Into<String>) -> Self {
        Backoff { failures: 0, next_at: Timestamp::MAX, fingerprint, reason: reason.into() }
    }

    /// What is left of the wait at `now`. Never more than so many errors can lead to: a clock that was set back since, or
    /// was wrong when the error came, keeps nobody waiting for years.
    pub fn left(&self, now: Timestamp) -> Duration {
        if self.failures == 0 {
            return Duration::MAX;
        }
        let left = Duration::try_from(self.next_at.duration_since(now)).unwrap_or_default();
        left.min(delay(self.failures, 0.0))
    }

    /// Whether a plan has to wait at `now`.
    pub fn holds(&self, fingerprint: &Digest, now: Timestamp) -> bool {
        self.fingerprint == *fingerprint && !self.left(now).is_zero()
    }
}

/// 2 s, three times as long after each error in a row, never more than 300 s. `jitter` (0 to 1) takes up to a fifth
/// away, so that many environments that failed together do not come back together.
pub fn delay(failures: u32, jitter: f64) -> Duration {
    let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
    let full = (FIRST * FACTOR.powi(exponent)).min(CAP);
    let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.0 };
    Duration::from_secs_f64(full * (1.0 - jitter / 5.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_triples_up_to_five_minutes() {
        let waits: Vec<_> = (1..=7).map(|n| delay(n, 0.0).as_secs()).collect();
        assert_eq!(waits, [2, 6, 18, 54, 162, 300, 300]);
        assert_eq!(delay(u32::MAX, 0.0).as_secs(), 300);
        assert_eq!(delay(6, 1.0).as_secs(), 240);
        assert_eq!(delay(1, f64::NAN), delay(1, 0.0));
    }

    #[test]
    fn another_plan_does_not_wait_and_starts_anew() {
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let now = Timestamp::UNIX_EPOCH;
        let first = Backoff::after(None, one, now, 0.0, "no route to host");
        let second = Backoff::after(Some(&first), one, now, 0.0, "no route to host");
        assert_eq!((second.failures, second.next_at), (2, now + SignedDuration::from_secs(6)));
        assert!(second.holds(&one, now) && !second.holds(&two, now) && !second.holds(&one, second.next_at));
        assert_eq!(Backoff::after(Some(&second), two, now, 0.0, "").failures, 1);
    }

    #[test]
    fn a_clock_that_was_wrong_makes_nobody_wait_longer_than_so_many_errors_can() {
        let one = Digest::of(b"one");
        let wrong: Timestamp = "2093-01-01T00:00:00Z".parse().unwrap();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let first = Backoff::after(None, one, wrong, 0.0, "no route to host");
        assert_eq!(first.left(now), Duration::from_secs(2));
        let third = Backoff { failures: 3, ..first };
        assert_eq!(third.left(now), Duration::from_secs(18));
        // The other way round: the wait is over at once.
        let early = Backoff::after(None, one, now, 0.0, "");
        assert_eq!(early.left(wrong), Duration::ZERO);
        assert!(Backoff::stopped(one, "ann").holds(&one, wrong));
    }
}
