//! What changed in a release that should not change (A7). Compares; repairs nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;

use crate::artifact::manifest::{Entry, Node};
use crate::host::disk::kept::Contents;
use crate::host::disk::people;
use crate::host::disk::root::{Root, json, now};
use crate::host::release::contents::Taken;
use crate::host::release::render;
use crate::host::release::stamps::Known;
use crate::host::wire::HostError;
use crate::model::desired::Shared;
use crate::model::ids::ReleaseName;
use crate::model::observed::{Drift, DriftKind, DriftReport, Touched};

/// Of so many paths it is told who wrote them.
const TOUCHED: usize = 20;

/// How a release is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every byte is read: what a bad disk made of a file is found, too.
    Bytes,
    /// What looks as it did when it was read last is not read again.
    Stamps,
}

/// So many differences are told one by one, and so many bytes of their paths: whoever has more of them has another release.
const TOLD: (usize, usize) = (1000, 512 << 10);

/// Compares a release with what was sealed, file by file, and keeps the report. What was read and is as it should be need
/// not be read again while it looks the same; what looks the same and is not as it should be is not believed again.
/// `None`: it was never sealed, so nothing says what it should be.
pub fn scan(root: &Root, name: &ReleaseName, depth: Depth) -> Result<Option<DriftReport>, HostError> {
    let sealed = root.record()?.releases.get(name).is_some_and(|release| release.sealed);
    let Some(kept) = Contents::recall(root, name)?.filter(|_| sealed) else { return Ok(None) };
    let (wanted, dir) = (&kept.contents, root.release(name));
    let stamps = Known::load(root, name, (&wanted.manifest, kept.tree()));
    let (stamps, known) = match depth {
        Depth::Bytes => (Some(stamps), Known::default()),
        Depth::Stamps => (None, stamps),
    };
    let known = known.and_wanted(&wanted.manifest);
    let Taken { contents: found, looks, unread } = Contents::read(&dir, &wanted.shared, &wanted.mutable, &known)?;
    let stamps = stamps.as_ref().unwrap_or(&known);
    if let Some(renewed) = stamps.renewed((&wanted.manifest, kept.tree()), &found.manifest, &looks) {
        renewed.save(root, name);
    }
    let mut entries = compare(wanted, &found);
    // Nobody says that what cannot be seen is gone.
    entries.retain(|entry| !unread.iter().any(|one| one.covers(&entry.path)));
    entries.extend(unread.iter().map(|one| differs(&one.path, DriftKind::Unreadable)));
    let broken = wanted.shared.iter().filter(|shared| !leads_home(root, name, shared));
    entries.extend(broken.map(|shared| differs(&shared.path, DriftKind::Link)));
    let edited =
        wanted.shared.iter().filter(|shared| leads_home(root, name, shared) && !render::fits(root, &shared.from));
    entries.extend(edited.map(|shared| differs(&shared.path, DriftKind::Changed)));
    entries.sort();
    let more = told(&mut entries);
    let mut owners = BTreeMap::new();
    entries.iter_mut().take(TOUCHED).for_each(|drift| drift.touched = touched(&dir.join(&drift.path), &mut owners));
    let last = last(root, name).filter(|_| depth == Depth::Stamps);
    let Some(last) = last else { return Ok(Some(note(root, name, entries, more))) };
    // Not every byte was read: the period of full scans goes on. Where nothing is new, nothing is written.
    let report = DriftReport { looked: Some(now()), entries, more, age: 0, ..last.clone() };
    if (&report.entries, report.more) != (&last.entries, last.more) {
        keep(root, &report);
    }
    Ok(Some(report))
}

/// Cuts a list of differences to what an answer has room for. Gives how many were cut off.
fn told(entries: &mut Vec<Drift>) -> u64 {
    let mut bytes = 0;
    let fits = entries.iter().take(TOLD.0).take_while(|entry| {
        bytes += entry.path.len();
        bytes <= TOLD.1
    });
    let fits = fits.count();
    let more = entries.len() - fits;
    entries.truncate(fits);
    more as u64
}

/// Keeps what a full scan of a release gave: the period counts from now on.
pub fn note(root: &Root, name: &ReleaseName, entries: Vec<Drift>, more: u64) -> DriftReport {
    let report = DriftReport { release: name.clone(), at: now(), looked: None, age: 0, entries, more };
    keep(root, &report);
    report
}

/// A cache: a report that cannot be kept is made again next time.
fn keep(root: &Root, report: &DriftReport) {
    if let Ok(bytes) = json(report) {
        let _ = root.write("drift.json", &bytes);
    }
}

/// The last report about a release, as old as it is.
pub fn last(root: &Root, name: &ReleaseName) -> Option<DriftReport> {
    let report: DriftReport = serde_json::from_slice(&root.read_own("drift.json").ok()??).ok()?;
    let made = report.looked.map_or(report.at, |looked| looked.max(report.at));
    let age = u64::try_from(now().duration_since(made).as_secs()).unwrap_or(0);
    (report.release == *name).then_some(DriftReport { age, ..report })
}

fn differs(path: &str, kind: DriftKind) -> Drift {
    Drift { path: path.to_owned(), kind, touched: None }
}

/// What a file tells of who wrote it; nothing where it is gone. `owners`: names that were asked for before.
fn touched(path: &Path, owners: &mut BTreeMap<u32, String>) -> Option<Touched> {
    let meta = fs::symlink_metadata(path).ok()?;
    let at = Timestamp::new(meta.ctime(), i32::try_from(meta.ctime_nsec()).ok()?).ok()?;
    let owner = owners.entry(meta.uid()).or_insert_with(|| people::user(meta.uid())).clone();
    Some(Touched { owner, at })
}

/// Whether a shared path of a release is a link that leads to its place under `shared/`, relative or absolute.
pub fn leads_home(root: &Root, name: &ReleaseName, shared: &Shared) -> bool {
    let path = root.release(name).join(&shared.path);
    let is_link = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink());
    let home = root.shared().join(&shared.from);
    is_link && matches!((path.canonicalize(), home.canonicalize()), (Ok(there), Ok(home)) if there == home)
}

fn compare(wanted: &Contents, found: &Contents) -> Vec<Drift> {
    let mut drift = Vec::new();
    let mut note = |entry: Entry<&str>, kind| drift.push(differs(entry.path, kind));
    // Both are in the order of their paths.
    let mut here = found.manifest.entries().peekable();
    for entry in wanted.manifest.entries() {
        while let Some(added) = here.next_if(|other| other.path < entry.path) {
            note(added, DriftKind::Added);
        }
        match here.next_if(|other| other.path == entry.path) {
            None => note(entry, DriftKind::Missing),
            Some(other) if !same_contents(entry.node, other.node) => note(entry, DriftKind::Changed),
            Some(other) if wanted.mode(entry) != found.mode(other) => note(entry, DriftKind::Mode),
            Some(_) => {}
        }
    }
    here.for_each(|added| note(added, DriftKind::Added));
    drift
}

fn same_contents(a: Node<&str>, b: Node<&str>) -> bool {
    match (a, b) {
        (Node::File { sha256: a, size: m, .. }, Node::File { sha256: b, size: n, .. }) => a == b && m == n,
        _ => a == b,
    }
}
