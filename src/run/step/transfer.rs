//! From a checked bundle to a complete directory on one host: what is missing there, sending it, building the release.

use std::collections::{HashMap, HashSet};

use crate::artifact::delta::Listing;
use crate::host::wire::{HostError, Op, Reply};
use crate::model::desired::Target;
use crate::model::ids::Digest;
use crate::model::record::Release;
use crate::run::size::bytes;
use crate::run::step::executor::{Executor, StepResult, StepTrouble, unexpected};
use crate::run::step::world::{Artifact, Bundle, Tree, Trouble, World};

/// An upload is taken up again so often; whoever is interrupted more often needs another network.
const RESUMED: usize = 20;

/// Sends what the host does not have. What a lost connection interrupted goes on where it stopped: complete files are kept.
pub async fn upload<W: World>(executor: &Executor<W>, target: &Target) -> StepResult {
    let (epoch, bundle) = (executor.task.epoch, bundle(executor)?);
    let total = bundle.tree.manifest.files().count();
    for _ in 0..RESUMED {
        let blobs = missing(executor, target, bundle).await?;
        let count = blobs.len();
        if blobs.is_empty() {
            return Ok("every file is there already".to_owned());
        }
        match executor.world.upload(target, epoch, bundle.digest, blobs).await {
            Ok(Reply::Uploaded { bytes: sent }) => return Ok(format!("{count} of {total} files, {}", bytes(sent))),
            Err(HostError::Interrupted(why)) => tracing::info!(host = %target.name, why, "the upload goes on"),
            Ok(other) => return Err(unexpected(&other)),
            Err(error) => return Err(error.into()),
        }
    }
    let why = format!("the connection to {} broke {RESUMED} times during one upload: look at the network", target.name);
    Err(HostError::Connection(why).into())
}

/// Lets the host fetch the bundle itself.
pub async fn fetch<W: World>(executor: &Executor<W>, target: &Target) -> StepResult {
    let Some(Artifact::Remote(remote)) = executor.task.artifact.get() else { return Err(unprepared()) };
    let (epoch, place, digest) = (executor.task.epoch, remote.place.clone(), remote.digest);
    match executor.world.call(target, Op::Fetch { epoch, place, digest }).await? {
        Reply::Fetched { tree, bytes: taken } if *remote.tree.get_or_init(|| tree) == tree => {
            Ok(format!("sha256 {}, {} of it new there", digest.short(), bytes(taken)))
        }
        Reply::Fetched { .. } => {
            let why = "two hosts made different trees of one bundle: do they run different versions of `soll`?";
            Err(Trouble::error(why).into())
        }
        other => Err(unexpected(&other)),
    }
}

/// The contents that the host does not have, and their sizes.
async fn missing<W: World>(
    executor: &Executor<W>,
    target: &Target,
    bundle: &Bundle,
) -> Result<Vec<(Digest, u64)>, StepTrouble> {
    let (epoch, manifest) = (executor.task.epoch, listing(executor, target, &bundle.tree));
    let asked = match executor.world.call(target, Op::Missing { epoch, manifest }).await {
        Err(HostError::Integrity(_)) => {
            let manifest = Listing::Full(bundle.tree.manifest.clone());
            executor.world.call(target, Op::Missing { epoch, manifest }).await
        }
        asked => asked,
    };
    let wanted = match asked? {
        Reply::Missing { blobs, .. } => blobs,
        other => return Err(unexpected(&other)),
    };
    let sizes: HashMap<_, _> = bundle.tree.manifest.files().map(|(_, digest, size)| (*digest, size)).collect();
    // Each once, however often it is asked for.
    let mut seen = HashSet::new();
    Ok(wanted.iter().filter(|digest| seen.insert(**digest)).filter_map(|d| Some((*d, *sizes.get(d)?))).collect())
}

/// The manifest as this host needs it: against a release there whose bundle this controller had, what it runs first.
fn listing<W: World>(executor: &Executor<W>, target: &Target, tree: &Tree) -> Listing {
    let state = executor.task.states.get(&target.name);
    let live = state.and_then(|state| state.current.release());
    let mut known: Vec<_> = state.iter().flat_map(|state| &state.record.releases).collect();
    known.sort_by_key(|(name, release)| (Some(*name) == live, release.staged_at));
    let base = known.into_iter().rev().filter(|(_, release)| release.sealed).find_map(|(_, release)| {
        executor.world.tree_of(release.bundle.as_ref()?).filter(|tree| Some(tree.digest) == release.tree)
    });
    match base {
        Some(base) => Listing::against((&tree.manifest, tree.digest), (&base.manifest, base.digest)),
        None => Listing::Full(tree.manifest.clone()),
    }
}

/// Builds the release there.
pub async fn extract<W: World>(executor: &Executor<W>, target: &Target) -> StepResult {
    let artifact = executor.task.artifact.get().ok_or_else(unprepared)?;
    let tree = match artifact {
        Artifact::Unpacked(bundle) => bundle.tree.digest,
        Artifact::Remote(remote) => *remote.tree.get().ok_or_else(unprepared)?,
    };
    let release = Release {
        sha: Some(executor.task.sha().clone()),
        bundle: Some(artifact.digest()),
        tree: None,
        links: None,
        staged_at: executor.task.started.at,
        sealed: false,
        confirmed_at: None,
        failed: false,
        adopted: false,
    };
    let (epoch, name) = (executor.task.epoch, executor.new_release());
    match executor.world.call(target, Op::Extract { epoch, name: name.clone(), release, tree }).await? {
        Reply::Extracted { copied, received } => {
            Ok(format!("releases/{name}: {} sent, {} copied", bytes(received), bytes(copied)))
        }
        other => Err(unexpected(&other)),
    }
}

fn bundle<W: World>(executor: &Executor<W>) -> Result<&Bundle, StepTrouble> {
    match executor.task.artifact.get() {
        Some(Artifact::Unpacked(bundle)) => Ok(bundle),
        _ => Err(unprepared()),
    }
}

fn unprepared() -> StepTrouble {
    Trouble::error("the bundle was not verified in this run").into()
}
