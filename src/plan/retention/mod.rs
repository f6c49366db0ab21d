//! Which backups of a target are kept, and which may go (F3, I20): one line of reason for each. Pure: what is known of them
//! is handed in, and nothing is removed here.
//!
//! - Only a backup that was verified where it lies fills a slot; one per calendar date of the declared zone, the newest. A
//!   slot of a week (of ISO) or of a month is filled by its newest.
//! - Before deployments, distinct releases count, not backups: ten attempts at one release push out nothing of another.
//!   What leads back to the live release and to the one before it stays, the first and the newest of each: the first is
//!   older than what a migration that failed has left.
//! - The last good backup is never pruned, and neither is the last one that a restore test has proven.
//! - What is broken, has shrunk, has no manifest, is dated ahead, or was asked for by a person is held: nothing but a
//!   person removes it, and none of it fills a slot.
//! - What this program has begun and not finished goes after a day: it counts for nothing, and takes room.
//! - During a restore, after a backup that failed, and where more would go than is expected, nothing goes.

mod slots;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use self::slots::{dates, releases};
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
    /// It was read back, and is not what its manifest says, or cannot be read: why.
    Broken(String),
    /// It is whole, and so much smaller than a good one before it that something must be missing (`max_shrink`): what.
    Shrunk(String),
    /// It has no manifest: unfinished, or made by other means.
    NoManifest,
    /// It has no manifest, and its host remembers that this program began it.
    Left,
}

/// Clocks differ by a little, and two backups within one second have names one second apart: what is dated ahead by no more
/// than so much is not dated ahead.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);
/// What is left of a backup that was not finished goes after so long: until then a person may want to look at it.
const LEFT_FOR: SignedDuration = SignedDuration::from_hours(24);

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
    /// The last backup of the job failed, or this target did not take it.
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
    let left = newest.iter().filter(|entry| entry.state == State::Left).map(|entry| entry.name).collect();
    settle(&mut decisions, &left, terms);
    decisions
}

/// Whether it counts: it is there, whole, plausible, and its date is one that there has been.
fn is_good(entry: &Entry, terms: &Terms) -> bool {
    entry.state == State::Verified && !is_ahead(entry, terms)
}

fn is_ahead(entry: &Entry, terms: &Terms) -> bool {
    entry.name.at.at().duration_since(terms.now) > AHEAD
}

fn note(kept: &mut BTreeMap<BackupName, String>, entry: &Entry, reason: String) {
    kept.entry(entry.name).or_insert(reason);
}

fn judge(entry: &Entry, terms: &Terms, kept: &BTreeMap<BackupName, String>) -> Decision {
    let said = |verdict, reason: &str| Decision { name: entry.name, verdict, reason: reason.to_owned() };
    if let Some(reason) = kept.get(&entry.name) {
        return said(Verdict::Keep, reason);
    }
    match &entry.state {
        State::Verified => {}
        State::Broken(why) => return said(Verdict::Hold, &format!("it is broken: {why}")),
        State::Shrunk(what) => {
            return said(Verdict::Hold, &format!("it has shrunk: {what}"));
        }
        State::Left if terms.now.duration_since(entry.name.at.at()) > LEFT_FOR => {
            return said(Verdict::Prune, "it was begun and never finished");
        }
        State::Left => return said(Verdict::Hold, "it is not finished: what is left of it goes after a day"),
        State::NoManifest => {
            return said(
                Verdict::Hold,
                "it has no manifest of soll: unfinished, or made by other means; who needs it no more removes its files",
            );
        }
    }
    if is_ahead(entry, terms) {
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
        (Shelf::Remote, Kind::Manual) => {
            said(Verdict::Hold, "a person asked for it: who needs it no more removes its files")
        }
    }
}

/// Where nothing may go, what would go is held, and says why. What counts for nothing is no loss, however much of it there is.
fn settle(decisions: &mut [Decision], left: &BTreeSet<BackupName>, terms: &Terms) {
    let is_loss = |decision: &Decision| decision.verdict == Verdict::Prune && !left.contains(&decision.name);
    let going = decisions.iter().filter(|decision| is_loss(decision)).count();
    let reason = match (terms.still, terms.at_most) {
        (Some(Still::Restoring), _) => "something is being restored".to_owned(),
        (Some(Still::LastFailed), _) => "the last backup of this job failed here: `soll backup prune --yes`".to_owned(),
        (None, Some(most)) if going > most => {
            format!(
                "{going} of {} would go at once, and no more than {most} are expected: `soll backup prune --yes`",
                decisions.len()
            )
        }
        (None, _) => return,
    };
    let is_restoring = terms.still == Some(Still::Restoring);
    let is_held = |decision: &&mut Decision| is_loss(decision) || is_restoring && decision.verdict == Verdict::Prune;
    for decision in decisions.iter_mut().filter(is_held) {
        decision.verdict = Verdict::Hold;
        decision.reason = format!("it would go ({}), but {reason}", decision.reason);
    }
}
