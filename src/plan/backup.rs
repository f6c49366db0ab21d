//! How it stands with the backups of an environment: which job is to be begun now, which is late, and what people read of it
//! (F2, F6). What the hosts remember decides, so that a daemon, cron and a person come to the same answer. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::due::{Standing, standing};
use crate::model::desired::{Backup, Environment};
use crate::model::observed::{EnvObserved, HostObserved};
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
    /// What the attempts after it failed with.
    pub failed: Option<String>,
}

/// How it stands with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It has no schedule.
    Unscheduled,
    Waiting,
    Due,
    /// There is no good one since its time, and it is long past.
    Overdue,
    /// What its host remembers cannot be seen.
    Unknown,
}

/// Every job of an environment.
pub fn views(env: &Environment, seen: Option<&EnvObserved>, now: Timestamp) -> Vec<View> {
    // What is published says nothing of backups.
    let seen = seen.filter(|seen| !seen.veiled);
    let record = |host| match seen?.hosts.get(host)? {
        HostObserved::Reached(state) => Some(&state.record),
        HostObserved::Unreachable(_) => None,
    };
    let record = env.targets.first().and_then(|target| record(&target.name));
    let nothing = Backed::default();
    let view = |backup: &Backup| match record {
        Some(record) => view(backup, record.backups.get(&backup.name).unwrap_or(&nothing), now),
        None => View {
            name: backup.name.clone(),
            state: State::Unknown,
            at: None,
            last_good: None,
            last_good_at: None,
            failed: None,
        },
    };
    env.backups.iter().map(view).collect()
}

/// One job, from what its host remembers.
pub fn view(backup: &Backup, backed: &Backed, now: Timestamp) -> View {
    let (state, at) = match stands(backup, backed, now) {
        None => (State::Unscheduled, None),
        Some(_) if is_overdue(backup, backed, now) => (State::Overdue, due(backup, backed, now)),
        Some(Standing::Waiting { next }) => (State::Waiting, Some(next)),
        // Since ever: a time would be another one with every look.
        Some(_) if backed.started.is_none() => (State::Due, None),
        Some(Standing::Due { since } | Standing::Late { since }) => (State::Due, Some(since)),
    };
    View {
        name: backup.name.clone(),
        state,
        at,
        last_good: backed.good.as_ref().map(|good| good.name.to_string()),
        last_good_at: backed.good.as_ref().map(|good| good.at),
        failed: backed.failed.as_ref().map(|failed| failed.why.clone()),
    }
}

/// Since when it is to be begun; `None`: not now.
pub fn due(backup: &Backup, backed: &Backed, now: Timestamp) -> Option<Timestamp> {
    stands(backup, backed, now)?.since()
}

/// Whether there should be a good one, and is none, for longer than anybody would call a delay.
pub fn is_overdue(backup: &Backup, backed: &Backed, now: Timestamp) -> bool {
    let Some(schedule) = backup.schedule.as_ref().and_then(|cron| cron.schedule().ok()) else { return false };
    match backed.good.as_ref() {
        Some(good) => matches!(standing(&schedule, Some(good.at), now, GRACE), Standing::Late { .. }),
        // Never a good one: since the first attempt.
        None => {
            backed.failed.is_some()
                && backed
                    .started
                    .is_some_and(|begun| matches!(standing(&schedule, Some(begun), now, GRACE), Standing::Late { .. }))
        }
    }
}

/// By its schedule; and once more after a failure, before its next time.
fn stands(backup: &Backup, backed: &Backed, now: Timestamp) -> Option<Standing> {
    let schedule = backup.schedule.as_ref()?.schedule().ok()?;
    let by_schedule = standing(&schedule, backed.started, now, GRACE);
    let Some(failed) = &backed.failed else { return Some(by_schedule) };
    let wait = AGAIN.saturating_mul(1 << failed.times.saturating_sub(1).min(8)).min(AT_LATEST);
    let again = SignedDuration::try_from(wait).ok().and_then(|wait| failed.at.checked_add(wait).ok());
    Some(match (by_schedule, again) {
        (Standing::Waiting { next }, Some(again)) if again < next => match now < again {
            true => Standing::Waiting { next: again },
            false => Standing::Due { since: again },
        },
        (by_schedule, _) => by_schedule,
    })
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
            State::Overdue if at.is_empty() => "overdue".to_owned(),
            State::Overdue => format!("overdue, due since {at}"),
            State::Unknown => "unknown: what its host remembers cannot be seen from here".to_owned(),
        };
        let good = match (&self.last_good, self.state) {
            (_, State::Unknown) => String::new(),
            (Some(name), _) => format!("; the last good one is {name}"),
            (None, _) => "; there is no good one yet".to_owned(),
        };
        let failed = self.failed.as_ref().map_or_else(String::new, |why| format!("; failed since: {why}"));
        format!("{when}{good}{failed}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::backup::name::Compression;
    use crate::model::desired::backup::{Cron, Keep};
    use crate::model::record::backup::{Failed, Good};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn nightly() -> Backup {
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
        }
    }

    fn good(at_: &str) -> Option<Good> {
        Some(Good { name: "daily/20261129_010000".parse().unwrap(), at: at(at_), bytes: 1, rows: None })
    }

    #[test]
    fn a_failure_is_tried_again_later_and_later_and_told_once_it_is_overdue() {
        let mut backed =
            Backed { started: Some(at("2026-11-30T01:00:00Z")), good: good("2026-11-29T01:00:09Z"), failed: None };
        let now = at("2026-11-30T01:30:00Z");
        assert_eq!(due(&nightly(), &backed, now), None);
        backed.failed = Some(Failed { at: at("2026-11-30T01:00:30Z"), why: "full".to_owned(), times: 1 });
        assert_eq!(due(&nightly(), &backed, at("2026-11-30T01:15:00Z")), None);
        assert_eq!(due(&nightly(), &backed, now), Some(at("2026-11-30T01:15:30Z")));
        backed.failed = Some(Failed { at: now, why: "full".to_owned(), times: 2 });
        assert_eq!(due(&nightly(), &backed, at("2026-11-30T01:59:00Z")), None);
        assert!(!is_overdue(&nightly(), &backed, at("2026-11-30T02:59:00Z")));
        assert!(is_overdue(&nightly(), &backed, at("2026-11-30T03:01:00Z")));
        let told = view(&nightly(), &backed, at("2026-11-30T03:01:00Z")).told();
        let wanted =
            "overdue, due since 2026-11-30T02:00:00Z; the last good one is daily/20261129_010000; failed since: full";
        assert_eq!(told, wanted);
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
