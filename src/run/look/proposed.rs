//! A plan of a commit that is not accepted: a pull request, or a newest commit that is refused (law 11). Nothing is touched
//! on its word. Hosts are looked at as the accepted commit names them, with its checks and its secrets, or through what
//! others publish; what the commit adds or changes of that is unknown, and the plan says so.

use std::sync::Arc;

use crate::model::desired::{Check, Environment, File, Match, Target};
use crate::model::ids::EnvName;
use crate::model::observed::{CheckResult, EnvObserved, HostObserved, HostState, Observed, Verdict};
use crate::model::published::is_of;
use crate::plan::policy;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::{Controller, Snapshot};
use crate::run::look::grounds::Grounds;
use crate::run::look::hear::listen;
use crate::run::look::observe::{Look, about, observe, resolve};

/// Observes what the accepted commit knows of these environments of a proposal, and of those that they are promoted from.
pub async fn foresee(
    controller: &Arc<Controller>,
    proposal: &Snapshot,
    accepted: Option<&Arc<AcceptedSnapshot>>,
    names: &[EnvName],
    look: Look,
) -> Observed {
    let grounds = Grounds::Proposed { proposal, accepted: accepted.map(|accepted| &**accepted) };
    let wanted = with_sources(proposal, names);
    let mut seen = match accepted {
        Some(accepted) => {
            let known = |name: &&EnvName| accepted.desired.environments.contains_key(*name);
            let known: Vec<EnvName> = wanted.iter().copied().filter(known).cloned().collect();
            observe(controller, accepted, &known, look).await
        }
        None => Observed::default(),
    };
    let mut observed = Observed::default();
    for env in wanted.iter().filter_map(|name| proposal.desired.environments.get(*name)) {
        let known = accepted.and_then(|accepted| accepted.desired.environments.get(&env.name));
        let mut narrowed = narrow(env, accepted.is_some(), known, seen.environments.remove(&env.name));
        narrowed.resolved = resolve(controller, grounds, env).await;
        let trees = names.iter().filter_map(|name| proposal.desired.environments.get(name)?.promote.as_ref());
        let trees = trees.into_iter().any(|promote| promote.by == Match::Tree && promote.from == env.name);
        about(controller, grounds, env, &mut narrowed, trees).await;
        observed.environments.insert(env.name.clone(), narrowed);
    }
    listen(controller, proposal, names, &mut observed).await;
    observed
}

/// What somebody else saw of the hosts, completed with what this machine sees for itself without them: which commit is
/// desired here, which may be another one than there (a pull request), and its bundle. The words of people are bound to
/// what they were said about: those about something else do not count anyway.
pub async fn complete(controller: &Arc<Controller>, grounds: Grounds<'_>, mut observed: Observed) -> Observed {
    for (name, env) in &grounds.snapshot().desired.environments {
        if let Grounds::Proposed { accepted: Some(accepted), .. } = grounds {
            let known = accepted.desired.environments.get(name);
            let published = observed.environments.remove(name);
            // Whoever publishes an environment that is unknown here has looked at it on the word of a commit of its own.
            let seen = match (published, known) {
                (Some(published), None) => published,
                (published, known) => {
                    let said = published.as_ref().map(|seen| (seen.approvals.clone(), seen.remarks.clone()));
                    let mut seen = narrow(env, true, known, published);
                    (seen.approvals, seen.remarks) = said.unwrap_or_default();
                    seen
                }
            };
            observed.environments.insert(name.clone(), seen);
        }
        let Some(seen) = observed.environments.get_mut(name) else { continue };
        let resolved = resolve(controller, grounds, env).await;
        if seen.resolved != resolved {
            // What was seen of the other commit says nothing about this one.
            (seen.artifact, seen.tree) = (None, None);
            seen.resolved = resolved;
            let trees = std::mem::take(&mut seen.live_trees);
            about(controller, grounds, env, seen, false).await;
            seen.live_trees = trees;
        }
    }
    observed
}

fn with_sources<'a>(proposal: &'a Snapshot, names: &'a [EnvName]) -> Vec<&'a EnvName> {
    let mut wanted: Vec<&EnvName> = Vec::new();
    for env in names.iter().filter_map(|name| proposal.desired.environments.get(name)) {
        for name in std::iter::once(&env.name).chain(policy::sources(env)) {
            if !wanted.contains(&name) {
                wanted.push(name);
            }
        }
    }
    wanted
}

/// What was seen of an environment as the accepted commit has it (`known`), as far as it says something about the
/// environment of a proposal. Pure.
fn narrow(env: &Environment, is_accepted: bool, known: Option<&Environment>, seen: Option<EnvObserved>) -> EnvObserved {
    let mut seen = seen.unwrap_or_default();
    let mut narrowed = EnvObserved { veiled: seen.veiled, ..EnvObserved::default() };
    let mut hosts = std::mem::take(&mut seen.hosts);
    for target in &env.targets {
        match (differs(target, is_accepted, known), hosts.remove(&target.name)) {
            (Some(why), _) => drop(narrowed.unasked.hosts.insert(target.name.clone(), why)),
            (None, Some(host)) => {
                let other = seen.other_machines.remove(&target.name);
                narrowed.other_machines.extend(other.map(|other| (target.name.clone(), other)));
                narrowed.hosts.insert(target.name.clone(), host);
            }
            (None, None) => {}
        }
    }
    narrowed.elsewhere = seen.elsewhere;
    narrowed.live_trees = seen.live_trees;
    let Some(known) = known else { return narrowed };
    let same = |check: &Check| known.variables == env.variables && known.health.checks.contains(check);
    let (asked, unasked): (Vec<&Check>, Vec<&Check>) =
        env.health.checks.iter().filter(|check| check.is_passive()).partition(|check| same(check));
    let of_these = |results: &mut Vec<CheckResult>| {
        results.retain(|result| asked.iter().any(|check| is_of(&result.check, &check.name)));
    };
    of_these(&mut seen.health);
    narrowed.health = seen.health;
    let files = unasked_files(env, known);
    let is_rendered_alike = rendered_alike(env, known);
    if !is_rendered_alike {
        narrowed.unasked.rendered = env.files.iter().map(|file| file.path.clone()).collect();
    }
    for state in narrowed.hosts.values_mut().filter_map(reached) {
        of_these(&mut state.health);
        state.files.retain(|from, _| env.shared.iter().any(|shared| !shared.directory && shared.from == *from));
        state.missing_env.retain(|name| env.required_env.contains(name));
        if !is_rendered_alike {
            let is_env = env.env_file().is_some_and(|file| env.rendered(&file.from).is_some());
            (state.rendered, state.rerendered) = Default::default();
            state.missing_env.retain(|_| !is_env);
        }
    }
    // A check that nobody asked is no good health.
    let inconclusive = |check: &&Check| {
        let (check, verdict) = (check.name.clone(), Verdict::Inconclusive);
        CheckResult { check, verdict, attempts: Vec::new() }
    };
    narrowed.health.extend(unasked.iter().map(inconclusive));
    narrowed.unasked.checks = unasked.into_iter().map(|check| check.name.clone()).collect();
    narrowed.unasked.files = files;
    narrowed
}

/// Why a host is not looked at; nothing where the accepted commit has it just so.
fn differs(target: &Target, is_accepted: bool, known: Option<&Environment>) -> Option<String> {
    let Some(known) = known else {
        let why = match is_accepted {
            true => "the accepted commit has no such environment",
            false => "no commit of the branch is accepted here",
        };
        return Some(why.to_owned());
    };
    let Some(there) = known.targets.iter().find(|there| there.name == target.name) else {
        return Some("the accepted commit has no such host in this environment".to_owned());
    };
    let same = [
        ("address", there.address == target.address),
        ("user", there.user == target.user),
        ("port", there.port == target.port),
        ("root", there.root == target.root),
    ];
    let other: Vec<&str> = same.into_iter().filter(|(_, same)| !same).map(|(what, _)| what).collect();
    (!other.is_empty()).then(|| format!("the accepted commit has another {} for it", other.join(" and ")))
}

/// Whether the files of a proposal are rendered as those of the accepted commit were: nobody renders any on its word, because
/// what they are compared with would tell of secrets (law 11).
fn rendered_alike(env: &Environment, known: &Environment) -> bool {
    let names_commit = |file: &File| ["{sha}", "{sha8}"].iter().any(|name| file.text.contains(name));
    let same_commit = known.release == env.release || !env.files.iter().any(names_commit);
    known.files == env.files && known.variables == env.variables && known.sealed == env.sealed && same_commit
}

/// The shared files and required variables that the accepted commit does not name.
fn unasked_files(env: &Environment, known: &Environment) -> Vec<String> {
    let has = |from: &str| known.shared.iter().any(|shared| !shared.directory && shared.from == from);
    let kept = env.kept();
    let files = kept.iter().filter(|shared| !shared.directory && !has(&shared.from));
    let variables = env.required_env.iter().filter(|name| {
        !known.required_env.contains(name) || known.env_file().map(|f| &f.from) != env.env_file().map(|f| &f.from)
    });
    files.map(|shared| format!("shared/{}", shared.from)).chain(variables.cloned()).collect()
}

fn reached(host: &mut HostObserved) -> Option<&mut HostState> {
    match host {
        HostObserved::Reached(state) => Some(state),
        HostObserved::Unreachable(_) => None,
    }
}
