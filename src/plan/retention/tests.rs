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
    let names = ["daily/20261128_010000", "daily/20261129_010000", "daily/20261129_233000", "daily/20261130_010000"];
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
        with("daily/20261122_010000", State::Left),
        with("daily/20261123_010000", State::Broken("backup-db differs".to_owned())),
        with("daily/20261124_010000", State::Shrunk("3 rows instead of 20001".to_owned())),
        with("daily/20261125_010000", State::NoManifest),
        with("daily/20261130_010000", State::Left),
        entry("daily/20271125_010000"),
        entry("manual/20261101_010000"),
    ];
    assert_eq!(
        told(&entries, &terms(Keep { daily: 1, ..NONE })),
        "hold daily/20271125_010000: it is dated ahead of now: a clock was wrong\n\
         hold daily/20261130_010000: it is not finished: what is left of it goes after a day\n\
         hold daily/20261125_010000: it has no manifest of soll: unfinished, or made by other means; who needs it no more removes its files\n\
         hold daily/20261124_010000: it has shrunk: 3 rows instead of 20001\n\
         hold daily/20261123_010000: it is broken: backup-db differs\n\
         prune daily/20261122_010000: it was begun and never finished\n\
         keep daily/20261121_010000: fills the day 2026-11-21 (1 of 1)\n\
         prune daily/20261120_010000: newer ones fill the slots of its day, week and month\n\
         hold manual/20261101_010000: a person asked for it: who needs it no more removes its files\n"
    );
}

/// Two backups within one second have names one second apart, and the clock of the controller is not that of the host.
#[test]
fn what_is_dated_ahead_by_a_moment_counts() {
    let entries = [entry("daily/20261130_120001"), entry("daily/20261130_120459"), entry("daily/20261130_120501")];
    assert_eq!(
        told(&entries, &terms(Keep { daily: 1, ..NONE })),
        "hold daily/20261130_120501: it is dated ahead of now: a clock was wrong\n\
         keep daily/20261130_120459: fills the day 2026-11-30 (1 of 1)\n\
         prune daily/20261130_120001: newer ones fill the slots of its day, week and month\n"
    );
}

/// However much was left of runs that broke off: it is no loss.
#[test]
fn what_is_left_goes_although_more_than_is_expected_would() {
    let left = (1..=9).map(|day| Entry { state: State::Left, ..entry(&format!("daily/2026111{day}_010000")) });
    let mut terms = terms(Keep { daily: 1, ..NONE });
    (terms.at_most, terms.still) = (Some(5), Some(Still::LastFailed));
    let decisions = decide(&left.collect::<Vec<_>>(), &terms);
    assert_eq!(decisions.iter().filter(|decision| decision.verdict == Verdict::Prune).count(), 9);
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
    let names = ["daily/20261127_010000", "daily/20261128_010000", "daily/20261129_010000", "daily/20261130_010000"];
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
    held(&terms, "but the last backup of this job failed here: `soll backup prune --yes`");
    terms.still = None;
    terms.at_most = Some(1);
    held(&terms, "but 2 of 3 would go at once, and no more than 1 are expected: `soll backup prune --yes`");
    terms.at_most = Some(2);
    assert_eq!(decide(&names, &terms).iter().filter(|d| d.verdict == Verdict::Prune).count(), 2);
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let kind = prop::sample::select(Kind::ALL.to_vec());
    // Around now, so that some lie ahead; few hours, so that some share a date.
    let at = (-24 * 60i64..48).prop_map(|hours| at("2026-11-30T12:00:00Z") + SignedDuration::from_hours(hours));
    let state = prop_oneof![
        6 => Just(State::Verified),
        1 => Just(State::Left),
        1 => Just(State::Broken("x".to_owned())),
        1 => Just(State::Shrunk("x".to_owned())),
        1 => Just(State::NoManifest),
    ];
    let of = prop::option::of(prop::sample::select(vec!["one", "two", "three", "four"]));
    (kind, at, state, of, any::<bool>()).prop_map(|(kind, at, state, of, proven)| Entry {
        name: BackupName::new(kind, at),
        state,
        release: of.map(release),
        proven,
    })
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
            let pinned = pinned.into_iter().map(release).collect();
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
        let good = || entries.iter().filter(|e| e.state == State::Verified && !is_ahead(e, &terms));
        let last = good().map(|entry| entry.name).max();
        prop_assert!(last.is_none_or(|last| !pruned.contains(&last)));
        let good: BTreeSet<_> = good().map(|entry| entry.name).collect();
        let is_left = |e: &&Entry| e.state == State::Left && terms.now.duration_since(e.name.at.at()) > LEFT_FOR;
        let left: BTreeSet<_> = entries.iter().filter(is_left).map(|entry| entry.name).collect();
        let lost: BTreeSet<_> = pruned.difference(&left).copied().collect();
        prop_assert!(lost.is_subset(&good));
        prop_assert!(terms.still.is_none() || lost.is_empty());
        prop_assert!(terms.still != Some(Still::Restoring) || pruned.is_empty());
        prop_assert!(terms.at_most.is_none_or(|most| lost.len() <= most));
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
