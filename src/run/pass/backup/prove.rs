//! One restore test (F4): the newest backup is read by another host from its target, restored into a place of its own, looked
//! at and thrown away. Under the lock of that host's root, with a row in the ledger, and remembered where the data are.

mod asked;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::due::is_busy;
use super::saver;
use super::shelf::{self, OnShelf};
use crate::host::wire::backup::{Answer, Ask, Proved, TestNote, Work};
use crate::host::wire::{Op, Reply};
use crate::journal::operation::Action;
use crate::model::backup::manifest::{Manifest, PartEntry};
use crate::model::backup::name::{BackupName, Content};
use crate::model::backup::proof::{Check, Outcome};
use crate::model::desired::backup::{BackupTarget, LOCAL};
use crate::model::desired::{Backup, Environment, Target};
use crate::model::ids::EnvName;
use crate::model::record::backup::{Tested, Trial};
use crate::plan::proof::{Part, Report};
use crate::plan::retention::State;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::{Controller, ControllerError, now};
use crate::run::look::reach::ask;
use crate::run::pass::journaled::{Asked, Journal, OperateError, journaled};
use crate::run::pass::roots::Roots;

/// What is said of a target on which nothing lies that is restored without being named.
pub const NO_CHOICE: &str = "there is no backup that is whole";

/// What is tried, why and how.
pub struct Trying {
    /// This one; `None`: the newest that is whole.
    pub backup: Option<BackupName>,
    pub reason: String,
    /// How long to wait for whoever holds the root.
    pub patience: Duration,
    /// What is restored stays.
    pub keep: bool,
    /// On the host of the data, wherever tests are made.
    pub here: bool,
    /// Only databases, or only files; `None`: both.
    pub only: Option<Content>,
}

/// Who tries, on whose word, what and where.
pub struct Bench<'a> {
    pub controller: &'a Arc<Controller>,
    pub snapshot: &'a Arc<AcceptedSnapshot>,
    pub env: &'a Environment,
    pub backup: &'a Backup,
    /// Where it is tried.
    pub on: &'a Environment,
    pub target: &'a Target,
}

/// Tries it. `say`: told of each part that is over.
///
/// # Errors
/// The root cannot be had: then nothing was begun. That a backup is not what it should be is no error: the report says so.
pub async fn prove(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    (env, backup): (&Environment, &Backup),
    trying: Trying,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Report, OperateError> {
    let wanted: &EnvName = backup.restore_test.as_ref().filter(|_| !trying.here).map_or(&env.name, |test| &test.on);
    let on = snapshot.desired.environments.get(wanted);
    let on = on.and_then(|on| Some((on, on.targets.first()?)));
    let Some((on, target)) = on else {
        let why = format!("{} is to be restored on {wanted}, which this controller does not act for", backup.name);
        undone(controller, snapshot, (env, backup), &why).await;
        return Err(OperateError::Refused(why));
    };
    let bench = Bench { controller, snapshot, env, backup, on, target };
    let doing = format!("restore test {}", backup.name);
    let roots = match Box::pin(Roots::take_one(controller, snapshot, on, target, (&doing, trying.patience))).await {
        Ok(roots) => roots,
        Err(error) => {
            if !is_busy(&error) {
                undone(controller, snapshot, (env, backup), &error.to_string()).await;
            }
            return Err(error);
        }
    };
    let done = Box::pin(bench.held(&roots, trying, say)).await;
    roots.release().await;
    done
}

/// One that could not even be begun is remembered as one that said nothing: it is told, and tried again later and later.
async fn undone(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    (env, backup): (&Environment, &Backup),
    why: &str,
) {
    let at = now();
    let trial = Trial { backup: None, at, outcome: Outcome::Inconclusive, millis: 0, age: 0, why: why.to_owned() };
    for one in [TestNote::Begun(at), TestNote::Ended(trial)] {
        note(controller, snapshot, (env, backup), one).await;
    }
}

/// Remembered where the data are. A host that cannot be told only remembers less.
async fn note(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    (env, backup): (&Environment, &Backup),
    note: TestNote,
) {
    let Some(saver) = saver(&snapshot.desired, env) else { return };
    let op = Op::Backups(Box::new(Ask::Note { job: backup.name.clone(), note }));
    if let Err(error) = ask(controller, snapshot, saver, op).await {
        tracing::warn!(job = backup.name, %error, "a restore test could not be noted on the host of the data");
    }
}

impl Bench<'_> {
    async fn held(
        &self,
        roots: &Roots<'_>,
        trying: Trying,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Report, OperateError> {
        let asked = Asked {
            action: Action::RestoreTest,
            environment: Some(self.env.name.clone()),
            hosts: vec![self.target.name.clone()],
            commit: self.snapshot.commit.to_string(),
            actor: self.controller.who.clone(),
            reason: format!("{}: {}", self.backup.name, trying.reason),
        };
        let mut report = None;
        let started = now();
        let done = journaled(self.controller, asked, async |journal| {
            // The half of a backup proves nothing about the whole.
            let is_whole = trying.only.is_none();
            if is_whole {
                self.note(TestNote::Begun(started)).await;
            }
            let made = Box::pin(self.tried(roots, journal, &trying, started, say)).await;
            if is_whole {
                self.note(TestNote::Ended(made.trial())).await;
            }
            let told = made.told();
            let outcome = made.outcome;
            report = Some(made);
            // The row says it as the report does: a pass is a success, and what nobody could find out is neither.
            let step = format!("verdict:{}", self.target.name);
            let verdict = async {
                match outcome {
                    Outcome::Pass => Ok(told),
                    Outcome::Fail => Err(OperateError::Refused(told)),
                    Outcome::Inconclusive => Err(ControllerError::Other(told).into()),
                }
            };
            journal.step(&step, Some(&self.target.name), String::clone, verdict).await
        });
        let done = Box::pin(done).await;
        report.map_or_else(|| Err(done.err().unwrap_or_else(|| OperateError::Refused(String::new()))), Ok)
    }

    async fn note(&self, one: TestNote) {
        note(self.controller, self.snapshot, (self.env, self.backup), one).await;
    }

    async fn tried(
        &self,
        roots: &Roots<'_>,
        journal: &Journal,
        trying: &Trying,
        started: Timestamp,
        say: &(dyn Fn(&str) + Sync),
    ) -> Report {
        let mut report = Report {
            name: self.backup.name.clone(),
            environment: self.env.name.clone(),
            on: self.on.name.clone(),
            host: self.target.name.clone(),
            backup: None,
            target: None,
            outcome: Outcome::Inconclusive,
            started,
            ended: started,
            rto_ms: 0,
            rpo_s: 0,
            parts: Vec::new(),
            earlier: self.tested().await.past,
        };
        let is_meant = |one: &OnShelf| match trying.backup {
            Some(wanted) => one.name == wanted,
            None => one.is_choice(),
        };
        let none = trying.backup.map_or_else(|| NO_CHOICE.to_owned(), |name| format!("there is no {name}"));
        match Box::pin(self.chosen(&is_meant, &none)).await {
            Ok((place, name, manifest)) => {
                (report.backup, report.target) = (Some(name), Some(place.name.clone()));
                let age = started.duration_since(manifest.started).as_secs();
                report.rpo_s = u64::try_from(age).unwrap_or(0);
                let is_wanted = |part: &&PartEntry| trying.only.is_none_or(|only| part.content == only);
                if manifest.parts.iter().filter(is_wanted).count() == 0 {
                    report.parts.push(empty(&manifest));
                }
                for entry in manifest.parts.iter().filter(is_wanted) {
                    let part = Box::pin(self.part(roots, journal, (&place, &manifest, entry), trying)).await;
                    say(&part.told());
                    report.rto_ms = report.rto_ms.saturating_add(part.millis);
                    report.parts.push(part);
                }
            }
            Err(why) => report.parts.push(unanswered("backup", why)),
        }
        report.outcome = report.parts.iter().map(Part::outcome).max().unwrap_or(Outcome::Inconclusive);
        report.ended = now();
        report
    }

    /// What the host of the data remembers of earlier ones.
    async fn tested(&self) -> Tested {
        let state = super::due::state(self.controller, self.snapshot, self.env).await.ok().flatten();
        let backed = state.and_then(|mut state| state.record.backups.remove(&self.backup.name));
        backed.and_then(|backed| backed.tested).unwrap_or_default()
    }

    /// The newest of those that are meant, that the host can read, and that is whole as far as a list shows. `none`: what is
    /// said of a target that has none of them.
    ///
    /// # Errors
    /// There is none, target by target.
    pub async fn chosen(
        &self,
        is_meant: &(dyn Fn(&OnShelf) -> bool + Sync),
        none: &str,
    ) -> Result<(BackupTarget, BackupName, Manifest), String> {
        let rows = shelf::all(self.controller, self.snapshot, self.env, self.backup, self.target).await;
        // Copies on the server itself are seen from there alone.
        let is_home = saver(&self.snapshot.desired, self.env).is_some_and(|saver| saver == self.target);
        let (mut why, mut best) = (Vec::new(), None::<(BackupTarget, OnShelf)>);
        for row in rows.into_iter().filter(|row| is_home || row.target.name != LOCAL) {
            let backups = match row.backups {
                Ok(backups) => backups,
                Err(error) => {
                    why.push(format!("{}: {error}", row.target.name));
                    continue;
                }
            };
            // One that is much smaller than the one before it is whole all the same.
            let is_whole = |one: &OnShelf| matches!(one.state, State::Verified | State::Shrunk(_));
            let (whole, not): (Vec<_>, Vec<_>) = backups.into_iter().filter(|one| is_meant(one)).partition(is_whole);
            match whole.into_iter().max_by_key(|one| one.name.at) {
                Some(newest) if best.as_ref().is_none_or(|(_, best)| newest.name.at > best.name.at) => {
                    best = Some((row.target, newest));
                }
                Some(_) => {}
                None => why.push(match not.first() {
                    Some(OnShelf { name, state: State::Broken(why), .. }) => {
                        format!("{}: {name} is not whole: {why}", row.target.name)
                    }
                    Some(OnShelf { name, .. }) => format!("{}: {name} has no manifest", row.target.name),
                    None => format!("{}: {none}", row.target.name),
                }),
            }
        }
        match best {
            Some((place, OnShelf { name, manifest: Some(manifest), .. })) => Ok((place, name, manifest)),
            _ if why.is_empty() => Err(format!("{} can read none of its targets", self.target.name)),
            _ => Err(format!(
                "{} can read no backup: {}; what there is: soll backup list",
                self.target.name,
                why.join("; ")
            )),
        }
    }

    /// One part, tried.
    pub async fn part(
        &self,
        roots: &Roots<'_>,
        journal: &Journal,
        (place, manifest, entry): (&BackupTarget, &Manifest, &PartEntry),
        trying: &Trying,
    ) -> Part {
        let name = self.named(entry);
        let asked = match self.asked(place, manifest, entry, trying) {
            Ok(asked) => asked,
            Err(why) => return unanswered(&name, why),
        };
        let op = Op::Backup { epoch: roots.epoch, work: Box::new(Work::Prove(Box::new(asked))) };
        let (step, host) = (format!("prove:{}:{name}", self.target.name), &self.target.name);
        let work = async {
            match roots.call(self.target, op).await? {
                Reply::Backup(answer) => match *answer {
                    Answer::Proved(proved) => {
                        let Proved { checks, instance, millis, kept } = *proved;
                        Ok(Part { name: name.clone(), instance, millis, checks, kept })
                    }
                    other => {
                        Err(OperateError::Refused(format!("the host gave an answer that does not fit: {other:?}")))
                    }
                },
                other => Err(OperateError::Refused(format!("the host gave an answer that does not fit: {other:?}"))),
            }
        };
        let done = journal.step(&step, Some(host), Part::told, work).await;
        done.unwrap_or_else(|error| unanswered(&name, error.to_string()))
    }

    /// As the state file calls it: `db-main`, `app`.
    pub fn named(&self, entry: &PartEntry) -> String {
        let database = self.backup.databases.iter().find(|database| database.part == entry.name);
        let files = self.backup.files.iter().find(|files| files.part == entry.name);
        match (entry.content, database, files) {
            (Content::Database, Some(database), _) => format!("db-{}", database.name),
            (Content::Files, _, Some(files)) => files.name.clone(),
            _ => entry.file.clone(),
        }
    }
}

/// What is said where there is nothing to restore: of a whole backup that is a verdict, of the half that was asked for none.
fn empty(manifest: &Manifest) -> Part {
    let check = match manifest.parts.is_empty() {
        true => Check::fail("parts", "its manifest names none: nothing was saved, and nothing can be restored"),
        false => Check::inconclusive("parts", "it has none of those that were asked for"),
    };
    Part { name: "backup".to_owned(), instance: String::new(), millis: 0, checks: vec![check], kept: None }
}

/// A part of which nothing could be found out.
fn unanswered(name: &str, why: String) -> Part {
    let checks = vec![Check::inconclusive("restore", why)];
    Part { name: name.to_owned(), instance: String::new(), millis: 0, checks, kept: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_of_nothing_is_no_backup() {
        let started: Timestamp = "2026-11-30T01:00:00Z".parse().unwrap();
        let manifest = Manifest {
            format: crate::model::backup::manifest::FORMAT,
            name: "daily/20261130_010000".parse().unwrap(),
            job: "nightly".to_owned(),
            environment: "production".parse().unwrap(),
            host: "web1".parse().unwrap(),
            release: None,
            before: None,
            of_restore: None,
            started,
            ended: started,
            soll: String::new(),
            imported: false,
            warnings: Vec::new(),
            unknown: std::collections::BTreeMap::new(),
            parts: Vec::new(),
        };
        let part = empty(&manifest);
        assert_eq!(part.outcome(), Outcome::Fail);
        assert!(part.told().contains("nothing was saved"), "{}", part.told());
    }
}
