//! Where the bytes of a new release come from: blobs that were uploaded, and files of the sealed releases on this host.
//! Places files, digest checked; knows nothing of the order of a deployment.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::artifact::manifest::Node;
use crate::artifact::picked::Picked;
use crate::host::disk::beneath::{Dir, at};
use crate::host::disk::kept::{Contents, Offered};
use crate::host::disk::room::Need;
use crate::host::disk::root::{Root, json};
use crate::host::release::contents;
use crate::host::wire::HostError;
use crate::model::ids::{Digest, ReleaseName};

/// Of so many files with the same contents the places are known: one more than the one that may be spoilt.
const SOURCES: usize = 2;

/// So many bytes are written down of an entry, beside its path.
const WRITTEN: u64 = 150;

/// Everything that is here of what is wanted. Files are known by their numbers in the manifest that was offered, each
/// contents by the first file that has them.
pub struct Blobs {
    root: Root,
    offered: Arc<Offered>,
    incoming: Dir,
    releases: Dir,
    uploaded: Picked,
    /// Uploads that have the mode of most files already.
    plain: Picked,
    sources: Sources,
    suspects: BTreeSet<Suspect>,
}

/// Where contents lie in the sealed releases on this host.
#[derive(Default)]
struct Sources {
    releases: Vec<ReleaseName>,
    /// The path of each source.
    text: String,
    /// In the order of their numbers, of the latest release first.
    all: Vec<Source>,
}

#[derive(Clone, Copy)]
struct Source {
    number: u32,
    release: u32,
    /// Where its path begins, and how long it is.
    at: usize,
    length: usize,
}

impl Sources {
    /// The releases and paths that have the contents of this file.
    fn of(&self, number: usize) -> impl Iterator<Item = (&ReleaseName, &str)> {
        let from = self.all.partition_point(|source| (source.number as usize) < number);
        let same = self.all[from..].iter().take_while(move |source| source.number as usize == number);
        same.map(|one| (&self.releases[one.release as usize], &self.text[one.at..one.at + one.length]))
    }
}

/// A file of a release that was found not to be what its manifest says: no source for anything any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Suspect {
    release: ReleaseName,
    path: String,
}

/// What became of an upload.
pub enum Upload {
    Taken,
    /// It was not what it was called, and is gone: where it was.
    Spoilt(String),
    /// There is none.
    None,
}

impl Upload {
    /// Where one was that was not what it was called.
    pub fn spoilt(self) -> Option<String> {
        match self {
            Upload::Spoilt(place) => Some(place),
            Upload::Taken | Upload::None => None,
        }
    }
}

/// What became of a search for some bytes.
#[derive(Default)]
pub struct CopyOutcome {
    pub copied: bool,
    /// The files that should have had them, and did not.
    pub wrong: Vec<String>,
    pub suspects: Vec<Suspect>,
}

impl Blobs {
    /// Looks at what is here: complete uploads, and the manifests of sealed releases.
    pub fn open(root: &Root, offered: &Arc<Offered>) -> Result<Blobs, HostError> {
        let suspects: BTreeSet<Suspect> =
            root.read_own("suspects.json")?.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let sources = sources(root, offered, &suspects)?;
        let mut blobs = Blobs {
            incoming: root.own_dir("incoming")?,
            releases: Dir::open(&root.releases())?,
            root: root.clone(),
            offered: offered.clone(),
            uploaded: Picked::default(),
            plain: Picked::default(),
            sources,
            suspects,
        };
        let place = blobs.incoming.path().to_owned();
        for entry in fs::read_dir(&place).map_err(at("list", &place))? {
            let entry = entry.map_err(at("list", &place))?;
            if let (Ok(digest), Ok(meta)) = (entry.file_name().to_string_lossy().parse(), entry.metadata())
                && let Some(number) = offered.by_digest.first(&offered.manifest, &digest)
                && offered.manifest.file(number).is_some_and(|(_, size)| size == meta.len())
            {
                blobs.uploaded.add(number);
                if meta.mode() & 0o7777 == 0o644 {
                    blobs.plain.add(number);
                }
            }
        }
        Ok(blobs)
    }

    /// What is wanted.
    pub fn offered(&self) -> &Arc<Offered> {
        &self.offered
    }

    /// Whether the contents of this file are here, as far as a look at sizes can say.
    pub fn has(&self, number: usize) -> bool {
        let Some((_, size)) = self.offered.manifest.file(number) else { return false };
        let stands = |(release, path): (&ReleaseName, &str)| {
            let file = self.releases.path().join(release.as_str()).join(path);
            fs::symlink_metadata(file).is_ok_and(|meta| meta.is_file() && meta.len() == size)
        };
        self.uploaded.has(number) || self.sources.of(number).any(stands)
    }

    /// The files whose contents are not here, the first with each.
    pub fn wanted(&self) -> Picked {
        Picked::of(self.offered.firsts.numbers().filter(|number| !self.has(*number)))
    }

    /// What the release takes beside what is here of it already, where a file takes whole blocks of this size. `shares`:
    /// copies share theirs.
    pub fn need(&self, block: u64, shares: bool) -> Need {
        let manifest = &self.offered.manifest;
        let mut need = Need::default();
        for (number, entry) in manifest.entries().enumerate() {
            match entry.node {
                Node::Dir => need.file(1, block),
                Node::Link { .. } => need.file(0, block),
                Node::File { .. } if self.uploaded.has(number) => {}
                Node::File { size, .. } => {
                    let copied = !self.offered.firsts.has(number) || self.sources.of(number).next().is_some();
                    need.file(if shares && copied { 0 } else { size }, block);
                }
            }
        }
        // What is written down of it: now, and when it is a release.
        let written = manifest.entries().map(|entry| entry.path.len() as u64 + WRITTEN).sum();
        need.file(written, block);
        need.file(written, block);
        need
    }

    /// Copies the contents of this file from a release that has them.
    pub fn copy(&self, number: usize, dir: &Dir, name: &str, mode: u32) -> Result<CopyOutcome, HostError> {
        let mut sought = CopyOutcome::default();
        let Some((digest, _)) = self.offered.manifest.file(number) else { return Ok(sought) };
        for (release, path) in self.sources.of(number) {
            let rel = format!("{release}/{path}");
            if let Ok(from) = self.releases.read(&rel) {
                if copy(&from, dir, name, mode, digest)? {
                    sought.copied = true;
                    break;
                }
                sought.wrong.push(self.releases.path().join(&rel).display().to_string());
            }
            sought.suspects.push(Suspect { release: release.clone(), path: path.to_owned() });
        }
        Ok(sought)
    }

    /// These are no sources any more.
    pub fn suspect(&mut self, found: Vec<Suspect>) {
        self.suspects.extend(found);
    }

    /// Remembers the files that were not what they should be, so that the next question about missing blobs names theirs.
    pub fn remember_suspects(&self, root: &Root) -> Result<(), HostError> {
        let present: HashSet<_> = root.present()?.into_iter().collect();
        let still: Vec<_> = self.suspects.iter().filter(|suspect| present.contains(&suspect.release)).collect();
        root.write("suspects.json", &json(&still)?)
    }

    /// Moves the upload of this file into `dir`: its first use. From there on it is copied. Where `dir` gives what is made
    /// in it a group or an access list (`inherits`), it is copied at once: what is moved keeps what it had.
    pub fn take_upload(
        &mut self,
        number: usize,
        dir: &Dir,
        name: &str,
        (mode, inherits): (u32, bool),
    ) -> Result<Upload, HostError> {
        let file = self.offered.manifest.file(number).filter(|_| self.uploaded.take(number));
        let Some((digest, _)) = file else { return Ok(Upload::None) };
        let blob = digest.to_string();
        // An upload of an earlier process is checked again: a power cut may have left a hole under a good name.
        if !self.root.take_received(number) {
            let path = self.incoming.path().join(&blob);
            let (found, _) = contents::digest(&self.incoming.read(&blob)?).map_err(at("read", &path))?;
            if found != *digest {
                self.incoming.unlink(&blob)?;
                return Ok(Upload::Spoilt(path.display().to_string()));
            }
        }
        if inherits {
            let copied = copy(&self.incoming.read(&blob)?, dir, name, mode, digest)?;
            self.incoming.unlink(&blob)?;
            let place = self.incoming.path().join(&blob).display().to_string();
            return Ok(if copied { Upload::Taken } else { Upload::Spoilt(place) });
        }
        self.incoming.move_to(&blob, dir, name)?;
        if mode != 0o644 || !self.plain.has(number) {
            dir.set_mode(name, mode)?;
        }
        Ok(Upload::Taken)
    }
}

/// Drops every upload and every download: what a finished release did not use was meant for one that nobody finishes.
pub fn drop_uploads(root: &Root) -> Result<(), HostError> {
    let incoming = root.own_dir("incoming")?;
    for name in incoming.names()? {
        incoming.remove(&name)?;
    }
    // Where an earlier run fetched here and was lost.
    root.remove_own(crate::host::release::fetch::BUNDLES)
}

/// Where the contents that are wanted lie in the sealed releases. Of these one manifest after the other is looked at.
fn sources(root: &Root, offered: &Offered, suspects: &BTreeSet<Suspect>) -> Result<Sources, HostError> {
    let mut sources = Sources::default();
    // How many places are known of each.
    let mut known: [Picked; SOURCES] = Default::default();
    let record = root.record()?;
    let present = root.present()?;
    for (name, _) in record.releases.iter().rev().filter(|(name, r)| r.sealed && present.contains(name)) {
        // A manifest that cannot be read makes its release no source; the blobs are sent instead.
        let Ok(Some(kept)) = Contents::recall(root, name) else { continue };
        let release = u32::try_from(sources.releases.len()).unwrap_or(u32::MAX);
        sources.releases.push(name.clone());
        let suspected: HashSet<&str> =
            suspects.iter().filter(|suspect| suspect.release == *name).map(|suspect| suspect.path.as_str()).collect();
        for (path, digest, size) in kept.contents.manifest.files() {
            let Some(number) = offered.by_digest.first(&offered.manifest, digest) else { continue };
            let fits = offered.manifest.file(number).is_some_and(|(_, wanted)| wanted == size);
            let free = known.iter_mut().find(|known| !known.has(number));
            let Some(free) = free.filter(|_| fits && !suspected.contains(path)) else { continue };
            free.add(number);
            let (at, length) = (sources.text.len(), path.len());
            sources.text.push_str(path);
            sources.all.push(Source { number: u32::try_from(number).unwrap_or(u32::MAX), release, at, length });
        }
    }
    // Stable: the latest release stays first.
    sources.all.sort_by_key(|source| source.number);
    Ok(sources)
}

/// Copies with a reflink where the file system can, else by reading; `false`, and nothing is there: the digest differs.
pub fn copy(from: &File, dir: &Dir, name: &str, mode: u32, digest: &Digest) -> Result<bool, HostError> {
    let path: PathBuf = dir.path().join(name);
    let to = dir.create(name, mode)?;
    let copied = match rustix::fs::ioctl_ficlone(&to, from) {
        Ok(()) => {
            dir.read(name).and_then(|clone| contents::digest(clone).map_err(at("read", &path))).map(|found| found.0)
        }
        Err(_) => copy_and_digest(from, &to).map_err(at("write", &path)),
    };
    match copied {
        Ok(found) if found == *digest => Ok(true),
        Ok(_) => dir.unlink(name).map(|()| false),
        Err(error) => Err(error),
    }
}

fn copy_and_digest(mut from: &File, mut to: &File) -> io::Result<Digest> {
    contents::digest_each(&mut from, |piece| to.write_all(piece))
}
