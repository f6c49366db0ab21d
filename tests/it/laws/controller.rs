//! One pass of a controller: observe, plan, acquire, observe and plan again, run. The shape of the real pass.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use soll::host::wire::{HostError, Observe, Op, Reply};
use soll::journal::RunResult;
use soll::journal::event::Started;
use soll::model::desired::{Desired, Environment, OnFailure, Target};
use soll::model::ids::{Epoch, HostName, ReleaseName};
use soll::model::observed::{ArtifactFacts, EnvObserved, Fact, HostObserved, HostState, Observed, Resolved};
use soll::plan::intent::sha_of;
use soll::plan::{Action, Code, Context, EnvPlan, Step, Sync, plan_environment};
use soll::run::step::dispatch::Dispatcher;
use soll::run::step::task::Task;
use soll::run::step::world::World;

use super::sim::{Mutation, Shared, Sim};
use super::world::{SimWorld, build_digest};

/// What a pass came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    InSync,
    Blocked(Vec<Code>),
    /// A host could not be had: not reached, or someone else holds it.
    NotAcquired,
    Ran(RunResult),
    /// The journal could not be written.
    Broke,
    Killed,
}

/// A fresh controller makes one pass, or dies in it.
pub async fn pass(sim: &Shared) -> Outcome {
    let (id, killed, env) = {
        let mut sim = sim.lock().unwrap();
        let env = sim.env.clone();
        sim.controllers.push(super::sim::Controller { env: Some(env.clone()), ..Default::default() });
        let id = sim.controllers.len() - 1;
        sim.say(|| format!("controller {id} starts, {} is desired", env.release.as_str()));
        (id, sim.controllers[id].killed.clone(), env)
    };
    let world = Arc::new(SimWorld { sim: sim.clone(), id });
    let outcome = tokio::select! {
        biased;
        () = killed.notified() => Outcome::Killed,
        outcome = reconcile(&world, &env) => outcome,
    };
    let mut sim = sim.lock().unwrap();
    sim.say(|| format!("controller {id} is done: {outcome:?}"));
    // A root whose release was lost on the way is given back by the end of the stream.
    sim.hang_up(id);
    outcome
}

async fn reconcile(world: &Arc<SimWorld>, env: &Environment) -> Outcome {
    let mut seen = EnvObserved { resolved: Resolved::Sha(sha_desired(env)), ..EnvObserved::default() };
    for target in &env.targets {
        let what = Op::Observe(Observe::default());
        let host = match world.call(target, what).await {
            Ok(Reply::State(state)) => HostObserved::Reached(state),
            Ok(_) => unreachable!(),
            Err(error) => HostObserved::Unreachable(error.to_string()),
        };
        seen.hosts.insert(target.name.clone(), host);
    }
    let plan = plan(&world.lock(), env, &mut seen);
    let done = settled(&plan);
    // A probation that nobody watches any more is ended by whoever takes the root next, blocked or not (law 6).
    let over = |host: &HostObserved| matches!(host, HostObserved::Reached(state) if state.lease_over);
    // So is a door that a run closed and nobody is left to open, unless the plan is about to.
    let shut = |host: &HostObserved| {
        matches!(host, HostObserved::Reached(state)
        if state.record.closed.is_some() && state.record.probation.is_none() && state.holder.is_none())
    };
    let idle = done.is_some() && !seen.hosts.values().any(over);
    let opens = idle && seen.hosts.values().any(shut);
    if let Some(outcome) = done
        && idle
        && !opens
    {
        return outcome;
    }
    let reached: Vec<_> = env.targets.iter().filter(|t| state(&seen, &t.name).is_some()).cloned().collect();
    let epoch = reached.iter().filter_map(|t| state(&seen, &t.name)).map(|s| s.record.epoch).max().unwrap_or_default();
    let epoch = epoch.next().unwrap();
    let mut held = Vec::new();
    for target in &reached {
        let acquire = Op::Acquire {
            epoch,
            who: format!("controller {}", world.id),
            lease: env.deadline,
            accept: Some("c0ffee".to_owned()),
            machine: None,
            tenant: None,
            look: Observe::default(),
        };
        match world.call(target, acquire).await {
            Ok(Reply::Acquired(state)) => {
                seen.hosts.insert(target.name.clone(), HostObserved::Reached(state));
                held.push(target.clone());
            }
            Ok(_) => unreachable!(),
            Err(error) => {
                let lost = matches!(error, HostError::Connection(_));
                release(world, epoch, if lost { &reached } else { &held }).await;
                return Outcome::NotAcquired;
            }
        }
    }
    let plan = {
        let mut sim = world.lock();
        sim.controllers[world.id].acts_for = Some((epoch, sha_desired(env)));
        self::plan(&sim, env, &mut seen)
    };
    let outcome = match settled(&plan) {
        Some(outcome) if opens => {
            for target in &held {
                // One that is lost is opened by the next pass.
                let _ = world.call(target, Op::Reopen { epoch }).await;
            }
            outcome
        }
        Some(outcome) => outcome,
        None => run(world, env, epoch, plan, &seen).await,
    };
    world.lock().controllers[world.id].acts_for = None;
    release(world, epoch, &held).await;
    outcome
}

fn sha_desired(env: &Environment) -> soll::model::ids::Sha {
    env.release.as_str().parse().unwrap()
}

async fn release(world: &Arc<SimWorld>, epoch: Epoch, targets: &[Target]) {
    for target in targets {
        // Whoever does not hear it finds out by silence.
        let _ = world.call(target, Op::Release { epoch, look: None }).await;
    }
}

fn state<'a>(seen: &'a EnvObserved, host: &HostName) -> Option<&'a HostState> {
    match seen.hosts.get(host)? {
        HostObserved::Reached(state) => Some(state),
        HostObserved::Unreachable(_) => None,
    }
}

/// `None`: there is something to do, and nothing against it.
fn settled(plan: &EnvPlan) -> Option<Outcome> {
    let codes: Vec<_> = plan.blocking().map(|b| b.code).collect();
    if !codes.is_empty() {
        return Some(Outcome::Blocked(codes));
    }
    (!plan.has_changes()).then_some(match plan.sync {
        Sync::InSync => Outcome::InSync,
        Sync::OutOfSync | Sync::Unknown => Outcome::Blocked(Vec::new()),
    })
}

/// The plan as it would be shown now.
pub fn plan(sim: &Sim, env: &Environment, seen: &mut EnvObserved) -> EnvPlan {
    let sha = sha_desired(env);
    let known = sim.commits.is_multiple_of(2);
    seen.artifact =
        known.then(|| ArtifactFacts { sha256: Fact::Known(build_digest(env, &sha)), checks: Fact::NotAsked });
    let mut observed = Observed::default();
    observed.environments.insert(env.name.clone(), seen.clone());
    let context = Context { commit: "c0ffee", now: sim.now(), secrets: None };
    plan_environment(&Desired::default(), &observed, env, &context)
}

async fn run(world: &Arc<SimWorld>, env: &Environment, epoch: Epoch, plan: EnvPlan, seen: &EnvObserved) -> Outcome {
    let states: BTreeMap<_, _> =
        env.targets.iter().filter_map(|t| Some((t.name.clone(), state(seen, &t.name)?.clone()))).collect();
    let live: Vec<_> = states.values().map(|s| s.current.release().cloned()).collect();
    let from = live.first().cloned().flatten().filter(|first| live.iter().all(|l| l.as_ref() == Some(first)));
    let from_sha = from.as_ref().and_then(|from| sha_of(&states.values().next()?.record, from));
    let sha = sha_desired(env);
    let at = world.now();
    // Two runs in one second must not want the same directory.
    let taken =
        |name: &ReleaseName| states.values().any(|s| s.releases.contains(name) || s.record.releases.contains_key(name));
    let release = (0..).map(|n| ReleaseName::new(at + jiff::SignedDuration::from_secs(n), &sha));
    let release = release.into_iter().find(|name| !taken(name)).unwrap();
    let mut steps = plan.steps;
    if world.lock().has(Mutation::ConfirmWithoutHealth) {
        let hard = |s: &Step| matches!(s.action, Action::Health { .. }) && s.on_failure != OnFailure::Warn;
        while let Some(at) = steps.iter().position(hard) {
            let gone = steps.remove(at);
            for step in steps.iter_mut().filter(|s| s.after.contains(&gone.id)) {
                step.after.retain(|id| *id != gone.id);
                step.after.extend(gone.after.iter().cloned());
            }
        }
    }
    let started = Started {
        run: format!("r{}", world.id).parse().unwrap(),
        environment: env.name.clone(),
        at,
        commit: "c0ffee".to_owned(),
        actor: "ci".to_owned(),
        from,
        from_sha,
        to: sha,
        release,
        committed_at: None,
        reason: String::new(),
        steps,
    };
    let task = Task { started, env: env.clone(), epoch, states, planned: None, artifact: OnceLock::new() };
    match Dispatcher::new(world.clone(), task).run().await {
        Ok((result, reason)) => {
            world.lock().say(|| format!("controller {}: {} ({reason})", world.id, result.as_str()));
            Outcome::Ran(result)
        }
        Err(_) => Outcome::Broke,
    }
}
