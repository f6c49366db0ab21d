//! Reasons against a change, graded, each with its cure (B2-B4, B6, B8, D5). Pure; asked only where something would change.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::forward::{Host, migration_key};
use super::intent::{Intent, quarantine_key};
use super::planner::{elsewhere, refused};
use super::window::{WindowState, windows_state};
use super::{Blocker, Code};
use crate::model::address::redacted;
use crate::model::approval::Reviewed;
use crate::model::desired::{Environment, Grade, Match, Phase, Promote, Target};
use crate::model::ids::{EnvName, HostName, Sha};
use crate::model::observed::{Approval, EnvObserved, Fact, HostObserved, HostState, Resolved};
use crate::model::record::{Migration, Quarantine};
use crate::model::template::fill;

/// What a policy may look at.
pub struct Case<'a> {
    pub env: &'a Environment,
    pub sha: &'a Sha,
    /// Those that need something.
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
            fix: format!("set SOLL_SECRET_{name}, or put it into the controller's secrets directory"),
        })
    }
}

/// Every blocker of this change.
pub fn blockers(case: &Case<'_>) -> Vec<Blocker> {
    let mut found = bounds(case);
    let is_return = case.hosts.iter().all(|h| h.intent.is_return(&h.state.record));
    found.extend(quarantined(case));
    found.extend(migrations(case));
    found.extend(stopped(case));
    // What runs keeps running: a restart changes no release, and a release on probation was allowed when it was switched.
    let keeps = case.hosts.iter().all(|host| keeps(case.env, host));
    if !keeps {
        found.extend(frozen(case));
    }
    if !is_return && !keeps {
        found.extend(window(case));
        found.extend(case.env.promote.as_ref().and_then(|promote| promotion(case, promote)));
    }
    if case.hosts.iter().any(|h| matches!(h.intent, Intent::Deploy { .. })) {
        found.extend(artifact(case));
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

fn blocker(grade: Grade, code: Code, message: impl Into<String>, fix: impl Into<String>) -> Blocker {
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
        let (verdict, short) = (verdict(env, sha, seen, state)?, sha.short());
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
        let message =
            format!("{} failed here at {} and is quarantined: {}", case.sha.short(), verdict.at, verdict.reason);
        let fix = format!("commit another release, or try it again: soll retry {}", case.env.name);
        Some(blocker(Grade::P0, Code::Quarantined, message, fix))
    })
}

/// Looked for on every host: the one that began it may run the desired release by now.
fn migrations(case: &Case<'_>) -> Option<Blocker> {
    let prefix = format!("{}/", case.sha);
    let begun = |state: &HostState| {
        let mut all = state.record.migrations.iter().filter(|(key, _)| key.starts_with(&prefix));
        all.any(|(_, m)| *m == Migration::Begun)
    };
    let (short, env) = (case.sha.short(), &case.env.name);
    let Some((host, state)) = case.reached.iter().find(|(_, state)| begun(state)) else { return migrator_unseen(case) };
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
    let (short, env) = (case.sha.short(), &case.env.name);
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

/// Production takes only what the source runs, well, and has run well for long enough (B2).
fn promotion(case: &Case<'_>, promote: &Promote) -> Option<Blocker> {
    if case.env.skips(case.sha, "promotion").is_some() && !case.env.bounds.promoted {
        return None;
    }
    let from = &promote.from;
    let not_green = |message: String| {
        let fix = match &case.env.pull {
            Some(_) => format!("name where {from} publishes what it sees: --observation FILE|URL"),
            None => format!("see what {from} needs: soll why {from}"),
        };
        Some(blocker(Grade::P0, Code::NotGreen, message, fix))
    };
    // What was not seen is not green: a plan without a look at the source would let everything pass.
    let Some((source, seen)) = case.source else { return not_green(format!("{from} was not looked at")) };
    let mut since: Option<Timestamp> = None;
    for target in &source.targets {
        let state = match seen.hosts.get(&target.name).or_else(|| seen.elsewhere.get(&target.name)) {
            Some(HostObserved::Reached(state)) => state,
            Some(HostObserved::Unreachable(why)) => {
                return not_green(format!("{from} cannot be seen on {}: {why}", target.name));
            }
            None => return not_green(format!("{from} was not looked at on {}", target.name)),
        };
        let Some(confirmed) = state.record.confirmed.as_ref().filter(|_| state.record.probation.is_none()) else {
            return not_green(format!("nothing is confirmed in {from}"));
        };
        if state.current.release() != Some(&confirmed.release) {
            return not_green(format!("{from} does not run its confirmed release {}", confirmed.release));
        }
        if let Resolved::Sha(wanted) = &seen.resolved
            && confirmed.sha.as_ref() != Some(wanted)
        {
            return not_green(format!(
                "{from} wants {} and runs {}: what it wants did not succeed",
                wanted.short(),
                confirmed.sha.as_ref().map_or("something older", |s| s.short())
            ));
        }
        if !matches(case, promote.by, confirmed, seen) {
            if confirmed.sha.as_ref() == Some(case.sha)
                && let (Match::Sha, Some(theirs)) = (promote.by, confirmed.bundle)
            {
                let short = case.sha.short();
                let message = format!(
                    "{from} confirmed {short} from another bundle (sha256 {}) than the one that is there now: it was built again",
                    theirs.short()
                );
                let fix =
                    format!("put the bundle back that {from} confirmed, or release another commit through {from}");
                return Some(blocker(Grade::P0, Code::NotPromoted, message, fix));
            }
            let message = format!("{from} runs {}, not {}", confirmed.release, case.sha.short());
            let fix = format!("release it there first: soll release {from} {}", case.sha);
            return Some(blocker(Grade::P0, Code::NotPromoted, message, fix));
        }
        let green = state.record.green.as_ref().filter(|green| green.release == confirmed.release);
        let Some(green) = green.filter(|green| !green.stale(source.health.every, case.now)) else {
            return not_green(format!("{from} has no recent green health sample of {}", confirmed.release));
        };
        since = since.max(Some(green.since));
    }
    let soak = SignedDuration::try_from(promote.soak).unwrap_or(SignedDuration::MAX);
    // A host may say anything of when it began.
    let ends = since?.checked_add(soak).unwrap_or(Timestamp::MAX);
    if case.now >= ends || case.env.skips(case.sha, "soak").is_some() {
        return None;
    }
    let message = format!("{} soaks in {from} until {ends}", case.sha.short());
    Some(blocker(Grade::P1, Code::Soak, message, "it goes on by itself then, if it stays green"))
}

fn matches(case: &Case<'_>, by: Match, confirmed: &crate::model::record::Confirmed, seen: &EnvObserved) -> bool {
    match by {
        // The same commit built twice is not the same release: where both know what they have, it must be the same.
        Match::Sha => {
            let ours = case.observed.artifact.as_ref().map(|artifact| &artifact.sha256);
            let other = matches!((ours, confirmed.bundle), (Some(Fact::Known(ours)), Some(theirs)) if *ours != theirs);
            confirmed.sha.as_ref() == Some(case.sha) && !other
        }
        Match::Bundle => {
            let ours = case.observed.artifact.as_ref().map(|a| &a.sha256);
            matches!((ours, confirmed.bundle), (Some(Fact::Known(ours)), Some(theirs)) if *ours == theirs)
        }
        Match::Tree => {
            let theirs = confirmed.sha.as_ref().and_then(|sha| seen.live_trees.get(sha));
            case.observed.tree.is_some() && case.observed.tree.as_ref() == theirs
        }
    }
}

/// Is there a bundle, and did its build pass (B8)?
fn artifact(case: &Case<'_>) -> Vec<Blocker> {
    let facts = case.observed.artifact.as_ref();
    let mut found = Vec::new();
    match facts.map(|f| &f.sha256) {
        Some(Fact::Missing) => {
            let place = redacted(&case.env.places(case.sha).sha256);
            let message = format!("there is no bundle of {}: nothing is at {place}", case.sha.short());
            let fix = "let CI build it, or make one: soll bundle DIR --sha SHA";
            found.push(blocker(Grade::P1, Code::BundleMissing, message, fix));
        }
        Some(Fact::Unknown(why)) => {
            let message = format!("nobody could see whether there is a bundle of {}: {why}", case.sha.short());
            let fix = "the run will try to fetch it, and stop before anything is touched where it cannot";
            found.push(blocker(Grade::P2, Code::Note, message, fix));
        }
        Some(Fact::Known(_) | Fact::NotAsked) | None => {}
    }
    if case.env.checks.is_empty() || case.env.skips(case.sha, "checks").is_some() {
        return found;
    }
    let record = match facts.map_or(&Fact::NotAsked, |f| &f.checks) {
        Fact::Known(checks) => Ok(checks.clone()),
        Fact::Missing => Ok(BTreeMap::new()),
        Fact::Unknown(why) => Err(format!("the record of the build cannot be read: {why}")),
        // A build counts only where its record was seen: not asked is not passed.
        Fact::NotAsked => Err("the record of the build was not looked at".to_owned()),
    };
    let record = match record {
        Ok(record) => record,
        Err(message) => {
            let fix = format!("it should be at {}", redacted(&case.env.places(case.sha).checks));
            found.push(blocker(Grade::P0, Code::Checks, message, fix));
            return found;
        }
    };
    let success = |name: &str| record.get(name).is_some_and(|c| c == "success");
    let wanted = case.env.checks.iter().map(String::as_str).filter(|name| !success(name));
    let build = record.get("build").filter(|c| *c != "success").map(|_| "build");
    let bad: Vec<String> = wanted
        .chain(build)
        .map(|name| format!("{name} ({})", record.get(name).map_or("missing", |c| c.as_str())))
        .collect();
    if !bad.is_empty() {
        let message = format!("required checks of {} are not successful: {}", case.sha.short(), bad.join(", "));
        found.push(blocker(Grade::P0, Code::Checks, message, "let CI finish this commit, or release another one"));
    }
    found
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
        if !state.missing_env.is_empty() && !missing_file {
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

/// Approvals bind to what was reviewed; the last word of each person counts (B3).
fn approvals(case: &Case<'_>) -> Vec<Blocker> {
    let plan = if case.observed.veiled { Cow::Owned(case.reviewed.veiled()) } else { Cow::Borrowed(case.reviewed) };
    let about = |word: &&Approval| {
        let held = |reviewed: &Reviewed| match word.approve {
            true => reviewed.allows(&plan),
            false => reviewed.forbids(&plan),
        };
        word.trusted && word.reviewed.as_ref().is_some_and(held)
    };
    // They stand in the order in which they were said; the times are what people claim.
    let last: BTreeMap<&str, &Approval> =
        case.observed.approvals.iter().filter(about).map(|word| (word.by.as_str(), word)).collect();
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
        None => case.env.approvals,
    } as usize;
    if have < needed {
        let mut message = format!("{have} of {needed} approvals for {} -> {}", case.env.name, case.sha.short());
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
