//! Removes from the targets of a job what is not kept any more, after a good backup or because a person asks for it. The root
//! is held, so that nothing is being written there.

use crate::host::wire::backup::{Answer, Work};
use crate::host::wire::{HostError, Op, Reply};
use crate::model::backup::NO_RIGHT;
use crate::model::backup::name::BackupName;
use crate::model::desired::backup::BackupTarget;
use crate::model::desired::{Environment, Target};
use crate::model::ids::Epoch;
use crate::plan::retention::{Decision, Verdict};
use crate::run::step::executor::{StepTrouble, unexpected};
use crate::run::step::shelf::{Grounds, Row, decide, paths, question, row};
use crate::run::step::world::{Trouble, World};

/// Of a target more than so many do not go by themselves at once: what makes so many superfluous is a mistake.
pub const AT_MOST: usize = 5;

/// What became of a target.
#[derive(Debug, Default)]
pub struct Pruned {
    pub gone: Vec<BackupName>,
    /// The account there may not delete, perhaps on purpose (I20): what the target says.
    pub refused: Option<String>,
    /// Why the next one that was to go stays.
    pub failed: Option<String>,
}

impl Pruned {
    /// What people read of it; empty: there was nothing to do.
    pub fn told(&self, place: &str) -> String {
        let gone: Vec<_> = self.gone.iter().map(ToString::to_string).collect();
        let gone = (!gone.is_empty()).then(|| format!("pruned on {place}: {}", gone.join(", ")));
        let refused = self.refused.as_ref().map(|why| format!("on {place} {why}"));
        let failed = self.failed.as_ref().map(|why| format!("no more was pruned on {place}: {why}"));
        gone.into_iter().chain(refused).chain(failed).collect::<Vec<_>>().join("; ")
    }
}

/// Every target of a job, asked one after the other by whoever holds its root.
pub async fn shelves<W: World>(world: &W, env: &Environment, target: &Target, grounds: &Grounds<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for place in world.doors(env, grounds.backup.places(&target.root)) {
        let answer = world.call(target, question(&place)).await;
        rows.push(row(place, answer, grounds.backup, env));
    }
    rows
}

/// Removes what may go from one of them.
///
/// # Errors
/// The target cannot be read. What is in the way of a removal is in what is given.
pub async fn prune<W: World>(
    world: &W,
    (target, epoch): (&Target, Epoch),
    rows: &[Row],
    place: &BackupTarget,
    grounds: &Grounds<'_>,
) -> Result<Pruned, StepTrouble> {
    let mut pruned = Pruned::default();
    let decisions = decide(rows, &place.name, grounds).map_err(Trouble::error)?;
    for Decision { name, .. } in decisions.into_iter().filter(|decision| decision.verdict == Verdict::Prune) {
        let work = Work::Remove { target: place.clone(), paths: paths(rows, &place.name, name) };
        match world.call(target, Op::Backup { epoch, work: Box::new(work) }).await {
            Ok(Reply::Backup(answer)) if matches!(*answer, Answer::Done) => pruned.gone.push(name),
            Ok(other) => {
                pruned.failed = Some(unexpected(&other).message);
                break;
            }
            Err(HostError::Io(why)) if why.contains(NO_RIGHT) => {
                pruned.refused = Some(why);
                break;
            }
            Err(error) => {
                pruned.failed = Some(error.to_string());
                break;
            }
        }
    }
    Ok(pruned)
}
