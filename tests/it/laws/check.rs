//! The laws as assertions. They keep their own books: what they compare with is never what they check.

use std::collections::{BTreeMap, BTreeSet};

use soll::host::wire::activate::Deed;
use soll::host::wire::{CommandRole, Op};
use soll::journal::{Event, Failure, FailureClass, RunResult, StepEnd};
use soll::model::desired::{Environment, OnFailure, Probe};
use soll::model::ids::{Digest, Epoch, HostName, ReleaseName, Sha};
use soll::model::observed::{Current, Verdict};
use soll::model::record::{Confirmed, Migration, Probation, QuarantineKey};
use soll::plan::{Action, Step};

use super::host::SimHost;

/// What the journal of one controller's run says.
#[derive(Default)]
struct Run {
    epoch: Option<Epoch>,
    steps: Vec<Step>,
    intended: BTreeSet<String>,
    ended: BTreeMap<String, StepEnd>,
    /// Hosts whose switch was intended, with what was confirmed when they were acquired.
    switched: BTreeSet<HostName>,
    failure: Option<Failure>,
    /// Hosts that it goes on without.
    aside: BTreeSet<HostName>,
    back: bool,
    /// The world said no to it at least once.
    said_no: bool,
    /// A verdict stands in its journal. A step of the way back may end under the same name later.
    condemned: bool,
    confirmed_before: BTreeMap<usize, Option<ReleaseName>>,
    /// The shared files of its hosts when they were acquired: what it was decided on. A person may change them later.
    files: BTreeMap<usize, Digest>,
    interrupted: bool,
}

pub struct Laws {
    /// The first law that was broken.
    pub broken: Option<String>,
    acquired: Vec<Epoch>,
    existed: Vec<bool>,
    ever_confirmed: Vec<bool>,
    runs: BTreeMap<usize, Run>,
    /// Host, case, and whether it is about this host alone.
    verdicts: Vec<(usize, QuarantineKey, bool)>,
    leases: BTreeMap<(usize, String), u32>,
    migrations: BTreeMap<String, Option<Migration>>,
}

/// What a verdict on the release that is being confirmed would be filed under.
pub fn key_now(env: &Environment, confirmed: &Confirmed) -> Option<QuarantineKey> {
    let (sha, bundle) = (confirmed.sha.clone()?, confirmed.bundle);
    let mut files = confirmed.files.clone();
    files.extend(super::scenario::versions(env));
    Some(QuarantineKey { sha, bundle, config: env.config_digest(), files: Digest::of_json(&files) })
}

fn files_of(host: &SimHost) -> Digest {
    let files = host.files.iter().filter_map(|(f, d)| Some((f.clone(), (*d)?)));
    let rendered = host.rendered.iter().map(|(from, version)| (from.clone(), *version));
    Digest::of_json(&files.chain(rendered).collect::<BTreeMap<_, _>>())
}

fn same_case(a: &QuarantineKey, b: &QuarantineKey) -> bool {
    let bundle = a.bundle.is_none() || b.bundle.is_none() || a.bundle == b.bundle;
    a.sha == b.sha && a.config == b.config && a.files == b.files && bundle
}

/// The checks that speak for a release.
pub fn healthy(env: &Environment, host: &SimHost) -> bool {
    env.health.checks.iter().filter(|c| c.on_failure != OnFailure::Warn).all(|check| match &check.probe {
        Probe::Http { url, .. } => host.answers.get(url) == Some(&Verdict::Pass),
        _ => true,
    })
}

impl Laws {
    pub fn new(hosts: usize) -> Self {
        Laws {
            broken: None,
            acquired: vec![Epoch(0); hosts],
            existed: vec![false; hosts],
            ever_confirmed: vec![false; hosts],
            runs: BTreeMap::new(),
            verdicts: Vec::new(),
            leases: BTreeMap::new(),
            migrations: BTreeMap::new(),
        }
    }

    pub fn assert(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some(what());
        }
    }

    fn run(&mut self, controller: usize) -> &mut Run {
        self.runs.entry(controller).or_default()
    }

    /// After every durable change of a host: laws 1 and 2.
    pub fn state(&mut self, i: usize, host: &SimHost) {
        let whole = |name: &ReleaseName| host.dirs.get(name).is_some_and(|d| d.complete);
        let resolves = match &host.current {
            Current::Release(name) => whole(name) && (host.by_person || host.dirs[name].matched),
            Current::Missing => !self.existed[i] || host.by_person,
            _ => host.by_person,
        };
        self.existed[i] |= host.live().is_some();
        let name = &host.name;
        self.assert(resolves, || format!("law 1: `current` of {name} is {:?}", host.current));
        let confirmed = host.record.confirmed.as_ref().map(|c| &c.release);
        self.assert(confirmed.is_none_or(whole), || format!("law 2: the confirmed release of {name} is gone"));
        let lost = self.ever_confirmed[i] && confirmed.is_none();
        self.assert(!lost, || format!("law 2: {name} has no confirmed release any more"));
        self.ever_confirmed[i] |= confirmed.is_some();
        if let Some(probation) = &host.record.probation {
            let there = host.dirs.contains_key(&probation.release);
            self.assert(there, || format!("law 2: the release on probation on {name} is gone"));
        }
        if let (Some(live), Some(c)) = (host.live().filter(|_| !host.by_person), confirmed) {
            let covered = live == c || host.record.probation.is_some() || host.record.releases[live].failed;
            self.assert(covered, || format!("law 6: {name} runs {live}, unconfirmed, without a probation"));
        }
        self.runs(host);
    }

    /// What rests at its confirmed release runs it: the units were started after the link had moved, whoever moved it.
    fn runs(&mut self, host: &SimHost) {
        let confirmed = host.record.confirmed.as_ref().map(|c| &c.release);
        let rests = host.record.probation.is_none() && !host.by_person && host.live() == confirmed;
        let same = host.process.is_none() || host.process.as_ref() == host.live();
        let (name, process) = (&host.name, &host.process);
        self.assert(!rests || same, || format!("law 1: {name} is at {confirmed:?}, and its units run {process:?}"));
        let noted = host.record.closed.as_ref().is_some_and(|closed| !closed.start.is_empty());
        self.assert(!host.resting || noted, || format!("law 6: the units of {name} rest, and nobody would start them"));
    }

    pub fn acquired(&mut self, i: usize, controller: usize, epoch: Epoch, host: &SimHost) {
        let before = self.acquired[i];
        self.assert(epoch > before, || format!("law 3: epoch {} was acquired after {}", epoch.0, before.0));
        self.acquired[i] = epoch;
        let run = self.run(controller);
        run.epoch = Some(epoch);
        run.confirmed_before.insert(i, None);
        run.files.insert(i, files_of(host));
    }

    /// Laws 3 and 5, before an effect of a run.
    pub fn acts(&mut self, i: usize, controller: usize, epoch: Epoch, op: &Op) {
        let newest = self.acquired[i];
        self.assert(epoch == newest, || {
            format!("law 3: epoch {} acts on web{} after epoch {} took over", epoch.0, i + 1, newest.0)
        });
        let kinds: &[&str] = match op {
            Op::Missing { .. } | Op::Upload { .. } => &["upload"],
            Op::Fetch { .. } => &["fetch"],
            Op::Extract { .. } => &["extract"],
            Op::Render { .. } => &["render"],
            Op::Link { .. } => &["link"],
            Op::Pull { .. } => &["pull"],
            Op::Gate { .. } => &["gate"],
            Op::Hook { means: CommandRole::Migration { .. }, .. } => &["migrate"],
            Op::Hook { .. } => &["hook", "maintenance", "reload"],
            Op::Seal { .. } => &["seal"],
            Op::Adopt { .. } => &["seal", "adopt"],
            Op::Verify { .. } => &["verify"],
            Op::Switch { .. } => &["switch"],
            Op::Activate { deed: Deed::Look, .. } => &["switch"],
            Op::Activate { .. } => &["activate"],
            Op::Drain { .. } => &["drain"],
            Op::Confirm { .. } => &["confirm", "adopt"],
            Op::Watched { .. } => &["watch"],
            Op::Return { .. } => &["rollback"],
            Op::Hold { .. } => &["hold"],
            Op::Prune { .. } => &["prune"],
            _ => return,
        };
        self.intended(controller, kinds, Some(&format!("web{}", i + 1)));
    }

    /// The same for what it does itself.
    pub fn controller_acts(&mut self, controller: usize, kind: &str) {
        self.intended(controller, &[kind], None);
    }

    fn intended(&mut self, controller: usize, kinds: &[&str], host: Option<&str>) {
        let run = self.run(controller);
        let journaled = run.steps.iter().any(|step| {
            kinds.contains(&step.action.kind())
                && step.host.as_ref().map(HostName::as_str) == host
                && run.intended.contains(&step.id)
        });
        self.assert(journaled, || format!("law 5: {} on {host:?} without a journaled intent", kinds[0]));
    }

    pub fn said_no(&mut self, controller: usize) {
        self.run(controller).said_no = true;
    }

    /// Law 4: a verdict is never applied again by itself.
    pub fn switching(&mut self, i: usize, controller: usize, hosts: &[SimHost], probation: &Probation) {
        let files_of = self.run(controller).files.clone();
        let back = hosts[i].record.confirmed.as_ref().map(|c| &c.release) == Some(&probation.release);
        let bad = self.verdicts.iter().any(|(j, key, alone)| {
            let Some(files) = files_of.get(j) else { return false };
            let files = if *j == i { probation.key.files } else { *files };
            (!alone || *j == i) && same_case(key, &QuarantineKey { files, ..probation.key.clone() })
        });
        self.assert(!bad || back, || {
            format!("law 4: web{} is switched to {}, which is quarantined", i + 1, probation.release)
        });
        let confirmed = hosts[i].record.confirmed.as_ref().map(|c| c.release.clone());
        self.run(controller).confirmed_before.insert(i, confirmed);
    }

    /// Law 6: the record was there before the link.
    pub fn linked(&mut self, i: usize, host: &SimHost) {
        let live = host.live();
        let confirmed = host.record.confirmed.as_ref().map(|c| &c.release) == live;
        let probation = host.record.probation.as_ref().map(|p| &p.release) == live;
        self.assert(confirmed || probation, || {
            format!("law 6: web{} was switched to {live:?} and its record does not know of it", i + 1)
        });
    }

    /// Law 4: no rollback by a controller without a negative verdict.
    pub fn returning(&mut self, controller: usize, host: &HostName, cancelled: bool) {
        let run = self.run(controller);
        let verdict = run.failure.as_ref().is_some_and(|f| f.class == FailureClass::Verdict);
        let failed = (verdict || run.aside.contains(host)) && run.said_no;
        let asked = run.back && run.failure.is_none() && cancelled;
        self.assert(failed || asked, || "law 4: a controller goes back without a negative verdict".to_owned());
    }

    pub fn quarantined(&mut self, i: usize, controller: usize, key: &QuarantineKey, alone: bool) {
        let said_no = self.run(controller).said_no;
        self.assert(said_no, || format!("law 4: {} is quarantined for a transient error", key.sha.short()));
        let journaled = self.run(controller).condemned;
        self.assert(journaled, || "law 5: a verdict is recorded that no journal knows".to_owned());
        // What is said of all hosts is more than what was said of this one.
        self.verdicts.retain(|(j, known, was)| *j != i || alone || !was || known != key);
        self.verdicts.push((i, key.clone(), alone));
    }

    /// It was not the release: what was said of it is taken back.
    pub fn acquitted(&mut self, i: usize, key: &QuarantineKey) {
        self.verdicts.retain(|(j, known, _)| *j != i || known != key);
    }

    /// A verdict that the host gives: its migration said no.
    pub fn condemned(&mut self, i: usize, key: QuarantineKey) {
        self.verdicts.push((i, key, false));
    }

    /// A success: healthy, and not a case that was found bad here.
    pub fn confirmed(&mut self, i: usize, host: &SimHost, env: &Environment, key: Option<&QuarantineKey>) {
        // What was only adopted was started by something else.
        let units = host.record.confirmed.as_ref().is_some_and(|confirmed| !confirmed.activation.is_empty());
        let active = !units || host.process.as_ref() == host.live();
        self.assert(active, || format!("law 1: web{} confirms what its units do not run", i + 1));
        self.assert(healthy(env, host), || format!("law 2: web{} confirms what was not seen healthy", i + 1));
        if let Some(key) = key {
            let bad = self.verdicts.iter().any(|(j, known, _)| *j == i && same_case(known, key));
            self.assert(!bad, || format!("law 4: {} is confirmed on web{} under its verdict", key.sha.short(), i + 1));
            self.verdicts.retain(|(j, known, _)| *j != i || known.sha != key.sha);
            self.leases.remove(&(i, key.sha.to_string()));
        }
    }

    pub fn lease_ran_out(&mut self, i: usize, key: &QuarantineKey, host: &SimHost) {
        let times = self.leases.entry((i, key.sha.to_string())).or_default();
        *times += 1;
        let times = *times;
        let entry = host.record.quarantined.iter().find(|q| q.key == *key).is_some_and(|q| q.verdict);
        let before = self.verdicts.iter().filter(|(j, k, _)| *j == i && k.sha == key.sha);
        let known: Vec<bool> = before.map(|(.., alone)| *alone).collect();
        self.assert(!entry || times >= 2 || !known.is_empty(), || {
            format!("law 4: {} is quarantined by its first lost lease", key.sha.short())
        });
        if entry {
            let alone = !known.is_empty() && known.iter().all(|alone| *alone);
            self.verdicts.push((i, key.clone(), alone));
        }
        let there = host.live() == host.record.confirmed.as_ref().map(|c| &c.release);
        let nowhere = host.record.returned.as_ref().is_some_and(|r| r.to.is_none());
        self.assert(there || nowhere, || format!("law 6: web{} did not go back when its lease ran out", i + 1));
    }

    /// A person lifted what is known against a commit.
    pub fn lifted(&mut self, i: usize, sha: &Sha, migration: Option<Migration>) {
        self.verdicts.retain(|(j, key, _)| *j != i || key.sha != *sha);
        self.leases.remove(&(i, sha.to_string()));
        let prefix = format!("{sha}/");
        if let Some(word) = migration {
            let open =
                |(key, m): &(&String, &mut Option<Migration>)| key.starts_with(&prefix) && **m != Some(Migration::Done);
            self.migrations.iter_mut().filter(open).for_each(|(_, m)| *m = Some(word));
        }
    }

    /// Law 5: never twice without a person's word or its own refusal.
    pub fn migration_runs(&mut self, key: &str) {
        let before = self.migrations.insert(key.to_owned(), None);
        let again = matches!(before, None | Some(Some(Migration::Failed)));
        self.assert(again, || format!("law 5: migration {} runs again after {before:?}", &key[..8]));
    }

    pub fn migration_ran(&mut self, key: &str, verdict: Migration) {
        let known = (verdict != Migration::Begun).then_some(verdict);
        self.migrations.insert(key.to_owned(), known);
    }

    /// Law 6: nobody stays on probation in silence.
    pub fn silence(&mut self, host: &SimHost, now: jiff::Timestamp) {
        let Some((session, probation)) = host.session.as_ref().zip(host.record.probation.as_ref()) else { return };
        let silent = session.silent_since.map(|since| now.duration_since(since).unsigned_abs());
        let over = session.busy == 0 && silent.is_some_and(|silent| silent > probation.lease);
        self.assert(!over, || format!("law 6: {} is on probation although its lease is over", host.name));
    }

    /// Law 4: what was found bad on a host that this run holds is not even begun again.
    fn starting(&mut self, controller: usize, sha: &Sha, env: &Environment, hosts: &[SimHost]) {
        if self.verdicts.iter().all(|(_, key, _)| key.sha != *sha) {
            return;
        }
        let run = self.run(controller);
        let files_of = run.files.clone();
        // A verdict that the host gave after it gave this run up is not known to it, and nothing it does there counts.
        let mine = |i: &usize| hosts[*i].session.as_ref().is_some_and(|session| Some(session.epoch) == run.epoch);
        let held: BTreeSet<usize> = run.confirmed_before.keys().copied().filter(mine).collect();
        let config = env.config_digest();
        let applies = |(j, key, _): &&(usize, QuarantineKey, bool)| {
            let Some(files) = files_of.get(j).filter(|_| held.contains(j)) else { return false };
            same_case(key, &QuarantineKey { sha: sha.clone(), bundle: None, config, files: *files })
        };
        let known: Vec<_> = self.verdicts.iter().filter(applies).collect();
        let alone: BTreeSet<usize> = known.iter().filter(|(.., alone)| *alone).map(|(j, ..)| *j).collect();
        // So many hosts may have failed alone, and the others are still tried.
        let many = alone.len() > env.strategy.max_failures();
        let bad = known.iter().find(|(.., alone)| many || !alone).map(|(j, ..)| j + 1);
        self.assert(bad.is_none(), || format!("law 4: {} is tried again under a verdict of host {bad:?}", sha.short()));
    }

    /// One line of a journal, and law 8 when it is the last one.
    pub fn journaled(&mut self, controller: usize, event: &Event, env: &Environment, hosts: &[SimHost]) {
        if let Event::Started(started) = event {
            self.starting(controller, &started.to, env, hosts);
        }
        let run = self.run(controller);
        match event {
            Event::Started(started) => run.steps = started.steps.clone(),
            Event::Intended { step, .. } => {
                run.intended.insert(step.clone());
                let step = run.steps.iter().find(|s| s.id == *step);
                if let Some(Step { action: Action::Switch { .. }, host: Some(host), .. }) = step {
                    run.switched.insert(host.clone());
                }
            }
            Event::Ended { step, end, .. } => {
                run.condemned |= matches!(end, StepEnd::Failed { failure } if failure.class == FailureClass::Verdict);
                run.ended.insert(step.clone(), end.clone());
            }
            Event::SetAside { host, steps, .. } => {
                run.aside.insert(host.clone());
                let many = run.aside.len() > env.strategy.max_failures() || run.aside.len() >= hosts.len();
                steps.iter().for_each(|s| drop((run.ended.remove(&s.id), run.intended.remove(&s.id))));
                run.steps.extend(steps.iter().cloned());
                self.assert(!many, || format!("law 4: the rollout goes on without {host}, one too many"));
            }
            Event::TurnedBack { failure, steps, .. } => {
                run.failure = failure.clone();
                run.back = true;
                run.interrupted = failure.is_none();
                steps.iter().for_each(|s| drop((run.ended.remove(&s.id), run.intended.remove(&s.id))));
                run.steps.extend(steps.iter().cloned());
            }
            Event::Finished { result, .. } => self.finished(controller, *result, env, hosts),
            Event::Operation(_) | Event::Acquired { .. } | Event::Attempted { .. } | Event::Quarantined { .. } => {}
        }
    }

    fn finished(&mut self, controller: usize, result: RunResult, env: &Environment, hosts: &[SimHost]) {
        let run = &self.runs[&controller];
        // A person's hand on a link says more about it than any run does.
        if hosts.iter().any(|h| h.by_person) {
            return;
        }
        // Who was taken over says what it saw; what is there now is the other one's.
        if hosts
            .iter()
            .enumerate()
            .any(|(i, h)| run.confirmed_before.contains_key(&i) && Some(h.record.epoch) != run.epoch)
        {
            return;
        }
        let settled = |h: &SimHost| {
            h.record.probation.is_none()
                && h.live().is_some()
                && h.live() == h.record.confirmed.as_ref().map(|c| &c.release)
        };
        let took_part = |h: &&SimHost| run.steps.iter().any(|s| s.host.as_ref() == Some(&h.name));
        let returned = |h: &SimHost| {
            let mut steps = run.steps.iter().filter(|s| matches!(s.action, Action::Rollback { .. }));
            steps.any(|s| s.host.as_ref() == Some(&h.name))
        };
        let held = |h: &SimHost| {
            let mut steps = run.steps.iter().filter(|s| matches!(s.action, Action::Hold { .. }));
            steps.any(|s| s.host.as_ref() == Some(&h.name))
        };
        let moved = |(_, h): &(usize, &SimHost)| run.switched.contains(&h.name) || returned(h) || held(h);
        let switched: Vec<_> = hosts.iter().enumerate().filter(moved).collect();
        let back = |(i, h): &(usize, &SimHost)| {
            let before = run.confirmed_before.get(i).cloned().flatten();
            settled(h) && before.is_none_or(|before| h.live() == Some(&before))
        };
        let back_ended = run.back
            && !run
                .ended
                .values()
                .any(|end| matches!(end, StepEnd::Failed { failure } if run.failure.as_ref() != Some(failure)));
        let holds = match result {
            RunResult::Succeeded => run.aside.is_empty() && hosts.iter().filter(took_part).all(settled),
            RunResult::RolledBack => {
                !switched.is_empty()
                    && switched.iter().all(back)
                    && switched.iter().all(|(_, h)| healthy(env, h))
                    && run.said_no
            }
            // It came to its end without some: those are at rest, and all others run what is desired.
            RunResult::Failed if !run.back && !run.aside.is_empty() => {
                let alone = |h: &SimHost| {
                    h.record.probation.is_none() && (held(h) || (returned(h) && settled(h) && healthy(env, h)))
                };
                let mut those = hosts.iter().filter(took_part);
                those.all(|h| if run.aside.contains(&h.name) { alone(h) } else { settled(h) })
            }
            RunResult::Failed => {
                let undone = switched.iter().all(|(i, h)| returned(h) && back(&(*i, *h)) && healthy(env, h));
                switched.is_empty() || !undone || !back_ended
            }
            // After the switch only a watch may be left in the middle: what it was about is not judged (C8).
            RunResult::Superseded => {
                let left = run.ended.values().any(|end| matches!(end, StepEnd::Interrupted { .. }));
                let waits = |h: &SimHost| h.record.probation.is_some() || settled(h);
                run.interrupted && (switched.is_empty() || (left && switched.iter().all(|(_, h)| waits(h))))
            }
            RunResult::Cancelled => run.interrupted,
            RunResult::Error | RunResult::Unreachable | RunResult::Interrupted => true,
        };
        let what = format!("law 8: the run of controller {controller} calls itself {}", result.as_str());
        self.assert(holds, || what);
    }
}
