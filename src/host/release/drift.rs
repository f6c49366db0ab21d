//! What changed in a release that should not change (A7). Compares; repairs nothing.

use std::fs;

use crate::artifact::manifest::{Entry, Node};
use crate::host::disk::kept::Contents;
use crate::host::disk::root::{Root, json, now};
use crate::host::release::stamps::Known;
use crate::host::wire::HostError;
use crate::model::desired::Shared;
use crate::model::ids::ReleaseName;
use crate::model::observed::{Drift, DriftKind, DriftReport};

/// How a release is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every byte is read: what a bad disk made of a file is found, too.
    Bytes,
    /// What looks as it did when it was read last is not read again.
    Stamps,
}

/// Compares a release with what was sealed, file by file, and keeps the report. `None`: it was never sealed, so nothing
/// says what it should be.
pub fn scan(root: &Root, name: &ReleaseName, depth: Depth) -> Result<Option<DriftReport>, HostError> {
    let sealed = root.record()?.releases.get(name).is_some_and(|release| release.sealed);
    let Some(kept) = Contents::recall(root, name)?.filter(|_| sealed) else { return Ok(None) };
    let wanted = &kept.contents;
    let known = match depth {
        Depth::Bytes => Known::default(),
        Depth::Stamps => Known::load(root, name, (&wanted.manifest, kept.tree())),
    };
    let known = known.and_wanted(&wanted.manifest);
    let (found, _) = Contents::read(&root.release(name), &wanted.shared, &wanted.mutable, &known)?;
    let mut entries = compare(wanted, &found);
    let broken = wanted.shared.iter().filter(|shared| !leads_home(root, name, shared));
    entries.extend(broken.map(|shared| Drift { path: shared.path.clone(), kind: DriftKind::Link }));
    entries.sort();
    Ok(Some(note(root, name, entries)))
}

/// Keeps what a look at a release gave. A cache: a report that cannot be kept is made again next time.
pub fn note(root: &Root, name: &ReleaseName, entries: Vec<Drift>) -> DriftReport {
    let report = DriftReport { release: name.clone(), at: now(), entries };
    if let Ok(bytes) = json(&report) {
        let _ = root.write("drift.json", &bytes);
    }
    report
}

/// The last report, of whatever release.
pub fn last(root: &Root) -> Option<DriftReport> {
    serde_json::from_slice(&root.read_own("drift.json").ok()??).ok()
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
    let mut note = |entry: &Entry, kind: DriftKind| drift.push(Drift { path: entry.path.clone(), kind });
    // Both are in the order of their paths.
    let mut here = found.manifest.entries.iter().peekable();
    for entry in &wanted.manifest.entries {
        while let Some(added) = here.next_if(|other| other.path < entry.path) {
            note(added, DriftKind::Added);
        }
        match here.next_if(|other| other.path == entry.path) {
            None => note(entry, DriftKind::Missing),
            Some(other) if !same_contents(&entry.node, &other.node) => note(entry, DriftKind::Changed),
            Some(other) if wanted.mode(entry) != found.mode(other) => note(entry, DriftKind::Mode),
            Some(_) => {}
        }
    }
    here.for_each(|added| note(added, DriftKind::Added));
    drift
}

fn same_contents(a: &Node, b: &Node) -> bool {
    match (a, b) {
        (Node::File { sha256: a, size: m, .. }, Node::File { sha256: b, size: n, .. }) => a == b && m == n,
        _ => a == b,
    }
}
