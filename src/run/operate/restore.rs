//! A restore in place (F5): the backup is tried in a place of its own first, then everything that writes is stopped, what is
//! there is saved, the backup is loaded, and everything is started again. Each step is in the journal, and how far it has come is
//! on the record of the host: a restore that broke off leaves the environment stopped, and is gone on with, or taken back by
//! restoring what was saved before it.

mod course;
mod go;
mod parts;

use std::sync::Arc;

use jiff::Timestamp;

use crate::model::backup::manifest::{Manifest, PartEntry};
use crate::model::backup::name::{BackupName, Content};
use crate::model::desired::backup::BackupTarget;
use crate::model::desired::{Backup, Environment};
use crate::model::ids::{HostName, ReleaseName};
use crate::model::observed::HostObserved;
use crate::model::record::Stopped;
use crate::model::record::backup::Restoring;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::Controller;
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::pass::backup::prove::{Bench, NO_CHOICE};
use crate::run::pass::backup::saver;
use crate::run::pass::backup::shelf::OnShelf;
use crate::run::pass::journaled::OperateError;

/// Which backup is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    Newest,
    Name(BackupName),
    /// The newest one that was begun then or earlier.
    Time(Timestamp),
    /// The one that was made before this release was deployed.
    Before(ReleaseName),
}

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Wish {
    pub at: At,
    /// Only databases, or only files; `None`: both.
    pub only: Option<Content>,
    /// Also where nobody could find out whether the backup is what it should be.
    pub unproven: bool,
    /// Without saving first what is there: it cannot be saved any more.
    pub without_safety: bool,
    /// It was tried just now, and is what was saved.
    pub tried: bool,
    pub reason: String,
}

/// One step, as it is shown before it is done.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    pub step: String,
    pub host: HostName,
    /// What it does, in words.
    pub does: String,
}

/// A restore that can be begun.
pub struct Plan<'a> {
    bench: Bench<'a>,
    wish: Wish,
    place: BackupTarget,
    manifest: Manifest,
    /// One that broke off.
    broken: Option<Restoring>,
    /// A person has stopped the environment: it stays so.
    is_halted: bool,
}

/// What came of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What was there before it.
    pub safety: Option<BackupName>,
    /// A person had stopped the environment before: it was not started.
    pub halted: Option<Stopped>,
}

/// Which backup is meant, and where it is read from. Changes nothing.
struct Found<'a> {
    bench: Bench<'a>,
    place: BackupTarget,
    manifest: Manifest,
    broken: Option<Restoring>,
    is_halted: bool,
}

async fn find<'a>(
    controller: &'a Arc<Controller>,
    snapshot: &'a Arc<AcceptedSnapshot>,
    (env, backup): (&'a Environment, &'a Backup),
    at: &At,
) -> Result<Found<'a>, OperateError> {
    let Some(target) = saver(&snapshot.desired, env) else {
        let why = format!("the data of {} are on another host, which restores them itself", env.name);
        return Err(OperateError::Refused(why));
    };
    let look = Look { health: false, drift: Scan::Last };
    let observed = Box::pin(observe(controller, snapshot, std::slice::from_ref(&env.name), look)).await;
    let seen = observed.environments.get(&env.name).and_then(|seen| seen.hosts.get(&target.name));
    let (broken, is_stopped) = match seen {
        Some(HostObserved::Reached(state)) => (state.record.restoring.clone(), state.record.stopped.is_some()),
        Some(HostObserved::Unreachable(why)) => {
            return Err(OperateError::Unreachable(format!("{} cannot be seen: {why}", target.name)));
        }
        None => return Err(OperateError::Unreachable(format!("{} was not looked at", target.name))),
    };
    let is_halted = broken.as_ref().map_or(is_stopped, |broken| broken.halted.is_some());
    let bench = Bench { controller, snapshot, env, backup, on: env, target };
    let own = broken.as_ref().filter(|broken| broken.job == backup.name).map(|broken| broken.backup);
    let is_meant = |one: &OnShelf| match (at, own) {
        (At::Newest, Some(own)) => one.name == own,
        (At::Newest, None) => one.is_choice(),
        (At::Name(wanted), _) => one.name == *wanted,
        (At::Time(until), _) => one.name.at.at() <= *until && one.is_choice(),
        (At::Before(release), _) => {
            one.manifest.as_ref().is_some_and(|manifest| manifest.before.as_ref() == Some(release))
        }
    };
    let none = match at {
        At::Newest => NO_CHOICE.to_owned(),
        At::Name(name) => format!("there is no {name}"),
        At::Time(until) => format!("there is no backup of {until} or earlier that is whole"),
        At::Before(release) => format!("there is no backup from before {release}"),
    };
    let (place, _, manifest) = Box::pin(bench.chosen(&is_meant, &none)).await.map_err(OperateError::Refused)?;
    Ok(Found { bench, place, manifest, broken, is_halted })
}

/// Which backup is meant, whatever stands in the way of putting it back: to look at it in a place of its own.
///
/// # Errors
/// There is no such backup, or the host cannot be seen.
pub async fn named(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    of: (&Environment, &Backup),
    at: &At,
) -> Result<BackupName, OperateError> {
    Ok(find(controller, snapshot, of, at).await?.manifest.name)
}

/// What would be restored, and how. Changes nothing.
///
/// # Errors
/// There is no such backup, or the host cannot be seen; a part of it cannot be put back; another restore broke off, which is
/// ended first.
pub async fn plan<'a>(
    controller: &'a Arc<Controller>,
    snapshot: &'a Arc<AcceptedSnapshot>,
    of: (&'a Environment, &'a Backup),
    wish: Wish,
) -> Result<Plan<'a>, OperateError> {
    let (env, backup) = (&of.0.name, &of.1.name);
    let Found { bench, place, manifest, broken, is_halted } = find(controller, snapshot, of, &wish.at).await?;
    let asked = course::Asked { env, job: backup, backup: manifest.name, only: wish.only };
    course::must_fit(broken.as_ref(), &asked).map_err(OperateError::Refused)?;
    let plan = Plan { bench, wish, place, manifest, broken, is_halted };
    let why = match plan.parts().is_empty() {
        true => Some(format!("{} has {}", plan.manifest.name, lacks(plan.wish.only))),
        false => plan.impossible(),
    };
    match why {
        Some(why) => Err(OperateError::Refused(format!("{why}. Nothing was touched"))),
        None => Ok(plan),
    }
}

/// What is not in a backup.
fn lacks(only: Option<Content>) -> &'static str {
    match only {
        Some(Content::Database) => "no database",
        Some(Content::Files) => "no files",
        None => "no parts at all: nothing was saved",
    }
}

impl Plan<'_> {
    /// The backup that is restored.
    pub fn backup(&self) -> BackupName {
        self.manifest.name
    }

    /// The job that made it.
    pub fn job(&self) -> &str {
        &self.bench.backup.name
    }

    /// What was left by one that broke off, in a sentence.
    pub fn broken(&self) -> Option<String> {
        let Restoring { backup, since, safety, .. } = self.broken.as_ref()?;
        let safety = safety.map_or_else(String::new, |safety| format!("; what was there before is {safety}"));
        Some(format!("the restore of {backup}, begun {since}, did not come to its end{safety}"))
    }

    fn parts(&self) -> Vec<&PartEntry> {
        self.manifest.parts.iter().filter(|part| self.wish.only.is_none_or(|only| part.content == only)).collect()
    }

    /// Whether the same was tried before it broke off.
    fn is_tried(&self) -> bool {
        self.broken.as_ref().is_some_and(|broken| broken.backup == self.manifest.name)
    }

    fn needs_trial(&self) -> bool {
        !self.wish.tried && !self.is_tried()
    }

    /// Whether the same has put everything back before it broke off: what was written since is not overwritten.
    fn is_loaded(&self) -> bool {
        self.is_tried() && self.broken.as_ref().is_some_and(|broken| broken.loaded)
    }

    /// What was there before one that broke off, and is there no more. Where that had put everything back, what is there now
    /// is whole, and is saved before another backup is put in its place.
    fn safety(&self) -> Option<BackupName> {
        let broken = self.broken.as_ref().filter(|broken| !broken.loaded || self.is_tried());
        broken.and_then(|broken| broken.safety)
    }

    fn needs_safety(&self) -> bool {
        !self.wish.without_safety && self.safety().is_none()
    }

    /// Every step, in its order.
    pub fn steps(&self) -> Vec<Step> {
        let Bench { env, target, .. } = &self.bench;
        let (name, from) = (self.manifest.name, &self.place.name);
        let step = |step: String, host: &HostName, does: String| Step { step, host: host.clone(), does };
        let own = |kind: &str, does: String| step(format!("{kind}:{}", target.name), &target.name, does);
        let all = |kind: &str, does: &str| {
            let each =
                env.targets.iter().map(|target| step(format!("{kind}:{}", target.name), &target.name, does.to_owned()));
            each.collect::<Vec<_>>()
        };
        let each = |kind: &str, does: &str| -> Vec<Step> {
            let one = |part: &PartEntry| {
                let id = format!("{kind}:{}:{}", target.name, self.bench.named(part));
                step(id, &target.name, format!("{does} {}", part.file))
            };
            self.parts().into_iter().map(one).collect()
        };
        let mut steps: Vec<Step> = Vec::new();
        if self.needs_trial() {
            steps.extend(each(
                "prove",
                &format!("restore into a place of its own, and look at, from {name} on {from}:"),
            ));
        }
        if !self.is_loaded() {
            steps.extend(all("stopped", "note that it is stopped: nothing is deployed meanwhile"));
            steps.extend(all("stop", "maintenance on, the stop hooks, then units and services are stopped"));
            if self.needs_safety() {
                steps.push(own("safety", "save what is there now, read it back".to_owned()));
            }
            steps.extend(each("load", "put back where it came from:"));
        }
        match self.is_halted {
            true => steps.extend(all("stays", "stays stopped, as it was before: soll start starts it")),
            false => steps.extend(all("start", "units and services, the start hooks, then maintenance off")),
        }
        steps
    }
}
