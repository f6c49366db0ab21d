//! A restore in place (F5): the backup is tried in a place of its own first, then everything that writes is stopped, what is
//! there is saved, the backup is loaded, and everything is started again. Each step is in the journal, and how far it has come is
//! on the record of the host: a restore that broke off leaves the environment stopped, and is gone on with, or taken back by
//! restoring what was saved before it.

use std::sync::Arc;

use jiff::Timestamp;

use super::stop::{hooks, mark, units};
use crate::host::wire::activate::Deed;
use crate::host::wire::backup::{self as wire, Answer, Part, PutBack, Work};
use crate::host::wire::{Op, Reply};
use crate::journal::operation::Action;
use crate::model::backup::manifest::{Engine, Manifest, PartEntry};
use crate::model::backup::name::{BackupName, Compression, Content, Kind};
use crate::model::backup::proof::Outcome;
use crate::model::desired::backup::{Access, BackupTarget};
use crate::model::desired::{Backup, Environment, Phase};
use crate::model::ids::{HostName, ReleaseName};
use crate::model::observed::HostObserved;
use crate::model::record::Stopped;
use crate::model::record::backup::Restoring;
use crate::plan::retention::State;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::{Controller, now};
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::pass::backup::prove::{Bench, Trying};
use crate::run::pass::backup::saver;
use crate::run::pass::backup::shelf::OnShelf;
use crate::run::pass::journaled::{Asked, Journal, OperateError, journaled};
use crate::run::pass::roots::Roots;
use crate::run::secrets::Purpose;
use crate::run::step::backup::{Job, Saving, source_of};

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
}

/// What would be restored, and how. Changes nothing.
///
/// # Errors
/// There is no such backup, or the host cannot be seen.
pub async fn plan<'a>(
    controller: &'a Arc<Controller>,
    snapshot: &'a Arc<AcceptedSnapshot>,
    (env, backup): (&'a Environment, &'a Backup),
    wish: Wish,
) -> Result<Plan<'a>, OperateError> {
    let Some(target) = saver(&snapshot.desired, env) else {
        let why = format!("the data of {} are on another host, which restores them itself", env.name);
        return Err(OperateError::Refused(why));
    };
    let look = Look { health: false, drift: Scan::Last };
    let observed = Box::pin(observe(controller, snapshot, std::slice::from_ref(&env.name), look)).await;
    let seen = observed.environments.get(&env.name).and_then(|seen| seen.hosts.get(&target.name));
    let broken = match seen {
        Some(HostObserved::Reached(state)) => state.record.restoring.clone(),
        Some(HostObserved::Unreachable(why)) => {
            return Err(OperateError::Unreachable(format!("{} cannot be seen: {why}", target.name)));
        }
        None => return Err(OperateError::Unreachable(format!("{} was not looked at", target.name))),
    };
    let bench = Bench { controller, snapshot, env, backup, on: env, target };
    let is_meant = |one: &OnShelf| match &wish.at {
        At::Newest => match &broken {
            Some(broken) => one.name == broken.backup,
            None => one.state == State::Verified,
        },
        At::Name(wanted) => one.name == *wanted,
        At::Time(until) => one.name.at.at() <= *until && one.state == State::Verified,
        At::Before(release) => one.manifest.as_ref().is_some_and(|manifest| manifest.before.as_ref() == Some(release)),
    };
    let (place, _, manifest) = Box::pin(bench.chosen(&is_meant)).await.map_err(OperateError::Refused)?;
    let plan = Plan { bench, wish, place, manifest, broken };
    match plan.parts().into_iter().find_map(|part| by_hand(backup, part)) {
        Some(why) => Err(OperateError::Refused(format!(
            "{why}, which this version does not restore: RESTORE.txt on {} says how it is done by hand; `--files-only` restores the \
             files alone. Nothing was touched",
            plan.place.name
        ))),
        None => Ok(plan),
    }
}

/// What of a backup soll cannot put back, in words.
fn by_hand(backup: &Backup, part: &PartEntry) -> Option<String> {
    let facts = part.database.as_ref()?;
    let service = backup.databases.iter().find(|one| one.part == part.name).and_then(|one| one.service.as_ref());
    match (facts.engine, service) {
        (_, Some(service)) => Some(format!("the database {} runs inside the service {service}", facts.database)),
        (Engine::Postgres, None) => Some(format!("{} is a database of PostgreSQL", facts.database)),
        (Engine::Mysql | Engine::Sqlite, None) => None,
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

    fn needs_safety(&self) -> bool {
        !self.wish.without_safety && self.broken.as_ref().is_none_or(|broken| broken.safety.is_none())
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
        if !self.is_tried() {
            steps.extend(each(
                "prove",
                &format!("restore into a place of its own, and look at, from {name} on {from}:"),
            ));
        }
        steps.extend(all("stopped", "note that it is stopped: nothing is deployed meanwhile"));
        steps.extend(all("stop", "maintenance on, the stop hooks, then units and services are stopped"));
        if self.needs_safety() {
            steps.push(own("safety", "save what is there now, read it back".to_owned()));
        }
        steps.extend(each("load", "put back where it came from:"));
        steps.extend(all("start", "units and services, the start hooks, then maintenance off"));
        steps
    }

    /// Does it. `say`: told of each step that is over. Gives the name of what was saved before.
    ///
    /// # Errors
    /// A root cannot be had; the backup is not what it should be: then nothing was changed. A later step failed: then the
    /// environment stays stopped, and the error says how to go on and how to go back.
    pub async fn restore(self, say: &(dyn Fn(&str) + Sync)) -> Result<Option<BackupName>, OperateError> {
        let Bench { controller, snapshot, env, .. } = &self.bench;
        let doing = format!("restore {}", self.manifest.name);
        let roots = Box::pin(Roots::take(controller, snapshot, env, &doing)).await?;
        let reason = format!("{} from {}: {}", self.manifest.name, self.place.name, self.wish.reason);
        let asked = Asked::of(Action::Restore, controller, snapshot, env, Some(reason));
        let done = journaled(controller, asked, async |journal| Box::pin(self.held(&roots, journal, say)).await);
        let done = Box::pin(done).await;
        roots.release().await;
        done
    }

    async fn held(
        &self,
        roots: &Roots<'_>,
        journal: &Journal,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Option<BackupName>, OperateError> {
        let Bench { env, target, .. } = &self.bench;
        if roots.taken(&target.name).is_some_and(|state| state.record.probation.is_some()) {
            let why = format!("a release of {} is on probation: restore when that is over", env.name);
            return Err(OperateError::Waits(why));
        }
        if !self.is_tried() {
            Box::pin(self.tried(roots, journal, say)).await?;
        }
        let mut restoring = Restoring {
            job: self.bench.backup.name.clone(),
            backup: self.manifest.name,
            since: now(),
            safety: self.broken.as_ref().and_then(|broken| broken.safety),
        };
        self.note(roots, Some(&restoring)).await?;
        let done = Box::pin(self.changed(roots, journal, &mut restoring, say)).await;
        done.map_err(|error| self.stays(&restoring, error))?;
        Ok(restoring.safety)
    }

    /// Everything that changes something.
    async fn changed(
        &self,
        roots: &Roots<'_>,
        journal: &Journal,
        restoring: &mut Restoring,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<(), OperateError> {
        mark(roots, journal, Some(self.stopped(restoring))).await?;
        hooks(roots, journal, &[Phase::MaintenanceOn, Phase::Stop], say).await?;
        units(roots, journal, Deed::Stop, say).await?;
        if self.needs_safety() {
            let saved = Box::pin(self.saved(roots, journal)).await?;
            say(&format!("what is there now is saved: {saved}"));
            restoring.safety = Some(saved);
            self.note(roots, Some(restoring)).await?;
            mark(roots, journal, Some(self.stopped(restoring))).await?;
        }
        for part in self.parts() {
            let told = Box::pin(self.load(roots, journal, part)).await?;
            say(&told);
        }
        units(roots, journal, Deed::Start, say).await?;
        hooks(roots, journal, &[Phase::Start, Phase::MaintenanceOff], say).await?;
        self.note(roots, None).await?;
        mark(roots, journal, None).await
    }

    /// In a place of its own, before anything is stopped.
    async fn tried(
        &self,
        roots: &Roots<'_>,
        journal: &Journal,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<(), OperateError> {
        let trying = Trying {
            backup: None,
            reason: String::new(),
            patience: std::time::Duration::ZERO,
            keep: false,
            here: true,
            only: self.wish.only,
        };
        let mut worst = Outcome::Pass;
        let mut why = Vec::new();
        for entry in self.parts() {
            let part = Box::pin(self.bench.part(roots, journal, (&self.place, &self.manifest, entry), &trying)).await;
            say(&part.told());
            worst = worst.max(part.outcome());
            if part.outcome() != Outcome::Pass {
                why.push(part.told());
            }
        }
        let why = why.join("; ");
        match worst {
            Outcome::Pass => Ok(()),
            Outcome::Inconclusive if self.wish.unproven => Ok(()),
            Outcome::Inconclusive => Err(OperateError::Refused(format!(
                "nothing was changed, because nobody can say whether {} is what it should be: {why}; restore it all the same: \
                 --unproven",
                self.manifest.name
            ))),
            Outcome::Fail => Err(OperateError::Refused(format!(
                "nothing was changed, because {} is not what it should be: {why}; take another one: soll backup list",
                self.manifest.name
            ))),
        }
    }

    /// What is there now, as a backup like others.
    async fn saved(&self, roots: &Roots<'_>, journal: &Journal) -> Result<BackupName, OperateError> {
        let Bench { env, target, backup, .. } = &self.bench;
        let failed = |why: String| {
            OperateError::Refused(format!(
                "what is there now cannot be saved: {why}; where it is broken, restore without that: --without-safety"
            ))
        };
        let work = async {
            let state = roots.taken(&target.name);
            let job = Job { env, target, epoch: roots.epoch, backup, kind: Kind::Manual, state, before: None };
            let mut saving = Saving::begin(roots.site(), job).await.map_err(|trouble| failed(trouble.message))?;
            let mut saved = Ok(());
            for index in 0..saving.parts().len() {
                saved = saving.part(index).await.map(drop);
                if saved.is_err() {
                    break;
                }
            }
            let saved = match saved {
                Ok(()) => saving.seal().await,
                Err(trouble) => Err(trouble),
            };
            saving.end(&saved).await;
            saved.map(|saved| saved.name).map_err(|trouble| failed(trouble.message))
        };
        let step = format!("safety:{}", target.name);
        journal.step(&step, Some(&target.name), ToString::to_string, Box::pin(work)).await
    }

    async fn load(&self, roots: &Roots<'_>, journal: &Journal, entry: &PartEntry) -> Result<String, OperateError> {
        let target = self.bench.target;
        let work = async {
            let asked = self.asked(roots, entry)?;
            let op = Op::Backup { epoch: roots.epoch, work: Box::new(Work::PutBack(Box::new(asked))) };
            match roots.call(target, op).await? {
                Reply::Backup(answer) => match *answer {
                    Answer::Restored { told } => Ok(told),
                    other => {
                        Err(OperateError::Refused(format!("the host gave an answer that does not fit: {other:?}")))
                    }
                },
                other => Err(OperateError::Refused(format!("the host gave an answer that does not fit: {other:?}"))),
            }
        };
        let step = format!("load:{}:{}", target.name, self.bench.named(entry));
        journal.step(&step, Some(&target.name), String::clone, work).await
    }

    fn asked(&self, roots: &Roots<'_>, entry: &PartEntry) -> Result<PutBack, OperateError> {
        let Bench { snapshot, env, backup, .. } = &self.bench;
        let gone = || {
            let (file, name) = (&entry.file, &backup.name);
            OperateError::Refused(format!("the state file does not say any more where {file} of {name} came from"))
        };
        let source = match entry.content {
            Content::Database => {
                let database = backup.databases.iter().find(|database| database.part == entry.name).ok_or_else(gone)?;
                source_of(roots.site(), env, database).map_err(|trouble| OperateError::Refused(trouble.message))?
            }
            Content::Files => {
                let files = backup.files.iter().find(|files| files.part == entry.name).ok_or_else(gone)?;
                wire::Source::Files { path: files.path.clone(), exclude: Vec::new() }
            }
        };
        // A database in a file among those that are saved is restored as a database.
        let below = |path: &str| match &source {
            wire::Source::Files { path: dir, .. } => path.strip_prefix(&format!("{dir}/")).map(str::to_owned),
            _ => None,
        };
        let spare = backup.databases.iter().filter_map(|database| match &database.access {
            Access::Path(path) => below(path),
            _ => None,
        });
        let spare = spare.collect();
        let identity = backup.identity.as_ref().filter(|_| entry.file.ends_with(".age"));
        let identities =
            identity.map(|name| snapshot.secrets().get(name, &Purpose::backup(&env.name, None))).transpose();
        let identities = identities.map_err(|refused| {
            OperateError::Refused(format!("encrypted files cannot be opened: {}: {}", refused.why, refused.fix))
        })?;
        let part = Part {
            name: self.manifest.name,
            part: entry.name.clone(),
            content: entry.content,
            file: entry.file.clone(),
            source,
            compress: Compression::None,
            encrypt: Vec::new(),
            targets: vec![self.place.clone()],
            limit: None,
        };
        Ok(PutBack { part, entry: entry.clone(), identities, spare })
    }

    /// How far it has come, on the host of the data.
    async fn note(&self, roots: &Roots<'_>, restoring: Option<&Restoring>) -> Result<(), OperateError> {
        let work = Work::Restoring { restoring: restoring.cloned() };
        let op = Op::Backup { epoch: roots.epoch, work: Box::new(work) };
        roots.call(self.bench.target, op).await.map(drop)
    }

    /// What stands in the way of deployments meanwhile, with the way on and the way back.
    fn stopped(&self, restoring: &Restoring) -> Stopped {
        let reason = format!("{} is being restored; if that broke off, {}", restoring.backup, self.moves(restoring));
        Stopped { reason, by: self.bench.controller.who.clone(), at: now() }
    }

    fn moves(&self, restoring: &Restoring) -> String {
        let (env, backup) = (&self.bench.env.name, restoring.backup);
        let on = format!("go on: soll restore {env} --at {backup}");
        match restoring.safety {
            Some(safety) => format!("{on}; or back to what was there before: soll restore {env} --at {safety}"),
            None => on,
        }
    }

    fn stays(&self, restoring: &Restoring, error: OperateError) -> OperateError {
        let told = |why: String| format!("{why}; {} stays stopped; {}", self.bench.env.name, self.moves(restoring));
        match error {
            OperateError::Refused(why) => OperateError::Refused(told(why)),
            OperateError::Unreachable(why) => OperateError::Unreachable(told(why)),
            OperateError::Waits(why) => OperateError::Waits(told(why)),
            OperateError::Host { host, error } => {
                let error = OperateError::Host { host, error };
                match error.result() {
                    crate::journal::RunResult::Unreachable => OperateError::Unreachable(told(error.to_string())),
                    _ => OperateError::Refused(told(error.to_string())),
                }
            }
            OperateError::Controller(error) => OperateError::Refused(told(error.to_string())),
        }
    }
}
