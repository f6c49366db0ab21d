//! From a manifest to a complete directory under `releases/`: what is missing, taking it in, building the tree aside.
//! A tree that is not complete never counts as a release.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::artifact::delta::{Hearing, LONGEST, Listing};
use crate::artifact::manifest::{Manifest, Node, from_file};
use crate::artifact::picked::Picked;
use crate::fault::fault;
use crate::host::disk::beneath::{Dir, at, check};
use crate::host::disk::kept::{Contents, Kept, Offered};
use crate::host::disk::room::{self, Need};
use crate::host::disk::root::{Root, write_json};
use crate::host::release::blobs::{self, Blobs};
use crate::host::release::build::build;
use crate::host::release::prune::Cures;
use crate::host::release::stamps::{Looks, Stamps};
use crate::host::wire::{HostError, Reply};
use crate::model::ids::{Digest, Hasher, ReleaseName};
use crate::model::record::Release;

/// Where a manifest lies between the two questions, below `.soll/`. It goes with the uploads.
const OFFERED: &str = "incoming/manifest.json";

/// Takes in the manifest that is told, and compares it with what is here.
///
/// # Errors
/// Those of [`compare`]; it came as the difference from a tree that is not here as it was, or not as it was announced.
pub fn missing(root: &Root, listing: Listing, keep: Option<u32>, feed: &mut dyn Feed) -> Result<Reply, HostError> {
    let base = match &listing.base {
        Some(base) => Some(base_of(root, base)?.ok_or_else(unknown_base)?),
        None => None,
    };
    let mut hearing = Hearing::new(listing, base.as_deref().map(|kept| &*kept.contents.manifest));
    let mut lines = BufReader::with_capacity(64 << 10, Arriving { rest: Rest::default(), feed });
    let mut line = Vec::new();
    while hearing.wants_more() {
        line.clear();
        let read = (&mut lines).take(LONGEST as u64).read_until(b'\n', &mut line);
        if read.is_err() || line.last() != Some(&b'\n') {
            let text = "the manifest of the release did not come to its end, nothing of it was kept; run it again";
            return Err(HostError::Io(text.to_owned()));
        }
        hearing
            .take(&line)
            .map_err(|why| HostError::Integrity(format!("the manifest is not one of a release: {why}")))?;
    }
    let manifest = hearing.finish().ok_or_else(unknown_base)?;
    drop(base);
    let Compared { files, free_bytes, removed } = compare(root, Offered::new(listing.tree, Arc::new(manifest)), keep)?;
    Ok(Reply::Missing { files, free_bytes, removed })
}

/// What is kept of a sealed release with this tree.
fn base_of(root: &Root, tree: &Digest) -> Result<Option<Arc<Kept>>, HostError> {
    let record = root.record()?;
    let known = record.releases.iter().find(|(_, release)| release.sealed && release.tree == Some(*tree));
    Ok(known.and_then(|(name, _)| Contents::recall(root, name).ok().flatten()))
}

fn unknown_base() -> HostError {
    let text = "the manifest came as the difference from a release that is not here as it was; send it whole";
    HostError::Integrity(text.to_owned())
}

/// How a manifest compares with what is here.
pub struct Compared {
    /// The files whose contents nothing here has, the first with each.
    pub files: Picked,
    /// On the disk.
    pub free_bytes: u64,
    /// The releases that went, because there was no room else.
    pub removed: Vec<ReleaseName>,
}

/// Compares it. The manifest stays here for `extract`. Where there is no room for the release, what a failed one left goes
/// first, and then, where so many are to be kept, the oldest ones beyond that: this one takes a place of its own.
///
/// # Errors
/// It is none of a release; the release would not fit there all the same.
pub fn compare(root: &Root, offered: Arc<Offered>, keep: Option<u32>) -> Result<Compared, HostError> {
    verify_shape(&offered.manifest)?;
    root.note_offered(&offered);
    let mut removed = Vec::new();
    let mut cures = Cures::of(keep);
    let (files, free_bytes) = loop {
        let blobs = Blobs::open(root, &offered)?;
        let lacks = match room_for(root, &blobs)? {
            Ok(free_bytes) => break (blobs.wanted(), free_bytes),
            Err(lacks) => lacks,
        };
        let went = cures.next(root)?;
        if went.is_empty() {
            // Earlier uploads for it are what the disk may be short of.
            blobs::drop_uploads(root)?;
            return Err(HostError::Io(lacks));
        }
        removed.extend(went);
    };
    let place = root.own(OFFERED);
    let file = root.own_file(OFFERED, OFlags::WRONLY | OFlags::CREATE)?;
    let mut file = file.ok_or_else(|| at("write", &place)(io::Error::from(io::ErrorKind::NotFound)))?;
    file.set_len(0).and_then(|()| write_json(&mut file, &*offered.manifest)).map_err(at("write", &place))?;
    Ok(Compared { files, free_bytes, removed })
}

/// The free bytes where the release will be; why it does not fit there, if it does not.
fn room_for(root: &Root, blobs: &Blobs) -> Result<Result<u64, String>, HostError> {
    let dir = root.own("staging");
    let free = room::free(&dir)?;
    let fits = |shares| free.fits(blobs.need(free.block, shares));
    // Whether copies share their blocks is tried where it matters.
    if fits(false) || room::reflink(&dir) == Some(true) && fits(true) {
        return Ok(Ok(free.bytes));
    }
    Ok(Err(free.lacks(blobs.need(free.block, false), &dir)))
}

/// What was last asked about, if it is this tree.
pub fn offered(root: &Root, tree: &Digest) -> Result<Arc<Offered>, HostError> {
    if let Some(offered) = root.offered(tree) {
        return Ok(offered);
    }
    let place = root.own(OFFERED);
    let read = root.own_file(OFFERED, OFlags::RDONLY)?.and_then(|file| from_file::<Manifest>(file).ok());
    let offered =
        read.filter(|manifest| manifest.digest() == *tree).map(|manifest| Offered::new(*tree, manifest.into()));
    let offered = offered.ok_or_else(|| {
        HostError::Integrity(format!(
            "{} is not the manifest of tree {}: ask again what is missing",
            place.display(),
            tree.short()
        ))
    })?;
    root.note_offered(&offered);
    Ok(offered)
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

/// Takes in the contents of these files of what was offered, one after the other, and gives how many bytes they have. Each
/// one is there, checked, or not at all.
pub fn upload(root: &Root, tree: &Digest, files: &Picked, feed: &mut dyn Feed) -> Result<u64, HostError> {
    let offered = offered(root, tree)?;
    let (dir, mut need) = (root.own("incoming"), Need::default());
    let free = room::free(&dir)?;
    files.files(&offered.manifest).for_each(|(.., size)| need.file(size, free.block));
    if !free.fits(need) {
        return Err(HostError::Io(free.lacks(need, &dir)));
    }
    let mut rest = Rest::default();
    let mut taken = 0;
    let incoming = root.own_dir("incoming")?;
    for (number, digest, size) in files.files(&offered.manifest) {
        // A blob that is cut short has another size than its manifest says, and does not count as here.
        let name = digest.to_string();
        let received = receive(&incoming, &name, size, &mut rest, feed).inspect_err(|_| {
            let _ = incoming.unlink(&name);
            give_back(root, size);
        })?;
        if received != *digest {
            incoming.unlink(&name)?;
            return Err(HostError::Integrity(format!(
                "a blob arrived as {} instead of {}: nothing of it was kept, send it again",
                received.short(),
                digest.short()
            )));
        }
        root.note_received(number);
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

/// What arrives, as one stream.
struct Arriving<'a> {
    rest: Rest,
    feed: &'a mut dyn Feed,
}

impl Read for Arriving<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.rest.next(into.len() as u64, self.feed) else { return Ok(0) };
        into[..piece.len()].copy_from_slice(piece);
        Ok(piece.len())
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
    let offered = offered(root, tree)?;
    let manifest = &offered.manifest;
    verify_shape(manifest)?;
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
    let place = staging.sub(name.as_str())?;
    let inherits = place.inherit(&releases)?;
    let mut blobs = Blobs::open(root, &offered)?;
    let built = build(&mut blobs, &place, inherits);
    let (copied, received) = match built {
        Ok(counts) => counts,
        Err(error) => {
            // The room that a failed tree takes is what the disk may be short of.
            let _ = staging.remove(name.as_str());
            let _ = blobs.remember_suspects(root);
            give_back(root, offered.manifest.bytes());
            return Err(error);
        }
    };
    fault!("host.extract.before-record");
    let looks = Looks::take(&staging.sub(name.as_str())?, manifest);
    if let Some(stamps) = looks.and_then(|looks| Stamps::fresh(looks, *tree)) {
        stamps.save(root, name);
    }
    Contents { manifest: manifest.clone(), ..Contents::default() }.save(root, name)?;
    let entry = Release { tree: Some(*tree), links: None, sealed: false, ..release };
    root.update(|record| {
        record.staged(name.clone(), entry);
        Ok(())
    })?;
    fault!("host.extract.after-record");
    staging.move_to(name.as_str(), &releases, name.as_str())?;
    releases.sync()?;
    fault!("host.extract.after-rename");
    blobs::drop_uploads(root)?;
    Ok(Reply::Extracted { copied, received })
}

/// What was sent is of no use to anybody where the disk is full: it goes at once. Elsewhere it stays for the next attempt.
fn give_back(root: &Root, bytes: u64) {
    if room::is_full(&root.own("incoming"), bytes) {
        let _ = blobs::drop_uploads(root);
    }
}

/// What arrives over the wire is checked like any other input: paths in order and below the release, parents first, and
/// nothing below a link. Where a link leads is the application's matter, settled by whoever unpacked the bundle
/// (`artifact::terms`): here a link is made and compared as a text, and followed by nothing of ours.
pub fn verify_shape(manifest: &Manifest) -> Result<(), HostError> {
    let mut dirs = HashSet::from([""]);
    let mut before = "";
    for entry in manifest.entries() {
        let path = entry.path;
        check(path)?;
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let fault = match &entry.node {
            _ if path <= before => Some("is out of order or twice there"),
            _ if !dirs.contains(parent) => Some("lies in no directory of the manifest"),
            Node::Link { target } if target.is_empty() || target.contains('\0') => Some("is a link to nothing"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::manifest::Entry;

    #[test]
    fn a_manifest_from_the_wire_is_not_trusted() {
        let dir = |path| Entry::plain(path, Node::Dir);
        let link = |path, target| Entry::plain(path, Node::Link { target });
        let shape = |entries: Vec<Entry<&str>>| verify_shape(&Manifest::of(entries).unwrap());
        assert!(shape(vec![dir("a"), dir("a/b"), link("a/b/up", "../../c"), link("c", "/usr/bin/x")]).is_ok());
        for bad in [
            vec![dir("../a")],
            vec![dir("a"), dir("a")],
            vec![dir("b"), dir("a")],
            vec![dir("a/b")],
            vec![link("a", "b"), dir("a/c")],
            vec![link("a", "/etc"), dir("a/c")],
            vec![link("a", "")],
            vec![link("a", "b\0c")],
        ] {
            assert!(shape(bad.clone()).is_err(), "{bad:?}");
        }
    }
}
