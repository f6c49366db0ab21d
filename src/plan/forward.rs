//! The graph from what runs to what is desired. The order is A4's: look at the target, fetch, verify, stage and gate
//! every host before the first one is switched; migrate once; switch batch by batch; judge; confirm all; prune.

mod host;
mod rest;

use std::collections::BTreeSet;
use std::time::Duration;

pub use host::Host;

use super::delivery;
use super::graph::Builder;
use super::intent::{Intent, is_failed};
use super::step::{Action, ReleaseDir, Step};
use crate::model::activation::Activation;
use crate::model::desired::{Before, Check, Environment, Gate, Hook, OnFailure, Phase, Probe, Strategy};
use crate::model::ids::{HostName, ReleaseName, Sha};

/// So many steps are named by whatever comes after them. Of more, one step waits for all, and is named in their place:
/// else the entries grow with the square of the hosts.
const NAMED: usize = 8;

/// What a migration is remembered by: the commit and the command.
pub fn migration_key(sha: &Sha, hook: &Hook) -> String {
    format!("{sha}/{}", crate::model::ids::Digest::of(hook.run.as_bytes()).short())
}

/// Builds the graph for the hosts that need something. `migrated`: the keys of the migrations that are done on any host
/// of the environment, also on one that needs nothing any more.
pub fn forward(env: &Environment, sha: &Sha, hosts: &[Host<'_>], migrated: &BTreeSet<&str>) -> Vec<Step> {
    let mut forward = Forward { env, sha, migrated, steps: Builder::default() };
    let before = forward.look(hosts);
    let ready = forward.stage(hosts, &before);
    let judged = forward.switch(hosts, &ready);
    forward.settle(hosts, &judged);
    forward.steps.finish()
}

/// How many releases are kept, and which ones go for that, first to go first: the new one takes a place of its own, and
/// what runs now is the newest of the old ones.
fn kept(host: &Host<'_>, keep: u32) -> String {
    let present: BTreeSet<ReleaseName> = host.state.releases.iter().cloned().collect();
    let old = usize::try_from(keep).unwrap_or(usize::MAX).saturating_sub(1);
    let current = host.state.current.release();
    let mut going = host.state.record.prunable(&present, current, old, &BTreeSet::new());
    // Where only the new one is kept, what runs now goes as well.
    going.extend(current.filter(|_| old == 0).cloned());
    let (first, more) = going.split_at(going.len().min(GOING_NAMED));
    let names: Vec<&str> = first.iter().map(ReleaseName::as_str).collect();
    match (names.is_empty(), more.len()) {
        (true, _) => format!("{keep} releases are kept"),
        (false, 0) => format!("{keep} releases are kept, {} goes", names.join(", ")),
        (false, more) => format!("{keep} releases are kept, {} and {more} more go", names.join(", ")),
    }
}

/// Of the releases that a deployment removes so many are named.
const GOING_NAMED: usize = 3;

struct Forward<'a> {
    env: &'a Environment,
    sha: &'a Sha,
    migrated: &'a BTreeSet<&'a str>,
    steps: Builder,
}

impl<'a> Forward<'a> {
    /// Health of what runs, and the adoption of what nobody has confirmed yet, so that there is a way back.
    fn look(&mut self, hosts: &[Host<'_>]) -> Vec<String> {
        let mut seen = Vec::new();
        for host in hosts.iter().filter(|h| h.switches() && h.state.current.release().is_some()) {
            let mut looked = Vec::new();
            // An unhealthy target is looked at once: waiting would only delay the release that cures it.
            let (on_failure, attempts) = match self.env.health.before {
                Before::Block => (OnFailure::Abort, self.env.health.attempts),
                Before::Warn => (OnFailure::Warn, 1),
            };
            // A return is quick and asks nothing of what it leaves (A6).
            for check in self.env.health.checks.iter().filter(|c| host.deploys() && !is_assets(c)) {
                let action = Action::HealthBefore { check: check.clone(), attempts };
                let why = "the target is looked at before anything is touched";
                looked.push(self.steps.push(Some(host.name()), Some(&check.name), action, &[], on_failure, why));
            }
            let record = &host.state.record;
            // A release of our own that was never sealed, or lost its seal by drifting, is no way back.
            let unfinished =
                |current: &ReleaseName| record.releases.get(current).is_some_and(|r| !r.sealed && !r.adopted);
            let adopts = |current: &&ReleaseName| {
                record.confirmed.is_none() && !unfinished(current) && !is_failed(self.env, host.state, current)
            };
            if let Some(current) = host.state.current.release().filter(adopts) {
                let checks = self.env.health.checks.iter().filter(|c| !is_assets(c)).cloned().collect();
                let sha = host.state.sha_of(current).cloned();
                let action = Action::Adopt { release: current.clone(), sha, checks };
                let why = format!("{current} becomes the way back if it is healthy");
                looked = vec![self.steps.push(Some(host.name()), None, action, &looked, OnFailure::Warn, why)];
            }
            seen.extend(looked);
        }
        self.join("seen", seen, "all hosts are looked at before anything is touched")
    }

    /// Where all of these have to be over: themselves, or a step that waits for them, once they are many.
    fn join(&mut self, name: &str, steps: Vec<String>, why: &str) -> Vec<String> {
        if steps.len() <= NAMED {
            return steps;
        }
        vec![self.steps.push(None, Some(name), Action::Grace { seconds: 0.0 }, &steps, OnFailure::Warn, why)]
    }

    /// Everything that leaves `current` alone. Gives the steps after which the first host may be switched.
    fn stage(&mut self, hosts: &[Host<'_>], before: &[String]) -> Vec<String> {
        let abort = OnFailure::Abort;
        let mut verified = before.to_vec();
        if hosts.iter().any(Host::deploys) {
            verified = delivery::bring_once(self.env, self.sha, &mut self.steps, before);
        }
        let mut gated = Vec::new();
        for host in hosts {
            let mut last = match &host.intent {
                Intent::Deploy { why } => {
                    let (env, sha, name) = (self.env, self.sha, host.name());
                    let last = delivery::bring(env, sha, &mut self.steps, name, why, &verified);
                    let last = self.render(host, last);
                    let why = "shared paths lead to `shared/`";
                    let last = self.steps.push(Some(name), None, Action::Link, &last, abort, why);
                    let last = self.hooks(host, Phase::Prepare, vec![last]);
                    delivery::resolve(env, sha, &mut self.steps, name, last)
                }
                Intent::SwitchTo { why, .. } => {
                    let place = host.goal(self.sha);
                    let sealed = matches!(&place, ReleaseDir::Existing { release, .. }
                        if host.state.record.releases.get(release).is_some_and(|r| r.sealed));
                    let action = if sealed { Action::Verify { place } } else { Action::Seal { place } };
                    vec![self.steps.push(Some(host.name()), None, action, before, abort, why.as_str())]
                }
                Intent::Reconfigure { .. } => before.to_vec(),
                Intent::Resume { .. }
                | Intent::Restart { .. }
                | Intent::Revive { .. }
                | Intent::Adopt { .. }
                | Intent::Nothing => continue,
            };
            last = self.gates(host, last);
            gated.extend(last);
        }
        if gated.is_empty() {
            gated = verified;
        }
        let gated = self.join("gated", gated, "all hosts pass their gates before anything that others would notice");
        self.commit_point(hosts, gated)
    }

    /// The files that are rendered for a host, where there are any, with what is told of how they differ.
    fn render(&mut self, host: &Host<'_>, last: Vec<String>) -> Vec<String> {
        if self.env.files.is_empty() {
            return last;
        }
        let files: Vec<&str> = self.env.files.iter().map(|file| file.path.as_str()).collect();
        let what = match host.state.rerendered.as_slice() {
            [] => files.join(", "),
            told => told.join("; "),
        };
        let why = format!("{what}; the live release keeps what it has");
        vec![self.steps.push(Some(host.name()), None, Action::Render, &last, OnFailure::Abort, why)]
    }

    /// The gates of one host. None needs another one, so they are asked side by side: a host that is far away is not waited
    /// for once for each. The last one waits for all, so that what follows names one step for a host and not a dozen.
    fn gates(&mut self, host: &Host<'_>, before: Vec<String>) -> Vec<String> {
        let skipped = |gate: &&Gate| {
            let emergency = self.env.skips(self.sha, &gate.name);
            if let Some(emergency) = emergency {
                tracing::debug!(gate = gate.name, reason = emergency.reason, "skipped");
            }
            emergency.is_none()
        };
        let gates: Vec<&Gate> = self.env.gates.iter().filter(skipped).collect();
        let Some((last, others)) = gates.split_last() else { return before };
        let mut push = |gate: &Gate, after: &[String]| {
            let action = Action::Gate { gate: gate.clone(), place: host.goal(self.sha) };
            let why = "nothing is switched that does not pass";
            self.steps.push(Some(host.name()), Some(&gate.name), action, after, OnFailure::Abort, why)
        };
        let passed: Vec<String> = others.iter().map(|gate| push(gate, &before)).collect();
        let after = if passed.is_empty() { before } else { passed };
        vec![push(last, &after)]
    }

    /// Maintenance, migration, pre-switch and seal: after every host's gates, before the first switch.
    fn commit_point(&mut self, hosts: &[Host<'_>], mut ready: Vec<String>) -> Vec<String> {
        let deploying: Vec<_> = hosts.iter().filter(|h| h.deploys()).collect();
        let Some(migrator) = self.migrator(&deploying) else { return ready };
        ready = self.save(&deploying, ready);
        let mut closed: Vec<_> =
            deploying.iter().flat_map(|host| self.hooks(host, Phase::MaintenanceOn, ready.clone())).collect();
        // Hosts without such hooks give what they were given: named once, or a large fleet is planned for minutes.
        closed.sort();
        closed.dedup();
        ready = self.join("closed", closed, "all hosts are closed before the migration");
        ready = self.drain(&deploying, ready);
        for hook in self.migrations() {
            let action = Action::Migrate { hook: hook.clone(), place: migrator.goal(self.sha) };
            let why = "once per environment; a rollback does not take it back";
            ready =
                vec![self.steps.push(Some(migrator.name()), Some(&hook.name), action, &ready, hook.on_failure, why)];
        }
        let mut sealed = Vec::new();
        for host in &deploying {
            let last = self.hooks(host, Phase::PreSwitch, ready.clone());
            let action = Action::Seal { place: host.goal(self.sha) };
            let why = "from here on the contents do not change";
            sealed.push(self.steps.push(Some(host.name()), None, action, &last, OnFailure::Abort, why));
        }
        self.join("sealed", sealed, "all hosts are ready before the first one is switched")
    }

    /// The host of these that migrates for all: the first of the environment where it is one of them.
    fn migrator<'h, 'e>(&self, deploying: &[&'h Host<'e>]) -> Option<&'h Host<'e>> {
        let first = self.env.targets.first().map(|target| &target.name);
        deploying.iter().find(|host| Some(host.name()) == first).or(deploying.first()).copied()
    }

    /// What a migration could damage is saved before the door is closed: nobody waits for a dump. On the host that migrates,
    /// once per environment; where nothing runs yet there is nothing to save. In pull mode that is the first host's share.
    fn save(&mut self, deploying: &[&Host<'_>], mut ready: Vec<String>) -> Vec<String> {
        let host = self.migrator(deploying).filter(|host| host.state.current.release().is_some());
        let Some(host) = host else { return ready };
        for backup in self.env.backups.iter().filter(|backup| backup.pre_deploy && self.env.leads()) {
            let action = Action::Backup { backup: Box::new(backup.clone()) };
            let why = "data as they are now are saved before anything changes them";
            ready = vec![self.steps.push(Some(host.name()), Some(&backup.name), action, &ready, OnFailure::Abort, why)];
        }
        ready
    }

    /// Switch and judge, batch by batch. Gives the last step of every host.
    fn switch(&mut self, hosts: &[Host<'_>], ready: &[String]) -> Vec<(HostName, Vec<String>)> {
        let (size, pause) = match self.env.strategy {
            Strategy::AllAtOnce => (hosts.len().max(1), Duration::ZERO),
            Strategy::Rolling { batch, pause, .. } => (batch.size(self.env.targets.len()), pause),
        };
        let mut barrier = ready.to_vec();
        let mut judged = Vec::new();
        let batches = hosts.len().div_ceil(size);
        for (n, batch) in hosts.chunks(size).enumerate() {
            if n > 0 && !pause.is_zero() {
                let (detail, action) = (format!("batch-{n}"), Action::Grace { seconds: pause.as_secs_f64() });
                let why = "a pause, so that what the batch does to the others is seen";
                barrier = vec![self.steps.push(None, Some(&detail), action, &barrier, OnFailure::Warn, why)];
            }
            let from = judged.len();
            for host in batch {
                let last = self.switch_host(host, barrier.clone());
                judged.push((host.name().clone(), self.judge(host, last)));
            }
            barrier = judged[from..].iter().flat_map(|(_, last)| last.clone()).collect();
            if n + 1 < batches && pause.is_zero() {
                barrier = self.join(&format!("batch-{}", n + 1), barrier, "a batch is judged before the next one");
            }
        }
        judged
    }

    fn switch_host(&mut self, host: &Host<'_>, mut last: Vec<String>) -> Vec<String> {
        if host.switches() {
            let action = Action::Switch { to: host.goal(self.sha) };
            let why = format!("{}: probation is written first, then one rename", host.intent.why());
            last = vec![self.steps.push(Some(host.name()), None, action, &last, OnFailure::Rollback, why)];
        }
        if !matches!(host.intent, Intent::Adopt { .. } | Intent::Nothing) {
            let leaves = match host.intent {
                Intent::Deploy { .. } => delivery::leaves_data(self.env),
                _ => None,
            };
            let activation = Activation::of(self.env, host.target);
            last = push_activation(&mut self.steps, host.name(), &activation, leaves, last);
        }
        match host.intent {
            Intent::SwitchTo { .. } => self.hooks(host, Phase::Rollback, last),
            Intent::Restart { .. } => self.hooks(host, Phase::Restart, last),
            Intent::Revive { .. } | Intent::Adopt { .. } | Intent::Nothing => last,
            _ => {
                let last = self.hooks(host, Phase::PostSwitch, last);
                match host.intent {
                    Intent::Reconfigure { .. } => last,
                    _ => self.hooks(host, Phase::MaintenanceOff, last),
                }
            }
        }
    }

    /// Grace, health, assets, verify hooks and the watch, on one host.
    fn judge(&mut self, host: &Host<'_>, mut last: Vec<String>) -> Vec<String> {
        let name = Some(host.name());
        let adopts = matches!(host.intent, Intent::Adopt { .. });
        let health = &self.env.health;
        let place = host.goal(self.sha);
        if !health.grace.is_zero() && !adopts && !health.checks.is_empty() {
            let action = Action::Grace { seconds: health.grace.as_secs_f64() };
            last = vec![self.steps.push(
                name,
                None,
                action,
                &last,
                OnFailure::Warn,
                "time to start before the first check",
            )];
        }
        let mut checked = Vec::new();
        for check in &health.checks {
            let (action, why) = if is_assets(check) {
                (
                    Action::Assets { check: check.clone(), place: place.clone() },
                    "every asset that the pages name can be fetched",
                )
            } else {
                (Action::Health { check: check.clone(), place: place.clone() }, "only a healthy release is confirmed")
            };
            checked.push(self.steps.push(name, Some(&check.name), action, &last, check.on_failure, why));
        }
        if !checked.is_empty() {
            last = checked;
        }
        if !adopts {
            last = self.hooks(host, Phase::Verify, last);
        }
        match &self.env.watch {
            // What was confirmed here before was watched then: a return takes seconds, not the length of a watch (A6).
            Some(watch) if host.is_watched() => {
                let watched = host.resumed().and_then(|probation| probation.watched.clone());
                let action = Action::Watch { watch: watch.clone(), place, watched };
                let why = "figures that go wrong only after a while still send it back";
                vec![self.steps.push(name, None, action, &last, OnFailure::Rollback, why)]
            }
            _ => last,
        }
    }

    /// Confirm everybody once everybody is judged; then what a failure cannot undo any more.
    fn settle(&mut self, hosts: &[Host<'_>], judged: &[(HostName, Vec<String>)]) {
        let all: Vec<String> = judged.iter().flat_map(|(_, last)| last.clone()).collect();
        let all = self.join("judged", all, "all hosts are judged before one is confirmed");
        for host in hosts.iter().filter(|h| h.intent != Intent::Nothing) {
            let name = Some(host.name());
            let release = host.goal(self.sha);
            if matches!(host.intent, Intent::Adopt { .. }) {
                let ReleaseDir::Existing { release, sha } = release else { continue };
                let action = Action::Adopt { release, sha, checks: Vec::new() };
                let why = "it is healthy: the release becomes the confirmed one";
                self.steps.push(name, None, action, &all, OnFailure::Abort, why);
                continue;
            }
            let again = matches!(host.intent, Intent::Restart { .. } | Intent::Revive { .. });
            let action = Action::Confirm { release, inputs: self.env.inputs_digest(), again };
            let why = "read back from the host before anything is called a success";
            let last = vec![self.steps.push(name, None, action, &all, OnFailure::Rollback, why)];
            let last = if host.switches() { self.hooks(host, Phase::After, last) } else { last };
            if host.deploys() {
                let keep = self.env.keep_releases;
                let why = kept(host, keep);
                self.steps.push(name, None, Action::Prune { keep }, &last, OnFailure::Warn, why);
            }
        }
    }

    fn hooks(&mut self, host: &Host<'_>, phase: Phase, last: Vec<String>) -> Vec<String> {
        let place = match phase {
            // Nothing runs here yet: there is nothing to close.
            Phase::MaintenanceOn if host.state.current.release().is_none() => return last,
            Phase::MaintenanceOn => host.live(),
            _ => host.goal(self.sha),
        };
        push_hooks(&mut self.steps, self.env, host.name(), phase, &place, last)
    }
}

/// The units of one host, where there are any, after what moved `current`. `leaves`: why a rollback does not take it back.
fn push_activation(
    steps: &mut Builder,
    host: &HostName,
    activation: &Activation,
    leaves: Option<String>,
    last: Vec<String>,
) -> Vec<String> {
    if activation.is_empty() {
        return last;
    }
    let does = if activation.project.is_some() { "brought up as it was resolved" } else { "restarted" };
    let mut why = format!("{}: {does}, and watched until settled", activation.told());
    why.extend(leaves.iter().flat_map(|leaves| ["; ", leaves]));
    let action = Action::Activate { activation: activation.clone() };
    let id = steps.push(Some(host), None, action, &last, OnFailure::Rollback, why);
    if leaves.is_some() {
        steps.last_is_irreversible();
    }
    vec![id]
}

/// The hooks of a phase on one host, one after the other.
pub fn push_hooks(
    steps: &mut Builder,
    env: &Environment,
    host: &HostName,
    phase: Phase,
    place: &ReleaseDir,
    mut last: Vec<String>,
) -> Vec<String> {
    for hook in env.hooks_of(phase) {
        let (hook, place) = (hook.clone(), place.clone());
        let name = hook.name.clone();
        // What is confirmed does not go back: a verdict that comes after it is shown, and nothing is undone.
        let on_failure = if phase == Phase::After { OnFailure::Warn } else { hook.on_failure };
        let why = format!("{} hook", phase.as_str());
        let action = match phase {
            Phase::MaintenanceOn | Phase::MaintenanceOff => Action::Maintenance { hook, place },
            _ if hook.reload => Action::Reload { hook, place },
            _ => Action::Hook { hook, place },
        };
        last = vec![steps.push(Some(host), Some(&name), action, &last, on_failure, why)];
    }
    last
}

fn is_assets(check: &Check) -> bool {
    matches!(check.probe, Probe::Assets { .. })
}
