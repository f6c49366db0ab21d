//! How the units of a confirmed release are between deployments: looked at and not touched.

use std::time::Duration;

use super::process::{self, Runs};
use super::settle::state;
use super::systemctl::{Seen, Systemd};
use crate::host::disk::root::Root;
use crate::host::wire::HostError;
use crate::model::activation::Unit;
use crate::model::compose::ServiceSeen;
use crate::model::ids::ReleaseName;
use crate::model::observed::Current;
use crate::model::record::Record;

/// Every pass asks: a bus that hangs must not hold up the look at everything else.
const ANSWER: Duration = Duration::from_secs(5);

/// The units of the release that is confirmed and that `current` leads to. None while one is on probation: its own step judges
/// what it starts.
///
/// # Errors
/// Nothing is known of them: why, for people.
pub fn seen(root: &Root, record: &Record, current: &Current) -> Result<Vec<ServiceSeen>, String> {
    let Some(confirmed) = &record.confirmed else { return Ok(Vec::new()) };
    let units = &confirmed.activation.units;
    if units.is_empty() || record.probation.is_some() || current.release() != Some(&confirmed.release) {
        return Ok(Vec::new());
    }
    let systemd = Systemd::here();
    look(root, &systemd, &confirmed.release, units).map_err(|error| error.to_string())
}

/// One call for the manager of the machine, and one for that of the user, where there are such units.
fn look(root: &Root, systemd: &Systemd, live: &ReleaseName, units: &[Unit]) -> Result<Vec<ServiceSeen>, HostError> {
    let mut found: Vec<(&Unit, Seen)> = Vec::new();
    for user in [false, true] {
        let of: Vec<&Unit> = units.iter().filter(|unit| unit.user == user).collect();
        let all = systemd.show_all(&of, ANSWER)?;
        found.extend(of.into_iter().zip(all));
    }
    Ok(units
        .iter()
        .filter_map(|unit| found.iter().find(|(of, _)| *of == unit))
        .map(|(unit, seen)| service(root, live, unit, seen))
        .collect())
}

fn service(root: &Root, live: &ReleaseName, unit: &Unit, seen: &Seen) -> ServiceSeen {
    let runs = is_up(seen);
    let elsewhere = match (runs && seen.pid > 0).then(|| process::runs(root, live, seen)) {
        Some(Runs::Elsewhere(why)) => Some(why),
        _ => None,
    };
    let state = match (&elsewhere, seen.load.as_str()) {
        (Some(why), _) => format!("not of this release: {why}"),
        (None, "loaded") if runs => "running".to_owned(),
        (None, "loaded" | "") => state(seen),
        (None, load) => load.to_owned(),
    };
    ServiceSeen {
        service: unit.to_string(),
        wanted: 1,
        running: u32::from(runs),
        digest_ok: elsewhere.is_none(),
        state,
        restarts: u32::try_from(seen.restarts).unwrap_or(u32::MAX),
        ..ServiceSeen::default()
    }
}

/// It runs, or has done what it is there for.
fn is_up(seen: &Seen) -> bool {
    match seen.active.as_str() {
        "active" | "reloading" | "refreshing" => true,
        // A service of this kind ends: well, or it is `failed`.
        "inactive" => seen.kind == "oneshot" && seen.result == "success",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(active: &str, kind: &str, result: &str) -> Seen {
        let text = |text: &str| text.to_owned();
        Seen { load: text("loaded"), active: text(active), kind: text(kind), result: text(result), ..Seen::default() }
    }

    #[test]
    fn what_has_ended_is_told_unless_it_was_meant_to_end() {
        for (seen, up) in [
            (one("active", "notify", "success"), true),
            (one("inactive", "oneshot", "success"), true),
            (one("inactive", "simple", "success"), false),
            (one("failed", "oneshot", "exit-code"), false),
            (one("activating", "simple", "exit-code"), false),
        ] {
            assert_eq!(is_up(&seen), up, "{seen:?}");
        }
    }
}
