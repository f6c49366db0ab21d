//! How it stands with the backups of an environment: which job is to be begun now, which is late, and what people read of it
//! (F2, F6). What the hosts remember decides, so that a daemon, cron and a person come to the same answer. Pure.

pub mod trial;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::due::{Standing, standing};
use crate::model::desired::{Backup, Environment};
use crate::model::observed::{EnvObserved, HostObserved};
use crate::model::record::Holder;
use crate::model::record::backup::Backed;

/// A backup that is not good so long after its time is overdue: people want to know.
pub const GRACE: Duration = Duration::from_secs(2 * 3600);
/// After a failure it is tried again, later and later.
const AGAIN: Duration = Duration::from_secs(15 * 60);
const AT_LATEST: Duration = Duration::from_secs(4 * 3600);
/// One job, as plan and status show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    pub name: String,
    pub state: State,
    /// Since when it is to be done, or when it is due next; `None`: only before deployments and by hand.
    pub at: Option<Timestamp>,
    /// The last good one: `daily/20261130_010000`.
    pub last_good: Option<String>,
    /// When that came to its end.
    pub last_good_at: Option<Timestamp>,
    /// The one after it that is so much smaller that it is held: a person has to look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shrunk: Option<String>,
    /// What the attempts after it failed with.
    pub failed: Option<String>,
    /// How it stands with its restore test; `None`: none is declared, and none was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<trial::View>,
}

/// How it stands with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It has no schedule.
    Unscheduled,
    Waiting,
    Due,
    /// It is being made.
    UnderWay,
    /// There is no good one since its time, and it is long past.
    Overdue,
    /// What its host remembers cannot be seen.
    Unknown,
    /// It is made on another host, which looks after itself (pull mode).
    Elsewhere,
}

/// Every job of an environment.
pub fn views(env: &Environment, seen: Option<&EnvObserved>, now: Timestamp) -> Vec<View> {
    // What is published says nothing of backups.
    let seen = seen.filter(|seen| !seen.veiled);
    let state = |host| match seen?.hosts.get(host)? {
        HostObserved::Reached(state) => Some(state),
        HostObserved::Unreachable(_) => None,
    };
    let state = env.targets.first().and_then(|target| state(&target.name));
    let nothing = Backed::default();
    let unseen = |backup: &Backup, state| View {
        name: backup.name.clone(),
        state,
        at: None,
        last_good: None,
        last_good_at: None,
        shrunk: None,
        failed: None,
        test: None,
    };
    let view = |backup: &Backup| match state {
        _ if !env.leads() => unseen(backup, State::Elsewhere),
        Some(state) => {
            let backed = state.record.backups.get(&backup.name).unwrap_or(&nothing);
            let view = view(backup, backed, now);
            match under_way(backed, state.holder.as_ref()) {
                Some(at) if view.state != State::Overdue => View { state: State::UnderWay, at: Some(at), ..view },
                _ => view,
            }
        }
        None => unseen(backup, State::Unknown),
    };
    env.backups.iter().map(view).collect()
}

/// One job, from what its host remembers.
pub fn view(backup: &Backup, backed: &Backed, now: Timestamp) -> View {
    let (state, at) = match (stands(backup, backed, now), overdue_since(backup, backed, now)) {
        (None, _) => (State::Unscheduled, None),
        (Some(_), Some(since)) => (State::Overdue, Some(since)),
        (Some(Standing::Waiting { next }), None) => (State::Waiting, Some(next)),
        // Since ever: a time would be another one with every look.
        (Some(_), None) if backed.started.is_none() => (State::Due, None),
        (Some(Standing::Due { since } | Standing::Late { since }), None) => (State::Due, Some(since)),
    };
    View {
        name: backup.name.clone(),
        state,
        at,
        last_good: backed.good.as_ref().map(|good| good.name.to_string()),
        last_good_at: backed.good.as_ref().map(|good| good.at),
        shrunk: backed.shrunk.as_ref().map(|shrunk| shrunk.name.to_string()),
        failed: backed.failed.as_ref().map(|failed| failed.why.clone()),
        test: trial::view(backup, backed, now),
    }
}

/// Since when it is to be begun; `None`: not now.
pub fn due(backup: &Backup, backed: &Backed, now: Timestamp) -> Option<Timestamp> {
    stands(backup, backed, now)?.since()
}

/// Since when it is being made: whoever holds the root has begun it. One that was begun by somebody who is gone is not.
pub fn under_way(backed: &Backed, holder: Option<&Holder>) -> Option<Timestamp> {
    let open = backed.open?;
    holder.filter(|holder| holder.epoch == open.epoch).map(|_| open.name.at.at())
}

/// Whether there should be a good one, and is none, for longer than anybody would call a delay.
pub fn is_overdue(backup: &Backup, backed: &Backed, now: Timestamp) -> bool {
    overdue_since(backup, backed, now).is_some()
}

/// Since when there should be a good one, where that is longer ago than anybody would call a delay. Attempts that fail, and
/// backups that have shrunk, put it off by nothing.
fn overdue_since(backup: &Backup, backed: &Backed, now: Timestamp) -> Option<Timestamp> {
    let schedule = backup.schedule.as_ref()?.schedule().ok()?;
    if let Some(good) = &backed.good {
        return match standing(&schedule, Some(good.at), now, GRACE) {
            Standing::Late { since } => Some(since),
            Standing::Waiting { .. } | Standing::Due { .. } => None,
        };
    }
    // Never a good one: what was tried for the first time should have been good then.
    let first = backed.first.or(backed.started)?;
    let grace = SignedDuration::try_from(GRACE).unwrap_or(SignedDuration::MAX);
    (now.duration_since(first) > grace).then_some(first)
}

/// By its schedule; and once more after an attempt that came to nothing, before its next time.
fn stands(backup: &Backup, backed: &Backed, now: Timestamp) -> Option<Standing> {
    let schedule = backup.schedule.as_ref()?.schedule().ok()?;
    let by_schedule = standing(&schedule, backed.started, now, GRACE);
    Some(by_schedule.or_again(again(backed), now))
}

/// When the last attempt is made up for; `None`: it came to a good end. One that has not ended may be under way still: then its
/// root is held, and whoever comes for it waits.
fn again(backed: &Backed) -> Option<Timestamp> {
    let failed = backed.failed.as_ref();
    let (at, times) = match (backed.open, failed) {
        (Some(open), _) => (open.name.at.at(), failed.map_or(0, |failed| failed.times).saturating_add(1)),
        (None, Some(failed)) => (failed.at, failed.times),
        (None, None) => return None,
    };
    let wait = AGAIN.saturating_mul(1 << times.saturating_sub(1).min(8)).min(AT_LATEST);
    at.checked_add(SignedDuration::try_from(wait).ok()?).ok()
}

impl View {
    /// What people read after the job's name.
    pub fn told(&self) -> String {
        let at = self.at.map(|at| at.to_string()).unwrap_or_default();
        let when = match self.state {
            State::Unscheduled => "before deployments and by hand".to_owned(),
            State::Waiting => format!("next at {at}"),
            State::Due if at.is_empty() => "due now".to_owned(),
            State::Due => format!("due since {at}"),
            State::UnderWay => format!("being made since {at}"),
            State::Overdue if at.is_empty() => "overdue".to_owned(),
            State::Overdue => format!("overdue, due since {at}"),
            State::Unknown => "unknown: what its host remembers cannot be seen from here".to_owned(),
            State::Elsewhere => "made on the first host of the environment, which looks after itself".to_owned(),
        };
        let good = match (&self.last_good, self.state) {
            (_, State::Unknown | State::Elsewhere) => String::new(),
            (Some(name), _) => format!("; the last good one is {name}"),
            (None, _) => "; there is no good one yet".to_owned(),
        };
        let shrunk = self.shrunk.as_ref();
        let shrunk = shrunk.map_or_else(String::new, |name| format!("; {name} after it has shrunk, and is held"));
        let failed = self.failed.as_ref().map_or_else(String::new, |why| format!("; failed since: {why}"));
        let test = self.test.as_ref().map_or_else(String::new, trial::View::told);
        format!("{when}{good}{shrunk}{failed}{test}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::backup::name::{BackupName, Compression, Kind};
    use crate::model::desired::backup::{Cron, Keep};
    use crate::model::ids::Epoch;
    use crate::model::record::Record;
    use crate::model::record::backup::{End, Failed, Good};

    pub(super) fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    pub(super) fn nightly() -> Backup {
        let zone = "Europe/Berlin".to_owned();
        Backup {
            name: "production".to_owned(),
            schedule: Some(Cron { line: "0 2 * * *".to_owned(), zone: zone.clone() }),
            zone,
            pre_deploy: false,
            keep: Keep::default(),
            max_shrink: 50,
            limit: None,
            ping: None,
            compress: Compression::Gzip,
            encrypt: Vec::new(),
            databases: Vec::new(),
            files: Vec::new(),
            targets: Vec::new(),
            identity: None,
            restore_test: None,
        }
    }

    pub(super) fn good(at_: &str) -> Option<Good> {
        Some(Good { name: "daily/20261129_010000".parse().unwrap(), at: at(at_), bytes: 1, rows: None })
    }

    fn failed(at_: &str, times: u32) -> Option<Failed> {
        Some(Failed { at: at(at_), why: "full".to_owned(), times, refused: Vec::new() })
    }

    #[test]
    fn a_failure_is_tried_again_later_and_later_and_told_once_it_is_overdue() {
        let mut backed = Backed {
            started: Some(at("2026-11-30T01:00:00Z")),
            good: good("2026-11-29T01:00:09Z"),
            ..Backed::default()
        };
        let now = at("2026-11-30T01:30:00Z");
        assert_eq!(due(&nightly(), &backed, now), None);
        backed.failed = failed("2026-11-30T01:00:30Z", 1);
        assert_eq!(due(&nightly(), &backed, at("2026-11-30T01:15:00Z")), None);
        assert_eq!(due(&nightly(), &backed, now), Some(at("2026-11-30T01:15:30Z")));
        backed.failed = failed("2026-11-30T01:30:00Z", 2);
        assert_eq!(due(&nightly(), &backed, at("2026-11-30T01:59:00Z")), None);
        assert!(!is_overdue(&nightly(), &backed, at("2026-11-30T02:59:00Z")));
        assert!(is_overdue(&nightly(), &backed, at("2026-11-30T03:01:00Z")));
        let told = view(&nightly(), &backed, at("2026-11-30T03:01:00Z")).told();
        let wanted =
            "overdue, due since 2026-11-30T01:00:00Z; the last good one is daily/20261129_010000; failed since: full";
        assert_eq!(told, wanted);
    }

    /// One target of two refuses every time: it is tried again a few times a day, and not every quarter of an hour.
    #[test]
    fn a_target_that_refuses_for_a_day_makes_few_backups() {
        let mut record = Record::default();
        let end = at("2026-11-30T12:00:00Z");
        let (mut now, mut made) = (end - SignedDuration::from_hours(24), 0);
        while now < end {
            let backed = record.backups.get("production").cloned().unwrap_or_default();
            if due(&nightly(), &backed, now).is_some() {
                let name = BackupName::new(Kind::Daily, now);
                record.begin_backup("production", name);
                let (good, refused) = (Good { name, at: now, bytes: 1, rows: None }, vec!["small".to_owned()]);
                record.end_backup("production", End::Made { good, shrunk: false, refused, why: None });
                made += 1;
            }
            now += SignedDuration::from_secs(60);
        }
        assert!((8..=12).contains(&made), "{made}");
    }

    /// Its controller died: nobody says so, and it is not put off until the next night.
    #[test]
    fn what_was_begun_and_never_ended_is_tried_again_soon() {
        let mut record = Record::default();
        record.begin_backup("production", BackupName::new(Kind::Daily, at("2026-11-30T01:00:00Z")));
        let due_at = |record: &Record, now: &str| due(&nightly(), &record.backups["production"], at(now));
        assert_eq!(due_at(&record, "2026-11-30T01:14:00Z"), None);
        assert_eq!(due_at(&record, "2026-11-30T01:16:00Z"), Some(at("2026-11-30T01:15:00Z")));
        record.begin_backup("production", BackupName::new(Kind::Daily, at("2026-11-30T01:16:00Z")));
        assert_eq!(due_at(&record, "2026-11-30T01:40:00Z"), None);
        assert_eq!(due_at(&record, "2026-11-30T01:46:00Z"), Some(at("2026-11-30T01:46:00Z")));
    }

    /// A dump may take longer than anybody waits before the next attempt.
    #[test]
    fn what_is_under_way_is_not_begun_once_more() {
        let mut record = Record { epoch: Epoch(7), ..Record::default() };
        record.begin_backup("production", BackupName::new(Kind::Daily, at("2026-11-30T01:00:00.9Z")));
        let backed = &record.backups["production"];
        // Whose clock is right makes no difference.
        let holder = |epoch| Holder { who: "ann".to_owned(), since: at("2026-11-30T09:00:00Z"), epoch, pid: 1 };
        let begun = Some(at("2026-11-30T01:00:00Z"));
        assert_eq!(under_way(backed, Some(&holder(Epoch(7)))), begun);
        assert_eq!(under_way(backed, Some(&holder(Epoch(8)))), None, "another one has the root now");
        assert_eq!(under_way(backed, None), None, "whoever began it is gone");
    }

    /// Never a good one, and again and again an attempt: it is overdue two hours after the first.
    #[test]
    fn attempts_put_off_nothing() {
        let mut record = Record::default();
        for minute in [0, 15, 45] {
            let begun = at("2026-11-30T09:00:00Z") + SignedDuration::from_mins(minute);
            record.begin_backup("production", BackupName::new(Kind::Daily, begun));
            record.end_backup("production", End::Failed { at: begun, why: "full".to_owned() });
        }
        let backed = &record.backups["production"];
        assert!(!is_overdue(&nightly(), backed, at("2026-11-30T10:59:00Z")));
        assert!(is_overdue(&nightly(), backed, at("2026-11-30T11:01:00Z")));
        let told = view(&nightly(), backed, at("2026-11-30T11:01:00Z")).told();
        assert_eq!(told, "overdue, due since 2026-11-30T09:00:00Z; there is no good one yet; failed since: full");
    }

    #[test]
    fn what_was_never_done_is_due_and_what_has_no_schedule_never_is() {
        let (nothing, now) = (Backed::default(), at("2026-11-30T12:00:00Z"));
        assert_eq!(due(&nightly(), &nothing, now), Some(now));
        assert!(!is_overdue(&nightly(), &nothing, now));
        let by_hand = Backup { schedule: None, ..nightly() };
        assert_eq!(view(&by_hand, &nothing, now).state, State::Unscheduled);
    }
}
