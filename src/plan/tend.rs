//! What a host needs while the plan of its environment is blocked: a release on probation is judged to its end, a confirmed
//! release that keeps failing is restarted (C6), and services of it that somebody stopped are brought up where that is to be
//! healed (A7). All of it keeps what runs, so no approval, window, soak or quarantine of another release stands against it; a
//! person's `stop` does, and a freeze against the last: whoever freezes may be at work there. The same planner, aimed at what
//! runs.

use std::collections::BTreeSet;

use super::forward::{Host, forward};
use super::intent::{Intent, ailing, gone, is_failed};
use super::{Code, EnvPlan};
use crate::model::desired::{Environment, ReleaseRef, Target};
use crate::model::ids::Sha;
use crate::model::observed::{EnvObserved, HostObserved, HostState};
use crate::model::record::Migration;

/// The environment aimed at what runs, and the plan for it. `None`: nothing needs anything.
///
/// Hosts that run different commits are tended one commit after the other: a run is about one.
pub fn tend(env: &Environment, seen: &EnvObserved, blocked: &EnvPlan) -> Option<(Environment, EnvPlan)> {
    let condemned = |sha: &Sha| {
        blocked.desired.as_ref() == Some(sha) && blocked.blocking().any(|blocker| blocker.code == Code::Quarantined)
    };
    let heals = blocked.blocking().all(|blocker| blocker.code != Code::Frozen);
    let needs: Vec<(&Target, &HostState, Sha, Intent)> = env
        .targets
        .iter()
        .filter_map(|target| {
            let Some(HostObserved::Reached(state)) = seen.hosts.get(&target.name) else { return None };
            let (sha, intent) = resume(env, state).or_else(|| keep_up(env, state, heals))?;
            (!condemned(&sha)).then_some((target, &**state, sha, intent))
        })
        .collect();
    // What is on probation has a lease, and cannot wait.
    let first = needs.iter().find(|(.., intent)| matches!(intent, Intent::Resume { .. })).or(needs.first())?;
    let sha = first.2.clone();
    // Nothing is written into the state repository: it asks for something else already, or must not be changed.
    let aimed = Environment { release: ReleaseRef::Sha(sha.clone()), revert_commit: false, ..env.clone() };
    let hosts: Vec<Host<'_>> = needs
        .into_iter()
        .filter(|(_, _, of, _)| *of == sha)
        .map(|(target, state, _, intent)| Host { target, state, intent })
        .collect();
    let done = |state: &HostState| {
        let done = state.record.migrations.iter().filter(|(_, migration)| **migration == Migration::Done);
        done.map(|(key, _)| key.clone()).collect::<Vec<_>>()
    };
    let migrated: BTreeSet<String> = hosts.iter().flat_map(|host| done(host.state)).collect();
    let steps = forward(&aimed, &sha, &hosts, &migrated.iter().map(String::as_str).collect());
    let mut plan = blocked.clone();
    plan.blockers.retain(|blocker| !blocker.blocks());
    for view in &mut plan.hosts {
        let host = hosts.iter().find(|host| host.target.name == view.name);
        view.reason = host.map_or_else(|| "left as it is".to_owned(), |host| host.intent.why().to_owned());
    }
    // Who takes part speaks for the run.
    plan.hosts.sort_by_key(|view| !hosts.iter().any(|host| host.target.name == view.name));
    plan.steps = steps;
    plan.desired = Some(sha.clone());
    plan.release = sha.to_string();
    plan.verdict = super::Verdict::Go;
    Some((aimed, plan))
}

/// A probation that was armed under this configuration is judged under it.
fn resume(env: &Environment, state: &HostState) -> Option<(Sha, Intent)> {
    let probation = state.record.probation.as_ref()?;
    let release = state.current.release().filter(|live| **live == probation.release)?;
    let sealed = state.record.releases.get(release).is_some_and(|known| known.sealed);
    if !sealed || probation.key.config != env.config_digest() || is_failed(env, state, release) || idles(state) {
        return None;
    }
    let why = format!("{release} is on probation, and its verdict is still to come");
    Some((probation.sha.clone(), Intent::Resume { release: release.clone(), why }))
}

/// The confirmed release runs as it should again. `heals`: what of it is gone is brought up, where the environment heals.
fn keep_up(env: &Environment, state: &HostState, heals: bool) -> Option<(Sha, Intent)> {
    let confirmed = state.record.confirmed.as_ref().filter(|_| state.record.probation.is_none())?;
    let release = state.current.release().filter(|live| **live == confirmed.release)?;
    // A release that lost its seal could not be confirmed after it.
    let sealed = state.record.releases.get(release).is_none_or(|known| known.sealed);
    if !sealed || idles(state) {
        return None;
    }
    let gone = if heals { gone(env, state, release) } else { None };
    Some((confirmed.sha.clone()?, gone.or_else(|| ailing(env, state, release))?))
}

/// Stopped by a person, or closed for maintenance.
fn idles(state: &HostState) -> bool {
    state.record.stopped.is_some() || (state.record.closed.is_some() && state.record.probation.is_none())
}
