//! Doing a restore: tried, noted, stopped, saved, loaded, started. How far it has come is on the record of the host before the
//! next thing is done, so that the same command goes on wherever it broke off: what is loaded is not loaded again over what was
//! written since.

use super::super::stop::{hooks, mark, units};
use super::{Plan, Restored};
use crate::fault::fault;
use crate::host::wire::activate::Deed;
use crate::host::wire::backup::{Answer, PutBack, Work};
use crate::host::wire::{Op, Reply};
use crate::journal::operation::Action;
use crate::journal::{FailureClass, RunResult};
use crate::model::backup::name::{BackupName, Kind};
use crate::model::backup::proof::Outcome;
use crate::model::desired::Phase;
use crate::model::record::Stopped;
use crate::model::record::backup::Restoring;
use crate::run::controller::{ControllerError, now};
use crate::run::pass::backup::prove::{Bench, Trying};
use crate::run::pass::journaled::{Asked, Journal, OperateError, journaled};
use crate::run::pass::roots::Roots;
use crate::run::step::backup::{Job, Saving};
use crate::run::step::executor::StepTrouble;

impl Plan<'_> {
    /// Does it. `say`: told of each step that is over. Gives what was saved before, and whether it runs.
    ///
    /// # Errors
    /// A root cannot be had; the backup is not what it should be: then nothing was changed. A later step failed: then the
    /// environment stays stopped, and the error says how to go on and how to go back.
    pub async fn restore(self, say: &(dyn Fn(&str) + Sync)) -> Result<Restored, OperateError> {
        let Bench { controller, snapshot, env, .. } = &self.bench;
        let doing = format!("restore {}", self.manifest.name);
        fault!("restore.before-roots");
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
    ) -> Result<Restored, OperateError> {
        let Bench { env, target, backup, .. } = &self.bench;
        let record = roots.taken(&target.name).map(|state| &state.record);
        if record.is_some_and(|record| record.probation.is_some()) {
            let why = format!("a release of {} is on probation: restore when that is over", env.name);
            return Err(OperateError::Waits(why));
        }
        // What was seen before the lock was had may be what somebody else was doing.
        if record.and_then(|record| record.restoring.as_ref()) != self.broken.as_ref() {
            let why = format!(
                "somebody else restored data of {} meanwhile, and nothing was changed here: look at what is there now, then \
                 say it once more",
                env.name
            );
            return Err(OperateError::Waits(why));
        }
        let wanted = self.wanted(roots)?;
        if self.needs_trial() {
            Box::pin(self.tried(roots, journal, say)).await?;
            fault!("restore.after-tried");
        }
        let stopped = || record.and_then(|record| record.stopped.clone());
        let mut restoring = Restoring {
            job: backup.name.clone(),
            backup: self.manifest.name,
            since: now(),
            safety: self.safety(),
            only: self.wish.only,
            loaded: self.is_loaded(),
            halted: self.broken.as_ref().map_or_else(stopped, |broken| broken.halted.clone()),
        };
        self.note(roots, Some(&restoring)).await?;
        fault!("restore.after-noted");
        let done = Box::pin(self.changed(roots, journal, (&mut restoring, wanted), say)).await;
        done.map_err(|error| self.stays(&restoring, error))?;
        Ok(Restored { safety: restoring.safety, halted: restoring.halted })
    }

    /// Everything that changes something.
    async fn changed(
        &self,
        roots: &Roots<'_>,
        journal: &Journal,
        (restoring, wanted): (&mut Restoring, Vec<PutBack>),
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<(), OperateError> {
        if !restoring.loaded {
            mark(roots, journal, Some(self.stopped(restoring))).await?;
            fault!("restore.after-marked");
            // Where a person has stopped it the hooks have run.
            if restoring.halted.is_none() {
                hooks(roots, journal, &[Phase::MaintenanceOn, Phase::Stop], say).await?;
            }
            units(roots, journal, Deed::Stop, say).await?;
            fault!("restore.after-stopped");
            if self.needs_safety() {
                let saved = Box::pin(self.saved(roots, journal)).await?;
                say(&format!("what is there now is saved: {saved}"));
                fault!("restore.after-saved");
                restoring.safety = Some(saved);
                self.note(roots, Some(restoring)).await?;
                mark(roots, journal, Some(self.stopped(restoring))).await?;
            }
            for asked in wanted {
                let told = Box::pin(self.load(roots, journal, asked)).await?;
                fault!("restore.after-load");
                say(&told);
            }
            restoring.loaded = true;
            self.note(roots, Some(restoring)).await?;
            fault!("restore.after-loaded");
        }
        if restoring.halted.is_none() {
            units(roots, journal, Deed::Start, say).await?;
            hooks(roots, journal, &[Phase::Start, Phase::MaintenanceOff], say).await?;
        }
        fault!("restore.after-started");
        // In this order: where nothing is noted any more the same command would begin anew.
        mark(roots, journal, restoring.halted.clone()).await?;
        fault!("restore.after-unmarked");
        self.note(roots, None).await
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
        let mut outcome = Outcome::Pass;
        let mut why = Vec::new();
        for entry in self.parts() {
            let part = Box::pin(self.bench.part(roots, journal, (&self.place, &self.manifest, entry), &trying)).await;
            say(&part.told());
            // What the data say was so when they were saved: a faithful copy of it is what is wanted.
            outcome = outcome.max(part.faithful());
            if part.faithful() != Outcome::Pass {
                why.push(part.told());
            }
        }
        let why = why.join("; ");
        match outcome {
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
        let failed = |trouble: StepTrouble| {
            let why = format!(
                "what is there now cannot be saved: {}; where it is broken, restore without that: --without-safety",
                trouble.message
            );
            match trouble.class {
                FailureClass::Connection => OperateError::Unreachable(why),
                FailureClass::Verdict => OperateError::Refused(why),
                _ => ControllerError::Other(why).into(),
            }
        };
        let work = async {
            let (state, of_restore) = (roots.taken(&target.name), Some(self.manifest.name));
            let job =
                Job { env, target, epoch: roots.epoch, backup, kind: Kind::Manual, state, before: None, of_restore };
            let mut saving = Saving::begin(roots.site(), job).await.map_err(failed)?;
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
            saved.map(|saved| saved.name).map_err(failed)
        };
        let step = format!("safety:{}", target.name);
        journal.step(&step, Some(&target.name), ToString::to_string, Box::pin(work)).await
    }

    async fn load(&self, roots: &Roots<'_>, journal: &Journal, asked: PutBack) -> Result<String, OperateError> {
        let target = self.bench.target;
        let step = format!("load:{}:{}", target.name, self.bench.named(&asked.entry));
        let work = async {
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
        journal.step(&step, Some(&target.name), String::clone, work).await
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

    /// The way on and the way back.
    fn moves(&self, restoring: &Restoring) -> String {
        let env = &self.bench.env.name;
        let on = format!("go on: {}", restoring.way_on(env));
        match restoring.way_back(env) {
            Some(back) => format!("{on}; or back to what was there before: {back}"),
            None => on,
        }
    }

    /// An error after the first change, with what is to be done now. Its class stays.
    fn stays(&self, restoring: &Restoring, error: OperateError) -> OperateError {
        let told = |why: String| format!("{why}; {} stays stopped; {}", self.bench.env.name, self.moves(restoring));
        let result = error.result();
        match error {
            OperateError::Refused(why) => OperateError::Refused(told(why)),
            OperateError::Waits(why) => OperateError::Waits(told(why)),
            error if result == RunResult::Unreachable => OperateError::Unreachable(told(error.to_string())),
            error => ControllerError::Other(told(error.to_string())).into(),
        }
    }
}
