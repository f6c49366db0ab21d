//! From desired and observed to the plan: a fold over environments, each planned alone except for the look at the
//! environment that it is promoted from.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::backup;
use super::binding::reviewed;
use super::fingerprint::fingerprint;
use super::forward::{Host, forward};
use super::heal;
use super::intent::{Intent, intent, present_files};
use super::policy::{Case, Secrets, aside, blockers, left_behind};
use super::services;
use super::{Blocker, Code, EnvPlan, Health, HostView, Plan, PlanVerdict, SCHEMA, Sync, Verdict};
use crate::model::desired::bounds::Unmet;
use crate::model::desired::{Desired, DriftPolicy, Environment, Grade, Unreachable};
use crate::model::ids::{Digest, EnvName, HostName, ReleaseName};
use crate::model::machine::{self, OtherMachine};
use crate::model::observed::{self, Drift, EnvObserved, HostObserved, HostState, Observed, Resolved};
use crate::model::record::Migration;
use crate::model::shown::{are, counted};
use crate::model::tenancy::{Shared, shared};

/// What a plan depends on beside desired and observed.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    pub commit: &'a str,
    pub now: Timestamp,
    /// The controller's secrets; `None`: not known here (a plan from a published observation).
    pub secrets: Option<&'a dyn Secrets>,
}

/// Plans the environments in `names`, in their order.
pub fn plan(desired: &Desired, observed: &Observed, names: &[EnvName], context: &Context<'_>) -> Plan {
    let environments: Vec<_> = names
        .iter()
        .filter_map(|name| desired.environments.get(name))
        .map(|env| plan_environment(desired, observed, env, context))
        .collect();
    let fingerprints: Vec<_> = environments.iter().map(|e| (&e.name, e.fingerprint)).collect();
    let blocked = environments.iter().any(|e| e.blocking().next().is_some());
    let verdict = match environments.iter().any(EnvPlan::has_changes) {
        _ if blocked => PlanVerdict::Blocked,
        true => PlanVerdict::Changes,
        false => PlanVerdict::None,
    };
    Plan {
        schema: SCHEMA,
        commit: context.commit.to_owned(),
        accepted: None,
        refused: None,
        observed: None,
        fingerprint: Digest::of_json(&fingerprints),
        verdict,
        environments,
    }
}

/// Plans one environment.
pub fn plan_environment(desired: &Desired, observed: &Observed, env: &Environment, context: &Context<'_>) -> EnvPlan {
    let nothing = EnvObserved::default();
    let seen = observed.environments.get(&env.name).unwrap_or(&nothing);
    let mut found = Vec::new();
    let sha = match &seen.resolved {
        Resolved::Sha(sha) => Some(sha.clone()),
        Resolved::Unknown(why) => {
            let message = format!("`release = \"{}\"` cannot be resolved: {why}", env.release.as_str());
            let fix = "name a tag that exists in the application's repository, or a full SHA".to_owned();
            found.push(Blocker { grade: Grade::P0, code: Code::Unresolved, message, fix });
            None
        }
        Resolved::NotAsked => None,
    };
    let aside = sha.as_ref().map(|sha| aside(env, sha, seen)).unwrap_or_default();
    let (mut hosts, mut views) = (Vec::new(), Vec::new());
    // Hosts whose contents are to be healed, later.
    let mut waits = BTreeSet::new();
    for target in &env.targets {
        match seen.hosts.get(&target.name) {
            Some(HostObserved::Reached(state)) => {
                let mut intent = sha.as_ref().map_or(Intent::Nothing, |sha| intent(env, sha, state));
                let calm = sha.as_ref().and_then(|sha| heal::waiting(env, sha, state, &intent, context.now));
                if let Some(calm) = calm {
                    intent = calm;
                    waits.insert(target.name.clone());
                }
                let why = match &sha {
                    Some(_) if aside.contains(&target.name) => "failed here, and is not tried again by itself",
                    Some(_) if waits.contains(&target.name) && intent == Intent::Nothing => {
                        "its contents did not stay healed, and are healed later"
                    }
                    Some(_) => intent.why(),
                    None => "nobody knows what is desired",
                };
                found.extend(shared(desired, observed, env, target, state).map(|shared| shared_root(target, &shared)));
                views.push(view(env, target, state, why, context.now));
                hosts.push(Host { target, state, intent });
            }
            other => {
                let (barred, unasked) = (env.bounds.barred.get(&target.name), seen.unasked.hosts.get(&target.name));
                let why = match (barred, unasked, other) {
                    (Some(unmet), _, _) => unmet.message.as_str(),
                    (None, Some(why), _) | (None, None, Some(HostObserved::Unreachable(why))) => why.as_str(),
                    _ => "it was not looked at",
                };
                match (barred, unasked, seen.other_machines.get(&target.name)) {
                    (Some(unmet), ..) => found.push(refused(Code::LocalRoot, unmet)),
                    (None, Some(_), _) => {}
                    (None, None, Some(other)) => found.push(other_machine(env, target, other)),
                    (None, None, None) => found.push(unreachable(env, target, why, seen.cures.get(&target.name))),
                }
                views.push(HostView {
                    name: target.name.clone(),
                    reachable: false,
                    unasked: unasked.is_some(),
                    current: None,
                    confirmed: None,
                    releases: Vec::new(),
                    drift: Vec::new(),
                    drift_more: 0,
                    drift_age_s: 0,
                    healed: None,
                    services: Vec::new(),
                    reason: why.to_owned(),
                });
            }
        }
    }
    let complete = hosts.len() == env.targets.len();
    let reached: Vec<_> = hosts.iter().map(|h| (h.target, h.state)).collect();
    let changing: Vec<Host<'_>> =
        hosts.into_iter().filter(|h| h.intent != Intent::Nothing && !aside.contains(&h.target.name)).collect();
    let sync = match (&sha, changing.is_empty() && aside.is_empty() && waits.is_empty()) {
        (None, _) => Sync::Unknown,
        (_, false) => Sync::OutOfSync,
        (_, true) if complete => Sync::InSync,
        (_, true) => Sync::Unknown,
    };
    let migrated: BTreeSet<&str> = states(seen)
        .chain(elsewhere(seen))
        .flat_map(|(_, state)| &state.record.migrations)
        .filter_map(|(key, migration)| (*migration == Migration::Done).then_some(key.as_str()))
        .collect();
    let steps = match &sha {
        Some(sha) if !changing.is_empty() => forward(env, sha, &changing, &migrated),
        _ => Vec::new(),
    };
    let reviewed = reviewed(desired, env, sha.as_ref(), seen, &changing, &steps);
    if let Some(sha) = sha.as_ref().filter(|_| !changing.is_empty()) {
        let source = env
            .promote
            .as_ref()
            .and_then(|promote| Some((desired.source(&promote.from)?, observed.environments.get(&promote.from)?)));
        let (now, secrets) = (context.now, context.secrets);
        let (hosts, reached) = (&*changing, &*reached);
        let case =
            Case { env, sha, hosts, reached, aside: &aside, observed: seen, source, reviewed: &reviewed, now, secrets };
        found.extend(blockers(&case));
    }
    if let Some(sha) = &sha {
        found.extend(left_behind(env, sha, seen, &reached, &aside, changing.is_empty()));
    }
    found.extend(heal::relapses(env, &reached, &waits, changing.is_empty(), context.now));
    found.extend(seen.astray.iter().map(|astray| {
        let (message, fix) = (astray.message.clone(), astray.fix.clone());
        Blocker { grade: Grade::P0, code: Code::Rewritten, message, fix }
    }));
    found.extend(not_accepted(env, seen));
    found.extend(notes(env, seen));
    // A word is bound to what shared files hold, which is not published.
    let bound = !(seen.veiled && changing.iter().any(|host| !present_files(host.state).is_empty()));
    found.sort_by_key(|b| (b.grade, b.code));
    EnvPlan {
        name: env.name.clone(),
        app: env.app.clone(),
        desired: sha,
        release: env.release.as_str().to_owned(),
        fingerprint: fingerprint(env, seen),
        binding: bound.then(|| reviewed.binding()),
        reviewed: bound.then_some(reviewed),
        sync,
        health: health(env, seen),
        verdict: verdict(&found),
        blockers: found,
        hosts: views,
        steps,
        backups: backup::views(env, observed.environments.get(&env.name), context.now),
    }
}

fn view(
    env: &Environment,
    target: &crate::model::desired::Target,
    state: &HostState,
    why: &str,
    now: Timestamp,
) -> HostView {
    let current = state.current.release();
    let drift =
        state.drift.as_ref().filter(|drift| env.drift != DriftPolicy::Ignore && Some(&drift.release) == current);
    HostView {
        name: target.name.clone(),
        reachable: true,
        unasked: false,
        current: HostView::current_text(&state.current),
        confirmed: state.record.confirmed.as_ref().map(|c| c.release.clone()),
        releases: state.releases.clone(),
        // Who wrote a file is told where it matters, and by whoever is at the host: a plan of what is published has the rest.
        drift: drift.map(|drift| drift.entries.iter().map(Drift::untold).collect()).unwrap_or_default(),
        drift_more: drift.map_or(0, |drift| drift.more),
        drift_age_s: drift.map_or(0, |drift| drift.age),
        services: state.services.clone(),
        healed: state.record.recent_heal(now).filter(|healed| Some(&healed.release) == current).cloned(),
        reason: why.to_owned(),
    }
}

/// How much it matters that a host is not there.
fn without(env: &Environment) -> Grade {
    if env.unreachable == Unreachable::Skip { Grade::P2 } else { Grade::P0 }
}

/// Two that deploy into one directory overwrite each other, whoever comes first.
fn shared_root(target: &crate::model::desired::Target, shared: &Shared) -> Blocker {
    let (name, root) = (&target.name, &target.root);
    let (message, fix) = match shared {
        Shared::With(other) => (
            format!("{root} on {name} is the directory of {other} as well: both names are one place on one machine"),
            match other.host == *name {
                true => "give each a `root` of its own, or take one of them out of the state file".to_owned(),
                false => {
                    format!("give each a `root` of its own, or take {name} or {} out of the state file", other.host)
                }
            },
        ),
        Shared::Perhaps(other) => (
            format!("{root} on {name} was taken last as {other}, whose host does not answer: are both one place?"),
            format!("make {} reachable, or take it out of {} in the state file", other.host, other.environment),
        ),
    };
    Blocker { grade: Grade::P0, code: Code::SharedRoot, message, fix }
}

/// Another machine is no host of this environment: one that stops nobody who goes on without unreachable ones (law 13).
fn other_machine(env: &Environment, target: &crate::model::desired::Target, other: &OtherMachine) -> Blocker {
    let message = format!("{}: {other}", target.name);
    Blocker { grade: without(env), code: Code::OtherMachine, message, fix: machine::cure(&target.name) }
}

/// One cause has one cure, wherever it shows: to go on without a host mends no unknown key.
fn unreachable(env: &Environment, target: &crate::model::desired::Target, why: &str, cure: Option<&String>) -> Blocker {
    let grade = without(env);
    let message = format!("{} cannot be reached: {why}", target.name);
    let fix = match (env.unreachable, cure) {
        (Unreachable::Skip, Some(cure)) => format!("{cure}; it is caught up then"),
        (Unreachable::Block, Some(cure)) => cure.clone(),
        (Unreachable::Skip, None) => "it is caught up when it returns".to_owned(),
        (Unreachable::Block, None) => format!("bring it back, or set `unreachable = \"skip\"` for {}", env.name),
    };
    Blocker { grade, code: Code::Unreachable, message, fix }
}

/// What nobody looked at on the word of a commit that is not accepted (law 11).
fn not_accepted(env: &Environment, seen: &EnvObserved) -> Vec<Blocker> {
    let unasked = &seen.unasked;
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for target in &env.targets {
        if let Some(why) = unasked.hosts.get(&target.name) {
            by_reason.entry(why).or_default().push(target.name.as_str());
        }
    }
    let mut found: Vec<Blocker> = by_reason
        .into_iter()
        .map(|(why, hosts)| {
            let message = format!("nobody looked at {}: this commit is not accepted, and {why}", listed(&hosts));
            let fix = "once it is accepted (merged, signed) the plan shows the rest; or plan from what a daemon publishes: soll plan --observation URL".to_owned();
            Blocker { grade: Grade::P1, code: Code::NotAccepted, message, fix }
        })
        .collect();
    for (what, verb, names) in [
        ("the health checks", "asked", &unasked.checks),
        ("these files and variables", "looked for", &unasked.files),
        ("the contents of the rendered files", "made", &unasked.rendered),
    ] {
        if !names.is_empty() {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let message = format!(
                "this commit is not accepted, and {what} that it adds or changes were not {verb}: {}",
                listed(&names)
            );
            let fix = "they are once it is accepted".to_owned();
            found.push(Blocker { grade: Grade::P2, code: Code::NotAccepted, message, fix });
        }
    }
    found
}

/// Names, the first of many.
fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 8;
    let first = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// What the settings demand and nothing here can be done without.
pub(super) fn refused(code: Code, unmet: &Unmet) -> Blocker {
    Blocker { grade: Grade::P0, code, message: unmet.message.clone(), fix: unmet.fix.clone() }
}

/// Facts that people should see and that block nothing.
fn notes(env: &Environment, seen: &EnvObserved) -> Vec<Blocker> {
    let remark = |remark: &observed::Remark| {
        let (message, fix) = (remark.message.clone(), remark.fix.clone());
        Blocker { grade: Grade::P2, code: Code::Note, message, fix }
    };
    let mut found: Vec<_> = seen.remarks.iter().map(remark).collect();
    if let Some(pull) = env.pull.as_ref().filter(|pull| !pull.others.is_empty()) {
        let others: Vec<_> = pull.others.iter().map(HostName::as_str).collect();
        let message = format!("left out, because each host looks after itself: {}", others.join(", "));
        let fix = "look at them there".to_owned();
        found.push(Blocker { grade: Grade::P2, code: Code::Note, message, fix });
    }
    for (name, host) in &seen.hosts {
        let HostObserved::Reached(state) = host else { continue };
        if let Some(returned) = &state.record.returned {
            let message = format!("{name} went back by itself at {}: {}", returned.at, returned.reason);
            let fix = "look at what happened to the controller then; the next success clears this".to_owned();
            found.push(Blocker { grade: Grade::P2, code: Code::Returned, message, fix });
        }
        if let Some(closed) = state.record.closed.as_ref().filter(|_| state.holder.is_none()) {
            let message = format!("{name} is closed for maintenance since {}, and no run is under way", closed.at);
            let by_hand = match closed.open.is_empty() {
                true => "what `closed` in ROOT/.soll/record.json says".to_owned(),
                false => closed.commands(),
            };
            let fix = format!("the host or the next pass opens it; by hand, on the host: {by_hand}");
            found.push(Blocker { grade: Grade::P2, code: Code::Closed, message, fix });
        }
        if let Some(first) = state.leftovers.first() {
            let more = state.leftovers.len() - 1;
            let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
            // A hint that is shown only has its command in the same line.
            let message = format!("{name}: {}{more}; {}", first.what(), first.cure());
            found.push(Blocker { grade: Grade::P2, code: Code::Leftovers, message, fix: first.cure() });
        }
        found.extend(strangers(env, name, state));
        found.extend(services::notes(env, name, state));
        let drift =
            state.drift.as_ref().filter(|d| !d.entries.is_empty() && Some(&d.release) == state.current.release());
        if let Some(report) = drift.filter(|_| env.drift == DriftPolicy::Report) {
            let (paths, are) = (counted(report.count(), "path", "paths"), are(report.count()));
            let message = format!("{paths} of {} on {name} {are} not as released", report.release);
            let fix = format!("see them: soll diff {}; put them right with `drift = \"heal\"`", env.name);
            found.push(Blocker { grade: Grade::P2, code: Code::Drift, message, fix });
        }
    }
    found
}

/// Directories in `releases/` that neither a record nor their name calls releases: they are never removed (A8).
fn strangers(env: &Environment, host: &HostName, state: &HostState) -> Option<Blocker> {
    let known = |name: &&ReleaseName| {
        state.record.releases.contains_key(*name) || name.is_dated() || state.current.release() == Some(*name)
    };
    let strangers: Vec<&str> = state.releases.iter().filter(|name| !known(name)).map(ReleaseName::as_str).collect();
    let first = strangers.first()?;
    let (names, more) = strangers.split_at(strangers.len().min(3));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    let message = format!("on {host} releases/ holds {}{more}, which soll did not make: they stay", names.join(", "));
    let fix = format!("an old release among them counts as one after: soll adopt {} --release {first}", env.name);
    Some(Blocker { grade: Grade::P2, code: Code::Strangers, message, fix })
}

fn verdict(found: &[Blocker]) -> Verdict {
    let mut blocking = found.iter().filter(|b| b.blocks()).peekable();
    if blocking.peek().is_none() {
        return Verdict::Go;
    }
    if blocking.all(|b| matches!(b.code, Code::Approval | Code::NotAccepted)) {
        Verdict::Pending
    } else {
        Verdict::NoGo
    }
}

/// Every host that was seen.
pub(super) fn states(seen: &EnvObserved) -> impl Iterator<Item = (&HostName, &HostState)> {
    reached(&seen.hosts)
}

/// What other hosts publish of themselves.
pub(super) fn elsewhere(seen: &EnvObserved) -> impl Iterator<Item = (&HostName, &HostState)> {
    reached(&seen.elsewhere)
}

fn reached(hosts: &BTreeMap<HostName, HostObserved>) -> impl Iterator<Item = (&HostName, &HostState)> {
    hosts.iter().filter_map(|(name, host)| match host {
        HostObserved::Reached(state) => Some((name, &**state)),
        HostObserved::Unreachable(_) => None,
    })
}

/// The worst host wins; what was not measured is what the last samples say.
pub fn health(env: &Environment, seen: &EnvObserved) -> Health {
    let mut worst = Health::Healthy;
    for target in &env.targets {
        let of_host = match seen.hosts.get(&target.name) {
            Some(HostObserved::Reached(state)) => host_health(env, state),
            _ => Health::Unknown,
        };
        worst = worst.max(of_host);
    }
    worst.max(results(&seen.health, env.health.checks.is_empty()).unwrap_or(Health::Healthy))
}

fn host_health(env: &Environment, state: &HostState) -> Health {
    if state.current.release().is_none() {
        return Health::Missing;
    }
    if state.record.probation.is_some() {
        return Health::Progressing;
    }
    if !services::ill(state).is_empty() {
        return Health::Degraded;
    }
    if let Some(measured) = results(&state.health, env.health.checks.is_empty()) {
        return measured;
    }
    if state.record.green.is_some() { Health::Healthy } else { Health::Unknown }
}

/// `None`: nothing was measured.
fn results(results: &[observed::CheckResult], no_checks: bool) -> Option<Health> {
    if no_checks {
        return Some(Health::Healthy);
    }
    let worst = results.iter().map(|r| r.verdict).max_by_key(|v| match v {
        observed::Verdict::Pass => 0,
        observed::Verdict::Inconclusive => 1,
        observed::Verdict::Fail => 2,
    })?;
    Some(match worst {
        observed::Verdict::Pass => Health::Healthy,
        observed::Verdict::Inconclusive => Health::Unknown,
        observed::Verdict::Fail => Health::Degraded,
    })
}
