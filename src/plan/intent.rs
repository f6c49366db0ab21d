//! What one host needs, seen alone: desired commit and configuration against its state. Pure.

use std::collections::BTreeMap;

use super::{delivery, services};
use crate::model::desired::{DriftPolicy, Environment, Phase, digests};
use crate::model::ids::{Digest, ReleaseName, Sha};
use crate::model::observed::{Current, DriftReport, HostState};
use crate::model::record::{QuarantineKey, Record, Release};
use crate::model::shown::counted;

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
    /// The right release runs, and its health fails: units, restart hooks, health (C6).
    Restart { release: ReleaseName, why: String },
    /// The right release is there, and what runs of it is not as it says: brought up again, health (A7).
    Revive { release: ReleaseName, why: String },
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
            | Intent::Revive { why, .. }
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

/// The shared files as they are now, where all are there.
pub fn present_files(state: &HostState) -> BTreeMap<String, Digest> {
    state.files.iter().filter_map(|(path, digest)| Some((path.clone(), (*digest)?))).collect()
}

/// All that an application reads of its shared files: those that are there, and the versions of those that are rendered.
pub fn judged_files(state: &HostState) -> BTreeMap<String, Digest> {
    let mut files = present_files(state);
    files.extend(state.rendered.iter().map(|(from, version)| (from.clone(), *version)));
    files
}

/// What a verdict about `sha` on this host would be filed under (law 4).
pub fn quarantine_key(env: &Environment, state: &HostState, sha: &Sha, bundle: Option<Digest>) -> QuarantineKey {
    QuarantineKey { sha: sha.clone(), bundle, config: env.config_digest(), files: digests::files(&judged_files(state)) }
}

/// Whether a release that is there was judged and found bad: it is no way back, however healthy it looks at the moment,
/// because confirming it would lift its verdict (law 4).
pub fn is_failed(env: &Environment, state: &HostState, release: &ReleaseName) -> bool {
    let Some(known) = state.record.releases.get(release) else { return false };
    let verdict = |sha: &Sha| state.record.verdict_on(&quarantine_key(env, state, sha, known.bundle)).is_some();
    known.failed || (!state.record.quarantined.is_empty() && known.sha.as_ref().is_some_and(verdict))
}

/// The digest of the links that a release of this environment carries on this host, rendered files by their versions.
pub fn links_digest(env: &Environment, state: &HostState) -> Digest {
    digests::links(&env.linked(&state.rendered))
}

/// Whether a release is linked to what is desired. Of one whose commit nobody knows none could be made with the files that
/// are rendered now: it goes by the shared paths alone.
fn is_linked(env: &Environment, sha: &Sha, state: &HostState, release: &Release) -> bool {
    let plain = || release.adopted && sha.is_unknown() && release.links == Some(digests::links(&env.shared));
    release.links == Some(links_digest(env, state)) || plain()
}

/// Decides for one host.
pub fn intent(env: &Environment, sha: &Sha, state: &HostState) -> Intent {
    let record = &state.record;
    let short = env.release.short(sha);
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
    if !state.is_of(current, sha) {
        let why = match confirmed {
            Some(c) if c.release != *current && record.probation.is_none() => {
                format!("`current` was switched by hand to {current}; {short} is desired")
            }
            _ => format!("{short} is desired, {current} runs"),
        };
        return towards(env, sha, state, why);
    }
    let known = record.releases.get(current);
    let sealed = known.is_some_and(|known| known.sealed);
    if record.probation.as_ref().is_some_and(|probation| probation.returning) && sealed {
        let why = format!("{current} is back, and its units were not seen to run it");
        return Intent::SwitchTo { release: current.clone(), why };
    }
    // What a verdict would be about is what would be made now.
    let otherwise = known.filter(|known| !known.adopted).and_then(|known| delivery::differs(env, sha, known));
    match confirmed {
        Some(c) if c.release == *current && record.probation.is_none() => {
            let intent = settled((env, sha), state, current, known, c);
            let sealed = known.is_none_or(|r| r.sealed);
            match intent {
                // It would have to be confirmed again, and no host confirms what lost its seal: it is made anew.
                Intent::Reconfigure { why, .. } | Intent::Restart { why, .. } | Intent::Revive { why, .. }
                    if !sealed =>
                {
                    Intent::Deploy {
                        why: format!("{why}, and the contents of {current} are not those that were released"),
                    }
                }
                intent => intent,
            }
        }
        _ if otherwise.is_some() => Intent::Deploy { why: otherwise.unwrap_or_default() },
        // A release without a seal could never be confirmed: this arm leaves it to the next one, which makes it anew.
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
    (env, sha): (&Environment, &Sha),
    state: &HostState,
    current: &ReleaseName,
    known: Option<&Release>,
    confirmed: &crate::model::record::Confirmed,
) -> Intent {
    if let Some(why) = known.and_then(|release| delivery::differs(env, sha, release)) {
        return Intent::Deploy { why };
    }
    if !known.is_some_and(|release| is_linked(env, sha, state, release)) {
        return Intent::Deploy { why: relinked(env, state) };
    }
    if let Some(report) = drifted(env, state, current)
        && let Some(first) = report.entries.first()
    {
        let (paths, first) = (counted(report.count(), "drifted path", "drifted paths"), &first.path);
        return Intent::Deploy { why: format!("{paths} in {current}, `{first}` first: made anew") };
    }
    if confirmed.inputs != Some(env.inputs_digest()) {
        let what = if env.units.is_empty() { "the variables" } else { "the variables or the units" };
        let why = format!("{what} changed at the same commit");
        return Intent::Reconfigure { release: current.clone(), why };
    }
    let now = present_files(state);
    let mut changed = confirmed.files.keys().chain(now.keys()).filter(|f| confirmed.files.get(*f) != now.get(*f));
    if let Some(file) = changed.next() {
        let why = format!("shared/{file} changed at the same commit");
        if delivery::holds_shared_files(env) {
            return Intent::Deploy { why: format!("{why}: the release is made anew with it") };
        }
        return Intent::Reconfigure { release: current.clone(), why };
    }
    gone(env, state, current).or_else(|| ailing(env, state, current)).unwrap_or(Intent::Nothing)
}

/// Services that are not as the live release says, where that is to be healed. One that did not stay up in this release is the
/// release's own fault, and not brought up again and again.
pub fn gone(env: &Environment, state: &HostState, current: &ReleaseName) -> Option<Intent> {
    let ill = services::ill(state);
    if env.drift != DriftPolicy::Heal || ill.is_empty() || is_failed(env, state, current) {
        return None;
    }
    let why = format!("{}: brought up as {current} has it", services::told(&ill));
    Some(Intent::Revive { release: current.clone(), why })
}

/// Why a release is made anew that is linked to something else.
fn relinked(env: &Environment, state: &HostState) -> String {
    if !state.rerendered.is_empty() {
        return format!("{}: made anew with it", state.rerendered.join("; "));
    }
    match env.files.is_empty() {
        true => "the shared paths changed: the release is made anew with other links".to_owned(),
        false => {
            let files: Vec<&str> = env.files.iter().map(|file| file.path.as_str()).collect();
            format!("the shared paths or what is rendered into {} changed: made anew with it", files.join(", "))
        }
    }
}

/// What differs in the live release where that is to be healed.
pub(super) fn drifted<'a>(env: &Environment, state: &'a HostState, current: &ReleaseName) -> Option<&'a DriftReport> {
    let report = state.drift.as_ref().filter(|_| env.drift == DriftPolicy::Heal)?;
    (report.release == *current && !report.entries.is_empty()).then_some(report)
}

/// The first rung of the ladder (C6): a service that keeps failing is restarted, once. A verdict on the release says that
/// it was, and that it did not help.
pub(super) fn ailing(env: &Environment, state: &HostState, current: &ReleaseName) -> Option<Intent> {
    let ailing = state.record.ailing.as_ref().filter(|a| a.release == *current && a.samples >= env.health.failures)?;
    if env.units.is_empty() && env.hooks_of(Phase::Restart).next().is_none() {
        return None;
    }
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
                && is_linked(env, sha, state, r)
                && delivery::differs(env, sha, r).is_none()
                && state.is_of(name, sha)
                && !drifted(name)
        })
        .max_by_key(|(_, r)| r.confirmed_at);
    // A directory that soll did not make and that is of this commit: a way back that needs no bundle (A6). Nothing could be
    // made in its place, so that one which was adopted and failed is tried again once its verdict is lifted.
    let usable = |name: &&ReleaseName| match record.releases.get(*name) {
        Some(known) => known.adopted && is_linked(env, sha, state, known) && !drifted(name),
        None => true,
    };
    let foreign = || state.releases.iter().rev().filter(usable).find(|name| state.is_of(name, sha));
    match ready.map(|(release, _)| release).or_else(foreign) {
        Some(release) => Intent::SwitchTo { release: release.clone(), why },
        None => Intent::Deploy { why },
    }
}
