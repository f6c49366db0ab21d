//! Which release a person means who names an environment and no commit. Pure: what is meant is committed by whoever asked.

use std::collections::BTreeSet;

use crate::model::desired::Environment;
use crate::model::desired::release::directory;
use crate::model::ids::{EnvName, ReleaseName, Sha};
use crate::model::observed::{EnvObserved, HostObserved, HostState, Resolved};

/// Why nobody can say which one is meant, and the next move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unclear {
    pub message: String,
    pub fix: String,
    /// A host is not seen, so that nothing is known of it.
    pub unseen: bool,
}

/// What is promoted from `from` to `to`: what is desired there, once all of its hosts have confirmed it. `running`: what
/// they have confirmed and run, where something else is desired by now. `to`: as it was said, for the next move.
///
/// # Errors
/// Nothing of the kind, or not on every host.
pub fn promoted(from: &Environment, seen: &EnvObserved, to: &str, running: bool) -> Result<Sha, Unclear> {
    let (targets, from) = (&from.targets, &from.name);
    let unclear = |message: String, fix: String| Unclear { message, fix, unseen: false };
    let mut runs: Option<&Sha> = None;
    for host in targets.iter().map(|target| &target.name) {
        let state = match seen.hosts.get(host) {
            Some(HostObserved::Reached(state)) => state,
            other => {
                let message = match other {
                    Some(HostObserved::Unreachable(why)) => format!("{host} cannot be reached: {why}"),
                    _ => format!("{host} was not looked at"),
                };
                let why = || format!("see what it needs: soll why {from}");
                return Err(Unclear { message, fix: seen.cures.get(host).cloned().unwrap_or_else(why), unseen: true });
            }
        };
        let broken = |what: String| {
            let message = format!("{from} does not run one confirmed release on all of its hosts: {what}");
            Err(unclear(message, format!("see what it needs: soll why {from}")))
        };
        match confirmed(state) {
            Err(what) => return broken(format!("{what} on {host}")),
            Ok(sha) if runs.is_some_and(|other| other != sha) => {
                let other = runs.map_or("another one", Sha::short);
                return broken(format!("{} on {host}, and {other} on another host", sha.short()));
            }
            Ok(sha) => runs = Some(sha),
        }
    }
    let Some(runs) = runs else {
        return Err(unclear(format!("{from} has no hosts"), format!("see what it needs: soll why {from}")));
    };
    if running {
        return Ok(runs.clone());
    }
    let wanted = match &seen.resolved {
        Resolved::Sha(wanted) if wanted == runs => return Ok(wanted.clone()),
        Resolved::Sha(wanted) => wanted.short().to_owned(),
        Resolved::Unknown(why) => format!("what nobody can resolve ({why})"),
        Resolved::NotAsked => "nothing yet".to_owned(),
    };
    let runs = runs.short();
    let message =
        format!("{from} wants {wanted} and has confirmed {runs}: which of them is meant is not for soll to guess");
    let fix = format!(
        "once {wanted} is confirmed (soll apply {from}, or soll wait {from} where a daemon runs), promote again; for {runs}: \
         soll promote {from} {to} --running"
    );
    Err(unclear(message, fix))
}

/// A release as it is written into the state file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    Commit(Sha),
    /// Nobody knows its commit: it is meant by its directory.
    Directory(ReleaseName),
}

impl Pick {
    fn of(state: &HostState, release: &ReleaseName) -> Pick {
        state.sha_of(release).map_or_else(|| Pick::Directory(release.clone()), |sha| Pick::Commit(sha.clone()))
    }

    /// What `release = "…"` says.
    pub fn text(&self) -> String {
        match self {
            Pick::Commit(sha) => sha.to_string(),
            Pick::Directory(name) => directory(name),
        }
    }

    /// For people.
    pub fn short(&self) -> &str {
        match self {
            Pick::Commit(sha) => sha.short(),
            Pick::Directory(name) => name.as_str(),
        }
    }
}

/// The release before the one that is desired: what a host that goes back by itself would go to, where something else is
/// desired than what is confirmed, else what was confirmed before that.
///
/// # Errors
/// Nothing was confirmed before.
pub fn before(env: &EnvName, states: &[HostState], desired: Option<&Sha>) -> Result<Pick, Unclear> {
    let of = |state: &HostState| {
        let is_desired = |name: &ReleaseName| desired.is_some_and(|sha| state.is_of(name, sha));
        let confirmed = state.record.confirmed.as_ref().map(|confirmed| &confirmed.release);
        if let Some(name) = confirmed.filter(|name| !is_desired(name)) {
            return Some(Pick::of(state, name));
        }
        let earlier = state.record.releases.iter().filter(|(name, release)| {
            let is_good = release.confirmed_at.is_some() && !release.failed && state.releases.contains(*name);
            is_good && Some(*name) != confirmed && !is_desired(name)
        });
        earlier.max_by_key(|(_, release)| release.confirmed_at).map(|(name, _)| Pick::of(state, name))
    };
    states.iter().find_map(of).ok_or_else(|| Unclear {
        message: format!("{env} has no earlier release that was confirmed"),
        fix: "name one: --to SHA or --to RELEASE".to_owned(),
        unseen: false,
    })
}

/// What a person calls `to`: a commit, its first digits where one release begins so, or a directory of `releases/`.
///
/// # Errors
/// There is no such release, or several commits begin so.
pub fn named(to: &str, states: &[HostState], env: &EnvName) -> Result<Pick, Unclear> {
    if let Ok(sha) = to.parse::<Sha>() {
        return Ok(Pick::Commit(sha));
    }
    let unclear = |message: String, fix: String| Err(Unclear { message, fix, unseen: false });
    let of_name =
        |state: &HostState| state.releases.iter().find(|name| name.as_str() == to).map(|n| Pick::of(state, n));
    if let Some(pick) = states.iter().find_map(of_name) {
        return Ok(pick);
    }
    let is_short = to.len() >= 4 && to.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let known = states.iter().flat_map(|state| state.releases.iter().filter_map(|name| state.sha_of(name)));
    let found: BTreeSet<&Sha> = known.filter(|sha| is_short && sha.as_str().starts_with(to)).collect();
    let all: Vec<&str> = found.iter().map(|sha| sha.as_str()).collect();
    if let [sha] = &*found.iter().collect::<Vec<_>>() {
        return Ok(Pick::Commit((**sha).clone()));
    }
    if !all.is_empty() {
        return unclear(format!("several releases of {env} begin with {to}"), format!("say which: {}", all.join(", ")));
    }
    let there: BTreeSet<&str> = states.iter().flat_map(|state| &state.releases).map(ReleaseName::as_str).collect();
    let there: Vec<&str> = there.into_iter().collect();
    unclear(format!("{env} has no release {to}"), format!("there are: {}", there.join(", ")))
}

/// The commit of what a host has confirmed and runs. The error says what it does instead.
fn confirmed(state: &HostState) -> Result<&Sha, String> {
    if let Some(probation) = &state.record.probation {
        return Err(format!("{} is on probation", probation.release));
    }
    let Some(confirmed) = &state.record.confirmed else { return Err("nothing is confirmed".to_owned()) };
    if state.current.release() != Some(&confirmed.release) {
        return Err(format!("`current` is not the confirmed release {}", confirmed.release));
    }
    confirmed.sha.as_ref().ok_or_else(|| format!("nobody knows the commit of {}", confirmed.release))
}
