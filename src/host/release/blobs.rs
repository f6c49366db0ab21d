//! Where the bytes of a new release come from: blobs that were uploaded, and files of the sealed releases on this host.
//! Places files, digest checked; knows nothing of the order of a deployment.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::host::disk::beneath::{Dir, at};
use crate::host::disk::kept::Contents;
use crate::host::disk::root::{Root, json};
use crate::host::release::contents;
use crate::host::wire::HostError;
use crate::model::ids::{Digest, ReleaseName};
use serde::{Deserialize, Serialize};

/// Everything that is here, by digest.
pub struct Blobs {
    incoming: Dir,
    releases: Dir,
    uploaded: HashMap<Digest, Uploaded>,
    sources: HashMap<Digest, Vec<(ReleaseName, String, u64)>>,
    suspects: BTreeSet<Suspect>,
    root: Root,
}

/// An upload as it lies there.
struct Uploaded {
    size: u64,
    mode: u32,
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
    pub fn open(root: &Root) -> Result<Blobs, HostError> {
        let incoming = root.own_dir("incoming")?;
        let mut uploaded = HashMap::new();
        for entry in crate::host::disk::root::list(incoming.path())? {
            if let (Ok(digest), Ok(meta)) = (entry.file_name().to_string_lossy().parse(), entry.metadata()) {
                uploaded.insert(digest, Uploaded { size: meta.len(), mode: meta.mode() & 0o7777 });
            }
        }
        let suspects: BTreeSet<Suspect> =
            root.read_own("suspects.json")?.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let mut sources: HashMap<Digest, Vec<(ReleaseName, String, u64)>> = HashMap::new();
        let record = root.record()?;
        let present = root.present()?;
        for (name, _) in record.releases.iter().filter(|(name, r)| r.sealed && present.contains(name)) {
            // A manifest that cannot be read makes its release no source; the blobs are sent instead.
            let Ok(Some(kept)) = Contents::recall(root, name) else { continue };
            for (path, digest, size) in kept.contents.manifest.files() {
                let suspect = Suspect { release: name.clone(), path: path.to_owned() };
                if !suspects.contains(&suspect) {
                    sources.entry(*digest).or_default().push((suspect.release, suspect.path, size));
                }
            }
        }
        Ok(Blobs { incoming, releases: Dir::open(&root.releases())?, uploaded, sources, suspects, root: root.clone() })
    }

    /// Whether these bytes are here, as far as a look at sizes can say.
    pub fn has(&self, digest: &Digest, size: u64) -> bool {
        let stands = |(name, path, length): &(ReleaseName, String, u64)| {
            let file = self.releases.path().join(name.as_str()).join(path);
            *length == size && fs::symlink_metadata(file).is_ok_and(|meta| meta.is_file() && meta.len() == size)
        };
        self.uploaded.get(digest).is_some_and(|one| one.size == size)
            || self.sources.get(digest).is_some_and(|all| all.iter().any(stands))
    }

    /// Copies a file with these bytes from a release that has them.
    pub fn copy(&self, digest: &Digest, dir: &Dir, name: &str, mode: u32) -> Result<CopyOutcome, HostError> {
        let mut sought = CopyOutcome::default();
        for (release, path, _) in self.sources.get(digest).into_iter().flatten() {
            let rel = format!("{release}/{path}");
            if let Ok(from) = self.releases.read(&rel) {
                if copy(&from, dir, name, mode, digest)? {
                    sought.copied = true;
                    break;
                }
                sought.wrong.push(self.releases.path().join(&rel).display().to_string());
            }
            sought.suspects.push(Suspect { release: release.clone(), path: path.clone() });
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

    /// Drops every upload and every download: what a finished release did not use was meant for one that nobody finishes.
    pub fn drop_uploads(&self) -> Result<(), HostError> {
        for name in self.incoming.names()? {
            self.incoming.remove(&name)?;
        }
        // Where an earlier run fetched here and was lost.
        self.root.remove_own(crate::host::release::fetch::BUNDLES)
    }

    /// Moves an upload with these bytes into `dir`: its first use. From there on it is copied.
    pub fn take_upload(
        &mut self,
        digest: &Digest,
        size: u64,
        dir: &Dir,
        name: &str,
        mode: u32,
    ) -> Result<Upload, HostError> {
        let Some(upload) = self.uploaded.remove(digest).filter(|one| one.size == size) else {
            return Ok(Upload::None);
        };
        let blob = digest.to_string();
        // One of an earlier process is checked again: a power cut may have left a hole under a good name.
        if !self.root.take_received(digest) {
            let path = self.incoming.path().join(&blob);
            let (found, _) = contents::digest(&self.incoming.read(&blob)?).map_err(at("read", &path))?;
            if found != *digest {
                self.incoming.unlink(&blob)?;
                return Ok(Upload::Spoilt(path.display().to_string()));
            }
        }
        self.incoming.move_to(&blob, dir, name)?;
        if upload.mode != mode {
            dir.set_mode(name, mode)?;
        }
        Ok(Upload::Taken)
    }
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
