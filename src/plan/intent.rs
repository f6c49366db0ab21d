//! What one host needs, seen alone: desired commit and configuration against its state. Pure.

use std::collections::BTreeMap;

use crate::model::desired::{DriftPolicy, Environment, Phase, digests};
use crate::model::ids::{Digest, ReleaseName, Sha};
use crate::model::observed::{Current, HostState};
use crate::model::record::{QuarantineKey, Record};

/// What has to happen on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// It runs what is desired, made with what is desired.
    Nothing,
    /// A new release directory: fetch to switch. `again`: this commit ran here before, made with something else.
    Deploy { why: String },
    /// The release is there, complete: gates, switch, rollback hooks.
    SwitchTo { release: ReleaseName, why: String },
    /// The right release runs with other inputs: gates, post-switch hooks, health (A10).
    Reconfigure { release: ReleaseName, why: String },
    /// A run ended before its verdict: post-switch hooks, health, confirm.
    Resume { release: ReleaseName, why: String },
    /// The right release runs, and its health fails: restart hooks, health (C6).
    Restart { release: ReleaseName, why: String },
    /// The desired commit runs in a directory that `soll` did not make.
    Adopt { release: ReleaseName, why: String },
}

impl Intent {
    /// In words, for the plan.
    pub fn why(&self) -> &str {
        match self {
            Intent::Nothing => "runs what is desired",
            Intent::Deploy { why }
            | Intent::SwitchTo { why, .. }
            | Intent::Reconfigure { why, .. }
            | Intent::Resume { why, .. }
            | Intent::Restart { why, .. }
            | Intent::Adopt { why, .. } => why,
        }
    }

    /// A return to what ran here before: allowed outside windows, needs no soak, no bundle.
    pub fn is_return(&self, record: &Record) -> bool {
        match self {
            Intent::SwitchTo { release, .. } => record.releases.get(release).is_some_and(|r| r.confirmed_at.is_some()),
            _ => false,
        }
    }
}

/// The commit that a release directory was made from, as far as that is known.
pub fn sha_of(record: &Record, release: &ReleaseName) -> Option<Sha> {
    record.releases.get(release).and_then(|r| r.sha.clone())
}

fn is_of(record: &Record, release: &ReleaseName, sha: &Sha) -> bool {
    match sha_of(record, release) {
        Some(known) => known == *sha,
        None => release.names(sha),
    }
}

/// The shared files as they are now, where all are there.
pub fn present_files(state: &HostState) -> BTreeMap<String, Digest> {
    state.files.iter().filter_map(|(path, digest)| Some((path.clone(), (*digest)?))).collect()
}

/// What a verdict about `sha` on this host would be filed under (law 4).
pub fn quarantine_key(env: &Environment, state: &HostState, sha: &Sha, bundle: Option<Digest>) -> QuarantineKey {
    QuarantineKey {
        sha: sha.clone(),
        bundle,
        config: env.config_digest(),
        files: digests::files(&present_files(state)),
    }
}

/// Whether a release that is there was judged and found bad: it is no way back, however healthy it looks at the moment,
/// because confirming it would lift its verdict (law 4).
pub fn is_failed(env: &Environment, state: &HostState, release: &ReleaseName) -> bool {
    let Some(known) = state.record.releases.get(release) else { return false };
    let verdict = |sha: &Sha| state.record.verdict_on(&quarantine_key(env, state, sha, known.bundle)).is_some();
    known.failed || (!state.record.quarantined.is_empty() && known.sha.as_ref().is_some_and(verdict))
}

/// The digest of the links that a release of this environment carries.
pub fn links_digest(env: &Environment) -> Digest {
    digests::links(&env.shared)
}

/// Decides for one host.
pub fn intent(env: &Environment, sha: &Sha, state: &HostState) -> Intent {
    let record = &state.record;
    let short = sha.short();
    let confirmed = record.confirmed.as_ref();
    let current = match &state.current {
        Current::Release(release) => release,
        other => {
            let why = match other {
                Current::Missing if confirmed.is_some() => "`current` has disappeared".to_owned(),
                Current::Missing => format!("nothing runs here yet; {short} is desired"),
                Current::Elsewhere(target) => format!("`current` leads to {target}, outside `releases/`"),
                _ => "`current` is not a link".to_owned(),
            };
            return towards(env, sha, state, why);
        }
    };
    if !is_of(record, current, sha) {
        let why = match confirmed {
            Some(c) if c.release != *current && record.probation.is_none() => {
                format!("`current` was switched by hand to {current}; {short} is desired")
            }
            _ => format!("{short} is desired, {current} runs"),
        };
        return towards(env, sha, state, why);
    }
    let known = record.releases.get(current);
    match confirmed {
        Some(c) if c.release == *current && record.probation.is_none() => {
            let intent = settled(env, state, current, known.and_then(|r| r.links), c);
            let sealed = known.is_none_or(|r| r.sealed);
            match intent {
                // It would have to be confirmed again, and no host confirms what lost its seal: it is made anew.
                Intent::Reconfigure { why, .. } | Intent::Restart { why, .. } if !sealed => Intent::Deploy {
                    why: format!("{why}, and the contents of {current} are not those that were released"),
                },
                intent => intent,
            }
        }
        // One without a seal could never be confirmed: it falls through, and is made anew.
        _ if record.probation.as_ref().is_some_and(|p| p.release == *current) && known.is_some_and(|r| r.sealed) => {
            Intent::Resume {
                release: current.clone(),
                why: format!("{current} is on probation and nobody has confirmed it"),
            }
        }
        // Our own directory without a seal was never finished, or has drifted since: no host vouches for it again.
        _ if known.is_some_and(|r| !r.sealed && !r.adopted) => {
            Intent::Deploy { why: format!("{current} runs, and its contents are not those that were released") }
        }
        _ if known.is_none_or(|r| !r.sealed) => {
            Intent::Adopt { release: current.clone(), why: format!("{current} runs, and soll has not seen it before") }
        }
        _ if known.is_some_and(|r| r.confirmed_at.is_some() && !r.failed) => Intent::SwitchTo {
            release: current.clone(),
            why: format!("`current` was switched by hand to {current}, which is desired but not confirmed"),
        },
        _ => Intent::Resume { release: current.clone(), why: format!("{current} runs and was never confirmed") },
    }
}

/// `current` is the confirmed release of the desired commit: is it made with what is desired?
fn settled(
    env: &Environment,
    state: &HostState,
    current: &ReleaseName,
    links: Option<Digest>,
    confirmed: &crate::model::record::Confirmed,
) -> Intent {
    if links != Some(links_digest(env)) {
        return Intent::Deploy {
            why: "the shared paths changed: the release is made anew with other links".to_owned(),
        };
    }
    if env.drift == DriftPolicy::Heal {
        let report = state.drift.as_ref().filter(|d| d.release == *current && !d.entries.is_empty());
        if let Some(report) = report {
            let first = &report.entries[0].path;
            let why = format!("{} drifted path(s) in {current}, `{first}` first: made anew", report.entries.len());
            return Intent::Deploy { why };
        }
    }
    if confirmed.inputs != Some(env.inputs_digest()) {
        let why = "the variables changed at the same commit".to_owned();
        return Intent::Reconfigure { release: current.clone(), why };
    }
    let now = present_files(state);
    let mut changed = confirmed.files.keys().chain(now.keys()).filter(|f| confirmed.files.get(*f) != now.get(*f));
    if let Some(file) = changed.next() {
        let why = format!("shared/{file} changed at the same commit");
        return Intent::Reconfigure { release: current.clone(), why };
    }
    ailing(env, state, current).unwrap_or(Intent::Nothing)
}

/// The first rung of the ladder (C6): a service that keeps failing is restarted, once. A verdict on the release says that
/// it was, and that it did not help.
pub(super) fn ailing(env: &Environment, state: &HostState, current: &ReleaseName) -> Option<Intent> {
    let ailing = state.record.ailing.as_ref().filter(|a| a.release == *current && a.samples >= env.health.failures)?;
    env.hooks_of(Phase::Restart).next()?;
    if is_failed(env, state, current) {
        return None;
    }
    let why = format!("health has failed {} times in a row since {}", ailing.samples, ailing.since);
    Some(Intent::Restart { release: current.clone(), why })
}

/// The way to a commit that does not run: an intact release that was good here once, or a new one.
fn towards(env: &Environment, sha: &Sha, state: &HostState, why: String) -> Intent {
    let record = &state.record;
    let drifted =
        |name: &ReleaseName| state.drift.as_ref().is_some_and(|d| d.release == *name && !d.entries.is_empty());
    let ready = record
        .releases
        .iter()
        .filter(|(name, r)| {
            state.releases.contains(name)
                && r.sealed
                && !r.failed
                && r.confirmed_at.is_some()
                && r.links == Some(links_digest(env))
                && is_of(record, name, sha)
                && !drifted(name)
        })
        .max_by_key(|(_, r)| r.confirmed_at);
    // A directory that soll did not make and whose name carries this commit: a way back that needs no bundle (A6).
    let foreign = || state.releases.iter().rev().find(|name| !record.releases.contains_key(*name) && name.names(sha));
    match ready.map(|(release, _)| release).or_else(foreign) {
        Some(release) => Intent::SwitchTo { release: release.clone(), why },
        None => Intent::Deploy { why },
    }
}
