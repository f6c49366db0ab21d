//! What a host remembers of the backups of its data: whoever asks when one was made last asks here, and gets the answer that
//! every controller gets. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Record, Stopped};
use crate::model::backup::name::{BackupName, Content};
use crate::model::backup::proof::Outcome;
use crate::model::ids::{EnvName, Epoch};
use crate::model::shown::shell_word;

/// What was begun longer ago is not remembered as a leftover any more.
const LEFT_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A name lies no further ahead of its time than so: what lies further ahead was named by a clock that was set back since.
const MOVED: SignedDuration = SignedDuration::from_mins(1);
/// So many leftovers are remembered.
const LEFT: usize = 200;

/// One job, by its name in [`Record::backups`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backed {
    /// When it was begun last, whatever came of it.
    pub started: Option<Timestamp>,
    /// When the first attempt since the last good one was begun: however often it is tried again, since then there should be
    /// a good one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// The attempt that was begun and has not ended: it is under way, or its controller is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Open>,
    /// The last one that came to a good end: written, read back, its manifest after it, and not much smaller than the good one
    /// before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<Good>,
    /// A whole one after it that is so much smaller that something may be missing: a person has to look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shrunk: Option<Good>,
    /// What the attempts after the last one that was whole everywhere failed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
    /// Those that were begun and have not come to their end on every target: what lies there of them without a manifest was
    /// written by this program, and counts for nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<BackupName>,
    /// What restoring it elsewhere showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<Tested>,
}

/// The restore tests of a job. They are remembered where its data are, whichever host they ran on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tested {
    /// When one was begun last, whatever came of it.
    pub started: Option<Timestamp>,
    /// When the first one since the last that passed was begun: since then one should have passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// When the one was begun that has not ended: it is being made, or its controller is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Timestamp>,
    /// The last one that passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<Trial>,
    /// The last ones, the newest at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past: Vec<Trial>,
}

/// One restore test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// What was restored; `None`: there was nothing that could be.
    pub backup: Option<BackupName>,
    /// When it ended.
    pub at: Timestamp,
    pub outcome: Outcome,
    /// How long it took to read, load and check (RTO).
    pub millis: u64,
    /// How old the data were (RPO), in seconds.
    pub age: u64,
    /// What was wrong; empty: nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// A database, or a directory, that is there only for a restore. Noted before it is made, so that whoever comes after a crash
/// removes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scratch {
    /// The name of the database; of a directory or file: that in `.soll/scratch`.
    pub name: String,
    pub job: String,
    /// Behind a server; else below `.soll`.
    pub database: bool,
    /// Which server that is: host and port, or socket; empty: an older version did not note it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance: String,
    pub at: Timestamp,
    /// Somebody asked for it, to look at: it is not removed by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
}

/// A restore in place that has begun to change something. While it is noted nothing is deployed: the environment is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restoring {
    pub job: String,
    /// What is restored.
    pub backup: BackupName,
    pub since: Timestamp,
    /// What was there before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<BackupName>,
    /// Only databases, or only files; `None`: both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Content>,
    /// Everything is put back: what is left is to start it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub loaded: bool,
    /// A person had stopped the environment before it: it stays stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted: Option<Stopped>,
}

impl Restoring {
    /// The command that goes on with it where it broke off.
    pub fn way_on(&self, env: &EnvName) -> String {
        self.command(env, self.backup)
    }

    /// The command that brings back what was there before it; `None`: that was not saved.
    pub fn way_back(&self, env: &EnvName) -> Option<String> {
        self.safety.map(|safety| self.command(env, safety))
    }

    fn command(&self, env: &EnvName, backup: BackupName) -> String {
        let only = match self.only {
            Some(Content::Database) => " --database-only",
            Some(Content::Files) => " --files-only",
            None => "",
        };
        format!("soll restore {env} --at {backup} --backup {}{only}", shell_word(&self.job))
    }
}

/// So many restore tests of a job are remembered.
const PAST: usize = 24;

impl Tested {
    /// Tests that said neither yes nor no, one after the other, the last one included.
    pub fn inconclusive(&self) -> usize {
        self.past.iter().rev().take_while(|trial| trial.outcome == Outcome::Inconclusive).count()
    }
}

/// An attempt that was begun and has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    pub name: BackupName,
    /// Whoever makes it holds the root under this epoch: under another one it is not under way any more.
    pub epoch: Epoch,
}

/// A good backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Good {
    pub name: BackupName,
    /// When it came to its end.
    pub at: Timestamp,
    pub bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}

/// Attempts that failed, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The last one.
    pub at: Timestamp,
    pub why: String,
    /// How many in a row.
    pub times: u32,
    /// The targets that did not take the last one; empty: none has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
}

/// How a backup ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// It is whole on one target at least.
    Made {
        good: Good,
        /// It is much smaller than the good one before it.
        shrunk: bool,
        /// The targets that did not take it, and the reason of the first.
        refused: Vec<String>,
        why: Option<String>,
    },
    Failed {
        at: Timestamp,
        why: String,
    },
}

/// All jobs of a root.
pub type Backups = BTreeMap<String, Backed>;

impl Record {
    /// A backup is begun. Gives what it is called: two of one root that are begun within one second have names one second apart,
    /// whatever their jobs, because they may go to one directory. One before it of its job that has not ended by now never
    /// will: whoever made it had the root, and is gone.
    pub fn begin_backup(&mut self, job: &str, name: BackupName) -> BackupName {
        let last = self.backups.values().filter_map(|backed| backed.started).max();
        let next = last.and_then(|last| last.checked_add(SignedDuration::from_secs(1)).ok());
        let moved = |next: &Timestamp| {
            let by = next.duration_since(name.at.at());
            by.is_positive() && by < MOVED
        };
        let name = next.filter(moved).map_or(name, |next| BackupName::new(name.kind, next));
        let epoch = self.epoch;
        let backed = self.backups.entry(job.to_owned()).or_default();
        let at = name.at.at();
        if let Some(open) = backed.open.take() {
            let name = open.name;
            let why = format!("{name} did not come to its end: the controller that made it was not heard any more");
            backed.fail(name.at.at(), why, Vec::new());
        }
        backed.first.get_or_insert(at);
        (backed.started, backed.open) = (Some(at), Some(Open { name, epoch }));
        backed.left.retain(|left| at.duration_since(left.at.at()) < LEFT_FOR);
        backed.left.push(name);
        let over = backed.left.len().saturating_sub(LEFT);
        backed.left.drain(..over);
        name
    }

    /// A restore test is begun.
    pub fn begin_test(&mut self, job: &str, at: Timestamp) {
        let tested = self.backups.entry(job.to_owned()).or_default().tested.get_or_insert_default();
        (tested.started, tested.open) = (Some(at), Some(at));
        tested.first.get_or_insert(at);
    }

    /// It ended.
    pub fn end_test(&mut self, job: &str, trial: Trial) {
        let tested = self.backups.entry(job.to_owned()).or_default().tested.get_or_insert_default();
        tested.open = None;
        if trial.outcome == Outcome::Pass {
            (tested.proven, tested.first) = (Some(trial.clone()), None);
        }
        tested.past.push(trial);
        let more = tested.past.len().saturating_sub(PAST);
        tested.past.drain(..more);
    }

    /// It ended, well or not.
    pub fn end_backup(&mut self, job: &str, end: End) {
        let backed = self.backups.entry(job.to_owned()).or_default();
        backed.open = None;
        match end {
            End::Made { good, shrunk, refused, why } => {
                let (name, at) = (good.name, good.at);
                match shrunk {
                    // What it is compared with stays the last good one.
                    true => backed.shrunk = Some(good),
                    false => (backed.good, backed.shrunk, backed.first) = (Some(good), None, None),
                }
                match refused.is_empty() {
                    true => {
                        backed.failed = None;
                        backed.left.retain(|left| *left != name);
                    }
                    // It lies somewhere, and counts; each further attempt waits longer, as after any failure.
                    false => backed.fail(at, why.unwrap_or_default(), refused),
                }
            }
            End::Failed { at, why } => backed.fail(at, why, Vec::new()),
        }
    }
}

impl Backed {
    fn fail(&mut self, at: Timestamp, why: String, refused: Vec<String>) {
        let times = self.failed.as_ref().map_or(0, |failed| failed.times).saturating_add(1);
        self.failed = Some(Failed { at, why, times, refused });
    }

    /// Why a target has not got the last backup; `None`: it has.
    pub fn failed_on(&self, target: &str) -> Option<&Failed> {
        let is_meant = |failed: &&Failed| failed.refused.is_empty() || failed.refused.iter().any(|name| name == target);
        self.failed.as_ref().filter(is_meant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::backup::name::Kind;

    fn name(text: &str) -> BackupName {
        BackupName::new(Kind::Daily, text.parse().unwrap())
    }

    fn made(at: &str, refused: &[&str]) -> End {
        let good = Good { name: name(at), at: at.parse().unwrap(), bytes: 1, rows: None };
        let why = refused.first().map(|_| "full".to_owned());
        End::Made { good, shrunk: false, refused: refused.iter().map(|name| (*name).to_owned()).collect(), why }
    }

    fn job(record: &Record) -> &Backed {
        &record.backups["nightly"]
    }

    #[test]
    fn a_target_that_refuses_night_after_night_is_counted_although_the_others_have_it() {
        let mut record = Record::default();
        for times in 1..=3 {
            let at = format!("2026-11-30T0{times}:00:00Z");
            record.begin_backup("nightly", name(&at));
            record.end_backup("nightly", made(&at, &["small"]));
            let backed = job(&record);
            assert_eq!(backed.failed.as_ref().map(|failed| failed.times), Some(times));
            assert_eq!(backed.good.as_ref().map(|good| good.name), Some(name(&at)));
            assert!(backed.failed_on("small").is_some() && backed.failed_on("nas").is_none());
            assert_eq!((backed.first, backed.left.len()), (None, times as usize));
        }
        record.begin_backup("nightly", name("2026-11-30T05:00:00Z"));
        record.end_backup("nightly", made("2026-11-30T05:00:00Z", &[]));
        assert_eq!((&job(&record).failed, job(&record).left.len()), (&None, 3));
    }

    #[test]
    fn what_was_begun_and_never_ended_is_a_failure_once_the_next_one_is_begun() {
        let mut record = Record::default();
        for minute in 0..3 {
            record.begin_backup("nightly", name(&format!("2026-11-30T01:0{minute}:00Z")));
        }
        let backed = job(&record);
        assert_eq!(backed.open.map(|open| open.name), Some(name("2026-11-30T01:02:00Z")));
        assert_eq!(backed.first, Some("2026-11-30T01:00:00Z".parse().unwrap()));
        let failed = backed.failed.clone().unwrap();
        assert_eq!(failed.times, 2);
        assert!(failed.why.starts_with("daily/20261130_010100 did not come to its end"), "{}", failed.why);
        record.end_backup("nightly", End::Failed { at: "2026-11-30T01:03:00Z".parse().unwrap(), why: "x".to_owned() });
        assert_eq!((job(&record).open, job(&record).failed.as_ref().map(|failed| failed.times)), (None, Some(3)));
        // A month later nobody remembers what was left of it.
        record.begin_backup("nightly", name("2026-12-31T01:00:00Z"));
        assert_eq!(job(&record).left, [name("2026-12-31T01:00:00Z")]);
    }

    #[test]
    fn no_two_of_a_root_have_one_name() {
        let mut record = Record::default();
        let now = "2026-11-30T01:00:00.9Z";
        let mut names: Vec<_> = (0..5).map(|_| record.begin_backup("nightly", name(now)).to_string()).collect();
        names.push(record.begin_backup("other", name(now)).to_string());
        let wanted: Vec<_> = (0..6).map(|second| format!("daily/20261130_01000{second}")).collect();
        assert_eq!(names, wanted);
        // A clock that was a year ahead, and was set back, names nothing a year ahead.
        record.begin_backup("nightly", name("2027-11-30T01:00:00Z"));
        let next = record.begin_backup("nightly", name("2026-11-30T02:00:00Z"));
        assert_eq!(next, name("2026-11-30T02:00:00Z"));
    }

    #[test]
    fn one_that_has_shrunk_is_not_what_the_next_one_is_compared_with() {
        let mut record = Record::default();
        record.begin_backup("nightly", name("2026-11-29T01:00:00Z"));
        record.end_backup("nightly", made("2026-11-29T01:00:00Z", &[]));
        record.begin_backup("nightly", name("2026-11-30T01:00:00Z"));
        let End::Made { good, refused, why, .. } = made("2026-11-30T01:00:00Z", &[]) else { panic!("it is made") };
        record.end_backup("nightly", End::Made { good, shrunk: true, refused, why });
        let backed = job(&record);
        assert_eq!(backed.good.as_ref().map(|good| good.name), Some(name("2026-11-29T01:00:00Z")));
        assert_eq!(backed.shrunk.as_ref().map(|good| good.name), Some(name("2026-11-30T01:00:00Z")));
        assert_eq!((&backed.failed, backed.first), (&None, Some("2026-11-30T01:00:00Z".parse().unwrap())));
    }
}
