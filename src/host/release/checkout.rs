//! The tree of a commit that the host fetches itself (`checkout = { fetch_from = "host" }`): from a mirror in ROOT/repo, with
//! the host's own Git and the keys of the agent's user. What comes out is the same as on a controller, byte for byte.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::artifact::lfs;
use crate::artifact::pack::Unpacked;
use crate::artifact::store::{ArtifactError, ArtifactStore};
use crate::host::disk::root::Root;
use crate::host::disk::trust;
use crate::host::wire::{Commit, HostError, Secret};
use crate::model::address::redacted;
use crate::model::ids::Digest;
use crate::state_repo::tree::Part;
use crate::state_repo::{AppRepo, GitSettings};

/// Below ROOT.
pub const MIRROR: &str = "repo";
/// How long a repository may take to say which branches it has, where somebody only wants to know whether it answers.
const ANSWER: Duration = Duration::from_secs(30);

/// A commit that is wanted here.
pub struct Wish {
    repository: AppRepo,
    commit: Commit,
    mirror: PathBuf,
    shown: String,
    stop: Arc<AtomicBool>,
}

impl Wish {
    /// Makes ROOT/repo where it is missing.
    ///
    /// # Errors
    /// The address is none. [`HostError::Exposed`]: another user could change the mirror, whose settings Git goes by.
    pub fn new(root: &Root, place: &Secret, commit: &Commit) -> Result<Wish, HostError> {
        let stop = Arc::new(AtomicBool::new(false));
        let settings = GitSettings { stop: Some(stop.clone()), ..GitSettings::default() };
        let repository = AppRepo::new(place.expose(), settings).map_err(|error| HostError::Io(error.to_string()))?;
        let ground = root.ground()?.ok_or_else(|| {
            HostError::Precondition(format!("{} is not there: soll provision makes it", root.path().display()))
        })?;
        let mirror = trust::private(&ground, MIRROR)?.path().to_owned();
        Ok(Wish { repository, commit: commit.clone(), mirror, shown: redacted(place.expose()), stop })
    }

    /// Where it is from, for people.
    pub fn place(&self) -> String {
        format!("commit {} of {}", self.commit.sha.short(), self.shown)
    }

    /// Nobody waits for it any more: a Git that runs for it is ended.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Reads it into `store`.
    ///
    /// # Errors
    /// It could not be had: the place, the reason, the next move.
    pub async fn bring(&self, store: &ArtifactStore, digest: Digest) -> Result<Unpacked, ArtifactError> {
        let (repository, mirror, place) = (self.repository.clone(), self.mirror.clone(), self.place());
        let Commit { sha, directory, submodules } = self.commit.clone();
        let make = move |dir: &Path| {
            let part = Part { sha: &sha, directory: &directory, submodules };
            repository.archive(part, &mirror, dir).map_err(|error| {
                let next = match error.is_transient() {
                    true => {
                        "; the agent's user on this host needs Git and a key for the repository (`git ls-remote` as that user \
                         must work), or leave `fetch_from = \"host\"` out of `checkout`, so that the controller fetches"
                    }
                    false => "",
                };
                ArtifactError::Origin(format!("{error}{next}"))
            })
        };
        let accept = move |unpacked: &Unpacked| lfs::refuse(unpacked, &place);
        store.ensure_made(digest, self.place(), make, accept).await
    }
}

/// Whether a repository answers the agent's user here; what it says, or why not.
pub fn answers(place: &Secret) -> Result<String, String> {
    let settings = GitSettings { timeout: ANSWER, ..GitSettings::default() };
    let asked = AppRepo::new(place.expose(), settings).and_then(|repository| repository.ls_remote(&["refs/heads/*"]));
    asked.map(|heads| format!("it has {} branches", heads.len())).map_err(|error| error.to_string())
}
