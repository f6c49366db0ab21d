//! What a host remembers of the backups of its data: whoever asks when one was made last asks here, and gets the answer that
//! every controller gets. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Record;
use crate::model::backup::name::BackupName;
use crate::model::backup::proof::Outcome;

/// One job, by its name in [`Record::backups`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backed {
    /// When it was begun last, whatever came of it.
    pub started: Option<Timestamp>,
    /// The last one that came to a good end: written, read back, and its manifest after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<Good>,
    /// What the attempts after it failed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
    /// What restoring it elsewhere showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<Tested>,
}

/// The restore tests of a job. They are remembered where its data are, whichever host they ran on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tested {
    /// When one was begun last, whatever came of it.
    pub started: Option<Timestamp>,
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
}

/// So many restore tests of a job are remembered.
const PAST: usize = 24;

impl Tested {
    /// Tests that said neither yes nor no, one after the other, the last one included.
    pub fn inconclusive(&self) -> usize {
        self.past.iter().rev().take_while(|trial| trial.outcome == Outcome::Inconclusive).count()
    }
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
}

/// All jobs of a root.
pub type Backups = BTreeMap<String, Backed>;

impl Record {
    /// A backup is begun.
    pub fn begin_backup(&mut self, job: &str, at: Timestamp) {
        self.backups.entry(job.to_owned()).or_default().started = Some(at);
    }

    /// A restore test is begun.
    pub fn begin_test(&mut self, job: &str, at: Timestamp) {
        self.backups.entry(job.to_owned()).or_default().tested.get_or_insert_default().started = Some(at);
    }

    /// It ended.
    pub fn end_test(&mut self, job: &str, trial: Trial) {
        let tested = self.backups.entry(job.to_owned()).or_default().tested.get_or_insert_default();
        if trial.outcome == Outcome::Pass {
            tested.proven = Some(trial.clone());
        }
        tested.past.push(trial);
        let more = tested.past.len().saturating_sub(PAST);
        tested.past.drain(..more);
    }

    /// It ended, well or not.
    pub fn end_backup(&mut self, job: &str, end: Result<Good, (Timestamp, String)>) {
        let backed = self.backups.entry(job.to_owned()).or_default();
        match end {
            Ok(good) => {
                backed.good = Some(good);
                backed.failed = None;
            }
            Err((at, why)) => {
                let times = backed.failed.as_ref().map_or(0, |failed| failed.times).saturating_add(1);
                backed.failed = Some(Failed { at, why, times });
            }
        }
    }
}
