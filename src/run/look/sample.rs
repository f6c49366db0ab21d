//! A health sample of an environment that is in sync: what soak counts (B2) and what is shown between deployments (C6).

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;

use crate::health::{self, verdict};
use crate::host::wire::{Cwd, Op, Reply};
use crate::model::desired::{Check, Environment, From, OnFailure, Probe, Target};
use crate::model::ids::HostName;
use crate::model::observed::{Attempt, CheckResult, HostObserved, HostState, Observed, Verdict};
use crate::run::accepted::AcceptedSnapshot;
use crate::run::board::Sample;
use crate::run::controller::{Controller, now};
use crate::run::fill::{command, fill_probe};
use crate::run::look::reach::ask;

/// What the checks of an environment said.
#[derive(Debug, Default)]
pub struct Sampled {
    /// `None`: there was no evidence either way.
    pub healthy: Option<bool>,
    /// Of each host that was asked.
    pub hosts: BTreeMap<HostName, Sample>,
}

/// Asks every check once and lets the hosts count the answer.
pub async fn sample(
    controller: &Arc<Controller>,
    word: &AcceptedSnapshot,
    env: &Environment,
    observed: &Observed,
) -> Sampled {
    let Some(seen) = observed.environments.get(&env.name) else { return Sampled::default() };
    let samples = env.targets.iter().map(async |target| {
        let Some(HostObserved::Reached(state)) = seen.hosts.get(&target.name) else { return (Some(true), None) };
        if !is_judged(state) {
            return (Some(true), None);
        }
        let (healthy, sample) = host(controller, word, env, target, state).await;
        // No evidence is no sample: the gap rule of the soak deals with it.
        if let Some(healthy) = healthy
            && let Err(error) = ask(controller, word, target, Op::Sample { healthy, every: env.health.every }).await
        {
            tracing::warn!(environment = %env.name, host = %target.name, %error, "a health sample was not counted");
        }
        (healthy, sample.map(|sample| (target.name.clone(), sample)))
    });
    let (verdicts, hosts): (Vec<Option<bool>>, Vec<_>) = join_all(samples).await.into_iter().unzip();
    let healthy = match verdicts.contains(&Some(false)) {
        true => Some(false),
        false => verdicts.iter().all(Option::is_some).then_some(true),
    };
    Sampled { healthy, hosts: hosts.into_iter().flatten().collect() }
}

/// Whether a sample says something about what a host runs: not where nothing runs yet, nor while a run is at it, nor while it
/// is stopped, or closed for maintenance, on purpose.
fn is_judged(state: &HostState) -> bool {
    let record = &state.record;
    let runs = state.current.release().is_some();
    let is_free = state.holder.is_none() && record.stopped.is_none() && record.closed.is_none();
    runs && is_free && record.probation.is_none()
}

/// The verdict of all checks that say something about the release, and what each of them said.
async fn host(
    controller: &Arc<Controller>,
    word: &AcceptedSnapshot,
    env: &Environment,
    target: &Target,
    state: &HostState,
) -> (Option<bool>, Option<Sample>) {
    let mut verdicts = Vec::new();
    let (mut there, mut here) = (Vec::new(), Vec::new());
    for check in &env.health.checks {
        let attempt = attempt(controller, word, env, target, state, check).await;
        let verdict = attempt.verdict;
        if verdict != Verdict::Pass {
            let evidence = &attempt.evidence;
            tracing::warn!(environment = %env.name, host = %target.name, check = check.name, evidence, "health");
        }
        // A check that only warns says nothing against the release.
        if check.on_failure != OnFailure::Warn {
            verdicts.push(verdict);
        }
        let results = if check.from == From::Host { &mut there } else { &mut here };
        results.push(CheckResult { check: check.name.clone(), verdict, attempts: vec![attempt] });
    }
    let healthy = match verdict::worst(verdicts) {
        Verdict::Pass => Some(true),
        Verdict::Fail => Some(false),
        Verdict::Inconclusive => None,
    };
    let release = state.current.release().cloned();
    (healthy, release.map(|release| Sample { at: now(), release, there, here }))
}

/// One attempt outside any run: nothing is held, nothing is changed.
pub(in crate::run) async fn attempt(
    controller: &Controller,
    word: &AcceptedSnapshot,
    env: &Environment,
    target: &Target,
    state: &HostState,
    check: &Check,
) -> Attempt {
    let release = state.current.release();
    let sha = release.and_then(|release| state.sha_of(release)).cloned();
    let probe = fill_probe(&check.probe, &env.values(target, release, sha.as_ref()));
    let secret = match probe.bearer() {
        None => None,
        Some((name, url)) => match word.secrets().sent(&env.name, name, url) {
            Ok(secret) => Some(secret),
            Err(refused) => return unsure(refused.instead(name)),
        },
    };
    let timeout = env.health.timeout;
    if check.from == From::Controller && !matches!(probe, Probe::Run { .. } | Probe::Systemd { .. }) {
        let context = health::Context { secret: secret.as_ref(), dir: None, timeout, now };
        return health::probe::attempt(&probe, &context).await;
    }
    let command = match &check.probe {
        Probe::Run { command: run } => Some(command(env, target, (release, sha.as_ref()), &check.name, run, timeout)),
        _ => None,
    };
    match ask(controller, word, target, Op::Probe { cwd: Cwd::Current, probe, command, secret, timeout }).await {
        Ok(Reply::Attempt(attempt)) => attempt,
        Ok(other) => unsure(format!("{} answered a probe with {other:?}", target.name)),
        Err(error) => unsure(error.to_string()),
    }
}

fn unsure(evidence: String) -> Attempt {
    Attempt { at: now(), verdict: Verdict::Inconclusive, evidence, millis: 0 }
}
