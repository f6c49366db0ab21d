//! Reasons against a change, graded, each with its cure (B2-B4, B6, B8, D5). Pure; asked only where something would change.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::delivery;
use super::forward::{Host, migration_key};
use super::intent::{Intent, quarantine_key};
use super::planner::{elsewhere, refused};
use super::promotion;
use super::window::{WindowState, windows_state};
use super::{Blocker, Code};
use crate::model::approval::Reviewed;
use crate::model::desired::{Environment, Grade, Phase, Target};
use crate::model::ids::{EnvName, HostName, Sha};
use crate::model::observed::{Approval, EnvObserved, Fact, HostObserved, HostState, Misplaced};
use crate::model::record::{Migration, Quarantine};
use crate::model::rendered;
use crate::model::template::fill;

/// What a policy may look at.
pub struct Case<'a> {
    pub env: &'a Environment,
    pub sha: &'a Sha,
    /// The hosts that need something.
    pub hosts: &'a [Host<'a>],
    /// Every host that was seen: one in sync remembers verdicts and migrations too.
    pub reached: &'a [(&'a Target, &'a HostState)],
    /// Hosts that failed alone: the others go on without them.
    pub aside: &'a BTreeSet<HostName>,
    pub observed: &'a EnvObserved,
    /// The environment that this one is promoted from, where there is one.
    pub source: Option<(&'a Environment, &'a EnvObserved)>,
    /// What words are held against.
    pub reviewed: &'a Reviewed,
    pub now: Timestamp,
    /// The secrets that the controller has; `None`: it cannot say, and nobody asks.
    pub secrets: Option<&'a dyn Secrets>,
}

/// What a controller says about its secrets: never a value.
pub trait Secrets: std::fmt::Debug + Sync {
    /// Why a check of this environment may not send that secret to this address; `None`: it may.
    fn refused(&self, environment: &EnvName, name: &str, url: &str) -> Option<Refused>;
    /// Why a file that is rendered for this environment may not hold that secret; `None`: it may.
    fn withheld(&self, environment: &EnvName, name: &str) -> Option<Refused>;
    /// Why that secret may not log in to this registry for this environment; `None`: it may.
    fn kept_from(&self, environment: &EnvName, name: &str, registry: &str) -> Option<Refused>;
}

/// Why a secret cannot be had, as the end of a sentence about it, and the next move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub why: String,
    pub fix: String,
}

impl Refused {
    /// What stands where a check should have been made.
    pub fn instead(&self, name: &str) -> String {
        format!("it sends the secret {name}, {}: {}", self.why, self.fix)
    }
}

/// A controller whose secrets are for everything.
impl Secrets for BTreeSet<String> {
    fn refused(&self, _: &EnvName, name: &str, _: &str) -> Option<Refused> {
        (!self.contains(name)).then(|| Refused {
            why: "which this controller does not have".to_owned(),
            fix: format!(
                "set SOLL_SECRET_{}, or put it into the controller's secrets directory",
                name.replace('@', "__")
            ),
        })
    }

    fn withheld(&self, environment: &EnvName, name: &str) -> Option<Refused> {
        self.refused(environment, name, "")
    }

    fn kept_from(&self, environment: &EnvName, name: &str, registry: &str) -> Option<Refused> {
        self.refused(environment, name, registry)
    }
}

/// Every blocker of this change.
pub fn blockers(case: &Case<'_>) -> Vec<Blocker> {
    let mut found = bounds(case);
    let is_return = case.hosts.iter().all(|h| h.intent.is_return(&h.state.record));
    found.extend(quarantined(case));
    found.extend(migrations(case));
    found.extend(stopped(case));
    found.extend(suspect(case));
    // What runs keeps running: a restart changes no release, and a release on probation was allowed when it was switched.
    let keeps = case.hosts.iter().all(|host| keeps(case.env, host));
    if !keeps {
        found.extend(frozen(case));
    }
    if !is_return && !keeps {
        found.extend(window(case));
        found.extend(case.env.promote.as_ref().and_then(|promote| promotion::blocker(case, promote)));
    }
    if case.sha.is_unknown() {
        found.extend(case.hosts.iter().filter_map(|host| unmakeable(case, host)));
    } else if case.hosts.iter().any(|h| matches!(h.intent, Intent::Deploy { .. })) {
        found.extend(delivery::blockers(case));
    }
    found.extend(host_preconditions(case));
    found.extend(secrets(case));
    if !keeps {
        found.extend(approvals(case));
    }
    found.extend(emergency(case));
    found
}

/// Whether a host keeps what it runs: a restart (C6), or the rest of a probation that was armed under this configuration.
fn keeps(env: &Environment, host: &Host<'_>) -> bool {
    match host.intent {
        Intent::Restart { .. } => true,
        Intent::Resume { .. } => {
            let probation = host.state.record.probation.as_ref();
            probation.is_some_and(|probation| probation.key.config == env.config_digest())
        }
        _ => false,
    }
}

pub(super) fn blocker(grade: Grade, code: Code, message: impl Into<String>, fix: impl Into<String>) -> Blocker {
    Blocker { grade, code, message: message.into(), fix: fix.into() }
}

/// What the controller's settings demand (A5): what is not met, and what they raised.
fn bounds(case: &Case<'_>) -> Vec<Blocker> {
    let bounds = &case.env.bounds;
    let unmet = bounds.unmet.iter().map(|unmet| refused(Code::Policy, unmet));
    let fix = "whoever keeps the controller's settings can change the [policy] tables there";
    unmet.chain(bounds.raised.iter().map(|raised| blocker(Grade::P2, Code::Policy, raised.as_str(), fix))).collect()
}

fn verdict<'a>(env: &Environment, sha: &Sha, seen: &EnvObserved, state: &'a HostState) -> Option<&'a Quarantine> {
    if state.record.quarantined.is_empty() {
        return None;
    }
    let bundle = seen.artifact.as_ref().and_then(|a| match &a.sha256 {
        Fact::Known(digest) => Some(*digest),
        _ => None,
    });
    let bundle = bundle.or_else(|| delivery::goes_by(env, sha));
    state.record.verdict_on(&quarantine_key(env, state, sha, bundle))
}

/// The hosts on which the desired release failed alone, where the strategy goes on without so many. Empty: none did, or
/// they are too many, and the verdict is one on the release.
pub fn aside(env: &Environment, sha: &Sha, seen: &EnvObserved) -> BTreeSet<HostName> {
    let mut aside = BTreeSet::new();
    for target in &env.targets {
        let Some(HostObserved::Reached(state)) = seen.hosts.get(&target.name) else { continue };
        match verdict(env, sha, seen, state) {
            Some(verdict) if verdict.alone => drop(aside.insert(target.name.clone())),
            Some(_) => return BTreeSet::new(),
            None => {}
        }
    }
    if aside.len() <= env.strategy.max_failures() { aside } else { BTreeSet::new() }
}

/// What is said about the hosts that failed alone: shown while the others still change, in the way once nothing is left to
/// do but them, and while one of them is still on probation: it goes back before anything else happens.
pub fn left_behind(
    env: &Environment,
    sha: &Sha,
    seen: &EnvObserved,
    reached: &[(&Target, &HostState)],
    aside: &BTreeSet<HostName>,
    last: bool,
) -> Vec<Blocker> {
    let left = || reached.iter().filter(|(target, _)| aside.contains(&target.name));
    let on_probation = |state: &HostState| state.record.probation.as_ref().is_some_and(|p| p.sha == *sha);
    let blocks = last || left().any(|(_, state)| on_probation(state));
    let grade = if blocks { Grade::P0 } else { Grade::P2 };
    let told = left().filter_map(|(target, state)| {
        let (verdict, short) = (verdict(env, sha, seen, state)?, env.release.short(sha));
        let message = format!(
            "{short} failed on {} at {} and is quarantined there: {}; the other hosts go on without it",
            target.name, verdict.at, verdict.reason
        );
        let fix =
            format!("look at {}, then try it again: soll retry {}; or commit another release", target.name, env.name);
        Some(blocker(grade, Code::Quarantined, message, fix))
    });
    told.collect()
}

fn quarantined(case: &Case<'_>) -> Option<Blocker> {
    let judging = case.reached.iter().filter(|(target, _)| !case.aside.contains(&target.name));
    judging.into_iter().find_map(|(_, state)| {
        let verdict = verdict(case.env, case.sha, case.observed, state)?;
        let message = format!(
            "{} failed here at {} and is quarantined: {}",
            case.env.release.short(case.sha),
            verdict.at,
            verdict.reason
        );
        let mut fix = format!("commit another release, or try it again: soll retry {}", case.env.name);
        if migration_is(case, Migration::Failed).is_some() {
            fix.push_str("; where its migration was carried through by hand, add --migration done, or it runs again");
        }
        Some(blocker(Grade::P0, Code::Quarantined, message, fix))
    })
}

/// The host on which a migration of the desired release came so far, of all hosts.
fn migration_is<'a>(case: &Case<'a>, wanted: Migration) -> Option<(&'a Target, &'a HostState)> {
    let prefix = format!("{}/", case.sha);
    let is = |state: &HostState| {
        let mut all = state.record.migrations.iter().filter(|(key, _)| key.starts_with(&prefix));
        all.any(|(_, migration)| *migration == wanted)
    };
    case.reached.iter().find(|(_, state)| is(state)).copied()
}

/// Looked for on every host: the one that began it may run the desired release by now.
fn migrations(case: &Case<'_>) -> Option<Blocker> {
    let (short, env) = (case.env.release.short(case.sha), &case.env.name);
    let Some((host, state)) = migration_is(case, Migration::Begun) else { return migrator_unseen(case) };
    let name = &host.name;
    if let Some(holder) = &state.holder {
        let message =
            format!("a migration of {short} is under way on {name}, by {} since {}", holder.who, holder.since);
        return Some(blocker(Grade::P0, Code::MigrationUnknown, message, format!("wait for it: soll wait {env}")));
    }
    let message =
        format!("a migration of {short} was begun on {name} and not seen to finish: nobody knows what it did");
    let fix = format!(
        "look at the database, then: soll retry {env} --migration done, or: soll retry {env} --migration again"
    );
    Some(blocker(Grade::P0, Code::MigrationUnknown, message, fix))
}

/// The first host migrates and remembers that it did. While it cannot be seen, another one would do it a second time.
fn migrator_unseen(case: &Case<'_>) -> Option<Blocker> {
    let first = match &case.env.pull {
        Some(pull) => &pull.first,
        None => &case.env.targets.first()?.name,
    };
    if case.reached.iter().any(|(target, _)| target.name == *first) {
        return None;
    }
    let states =
        || case.reached.iter().map(|(_, state)| *state).chain(elsewhere(case.observed).map(|(_, state)| state));
    let done = |key: String| states().any(|state| state.record.migrations.get(&key) == Some(&Migration::Done));
    let open = case.env.hooks_of(Phase::Migrate).any(|hook| !done(migration_key(case.sha, hook)));
    if !open || !case.hosts.iter().any(|h| matches!(h.intent, Intent::Deploy { .. })) {
        return None;
    }
    let (short, env) = (case.env.release.short(case.sha), &case.env.name);
    if case.env.pull.is_some() {
        let (message, fix) = match elsewhere(case.observed).find(|(name, _)| *name == first) {
            Some(_) => (
                format!("{first} migrates for everybody, and has not migrated {short} yet"),
                format!("it goes on by itself once {first} has"),
            ),
            None => (
                format!(
                    "{first} migrates for everybody and is not seen from here: whether {short} is migrated is not known"
                ),
                format!(
                    "name where {first} publishes what it sees: --observation FILE|URL; or, once it is done: soll retry {env} --migration done"
                ),
            ),
        };
        return Some(blocker(Grade::P0, Code::MigrationUnknown, message, fix));
    }
    let message =
        format!("{first} migrates for everybody and cannot be reached: whether {short} is migrated is not known");
    let fix = format!("bring {first} back, or put another host first in `hosts`");
    Some(blocker(Grade::P0, Code::Unreachable, message, fix))
}

fn stopped(case: &Case<'_>) -> Option<Blocker> {
    let stopped = case.hosts.iter().find_map(|h| h.state.record.stopped.as_ref())?;
    let message = format!("stopped by {} at {}: {}", stopped.by, stopped.at, stopped.reason);
    Some(blocker(Grade::P1, Code::Stopped, message, format!("soll start {}", case.env.name)))
}

/// A host on which the release before failed like the new one: what would be tried there says nothing of what is tried.
fn suspect(case: &Case<'_>) -> Option<Blocker> {
    let (host, suspect) = case.reached.iter().find_map(|(host, state)| Some((host, state.record.suspect.as_ref()?)))?;
    let (name, env) = (&host.name, &case.env.name);
    let message = format!("{name} is suspect since {}: {}", suspect.at, suspect.reason);
    let fix = format!("look at {name}; when it is well again: soll retry {env}");
    Some(blocker(Grade::P0, Code::Suspect, message, fix))
}

fn frozen(case: &Case<'_>) -> Option<Blocker> {
    let reason = case.env.frozen.as_ref()?;
    let fix = format!("when it is over: soll unfreeze {}", case.env.name);
    Some(blocker(Grade::P1, Code::Frozen, format!("frozen: {reason}"), fix))
}

fn window(case: &Case<'_>) -> Option<Blocker> {
    if case.env.skips(case.sha, "window").is_some() {
        return None;
    }
    match windows_state(&case.env.windows, case.now) {
        WindowState::Open { .. } => None,
        WindowState::Closed { reason, opens } => {
            let fix = match opens {
                Some(at) => format!("it goes on by itself when the window opens at {at}"),
                None => "no window opens within two weeks: look at the windows in the state file".to_owned(),
            };
            Some(blocker(Grade::P1, Code::Window, reason, fix))
        }
    }
}

/// A release of which nobody knows the commit is used as it is, or not at all: nothing could be made in its place.
fn unmakeable(case: &Case<'_>, host: &Host<'_>) -> Option<Blocker> {
    let Intent::Deploy { why } = &host.intent else { return None };
    let (release, name, env) = (case.env.release.as_str(), &host.target.name, &case.env.name);
    let message = match host.state.releases.iter().any(|there| there.as_str() == release) {
        true => format!("{release} on {name} cannot be used as it is ({why}), and nobody knows the commit it is of"),
        false => format!("{release} is not in releases/ on {name}, and nobody knows the commit it is of"),
    };
    let fix = format!("release a commit there: soll release {env} SHA");
    Some(blocker(Grade::P0, Code::Unresolved, message, fix))
}

/// What the host lacks before anything starts (E4, A9).
fn host_preconditions(case: &Case<'_>) -> Vec<Blocker> {
    let mut found = Vec::new();
    for host in case.hosts {
        let (name, state, root): (_, &HostState, _) = (&host.target.name, host.state, &host.target.root);
        if state.current == crate::model::observed::Current::NotALink {
            let message = format!("{root}/current on {name} is a real directory, not a link");
            let fix = format!("take the root over: soll adopt {}", case.env.name);
            found.push(blocker(Grade::P0, Code::CurrentNotALink, message, fix));
        }
        if !state.foreign.is_empty() {
            let message = format!(
                "{root} on {name} holds what soll did not make, and nothing was deployed there yet: {}; a release beside it \
                 would leave a second application there",
                state.foreign.told()
            );
            let fix = format!(
                "take it over as it is: soll adopt {env} (with --dry-run it only says what it would do); or move what is no \
                 application out of {root}",
                env = case.env.name
            );
            found.push(blocker(Grade::P0, Code::Foreign, message, fix));
        }
        for Misplaced { what, cure } in &state.misplaced {
            found.push(blocker(Grade::P1, Code::Misplaced, format!("{name}: {what}"), cure.as_str()));
        }
        for (file, _) in state.files.iter().filter(|(_, digest)| digest.is_none()) {
            let (message, fix) = match state.unreadable.get(file) {
                Some(why) => (
                    format!("{root}/shared/{file} on {name} was not read: {why}"),
                    "put a regular file in its place, with its owner and mode",
                ),
                None => (
                    format!("{root}/shared/{file} is missing on {name}"),
                    "put the file there, with its owner and mode; an empty one is never made",
                ),
            };
            found.push(blocker(Grade::P1, Code::SharedFileMissing, message, fix));
        }
        let missing_file = case.env.env_file().is_some_and(|f| state.files.get(&f.from) == Some(&None));
        let template = case.env.env_file().and_then(|file| case.env.rendered(&file.from)).map(|file| &file.template);
        if let Some(template) = template.filter(|_| !state.missing_env.is_empty()) {
            let message = format!("{template} sets no value for {} on {name}", state.missing_env.join(", "));
            let fix = "add them to that template, which `required_env` asks for";
            found.push(blocker(Grade::P1, Code::VariableMissing, message, fix));
        } else if !state.missing_env.is_empty() && !missing_file {
            let file = case.env.env_file().map_or(".env", |f| f.from.as_str());
            let message = format!("{root}/shared/{file} on {name} lacks {}", state.missing_env.join(", "));
            found.push(blocker(Grade::P1, Code::VariableMissing, message, "add the variables to that file"));
        }
    }
    found
}

/// What checks and figures send that this controller does not have, or not for them (B7). The addresses are those of each host.
fn secrets(case: &Case<'_>) -> Vec<Blocker> {
    let Some(known) = case.secrets else { return Vec::new() };
    let checks = case.env.health.checks.iter().filter_map(|check| Some((check.probe.bearer()?, &check.name)));
    let figures = case.env.watch.iter().flat_map(|watch| &watch.metrics);
    let figures = figures.filter_map(|metric| Some((metric.source.bearer()?, &metric.name)));
    let mut found: Vec<Blocker> = Vec::new();
    for file in &case.env.files {
        for name in rendered::secrets(&file.text) {
            let Some(Refused { why, fix }) = known.withheld(&case.env.name, name) else { continue };
            let message = format!("{} is rendered with the secret {name}, {why}", file.path);
            found.push(blocker(Grade::P0, Code::SecretMissing, message, fix));
        }
    }
    for (host, login) in case.env.delivery.compose().into_iter().flat_map(|files| &files.registries) {
        let name = &login.password;
        let Some(Refused { why, fix }) = known.kept_from(&case.env.name, name, host) else { continue };
        let message = format!("images of {host} are pulled with the secret {name}, {why}");
        found.push(blocker(Grade::P0, Code::SecretMissing, message, fix));
    }
    for ((name, url), user) in checks.chain(figures) {
        for target in &case.env.targets {
            let url = fill(url, &case.env.values(target, None, Some(case.sha)));
            let Some(Refused { why, fix }) = known.refused(&case.env.name, name, &url) else { continue };
            let message = format!("check `{user}` needs the secret {name}, {why}");
            if !found.iter().any(|blocker| blocker.message == message) {
                found.push(blocker(Grade::P1, Code::SecretMissing, message, fix));
            }
        }
    }
    found
}

/// The last word of each person about what was reviewed, by their names (B3).
fn words<'a>(observed: &'a EnvObserved, reviewed: &Reviewed) -> BTreeMap<&'a str, &'a Approval> {
    let plan = if observed.veiled { Cow::Owned(reviewed.veiled()) } else { Cow::Borrowed(reviewed) };
    let about = |word: &&Approval| {
        let held = |reviewed: &Reviewed| match word.approve {
            true => reviewed.allows(&plan),
            false => reviewed.forbids(&plan),
        };
        word.trusted && word.reviewed.as_ref().is_some_and(held)
    };
    // They stand in the order in which they were said; the times are what people claim.
    observed.approvals.iter().filter(about).map(|word| (word.by.as_str(), word)).collect()
}

/// Who has approved what was reviewed, and takes it back no more: the record of a run names them.
pub fn approvers<'a>(observed: &'a EnvObserved, reviewed: &Reviewed) -> Vec<&'a str> {
    words(observed, reviewed).into_iter().filter(|(_, word)| word.approve).map(|(by, _)| by).collect()
}

/// Approvals bind to what was reviewed.
fn approvals(case: &Case<'_>) -> Vec<Blocker> {
    let last = words(case.observed, case.reviewed);
    let mut found = Vec::new();
    for word in last.values().filter(|w| !w.approve) {
        let note = word.note.as_deref().unwrap_or("no reason given");
        let message = format!("rejected by {} at {}: {note}", word.by, word.at);
        let fix = format!("change what is desired, or let {} approve it after all", word.by);
        found.push(blocker(Grade::P0, Code::Rejected, message, fix));
    }
    let have = last.values().filter(|w| w.approve).count();
    // An emergency skips what the state file asks for, not what the settings do.
    let needed = match case.env.skips(case.sha, "approval") {
        Some(_) => case.env.bounds.approvals,
        None if case.hosts.iter().all(|host| host.intent.is_return(&host.state.record)) => {
            // Nor does the state file lower what the settings ask for.
            let asked = case.env.approvals_for_rollback.unwrap_or(case.env.approvals);
            asked.max(case.env.bounds.approvals)
        }
        None => case.env.approvals,
    } as usize;
    if have < needed {
        let mut message =
            format!("{have} of {needed} approvals for {} -> {}", case.env.name, case.env.release.short(case.sha));
        let mut fix = format!("soll approve {}", case.env.name);
        if case.reviewed.unnamed {
            message.push_str(", and the digest of the bundle is not known: what has no name cannot be approved");
            fix = format!("let the bundle and its SHA-256 be there, then: {fix}");
        }
        found.push(blocker(Grade::P1, Code::Approval, message, fix));
    }
    found
}

fn emergency(case: &Case<'_>) -> Option<Blocker> {
    let emergency = case.env.emergency.as_ref().filter(|e| e.release == *case.sha)?;
    let message = format!("emergency, skips {}: {}", emergency.skip.join(", "), emergency.reason);
    Some(blocker(Grade::P2, Code::Emergency, message, "remove `emergency` from the state file afterwards"))
}

/// The environments whose observation a plan of `env` needs beside its own.
pub fn sources(env: &Environment) -> impl Iterator<Item = &EnvName> {
    env.promote.iter().map(|p| &p.from)
}
