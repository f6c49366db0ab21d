//! Bare copies of remote repositories under the cache directory: made in one piece, locked while they are changed, made
//! anew when they are broken. A mirror never holds anything that the remote does not have.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::command::{Git, GitSettings};
use super::error::{RepoError, Result};
use super::location::Location;
use crate::model::ids::Digest;

/// How often a taken lock is tried again.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// A directory of one remote.
#[derive(Debug, Clone)]
pub(super) struct Mirror {
    pub dir: PathBuf,
}

/// Held while a mirror is changed; other processes wait.
pub(super) struct MirrorLock {
    _file: File,
}

impl Mirror {
    /// The place of `location` under `cache_dir/KIND/`.
    pub fn at(cache_dir: &Path, kind: &str, location: &Location) -> Result<Mirror> {
        let digest = Digest::of(location.operand()?.as_bytes()).to_string();
        Ok(Mirror { dir: cache_dir.join(kind).join(&digest[..24]) })
    }

    /// Waits until no other process changes this mirror.
    pub fn lock(&self, settings: &GitSettings) -> Result<MirrorLock> {
        let path = self.dir.with_extension("lock");
        let storage = |source| RepoError::Storage { what: "lock", path: path.clone(), source };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(storage)?;
        }
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(storage)?;
        // The other one is bounded by its own timeouts: a few commands.
        let patience = settings.timeout * 3;
        let deadline = Instant::now() + patience;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(MirrorLock { _file: file }),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if Instant::now() < deadline => {
                    std::thread::sleep(LOCK_POLL);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(RepoError::Busy { path, after: patience }),
                Err(error) => return Err(storage(error.into())),
            }
        }
    }

    /// Makes the mirror with what `fetch` brings, under another name first: it is there complete or not at all.
    /// A mirror that is there already is replaced.
    pub fn create(&self, location: &Location, _held: &MirrorLock, fetch: impl Fn(&Path) -> Result<()>) -> Result<()> {
        let parent = self.dir.parent().unwrap_or(Path::new("."));
        let storage = |what| move |source| RepoError::Storage { what, path: parent.to_owned(), source };
        let fresh =
            tempfile::Builder::new().prefix(".new-").tempdir_in(parent).map_err(storage("make a directory in"))?;
        let objects = |error: git2::Error| RepoError::Objects {
            what: "make a mirror".to_owned(),
            place: location.to_string(),
            detail: error.message().to_owned(),
            missing: Vec::new(),
        };
        let repo = git2::Repository::init_opts(
            fresh.path(),
            git2::RepositoryInitOptions::new().bare(true).external_template(false),
        )
        .map_err(objects)?;
        repo.config()
            .and_then(|mut c| c.set_str("remote.origin.url", &location.operand().unwrap_or_default()))
            .map_err(objects)?;
        drop(repo);
        fetch(fresh.path())?;
        if self.dir.exists() {
            let old =
                tempfile::Builder::new().prefix(".old-").tempdir_in(parent).map_err(storage("make a directory in"))?;
            // Whoever reads the old one at this moment keeps it until it is removed with `old`.
            fs::rename(&self.dir, old.path().join("repository")).map_err(storage("move the broken mirror in"))?;
        }
        fs::rename(fresh.keep(), &self.dir).map_err(storage("move the new mirror in"))
    }

    /// Removes the locks of git itself that one which was killed has left: nobody else works here. Whether there were any.
    pub fn unlock(&self, _held: &MirrorLock) -> bool {
        let mut dirs = vec![(self.dir.clone(), true)];
        let mut found = false;
        while let Some((dir, top)) = dirs.pop() {
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let (path, name) = (entry.path(), entry.file_name());
                let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
                // Objects have no locks of this kind, and there are many of them.
                if is_dir && !(top && name == "objects") {
                    dirs.push((path, false));
                } else if !is_dir && path.extension().is_some_and(|end| end == "lock") {
                    found |= fs::remove_file(path).is_ok();
                }
            }
        }
        found
    }

    /// Whether everything that the refs need is there. Slow: only after something failed.
    pub fn is_whole(&self, settings: &GitSettings, location: &Location) -> bool {
        let git = Git::new(settings, location).within(&self.dir, &self.dir);
        let options = ["--connectivity-only", "--no-dangling", "--no-progress"];
        git2::Repository::open_bare(&self.dir).is_ok()
            && git.run("check its mirror of", "fsck", &options, &[]).is_ok_and(|output| output.success)
    }
}
