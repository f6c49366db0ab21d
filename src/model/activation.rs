//! What must happen after `current` moved, forward or back, so that the release that it leads to is what runs (I7): units of
//! systemd that are restarted, in their order, and watched until they have settled. Pure: a plan shows it, a probation takes
//! it along for the way back, a host carries it out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::desired::{Environment, Target, seconds};
use super::record::Record;
use super::template::fill;

/// How long a unit must stay the same where nobody says otherwise.
pub const SETTLE: Duration = Duration::from_secs(10);

/// So long all units together may take to stop and to start, the time in which they settle aside: as long as a hook may by
/// default. A unit that hangs longer is a verdict.
pub const LIMIT: Duration = Duration::from_secs(600);

/// The units of one root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// Restarted one after the other.
    pub units: Vec<Unit>,
    /// On the way back: what only the release that failed had. It is stopped first, because its program is gone from
    /// `current`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<Unit>,
    /// The project of containers that `current` holds, by its name: it is brought up with what the release says, before units
    /// restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// For so long each unit must stay what it is.
    #[serde(with = "seconds")]
    pub settle: Duration,
    /// Environment files of the host whose values lines of the journal must not show (law 9).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hides: Vec<String>,
}

/// A unit of systemd.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unit {
    /// With its suffix: `storage-api.service`.
    pub name: String,
    /// One of the manager of the user who deploys, and not of the machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub user: bool,
}

/// The kinds of units that can be activated.
pub const SUFFIXES: [&str; 5] = [".service", ".socket", ".timer", ".path", ".target"];

impl Unit {
    /// What follows the name of a program of systemd that is to speak to the manager of this unit.
    pub fn manager(&self) -> &'static str {
        if self.user { " --user" } else { "" }
    }

    /// It starts other units: where it is stopped after them they may come back, and where it is started after them systemd
    /// may refuse it.
    pub fn triggers(&self) -> bool {
        [".socket", ".timer", ".path"].iter().any(|suffix| self.name.ends_with(suffix))
    }

    /// It holds sockets that clients are connecting to.
    pub fn is_socket(&self) -> bool {
        self.name.ends_with(".socket")
    }
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.user {
            true => write!(f, "{} (of the user)", self.name),
            false => f.write_str(&self.name),
        }
    }
}

/// Whether a text is the name of one unit that can be activated: no option, no path and no pattern.
pub fn is_unit(name: &str) -> bool {
    let stem = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or_default();
    (1..=240).contains(&stem.len())
        && !stem.starts_with(['-', '.', '@'])
        && stem.bytes().all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b))
}

impl Activation {
    /// What an environment wants on one of its hosts. No unit is called by a release: a name is the same for all of them.
    pub fn of(env: &Environment, target: &Target) -> Activation {
        let project = env.delivery.compose().map(|files| fill(&files.project, &env.bundle_values()));
        if env.units.is_empty() && project.is_none() {
            return Activation::default();
        }
        let values = env.values(target, None, None);
        let filled = |unit: &Unit| Unit { name: fill(&unit.name, &values), ..unit.clone() };
        let hides = env.env_file().map(|file| format!("{}/shared/{}", target.root, file.from)).into_iter().collect();
        Activation {
            units: env.units.iter().map(filled).collect(),
            stop: Vec::new(),
            project,
            settle: env.settle,
            hides,
        }
    }

    /// Those of them that are stopped before a migration, and have to run again whatever becomes of it.
    pub fn drained(env: &Environment, target: &Target) -> Activation {
        let mut all = Activation::of(env, target);
        let mut drains = env.units.iter().map(|unit| env.drains.contains(unit));
        all.units.retain(|_| drains.next() == Some(true));
        all
    }

    /// What a host needs once it is back at what it has confirmed: the units that ran then, without those that only the
    /// release that failed had. Of a release that was confirmed without any the units of now, which something else started
    /// until now.
    pub fn back(env: &Environment, target: &Target, record: &Record) -> Activation {
        let now = Activation::of(env, target);
        match record.confirmed.as_ref().map(|confirmed| &confirmed.activation).filter(|before| !before.is_empty()) {
            None => now,
            Some(before) => {
                let stop = now.units.into_iter().filter(|unit| !before.units.contains(unit)).collect();
                Activation { stop, ..before.clone() }
            }
        }
    }

    /// Nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty() && self.stop.is_empty() && self.project.is_none()
    }

    /// In the order in which they are started: sockets first, because systemd opens none whose service runs already; the
    /// others as they are written.
    pub fn in_order(&self) -> Vec<&Unit> {
        let (first, then): (Vec<&Unit>, Vec<&Unit>) = self.units.iter().partition(|unit| unit.is_socket());
        first.into_iter().chain(then).collect()
    }

    /// In the order in which they are stopped: what would start another one again first, the others backwards.
    pub fn in_reverse(&self) -> Vec<&Unit> {
        let (first, then): (Vec<&Unit>, Vec<&Unit>) = self.units.iter().rev().partition(|unit| unit.triggers());
        first.into_iter().chain(then).collect()
    }

    /// How long it may take all in all.
    pub fn limit(&self) -> Duration {
        LIMIT.saturating_add(self.settle)
    }

    /// Project and units by name, for people.
    pub fn told(&self) -> String {
        let project = self.project.iter().map(|name| format!("the project {name}"));
        project.chain(self.units.iter().map(Unit::to_string)).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(names: &[&str]) -> Activation {
        let unit = |name: &&str| Unit { name: (*name).to_owned(), user: false };
        Activation { units: names.iter().map(unit).collect(), ..Activation::default() }
    }

    #[test]
    fn names_are_no_options_no_paths_and_no_patterns() {
        for good in ["a.service", "queue@1.service", "api.socket", r"dev-disk\x2d1.timer", "soll_x:y.target"] {
            assert!(is_unit(good), "{good}");
        }
        for bad in
            ["", "a", ".service", "-H.service", "a b.service", "a/b.service", "php*.service", "a.mount", "a;b.service"]
        {
            assert!(!is_unit(bad), "{bad}");
        }
    }

    #[test]
    fn what_starts_others_comes_first_in_both_directions() {
        let all = units(&["a.service", "b.service", "a.socket", "t.timer"]);
        let names = |units: Vec<&Unit>| units.iter().map(|unit| unit.name.clone()).collect::<Vec<_>>().join(" ");
        assert_eq!(names(all.in_order()), "a.socket a.service b.service t.timer");
        assert_eq!(names(all.in_reverse()), "t.timer a.socket b.service a.service");
    }

    #[test]
    fn an_activation_of_nothing_is_nothing() {
        assert!(Activation::default().is_empty() && !units(&["a.service"]).is_empty());
        let text = serde_json::to_string(&units(&["a.service"])).unwrap();
        assert_eq!(text, r#"{"units":[{"name":"a.service"}],"settle":0.0}"#);
    }
}
