//! Every bundle that was needed lately, fetched, checked and unpacked once on this machine. Shared by all processes of
//! one user; knows nothing of who needs a bundle or why.
//!
//! `bundles/DIGEST/` is complete or absent, also after `kill -9`: it appears by one rename and goes by one. Downloads
//! and whatever else is unfinished lie in `work/DIGEST/`; `locks/DIGEST` is held while either changes.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::model::ids::Digest;

use super::fetch::{Dress, FetchError, FetchSettings, Fetcher, OnProgress};
use super::files::{self, FileError, at, inside};
use super::lock::Lock;
use super::origins::Rules;
use super::pack::{self, Unpacked};
use super::source::{Location, Source};
use super::unpack::{Limits, UnpackError, unpack, unpack_as};

/// A half-finished download that nobody came back for.
const STALE_PART: Duration = Duration::from_secs(24 * 3600);

/// The cache. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ArtifactStore {
    dir: PathBuf,
    fetcher: Fetcher,
    limits: Limits,
}

/// Why a bundle could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error(transparent)]
    File(#[from] FileError),
    /// What an archive was to be made of could not be had, or is not taken: object, place, reason, next move.
    #[error("{0}")]
    Origin(String),
}

impl ArtifactError {
    /// Another attempt may succeed with nothing changed.
    pub fn is_transient(&self) -> bool {
        matches!(self, ArtifactError::Fetch(error) if error.is_transient())
    }

    /// There is no room on this machine.
    pub fn is_full(&self) -> bool {
        let file = match self {
            // As the C library says it in the locale `C`, which is that of every git of ours: of the disk, and of the quota.
            ArtifactError::Origin(text) => {
                return ["No space left on device", "Disk quota exceeded"].iter().any(|full| text.contains(full));
            }
            ArtifactError::File(error)
            | ArtifactError::Unpack(UnpackError::File(error))
            | ArtifactError::Fetch(FetchError::File(error)) => error,
            _ => return false,
        };
        matches!(file, FileError::DiskFull { .. })
    }
}

impl ArtifactStore {
    /// Opens the cache in this directory, with the usual patience and limits, and removes what killed processes left.
    pub fn new(dir: impl Into<PathBuf>) -> Result<Self, ArtifactError> {
        Self::with(dir, FetchSettings::default(), Limits::default())
    }

    /// The same with other settings.
    pub fn with(dir: impl Into<PathBuf>, fetch: FetchSettings, limits: Limits) -> Result<Self, ArtifactError> {
        let store = ArtifactStore { dir: dir.into(), fetcher: Fetcher::new(fetch), limits };
        for room in ["bundles", "work", "locks"] {
            let room = store.dir.join(room);
            std::fs::create_dir_all(&room).map_err(inside("making", &room))?;
        }
        store.sweep()?;
        Ok(store)
    }

    /// The same under these rules of where bundles may come from.
    pub fn under(self, rules: Rules) -> Self {
        ArtifactStore { fetcher: self.fetcher.under(rules), ..self }
    }

    /// Where it lies: the place for what is as large as bundles are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What fetches for this cache; for looking at bundles without taking them.
    pub fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// The bundle with this digest, if it is here. It stays readable even if it is trimmed meanwhile.
    pub fn get(&self, bundle: &Digest) -> Option<Unpacked> {
        let dir = self.bundle_dir(bundle);
        match Unpacked::open(&dir) {
            Ok(found) if found.bundle == *bundle => {
                pack::touch(&dir);
                Some(found)
            }
            Ok(_) => None,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, "an unpacked bundle cannot be used and will be made anew");
                }
                None
            }
        }
    }

    /// The bundle at this address, checked and unpacked; fetched only where it is not here yet. Without `expected` the
    /// checksum beside the bundle says which one it is. Whoever asks for the same bundle at the same time, in this
    /// process or another, waits and shares the result.
    pub async fn ensure(
        &self,
        source: &Source,
        expected: Option<Digest>,
        progress: OnProgress<'_>,
    ) -> Result<Unpacked, ArtifactError> {
        let digest = match expected {
            Some(digest) => digest,
            None => self.fetcher.checksum(source).await?,
        };
        if let Some(found) = self.get(&digest) {
            return Ok(found);
        }
        let (lock, work) = match self.begin(&digest).await? {
            Begun::There(found) => return Ok(*found),
            Begun::Locked(lock, work) => (lock, work),
        };
        let fetched = self.fetcher.fetch(source, digest, &work, progress).await?;
        let (store, place) = (self.clone(), source.url.clone());
        // The lock goes along: if the caller goes away, the work is still finished before anyone else starts on it.
        let task = tokio::task::spawn_blocking(move || {
            let _lock = lock;
            let result = store.take_in(&place, &fetched.path, &work, &digest);
            let _ = std::fs::remove_dir_all(&work);
            result
        });
        task.await.map_err(io::Error::other).map_err(inside("unpacking into", &self.dir))?
    }

    /// One file of a server that wants to see something on each request, as a tree with nothing else in it; fetched only where
    /// it is not here yet. `key`: what it goes by here; `digest`: the SHA-256 of its bytes.
    pub(super) async fn ensure_file(
        &self,
        key: Digest,
        (place, digest): (&Location, Digest),
        dress: Dress<'_>,
        progress: OnProgress<'_>,
    ) -> Result<Unpacked, ArtifactError> {
        let Location::Http(url) = place else { return Err(FetchError::missing(place).into()) };
        if let Some(found) = self.get(&key) {
            return Ok(found);
        }
        let (lock, work) = match self.begin(&key).await? {
            Begun::There(found) => return Ok(*found),
            Begun::Locked(lock, work) => (lock, work),
        };
        let fetched = self.fetcher.fetch_dressed((place, url), digest, &work, dress, progress).await?;
        let (store, place) = (self.clone(), place.clone());
        let task =
            tokio::task::spawn_blocking(move || {
                let _lock = lock;
                let staged = store.clear(&work, &key)?;
                let result =
                    pack::single(&staged, key, &fetched.path).map_err(ArtifactError::from).and_then(|single| {
                        match single.manifest.file(0).map(|(found, _)| *found) {
                            Some(found) if found == digest => store.settle(single, &staged),
                            found => {
                                let (place, found) = (place.to_string(), found.unwrap_or(key));
                                Err(FetchError::Mismatch { place, expected: digest, found }.into())
                            }
                        }
                    });
                let _ = std::fs::remove_dir_all(&work);
                result
            });
        task.await.map_err(io::Error::other).map_err(inside("unpacking into", &self.dir))?
    }

    /// What goes by this digest, unpacked; where it is not here yet it is made by `make`, which writes archives that belong
    /// over one another into the directory that it is given. `accept` looks at what came out before anybody else can.
    /// `place`: where it is from, for people.
    pub async fn ensure_made(
        &self,
        digest: Digest,
        place: String,
        make: impl FnOnce(&Path) -> Result<Vec<PathBuf>, ArtifactError> + Send + 'static,
        accept: impl FnOnce(&Unpacked) -> Result<(), ArtifactError> + Send + 'static,
    ) -> Result<Unpacked, ArtifactError> {
        if let Some(found) = self.get(&digest) {
            return Ok(found);
        }
        let (lock, work) = match self.begin(&digest).await? {
            Begun::There(found) => return Ok(*found),
            Begun::Locked(lock, work) => (lock, work),
        };
        let store = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _lock = lock;
            let staged = store.clear(&work, &digest);
            let result = staged.map_err(ArtifactError::from).and_then(|staged| {
                let archives = make(&work)?;
                let unpacked =
                    unpack_as(Some(digest), &archives, &staged, &store.limits).map_err(|error| error.of(&place))?;
                accept(&unpacked)?;
                store.settle(unpacked, &staged)
            });
            let _ = std::fs::remove_dir_all(&work);
            result
        });
        task.await.map_err(io::Error::other).map_err(inside("unpacking into", &self.dir))?
    }

    /// Takes the lock of a digest, and the directory to work in, unless somebody else was quicker.
    async fn begin(&self, digest: &Digest) -> Result<Begun, ArtifactError> {
        let lock = self.lock(digest).await?;
        if let Some(found) = self.get(digest) {
            return Ok(Begun::There(Box::new(found)));
        }
        let work = self.work_dir(digest);
        std::fs::create_dir_all(&work).map_err(inside("making", &work))?;
        Ok(Begun::Locked(lock, work))
    }

    /// Where something is unpacked first. Nothing of this digest is there any more. The lock is held.
    fn clear(&self, work: &Path, digest: &Digest) -> Result<PathBuf, FileError> {
        if self.bundle_dir(digest).exists() {
            self.remove(digest)?;
            std::fs::create_dir_all(work).map_err(inside("making", work))?;
        }
        let staged = work.join("tree");
        if staged.exists() {
            std::fs::remove_dir_all(&staged).map_err(at("removing", &staged))?;
        }
        Ok(staged)
    }

    /// Gives what was unpacked its place. The lock is held.
    fn settle(&self, unpacked: Unpacked, staged: &Path) -> Result<Unpacked, ArtifactError> {
        let dest = self.bundle_dir(&unpacked.bundle);
        std::fs::rename(staged, &dest).map_err(at("moving what was unpacked to", &dest))?;
        super::files::sync_dir(&self.dir.join("bundles"))?;
        Ok(unpacked.moved(&dest))
    }

    /// Unpacks an archive and gives it its place. The lock is held. What is unpacked is what was hashed, in one reading.
    fn take_in(
        &self,
        place: &Location,
        archive: &Path,
        work: &Path,
        digest: &Digest,
    ) -> Result<Unpacked, ArtifactError> {
        let staged = self.clear(work, digest)?;
        let unpacked = unpack(archive, &staged, &self.limits);
        // Why something else than what was promised does not unpack says less than that it is something else.
        let found = match &unpacked {
            Ok(unpacked) => unpacked.bundle,
            Err(UnpackError::Refused { .. }) => files::digest(archive)?,
            Err(UnpackError::File(_)) => *digest,
        };
        if found != *digest {
            return Err(FetchError::Mismatch { place: place.to_string(), expected: *digest, found }.into());
        }
        self.settle(unpacked.map_err(|error| error.of(&place.to_string()))?, &staged)
    }

    /// Removes what nobody used for `max_age`, then the longest unused until at most `keep_bytes` remain. Gives the
    /// digests that went. What someone is working on stays.
    pub fn trim(&self, max_age: Duration, keep_bytes: u64) -> Result<Vec<Digest>, ArtifactError> {
        let mut known: Vec<(SystemTime, u64, Digest)> = Vec::new();
        for (digest, path) in self.digests("bundles")? {
            // What cannot be read is no use to anyone: it goes first.
            let (used, bytes) = pack::usage(&path).unwrap_or((SystemTime::UNIX_EPOCH, 0));
            known.push((used, bytes, digest));
        }
        known.sort_unstable();
        let mut total: u64 = known.iter().map(|(_, bytes, _)| bytes).sum();
        let mut gone = Vec::new();
        for (used, bytes, digest) in known {
            let age = SystemTime::now().duration_since(used).unwrap_or_default();
            if age <= max_age && total <= keep_bytes {
                continue;
            }
            let Some(lock) = self.try_lock(&digest)? else { continue };
            // Somebody else may have trimmed it since the directory was listed.
            if self.bundle_dir(&digest).exists() {
                self.remove(&digest)?;
                gone.push(digest);
            }
            lock.retire();
            total -= bytes;
        }
        Ok(gone)
    }

    /// Takes a bundle away: out of sight by one rename, then bit by bit. The lock is held.
    fn remove(&self, digest: &Digest) -> Result<(), FileError> {
        let from = self.bundle_dir(digest);
        let work = self.work_dir(digest);
        std::fs::create_dir_all(&work).map_err(inside("making", &work))?;
        let trash = work.join("trash");
        if trash.exists() {
            std::fs::remove_dir_all(&trash).map_err(at("removing", &trash))?;
        }
        std::fs::rename(&from, &trash).map_err(at("removing", &from))?;
        std::fs::remove_dir_all(&trash).map_err(at("removing", &trash))?;
        // Fails where a download lies there as well, which is right.
        let _ = std::fs::remove_dir(&work);
        Ok(())
    }

    /// Removes what processes that are gone left behind; young downloads stay, to be resumed.
    fn sweep(&self) -> Result<(), FileError> {
        for (digest, work) in self.digests("work")? {
            let Some(lock) = self.try_lock(&digest)? else { continue };
            // Whoever worked here may have finished, and tidied up, since the directory was listed.
            if !work.exists() {
                continue;
            }
            for entry in std::fs::read_dir(&work).map_err(inside("reading", &work))?.flatten() {
                let path = entry.path();
                let modified = entry.metadata().and_then(|found| found.modified());
                let age = modified.ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
                let download = entry.file_type().is_ok_and(|kind| kind.is_file());
                if download && age < STALE_PART {
                    continue;
                }
                let gone = if download { std::fs::remove_file(&path) } else { std::fs::remove_dir_all(&path) };
                gone.map_err(at("removing", &path))?;
            }
            if std::fs::remove_dir(&work).is_ok() && !self.bundle_dir(&digest).exists() {
                lock.retire();
            }
        }
        Ok(())
    }

    fn digests(&self, room: &str) -> Result<Vec<(Digest, PathBuf)>, FileError> {
        let room = self.dir.join(room);
        let entries = std::fs::read_dir(&room).map_err(inside("reading", &room))?;
        Ok(entries.flatten().filter_map(|e| Some((e.file_name().to_str()?.parse().ok()?, e.path()))).collect())
    }

    fn bundle_dir(&self, digest: &Digest) -> PathBuf {
        self.dir.join("bundles").join(digest.to_string())
    }

    fn work_dir(&self, digest: &Digest) -> PathBuf {
        self.dir.join("work").join(digest.to_string())
    }

    async fn lock(&self, digest: &Digest) -> Result<Lock, FileError> {
        Lock::wait(&self.lock_path(digest)).await
    }

    fn try_lock(&self, digest: &Digest) -> Result<Option<Lock>, FileError> {
        Lock::attempt(&self.lock_path(digest))
    }

    fn lock_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("locks").join(digest.to_string())
    }
}

/// What somebody finds who begins to bring something.
enum Begun {
    /// It is there already.
    There(Box<Unpacked>),
    /// It is theirs to bring, into this directory.
    Locked(Lock, PathBuf),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_that_is_used_up_is_a_full_disk_for_git_as_well() {
        let said =
            |text: &str| ArtifactError::Origin(format!("git could not fetch: fatal: write error: {text}")).is_full();
        assert!(said("No space left on device") && said("Disk quota exceeded"));
        assert!(!said("Permission denied"));
    }
}
