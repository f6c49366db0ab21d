//! The build of a commit, as the controller meets it: whether there is one, what it is called by (a digest), and bringing
//! it here. One file for each kind of delivery answers (design 3.5); whoever plans or carries out asks here, and knows no
//! kind.

pub mod bundle;
pub mod compose;
pub mod git;

use std::path::Path;

use crate::artifact::fetch::OnProgress;
use crate::artifact::pack::Unpacked;
use crate::artifact::source::Source;
use crate::artifact::store::ArtifactError;
use crate::model::desired::{Delivery, Environment};
use crate::model::ids::{Digest, Sha};
use crate::model::observed::{ArtifactFacts, Fact};
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::Controller;
use crate::run::look::grounds::Grounds;

/// A place as it can be asked: an address as it is, a relative path joined with `base`. `what`: the key of the state file.
fn absolute(place: String, what: &str, base: Option<&Path>) -> Result<String, String> {
    if place.contains("://") || Path::new(&place).is_absolute() {
        return Ok(place);
    }
    let base = base.ok_or_else(|| {
        format!("the {what} path `{place}` is relative, which needs a state repository with a local work tree")
    })?;
    Ok(base.join(place).display().to_string())
}

/// Where the build of one commit is.
#[derive(Debug, Clone)]
pub enum Build {
    /// An archive, and what lies beside it.
    Bundle(Source),
    /// The tree of a commit.
    Git(git::Commit),
    /// A directory of the state repository.
    Directory(Box<compose::Directory>),
}

impl Build {
    /// Where it is by the words of the state file. `base`: where relative paths start.
    ///
    /// # Errors
    /// What is written there names no place, in words.
    pub fn of(env: &Environment, sha: &Sha, base: Option<&Path>) -> Result<Build, String> {
        match &env.delivery {
            Delivery::Bundle(of) => bundle::source(of, env, sha, base).map(Build::Bundle),
            Delivery::Git(of) => git::Commit::of(of, env, sha, base).map(Build::Git),
            Delivery::Compose(of) => compose::build(of, env, sha, base),
        }
    }

    /// What is known of it without bringing it, and of the checks that the environment asks for.
    pub async fn inspect(
        &self,
        controller: &Controller,
        grounds: Grounds<'_>,
        env: &Environment,
        sha: &Sha,
    ) -> ArtifactFacts {
        match self {
            Build::Bundle(source) => grounds.fetcher(controller).inspect(source, sha, &env.checks).await,
            Build::Git(commit) => commit.inspect(controller, grounds, env).await,
            Build::Directory(directory) => directory.facts(),
        }
    }

    /// Whether it is there, for whoever follows a branch (B1).
    pub async fn exists(&self, controller: &Controller, word: &AcceptedSnapshot, env: &Environment) -> Fact<()> {
        match self {
            Build::Bundle(source) => controller.artifacts.fetcher().exists(source).await,
            Build::Git(commit) => commit.exists(controller, word, env).await,
            // The same for every commit; whether its images are there, their registry knows.
            Build::Directory(_) => Fact::Known(()),
        }
    }

    /// The digest that it goes by: in caches, in records of hosts, in verdicts.
    ///
    /// # Errors
    /// It could not be had: object, place, reason.
    pub async fn digest(&self, controller: &Controller) -> Result<Digest, ArtifactError> {
        match self {
            Build::Bundle(source) => Ok(controller.artifacts.fetcher().checksum(source).await?),
            Build::Git(commit) => Ok(commit.digest),
            Build::Directory(directory) => Ok(directory.digest),
        }
    }

    /// Brings it into the cache of this controller, where it is not there yet. `digest`: what it must be; without it what
    /// is there says so.
    ///
    /// # Errors
    /// It could not be had, or is not what it must be.
    pub async fn bring(
        &self,
        controller: &Controller,
        digest: Option<Digest>,
        progress: OnProgress<'_>,
    ) -> Result<Unpacked, ArtifactError> {
        match self {
            Build::Bundle(source) => controller.artifacts.ensure(source, digest, progress).await,
            Build::Git(commit) => commit.bring(controller).await,
            Build::Directory(directory) => directory.bring(controller).await,
        }
    }

    /// What tells it from all others. An address may hold a secret: never to be shown, and kept as a digest alone.
    pub fn address(&self) -> String {
        match self {
            Build::Bundle(source) => source.url.address(),
            Build::Git(commit) => commit.address(),
            Build::Directory(directory) => directory.digest.to_string(),
        }
    }

    /// What it goes by, for people. `digest`: its own.
    pub fn known_as(&self, digest: &Digest) -> String {
        match self {
            Build::Bundle(_) => format!("sha256 {}", digest.short()),
            Build::Git(commit) => format!("commit {}", commit.sha.short()),
            Build::Directory(directory) => directory.known_as(),
        }
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        match self {
            Build::Bundle(source) => source.url.to_string(),
            Build::Git(commit) => commit.place(),
            Build::Directory(directory) => directory.place(),
        }
    }
}
