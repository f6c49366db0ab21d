//! A health sample of an environment that is in sync: what soak counts (B2) and what is shown between deployments (C6).

use std::sync::Arc;

use futures_util::future::join_all;

use crate::health::{self, verdict};
use crate::host::wire::{Cwd, Op, Reply};
use crate::model::desired::{Check, Environment, From, OnFailure, Probe, Target};
use crate::model::observed::{Attempt, HostObserved, HostState, Observed, Verdict};
use crate::plan::intent::sha_of;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::{Controller, now};
use crate::run::fill::{command, fill_probe};
use crate::run::look::reach::ask;

/// Asks every check once and lets the hosts count the answer. `None`: there was no evidence either way.
pub async fn sample(
    controller: &Arc<Controller>,
    word: &AcceptedSnapshot,
    env: &Environment,
    observed: &Observed,
) -> Option<bool> {
    let seen = observed.environments.get(&env.name)?;
    let samples = env.targets.iter().map(async |target| {
        let Some(HostObserved::Reached(state)) = seen.hosts.get(&target.name) else { return Some(true) };
        if !is_judged(state) {
            return Some(true);
        }
        let healthy = host(controller, word, env, target, state).await;
        // No evidence is no sample: the gap rule of the soak deals with it.
        if let Some(healthy) = healthy
            && let Err(error) = ask(controller, word, target, Op::Sample { healthy, every: env.health.every }).await
        {
            tracing::warn!(environment = %env.name, host = %target.name, %error, "a health sample was not counted");
        }
        healthy
    });
    let samples = join_all(samples).await;
    if samples.contains(&Some(false)) {
        return Some(false);
    }
    samples.into_iter().all(|one| one.is_some()).then_some(true)
}

/// Whether a sample says something about what a host runs: not where nothing runs yet, nor while a run is at it, nor while it
/// is stopped, or closed for maintenance, on purpose.
fn is_judged(state: &HostState) -> bool {
    let record = &state.record;
    let runs = state.current.release().is_some();
    let is_free = state.holder.is_none() && record.stopped.is_none() && record.closed.is_none();
    runs && is_free && record.probation.is_none()
}

async fn host(
    controller: &Arc<Controller>,
    word: &AcceptedSnapshot,
    env: &Environment,
    target: &Target,
    state: &HostState,
) -> Option<bool> {
    let mut verdicts = Vec::new();
    for check in &env.health.checks {
        let attempt = attempt(controller, word, env, target, state, check).await;
        if attempt.verdict != Verdict::Pass {
            let evidence = &attempt.evidence;
            tracing::warn!(environment = %env.name, host = %target.name, check = check.name, evidence, "health");
        }
        // A check that only warns says nothing against the release.
        if check.on_failure != OnFailure::Warn {
            verdicts.push(attempt.verdict);
        }
    }
    match verdict::worst(verdicts) {
        Verdict::Pass => Some(true),
        Verdict::Fail => Some(false),
        Verdict::Inconclusive => None,
    }
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
    let sha = release.and_then(|release| sha_of(&state.record, release));
    let probe = fill_probe(&check.probe, &env.values(target, release, sha.as_ref()));
    let secret = match probe.bearer() {
        None => None,
        Some((name, url)) => match controller.settings.secrets.sent(&env.name, name, url) {
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
