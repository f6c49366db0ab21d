//! What a host knows about one root: the truth that decides (contract 1.4), kept under `ROOT/.soll/`.
//!
//! Every change of it is one of the transitions below, pure and total, so that the real host and the simulated one
//! of the law tests run the same code. No files, no clock: `now` is handed in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{Digest, Epoch, ReleaseName, Sha};

/// The version of this format. A host with a newer one is refused, never rewritten.
pub const FORMAT: u32 = 1;

/// The record of one root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub format: u32,
    /// The highest epoch that ever acted here (law 3).
    pub epoch: Epoch,
    pub confirmed: Option<Confirmed>,
    pub probation: Option<Probation>,
    /// Maintenance hooks closed it, and nobody has opened it yet (D1).
    #[serde(default)]
    pub closed: Option<Closed>,
    /// What is known of each release directory.
    #[serde(default)]
    pub releases: BTreeMap<ReleaseName, Release>,
    #[serde(default)]
    pub quarantined: Vec<Quarantine>,
    /// By `SHA/digest of the hook`.
    #[serde(default)]
    pub migrations: BTreeMap<String, Migration>,
    pub green: Option<Green>,
    /// The opposite of green: bad samples in a row (C6).
    #[serde(default)]
    pub ailing: Option<Ailing>,
    /// The last commit of the state repository that was acted on here (law 10).
    pub accepted: Option<Accepted>,
    pub stopped: Option<Stopped>,
    /// The last time the host went back by itself (law 6).
    pub returned: Option<Returned>,
    /// A person asked the run of this epoch to stop at its next safe point.
    pub cancel: Option<Cancel>,
}

impl Default for Record {
    fn default() -> Self {
        Record {
            format: FORMAT,
            epoch: Epoch::default(),
            confirmed: None,
            probation: None,
            closed: None,
            releases: BTreeMap::new(),
            quarantined: Vec::new(),
            migrations: BTreeMap::new(),
            green: None,
            ailing: None,
            accepted: None,
            stopped: None,
            returned: None,
            cancel: None,
        }
    }
}

/// The release that was healthy last, and what it was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    pub release: ReleaseName,
    /// Unknown for an adopted directory whose name says nothing.
    pub sha: Option<Sha>,
    pub bundle: Option<Digest>,
    pub at: Timestamp,
    /// [`Environment::inputs_digest`](super::desired::Environment::inputs_digest) at that time; `None` for an adopted release.
    pub inputs: Option<Digest>,
    /// The shared files (`from` → digest) at that time (A10).
    #[serde(default)]
    pub files: BTreeMap<String, Digest>,
}

/// A switched release that is not confirmed yet. Written before the switch (law 6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probation {
    pub release: ReleaseName,
    pub sha: Sha,
    /// Where the host goes when nobody is heard; `None`: there is nothing to go back to.
    pub back_to: Option<ReleaseName>,
    pub epoch: Epoch,
    pub armed_at: Timestamp,
    #[serde(with = "super::desired::seconds")]
    pub lease: Duration,
    /// What the failure of this release would be recorded as.
    pub key: QuarantineKey,
    /// The rollback hooks, ready to run: the host needs nobody for its way back.
    pub rollback: Vec<Command>,
}

/// A root that is closed for maintenance. Written before it is closed: whoever finds it after a crash can open it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    pub epoch: Epoch,
    pub at: Timestamp,
    #[serde(with = "super::desired::seconds")]
    pub lease: Duration,
    /// The hooks that open it, ready to run, those that did not run well yet.
    pub open: Vec<Command>,
}

impl Closed {
    /// The commands that open it, as a person would type them.
    pub fn commands(&self) -> String {
        self.open.iter().map(|command| command.run.as_str()).collect::<Vec<_>>().join("; ")
    }
}

/// What a host undoes by itself when no controller is heard (law 6): a probation, a closed door, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leased {
    pub epoch: Epoch,
    pub since: Timestamp,
    pub lease: Duration,
}

/// A configured command with everything it needs: the only shell there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub name: String,
    /// For `sh -c`; templates filled.
    pub run: String,
    /// The whole environment beside PATH, HOME, USER and LANG.
    pub env: BTreeMap<String, String>,
    #[serde(with = "super::desired::seconds")]
    pub timeout: Duration,
    /// Environment files of the host whose values its output must not show (law 9).
    #[serde(default)]
    pub hides: Vec<String>,
}

/// One release directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub sha: Option<Sha>,
    pub bundle: Option<Digest>,
    /// The digest of its manifest, once it is complete.
    pub tree: Option<Digest>,
    /// The digest of the shared paths that are linked into it.
    pub links: Option<Digest>,
    pub staged_at: Timestamp,
    /// Contents do not change any more.
    pub sealed: bool,
    pub confirmed_at: Option<Timestamp>,
    pub failed: bool,
    /// `soll` did not make it.
    pub adopted: bool,
}

/// What a verdict was about (law 4). The environment is the root itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineKey {
    pub sha: Sha,
    pub bundle: Option<Digest>,
    pub config: Digest,
    /// The shared files that it ran with: a repaired `.env` is a new case (A10).
    pub files: Digest,
}

/// A release that failed and is not tried again by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    pub key: QuarantineKey,
    pub reason: String,
    pub at: Timestamp,
    /// `false`: a lease ran out once, which is an error and not yet a verdict.
    pub verdict: bool,
    /// Found on this host while the rollout went on without it (`max_failures`): it says nothing to the other hosts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
}

/// How far a migration came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Migration {
    /// Begun and not seen to finish: unknown, unless the run that began it is alive (law 5).
    Begun,
    Done,
    /// It said no. It may run again.
    Failed,
}

/// How long a release has been green without a gap (B2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Green {
    pub release: ReleaseName,
    pub since: Timestamp,
    pub last: Timestamp,
    pub samples: u64,
}

/// A confirmed release whose health fails between deployments (C6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ailing {
    pub release: ReleaseName,
    pub since: Timestamp,
    /// Bad samples in a row.
    pub samples: u32,
}

/// A commit of the state repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    pub commit: String,
    pub at: Timestamp,
}

/// Everything was stopped here on purpose (D5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    pub reason: String,
    pub by: String,
    pub at: Timestamp,
}

/// The host went back by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    pub from: ReleaseName,
    pub to: Option<ReleaseName>,
    pub at: Timestamp,
    pub reason: String,
}

/// A wish to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    pub epoch: Epoch,
    pub by: String,
    pub at: Timestamp,
}

/// Who holds a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// `user@machine pid N, run R`.
    pub who: String,
    pub since: Timestamp,
    pub epoch: Epoch,
    /// The agent's process.
    pub pid: u32,
}

/// Why the host does not do what was asked. None of these is an accident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    #[error(
        "epoch {got} does not hold this root (the newest is {have}): another run has taken over, or its lease is over"
    )]
    Fenced { have: u64, got: u64 },
    #[error("release {0} is not complete and sealed here")]
    NotSealed(ReleaseName),
    #[error("there is no release {0} here")]
    NoSuchRelease(ReleaseName),
    #[error("release {0} is not on probation here")]
    NotOnProbation(ReleaseName),
    #[error("`current` points to {current}, not to {wanted}")]
    NotCurrent { current: String, wanted: ReleaseName },
    #[error("there is no confirmed release to go back to")]
    NowhereToGo,
    #[error("the record of this root has format {0}, which is newer than this program: use a newer soll")]
    NewerFormat(u32),
}

impl Record {
    /// Refuses an epoch that is not the newest (law 3).
    pub fn fence(&self, epoch: Epoch) -> Result<(), Refusal> {
        if epoch == self.epoch { Ok(()) } else { Err(Refusal::Fenced { have: self.epoch.0, got: epoch.0 }) }
    }

    /// A new run takes over. Its epoch must be higher than any before.
    pub fn acquire(&mut self, epoch: Epoch) -> Result<(), Refusal> {
        if epoch <= self.epoch {
            return Err(Refusal::Fenced { have: self.epoch.0, got: epoch.0 });
        }
        self.epoch = epoch;
        self.cancel = None;
        Ok(())
    }

    /// A release directory is complete under `releases/`, not sealed yet.
    pub fn staged(&mut self, name: ReleaseName, release: Release) {
        self.releases.insert(name, release);
    }

    /// The contents of a release are final: its manifest matched.
    pub fn seal(&mut self, name: &ReleaseName, tree: Digest, links: Digest) -> Result<(), Refusal> {
        let release = self.releases.get_mut(name).ok_or_else(|| Refusal::NoSuchRelease(name.clone()))?;
        release.tree = Some(tree);
        release.links = Some(links);
        release.sealed = true;
        Ok(())
    }

    /// Probation is written before the switch.
    pub fn arm(&mut self, probation: Probation) -> Result<(), Refusal> {
        self.fence(probation.epoch)?;
        match self.releases.get(&probation.release) {
            Some(release) if release.sealed => {}
            Some(_) => return Err(Refusal::NotSealed(probation.release)),
            None => return Err(Refusal::NoSuchRelease(probation.release)),
        }
        self.green = None;
        self.ailing = None;
        self.probation = Some(probation);
        Ok(())
    }

    /// A running probation gets a new holder: its epoch and lease, nothing else.
    pub fn take_over(&mut self, epoch: Epoch) -> Result<(), Refusal> {
        self.fence(epoch)?;
        if let Some(probation) = &mut self.probation {
            probation.epoch = epoch;
        }
        if let Some(closed) = &mut self.closed {
            closed.epoch = epoch;
        }
        Ok(())
    }

    /// What ends by itself when nobody is heard. The probation decides where there are both: its way back opens the door.
    pub fn leased(&self) -> Option<Leased> {
        let probation = self.probation.as_ref().map(|p| Leased { epoch: p.epoch, since: p.armed_at, lease: p.lease });
        probation.or_else(|| self.closed.as_ref().map(|c| Leased { epoch: c.epoch, since: c.at, lease: c.lease }))
    }

    /// A holder counts with this lease from now on.
    pub fn set_lease(&mut self, lease: Duration) {
        self.probation.iter_mut().for_each(|probation| probation.lease = lease);
        self.closed.iter_mut().for_each(|closed| closed.lease = lease);
    }

    /// A maintenance hook is about to close it. Closed twice, the first time counts.
    pub fn close(&mut self, closed: Closed) -> Result<(), Refusal> {
        self.fence(closed.epoch)?;
        if !closed.open.is_empty() {
            self.closed.get_or_insert(closed);
        }
        Ok(())
    }

    /// A hook that opens it ran well; after the last of them it is open.
    pub fn opened(&mut self, hook: &str) {
        if let Some(closed) = &mut self.closed {
            closed.open.retain(|command| command.name != hook);
        }
        self.closed.take_if(|closed| closed.open.is_empty());
    }

    /// The release on probation is good. `current` is what the link says now.
    pub fn confirm(&mut self, epoch: Epoch, current: &ReleaseName, confirmed: Confirmed) -> Result<(), Refusal> {
        self.fence(epoch)?;
        if *current != confirmed.release {
            return Err(Refusal::NotCurrent { current: current.to_string(), wanted: confirmed.release });
        }
        if self.probation.as_ref().is_some_and(|p| p.release != confirmed.release) {
            return Err(Refusal::NotOnProbation(confirmed.release));
        }
        let release = self
            .releases
            .get_mut(&confirmed.release)
            .filter(|release| release.sealed)
            .ok_or_else(|| Refusal::NotSealed(confirmed.release.clone()))?;
        release.confirmed_at = Some(confirmed.at);
        release.failed = false;
        let sha = confirmed.sha.clone();
        if self.green.as_ref().is_none_or(|green| green.release != confirmed.release) {
            let (release, at) = (confirmed.release.clone(), confirmed.at);
            self.green = Some(Green { release, since: at, last: at, samples: 1 });
        }
        // A success wipes the slate for this commit: an old verdict under other circumstances is history.
        self.quarantined.retain(|q| Some(&q.key.sha) != sha.as_ref());
        self.confirmed = Some(confirmed);
        self.probation = None;
        self.ailing = None;
        Ok(())
    }

    /// Where a return goes: the confirmed release, where there is one and it is not the one on probation.
    pub fn way_back(&self) -> Option<&ReleaseName> {
        let confirmed = self.confirmed.as_ref().map(|c| &c.release)?;
        let on_probation = self.probation.as_ref().map(|p| &p.release);
        (Some(confirmed) != on_probation).then_some(confirmed)
    }

    /// `current` is back at the confirmed release: probation ends, what was left is marked.
    pub fn returned(&mut self, from: &ReleaseName) {
        if let Some(release) = self.releases.get_mut(from) {
            release.failed = true;
        }
        self.probation = None;
        self.green = None;
    }

    /// A lease ran out: an error, not a verdict; the second in a row for the same case is one (law 6).
    pub fn lease_ran_out(&mut self, now: Timestamp) {
        let Some(probation) = self.probation.clone() else { return };
        let to = self.way_back().cloned();
        let lease = jiff::SignedDuration::try_from(probation.lease).unwrap_or_default();
        let reason = format!("no controller was heard for {lease:#} while {} was on probation", probation.release);
        let known = self.quarantined.iter().find(|q| q.key == probation.key);
        // The run that left this host behind and died: the verdict stays what it was, about this host alone.
        let (verdict, alone) = (known.is_some(), known.is_some_and(|q| q.verdict && q.alone));
        self.quarantined.retain(|q| q.key != probation.key);
        self.quarantined.push(Quarantine { key: probation.key, reason: reason.clone(), at: now, verdict, alone });
        self.returned = Some(Returned { from: probation.release.clone(), to: to.clone(), at: now, reason });
        match to {
            Some(_) => self.returned(&probation.release),
            None => self.probation = None,
        }
    }

    /// Probation ends and the release stays, unconfirmed (`on_failure = "hold"`, or nowhere to go).
    pub fn hold(&mut self, epoch: Epoch) -> Result<(), Refusal> {
        self.fence(epoch)?;
        let confirmed = self.confirmed.as_ref().map(|c| c.release.clone());
        // The confirmed release itself, switched to again, stays the way back.
        if let Some(probation) = self.probation.take()
            && Some(&probation.release) != confirmed.as_ref()
            && let Some(release) = self.releases.get_mut(&probation.release)
        {
            release.failed = true;
        }
        self.green = None;
        Ok(())
    }

    /// A verdict (law 4).
    pub fn quarantine(&mut self, entry: Quarantine) {
        self.quarantined.retain(|q| q.key != entry.key);
        self.quarantined.push(entry);
    }

    /// The verdict that applies to `key`, if any; one about all hosts before one about this host alone. A missing bundle
    /// digest on either side matches any.
    pub fn verdict_on(&self, key: &QuarantineKey) -> Option<&Quarantine> {
        let applies = |q: &&Quarantine| {
            q.verdict
                && q.key.sha == key.sha
                && q.key.config == key.config
                && q.key.files == key.files
                && (q.key.bundle == key.bundle || q.key.bundle.is_none() || key.bundle.is_none())
        };
        self.quarantined.iter().filter(applies).min_by_key(|q| q.alone)
    }

    /// A person says: try it again. Returns how many verdicts were lifted.
    pub fn retry(&mut self, sha: &Sha) -> usize {
        let before = self.quarantined.len();
        self.quarantined.retain(|q| q.key.sha != *sha);
        before - self.quarantined.len()
    }

    /// One health sample between deployments. A gap of more than twice `every`, or a bad sample, restarts the count (B2).
    pub fn sample(&mut self, current: &ReleaseName, healthy: bool, every: Duration, now: Timestamp) {
        if !healthy || self.probation.is_some() {
            self.green = None;
            self.ailing = self.probation.is_none().then(|| {
                let before = self.ailing.take().filter(|ailing| ailing.release == *current);
                let fresh = Ailing { release: current.clone(), since: now, samples: 0 };
                let ailing = before.unwrap_or(fresh);
                Ailing { samples: ailing.samples.saturating_add(1), ..ailing }
            });
            return;
        }
        self.ailing = None;
        let fresh = Green { release: current.clone(), since: now, last: now, samples: 1 };
        self.green = Some(match self.green.take() {
            Some(green) if green.release == *current && !green.stale(every, now) => {
                Green { last: now, samples: green.samples + 1, ..green }
            }
            _ => fresh,
        });
    }

    /// Which releases may go, first to go first: failed and never confirmed ones, then the oldest beyond `keep`
    /// confirmed or adopted ones. Never `current`, the confirmed one, one on probation, or one in `used`.
    pub fn prunable(
        &self,
        present: &BTreeSet<ReleaseName>,
        current: Option<&ReleaseName>,
        keep: usize,
        used: &BTreeSet<ReleaseName>,
    ) -> Vec<ReleaseName> {
        let protected = |name: &ReleaseName| {
            Some(name) == current
                || self.confirmed.as_ref().is_some_and(|c| c.release == *name)
                || self.probation.as_ref().is_some_and(|p| p.release == *name || p.back_to.as_ref() == Some(name))
        };
        // A directory without an entry was made by someone else: an old release like the adopted ones.
        let counts = |name: &ReleaseName| {
            self.releases.get(name).is_none_or(|r| r.adopted || (r.confirmed_at.is_some() && !r.failed))
        };
        let age = |name: &ReleaseName| {
            let at = self.releases.get(name).map(|r| r.confirmed_at.unwrap_or(r.staged_at));
            (at, name.clone())
        };
        let mut good: Vec<_> = present.iter().filter(|n| counts(n)).cloned().collect();
        good.sort_by_key(age);
        let surplus = good.len().saturating_sub(keep.max(1));
        let failed = present.iter().filter(|n| !counts(n)).cloned();
        let old: Vec<_> = good.iter().filter(|n| !protected(n)).take(surplus).cloned().collect();
        // One in use stays beyond `keep`: it must not push out a newer one, which would be the better way back.
        failed.filter(|n| !protected(n)).chain(old).filter(|n| !used.contains(n)).collect()
    }
}

impl Green {
    /// Whether the last sample is too old for the count to go on.
    pub fn stale(&self, every: Duration, now: Timestamp) -> bool {
        let gap = now.duration_since(self.last);
        gap > jiff::SignedDuration::try_from(every * 2).unwrap_or(jiff::SignedDuration::MAX)
    }
}
