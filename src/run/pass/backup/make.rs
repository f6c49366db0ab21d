//! One backup, under the lock of its host's root (I17), with a row and every step in the journal.

use std::sync::Arc;
use std::time::Duration;

use super::ping::{Beat, Switch};
use super::saver;
use crate::journal::operation::Action;
use crate::model::backup::name::Kind;
use crate::model::desired::{Backup, Environment, Target};
use crate::model::ids::HostName;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::{Controller, now};
use crate::run::pass::journaled::{Asked, Journal, OperateError, journaled};
use crate::run::pass::roots::Roots;
use crate::run::step::backup::{Job, Saved, Saving};
use crate::run::step::executor::StepTrouble;
use crate::run::step::prune::{self, AT_MOST, Pruned};
use crate::run::step::shelf::Grounds;

/// Why and how one is made.
pub struct Wish {
    pub kind: Kind,
    pub reason: String,
    /// How long to wait for whoever holds the root.
    pub patience: Duration,
}

/// Makes one. `say`: told of each step that is over.
///
/// # Errors
/// The root cannot be had: then nothing was begun, and there is no row. A part or every target failed: then the row says so.
pub async fn make(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
    backup: &Backup,
    wish: Wish,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Saved, OperateError> {
    let Some(target) = saver(&snapshot.desired, env) else {
        let why = format!("the data of {} are on another host, which saves them itself", env.name);
        return Err(OperateError::Refused(why));
    };
    let doing = format!("backup {}", backup.name);
    // Each on the heap: one in the other they are more than the stack of a thread has room for.
    let roots = Box::pin(Roots::take_one(controller, snapshot, env, target, (&doing, wish.patience))).await?;
    let done = Box::pin(held(controller, snapshot, (&roots, target), backup, wish, say)).await;
    roots.release().await;
    done
}

async fn held(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    (roots, target): (&Roots<'_>, &Target),
    backup: &Backup,
    wish: Wish,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Saved, OperateError> {
    let env = roots.env;
    let state = roots.taken(&target.name);
    if state.is_some_and(|state| state.record.probation.is_some()) {
        let why = format!("a release of {} is on probation: its data are saved when that is over", env.name);
        return Err(OperateError::Waits(why));
    }
    if let Some(restoring) = state.and_then(|state| state.record.restoring.as_ref()) {
        let why = format!(
            "{} is being restored from {}: what is there now is neither the old nor the new, and nothing is saved of it before that is \
             ended: {}",
            env.name,
            restoring.backup,
            restoring.way_on(&env.name)
        );
        return Err(OperateError::Waits(why));
    }
    let asked = Asked {
        action: Action::Backup,
        environment: Some(env.name.clone()),
        hosts: vec![target.name.clone()],
        commit: snapshot.commit.to_string(),
        actor: controller.who.clone(),
        reason: format!("{}: {}", backup.name, wish.reason),
    };
    // What people ask for beside it proves nothing about the schedule.
    let mut switch = match wish.kind {
        Kind::Daily => Switch::of(snapshot.secrets(), env, backup),
        Kind::PreDeploy | Kind::Manual => None,
    };
    if let Some(switch) = &mut switch {
        switch.tell(Beat::Start).await;
    }
    let journaled = journaled(controller, asked, async |journal| {
        let job =
            Job { env, target, epoch: roots.epoch, backup, kind: wish.kind, state, before: None, of_restore: None };
        let mut saving = Saving::begin(roots.site(), job).await.map_err(|trouble| failed(&target.name, trouble))?;
        let parts = saving.parts();
        let mut saved = Err(StepTrouble::none());
        for (index, part) in parts.iter().enumerate() {
            let step = format!("backup:{}:{part}", target.name);
            let made = step_of(journal, &step, &target.name, Box::pin(saving.part(index)), String::clone).await;
            match made {
                Ok(note) => say(&note),
                Err(trouble) => {
                    saved = Err(trouble);
                    break;
                }
            }
            if index + 1 == parts.len() {
                let step = format!("manifest:{}", target.name);
                saved = step_of(journal, &step, &target.name, Box::pin(saving.seal()), Saved::told).await;
            }
        }
        saving.end(&saved).await;
        let saved = saved.map_err(|trouble| failed(&target.name, trouble))?;
        // This run was good where it lies, whatever the one before it was.
        let grounds = Grounds { backup, state, now: now(), still: None, at_most: Some(AT_MOST) };
        let rows = Box::pin(prune::shelves(roots.site(), env, target, &grounds)).await;
        for place in &saved.targets {
            let step = format!("prune:{}:{}", target.name, place.name);
            let pruned = Box::pin(prune::prune(roots.site(), (target, roots.epoch), &rows, place, &grounds));
            // An old backup that stays harms nobody: it is told.
            let note = |pruned: &Pruned| pruned.told(&place.name);
            match step_of(journal, &step, &target.name, pruned, note).await {
                Ok(pruned) if pruned.told(&place.name).is_empty() => {}
                Ok(pruned) => say(&pruned.told(&place.name)),
                Err(trouble) => say(&format!("nothing was pruned on {}: {}", place.name, trouble.message)),
            }
        }
        match saved.everywhere {
            true => Ok(saved),
            false => Err(OperateError::Refused(saved.told())),
        }
    });
    let mut done = Box::pin(journaled).await;
    if let Some(mut switch) = switch {
        match &done {
            // It lies there, and is held until a person has looked: for whoever watches it is not good.
            Ok(Saved { shrunk: Some(why), .. }) => switch.tell(Beat::Fail(why)).await,
            Ok(saved) => switch.tell(Beat::Success(&saved.told())).await,
            Err(error) => switch.tell(Beat::Fail(&error.to_string())).await,
        }
        if let Some(warning) = switch.warning() {
            say(&warning);
            if let Ok(saved) = &mut done {
                saved.warnings.push(warning);
            }
        }
    }
    done
}

/// One step, whose failure keeps its words and its class.
async fn step_of<T>(
    journal: &Journal,
    step: &str,
    host: &HostName,
    work: impl Future<Output = Result<T, StepTrouble>>,
    note: impl FnOnce(&T) -> String,
) -> Result<T, StepTrouble> {
    let mut trouble = None;
    let kept = async {
        work.await.map_err(|error| {
            let told = failed(host, StepTrouble { message: error.message.clone(), ..StepTrouble::none() });
            let class = error.class;
            trouble = Some(error);
            match class {
                crate::journal::FailureClass::Connection => OperateError::Unreachable(told.to_string()),
                _ => told,
            }
        })
    };
    let done = journal.step(step, Some(host), note, kept).await;
    done.map_err(|_| trouble.unwrap_or_else(StepTrouble::none))
}

fn failed(host: &HostName, trouble: StepTrouble) -> OperateError {
    match trouble.class {
        crate::journal::FailureClass::Connection => OperateError::Unreachable(format!("{host}: {}", trouble.message)),
        _ => OperateError::Refused(trouble.message),
    }
}
