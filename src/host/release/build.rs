//! The tree of a manifest, made in an empty directory from uploads and from files of the releases that are here. Every
//! digest is checked. What is copied is copied side by side: for small files it is not the disk that takes the time.

use std::collections::{HashMap, HashSet};
use std::thread;

use crate::artifact::manifest::{Entry, Manifest, Node};
use crate::fault::fault;
use crate::host::disk::beneath::{Dir, Parent};
use crate::host::disk::kept::canonical;
use crate::host::release::blobs::{self, Blobs, CopyOutcome, Upload};
use crate::host::wire::HostError;
use crate::model::ids::Digest;

/// More threads than this only wait for each other.
const THREADS: usize = 4;
/// Fewer files than this are no work for another thread.
const FEW: usize = 32;

/// A file that is still to be copied.
struct Copy<'a> {
    path: &'a str,
    sha256: &'a Digest,
    mode: u32,
    from: Source<'a>,
}

enum Source<'a> {
    /// A release. The upload that should have been it was not.
    Releases { spoilt: Option<String> },
    /// A file of this tree with the same contents.
    Tree(&'a str),
}

/// Makes it. Gives how many bytes were copied, and how many had been sent.
///
/// # Errors
/// [`HostError::Integrity`]: contents that should be here are not, or are not what they should be. What is no good any
/// more is noted in `blobs`.
pub fn build(blobs: &mut Blobs, tree: &Dir, manifest: &Manifest) -> Result<(u64, u64), HostError> {
    let (mut copied, mut received) = (0, 0);
    let mut first: HashMap<&Digest, &str> = HashMap::new();
    let (mut copies, mut again) = (Vec::new(), Vec::new());
    let mut place = Parent::new(tree);
    for Entry { path, node } in &manifest.entries {
        let (dir, name) = place.of(path)?;
        match node {
            Node::Dir => dir.make(name)?,
            Node::Link { target } => dir.link(target, name)?,
            Node::File { sha256, size, .. } => {
                let mode = canonical(node);
                if let Some(earlier) = first.get(sha256) {
                    again.push(Copy { path, sha256, mode, from: Source::Tree(earlier) });
                    copied += size;
                    continue;
                }
                first.insert(sha256, path);
                match blobs.take_upload(sha256, *size, dir, name, mode)? {
                    Upload::Taken => {
                        received += size;
                        fault!("host.extract.mid-tree");
                    }
                    upload => {
                        let from = Source::Releases { spoilt: upload.spoilt() };
                        copies.push(Copy { path, sha256, mode, from });
                        copied += size;
                    }
                }
            }
        }
    }
    let mut wrong = Vec::new();
    let mut failed = HashSet::new();
    for (path, sought) in side_by_side(&copies, |part| copy_all(blobs, tree, part))? {
        if !sought.copied {
            failed.insert(path);
            let none = || format!("{path} (its contents are not on this host)");
            wrong.extend(if sought.wrong.is_empty() { vec![none()] } else { sought.wrong });
        }
        blobs.suspect(sought.suspects);
    }
    again.retain(|copy| !matches!(copy.from, Source::Tree(earlier) if failed.contains(earlier)));
    for (_, sought) in side_by_side(&again, |part| copy_all(blobs, tree, part))? {
        wrong.extend(sought.wrong);
    }
    if wrong.is_empty() {
        return Ok((copied, received));
    }
    let more = wrong.len().saturating_sub(3);
    let names = wrong[..wrong.len().min(3)].join(", ");
    let and = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(HostError::Integrity(format!(
        "what should be copied is not what its manifest says: {names}{and}. Ask again what is missing and send it"
    )))
}

/// Copies one part after the other of it.
fn copy_all<'a>(blobs: &Blobs, tree: &Dir, part: &[Copy<'a>]) -> Result<Vec<(&'a str, CopyOutcome)>, HostError> {
    let mut place = Parent::new(tree);
    let each = part.iter().map(|Copy { path, sha256, mode, from }| {
        let (dir, name) = place.of(path)?;
        let sought = match from {
            Source::Releases { spoilt } => {
                let sought = blobs.copy(sha256, dir, name, *mode)?;
                CopyOutcome { wrong: spoilt.iter().cloned().chain(sought.wrong).collect(), ..sought }
            }
            Source::Tree(earlier) => {
                let copied = blobs::copy(&tree.read(earlier)?, dir, name, *mode, sha256)?;
                let wrong = if copied { Vec::new() } else { vec![tree.path().join(earlier).display().to_string()] };
                CopyOutcome { copied, wrong, suspects: Vec::new() }
            }
        };
        fault!("host.extract.mid-tree");
        Ok((*path, sought))
    });
    each.collect()
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
