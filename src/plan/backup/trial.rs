//! How it stands with the restore tests of a job (F4, F6): when one is due, when one that passes is overdue, and what people read
//! of it. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::backup::proof::Outcome;
use crate::model::desired::Backup;
use crate::model::record::backup::{Backed, Tested};
use crate::plan::due::{Standing, standing};

/// A restore test that did not pass so long after its time is overdue.
const GRACE: Duration = Duration::from_secs(24 * 3600);
/// One that could not be done is tried again, later and later.
const AGAIN: Duration = Duration::from_secs(3600);
const AT_LATEST: Duration = Duration::from_secs(24 * 3600);

/// The restore tests of a job, as plan and status show them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// When the next one is due; `None`: by hand, or now.
    pub next: Option<Timestamp>,
    /// It is to be done now.
    pub due: bool,
    /// One that passes should have been made long ago.
    pub overdue: bool,
    /// The last backup that was restored and is what it should be.
    pub proven: Option<String>,
    pub proven_at: Option<Timestamp>,
    /// What the last one came to, where it did not pass.
    pub failed: Option<String>,
}

/// How it stands with the restore tests of a job; `None`: none is declared, and none was made.
pub fn view(backup: &Backup, backed: &Backed, now: Timestamp) -> Option<View> {
    let nothing = Tested::default();
    if backup.restore_test.is_none() && backed.tested.is_none() {
        return None;
    }
    let tested = backed.tested.as_ref().unwrap_or(&nothing);
    let last = tested.past.last().filter(|last| last.outcome != Outcome::Pass);
    Some(View {
        next: match stands(backup, backed, now) {
            Some(Standing::Waiting { next }) => Some(next),
            _ => None,
        },
        due: due(backup, backed, now).is_some(),
        overdue: is_overdue(backup, backed, now),
        proven: tested.proven.as_ref().and_then(|proven| Some(proven.backup?.to_string())),
        proven_at: tested.proven.as_ref().map(|proven| proven.at),
        failed: last.map(|last| format!("{}: {}", last.outcome, last.why)),
    })
}

/// Since when a restore test is to be made; `None`: not now. Where there is no good backup there is nothing to try.
pub fn due(backup: &Backup, backed: &Backed, now: Timestamp) -> Option<Timestamp> {
    backed.good.as_ref()?;
    stands(backup, backed, now)?.since()
}

/// By its schedule; and once more where nothing could be found out, before its next time.
fn stands(backup: &Backup, backed: &Backed, now: Timestamp) -> Option<Standing> {
    let schedule = backup.restore_test.as_ref()?.schedule.as_ref()?.schedule().ok()?;
    let tested = backed.tested.as_ref();
    let by_schedule = standing(&schedule, tested.and_then(|tested| tested.started), now, GRACE);
    let again = tested.and_then(|tested| {
        let (at, times) = match (tested.open, tested.inconclusive(), tested.past.last()) {
            // Its controller is gone, or it is under way: then its root is held, and whoever comes for it waits.
            (Some(open), times, _) => (open, times + 1),
            (None, times @ 1.., Some(last)) => (last.at, times),
            _ => return None,
        };
        let doubled = u32::try_from(times - 1).unwrap_or(u32::MAX).min(8);
        let wait = AGAIN.saturating_mul(1 << doubled).min(AT_LATEST);
        at.checked_add(SignedDuration::try_from(wait).ok()?).ok()
    });
    Some(by_schedule.or_again(again, now))
}

/// Whether a restore test that passes should have been made long ago (F6).
pub fn is_overdue(backup: &Backup, backed: &Backed, now: Timestamp) -> bool {
    let test = backup.restore_test.as_ref().and_then(|test| test.schedule.as_ref());
    let (Some(schedule), Some(tested)) = (test.and_then(|cron| cron.schedule().ok()), &backed.tested) else {
        return false;
    };
    // Never one that passed: since the first that was begun, however many are remembered.
    let since = tested.proven.as_ref().map(|proven| proven.at).or(tested.first);
    since.is_some_and(|since| matches!(standing(&schedule, Some(since), now, GRACE), Standing::Late { .. }))
}

impl View {
    /// What people read after what is said of the backups.
    pub fn told(&self) -> String {
        let proven = match (&self.proven, self.proven_at) {
            (Some(proven), Some(at)) => format!("; {proven} was restored and proven at {at:.0}"),
            _ => "; no restore was ever proven".to_owned(),
        };
        let when = match (self.next, self.due, self.overdue) {
            (_, _, true) => "; a restore test that passes is overdue".to_owned(),
            (_, true, _) => "; a restore test is due now".to_owned(),
            (Some(next), ..) => format!("; the next restore test is due at {next}"),
            _ => String::new(),
        };
        let failed = self.failed.as_ref().map_or_else(String::new, |why| format!("; the last restore test: {why}"));
        format!("{proven}{when}{failed}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, good, nightly};
    use super::*;
    use crate::model::desired::backup::{Cron, RestoreTest};
    use crate::model::record::backup::Trial;

    #[test]
    fn a_restore_test_is_due_by_its_schedule_and_again_where_nobody_could_say() {
        let schedule = Some(Cron { line: "0 3 * * SUN#1".to_owned(), zone: "Europe/Berlin".to_owned() });
        let on = "staging".parse().unwrap();
        let job = Backup {
            restore_test: Some(RestoreTest { schedule, on, scratch: None, queries: Vec::new() }),
            ..nightly()
        };
        let mut backed = Backed::default();
        let now = at("2026-11-30T12:00:00Z");
        assert_eq!(due(&job, &backed, now), None, "there is nothing to restore");
        backed.good = good("2026-11-30T01:00:09Z");
        assert_eq!(due(&job, &backed, now), Some(now));
        let trial = |outcome, ended: &str| Trial {
            backup: Some("daily/20261129_010000".parse().unwrap()),
            at: at(ended),
            outcome,
            millis: 1,
            age: 1,
            why: String::new(),
        };
        let mut tested = Tested { started: Some(now), first: Some(now), ..Tested::default() };
        tested.past.push(trial(Outcome::Inconclusive, "2026-11-30T12:00:00Z"));
        backed.tested = Some(tested.clone());
        assert_eq!(due(&job, &backed, at("2026-11-30T12:59:00Z")), None);
        assert_eq!(due(&job, &backed, at("2026-11-30T13:30:00Z")), Some(at("2026-11-30T13:00:00Z")));
        tested.past.push(trial(Outcome::Inconclusive, "2026-11-30T13:30:00Z"));
        backed.tested = Some(tested.clone());
        assert_eq!(due(&job, &backed, at("2026-11-30T15:00:00Z")), None, "later and later");
        // A verdict is one: the next one comes by the schedule, the first Sunday at three.
        tested.past.push(trial(Outcome::Fail, "2026-11-30T16:00:00Z"));
        backed.tested = Some(tested.clone());
        assert_eq!(due(&job, &backed, at("2026-12-06T01:59:00Z")), None);
        assert_eq!(due(&job, &backed, at("2026-12-06T02:00:00Z")), Some(at("2026-12-06T02:00:00Z")));
        assert!(!is_overdue(&job, &backed, at("2026-12-07T01:00:00Z")));
        assert!(is_overdue(&job, &backed, at("2026-12-07T03:00:00Z")), "none that passes");
        tested.proven = Some(trial(Outcome::Pass, "2026-12-06T02:10:00Z"));
        backed.tested = Some(tested);
        assert!(!is_overdue(&job, &backed, at("2026-12-07T03:00:00Z")));
        let told = super::super::view(&job, &backed, at("2026-12-07T03:00:00Z")).told();
        assert!(told.contains("; daily/20261129_010000 was restored and proven at 2026-12-06T02:10:00Z"), "{told}");
    }
}
