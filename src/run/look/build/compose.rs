//! The files of a project as a build: those of a commit of the application, as any other commit is; or a directory of the state
//! repository: its tree, read as objects into the cache of bundles (law 10). The id of the tree was read with the state file, of
//! the same commit.

use std::path::Path;

use crate::artifact::lfs;
use crate::artifact::pack::Unpacked;
use crate::artifact::store::ArtifactError;
use crate::model::desired::{ComposeFiles, Environment, FilesFrom};
use crate::model::ids::{Digest, Sha};
use crate::model::observed::{ArtifactFacts, Fact};
use crate::run::controller::Controller;
use crate::run::look::build::Build;
use crate::run::look::build::git::Commit;

/// One directory as it is at one commit.
#[derive(Debug, Clone)]
pub struct Directory {
    path: String,
    /// Empty: nobody knows, because the state file was not read from a commit.
    tree: String,
    /// What the release of a commit goes by that is made of it.
    pub digest: Digest,
}

/// What an environment would get for this commit of its application. What is resolved of the files later is in the digest, so
/// that another setting of the project makes the release anew.
///
/// # Errors
/// What is written of the commit names no place, in words.
pub fn build(files: &ComposeFiles, env: &Environment, sha: &Sha, base: Option<&Path>) -> Result<Build, String> {
    let digest = files.digest(sha, &env.bundle_values());
    match &files.from {
        FilesFrom::Directory { path, tree } => {
            Ok(Build::Directory(Box::new(Directory { path: path.clone(), tree: tree.clone(), digest })))
        }
        FilesFrom::Commit(checkout) => Ok(Build::Git(Commit { digest, ..Commit::of(checkout, env, sha, base)? })),
    }
}

impl Directory {
    /// What is known without reading it.
    pub fn facts(&self) -> ArtifactFacts {
        let sha256 = if self.tree.is_empty() { Fact::Missing } else { Fact::Known(self.digest) };
        ArtifactFacts { sha256, checks: Fact::NotAsked }
    }

    /// Reads it into the cache, where it is not there yet.
    ///
    /// # Errors
    /// An object cannot be read, or something in it cannot be deployed.
    pub async fn bring(&self, controller: &Controller) -> Result<Unpacked, ArtifactError> {
        let (repo, tree, path) = (controller.repo.clone(), self.tree.clone(), self.path.clone());
        let make = move |dir: &Path| {
            let made = repo.archive_tree(&tree, &path, dir);
            made.map(|archive| vec![archive]).map_err(|error| ArtifactError::Origin(error.to_string()))
        };
        let place = self.place();
        let accept = move |unpacked: &Unpacked| lfs::refuse(unpacked, &place);
        controller.artifacts.ensure_made(self.digest, self.place(), make, accept).await
    }

    /// What it goes by, for people.
    pub fn known_as(&self) -> String {
        format!("tree {}", self.tree.get(..8).unwrap_or("unknown"))
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        format!("{} of the state repository", self.path)
    }
}
