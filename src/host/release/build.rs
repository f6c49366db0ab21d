//! The tree of a manifest, made in an empty directory from uploads and from files of the releases that are here. Every
//! digest is checked. What is copied is copied side by side: for small files it is not the disk that takes the time.

use std::collections::HashMap;
use std::thread;

use crate::artifact::manifest::{Manifest, Node};
use crate::artifact::picked::Picked;
use crate::fault::fault;
use crate::host::disk::beneath::{Dir, Parent};
use crate::host::disk::kept::Offered;
use crate::host::release::blobs::{self, Blobs, CopyOutcome, Upload};
use crate::host::wire::HostError;

/// More threads than this only wait for each other.
const THREADS: usize = 4;
/// Fewer files than this are no work for another thread.
const FEW: usize = 32;

/// Makes what was offered. Gives how many bytes were copied, and how many had been sent.
///
/// # Errors
/// [`HostError::Integrity`]: contents that should be here are not, or are not what they should be. What is no good any
/// more is noted in `blobs`. `inherits`: the directory gives what is made in it a group or an access list.
pub fn build(blobs: &mut Blobs, tree: &Dir, inherits: bool) -> Result<(u64, u64), HostError> {
    let offered = blobs.offered().clone();
    let (mut copied, mut received) = (0, 0);
    // Those whose contents are in a release, and those that have the contents of an earlier file.
    let (mut copies, mut again) = (Vec::new(), Vec::new());
    // Of uploads that were not what they should have been: where they were.
    let mut spoilt: HashMap<usize, String> = HashMap::new();
    let mut place = Parent::new(tree);
    for (number, entry) in offered.manifest.entries().enumerate() {
        let (dir, name) = place.of(entry.path)?;
        match entry.node {
            Node::Dir => dir.make_inheriting(name, entry.mode())?,
            Node::Link { target } => dir.link(target, name)?,
            Node::File { size, .. } if !offered.firsts.has(number) => {
                again.push(number);
                copied += size;
            }
            Node::File { size, .. } => match blobs.take_upload(number, dir, name, (entry.mode(), inherits))? {
                Upload::Taken => {
                    received += size;
                    fault!("host.extract.mid-tree");
                }
                upload => {
                    spoilt.extend(upload.spoilt().map(|place| (number, place)));
                    copies.push(number);
                    copied += size;
                }
            },
        }
    }
    let mut wrong = Vec::new();
    let mut failed = Picked::default();
    let from_releases = |number: usize, dir: &Dir, name: &str, mode| {
        let sought = blobs.copy(number, dir, name, mode)?;
        Ok(CopyOutcome { wrong: spoilt.get(&number).cloned().into_iter().chain(sought.wrong).collect(), ..sought })
    };
    let mut suspects = Vec::new();
    for (number, sought) in side_by_side(&copies, |part| copy_all(&offered.manifest, tree, part, from_releases))? {
        if !sought.copied {
            failed.add(number);
            let path = offered.manifest.entry(number).map_or("", |entry| entry.path);
            let none = || format!("{path} (its contents are not on this host)");
            wrong.extend(if sought.wrong.is_empty() { vec![none()] } else { sought.wrong });
        }
        suspects.extend(sought.suspects);
    }
    blobs.suspect(suspects);
    let first = |number: usize| {
        let digest = offered.manifest.file(number).map(|(digest, _)| digest);
        digest.and_then(|digest| offered.by_digest.first(&offered.manifest, digest))
    };
    again.retain(|number| first(*number).is_some_and(|first| !failed.has(first)));
    let from_tree =
        |number: usize, dir: &Dir, name: &str, mode| from_tree(&offered, tree, first(number), dir, name, mode);
    for (_, sought) in side_by_side(&again, |part| copy_all(&offered.manifest, tree, part, from_tree))? {
        wrong.extend(sought.wrong);
    }
    if wrong.is_empty() {
        set_times(&offered.manifest, tree)?;
        return Ok((copied, received));
    }
    let more = wrong.len().saturating_sub(3);
    let names = wrong[..wrong.len().min(3)].join(", ");
    let and = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(HostError::Integrity(format!(
        "what should be copied is not what its manifest says: {names}{and}. Ask again what is missing and send it"
    )))
}

/// Gives files the times that their archive has: what was compiled from one is told by that time whether it is the newer.
fn set_times(manifest: &Manifest, tree: &Dir) -> Result<(), HostError> {
    let mut place = Parent::new(tree);
    for (number, entry) in manifest.entries().enumerate() {
        let Some(time) = manifest.time(number) else { continue };
        let (dir, name) = place.of(entry.path)?;
        dir.set_time(name, time)?;
    }
    Ok(())
}

/// Copies a file that has the contents of an earlier one of the same tree.
fn from_tree(
    offered: &Offered,
    tree: &Dir,
    earlier: Option<usize>,
    dir: &Dir,
    name: &str,
    mode: u32,
) -> Result<CopyOutcome, HostError> {
    let earlier = earlier.and_then(|number| offered.manifest.entry(number));
    let Some((path, sha256)) = earlier.and_then(|entry| match entry.node {
        Node::File { sha256, .. } => Some((entry.path, sha256)),
        _ => None,
    }) else {
        return Ok(CopyOutcome::default());
    };
    let copied = blobs::copy(&tree.read(path)?, dir, name, mode, &sha256)?;
    let wrong = if copied { Vec::new() } else { vec![tree.path().join(path).display().to_string()] };
    Ok(CopyOutcome { copied, wrong, suspects: Vec::new() })
}

/// Copies one file after the other; gives those about which there is something to say.
fn copy_all(
    manifest: &Manifest,
    tree: &Dir,
    part: &[usize],
    copy: impl Fn(usize, &Dir, &str, u32) -> Result<CopyOutcome, HostError>,
) -> Result<Vec<(usize, CopyOutcome)>, HostError> {
    let mut place = Parent::new(tree);
    let mut told = Vec::new();
    for number in part {
        let Some(entry) = manifest.entry(*number) else { continue };
        let (dir, name) = place.of(entry.path)?;
        let sought = copy(*number, dir, name, entry.mode())?;
        fault!("host.extract.mid-tree");
        if !sought.copied || !sought.wrong.is_empty() || !sought.suspects.is_empty() {
            told.push((*number, sought));
        }
    }
    Ok(told)
}

/// Splits work among threads. The first error of the first part that has one is the answer; the others end first.
fn side_by_side<T: Sync, R: Send>(
    work: &[T],
    each: impl Fn(&[T]) -> Result<Vec<R>, HostError> + Sync,
) -> Result<Vec<R>, HostError> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS).min(work.len() / FEW);
    if threads < 2 {
        return each(work);
    }
    let parts: Vec<_> = thread::scope(|scope| {
        let each = &each;
        let start = |part| {
            let thread = thread::Builder::new().name("copy".to_owned());
            thread.spawn_scoped(scope, move || each(part)).map_err(|_| part)
        };
        let running: Vec<_> = work.chunks(work.len().div_ceil(threads)).map(start).collect();
        let end = |part: Result<thread::ScopedJoinHandle<'_, _>, _>| match part {
            Ok(running) => running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            // No thread can be had: this one does it.
            Err(part) => each(part),
        };
        running.into_iter().map(end).collect()
    });
    let mut all = Vec::with_capacity(work.len());
    for part in parts {
        all.extend(part?);
    }
    Ok(all)
}
