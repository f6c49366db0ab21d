//! What a host remembers of the backups of its data: whoever asks when one was made last asks here, and gets the answer that
//! every controller gets. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Record;
use crate::model::backup::name::BackupName;

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
