//! What a run needs from the world. The real one is `site`; the simulated one, with its seeded faults, is in the law tests.
//! The dispatcher and the executor know nothing else, so both are proven with the code that ships.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;

use crate::artifact::delta::Telling;
use crate::artifact::manifest::Manifest;
use crate::artifact::picked::Picked;
use crate::artifact::registry::{Image, Layer};
use crate::host::wire::compose::Login;
use crate::host::wire::render::Version;
use crate::host::wire::{Commit, HostError, Op, Reply, Secret};
use crate::journal::{Event, FailureClass};
use crate::model::desired::{Checkout, Environment, MetricSource, Probe, Target};
use crate::model::ids::{Digest, Epoch, HostName, RunId, Sha};
use crate::model::image::Platform;
use crate::model::observed::Attempt;
use crate::plan::policy::Refused;
use crate::run::look::build::git;

/// Everything outside a run.
pub trait World: Send + Sync + 'static {
    fn now(&self) -> Timestamp;
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;

    /// One operation on one host.
    fn call(&self, target: &Target, op: Op) -> impl Future<Output = Result<Reply, HostError>> + Send;
    /// Tells a host a tree, where there is one as the difference from `base`, and asks what of it is missing there. `keep`:
    /// where there is no room for it, releases beyond so many go first.
    fn offer(
        &self,
        target: &Target,
        epoch: Epoch,
        tree: &Tree,
        base: Option<&Tree>,
        keep: Option<u32>,
    ) -> impl Future<Output = Result<Reply, HostError>> + Send;
    /// Sends the contents of these files of the verified bundle, whose tree was offered before.
    fn upload(
        &self,
        target: &Target,
        epoch: Epoch,
        bundle: &Bundle,
        files: Picked,
    ) -> impl Future<Output = Result<Reply, HostError>> + Send;

    /// What each host will fetch: where it is, and what it must be.
    fn remote_bundle(&self, env: &Environment, sha: &Sha)
    -> impl Future<Output = Result<RemoteBundle, Trouble>> + Send;
    /// Brings the bundle to the controller. Gives what there is to say about it.
    fn fetch(&self, env: &Environment, sha: &Sha) -> impl Future<Output = Result<String, Trouble>> + Send;
    /// Checks it and unpacks it.
    fn verify(&self, env: &Environment, sha: &Sha) -> impl Future<Output = Result<Bundle, Trouble>> + Send;

    /// The tree of a bundle that was here before: what a host made of it need not be told again.
    fn tree_of(&self, env: &Environment, bundle: &Digest) -> Option<Tree>;

    /// One attempt of a check that the controller makes. Texts are filled.
    fn probe(&self, probe: &Probe, secret: Option<Secret>, timeout: Duration) -> impl Future<Output = Attempt> + Send;
    /// One sample that the controller takes.
    fn measure(
        &self,
        source: &MetricSource,
        secret: Option<Secret>,
        timeout: Duration,
    ) -> impl Future<Output = Result<f64, String>> + Send;
    /// A secret of the controller, by its name and the address that it is sent to: from here or from the host.
    fn secret(&self, env: &Environment, name: &str, url: &str) -> Result<Secret, Refused>;
    /// What an image is in its registry: asked once in a run, so that every host gets the same one.
    fn image(
        &self,
        env: &Environment,
        reference: &str,
        platform: &Platform,
    ) -> impl Future<Output = Result<Arc<Image>, Trouble>> + Send;
    /// Brings one of its layers to the controller, checked: it is sent like a bundle with one file.
    fn layer(
        &self,
        env: &Environment,
        reference: &str,
        layer: &Layer,
    ) -> impl Future<Output = Result<Bundle, Trouble>> + Send;
    /// Who asks a registry for the images of an environment, by its host; `None`: everybody may.
    fn login(&self, env: &Environment, registry: &str) -> Result<Option<Login>, Trouble>;
    /// What logs in to a database of an environment.
    fn password(&self, env: &Environment, name: &str) -> Result<Secret, Trouble>;
    /// The files of an environment as they are for a host that is to run this commit.
    fn render(&self, env: &Environment, target: &Target, sha: &Sha) -> Result<Vec<Version>, Trouble>;

    /// Writes the desired commit back into the state repository (H2). Gives the new commit.
    fn revert(
        &self,
        env: &Environment,
        from: &Sha,
        to: &Sha,
        reason: &str,
    ) -> impl Future<Output = Result<String, Trouble>> + Send;

    /// Durable before it returns: what is not journaled is not done (law 5).
    fn journal(&self, run: &RunId, event: &Event) -> impl Future<Output = Result<(), Trouble>> + Send;
    /// Whether someone wants this run to stop at its next safe point.
    fn interruption(&self) -> Option<Interruption>;
    /// Waits until that is something else than what was heard.
    fn other_wish(&self, heard: Option<&Interruption>) -> impl Future<Output = ()> + Send;
}

/// What a lost connection interrupts is taken up again so often; whoever is interrupted more often needs another network.
pub const RESUMED: usize = 20;

/// The connection to a host broke once too often.
pub fn interrupted(host: &HostName) -> HostError {
    let why = format!("the connection to {host} broke {RESUMED} times while a release was sent: look at the network");
    HostError::Connection(why.into())
}

/// A bundle, or a commit, that this controller does not look into.
#[derive(Debug, Clone)]
pub struct RemoteBundle {
    pub digest: Digest,
    /// What it goes by, for people: `sha256 0123abcd`.
    pub known_as: String,
    /// The commit of which it is the tree; `None`: it is a bundle.
    pub commit: Option<Commit>,
    /// An address may carry a password or a signature (law 9).
    pub place: Secret,
    /// The digest of the tree, once a host has unpacked it.
    pub tree: OnceLock<Digest>,
}

impl RemoteBundle {
    /// A commit that each host fetches for itself.
    pub fn of(commit: git::Commit) -> Self {
        let (digest, known_as) = (commit.digest, format!("commit {}", commit.sha.short()));
        let Checkout { repository, directory, submodules, .. } = commit.checkout;
        let (place, commit) = (Secret::new(repository), Commit { sha: commit.sha, directory, submodules });
        RemoteBundle { digest, known_as, commit: Some(commit), place, tree: OnceLock::new() }
    }
}

/// A bundle that is checked and unpacked.
#[derive(Debug, Clone)]
pub struct Bundle {
    pub digest: Digest,
    /// What it goes by, for people: `sha256 0123abcd`.
    pub known_as: String,
    pub tree: Tree,
    /// What people should know of it.
    pub notes: Vec<String>,
}

/// What a run brings to its hosts.
#[derive(Debug, Clone)]
pub enum Artifact {
    /// Unpacked here, and sent.
    Unpacked(Bundle),
    /// Fetched by each host.
    Remote(RemoteBundle),
}

impl Artifact {
    /// The digest of the bundle.
    pub fn digest(&self) -> Digest {
        match self {
            Artifact::Unpacked(bundle) => bundle.digest,
            Artifact::Remote(remote) => remote.digest,
        }
    }
}

/// A manifest with its digest, which takes as long as reading it.
#[derive(Debug, Clone)]
pub struct Tree {
    pub manifest: Arc<Manifest>,
    pub digest: Digest,
}

impl Tree {
    /// Computes the digest.
    pub fn new(manifest: Arc<Manifest>) -> Tree {
        Tree { digest: manifest.digest(), manifest }
    }

    /// How it is told to somebody who has `base`.
    pub fn telling(&self, base: Option<&Tree>) -> Telling {
        let own = (&self.manifest, self.digest);
        base.map_or_else(|| Telling::whole(own), |base| Telling::against(own, (&base.manifest, base.digest)))
    }
}

/// Something around a release failed, or the release itself did.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Trouble {
    pub class: FailureClass,
    pub message: String,
}

impl Trouble {
    /// No verdict, just bad luck: object, place, reason.
    pub fn error(message: impl Into<String>) -> Self {
        Trouble { class: FailureClass::Error, message: message.into() }
    }
}

/// Why a run should stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interruption {
    /// A newer commit changes this environment.
    Superseded(String),
    /// A person asked for it.
    Cancelled(String),
    /// The controller is told to end.
    Terminating,
}
