//! From a manifest to a complete directory under `releases/`: what is missing, taking it in, building the tree aside.
//! A tree that is not complete never counts as a release.

use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::artifact::delta::Listing;
use crate::artifact::manifest::{Manifest, Node};
use crate::fault::fault;
use crate::host::disk::beneath::{Dir, at, check};
use crate::host::disk::kept::Contents;
use crate::host::disk::root::{Root, compact_json};
use crate::host::release::blobs::Blobs;
use crate::host::release::build::build;
use crate::host::release::stamps::{Looks, Stamps};
use crate::host::wire::{HostError, Reply};
use crate::model::ids::{Digest, Hasher, ReleaseName};
use crate::model::record::Release;

/// Where a manifest lies between the two questions, below `.soll/`. It goes with the uploads.
const OFFERED: &str = "incoming/manifest.json";

/// The blobs of this manifest that nothing here has, in the manifest's order, each once, and the free bytes on the disk.
///
/// # Errors
/// Already where they would not fit there.
pub fn missing(root: &Root, listing: Listing) -> Result<(Vec<Digest>, u64), HostError> {
    let manifest = resolve(root, listing)?;
    verify_shape(&manifest)?;
    let blobs = Blobs::open(root)?;
    let mut seen = HashSet::new();
    let (mut wanted, mut bytes) = (Vec::new(), 0);
    for (_, digest, size) in manifest.files() {
        if !blobs.has(digest, size) && seen.insert(*digest) {
            wanted.push(*digest);
            bytes += size;
        }
    }
    let free_bytes = room_for(root, bytes)?;
    let place = root.own(OFFERED);
    let bytes = compact_json("the manifest that was offered", &manifest)?;
    let file = root.own_file(OFFERED, OFlags::WRONLY | OFlags::CREATE)?;
    let mut file = file.ok_or_else(|| at("write", &place)(std::io::Error::from(std::io::ErrorKind::NotFound)))?;
    file.set_len(0).and_then(|()| file.write_all(&bytes)).map_err(at("write", &place))?;
    root.note_offered(manifest.digest(), &Arc::new(manifest));
    Ok((wanted, free_bytes))
}

/// The manifest that is meant, where the tree that it is a difference from is here.
fn resolve(root: &Root, listing: Listing) -> Result<Manifest, HostError> {
    let base = match listing.base() {
        Some(base) => {
            let record = root.record()?;
            let known = record.releases.iter().find(|(_, release)| release.sealed && release.tree == Some(*base));
            known.and_then(|(name, _)| Contents::recall(root, name).ok().flatten())
        }
        None => None,
    };
    listing.resolve(base.as_deref().map(|kept| &kept.contents.manifest)).ok_or_else(|| {
        let text = "the manifest came as the difference from a release that is not here as it was; send it whole";
        HostError::Integrity(text.to_owned())
    })
}

/// What was last asked about, if it is this tree.
pub fn offered(root: &Root, tree: &Digest) -> Result<Arc<Manifest>, HostError> {
    if let Some(manifest) = root.offered(tree) {
        return Ok(manifest);
    }
    let place = root.own(OFFERED);
    let read = root.read_own(OFFERED)?.and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
    read.filter(|manifest| manifest.digest() == *tree).map(Arc::new).ok_or_else(|| {
        HostError::Integrity(format!(
            "{} is not the manifest of tree {}: ask again what is missing",
            place.display(),
            tree.short()
        ))
    })
}

/// Bytes that arrive, cut anyhow. `None`: the sender has gone.
pub trait Feed {
    /// The next bytes; an empty piece means that the sender gives up.
    fn next(&mut self) -> Option<Vec<u8>>;

    /// Whether nobody waits for the answer any more.
    fn is_gone(&self) -> bool {
        false
    }
}

/// Takes in blobs, one after the other, and gives how many bytes they have. Each one is there, checked, or not at all.
pub fn upload(root: &Root, blobs: &[(Digest, u64)], feed: &mut dyn Feed) -> Result<u64, HostError> {
    room_for(root, blobs.iter().map(|(_, size)| size).sum())?;
    let mut rest = Rest::default();
    let mut taken = 0;
    let incoming = root.own_dir("incoming")?;
    for (digest, size) in blobs {
        // One that is cut short has another size, and does not count.
        let name = digest.to_string();
        let received = receive(&incoming, &name, *size, &mut rest, feed).inspect_err(|_| {
            let _ = incoming.unlink(&name);
        })?;
        if received != *digest {
            incoming.unlink(&name)?;
            return Err(HostError::Integrity(format!(
                "a blob arrived as {} instead of {}: nothing of it was kept, send it again",
                received.short(),
                digest.short()
            )));
        }
        root.note_received(*digest);
        fault!("host.upload.after-blob");
        taken += size;
    }
    Ok(taken)
}

/// What is left of the last piece.
#[derive(Default)]
struct Rest {
    piece: Vec<u8>,
    used: usize,
}

impl Rest {
    /// Up to `limit` of the next bytes.
    fn next(&mut self, limit: u64, feed: &mut dyn Feed) -> Option<&[u8]> {
        if self.used == self.piece.len() {
            *self = Rest { piece: feed.next().filter(|piece| !piece.is_empty())?, used: 0 };
        }
        let n = (self.piece.len() - self.used).min(usize::try_from(limit).unwrap_or(usize::MAX));
        let from = self.used;
        self.used += n;
        Some(&self.piece[from..self.used])
    }
}

fn receive(dir: &Dir, name: &str, size: u64, rest: &mut Rest, feed: &mut dyn Feed) -> Result<Digest, HostError> {
    let failed = |error: std::io::Error| at("write", &dir.path().join(name))(error);
    let mut file = dir.replace(name)?;
    let mut hasher = Hasher::new();
    let mut left = size;
    while left > 0 {
        let piece = rest.next(left, feed).ok_or_else(|| {
            HostError::Io(format!("the upload ended {left} bytes before the end of a blob: complete blobs were kept"))
        })?;
        hasher.update(piece);
        file.write_all(piece).map_err(failed)?;
        left -= piece.len() as u64;
        fault!("host.upload.mid-blob");
    }
    Ok(hasher.finish())
}

/// Builds the tree in `.soll/staging/`, checks every byte of it, and moves it to `releases/NAME` in one step. The record
/// knows the name before it appears there: a leftover of ours is never taken for someone else's directory.
pub fn extract(root: &Root, name: &ReleaseName, release: Release, tree: &Digest) -> Result<Reply, HostError> {
    let manifest = offered(root, tree)?;
    verify_shape(&manifest)?;
    let releases = Dir::open(&root.releases())?;
    if releases.stat(name.as_str())?.is_some() {
        let path = root.release(name);
        return Err(HostError::Precondition(format!(
            "{} is already there: a release is never built over",
            path.display()
        )));
    }
    let staging = root.own_dir("staging")?;
    staging.remove(name.as_str())?;
    staging.make(name.as_str())?;
    let mut blobs = Blobs::open(root)?;
    let built = build(&mut blobs, &staging.sub(name.as_str())?, &manifest);
    let (copied, received) = match built {
        Ok(counts) => counts,
        Err(error) => {
            // The room that a failed tree takes is what the disk may be short of.
            let _ = staging.remove(name.as_str());
            let _ = blobs.remember_suspects(root);
            return Err(error);
        }
    };
    fault!("host.extract.before-record");
    let looks = Looks::take(&staging.sub(name.as_str())?, &manifest);
    if let Some(stamps) = looks.and_then(|looks| Stamps::fresh(looks, *tree)) {
        stamps.save(root, name);
    }
    Contents { manifest: Arc::unwrap_or_clone(manifest), ..Contents::default() }.save(root, name)?;
    let entry = Release { tree: Some(*tree), links: None, sealed: false, ..release };
    root.update(|record| {
        record.staged(name.clone(), entry);
        Ok(())
    })?;
    fault!("host.extract.after-record");
    staging.move_to(name.as_str(), &releases, name.as_str())?;
    releases.sync()?;
    fault!("host.extract.after-rename");
    blobs.drop_uploads()?;
    Ok(Reply::Extracted { copied, received })
}

/// What arrives over the wire is checked like any other input: paths in order and below the release, parents first,
/// links that stay inside.
pub fn verify_shape(manifest: &Manifest) -> Result<(), HostError> {
    let mut dirs = HashSet::from([""]);
    let mut before = "";
    for entry in &manifest.entries {
        let path = entry.path.as_str();
        check(path)?;
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let fault = match &entry.node {
            _ if path <= before => Some("is out of order or twice there"),
            _ if !dirs.contains(parent) => Some("lies in no directory of the manifest"),
            Node::Link { target } if !stays_inside(parent, target) => Some("is a link that leads out of the release"),
            _ => None,
        };
        if let Some(fault) = fault {
            return Err(HostError::Integrity(format!("the manifest is not one of a release: `{path}` {fault}")));
        }
        if entry.node == Node::Dir {
            dirs.insert(path);
        }
        before = path;
    }
    Ok(())
}

fn stays_inside(parent: &str, target: &str) -> bool {
    if target.is_empty() || target.starts_with('/') || target.contains('\0') {
        return false;
    }
    let mut depth = parent.split('/').filter(|part| !part.is_empty()).count();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return false,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    true
}

/// The free bytes on the file system of ROOT.
///
/// # Errors
/// Fewer than `bytes`.
fn room_for(root: &Root, bytes: u64) -> Result<u64, HostError> {
    let dir = root.own("incoming");
    let stat = rustix::fs::statvfs(&dir).map_err(at("ask for the free space of", &dir))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if bytes > free {
        return Err(HostError::Io(format!(
            "there is no room for the release on the file system of {}: {bytes} bytes are needed, {free} are free; make \
             room (or lower `keep_releases`), then run again",
            dir.display()
        )));
    }
    Ok(free)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::manifest::Entry;

    #[test]
    fn a_manifest_from_the_wire_is_not_trusted() {
        let dir = |path: &str| Entry { path: path.to_owned(), node: Node::Dir };
        let link =
            |path: &str, target: &str| Entry { path: path.to_owned(), node: Node::Link { target: target.to_owned() } };
        let shape = |entries: Vec<Entry>| verify_shape(&Manifest { entries });
        assert!(shape(vec![dir("a"), dir("a/b"), link("a/b/up", "../../c"), link("c", "a/./b")]).is_ok());
        for bad in [
            vec![dir("../a")],
            vec![dir("a"), dir("a")],
            vec![dir("b"), dir("a")],
            vec![dir("a/b")],
            vec![link("a", "b"), dir("a/c")],
            vec![link("a", "/etc")],
            vec![dir("a"), link("a/x", "../../x")],
            vec![link("a", "b/../../c")],
        ] {
            assert!(shape(bad.clone()).is_err(), "{bad:?}");
        }
    }
}
