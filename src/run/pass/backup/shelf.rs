//! What lies on the targets of a job, what of it is whole as far as a list shows, and what may go.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::host::wire::backup::{Answer, Ask, Listed};
use crate::host::wire::{HostError, Op, Reply};
use crate::model::backup::manifest::Manifest;
use crate::model::backup::name::{BackupName, FileName};
use crate::model::backup::set::{BackupSet, Contents, Stored};
use crate::model::desired::backup::{BackupTarget, LOCAL};
use crate::model::desired::{Backup, Environment, Target};
use crate::model::ids::ReleaseName;
use crate::model::observed::HostState;
use crate::plan::retention::{self, Decision, Entry, Shelf, State, Still, Terms};
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::{Controller, now};
use crate::run::look::reach::ask;
use crate::run::pass::journaled::OperateError;

/// One backup on a target.
pub struct OnShelf {
    pub name: BackupName,
    pub state: State,
    pub manifest: Option<Manifest>,
    pub set: BackupSet,
}

/// One target, or why it cannot be read.
pub struct Row {
    pub target: BackupTarget,
    pub backups: Result<Vec<OnShelf>, String>,
    pub room: Option<u64>,
}

/// Every target of a job, asked one after the other.
pub async fn all(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
    backup: &Backup,
    target: &Target,
) -> Vec<Row> {
    let mut rows = Vec::new();
    for place in backup.places(&target.root) {
        let op = Op::Backups(Box::new(Ask::List { target: place.clone() }));
        let listed = match ask(controller, snapshot, target, op).await {
            Ok(Reply::Backup(answer)) => match *answer {
                Answer::Listed(listed) => Ok(*listed),
                other => Err(HostError::Io(format!("the host answered a list with {other:?}"))),
            },
            Ok(other) => Err(HostError::Io(format!("the host answered a list with {other:?}"))),
            Err(error) => Err(error),
        };
        rows.push(match listed {
            Ok(listed) => {
                let room = listed.room;
                Row { target: place, backups: Ok(sorted(listed, backup, env)), room }
            }
            Err(error) => Row { target: place, backups: Err(error.to_string()), room: None },
        });
    }
    rows
}

/// The backups of a list, the newest first. Those of another job or environment in the same place are not this one's.
fn sorted(listed: Listed, backup: &Backup, env: &Environment) -> Vec<OnShelf> {
    let Listed { files, kept, .. } = listed;
    let contents = Contents::of(files.into_iter().map(|(path, bytes)| Stored { path, bytes }));
    let read = |set: BackupSet| {
        let text = kept.iter().find(|kept| kept.name == set.name);
        let parsed = text.map(|kept| match kept.why.is_empty() {
            true => Manifest::parse(&kept.manifest).map_err(|error| error.to_string()),
            false => Err(kept.why.clone()),
        });
        let (state, manifest) = match parsed {
            None => (State::NoManifest, None),
            Some(Err(why)) => (State::Broken(why), None),
            Some(Ok(manifest)) => {
                if manifest.job != backup.name || manifest.environment != env.name {
                    return None;
                }
                (lacking(&manifest, &set).map_or(State::Verified, State::Broken), Some(manifest))
            }
        };
        Some(OnShelf { name: set.name, state, manifest, set })
    };
    let mut all: Vec<OnShelf> = contents.sets.into_values().filter_map(read).collect();
    all.sort_by_key(|backup| std::cmp::Reverse(backup.name));
    all
}

/// What a list shows to be missing. That every byte was right when it was written, its manifest says: without that it would not
/// be there.
fn lacking(manifest: &Manifest, set: &BackupSet) -> Option<String> {
    let lies = |file: &str| {
        let name: FileName = file.parse().ok()?;
        set.files.get(&name.what).copied()
    };
    manifest.parts.iter().find_map(|part| match lies(&part.file) {
        None => Some(format!("{} is not there", part.file)),
        Some(bytes) if bytes != part.bytes => {
            Some(format!("{} has {bytes} bytes, and {} were written", part.file, part.bytes))
        }
        Some(_) => None,
    })
}

/// What is to become of each backup of a target.
///
/// # Errors
/// The target cannot be read.
pub fn decide(
    rows: &[Row],
    place: &str,
    backup: &Backup,
    state: Option<&HostState>,
    at_most: Option<usize>,
) -> Result<Vec<Decision>, OperateError> {
    let Some(row) = rows.iter().find(|row| row.target.name == place) else { return Ok(Vec::new()) };
    let backups = row.backups.as_ref().map_err(|why| OperateError::Refused(why.clone()))?;
    let proven =
        state.and_then(|state| state.record.backups.get(&backup.name)?.tested.as_ref()?.proven.as_ref()?.backup);
    let entries: Vec<Entry> =
        backups.iter().map(|one| Entry { proven: proven == Some(one.name), ..entry(one) }).collect();
    let verified = |row: &Row| {
        let whole = row.backups.iter().flatten().filter(|backup| backup.state == State::Verified);
        whole.map(|backup| backup.name).collect::<Vec<_>>()
    };
    let others = rows.iter().filter(|row| row.target.name != place);
    let elsewhere: BTreeSet<BackupName> = others.flat_map(verified).collect();
    let is_local = place == LOCAL && rows.len() > 1;
    let failed = state.and_then(|state| state.record.backups.get(&backup.name)).is_some_and(|b| b.failed.is_some());
    let terms = Terms {
        keep: backup.keep,
        now: now(),
        zone: TimeZoneDatabase::bundled().get(&backup.zone).unwrap_or(TimeZone::UTC),
        pinned: state.map(pinned).unwrap_or_default(),
        shelf: if is_local { Shelf::Local { elsewhere } } else { Shelf::Remote },
        still: failed.then_some(Still::LastFailed),
        at_most,
    };
    Ok(retention::decide(&entries, &terms))
}

fn entry(backup: &OnShelf) -> Entry {
    let release = backup.manifest.as_ref().and_then(|manifest| manifest.release.clone());
    Entry { name: backup.name, state: backup.state.clone(), release, proven: false }
}

/// The live release, and the one that a rollback leads to.
fn pinned(state: &HostState) -> BTreeSet<ReleaseName> {
    let mut confirmed: Vec<_> = state.record.releases.iter().filter_map(|(n, r)| Some((r.confirmed_at?, n))).collect();
    confirmed.sort();
    let last = confirmed.into_iter().rev().take(2).map(|(_, name)| name.clone());
    last.chain(state.current.release().cloned()).collect()
}

/// The files of one backup, in the order in which they are removed.
pub fn paths(rows: &[Row], place: &str, name: BackupName) -> Vec<String> {
    let row = rows.iter().find(|row| row.target.name == place);
    let backup = row.and_then(|row| row.backups.as_ref().ok()?.iter().find(|backup| backup.name == name));
    backup.map(|backup| backup.set.paths()).unwrap_or_default()
}
