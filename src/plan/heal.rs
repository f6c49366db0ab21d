//! A release whose contents differ again soon after they were healed (A7): whatever writes there goes on, and healing it
//! again and again would be one deployment after the other. It waits, longer each time, and people are told who writes.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::intent::{Intent, drifted, intent};
use super::{Blocker, Code};
use crate::model::desired::{DriftPolicy, Environment, Grade, Target};
use crate::model::ids::{HostName, Sha};
use crate::model::observed::{Drift, DriftKind, DriftReport, HostState};

/// So many paths are named.
const NAMED: usize = 3;
/// So many globs are proposed.
const GLOBS: usize = 5;

/// What a host needs while the next heal waits; `None`: no heal is wanted, or it need not wait.
pub fn waiting(env: &Environment, sha: &Sha, state: &HostState, wanted: &Intent, now: Timestamp) -> Option<Intent> {
    let current = state.current.release().filter(|_| matches!(wanted, Intent::Deploy { .. }))?;
    drifted(env, state, current)?;
    let healed = state.record.recent_heal(now).filter(|healed| healed.release == *current)?;
    if now >= healed.next() {
        return None;
    }
    let calm = Environment { drift: DriftPolicy::Report, ..env.clone() };
    match intent(&calm, sha, state) {
        other @ (Intent::Nothing | Intent::Restart { .. } | Intent::Revive { .. }) => Some(other),
        // Something else wants a new release as well, or one that is as it was released.
        _ => None,
    }
}

/// What is said of contents that did not stay healed: in the way (`last`) once nothing else is to be done.
pub fn relapses(
    env: &Environment,
    reached: &[(&Target, &HostState)],
    waits: &BTreeSet<HostName>,
    last: bool,
    now: Timestamp,
) -> Vec<Blocker> {
    let one = |(target, state): &(&Target, &HostState)| {
        let current = state.current.release()?;
        let report = drifted(env, state, current)?;
        let healed = state.record.recent_heal(now).filter(|healed| healed.release == *current)?;
        let is_waiting = waits.contains(&target.name);
        let again = if is_waiting { format!("; not healed again before {:.0}", healed.next()) } else { String::new() };
        let message = format!(
            "what was healed on {} at {:.0} ({}) is changed again: {}{again}",
            target.name,
            healed.at,
            times(healed.times),
            who(report)
        );
        let globs = globs(&report.entries);
        let name = &env.name;
        let may = match globs.is_empty() {
            true => String::new(),
            false => format!("; if the application is meant to, say so: mutable = [{}]", globs.join(", ")),
        };
        let fix =
            format!("stop whatever writes there{may}; to heal it at once: soll retry {name}, then soll apply {name}");
        let grade = if is_waiting && last { Grade::P1 } else { Grade::P2 };
        Some(Blocker { grade, code: Code::HealDidNotLast, message, fix })
    };
    reached.iter().filter_map(one).collect()
}

fn times(times: u32) -> String {
    if times == 1 { "the first heal".to_owned() } else { format!("{times} heals in a row") }
}

/// The first of many paths.
fn who(report: &DriftReport) -> String {
    let first: Vec<String> = report.entries.iter().take(NAMED).map(told).collect();
    match report.count().saturating_sub(NAMED as u64) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// A path, with who changed it and when, as far as its host tells.
fn told(drift: &Drift) -> String {
    match &drift.touched {
        Some(touched) => format!("{} (owner {}, {:.0})", drift.path, touched.owner, touched.at),
        None => drift.path.clone(),
    }
}

/// Globs for `mutable` that cover what differs, quoted. Nothing where they would be too many, or the whole release.
fn globs(entries: &[Drift]) -> Vec<String> {
    let paths: Vec<&str> =
        entries.iter().filter(|drift| drift.kind != DriftKind::Link).map(|drift| drift.path.as_str()).collect();
    let mut in_one: BTreeMap<&str, usize> = BTreeMap::new();
    for parent in paths.iter().filter_map(|path| parent(path)) {
        *in_one.entry(parent).or_default() += 1;
    }
    let glob = |path: &&str| {
        if path.split('/').any(|part| part == "__pycache__") {
            return "**/__pycache__/**".to_owned();
        }
        match parent(path).filter(|parent| in_one.get(parent).is_some_and(|files| *files > 1)) {
            Some(parent) => format!("{}/**", globset::escape(parent)),
            None => globset::escape(path),
        }
    };
    let mut found: BTreeSet<String> = paths.iter().map(glob).collect();
    if found.len() > GLOBS {
        // One for each directory at the top.
        let top = |path: &&str| {
            path.split_once('/')
                .map_or_else(|| globset::escape(path), |(top, _)| format!("{}/**", globset::escape(top)))
        };
        found = paths.iter().map(top).collect();
    }
    let whole: Vec<String> = found.iter().filter(|glob| glob.ends_with("/**")).cloned().collect();
    let is_covered =
        |glob: &String| whole.iter().any(|other| other != glob && glob.starts_with(other.trim_end_matches("**")));
    found.retain(|glob| !is_covered(glob));
    if found.len() > GLOBS { Vec::new() } else { found.iter().map(|glob| format!("{glob:?}")).collect() }
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

#[cfg(test)]
mod tests {
    use globset::{Glob, GlobSetBuilder};

    use super::*;

    fn proposed(paths: &[&str]) -> Vec<String> {
        let drift = |path: &&str| Drift { path: (*path).to_owned(), kind: DriftKind::Added, touched: None };
        let entries: Vec<Drift> = paths.iter().map(drift).collect();
        let globs = globs(&entries);
        let mut set = GlobSetBuilder::new();
        for glob in &globs {
            set.add(Glob::new(&serde_json::from_str::<String>(glob).unwrap()).unwrap());
        }
        let set = set.build().unwrap();
        let missed: Vec<_> = paths.iter().filter(|path| !globs.is_empty() && !set.is_match(path)).collect();
        assert!(missed.is_empty(), "{missed:?} are not covered by {globs:?}");
        globs
    }

    #[test]
    fn the_globs_that_are_proposed_cover_what_differs_and_are_few() {
        assert_eq!(proposed(&["cache/a", "cache/b"]), ["\"cache/**\""]);
        assert_eq!(proposed(&["a.log"]), ["\"a.log\""]);
        assert_eq!(proposed(&["app/[id]/x*.html"]), ["\"app/[[]id[]]/x[*].html\""]);
        assert_eq!(proposed(&["lib/__pycache__/a.pyc", "x/y/__pycache__/b.pyc"]), ["\"**/__pycache__/**\""]);
        assert_eq!(proposed(&["cache/a", "cache/b", "cache/views/one.php"]), ["\"cache/**\""]);
        let many: Vec<String> = (0..9).map(|n| format!("var/{n}/x")).collect();
        assert_eq!(proposed(&many.iter().map(String::as_str).collect::<Vec<_>>()), ["\"var/**\""]);
        let top: Vec<String> = (0..9).map(|n| format!("{n}.log")).collect();
        assert!(proposed(&top.iter().map(String::as_str).collect::<Vec<_>>()).is_empty());
    }
}
