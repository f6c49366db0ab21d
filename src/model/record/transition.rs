//! How a record changes, and the few questions that decide from it. Pure and total: what may not be is a [`Refusal`].

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::{Ailing, Cancel, Closed, Confirmed, Green, Leased, Probation, Quarantine, QuarantineKey, Record, Refusal};
use super::{Release, Returned, Suspect, Watched};
use crate::model::activation::Unit;
use crate::model::ids::{Digest, Epoch, ReleaseName, Sha};
use crate::model::machine::{self, Machine};

/// Of the releases that another tool made so many go with one deployment: whoever claimed too many still has the rest.
pub const ADOPTED_AT_ONCE: usize = 10;

impl Record {
    /// Refuses an epoch that is not the newest (law 3).
    pub fn fence(&self, epoch: Epoch) -> Result<(), Refusal> {
        if epoch == self.epoch { Ok(()) } else { Err(Refusal::Fenced { have: self.epoch.0, got: epoch.0 }) }
    }

    /// A person wants the run that holds it to stop. `only`: where it is this one. What was wished before is not taken back.
    pub fn cancel(&mut self, by: String, at: Timestamp, now: bool, only: Option<Epoch>) {
        if only.is_some_and(|only| only != self.epoch) {
            return;
        }
        let before = self.cancel.take().filter(|before| before.epoch == self.epoch);
        self.cancel = match before {
            Some(before) if !now => Some(before),
            _ => Some(Cancel { epoch: self.epoch, by, at, now }),
        };
    }

    /// Who wants what the run of this epoch has begun at that time to be stopped at once. What it begins after that wish,
    /// which is its way back, is not meant.
    pub fn stops(&self, epoch: Epoch, began: Timestamp) -> Option<&str> {
        let wish = self.cancel.as_ref().filter(|wish| wish.now && wish.epoch == epoch && wish.at >= began)?;
        Some(&wish.by)
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

    /// Notes the machine that this root is on when it is taken for the first time, and refuses another one later.
    pub fn pin(&mut self, found: Option<Digest>, now: Timestamp) -> Result<(), Refusal> {
        machine::judge(None, self.machine.as_ref(), found).map_err(Refusal::OtherMachine)?;
        self.machine = self.machine.or(found.map(|id| Machine { id, since: now }));
        Ok(())
    }

    /// A person's word: it belongs to this machine from now on. `None`: to whichever takes it next.
    pub fn repin(&mut self, found: Option<Digest>, now: Timestamp) {
        self.machine = found.map(|id| Machine { id, since: now });
    }

    /// A person's word about an epoch that cannot be true: it is counted from another one on. Whoever acted under the old one
    /// is fenced.
    pub fn recount(&mut self, have: Epoch, to: Epoch) -> Result<(), Refusal> {
        self.fence(have)?;
        self.epoch = to;
        self.cancel = None;
        self.take_over(to)
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

    /// The watch of the release on probation has come so far.
    pub fn watched(&mut self, epoch: Epoch, watched: Watched) -> Result<(), Refusal> {
        self.fence(epoch)?;
        self.probation.iter_mut().for_each(|probation| probation.watched = Some(watched.clone()));
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
        match &mut self.closed {
            // Its units were stopped before: the door is another matter.
            Some(before) if before.open.is_empty() => before.open = closed.open,
            Some(_) => {}
            None => self.closed = Some(closed).filter(|closed| !closed.is_open()),
        }
        Ok(())
    }

    /// Units are about to be stopped before a migration: whoever finds it after a crash starts them again.
    pub fn drain(&mut self, closed: Closed) -> Result<(), Refusal> {
        self.fence(closed.epoch)?;
        match &mut self.closed {
            Some(before) => before.start = closed.start,
            None => self.closed = Some(closed).filter(|closed| !closed.is_open()),
        }
        Ok(())
    }

    /// These units run.
    pub fn started(&mut self, units: &[Unit]) {
        if let Some(closed) = &mut self.closed {
            closed.start.units.retain(|unit| !units.contains(unit));
        }
        self.closed.take_if(|closed| closed.is_open());
    }

    /// A hook that opens it ran well; after the last of them it is open.
    pub fn opened(&mut self, hook: &str) {
        if let Some(closed) = &mut self.closed {
            closed.open.retain(|command| command.name != hook);
        }
        self.closed.take_if(|closed| closed.is_open());
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
        self.healed = self.healed_by(&confirmed);
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

    /// `current` is back at the confirmed release, and its units are still to be activated: until then the probation lasts, so
    /// that a host whose controller is lost in between does it by itself.
    pub fn returning(&mut self) {
        let Some(probation) = &mut self.probation else { return };
        probation.returning = true;
        if let Some(release) = self.releases.get_mut(&probation.release) {
            release.failed = true;
        }
        self.green = None;
    }

    /// The units of what `current` leads to run it. A way back that waited for that is over.
    pub fn activated(&mut self) {
        if let Some(probation) = self.probation.as_ref().filter(|probation| probation.returning) {
            self.returned(&probation.release.clone());
        }
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
        self.judge(Quarantine { key: probation.key, reason: reason.clone(), at: now, verdict, alone });
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
        self.judge(entry);
    }

    /// It was not the release: what was said of it is taken back, and people look at the machine first.
    pub fn suspect(&mut self, key: &QuarantineKey, suspect: Option<Suspect>) {
        self.quarantined.retain(|q| q.key != *key);
        self.suspect = suspect.or(self.suspect.take());
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

    /// A person says: try it again, and heal it at once where that waits. Returns how many verdicts were lifted.
    pub fn retry(&mut self, sha: &Sha) -> usize {
        self.healed = None;
        self.suspect = None;
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
                Green { last: now, samples: green.samples.saturating_add(1), ..green }
            }
            _ => fresh,
        });
    }

    /// Which releases may go, first to go first: failed and never confirmed ones, then the oldest beyond `keep`
    /// confirmed or adopted ones, of the adopted ones at most [`ADOPTED_AT_ONCE`]. Never `current`, the confirmed one, one
    /// on probation, or one in `used`; of the directories that somebody else has made only those that are named like a
    /// release, by the time of a deployment (A8).
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
        let present = || present.iter().filter(|name| self.releases.contains_key(*name) || name.is_dated());
        let adopted = |name: &ReleaseName| self.releases.get(name).is_none_or(|r| r.adopted);
        let counts = |name: &ReleaseName| {
            self.releases.get(name).is_none_or(|r| r.adopted || (r.confirmed_at.is_some() && !r.failed))
        };
        let age = |name: &ReleaseName| {
            let at = self.releases.get(name).map(|r| r.confirmed_at.unwrap_or(r.staged_at));
            (at, name.clone())
        };
        let mut good: Vec<_> = present().filter(|n| counts(n)).cloned().collect();
        good.sort_by_key(age);
        let surplus = good.len().saturating_sub(keep.max(1));
        let failed = present().filter(|n| !counts(n)).cloned();
        let old: Vec<_> = good.iter().filter(|n| !protected(n)).take(surplus).cloned().collect();
        // A release that is in use stays beyond `keep`: it must not push out a newer one, which is the better way back.
        let mut going = 0;
        let mut in_turn = |name: &ReleaseName| {
            going += usize::from(adopted(name));
            !adopted(name) || going <= ADOPTED_AT_ONCE
        };
        failed.filter(|n| !protected(n)).chain(old).filter(|n| !used.contains(n) && in_turn(n)).collect()
    }
}

impl Green {
    /// Whether the last sample is too old for the count to go on.
    pub fn stale(&self, every: Duration, now: Timestamp) -> bool {
        let gap = now.duration_since(self.last);
        gap > jiff::SignedDuration::try_from(every.saturating_mul(2)).unwrap_or(jiff::SignedDuration::MAX)
    }
}
