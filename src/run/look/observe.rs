//! Looking at hosts, bundles and words: everything that a plan is made from. Changes nothing, runs no configured command.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;

use crate::host::wire::{HostError, Observe, Op, Reply};
use crate::model::desired::{DriftPolicy, Environment, From, Match, ReleaseRef, Target};
use crate::model::ids::{EnvName, HostName, Sha};
use crate::model::machine::Machine;
use crate::model::observed::{
    ArtifactFacts, CheckResult, EnvObserved, Fact, HostObserved, HostState, Observed, Resolved,
};
use crate::plan;
use crate::plan::intent::{Intent, intent};
use crate::run::accepted::{AcceptedSnapshot, must_follow_hosts};
use crate::run::controller::{Controller, ControllerError, now};
use crate::run::look::believe::{Unseen, disbelieve, enter, recognised};
use crate::run::look::build::Build;
use crate::run::look::grounds::Grounds;
use crate::run::look::hear::listen;
use crate::run::look::others::hear;
use crate::run::look::reach::ask;
use crate::run::look::rerendered;
use crate::run::look::sample::attempt;
use crate::run::rendered;
use crate::run::width::Width;
use crate::state_repo::AppRepo;

/// So many environments are looked at at once, those aside that wait for a host.
const WIDTH: usize = 32;

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Ask the passive checks once.
    pub health: bool,
    pub drift: Scan,
}

/// How the contents of live releases are compared with what was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// The last report will do.
    Last,
    /// Every byte is read anew where the last full scan is older than the environment's `drift_every`.
    WhenDue,
    /// The same, and where it is not due every file is looked at now, and read where it looks otherwise: for whoever asks
    /// what is, and not what was.
    Now,
    /// Every byte is read now.
    Bytes,
}

/// What the hosts of an environment were like when a run gave them back.
pub type Left = BTreeMap<HostName, HostState>;

/// Observes these environments and those that they are promoted from.
pub async fn observe(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    names: &[EnvName],
    look: Look,
) -> Observed {
    observe_after(controller, snapshot, names, look, None).await
}

/// The same, where the hosts of one environment were seen a moment ago.
pub(in crate::run) async fn observe_after(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    names: &[EnvName],
    look: Look,
    left: Option<(&EnvName, &Left)>,
) -> Observed {
    let environments = &snapshot.desired.environments;
    let mut wanted: Vec<&Environment> = Vec::new();
    for env in names.iter().filter_map(|name| environments.get(name)) {
        let sources = plan::policy::sources(env).filter_map(|name| environments.get(name));
        for env in std::iter::once(env).chain(sources) {
            if !wanted.iter().any(|have| have.name == env.name) {
                wanted.push(env);
            }
        }
    }
    let trees = trees(snapshot, names);
    let look_at = |env: &Environment, look: Look| {
        let (controller, snapshot, env) = (controller.clone(), snapshot.clone(), env.clone());
        let trees = trees.contains(&&env.name);
        let left = left.filter(|(name, _)| **name == env.name).map(|(_, left)| left.clone()).unwrap_or_default();
        async move {
            let seen = environment(&controller, &snapshot, &env, look, trees, left).await;
            (env.name, seen)
        }
    };
    let futures: Vec<_> = wanted.iter().map(|env| look_at(env, look)).collect();
    let seen = Width::new(WIDTH).all(futures).await;
    let mut observed = Observed { environments: seen.into_iter().collect() };
    // Whoever may be at one of these places by other names is looked at, too.
    let looked: Vec<_> = wanted.iter().filter_map(|env| Some((*env, observed.environments.get(&env.name)?))).collect();
    let suspects = controller.suspects(snapshot, &looked).await;
    let suspects = suspects.iter().filter(|name| !observed.environments.contains_key(*name));
    let only = Look { health: false, drift: Scan::Last };
    let futures: Vec<_> = suspects.filter_map(|name| Some(look_at(environments.get(name)?, only))).collect();
    for (name, seen) in Width::new(WIDTH).all(futures).await {
        controller.seats.note(&name, &seen);
        observed.environments.insert(name, seen);
    }
    if controller.settings.host.is_some() {
        hear(controller, snapshot, names, &mut observed).await;
    }
    listen(controller, snapshot, names, &mut observed).await;
    observed
}

/// The environments of which others want to know the trees that they run.
pub(super) fn trees<'a>(snapshot: &'a AcceptedSnapshot, names: &[EnvName]) -> Vec<&'a EnvName> {
    let promotes = names.iter().filter_map(|name| snapshot.desired.environments.get(name)?.promote.as_ref());
    promotes.filter(|promote| promote.by == Match::Tree).map(|promote| &promote.from).collect()
}

async fn environment(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
    look: Look,
    trees: bool,
    left: Left,
) -> EnvObserved {
    let resolved = resolve(controller, Grounds::Accepted(snapshot), env).await;
    let mut seen = EnvObserved { resolved, ..EnvObserved::default() };
    // All hosts are looked at side by side, so that one that does not answer holds up no other.
    let left = &left;
    let known = &controller.machines(env.targets.iter().map(|target| target.name.clone()).collect()).await;
    let looks = env.targets.iter().map(|target| async move {
        let host = match (known, left.get(&target.name)) {
            // Where it cannot be read which machine a host is, nothing that answers is taken for it.
            (Err(error), _) => Err(Unseen::Unknown(error.to_string())),
            (Ok(known), Some(state)) => recognised(known.get(&target.name), state.clone()),
            (Ok(known), None) => host(controller, snapshot, env, target, look, known.get(&target.name)).await,
        };
        let seen = match host {
            Ok(mut state) if look.health => {
                let (there, here) = passive(controller, snapshot, env, target, &state).await;
                state.health = there;
                (Ok(state), here)
            }
            host => (host, Vec::new()),
        };
        (&target.name, seen)
    });
    let mut met = BTreeMap::new();
    for (name, (host, own)) in join_all(looks).await {
        seen.health.extend(own);
        let is_new = known.as_ref().is_ok_and(|known| !known.contains_key(name));
        let id = host.as_ref().ok().and_then(|state| state.machine).filter(|_| is_new);
        met.extend(id.map(|id| (name.clone(), id)));
        enter(&mut seen, name, host);
    }
    if let Resolved::Sha(sha) = seen.resolved.clone()
        && !env.files.is_empty()
    {
        let noted = seen.hosts.iter_mut().map(|(name, host)| note(controller, snapshot, env, &sha, name, host));
        join_all(noted).await;
    }
    controller.note_machines(met).await;
    disbelieve(&mut seen);
    about(controller, Grounds::Accepted(snapshot), env, &mut seen, trees).await;
    seen
}

/// What is to be rendered for a host, and how that differs from what is there.
async fn note(
    controller: &Controller,
    word: &AcceptedSnapshot,
    env: &Environment,
    sha: &Sha,
    name: &HostName,
    host: &mut HostObserved,
) {
    let Some(target) = env.targets.iter().find(|target| target.name == *name) else { return };
    let HostObserved::Reached(state) = host else { return };
    rendered::note(word, env, target, sha, state);
    state.rerendered = rerendered::compare(controller, word, env, target, sha, state).await;
}

/// What is to be known of the desired commit beside the hosts: its bundle, its tree, and the trees of what runs.
pub(super) async fn about(
    controller: &Arc<Controller>,
    grounds: Grounds<'_>,
    env: &Environment,
    seen: &mut EnvObserved,
    trees: bool,
) {
    let Resolved::Sha(sha) = &seen.resolved else { return };
    let sha = sha.clone();
    let states = || seen.hosts.values().filter_map(reached);
    let deploys = states().any(|state| matches!(intent(env, &sha, state), Intent::Deploy { .. }));
    let by = env.promote.as_ref().map(|p| p.by);
    if deploys || by == Some(Match::Bundle) {
        seen.artifact = Some(artifact(controller, grounds, env, &sha).await);
    }
    if by == Some(Match::Tree) {
        seen.tree = tree(controller, grounds, env, &sha).await;
    }
    if trees {
        live_trees(controller, grounds, env, seen).await;
    }
}

/// The trees of what the hosts have confirmed.
pub(super) async fn live_trees(
    controller: &Arc<Controller>,
    grounds: Grounds<'_>,
    env: &Environment,
    seen: &mut EnvObserved,
) {
    let states = seen.hosts.values().filter_map(reached);
    let live: BTreeSet<Sha> = states.filter_map(|state| state.record.confirmed.as_ref()?.sha.clone()).collect();
    for sha in live {
        if let Some(tree) = tree(controller, grounds, env, &sha).await {
            seen.live_trees.insert(sha, tree);
        }
    }
}

fn reached(host: &HostObserved) -> Option<&HostState> {
    match host {
        HostObserved::Reached(state) => Some(state),
        HostObserved::Unreachable(_) => None,
    }
}

/// Asks the hosts of an environment which commit they acted on last: this one must follow it (law 10), whatever is about to
/// be done there. Of a host that does not answer nothing is known, and nothing is done there either.
///
/// # Errors
/// Those of [`must_follow_hosts`].
pub async fn must_lead_on(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    name: &EnvName,
) -> Result<(), ControllerError> {
    let look = Look { health: false, drift: Scan::Last };
    let observed = observe(controller, snapshot, std::slice::from_ref(name), look).await;
    must_follow_hosts(controller, snapshot, &observed, name)
}

/// What an observation of this environment's root looks at.
pub fn question(env: &Environment, scan: Scan) -> Observe {
    let scan_older_than = match scan {
        Scan::Last => None,
        Scan::WhenDue | Scan::Now => Some(env.drift_every.as_secs()),
        Scan::Bytes => Some(0),
    };
    // What is rendered is no matter of the host: whether it is as desired is seen from the links of the release.
    let env_file = env.env_file().filter(|file| env.rendered(&file.from).is_none()).map(|file| file.from.clone());
    let is_rendered = env.env_file().is_some() && env_file.is_none();
    Observe {
        shared: env.kept(),
        env_file,
        required_env: if is_rendered { Vec::new() } else { env.required_env.clone() },
        scan_older_than,
        stamps: scan == Scan::Now,
    }
}

async fn host(
    controller: &Controller,
    word: &AcceptedSnapshot,
    env: &Environment,
    target: &Target,
    look: Look,
    known: Option<&Machine>,
) -> Result<HostState, Unseen> {
    let observe = async |scan| match ask(controller, word, target, Op::Observe(question(env, scan))).await? {
        Reply::State(state) => Ok(*state),
        other => Err(HostError::Io(format!("{} answered an observation with {other:?}", target.name))),
    };
    // A host that hangs is found out by what must be quick, and not by a scan, which may take its time.
    let state = recognised(known, observe(Scan::Last).await?)?;
    if is_scan_due(env, &state, look.drift) { recognised(known, observe(look.drift).await?) } else { Ok(state) }
}

fn is_scan_due(env: &Environment, state: &HostState, scan: Scan) -> bool {
    let Some(live) = state.current.release() else { return false };
    let sealed = state.record.releases.get(live).is_some_and(|release| release.sealed);
    let fresh = || {
        state.drift.as_ref().filter(|report| report.release == *live).is_some_and(|report| {
            let age = now().duration_since(report.at);
            !age.is_negative() && age.unsigned_abs() < env.drift_every
        })
    };
    match scan {
        Scan::Last => false,
        Scan::WhenDue => sealed && !fresh(),
        Scan::Now => sealed && env.drift != DriftPolicy::Ignore,
        Scan::Bytes => sealed,
    }
}

/// One attempt of each passive check: those of the host, those of the controller.
async fn passive(
    controller: &Controller,
    word: &AcceptedSnapshot,
    env: &Environment,
    target: &Target,
    state: &HostState,
) -> (Vec<CheckResult>, Vec<CheckResult>) {
    if state.current.release().is_none() {
        return (Vec::new(), Vec::new());
    }
    let (mut host, mut own) = (Vec::new(), Vec::new());
    for check in env.health.checks.iter().filter(|c| c.is_passive()) {
        let attempt = attempt(controller, word, env, target, state, check).await;
        let result = CheckResult { check: check.name.clone(), verdict: attempt.verdict, attempts: vec![attempt] };
        if check.from == From::Host { host.push(result) } else { own.push(result) }
    }
    (host, own)
}

/// What `release = "…"` means at this commit: a tag is peeled once and then stays what it was (B6).
pub(super) async fn resolve(controller: &Arc<Controller>, grounds: Grounds<'_>, env: &Environment) -> Resolved {
    let tag = match &env.release {
        ReleaseRef::Sha(sha) => return Resolved::Sha(sha.clone()),
        ReleaseRef::Tag(tag) => tag.clone(),
        ReleaseRef::Directory(name) => return Resolved::Sha(Sha::unknown_of(name)),
        ReleaseRef::Awaited => return Resolved::NotAsked,
    };
    let Some(repository) = env.repository.clone() else {
        return Resolved::Unknown(format!("app `{}` names no `repository` to look for the tag in", env.app));
    };
    if let Err(why) = grounds.may_ask_repository(&repository) {
        return Resolved::Unknown(why);
    }
    let (commit, keep) = (grounds.snapshot().commit.to_string(), grounds.is_accepted());
    let controller = controller.clone();
    let found = tokio::task::spawn_blocking(move || {
        if let Some(sha) = controller.store.resolution(&commit, &repository, &tag)? {
            return Ok(sha);
        }
        let sha = AppRepo::new(&repository, controller.settings.git.clone())?.resolve_tag(&tag)?;
        // A failed write costs one more look-up at the next pass.
        if keep && let Err(error) = controller.store.set_resolution(&commit, &repository, &tag, &sha) {
            tracing::warn!(%error, "the resolution of a tag could not be kept");
        }
        Ok::<_, ControllerError>(sha)
    });
    match found.await {
        Ok(Ok(sha)) => Resolved::Sha(sha),
        Ok(Err(error)) => Resolved::Unknown(error.to_string()),
        Err(error) => Resolved::Unknown(error.to_string()),
    }
}

async fn artifact(controller: &Controller, grounds: Grounds<'_>, env: &Environment, sha: &Sha) -> ArtifactFacts {
    let build = Build::of(env, sha, grounds.snapshot().base.as_deref());
    let why = match build.and_then(|build| grounds.may_ask(env, &build).map(|()| build)) {
        Ok(build) => return build.inspect(controller, grounds, env, sha).await,
        Err(why) => why,
    };
    ArtifactFacts { sha256: Fact::Unknown(why.clone()), checks: Fact::Unknown(why) }
}

pub(super) async fn tree(
    controller: &Arc<Controller>,
    grounds: Grounds<'_>,
    env: &Environment,
    sha: &Sha,
) -> Option<String> {
    let (controller, repository, sha) = (controller.clone(), env.repository.clone()?, sha.clone());
    grounds.may_ask_repository(&repository).ok()?;
    let found = tokio::task::spawn_blocking(move || {
        let caches = controller.settings.state_dir.join("cache");
        AppRepo::new(&repository, controller.settings.git.clone())?.tree_of(&sha, &caches)
    });
    match found.await.ok()? {
        Ok(tree) => tree,
        Err(error) => {
            tracing::warn!(%error, "the tree of a commit could not be seen");
            None
        }
    }
}
