//! What lies on the targets of a job, what of it is whole as far as a list shows, and what may go. Who asks the host, and on
//! whose word, is not known here.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::host::wire::backup::{Answer, Ask, Listed};
use crate::host::wire::{HostError, Op, Reply};
use crate::model::backup::manifest::{BadManifest, Manifest};
use crate::model::backup::name::{BackupName, FileName};
use crate::model::backup::set::{BackupSet, Contents, Stored};
use crate::model::backup::shrink::{Size, shrunk};
use crate::model::desired::backup::{BackupTarget, LOCAL};
use crate::model::desired::{Backup, Environment};
use crate::model::ids::ReleaseName;
use crate::model::observed::HostState;
use crate::plan::retention::{self, Decision, Entry, Shelf, State, Still, Terms};

/// One backup on a target.
pub struct OnShelf {
    pub name: BackupName,
    pub state: State,
    pub manifest: Option<Manifest>,
    pub set: BackupSet,
    /// The text of a manifest that is none of ours.
    pub foreign: Option<String>,
}

impl OnShelf {
    /// Whether it is one of those of which the newest is meant where none is named: whole, and not what a restore kept of what
    /// was there before it.
    pub fn is_choice(&self) -> bool {
        let is_kept = self.manifest.as_ref().is_some_and(|manifest| manifest.of_restore.is_some());
        self.state == State::Verified && !is_kept
    }
}

/// One target, or why it cannot be read.
pub struct Row {
    pub target: BackupTarget,
    pub backups: Result<Vec<OnShelf>, String>,
}

/// What is asked of a host to see what lies on a target.
pub fn question(place: &BackupTarget) -> Op {
    Op::Backups(Box::new(Ask::List { target: place.clone() }))
}

/// What its answer says.
pub fn row(place: BackupTarget, answer: Result<Reply, HostError>, backup: &Backup, env: &Environment) -> Row {
    let backups = match answer {
        Ok(Reply::Backup(answer)) => match *answer {
            Answer::Listed(listed) => Ok(sorted(*listed, backup, env)),
            other => Err(format!("the host answered a list with {other:?}")),
        },
        Ok(other) => Err(format!("the host answered a list with {other:?}")),
        Err(error) => Err(error.to_string()),
    };
    Row { target: place, backups }
}

/// The backups of a list, the newest first. Those of another job or environment in the same place are not this one's.
fn sorted(listed: Listed, backup: &Backup, env: &Environment) -> Vec<OnShelf> {
    let Listed { files, kept } = listed;
    let contents = Contents::of(files.into_iter().map(|(path, bytes)| Stored { path, bytes }));
    let read = |set: BackupSet| {
        let text = kept.iter().find(|kept| kept.name == set.name);
        let mut foreign = None;
        let parsed = text.map(|kept| match kept.why.is_empty() {
            true => Manifest::parse(&kept.manifest).map_err(|error| {
                if error == BadManifest::Foreign {
                    foreign = Some(kept.manifest.clone());
                }
                error.to_string()
            }),
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
        Some(OnShelf { name: set.name, state, manifest, set, foreign })
    };
    let mut all: Vec<OnShelf> = contents.sets.into_values().filter_map(read).collect();
    all.sort_by_key(|backup| backup.name);
    hold_shrunk(&mut all, backup.max_shrink);
    all.reverse();
    all
}

/// Compares each whole backup with the last one before it that had not shrunk (I20): of those that follow one that has, each is
/// as small, and none of them is the measure of the next. `all`: the oldest first.
fn hold_shrunk(all: &mut [OnShelf], most: u32) {
    let mut last: Option<(BackupName, Size)> = None;
    for one in all.iter_mut().filter(|one| one.state == State::Verified) {
        let Some(size) = one.manifest.as_ref().map(Manifest::size) else { continue };
        match last.and_then(|last| shrunk(size, last, most)) {
            Some(what) => one.state = State::Shrunk(what),
            None => last = Some((one.name, size)),
        }
    }
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

/// On what is decided what may go.
pub struct Grounds<'a> {
    pub backup: &'a Backup,
    /// What the host was like when its root was taken.
    pub state: Option<&'a HostState>,
    pub now: Timestamp,
    /// Why nothing may go.
    pub still: Option<Still>,
    /// More than so many at once are a person's business.
    pub at_most: Option<usize>,
}

/// What is to become of each backup of a target.
///
/// # Errors
/// The target cannot be read.
pub fn decide(rows: &[Row], place: &str, grounds: &Grounds<'_>) -> Result<Vec<Decision>, String> {
    let Grounds { backup, state, .. } = grounds;
    let Some(row) = rows.iter().find(|row| row.target.name == place) else { return Ok(Vec::new()) };
    let backups = row.backups.as_ref().map_err(Clone::clone)?;
    let backed = state.and_then(|state| state.record.backups.get(&backup.name));
    let left: &[BackupName] = backed.map_or(&[], |backed| &backed.left);
    let proven = backed.and_then(|backed| backed.tested.as_ref()?.proven.as_ref()?.backup);
    let entry = |one: &OnShelf| Entry { proven: proven == Some(one.name), ..entry(one, left) };
    let entries: Vec<Entry> = backups.iter().map(entry).collect();
    let verified = |row: &Row| {
        let whole = row.backups.iter().flatten().filter(|backup| backup.state == State::Verified);
        whole.map(|backup| backup.name).collect::<Vec<_>>()
    };
    let others = rows.iter().filter(|row| row.target.name != place);
    let elsewhere: BTreeSet<BackupName> = others.flat_map(verified).collect();
    let is_local = place == LOCAL && rows.len() > 1;
    let terms = Terms {
        keep: backup.keep,
        now: grounds.now,
        zone: TimeZoneDatabase::bundled().get(&backup.zone).unwrap_or(TimeZone::UTC),
        pinned: state.map(pinned).unwrap_or_default(),
        shelf: if is_local { Shelf::Local { elsewhere } } else { Shelf::Remote },
        // Nobody may forget it: what a restore that broke off needs must not go.
        still: state.filter(|state| state.record.restoring.is_some()).map(|_| Still::Restoring).or(grounds.still),
        at_most: grounds.at_most,
    };
    Ok(retention::decide(&entries, &terms))
}

/// `left`: what its host remembers to have begun and not finished.
fn entry(backup: &OnShelf, left: &[BackupName]) -> Entry {
    let release = backup.manifest.as_ref().and_then(|manifest| manifest.release.clone());
    let state = match &backup.state {
        State::NoManifest if left.contains(&backup.name) => State::Left,
        state => state.clone(),
    };
    Entry { name: backup.name, state, release, proven: false }
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
