//! One pass over one environment: observe, plan, take the roots, look again, run. What is decided, the plan decides; a
//! pass only follows it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jiff::SignedDuration;

use crate::host::wire::HostError;
use crate::journal::RunResult;
use crate::journal::event::Started;
use crate::model::desired::{Environment, ReleaseRef};
use crate::model::ids::{EnvName, Epoch, HostName, ReleaseName, RunId};
use crate::model::observed::{EnvObserved, Fact, HostObserved, HostState, Observed};
use crate::plan::policy::approvers;
use crate::plan::tend::tend;
use crate::plan::{Code, Context, EnvPlan, plan_environment};
use crate::run::accepted::{AcceptedSnapshot, must_follow_hosts};
use crate::run::controller::{Controller, ControllerError, now};
use crate::run::look::observe::Left;
use crate::run::pass::hold::{next_epoch, release};
use crate::run::pass::outcome::Outcome;
use crate::run::pass::recover::condemned;
use crate::run::step::dispatch::Dispatcher;
use crate::run::step::site::{Listener, Site};
use crate::run::step::stop_request::StopRequest;
use crate::run::step::task::Task;
use crate::state_repo::NotAccepted;
use crate::store::{KEEP_NOTICES, KEEP_RESOLUTIONS, KEEP_RUNS};

/// Bundles that nobody used for so long are removed from the cache.
const KEEP_BUNDLES: Duration = Duration::from_secs(30 * 24 * 3600);
/// Of those that were used, so many bytes are kept.
const KEEP_BYTES: u64 = 20 << 30;

/// So often another run may take a root between our look and our lock before that is told.
const RACES: usize = 5;

/// How a pass is made.
#[derive(Clone)]
pub struct Pass {
    pub controller: Arc<Controller>,
    pub snapshot: Arc<AcceptedSnapshot>,
    pub wish: Arc<StopRequest>,
    pub listener: Option<Listener>,
    /// How long to wait for a root that someone else holds.
    pub patience: Duration,
    /// Only this plan is carried out: what is planned under the lock must have its fingerprint.
    pub only: Option<crate::model::ids::Digest>,
    /// Ask for health where nothing else is to be done.
    pub samples: bool,
    /// Ask for it, too, where nothing may be done: the loop looks after what runs, while a command that is refused leaves
    /// everything as it was.
    pub tends: bool,
}

impl Pass {
    /// Makes one pass. `left`: what the hosts were like a moment ago, when a run that succeeded gave them back: they are not
    /// looked at again, and their health was just judged.
    pub async fn environment(&self, name: &EnvName, left: &Left) -> Outcome {
        let mut attempt = self.attempt(name, left).await;
        for _ in 0..RACES {
            if !matches!(attempt, Err(PassError::Raced(..))) {
                break;
            }
            attempt = self.attempt(name, &Left::new()).await;
        }
        match attempt {
            Ok(outcome) => outcome,
            Err(PassError::Host(HostError::Locked { root, holder }, host)) => Outcome::Locked { root, host, holder },
            Err(PassError::Host(error, host) | PassError::Raced(error, host)) => {
                let unreachable = matches!(error, HostError::Connection(_));
                Outcome::Error { unreachable, message: format!("{host}: {error}") }
            }
            Err(PassError::Controller(ControllerError::NotAccepted(
                error @ (NotAccepted::Rewritten { .. } | NotAccepted::Unsigned { .. }),
            ))) => Outcome::Refused { message: error.to_string() },
            Err(PassError::Controller(error)) => Outcome::Error { unreachable: false, message: error.to_string() },
        }
    }

    async fn attempt(&self, name: &EnvName, left: &Left) -> Result<Outcome, PassError> {
        let env = crate::run::commit::known(&self.snapshot, name)?;
        let _ahead = self.read_ahead(env);
        let mut at = now();
        let mut observed = self.look(name, left).await;
        self.follows(&observed, name).await?;
        // A saved plan says all that is to be done: what it did not know makes it stale.
        if self.only.is_none() && self.relieve(env, &observed).await? {
            at = now();
            observed = self.look(name, &Left::new()).await;
        }
        let plan = self.plan(env, &observed);
        self.controller.board.looked(&self.snapshot, at, &plan, &observed);
        let (_, plan) = self.decide(env, &observed, plan);
        if self.only.is_some_and(|only| only != plan.fingerprint) {
            return Ok(Outcome::Stale(Box::new(plan)));
        }
        let blocked = plan.blocking().next().is_some();
        if blocked && self.verdict(&plan, &observed).is_none() {
            self.reopen(env, &observed).await?;
            self.pay(env, &plan, &observed).await;
            if self.tends {
                self.sampled(env, &observed).await;
            }
            return Ok(Outcome::Blocked(Box::new(plan)));
        }
        if !plan.has_changes() {
            self.reopen(env, &observed).await?;
            return self.settled(env, &observed, left).await;
        }
        let site = Arc::new(Site::new(
            self.controller.clone(),
            self.snapshot.clone(),
            self.wish.clone(),
            self.listener.clone(),
        ));
        self.controller.board.runs(name);
        let run = run_id();
        let epoch = next_epoch(&observed, name)?;
        let held = self.acquire(&site, env, &observed, (&run, epoch), true).await?;
        let mut outcome = self.shown(name, self.locked(&site, env, observed, held.clone(), run, epoch)).await;
        self.controller.board.runs(name);
        if matches!(outcome, Ok(Outcome::Ran { .. })) {
            self.tidy();
        }
        // After a run that left something on probation the agents are not released: the lease decides (law 6).
        let watched =
            matches!(&outcome, Err(_) | Ok(Outcome::Ran { result: RunResult::Error | RunResult::Unreachable, .. }));
        if !watched {
            // After a success somebody looks again at once, to say that nothing is left to do.
            let looks = matches!(&outcome, Ok(Outcome::Ran { result: RunResult::Succeeded, .. }));
            let seen = release(&site, env, &held, epoch, looks).await;
            if let Ok(Outcome::Ran { left, .. }) = &mut outcome {
                *left = seen;
            }
        }
        outcome
    }

    fn verdict(&self, plan: &EnvPlan, observed: &Observed) -> Option<String> {
        condemned(plan, observed.environments.get(&plan.name)?)
    }

    /// What is kept for convenience does not grow for ever: bundles as long as CI keeps them (A2), the events of old runs.
    fn tidy(&self) {
        let controller = self.controller.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = controller.artifacts.trim(KEEP_BUNDLES, KEEP_BYTES) {
                tracing::warn!(%error, "old bundles could not be removed");
            }
            if let Err(error) = controller.store.trim(KEEP_RUNS) {
                tracing::warn!(%error, "the events of old runs could not be removed");
            }
            if let Err(error) = controller.store.trim_notices(KEEP_NOTICES) {
                tracing::warn!(%error, "old notices could not be removed");
            }
            if let Err(error) = controller.store.trim_resolutions(KEEP_RESOLUTIONS) {
                tracing::warn!(%error, "old tags could not be forgotten");
            }
        });
    }

    /// Plans again with what was seen under the lock, runs.
    async fn locked(
        &self,
        site: &Arc<Site>,
        env: &Environment,
        mut observed: Observed,
        states: BTreeMap<HostName, HostState>,
        run: RunId,
        epoch: Epoch,
    ) -> Result<Outcome, PassError> {
        if let Some(seen) = observed.environments.get_mut(&env.name) {
            let held =
                states.iter().map(|(name, state)| (name.clone(), HostObserved::Reached(Box::new(state.clone()))));
            seen.hosts.extend(held);
        }
        let (aimed, mut plan) = self.decide(env, &observed, self.plan(env, &observed));
        let env = &*aimed;
        if self.only.is_some_and(|only| only != plan.fingerprint) {
            return Ok(Outcome::Stale(Box::new(plan)));
        }
        let blocked = plan.blocking().next().is_some();
        let verdict = self.verdict(&plan, &observed).filter(|_| blocked);
        if blocked && verdict.is_none() {
            return Ok(Outcome::Blocked(Box::new(plan)));
        }
        if !plan.has_changes() {
            return Ok(Outcome::Converged { healthy: None });
        }
        let started = self.started(env, &mut plan, observed.environments.get(&env.name), &states, &run)?;
        let artifact = observed.environments.get(&env.name).and_then(|seen| seen.artifact.as_ref());
        let planned = artifact.and_then(|artifact| match artifact.sha256 {
            Fact::Known(digest) => Some(digest),
            _ => None,
        });
        let task = Task { started, env: env.clone(), epoch, states, planned, artifact: std::sync::OnceLock::new() };
        let dispatcher = Dispatcher::new(site.clone(), task);
        let ended = match verdict {
            Some(verdict) => dispatcher.carry_out(verdict).await,
            None => dispatcher.run().await,
        };
        let (result, reason) = match ended {
            Ok(ended) => ended,
            Err(trouble) => {
                let reason = trouble.message.clone();
                self.controller.beside(move |controller| controller.store.broke_off(&run, now(), &reason)).await?;
                return Err(ControllerError::Other(trouble.message).into());
            }
        };
        let stale = result == RunResult::Error && self.was_stale(&run).await;
        Ok(Outcome::Ran { run, result, reason, stale, left: Left::new() })
    }

    fn started(
        &self,
        env: &Environment,
        plan: &mut EnvPlan,
        seen: Option<&EnvObserved>,
        states: &BTreeMap<HostName, HostState>,
        run: &RunId,
    ) -> Result<Started, PassError> {
        let Some(to) = plan.desired.clone() else {
            return Err(ControllerError::Other(format!("{} has no desired commit", env.name)).into());
        };
        let at = now();
        let first = states.values().find(|state| state.current.release().is_some());
        let from = first.and_then(|state| state.current.release().cloned());
        let from_sha = first.and_then(|state| {
            let confirmed = state.record.confirmed.as_ref().and_then(|c| c.sha.clone());
            confirmed.or_else(|| state.sha_of(state.current.release()?).cloned())
        });
        let why = plan.hosts.iter().map(|host| host.reason.as_str()).next();
        // An exception is recorded with its reason, and announced with the run (B6); so is a host that it goes without.
        let told = |code| matches!(code, Code::Emergency | Code::OtherMachine | Code::Unreachable | Code::Quarantined);
        let exceptions = plan.blockers.iter().filter(|b| told(b.code)).map(|b| b.message.as_str());
        let approvers = seen.zip(plan.reviewed.as_ref()).map(|(seen, reviewed)| approvers(seen, reviewed));
        let approved = approvers.filter(|all| !all.is_empty()).map(|all| format!("approved by {}", all.join(", ")));
        let reason: Vec<&str> = why.into_iter().chain(exceptions).chain(approved.as_deref()).collect();
        let reason = reason.join("; ");
        let steps = std::mem::take(&mut plan.steps);
        // What nobody knows the commit of is there already, and makes no directory.
        let release = match &env.release {
            ReleaseRef::Directory(name) if to.is_unknown() => name.clone(),
            _ => free_name(at, &to, states),
        };
        Ok(Started {
            run: run.clone(),
            environment: env.name.clone(),
            at,
            commit: self.snapshot.commit.to_string(),
            actor: self.snapshot.info.author_name.clone(),
            from,
            from_sha,
            release,
            to,
            committed_at: Some(self.snapshot.info.time),
            reason,
            steps,
        })
    }

    async fn was_stale(&self, run: &RunId) -> bool {
        let run = run.clone();
        let events = self.controller.beside(move |controller| controller.store.events(&run)).await;
        let Ok(Ok(events)) = events else { return false };
        let state = crate::journal::RunState::of(events.iter().map(|(_, event)| event));
        state.failure.is_some_and(|f| f.class == crate::journal::FailureClass::Stale)
    }

    /// The plan that is carried out, and the environment that it is about: where nothing may be changed, what runs is still
    /// tended.
    fn decide<'a>(&self, env: &'a Environment, observed: &Observed, plan: EnvPlan) -> (Cow<'a, Environment>, EnvPlan) {
        let waits = plan.blocking().next().is_some() && self.only.is_none() && self.verdict(&plan, observed).is_none();
        let seen = observed.environments.get(&env.name).filter(|_| waits);
        match seen.and_then(|seen| tend(env, seen, &plan)) {
            Some((aimed, plan)) => (Cow::Owned(aimed), plan),
            None => (Cow::Borrowed(env), plan),
        }
    }

    /// What the hosts last acted on must not be newer than this commit, or lost from its history (law 10).
    pub(super) async fn follows(&self, observed: &Observed, name: &EnvName) -> Result<(), ControllerError> {
        let (snapshot, name) = (self.snapshot.clone(), name.clone());
        let seen = observed.environments.get(&name).cloned().map(|seen| (name.clone(), seen));
        let observed = Observed { environments: seen.into_iter().collect() };
        self.controller.beside(move |controller| must_follow_hosts(controller, &snapshot, &observed, &name)).await?
    }

    pub(super) fn plan(&self, env: &Environment, observed: &Observed) -> EnvPlan {
        let commit = self.snapshot.commit.to_string();
        let secrets = self.snapshot.secrets().known();
        let context = Context { commit: &commit, now: now(), secrets: Some(&secrets) };
        plan_environment(&self.snapshot.desired, observed, env, &context)
    }

    async fn settled(&self, env: &Environment, observed: &Observed, left: &Left) -> Result<Outcome, PassError> {
        // A run confirms what its checks found well, and a confirmation is the first sample of a soak.
        if env.targets.iter().all(|target| left.contains_key(&target.name)) {
            return Ok(Outcome::Converged { healthy: Some(true) });
        }
        Ok(Outcome::Converged { healthy: self.sampled(env, observed).await })
    }
}

/// Why a pass came to no end of its own.
pub(in crate::run) enum PassError {
    Host(HostError, HostName),
    /// Another run took the root after we had looked.
    Raced(HostError, HostName),
    Controller(ControllerError),
}

impl From<ControllerError> for PassError {
    fn from(error: ControllerError) -> Self {
        PassError::Controller(error)
    }
}

/// A release name that no host has: two deployments within one second get seconds of their own.
fn free_name(at: jiff::Timestamp, sha: &crate::model::ids::Sha, states: &BTreeMap<HostName, HostState>) -> ReleaseName {
    // Looked up, for a host may name any number of them.
    let taken: std::collections::BTreeSet<_> =
        states.values().flat_map(|state| state.releases.iter().chain(state.record.releases.keys())).collect();
    let mut at = at;
    loop {
        let name = ReleaseName::new(at, sha);
        match at.checked_add(SignedDuration::from_secs(1)) {
            Ok(next) if taken.contains(&name) => at = next,
            _ => return name,
        }
    }
}

/// Sortable by start, unique beside other runs of this and other processes.
pub(in crate::run) fn run_id() -> RunId {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let at = now();
    let (millis, pid) = (at.subsec_millisecond(), std::process::id());
    let count = COUNT.fetch_add(1, Ordering::Relaxed) & 0xfff;
    let text = format!("{}_{millis:03}-{pid:x}{count:03x}", at.strftime("%Y%m%d_%H%M%S"));
    match text.parse() {
        Ok(id) => id,
        Err(_) => unreachable!("digits, letters, `_` and `-` are a name"),
    }
}
