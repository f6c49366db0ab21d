//! What a record forgets, so that it does not grow without end: ten thousand deployments leave it below 256 KiB. Pure, and
//! without a clock: age is the order in which things were noted.
//!
//! A commit is *here* while a release of it is, or it is confirmed or on probation. For each list:
//! - **Verdicts**: once there are more than [`MOST_VERDICTS`], the newest [`VERDICTS`] stay whatever they are about, and of
//!   the older ones those about commits that are here, [`MOST_VERDICTS`] in all. A forgotten one costs an attempt, which is
//!   judged again and goes back again: its commit is neither here nor among those that failed lately.
//! - **Migrations**: one that was begun and not seen to finish is never forgotten, a person has to say what it did (law 5).
//!   For the others the same holds with [`MIGRATIONS`] and [`MOST_MIGRATIONS`]. A commit whose migrations are forgotten is not
//!   here, so it would be deployed anew, and its migrate hooks asked again.
//! - **Releases** are those that are in `releases/`, which pruning bounds (`keep_releases`). Everything else is one value.
//!
//! Approvals are not on a host: what uses one up is the time of the confirmation, which is part of what it is bound to.

use std::collections::BTreeSet;

use super::{Migration, Quarantine, Record};
use crate::model::ids::Sha;

/// So many of the newest verdicts are remembered in any case.
pub const VERDICTS: usize = 64;
/// So many verdicts are remembered at most.
pub const MOST_VERDICTS: usize = 100;
/// The same for migrations that have ended.
pub const MIGRATIONS: usize = 400;
/// The same for migrations that have ended.
pub const MOST_MIGRATIONS: usize = 500;
/// So many bytes of a reason are remembered; the journal has all of it.
pub const REASON: usize = 800;

impl Record {
    /// Whether a release of this commit is here, or meant to be.
    fn is_here(&self, sha: &str) -> bool {
        let confirmed = self.confirmed.iter().filter_map(|confirmed| confirmed.sha.as_ref());
        let probation = self.probation.iter().map(|probation| &probation.sha);
        let releases = self.releases.values().filter_map(|release| release.sha.as_ref());
        confirmed.chain(probation).chain(releases).any(|here| here.as_str() == sha)
    }

    /// Notes a verdict as the newest one, in place of what was said about the same case.
    pub(super) fn judge(&mut self, mut entry: Quarantine) {
        if entry.reason.len() > REASON {
            entry.reason.truncate(entry.reason.floor_char_boundary(REASON));
            entry.reason.push('…');
        }
        self.quarantined.retain(|q| q.key != entry.key);
        self.quarantined.push(entry);
        let keeps = lasting(&self.quarantined, (VERDICTS, MOST_VERDICTS), |q| self.is_here(q.key.sha.as_str()));
        let mut keeps = keeps.into_iter();
        self.quarantined.retain(|_| keeps.next().unwrap_or(true));
    }

    /// A migration, by its key, has come so far.
    pub fn migration(&mut self, key: &str, state: Migration) {
        self.migrations.insert(key.to_owned(), state);
        self.migrated.retain(|other| other != key);
        self.migrated.push(key.to_owned());
        if self.migrations.len() <= MOST_MIGRATIONS {
            return;
        }
        // A program that knew no order noted the others, before all of these.
        let known: BTreeSet<&String> = self.migrated.iter().collect();
        let unordered = self.migrations.keys().filter(|key| !known.contains(key));
        let ordered = unordered.chain(&self.migrated).filter(|key| {
            let state = self.migrations.get(*key);
            state.is_some_and(|state| *state != Migration::Begun)
        });
        let ordered: Vec<String> = ordered.cloned().collect();
        let keeps = lasting(&ordered, (MIGRATIONS, MOST_MIGRATIONS), |key| self.is_here(commit_of(key)));
        for (key, _) in ordered.iter().zip(keeps).filter(|(_, keeps)| !keeps) {
            self.migrations.remove(key);
        }
        self.migrated.retain(|key| self.migrations.contains_key(key));
    }

    /// A person's word on the migrations of a commit that were begun here and are not done: of those that nobody saw finish
    /// how they ended, and of those that said no that they were carried through by hand. Gives how many it changes.
    pub fn settle(&mut self, sha: &Sha, word: Migration) -> usize {
        let open = |(key, state): &(&String, &mut Migration)| {
            ![Migration::Done, word].contains(*state) && commit_of(key) == sha.as_str()
        };
        self.migrations.iter_mut().filter(open).map(|(_, state)| *state = word).count()
    }
}

/// The commit in the key of a migration.
fn commit_of(key: &str) -> &str {
    key.split_once('/').map_or(key, |(sha, _)| sha)
}

/// Which entries of a list, oldest first, are remembered: all where they are not more than `most`, else the newest ones, and
/// older ones that are here, up to `most` together.
fn lasting<T>(entries: &[T], (newest, most): (usize, usize), is_here: impl Fn(&T) -> bool) -> Vec<bool> {
    if entries.len() <= most {
        return vec![true; entries.len()];
    }
    let mut kept = 0;
    let newest_first = entries.iter().rev().enumerate().map(|(age, entry)| {
        let keeps = age < newest || (kept < most && is_here(entry));
        kept += usize::from(keeps);
        keeps
    });
    let mut keeps: Vec<bool> = newest_first.collect();
    keeps.reverse();
    keeps
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::model::ids::{Digest, Epoch, ReleaseName};
    use crate::model::record::{Accepted, Command, Confirmed, Probation, QuarantineKey, Release};

    fn sha(n: u64) -> Sha {
        format!("{n:040x}").parse().unwrap()
    }

    fn release(n: u64) -> ReleaseName {
        format!("r{n}").parse().unwrap()
    }

    fn digest(n: u64) -> Digest {
        format!("{n:064x}").parse().unwrap()
    }

    fn case(n: u64) -> QuarantineKey {
        QuarantineKey { sha: sha(n), bundle: Some(digest(n)), config: digest(n / 7), files: digest(n / 50) }
    }

    fn verdict(n: u64, at: Timestamp) -> Quarantine {
        let reason = format!("check `status` says no: {}", "x".repeat(2_000));
        Quarantine { key: case(n), reason, at, verdict: true, alone: n.is_multiple_of(5) }
    }

    /// What one deployment after the other does to one root, with every way in which they end.
    struct Life {
        record: Record,
        present: BTreeSet<ReleaseName>,
        current: Option<ReleaseName>,
        /// What was noted, oldest first.
        judged: Vec<u64>,
        begun: BTreeSet<String>,
        done: Vec<String>,
    }

    const KEEP: usize = 5;

    impl Life {
        fn new() -> Life {
            let record = Record::default();
            Life {
                record,
                present: BTreeSet::new(),
                current: None,
                judged: vec![],
                begun: BTreeSet::new(),
                done: vec![],
            }
        }

        fn deploy(&mut self, n: u64) {
            let at = Timestamp::from_second(1_700_000_000 + i64::try_from(n).unwrap() * 600).unwrap();
            let (record, epoch) = (&mut self.record, Epoch(n + 1));
            record.acquire(epoch).unwrap();
            record.accepted = Some(Accepted { commit: sha(n).to_string(), at });
            let entry = Release {
                sha: Some(sha(n)),
                bundle: Some(digest(n)),
                tree: None,
                links: None,
                strip: 0,
                staged_at: at,
                sealed: false,
                confirmed_at: None,
                failed: false,
                adopted: false,
            };
            record.staged(release(n), entry);
            self.present.insert(release(n));
            for hook in 0..3 {
                let key = format!("{}/{hook:08x}", sha(n));
                record.migration(&key, Migration::Begun);
                match n % 13 {
                    // Killed while it ran: of a few, once in a while.
                    4 if n % 1_001 == 4 => {
                        self.begun.insert(key);
                    }
                    4 => record.migration(&key, Migration::Failed),
                    _ => {
                        record.migration(&key, Migration::Done);
                        self.done.push(key);
                    }
                }
            }
            if n % 13 == 4 {
                record.quarantine(verdict(n, at));
                self.judged.push(n);
                return;
            }
            record.seal(&release(n), digest(n), digest(0)).unwrap();
            let command = |name: &str| Command {
                name: name.to_owned(),
                run: "php artisan config:cache && sudo systemctl restart worker".to_owned(),
                env: [("SOLL_SHA".to_owned(), sha(n).to_string())].into(),
                timeout: Duration::from_secs(600),
                hides: vec![".env".to_owned()],
            };
            let probation = Probation {
                release: release(n),
                sha: sha(n),
                back_to: record.confirmed.as_ref().map(|confirmed| confirmed.release.clone()),
                epoch,
                armed_at: at,
                lease: Duration::from_secs(120),
                key: case(n),
                rollback: vec![command("cache"), command("restart")],
                activation: Default::default(),
                returning: false,
                watched: None,
            };
            record.arm(probation).unwrap();
            match n % 13 {
                5 => {
                    record.quarantine(verdict(n, at));
                    self.judged.push(n);
                    record.returned(&release(n));
                }
                6 => record.lease_ran_out(at),
                7 => {
                    record.quarantine(verdict(n, at));
                    self.judged.push(n);
                    record.hold(epoch).unwrap();
                }
                _ => {
                    let (bundle, files) = (Some(digest(n)), [(".env".to_owned(), digest(n / 50))].into());
                    let release = release(n);
                    let (sha, inputs) = (Some(sha(n)), Some(digest(1)));
                    let activation = Default::default();
                    let confirmed = Confirmed { release, sha, bundle, at, inputs, files, activation };
                    record.confirm(epoch, &confirmed.release.clone(), confirmed).unwrap();
                    self.current = Some(self.record.confirmed.as_ref().unwrap().release.clone());
                    self.prune();
                }
            }
        }

        fn prune(&mut self) {
            for gone in self.record.prunable(&self.present, self.current.as_ref(), KEEP, &BTreeSet::new()) {
                self.present.remove(&gone);
                self.record.releases.remove(&gone);
            }
        }

        /// What decides is still known.
        fn check(&self) {
            let record = &self.record;
            for n in self.judged.iter().rev().take(VERDICTS - 16) {
                assert!(record.verdict_on(&case(*n)).is_some(), "the verdict on {n} is forgotten");
            }
            for key in &self.begun {
                assert_eq!(record.migrations.get(key), Some(&Migration::Begun), "{key} was never settled");
            }
            for key in self.done.iter().rev().take(MIGRATIONS - 100) {
                assert_eq!(record.migrations.get(key), Some(&Migration::Done), "{key} would run again");
            }
            let bytes = serde_json::to_vec_pretty(record).unwrap();
            assert!(bytes.len() < 256 << 10, "{} bytes", bytes.len());
            let again: Record = serde_json::from_slice(&bytes).unwrap();
            assert!(again == *record && record.quarantined.len() <= MOST_VERDICTS);
        }
    }

    #[test]
    fn ten_thousand_deployments_leave_a_small_record_that_still_decides() {
        let mut life = Life::new();
        for n in 0..10_000 {
            life.deploy(n);
            if n.is_multiple_of(250) || n > 9_990 {
                life.check();
            }
        }
        assert!(life.begun.len() > 10 && life.judged.len() > 2_000, "{} {}", life.begun.len(), life.judged.len());
        // A person has the last word on what nobody knew, however old it is.
        let oldest = life.begun.first().unwrap().clone();
        let of: Sha = commit_of(&oldest).parse().unwrap();
        assert_eq!((life.record.settle(&of, Migration::Done), life.record.settle(&of, Migration::Done)), (3, 0));
        assert_eq!(life.record.migrations[&oldest], Migration::Done);
    }

    #[test]
    fn a_word_about_migrations_holds_for_those_that_failed_as_for_those_nobody_saw_finish() {
        let states = [Migration::Begun, Migration::Failed, Migration::Done];
        for (word, changed, wanted) in [
            (Migration::Done, 2, [Migration::Done; 3]),
            (Migration::Failed, 1, [Migration::Failed, Migration::Failed, Migration::Done]),
        ] {
            let mut record = Record::default();
            for (n, state) in states.iter().enumerate() {
                record.migration(&format!("{}/{n}", sha(1)), *state);
                record.migration(&format!("{}/{n}", sha(2)), *state);
            }
            assert_eq!(record.settle(&sha(1), word), changed);
            let of = |commit| (0..3).map(|n| record.migrations[&format!("{}/{n}", sha(commit))]).collect::<Vec<_>>();
            assert_eq!((of(1), of(2)), (wanted.to_vec(), states.to_vec()), "{word:?}");
        }
    }

    #[test]
    fn what_is_about_a_release_that_is_here_outlives_what_is_newer() {
        let mut life = Life::new();
        // On hold, and never pruned since: nothing was confirmed after it.
        let at = Timestamp::UNIX_EPOCH;
        life.deploy(7);
        let key = life.done[0].clone();
        for n in 1_000..3_000 {
            life.record.quarantine(verdict(n, at));
            life.record.migration(&format!("{}/x", sha(n)), Migration::Done);
        }
        assert!(life.record.verdict_on(&case(7)).is_some() && life.record.migrations.contains_key(&key));
        assert!((VERDICTS..=MOST_VERDICTS).contains(&life.record.quarantined.len()));
        assert!((MIGRATIONS..=MOST_MIGRATIONS).contains(&life.record.migrations.len()));
        life.record.releases.clear();
        for n in 3_000..3_100 {
            life.record.quarantine(verdict(n, at));
        }
        assert!(life.record.verdict_on(&case(7)).is_none(), "it is gone, and its verdict with it");
    }

    #[test]
    fn one_commit_that_fails_in_ever_new_cases_fills_no_record() {
        let mut life = Life::new();
        life.deploy(7);
        for n in 0..1_000 {
            let key = QuarantineKey { config: digest(n), ..case(7) };
            life.record.quarantine(Quarantine { key, ..verdict(7, Timestamp::UNIX_EPOCH) });
            life.record.migration(&format!("{}/{n}", sha(7)), Migration::Done);
        }
        assert_eq!((life.record.quarantined.len(), life.record.migrations.len()), (MOST_VERDICTS, MOST_MIGRATIONS));
        let newest = QuarantineKey { config: digest(999), ..case(7) };
        assert!(life.record.verdict_on(&newest).is_some());
        assert!(life.record.quarantined.iter().all(|q| q.reason.len() <= REASON + '…'.len_utf8()));
    }

    /// A record that another program left has no order: what it noted is older than what is noted now.
    #[test]
    fn what_has_no_order_goes_first() {
        let mut record = Record::default();
        for n in 0..2 * MOST_MIGRATIONS as u64 {
            record.migrations.insert(format!("{}/x", sha(n)), Migration::Done);
        }
        let begun = format!("{}/y", sha(3));
        record.migrations.insert(begun.clone(), Migration::Begun);
        record.migration("new/x", Migration::Done);
        assert_eq!(record.migrations.len(), MIGRATIONS + 1);
        assert!(record.migrations.contains_key("new/x") && record.migrations.contains_key(&begun));
    }
}
