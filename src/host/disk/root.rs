//! One opened ROOT and its `.soll/`: where everything lies, and the record, read and written whole. Knows no operation.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rustix::fs::FlockOperation;

use crate::artifact::manifest::Manifest;
use crate::fault::fault;
use crate::host::disk::beneath::at;
use crate::host::disk::kept::Kept;
use crate::host::disk::stamp::Stamp;
use crate::host::lock;
use crate::host::wire::HostError;
use crate::model::format::{PROGRAM, Unreadable};
use crate::model::ids::{Digest, ReleaseName};
use crate::model::record::{FORM, FORMAT, Leased, Record, Refusal, unknown};

/// A root directory. Opening makes nothing; [`Root::prepare`] does.
#[derive(Debug, Clone)]
pub struct Root {
    path: PathBuf,
    memory: Arc<Mutex<Memory>>,
}

/// What this process knows of a root, and another one would have to read.
#[derive(Debug, Default)]
struct Memory {
    /// Uploads that were received and checked since the root was taken: nothing but this process could have spoilt them.
    received: HashSet<Digest>,
    /// The manifest that was asked about last, by its digest: reading it takes as long as many files.
    offered: Option<(Digest, Arc<Manifest>)>,
    /// What is kept for releases, with what its files looked like when they were read; the latest last.
    kept: VecDeque<(ReleaseName, Looks, Arc<Kept>)>,
}

/// Size and stamp of a file.
type Looks = (u64, Stamp);

/// Contents of so many releases are at hand: of the new one, of the live one.
const KEPT: usize = 2;

impl Root {
    /// Checks the path: absolute, without `..`, not `/` itself.
    pub fn at(path: &str) -> Result<Root, HostError> {
        let plain = Path::new(path).components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if !path.starts_with('/') || !plain || Path::new(path).parent().is_none() || path.contains('\0') {
            let text =
                format!("`{path}` cannot be a root: an absolute path without `..` is needed, and not `/` itself");
            return Err(HostError::Precondition(text));
        }
        Ok(Root { path: Path::new(path).components().collect(), memory: Arc::default() })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }

    /// Somebody else may have been here meanwhile.
    pub fn forget(&self) {
        *self.memory() = Memory::default();
    }

    /// Keeps a manifest at hand.
    pub fn note_offered(&self, tree: Digest, manifest: &Arc<Manifest>) {
        self.memory().offered = Some((tree, manifest.clone()));
    }

    /// The manifest with this digest, where it is at hand.
    pub fn offered(&self, tree: &Digest) -> Option<Arc<Manifest>> {
        self.memory().offered.as_ref().filter(|(digest, _)| digest == tree).map(|(_, manifest)| manifest.clone())
    }

    /// What was kept for a release, where its file still looks so.
    pub fn kept(&self, name: &ReleaseName, looks: Looks) -> Option<Arc<Kept>> {
        let memory = self.memory();
        let found = memory.kept.iter().find(|(of, looked, _)| of == name && *looked == looks);
        found.map(|(.., kept)| kept.clone())
    }

    /// Has what is kept for a release at hand.
    pub fn note_kept(&self, name: &ReleaseName, looks: Looks, kept: &Arc<Kept>) {
        let mut memory = self.memory();
        memory.kept.retain(|(of, ..)| of != name);
        if memory.kept.len() == KEPT {
            memory.kept.pop_front();
        }
        memory.kept.push_back((name.clone(), looks, kept.clone()));
    }

    /// An upload was received and checked.
    pub fn note_received(&self, blob: Digest) {
        self.memory().received.insert(blob);
    }

    /// Whether this process has received and checked an upload. It is asked once: the file is used up then.
    pub fn take_received(&self, blob: &Digest) -> bool {
        self.memory().received.remove(blob)
    }

    /// ROOT.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `ROOT/current`.
    pub fn current(&self) -> PathBuf {
        self.path.join("current")
    }

    /// `ROOT/releases`.
    pub fn releases(&self) -> PathBuf {
        self.path.join("releases")
    }

    /// `ROOT/releases/NAME`.
    pub fn release(&self, name: &ReleaseName) -> PathBuf {
        self.releases().join(name.as_str())
    }

    /// `ROOT/shared`.
    pub fn shared(&self) -> PathBuf {
        self.path.join("shared")
    }

    /// A path in `ROOT/.soll`.
    pub fn own(&self, name: &str) -> PathBuf {
        self.path.join(".soll").join(name)
    }

    /// Whether `soll` has ever acted here.
    pub fn is_managed(&self) -> bool {
        self.own("").is_dir()
    }

    /// Makes the layout where it is missing: ROOT, `releases/` and `shared/` with 755, `.soll/` with 700.
    pub fn prepare(&self) -> Result<(), HostError> {
        let make = |path: &Path, mode: u32| {
            DirBuilder::new().recursive(true).mode(mode).create(path).map_err(at("make the directory", path))
        };
        make(&self.path, 0o755)?;
        make(&self.releases(), 0o755)?;
        make(&self.shared(), 0o755)?;
        let soll = self.path.join(".soll");
        make(&soll, 0o700)?;
        let kind = fs::symlink_metadata(&soll).map_err(at("look at", &soll))?;
        if !kind.is_dir() {
            return Err(HostError::Io(format!("{} is not a directory of its own: move it away", soll.display())));
        }
        for name in ["manifests", "incoming", "staging", "trash"] {
            make(&self.own(name), 0o700)?;
        }
        Ok(())
    }

    /// The record; an empty one where `soll` has never acted.
    ///
    /// # Errors
    /// A newer format is refused; a record that cannot be understood is an error and stays as it is.
    pub fn record(&self) -> Result<Record, HostError> {
        Ok(self.written_record()?.map(|(record, _)| record).unwrap_or_default())
    }

    /// The record with the bytes that say it; `None` where `soll` has never acted.
    fn written_record(&self) -> Result<Option<(Record, Vec<u8>)>, HostError> {
        let path = self.own("record.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at("read", &path)(error)),
        };
        match FORM.read(&bytes) {
            Ok(record) => Ok(Some((record, bytes))),
            Err(Unreadable::Newer { found, by, .. }) => {
                let by = by.unwrap_or_else(|| "the one that wrote it".to_owned());
                Err(Refusal::NewerFormat { format: found, by }.into())
            }
            Err(Unreadable::Damaged(error)) => Err(corrupt(&path, &error)),
        }
    }

    /// One transition of the record: read, changed and written under a short lock of its own, so that a health sample
    /// or a wish to cancel never loses what a run writes. Nothing is written where nothing changed or it was refused.
    pub fn update<T>(&self, change: impl FnOnce(&mut Record) -> Result<T, HostError>) -> Result<T, HostError> {
        let _turn = self.turn()?;
        let (before, bytes) = self.written_record()?.unwrap_or_default();
        let mut record = before.clone();
        let value = change(&mut record)?;
        if record != before {
            record.format = FORMAT;
            let raw = match &*bytes {
                [] => serde_json::Value::Null,
                text => serde_json::from_slice(text).map_err(|error| corrupt(&self.own("record.json"), &error))?,
            };
            let mut whole =
                unknown::keep(&raw, &before, &record).map_err(|error| corrupt(&self.own("record.json"), &error))?;
            whole["by"] = PROGRAM.into();
            self.write("record.json", &json(&whole)?)?;
        }
        Ok(value)
    }

    /// The short lock around the record and around the test of who holds the root.
    pub fn turn(&self) -> Result<Turn, HostError> {
        let path = self.own("turn");
        let failed = at("lock", &path);
        let file = match OpenOptions::new().create(true).append(true).mode(0o600).open(&path) {
            // Looking must work where nothing can be written; a lock does not need to be.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(&path).map_err(&failed)?,
            opened => opened.map_err(&failed)?,
        };
        loop {
            match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => continue,
                done => return done.map(|()| Turn(file)).map_err(|error| failed(error.into())),
            }
        }
    }

    /// Writes a file of `.soll/` so that it is either the old one or the new one, whatever happens (law 5).
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), HostError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let path = self.own(name);
        let dir = path.parent().unwrap_or(&self.path).to_owned();
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let unique = COUNT.fetch_add(1, Ordering::Relaxed);
        let temp = dir.join(format!(".{file_name}.tmp-{}-{unique}", std::process::id()));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            if name == "record.json" {
                fault!("host.record.before-rename");
            }
            fs::rename(&temp, &path)?;
            File::open(&dir)?.sync_all()
        })();
        written.map_err(|error| {
            let _ = fs::remove_file(&temp);
            at("write", &path)(error)
        })
    }

    /// Notes when a controller was last heard, for whoever asks after this process is gone (law 6).
    pub fn note_heard(&self, ago: Duration) -> Result<(), HostError> {
        let path = self.own("heard");
        let when = SystemTime::now().checked_sub(ago).unwrap_or_else(SystemTime::now);
        let open = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        open.and_then(|file| file.set_modified(when)).map_err(at("write", &path))
    }

    /// Whether a lease has run out by what is noted here.
    pub fn lease_over(&self, leased: &Leased) -> bool {
        let armed = SystemTime::from(leased.since);
        let heard = fs::metadata(self.own("heard")).and_then(|meta| meta.modified()).unwrap_or(armed).max(armed);
        // A clock that was set back says nothing: then the lease is counted from now on by whoever watches.
        SystemTime::now().duration_since(heard).is_ok_and(|silent| silent > leased.lease)
    }

    /// The directories in `releases/` with a name that can be one, sorted.
    pub fn present(&self) -> Result<Vec<ReleaseName>, HostError> {
        let dir = self.releases();
        let mut names = Vec::new();
        for entry in list(&dir)? {
            if entry.file_type().is_ok_and(|kind| kind.is_dir())
                && let Ok(name) = entry.file_name().to_string_lossy().parse()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Clears what a killed process left: half-built trees, half-received blobs, temporary files, and entries of
    /// releases that are not there. Only for the holder of the root.
    pub fn tidy(&self) -> Result<(), HostError> {
        for area in ["staging", "trash"] {
            for entry in list(&self.own(area))? {
                remove(&entry.path())?;
            }
        }
        let left = |name: &str| name.starts_with('.') && name.contains(".tmp-");
        for dir in [self.own("incoming"), self.own(""), self.own("manifests"), self.path.clone()] {
            for entry in list(&dir)? {
                let name = entry.file_name().to_string_lossy().into_owned();
                if left(&name) && (dir != self.path || name.starts_with(".current.tmp-")) {
                    remove(&entry.path())?;
                }
            }
        }
        let present = self.present()?;
        let gone = self.update(|record| {
            let kept = |name: &ReleaseName| {
                present.contains(name)
                    || record.confirmed.as_ref().is_some_and(|c| c.release == *name)
                    || record.probation.as_ref().is_some_and(|p| p.release == *name)
            };
            let gone: Vec<_> = record.releases.keys().filter(|name| !kept(name)).cloned().collect();
            record.releases.retain(|name, _| !gone.contains(name));
            Ok(gone)
        })?;
        for name in gone {
            for kind in ["json", "stamps"] {
                let _ = fs::remove_file(self.own(&format!("manifests/{name}.{kind}")));
            }
        }
        Ok(())
    }
}

fn corrupt(path: &Path, error: &serde_json::Error) -> HostError {
    HostError::Io(format!(
        "{} cannot be understood ({error}). It is left as it is: restore it from a backup, or move it away and run \
         `soll adopt`, which takes the present `current` as the confirmed release",
        path.display()
    ))
}

/// Holds the short lock; dropping it gives it back, also where a child was just forked with a copy of it.
pub struct Turn(File);

impl Drop for Turn {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// Removes whatever is at a path, never following a link; nothing there is fine.
pub fn remove(path: &Path) -> Result<(), HostError> {
    let gone = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match gone {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The entries of a directory; none where there is no directory.
pub fn list(dir: &Path) -> Result<Vec<fs::DirEntry>, HostError> {
    match fs::read_dir(dir).and_then(Iterator::collect) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(at("list", dir)),
    }
}

/// A value of ours on one line: thousands of files are written and read with every deployment.
///
/// # Errors
/// [`HostError::Io`]: `what` cannot be said in JSON.
pub fn compact_json<T: serde::Serialize>(what: &str, value: &T) -> Result<Vec<u8>, HostError> {
    serde_json::to_vec(value).map_err(|error| HostError::Io(format!("cannot write {what} as JSON: {error}")))
}

/// A value of ours as JSON.
pub fn json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, HostError> {
    serde_json::to_vec_pretty(value).map_err(|error| HostError::Io(format!("cannot write a record as JSON: {error}")))
}

/// The wall clock of this host.
pub fn now() -> Timestamp {
    Timestamp::now()
}
