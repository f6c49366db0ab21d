//! The operations that change a simulated host: the transitions are those of `model::record`, the order of the durable
//! effects is that of the real host, so that a crash between two of them is possible.

use std::collections::BTreeSet;

use soll::artifact::picked::Picked;
use soll::host::wire::activate::{Activated, Deed, UnitFailure};
use soll::host::wire::excerpt::Excerpt;
use soll::host::wire::{GateResult, HostError, Op, Reply};
use soll::model::activation::Activation;
use soll::model::ids::{Digest, Epoch, ReleaseName};
use soll::model::observed::Current;
use soll::model::record::{Closed, Probation, Quarantine, Refusal, Release};

use soll::model::rendered;

use super::host::{Dir, gone};
use super::scenario::{Fault, Feels, Say};
use super::sim::{Mutation, Sim};

impl Sim {
    /// An operation that changes the root; the caller holds it under `epoch`.
    pub fn change(&mut self, i: usize, controller: usize, op: Op) -> Result<Reply, HostError> {
        match op {
            Op::Missing { listing, .. } => {
                assert_eq!(listing.base, None, "nothing but whole manifests is sent here");
                Ok(Reply::Missing {
                    files: Picked::of(0..listing.lines as usize),
                    free_bytes: 1 << 30,
                    removed: Vec::new(),
                })
            }
            Op::Upload { files, .. } => {
                self.disk("upload")?;
                Ok(Reply::Uploaded { bytes: files.count() as u64 })
            }
            Op::Fetch { digest, .. } => {
                self.disk("fetch")?;
                if self.faults.strikes(Fault::FetchFails) {
                    return Err(HostError::Io("the bundle cannot be fetched: timed out".to_owned()));
                }
                Ok(Reply::Fetched { tree: digest, bytes: 1, removed: Vec::new(), notes: Vec::new() })
            }
            Op::Extract { name, release, .. } => {
                if self.hosts[i].dirs.contains_key(&name) {
                    return Err(HostError::Precondition(format!("{name} is already there")));
                }
                self.disk("extract")?;
                if self.faults.strikes(Fault::UploadWrong) {
                    return Err(HostError::Integrity("index.php is not what its digest says".to_owned()));
                }
                let entry = Release { sealed: false, ..release };
                self.effect(i, "release noted", |h| {
                    h.record.staged(name.clone(), entry);
                    Ok(())
                })?;
                let complete = !self.has(Mutation::HalfReleaseSwitched);
                self.effect(i, "release moved in", |h| {
                    h.dirs.insert(name, Dir { complete, matched: false, drifted: false });
                    Ok(())
                })?;
                Ok(Reply::Extracted { copied: 0, received: 1 })
            }
            Op::Render { files, .. } => {
                let forgets = self.has(Mutation::VersionForgotten);
                self.effect(i, "rendered", |h| {
                    let places = files.iter().map(|file| rendered::place(&file.from, &file.digest().to_string()));
                    h.versions.extend(places.filter(|_| !forgets));
                    Ok(())
                })?;
                Ok(Reply::Rendered(Vec::new()))
            }
            Op::Pull { name, .. } => {
                self.disk("pull")?;
                if self.faults.strikes(Fault::FetchFails) {
                    return Err(HostError::Io("the image cannot be pulled: toomanyrequests".to_owned()));
                }
                if !self.hosts[i].dirs.contains_key(&name) {
                    return Err(gone(&name));
                }
                let forgets = self.has(Mutation::PullForgotten);
                self.effect(i, "pulled", |h| {
                    h.pulled.extend(Some(name).filter(|_| !forgets));
                    Ok(())
                })?;
                self.saw("pulled");
                Ok(Reply::Pulled(Default::default()))
            }
            Op::Link { name, .. } => self.hosts[i].dirs.get(&name).map(|_| Reply::Done).ok_or_else(|| gone(&name)),
            Op::Gate { name, .. } => {
                let sha = self.sha_of(i, &name);
                let pass = self.conduct_of(sha.as_ref()).gate == Say::Yes;
                if !pass {
                    self.laws.said_no(controller);
                }
                Ok(Reply::Gate(GateResult { pass, evidence: "gate".to_owned() }))
            }
            Op::Seal { name, shared, .. } => {
                let links = Digest::of_json(&shared);
                self.disk("seal")?;
                let (name_of, versions) = (self.hosts[i].name.clone(), self.hosts[i].versions.clone());
                let lost =
                    shared.iter().find(|one| rendered::of_place(&one.from).is_some() && !versions.contains(&one.from));
                let lost = lost.map(|one| one.from.clone());
                self.laws.assert(lost.is_none(), || format!("law 1: {name} on {name_of} is sealed without {lost:?}"));
                let whole = !self.hosts[i].services || self.hosts[i].pulled.contains(&name);
                self.laws.assert(whole, || format!("law 1: {name} on {name_of} is sealed without its images"));
                self.effect(i, "sealed", |h| {
                    let dir = h.dirs.get_mut(&name).ok_or_else(|| Refusal::NoSuchRelease(name.clone()))?;
                    dir.matched = true;
                    h.record.seal(&name, Digest::of(name.as_str().as_bytes()), links)
                })?;
                Ok(Reply::Sealed { tree: Digest::of(name.as_str().as_bytes()), unread: Excerpt::default() })
            }
            Op::Adopt { name, release, shared, .. } => self.adopt(i, name, release, Digest::of_json(&shared)),
            Op::Verify { name, .. } => {
                let dir = *self.hosts[i].dirs.get(&name).ok_or_else(|| gone(&name))?;
                if !dir.drifted {
                    return Ok(Reply::Done);
                }
                self.effect(i, "seal lost", |h| {
                    h.record.releases.get_mut(&name).into_iter().for_each(|r| r.sealed = false);
                    Ok(())
                })?;
                Err(HostError::Integrity(format!("{name} has drifted")))
            }
            Op::Switch { probation, .. } => self.switch(i, controller, probation),
            Op::Activate { activation, deed, .. } => self.activate(i, controller, &activation, deed),
            Op::Drain { epoch, activation, lease } => {
                let (at, forgets) = (self.now(), self.has(Mutation::RestForgotten));
                self.effect(i, "the rest of its units is noted", |h| {
                    let closed = Closed { epoch, at, lease, open: Vec::new(), start: activation.clone() };
                    if forgets { Ok(()) } else { h.record.drain(closed) }
                })?;
                self.saw("drained");
                self.effect(i, "units stopped", |h| {
                    h.resting = true;
                    Ok(())
                })?;
                Ok(Reply::Activated(Activated { told: Vec::new(), failed: None }))
            }
            Op::Confirm { epoch, confirmed } => {
                let live = self.hosts[i].live().cloned();
                let live = live.ok_or_else(|| HostError::Precondition("`current` is no release".to_owned()))?;
                self.hosts[i].verify_complete(&confirmed.release)?;
                let key = super::check::key_now(&self.env_of(controller), &confirmed);
                self.effect(i, "confirmed", |h| h.record.confirm(epoch, &live, confirmed))?;
                let env = self.env_of(controller);
                self.laws.confirmed(i, &self.hosts[i], &env, key.as_ref());
                Ok(Reply::Confirmed)
            }
            Op::Watched { epoch, watched } => {
                self.effect(i, "watched so far", |h| h.record.watched(epoch, watched))?;
                Ok(Reply::Done)
            }
            Op::Return { epoch, verdict } => self.give_back(i, controller, epoch, verdict),
            Op::Reopen { .. } => {
                self.reopen(i);
                Ok(Reply::Done)
            }
            Op::Hold { epoch, verdict } => {
                self.saw("held");
                let kept = verdict.clone().filter(|_| !self.has(Mutation::QuarantineForgotten));
                self.effect(i, "held", |h| {
                    h.record.hold(epoch)?;
                    kept.into_iter().for_each(|entry| h.record.quarantine(entry));
                    Ok(())
                })?;
                verdict.iter().for_each(|entry| self.laws.quarantined(i, controller, &entry.key, entry.alone));
                Ok(Reply::Done)
            }
            Op::Acquit { case, suspect, .. } => {
                self.saw(if suspect.is_some() { "suspect" } else { "acquitted" });
                self.effect(i, "acquitted", |h| {
                    h.record.suspect(&case, suspect);
                    Ok(())
                })?;
                self.laws.acquitted(i, &case);
                Ok(Reply::Done)
            }
            Op::Prune { keep, .. } => self.prune(i, keep as usize),
            Op::Quarantine { entry, .. } => {
                let (key, alone, forgets) = (entry.key.clone(), entry.alone, self.has(Mutation::QuarantineForgotten));
                self.effect(i, "quarantined", |h| {
                    if !forgets {
                        h.record.quarantine(entry);
                    }
                    Ok(())
                })?;
                self.laws.quarantined(i, controller, &key, alone);
                Ok(Reply::Done)
            }
            other => Err(HostError::Precondition(format!("no run asks this of a host: {other:?}"))),
        }
    }

    fn disk(&mut self, what: &str) -> Result<(), HostError> {
        if self.faults.strikes(Fault::DiskFull) {
            self.say(|| format!("FAULT the disk is full at {what}"));
            return Err(HostError::Io(format!("{what}: no space left on device")));
        }
        Ok(())
    }

    fn adopt(&mut self, i: usize, name: ReleaseName, release: Release, links: Digest) -> Result<Reply, HostError> {
        let tree = Digest::of(name.as_str().as_bytes());
        if !self.hosts[i].dirs.contains_key(&name) {
            return Err(gone(&name));
        }
        match self.hosts[i].record.releases.get(&name) {
            Some(known) if known.sealed => return Ok(Reply::Sealed { tree, unread: Excerpt::default() }),
            Some(known) if !known.adopted => return Err(Refusal::NotSealed(name).into()),
            _ => {}
        }
        self.effect(i, "adoption noted", |h| {
            h.record.staged(name.clone(), Release { adopted: true, sealed: false, ..release });
            Ok(())
        })?;
        self.effect(i, "adopted", |h| {
            h.dirs.entry(name.clone()).and_modify(|d| (d.matched, d.drifted) = (true, false));
            h.record.seal(&name, tree, links)
        })?;
        Ok(Reply::Sealed { tree, unread: Excerpt::default() })
    }

    fn switch(&mut self, i: usize, controller: usize, probation: Probation) -> Result<Reply, HostError> {
        let name = probation.release.clone();
        if self.hosts[i].current == Current::NotALink {
            return Err(HostError::Precondition("`current` is a directory".to_owned()));
        }
        self.hosts[i].verify_complete(&name)?;
        self.laws.switching(i, controller, &self.hosts, &probation);
        let early = self.has(Mutation::SwitchBeforeArm);
        if early {
            self.link(i, &name)?;
        }
        let epoch = self.hosts[i].record.epoch;
        let probation = if self.has(Mutation::SkipFencing) { Probation { epoch, ..probation } } else { probation };
        self.effect(i, "probation written", |h| h.record.arm(probation))?;
        self.disk("switch")?;
        if !early {
            self.link(i, &name)?;
        }
        Ok(Reply::Switched { told: Vec::new() })
    }

    fn link(&mut self, i: usize, name: &ReleaseName) -> Result<(), HostError> {
        self.effect(i, &format!("current -> {name}"), |h| {
            h.point_to(name);
            Ok(())
        })?;
        self.laws.linked(i, &self.hosts[i]);
        Ok(())
    }

    fn give_back(
        &mut self,
        i: usize,
        controller: usize,
        epoch: Epoch,
        verdict: Option<Quarantine>,
    ) -> Result<Reply, HostError> {
        let kept = verdict.clone().filter(|_| !self.has(Mutation::QuarantineForgotten));
        let host = &self.hosts[i];
        host.record.fence(epoch)?;
        let Some(probation) = &host.record.probation else {
            let live = host.live().cloned().ok_or(Refusal::NowhereToGo)?;
            return match &host.record.confirmed {
                Some(confirmed) if confirmed.release == live => {
                    self.effect(i, "quarantined", |h| {
                        kept.into_iter().for_each(|entry| h.record.quarantine(entry));
                        Ok(())
                    })?;
                    verdict.iter().for_each(|entry| self.laws.quarantined(i, controller, &entry.key, entry.alone));
                    Ok(Reply::Returned { to: live })
                }
                _ => Err(Refusal::NotOnProbation(live).into()),
            };
        };
        let from = probation.release.clone();
        let to = host.record.way_back().cloned().ok_or(Refusal::NowhereToGo)?;
        host.verify_complete(&to)?;
        let cancelled = self.controllers[controller].cancelled;
        let name = self.hosts[i].name.clone();
        self.laws.returning(controller, &name, cancelled);
        if !self.has(Mutation::ReturnLies) {
            self.link(i, &to)?;
        }
        let waits = self.hosts[i].record.probation.as_ref().is_some_and(|p| !p.activation.is_empty());
        let waits = waits && !self.has(Mutation::ProbationEndsWithTheLink);
        self.effect(i, if waits { "returning" } else { "probation over: returned" }, |h| {
            match waits {
                true => h.record.returning(),
                false => h.record.returned(&from),
            }
            kept.into_iter().for_each(|entry| h.record.quarantine(entry));
            Ok(())
        })?;
        verdict.iter().for_each(|entry| self.laws.quarantined(i, controller, &entry.key, entry.alone));
        Ok(Reply::Returned { to })
    }

    /// Its units start what `current` leads to, and it says whether it stays up.
    fn activate(
        &mut self,
        i: usize,
        controller: usize,
        activation: &Activation,
        deed: Deed,
    ) -> Result<Reply, HostError> {
        let what = if self.hosts[i].services { "the project app" } else { "app.service" };
        assert_eq!(activation.told(), what);
        let done = |failed| Ok(Reply::Activated(Activated { told: Vec::new(), failed }));
        if deed == Deed::Look {
            return done(None);
        }
        self.disk("activate")?;
        self.start_units(i)?;
        let live = self.hosts[i].live().cloned();
        let sha = live.as_ref().and_then(|live| self.sha_of(i, live));
        // A sick release is so sick that it does not stay up, where its commit is even.
        let crashes = self.conduct_of(sha.as_ref()).feels == Feels::Sick
            && sha.as_ref().is_some_and(|sha| sha.as_str().as_bytes()[7].is_multiple_of(2));
        if crashes {
            self.laws.said_no(controller);
            self.saw("crash loop");
            let [unit, why, journal] = ["app.service", "failed", "lines"].map(str::to_owned);
            return done(Some(UnitFailure { unit, why, journal }));
        }
        self.effect(i, "activated", |h| {
            if deed == Deed::Back {
                h.record.activated();
            }
            h.record.started(&activation.units);
            Ok(())
        })?;
        done(None)
    }

    /// The units restart.
    pub fn start_units(&mut self, i: usize) -> Result<(), HostError> {
        let forgets = self.has(Mutation::UnitsForgotten);
        self.effect(i, "units restarted", |h| {
            if !forgets || h.process.is_none() {
                h.process = h.live().cloned();
            }
            h.gone = false;
            h.resting = false;
            Ok(())
        })
    }

    fn prune(&mut self, i: usize, keep: usize) -> Result<Reply, HostError> {
        let host = &self.hosts[i];
        let present: BTreeSet<_> = host.dirs.keys().cloned().collect();
        let mut removed = host.record.prunable(&present, host.live(), keep, &BTreeSet::new());
        if self.has(Mutation::PruneIgnoresConfirmed) {
            let confirmed = host.record.confirmed.as_ref().map(|c| &c.release);
            removed = present.iter().filter(|n| Some(*n) == confirmed || removed.contains(n)).cloned().collect();
        }
        for name in &removed {
            self.effect(i, &format!("{name} moved away"), |h| {
                h.dirs.remove(name);
                Ok(())
            })?;
            self.effect(i, &format!("{name} forgotten"), |h| {
                h.record.releases.remove(name);
                Ok(())
            })?;
        }
        Ok(Reply::Pruned { removed, kept_in_use: Vec::new(), left: Vec::new() })
    }
}
