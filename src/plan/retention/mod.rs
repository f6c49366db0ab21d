//! Which backups of a target are kept, and which may go (F3, I20): one line of reason for each. Pure: what is known of them
//! is handed in, and nothing is removed here.
//!
//! - Only a backup that was verified where it lies fills a slot; one per calendar date of the declared zone, the newest. A
//!   slot of a week (of ISO) or of a month is filled by its newest.
//! - Before deployments, distinct releases count, not backups: ten attempts at one release push out nothing of another.
//!   What leads back to the live release and to the one before it stays, the first and the newest of each: the first is
//!   older than what a migration that failed has left.
//! - The last good backup is never pruned, and neither is the last one that a restore test has proven.
//! - What is not verified, has shrunk, has no manifest, is dated ahead, or was asked for by a person is held: nothing but a
//!   person's word removes it, and none of it fills a slot.
//! - During a restore, after a backup that failed, and where more would go than is expected, nothing goes.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::model::backup::name::{BackupName, Kind};
pub use crate::model::desired::backup::Keep;
use crate::model::ids::ReleaseName;

/// One backup on one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: BackupName,
    pub state: State,
    /// The release that was live when it was begun, where that is known.
    pub release: Option<ReleaseName>,
    /// A restore test has restored it.
    pub proven: bool,
}

/// What is known of a backup where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// All its files were read back and are what its manifest says.
    Verified,
    /// Nobody has read it back yet.
    Unverified,
    /// It was read back, and is not what its manifest says, or cannot be read: why.
    Broken(String),
    /// It is whole, and so much smaller than the last proven one that something must be missing (`max_shrink`): what.
    Shrunk(String),
    /// It has no manifest: unfinished, or made by other means.
    NoManifest,
}

/// The terms on which is decided.
#[derive(Debug, Clone)]
pub struct Terms {
    pub keep: Keep,
    pub now: Timestamp,
    /// The zone whose calendar counts.
    pub zone: TimeZone,
    /// The live release and the one that a rollback leads to.
    pub pinned: BTreeSet<ReleaseName>,
    pub shelf: Shelf,
    /// Why nothing may go now, whatever the numbers say.
    pub still: Option<Still>,
    /// More than so many at once are not expected; `None`: a person has seen the number.
    pub at_most: Option<usize>,
}

/// What a target is to its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shelf {
    /// Backups are kept here.
    Remote,
    /// Copies on the server itself, for a fast way back: the newest `keep.local` of them. One may go only when it is
    /// verified on another target, too; these are.
    Local { elsewhere: BTreeSet<BackupName> },
}

/// Why nothing is pruned now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Still {
    /// Something is being restored.
    Restoring,
    /// The last backup of the job failed.
    LastFailed,
}

/// What is to become of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It fills a slot, or is the last one.
    Keep,
    /// It may go.
    Prune,
    /// It stays until something else happens: the reason says what.
    Hold,
}

/// The verdict on one backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub name: BackupName,
    pub verdict: Verdict,
    /// Half a sentence that goes on after the name.
    pub reason: String,
}

/// Decides on every backup of a target, the newest first. A name that comes twice is decided on once.
pub fn decide(entries: &[Entry], terms: &Terms) -> Vec<Decision> {
    let entries: BTreeMap<BackupName, &Entry> = entries.iter().map(|entry| (entry.name, entry)).collect();
    let newest: Vec<&Entry> = entries.into_values().rev().collect();
    let good: Vec<&Entry> = newest.iter().copied().filter(|entry| is_good(entry, terms)).collect();
    let mut kept: BTreeMap<BackupName, String> = BTreeMap::new();
    match &terms.shelf {
        Shelf::Remote => {
            dates(&good, terms, &mut kept);
            releases(&good, terms, &mut kept);
        }
        Shelf::Local { .. } => {
            for entry in good.iter().take(terms.keep.local as usize) {
                note(&mut kept, entry, format!("one of the newest {} on the server", terms.keep.local));
            }
        }
    }
    if let Some(last) = good.first() {
        note(&mut kept, last, "the last good backup".to_owned());
    }
    if let Some(last) = good.iter().find(|entry| entry.proven) {
        note(&mut kept, last, "the last one that a restore test has proven".to_owned());
    }
    let mut decisions: Vec<Decision> = newest.iter().map(|entry| judge(entry, terms, &kept)).collect();
    settle(&mut decisions, terms);
    decisions
}

/// Whether it counts: it is there, whole, plausible, and its date is one that there has been.
fn is_good(entry: &Entry, terms: &Terms) -> bool {
    entry.state == State::Verified && entry.name.at.at() <= terms.now
}

fn note(kept: &mut BTreeMap<BackupName, String>, entry: &Entry, reason: String) {
    kept.entry(entry.name).or_insert(reason);
}

/// Slots of days, weeks and months. `good`: the newest first.
fn dates(good: &[&Entry], terms: &Terms, kept: &mut BTreeMap<BackupName, String>) {
    let daily = || good.iter().copied().filter(|entry| entry.name.kind == Kind::Daily);
    let date = |entry: &Entry| terms.zone.to_datetime(entry.name.at.at()).date();
    let week = |date: Date| {
        let week = date.iso_week_date();
        format!("week {}-W{:02}", week.year(), week.week())
    };
    let month = |date: Date| format!("month {}", date.strftime("%Y-%m"));
    let slots: [(u32, &dyn Fn(Date) -> String); 3] =
        [(terms.keep.daily, &|date| format!("day {date}")), (terms.keep.weekly, &week), (terms.keep.monthly, &month)];
    for (count, slot) in slots {
        let mut filled = BTreeSet::new();
        for entry in daily() {
            let slot = slot(date(entry));
            if filled.len() < count as usize && filled.insert(slot.clone()) {
                note(kept, entry, format!("fills the {slot} ({} of {count})", filled.len()));
            }
        }
    }
}

/// Slots of releases, and what leads back to those that are in use.
fn releases(good: &[&Entry], terms: &Terms, kept: &mut BTreeMap<BackupName, String>) {
    let before = || good.iter().copied().filter(|entry| entry.name.kind == Kind::PreDeploy);
    let count = terms.keep.pre_deploy;
    let mut filled = BTreeSet::new();
    let mut nameless = 0;
    for entry in before() {
        let new = match &entry.release {
            Some(release) => filled.insert(release),
            None => {
                nameless += 1;
                true
            }
        };
        let number = filled.len() + nameless;
        if new && number <= count as usize {
            let of =
                entry.release.as_ref().map_or_else(|| "a release that is not known".to_owned(), ToString::to_string);
            note(kept, entry, format!("the newest that leads back to {of} ({number} of {count} releases)"));
        }
    }
    for release in &terms.pinned {
        let of: Vec<&Entry> = before().filter(|entry| entry.release.as_ref() == Some(release)).collect();
        for entry in of.first().into_iter().chain(of.last()) {
            note(kept, entry, format!("leads back to {release}, which is in use or the way back"));
        }
    }
}

fn judge(entry: &Entry, terms: &Terms, kept: &BTreeMap<BackupName, String>) -> Decision {
    let said = |verdict, reason: &str| Decision { name: entry.name, verdict, reason: reason.to_owned() };
    if let Some(reason) = kept.get(&entry.name) {
        return said(Verdict::Keep, reason);
    }
    match &entry.state {
        State::Verified => {}
        State::Unverified => return said(Verdict::Hold, "it was not read back yet: `soll backup verify` does"),
        State::Broken(why) => return said(Verdict::Hold, &format!("it is broken: {why}")),
        State::Shrunk(what) => {
            return said(Verdict::Hold, &format!("it is much smaller than the last proven one: {what}"));
        }
        State::NoManifest => {
            return said(
                Verdict::Hold,
                "it has no manifest of soll: unfinished, or made by other means (`soll backup import`)",
            );
        }
    }
    if entry.name.at.at() > terms.now {
        return said(Verdict::Hold, "it is dated ahead of now: a clock was wrong");
    }
    match (&terms.shelf, entry.name.kind) {
        (Shelf::Local { elsewhere }, _) if !elsewhere.contains(&entry.name) => {
            said(Verdict::Hold, "no other target has a verified copy of it")
        }
        (Shelf::Local { .. }, _) => {
            said(Verdict::Prune, "newer ones fill the slots on the server, and other targets have it")
        }
        (Shelf::Remote, Kind::Daily) => said(Verdict::Prune, "newer ones fill the slots of its day, week and month"),
        (Shelf::Remote, Kind::PreDeploy) => said(Verdict::Prune, "newer ones fill the slots of releases"),
        (Shelf::Remote, Kind::Manual) => said(Verdict::Hold, "a person asked for it, and removes it by its name"),
    }
}

/// Where nothing may go, what would go is held, and says why.
fn settle(decisions: &mut [Decision], terms: &Terms) {
    let going = decisions.iter().filter(|decision| decision.verdict == Verdict::Prune).count();
    let reason = match (terms.still, terms.at_most) {
        (Some(Still::Restoring), _) => "something is being restored".to_owned(),
        (Some(Still::LastFailed), _) => "the last backup of this job failed".to_owned(),
        (None, Some(most)) if going > most => {
            format!(
                "{going} of {} would go at once, and no more than {most} are expected: a person has to say so",
                decisions.len()
            )
        }
        (None, _) => return,
    };
    for decision in decisions.iter_mut().filter(|decision| decision.verdict == Verdict::Prune) {
        decision.verdict = Verdict::Hold;
        decision.reason = format!("it would go ({}), but {reason}", decision.reason);
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn release(name: &str) -> ReleaseName {
        name.parse().unwrap()
    }

    fn entry(name: &str) -> Entry {
        Entry { name: name.parse().unwrap(), state: State::Verified, release: None, proven: false }
    }

    fn before(name: &str, of: &str) -> Entry {
        Entry { release: Some(release(of)), ..entry(name) }
    }

    fn terms(keep: Keep) -> Terms {
        Terms {
            keep,
            now: at("2026-11-30T12:00:00Z"),
            zone: TimeZone::get("Europe/Berlin").unwrap(),
            pinned: BTreeSet::new(),
            shelf: Shelf::Remote,
            still: None,
            at_most: None,
        }
    }

    const NONE: Keep = Keep { daily: 0, weekly: 0, monthly: 0, pre_deploy: 0, local: 0 };

    /// One line each: the verdict, the name, the reason.
    fn told(entries: &[Entry], terms: &Terms) -> String {
        let word = |verdict| match verdict {
            Verdict::Keep => "keep",
            Verdict::Prune => "prune",
            Verdict::Hold => "hold",
        };
        let line = |d: Decision| format!("{} {}: {}\n", word(d.verdict), d.name, d.reason);
        decide(entries, terms).into_iter().map(line).collect()
    }

    #[test]
    fn a_date_of_the_zone_has_one_slot_and_its_newest_fills_it() {
        // 23:30 UTC is the next day in Berlin.
        let names =
            ["daily/20261128_010000", "daily/20261129_010000", "daily/20261129_233000", "daily/20261130_010000"];
        let told = told(&names.map(entry), &terms(Keep { daily: 2, ..NONE }));
        assert_eq!(
            told,
            "keep daily/20261130_010000: fills the day 2026-11-30 (1 of 2)\n\
             prune daily/20261129_233000: newer ones fill the slots of its day, week and month\n\
             keep daily/20261129_010000: fills the day 2026-11-29 (2 of 2)\n\
             prune daily/20261128_010000: newer ones fill the slots of its day, week and month\n"
        );
    }

    #[test]
    fn weeks_and_months_are_filled_by_their_newest() {
        let days = (1..=120).map(|day| {
            let at = at("2026-11-30T01:00:00Z") - SignedDuration::from_hours(24 * day);
            Entry { name: BackupName::new(Kind::Daily, at), ..entry("daily/20261130_010000") }
        });
        let days: Vec<_> = days.collect();
        let kept = decide(&days, &terms(Keep { daily: 2, weekly: 2, monthly: 3, ..NONE }));
        let kept = kept.into_iter().filter(|d| d.verdict == Verdict::Keep);
        let kept: Vec<_> = kept.map(|d| format!("{} {}", d.name, d.reason)).collect();
        assert_eq!(
            kept,
            [
                "daily/20261129_010000 fills the day 2026-11-29 (1 of 2)",
                "daily/20261128_010000 fills the day 2026-11-28 (2 of 2)",
                "daily/20261122_010000 fills the week 2026-W47 (2 of 2)",
                "daily/20261031_010000 fills the month 2026-10 (2 of 3)",
                "daily/20260930_010000 fills the month 2026-09 (3 of 3)",
            ]
        );
    }

    #[test]
    fn before_deployments_releases_count_and_those_in_use_stay() {
        let entries = [
            before("pre-deploy/20261110_100000", "one"),
            before("pre-deploy/20261110_110000", "one"),
            before("pre-deploy/20261110_120000", "one"),
            before("pre-deploy/20261111_100000", "two"),
            before("pre-deploy/20261112_100000", "three"),
            before("pre-deploy/20261112_110000", "three"),
            before("pre-deploy/20261113_100000", "four"),
        ];
        let mut terms = terms(Keep { pre_deploy: 2, ..NONE });
        terms.pinned = BTreeSet::from([release("one"), release("four")]);
        assert_eq!(
            told(&entries, &terms),
            "keep pre-deploy/20261113_100000: the newest that leads back to four (1 of 2 releases)\n\
             keep pre-deploy/20261112_110000: the newest that leads back to three (2 of 2 releases)\n\
             prune pre-deploy/20261112_100000: newer ones fill the slots of releases\n\
             prune pre-deploy/20261111_100000: newer ones fill the slots of releases\n\
             keep pre-deploy/20261110_120000: leads back to one, which is in use or the way back\n\
             prune pre-deploy/20261110_110000: newer ones fill the slots of releases\n\
             keep pre-deploy/20261110_100000: leads back to one, which is in use or the way back\n"
        );
    }

    #[test]
    fn what_cannot_be_vouched_for_fills_no_slot_and_is_held() {
        let with = |name, state| Entry { state, ..entry(name) };
        let entries = [
            entry("daily/20261120_010000"),
            entry("daily/20261121_010000"),
            with("daily/20261122_010000", State::Unverified),
            with("daily/20261123_010000", State::Broken("backup-db differs".to_owned())),
            with("daily/20261124_010000", State::Shrunk("3 rows instead of 20001".to_owned())),
            with("daily/20261125_010000", State::NoManifest),
            entry("daily/20271125_010000"),
            entry("manual/20261101_010000"),
        ];
        assert_eq!(
            told(&entries, &terms(Keep { daily: 1, ..NONE })),
            "hold daily/20271125_010000: it is dated ahead of now: a clock was wrong\n\
             hold daily/20261125_010000: it has no manifest of soll: unfinished, or made by other means (`soll backup import`)\n\
             hold daily/20261124_010000: it is much smaller than the last proven one: 3 rows instead of 20001\n\
             hold daily/20261123_010000: it is broken: backup-db differs\n\
             hold daily/20261122_010000: it was not read back yet: `soll backup verify` does\n\
             keep daily/20261121_010000: fills the day 2026-11-21 (1 of 1)\n\
             prune daily/20261120_010000: newer ones fill the slots of its day, week and month\n\
             hold manual/20261101_010000: a person asked for it, and removes it by its name\n"
        );
    }

    #[test]
    fn the_last_good_and_the_last_proven_stay_whatever_the_numbers_say() {
        let proven = Entry { proven: true, ..entry("daily/20261101_010000") };
        let entries = [entry("daily/20261130_010000"), entry("daily/20261129_010000"), proven];
        assert_eq!(
            told(&entries, &terms(NONE)),
            "keep daily/20261130_010000: the last good backup\n\
             prune daily/20261129_010000: newer ones fill the slots of its day, week and month\n\
             keep daily/20261101_010000: the last one that a restore test has proven\n"
        );
    }

    #[test]
    fn on_the_server_a_copy_goes_only_when_another_target_has_it() {
        let names =
            ["daily/20261127_010000", "daily/20261128_010000", "daily/20261129_010000", "daily/20261130_010000"];
        let mut terms = terms(Keep { local: 2, ..NONE });
        terms.shelf = Shelf::Local { elsewhere: BTreeSet::from([names[0].parse().unwrap()]) };
        assert_eq!(
            told(&names.map(entry), &terms),
            "keep daily/20261130_010000: one of the newest 2 on the server\n\
             keep daily/20261129_010000: one of the newest 2 on the server\n\
             hold daily/20261128_010000: no other target has a verified copy of it\n\
             prune daily/20261127_010000: newer ones fill the slots on the server, and other targets have it\n"
        );
    }

    #[test]
    fn nothing_goes_during_a_restore_after_a_failure_or_where_too_much_would() {
        let names = ["daily/20261127_010000", "daily/20261128_010000", "daily/20261129_010000"].map(entry);
        let mut terms = terms(Keep { daily: 1, ..NONE });
        let held = |terms: &Terms, why: &str| {
            let decisions = decide(&names, terms);
            assert!(decisions.iter().all(|d| d.verdict != Verdict::Prune), "{decisions:?}");
            assert!(
                decisions.iter().filter(|d| d.verdict == Verdict::Hold).all(|d| d.reason.ends_with(why)),
                "{decisions:?}"
            );
        };
        terms.still = Some(Still::Restoring);
        held(&terms, "but something is being restored");
        terms.still = Some(Still::LastFailed);
        held(&terms, "but the last backup of this job failed");
        terms.still = None;
        terms.at_most = Some(1);
        held(&terms, "but 2 of 3 would go at once, and no more than 1 are expected: a person has to say so");
        terms.at_most = Some(2);
        assert_eq!(decide(&names, &terms).iter().filter(|d| d.verdict == Verdict::Prune).count(), 2);
    }

    fn any_entry() -> impl Strategy<Value = Entry> {
        let kind = prop::sample::select(Kind::ALL.to_vec());
        // Around now, so that some lie ahead; few hours, so that some share a date.
        let at = (-24 * 60i64..48).prop_map(|hours| at("2026-11-30T12:00:00Z") + SignedDuration::from_hours(hours));
        let state = prop_oneof![
            6 => Just(State::Verified),
            1 => Just(State::Unverified),
            1 => Just(State::Broken("x".to_owned())),
            1 => Just(State::Shrunk("x".to_owned())),
            1 => Just(State::NoManifest),
        ];
        let release = prop::option::of(prop::sample::select(vec!["one", "two", "three", "four"]));
        (kind, at, state, release, any::<bool>()).prop_map(|(kind, at, state, of, proven)| Entry {
            name: BackupName::new(kind, at),
            state,
            release: of.map(release_of),
            proven,
        })
    }

    fn release_of(name: &str) -> ReleaseName {
        release(name)
    }

    fn any_terms() -> impl Strategy<Value = Terms> {
        let keep = (0..8u32, 0..4u32, 0..4u32, 0..4u32, 0..4u32)
            .prop_map(|(daily, weekly, monthly, pre_deploy, local)| Keep { daily, weekly, monthly, pre_deploy, local });
        let pinned = prop::collection::btree_set(prop::sample::select(vec!["one", "two", "five"]), 0..3);
        let still = prop_oneof![6 => Just(None), 1 => Just(Some(Still::Restoring)), 1 => Just(Some(Still::LastFailed))];
        (keep, pinned, still, prop::option::of(0usize..20), any::<bool>()).prop_map(
            |(keep, pinned, still, at_most, local)| {
                let elsewhere = BTreeSet::new();
                let shelf = if local { Shelf::Local { elsewhere } } else { Shelf::Remote };
                let pinned = pinned.into_iter().map(release_of).collect();
                Terms { pinned, still, at_most, shelf, ..terms(keep) }
            },
        )
    }

    /// Distinct names: a target has each file once.
    fn any_entries() -> impl Strategy<Value = Vec<Entry>> {
        let distinct = |entries: Vec<Entry>| {
            let by_name: BTreeMap<_, _> = entries.into_iter().map(|entry| (entry.name, entry)).collect();
            by_name.into_values().collect::<Vec<_>>()
        };
        prop::collection::vec(any_entry(), 0..60).prop_map(distinct).prop_shuffle()
    }

    proptest! {
        #[test]
        fn the_last_good_is_never_pruned_and_nothing_else_than_the_good_is(
            entries in any_entries(), mut terms in any_terms(),
        ) {
            if let Shelf::Local { elsewhere } = &mut terms.shelf {
                elsewhere.extend(entries.iter().map(|entry| entry.name));
            }
            let decisions = decide(&entries, &terms);
            prop_assert_eq!(decisions.len(), entries.len());
            let pruned: BTreeSet<_> =
                decisions.iter().filter(|d| d.verdict == Verdict::Prune).map(|d| d.name).collect();
            let good = || entries.iter().filter(|e| e.state == State::Verified && e.name.at.at() <= terms.now);
            let last = good().map(|entry| entry.name).max();
            prop_assert!(last.is_none_or(|last| !pruned.contains(&last)));
            let good: BTreeSet<_> = good().map(|entry| entry.name).collect();
            prop_assert!(pruned.is_subset(&good));
            prop_assert!(terms.still.is_none() || pruned.is_empty());
            prop_assert!(terms.at_most.is_none_or(|most| pruned.len() <= most));
        }

        #[test]
        fn pruning_twice_changes_nothing(entries in any_entries(), terms in any_terms()) {
            let gone = |entries: &[Entry]| {
                let decisions = decide(entries, &terms);
                decisions.into_iter().filter(|d| d.verdict == Verdict::Prune).map(|d| d.name).collect::<BTreeSet<_>>()
            };
            let first = gone(&entries);
            let left: Vec<_> = entries.iter().filter(|entry| !first.contains(&entry.name)).cloned().collect();
            prop_assert_eq!(gone(&left), BTreeSet::new());
        }

        #[test]
        fn the_order_of_the_list_decides_nothing(
            (entries, shuffled) in any_entries().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
            terms in any_terms(),
        ) {
            prop_assert_eq!(decide(&entries, &terms), decide(&shuffled, &terms));
        }
    }
}
