//! A commit of an application's repository as a build: whether it is there, and its tree, read into the cache of bundles.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::absolute;
use crate::artifact::lfs;
use crate::artifact::pack::Unpacked;
use crate::artifact::source::Location;
use crate::artifact::store::ArtifactError;
use crate::host::wire::Secret;
use crate::model::desired::forge::ChecksFrom;
use crate::model::desired::{Checkout, Environment, FetchFrom};
use crate::model::ids::{Digest, Sha};
use crate::model::observed::{ArtifactFacts, Fact};
use crate::plan::policy::Refused;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::Controller;
use crate::run::look::grounds::Grounds;
use crate::state_repo::tree::Part;
use crate::state_repo::{AppRepo, GitSettings, RepoError};

/// One commit, and what of it becomes the release.
#[derive(Debug, Clone)]
pub struct Commit {
    pub sha: Sha,
    pub checkout: Checkout,
    /// Where the record of its checks is, if anywhere.
    pub checks: Option<Location>,
    /// Who tells about them else.
    pub checks_from: Option<ChecksFrom>,
    /// What the release goes by that is made of it.
    pub digest: Digest,
}

impl Commit {
    /// The commit that an environment would get.
    ///
    /// # Errors
    /// The place of its checks is none, in words.
    pub fn of(checkout: &Checkout, env: &Environment, sha: &Sha, base: Option<&Path>) -> Result<Commit, String> {
        let checks = checkout.checks_of(sha, &env.bundle_values());
        let checks = checks.map(|place| absolute(place, "checks", base)).transpose()?;
        let checks = checks.map(|place| place.parse::<Location>().map_err(|error| error.to_string())).transpose()?;
        Ok(Commit {
            sha: sha.clone(),
            checkout: checkout.clone(),
            checks,
            checks_from: checkout.checks_from.clone(),
            digest: checkout.digest(sha),
        })
    }

    /// Whether the repository has it, and how its checks came out.
    pub async fn inspect(&self, controller: &Controller, grounds: Grounds<'_>, env: &Environment) -> ArtifactFacts {
        let sha256 = match self.is_there(controller).await {
            Ok(true) => Fact::Known(self.digest),
            Ok(false) => Fact::Missing,
            Err(error) => Fact::Unknown(error),
        };
        let checks = match (&self.checks, &self.checks_from) {
            _ if env.checks.is_empty() => Fact::NotAsked,
            (Some(place), _) => grounds.fetcher(controller).record(place, &self.sha, &env.checks).await,
            (None, Some(from)) => self.statuses(controller, grounds, env, from).await,
            (None, None) => Fact::Missing,
        };
        ArtifactFacts { sha256, checks }
    }

    /// What its forge says of the checks that an environment asks for.
    pub async fn statuses(
        &self,
        controller: &Controller,
        grounds: Grounds<'_>,
        env: &Environment,
        from: &ChecksFrom,
    ) -> Fact<BTreeMap<String, String>> {
        let token = match &from.token {
            None => None,
            Some(name) => match grounds.token(env, name, &from.api) {
                Ok(token) => Some(token),
                Err(Refused { why, fix }) => {
                    return Fact::Unknown(format!("the forge is asked with the token {name}, {why}; {fix}"));
                }
            },
        };
        let token = token.as_ref().map(Secret::expose);
        grounds.fetcher(controller).statuses(from, &self.sha, token, &env.checks).await
    }

    /// Whether it can be followed to (B1): a commit whose checks are recorded somewhere is built when they are, and one of which
    /// a forge tells when they have succeeded.
    pub async fn exists(&self, controller: &Controller, word: &AcceptedSnapshot, env: &Environment) -> Fact<()> {
        if let Some(from) = self.checks_from.as_ref().filter(|_| !env.checks.is_empty()) {
            return match self.statuses(controller, Grounds::Accepted(word), env, from).await {
                Fact::Known(said) if env.checks.iter().all(|check| said.get(check).is_some_and(|c| c == "success")) => {
                    Fact::Known(())
                }
                Fact::Known(_) | Fact::Missing | Fact::NotAsked => Fact::Missing,
                Fact::Unknown(why) => Fact::Unknown(why),
            };
        }
        match &self.checks {
            Some(place) => controller.artifacts.fetcher().probe(place).await,
            None => match self.is_there(controller).await {
                Ok(true) => Fact::Known(()),
                Ok(false) => Fact::Missing,
                Err(error) => Fact::Unknown(error),
            },
        }
    }

    async fn is_there(&self, controller: &Controller) -> Result<bool, String> {
        // The hosts have the keys of the repository, and say so when they fetch.
        if self.checkout.fetch_from == FetchFrom::Host {
            return Ok(true);
        }
        let (sha, repository, git, caches) = self.parts(controller);
        let (git, _waiting) = Waiting::for_git(git);
        let asked = tokio::task::spawn_blocking(move || AppRepo::new(&repository, git)?.has_commit(&sha, &caches));
        asked.await.map_err(|error| error.to_string())?.map_err(|error: RepoError| error.to_string())
    }

    /// Reads its tree into the cache, where it is not there yet.
    ///
    /// # Errors
    /// The commit could not be had, or something in it cannot be deployed.
    pub async fn bring(&self, controller: &Controller) -> Result<Unpacked, ArtifactError> {
        let (sha, repository, git, caches) = self.parts(controller);
        let (git, _waiting) = Waiting::for_git(git);
        let Checkout { directory, submodules, .. } = self.checkout.clone();
        let make = move |dir: &Path| {
            let part = Part { sha: &sha, directory: &directory, submodules };
            let made = AppRepo::new(&repository, git).and_then(|app| app.archive(part, &caches, dir));
            made.map_err(|error| ArtifactError::Origin(error.to_string()))
        };
        let place = self.place();
        let accept = move |unpacked: &Unpacked| lfs::refuse(unpacked, &place);
        controller.artifacts.ensure_made(self.digest, self.place(), make, accept).await
    }

    fn parts(&self, controller: &Controller) -> (Sha, String, GitSettings, std::path::PathBuf) {
        let settings = &controller.settings;
        (self.sha.clone(), self.checkout.repository.clone(), settings.git.clone(), settings.state_dir.join("cache"))
    }

    /// What tells it from all others. May hold a secret: never to be shown.
    pub fn address(&self) -> String {
        format!("{}\n{}\n{}", self.checkout.repository, self.sha, self.digest)
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        let place = crate::model::address::redacted(&self.checkout.repository);
        format!("commit {} of {place}", self.sha.short())
    }
}

/// Somebody waits for what a Git does, for as long as this lives. One that nobody waits for is ended.
struct Waiting(Arc<AtomicBool>);

impl Waiting {
    fn for_git(git: GitSettings) -> (GitSettings, Waiting) {
        let stop = Arc::new(AtomicBool::new(false));
        (GitSettings { stop: Some(stop.clone()), ..git }, Waiting(stop))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
