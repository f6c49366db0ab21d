//! Heals (A7): a release that was made anew because what ran was not what was released. Whatever changed it may do so
//! again at once: each further heal waits longer. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Confirmed, Record};
use crate::model::ids::ReleaseName;

/// Two heals in a row are made at once, as by a person who edits twice; the third comes so long after the second.
const FIRST: Duration = Duration::from_secs(2);
/// Each further one waits so many times as long as the one before.
const FACTOR: u32 = 3;
/// No heal waits longer.
const LONGEST: Duration = Duration::from_secs(5 * 60);
/// A heal after which nothing differs for so long has lasted, and the next one is a first one.
const LASTS: SignedDuration = SignedDuration::from_hours(1);

/// The last heal of a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healed {
    /// The release that it made.
    pub release: ReleaseName,
    pub at: Timestamp,
    /// How many in a row did not last, this one included.
    pub times: u32,
}

impl Healed {
    /// When the contents of its release may be healed again.
    pub fn next(&self) -> Timestamp {
        let Some(before) = self.times.checked_sub(2) else { return self.at };
        let factor = FACTOR.saturating_pow(before);
        let wait = FIRST.saturating_mul(factor).min(LONGEST);
        SignedDuration::try_from(wait).ok().and_then(|wait| self.at.checked_add(wait).ok()).unwrap_or(self.at)
    }

    /// Whether it is so long ago that it counts as one that lasted.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now.duration_since(self.at) > LASTS
    }
}

impl Record {
    /// The heal that made the confirmed release, unless that is long ago.
    pub fn recent_heal(&self, now: Timestamp) -> Option<&Healed> {
        let confirmed = self.confirmed.as_ref()?;
        self.healed.as_ref().filter(|healed| healed.release == confirmed.release && !healed.is_over(now))
    }

    /// What is to be remembered once `next` is confirmed: the same release under another name is a heal.
    pub(super) fn healed_by(&self, next: &Confirmed) -> Option<Healed> {
        let before = self.confirmed.as_ref()?;
        if before.release == next.release {
            return self.healed.clone();
        }
        let made = |release: &ReleaseName| self.releases.get(release).map(|known| (known.links, known.strip));
        let same = before.sha.is_some()
            && before.sha == next.sha
            && before.bundle == next.bundle
            && before.inputs == next.inputs
            && before.files == next.files
            && made(&before.release) == made(&next.release);
        same.then(|| {
            let times = self.recent_heal(next.at).map_or(0, |healed| healed.times);
            Healed { release: next.release.clone(), at: next.at, times: times.saturating_add(1) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirmed(release: &str, at: &str) -> Confirmed {
        Confirmed {
            release: release.parse().unwrap(),
            sha: Some("a".repeat(40).parse().unwrap()),
            bundle: None,
            at: at.parse().unwrap(),
            inputs: None,
            files: Default::default(),
            activation: Default::default(),
        }
    }

    fn wait(record: &Record) -> i64 {
        let healed = record.healed.as_ref().unwrap();
        healed.next().duration_since(healed.at).as_secs()
    }

    /// Confirms releases of the same contents, each a second after the one before.
    fn heal(record: &mut Record, times: usize) -> Vec<i64> {
        let next = |n: usize| confirmed(&format!("r{n}"), &format!("2026-01-01T00:00:{n:02}Z"));
        record.confirmed = Some(next(0));
        let one = |n| {
            record.healed = record.healed_by(&next(n));
            record.confirmed = Some(next(n));
            wait(record)
        };
        (1..=times).map(one).collect()
    }

    #[test]
    fn each_heal_in_a_row_waits_three_times_as_long_up_to_five_minutes() {
        assert_eq!(heal(&mut Record::default(), 8), [0, 2, 6, 18, 54, 162, 300, 300]);
    }

    #[test]
    fn a_heal_that_lasted_is_forgotten_and_so_is_one_before_another_commit() {
        let mut record = Record::default();
        heal(&mut record, 4);
        let late = confirmed("r9", "2026-01-01T01:00:05Z");
        assert_eq!(record.healed_by(&late).map(|healed| healed.times), Some(1));
        let other = Confirmed { sha: Some("b".repeat(40).parse().unwrap()), ..confirmed("r9", "2026-01-01T00:00:09Z") };
        assert_eq!(record.healed_by(&other), None);
        let again = confirmed("r4", "2026-01-01T00:00:09Z");
        assert_eq!(record.healed_by(&again).map(|healed| healed.times), Some(4), "a restart is no heal");
    }
}
