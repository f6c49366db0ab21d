//! From a checked bundle to a complete directory on one host: what is missing there, sending it, building the release.

use crate::artifact::picked::Picked;
use crate::artifact::terms::Terms;
use crate::host::wire::{HostError, Op, Reply};
use crate::model::desired::Target;
use crate::model::ids::ReleaseName;
use crate::model::record::Release;
use crate::run::size::bytes;
use crate::run::step::executor::{Executor, StepResult, StepTrouble, unexpected};
use crate::run::step::world::{Artifact, Bundle, RESUMED, Tree, Trouble, World, interrupted};

/// Sends what the host does not have. What a lost connection interrupted goes on where it stopped: complete files are kept.
pub async fn upload<W: World>(executor: &Executor<W>, target: &Target) -> StepResult {
    let (epoch, bundle) = (executor.task.epoch, bundle(executor)?);
    let total = bundle.tree.manifest.files().count();
    let mut went = Vec::new();
    for _ in 0..RESUMED {
        let (files, removed) = missing(executor, target, bundle).await?;
        went.extend(removed);
        let count = files.count();
        if count == 0 {
            return Ok(format!("every file is there already{}", made_room(&went)));
        }
        match executor.world.upload(target, epoch, bundle, files).await {
            Ok(Reply::Uploaded { bytes: sent }) => {
                return Ok(format!("{count} of {total} files, {}{}", bytes(sent), made_room(&went)));
            }
            Err(HostError::Interrupted(why)) => tracing::info!(host = %target.name, why, "the upload goes on"),
            Ok(other) => return Err(unexpected(&other)),
            Err(error) => return Err(error.into()),
        }
    }
    Err(interrupted(&target.name).into())
}

/// Which releases went before the new one came, where there was no room for it beside them.
fn made_room(went: &[ReleaseName]) -> String {
    if went.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = went.iter().map(ReleaseName::as_str).collect();
    format!("; there was no room for it beside {}, which went before", names.join(", "))
}

/// Lets the host fetch the bundle itself.
pub async fn fetch<W: World>(executor: &Executor<W>, target: &Target) -> StepResult {
    let Some(Artifact::Remote(remote)) = executor.task.artifact.get() else { return Err(unprepared()) };
    let (epoch, place, digest) = (executor.task.epoch, remote.place.clone(), remote.digest);
    let terms = Terms::of(&executor.task.env);
    let keep = Some(executor.task.env.keep_releases);
    match executor
        .world
        .call(target, Op::Fetch { epoch, place, digest, commit: remote.commit.clone(), terms, keep })
        .await?
    {
        Reply::Fetched { tree, bytes: taken, removed, notes } if *remote.tree.get_or_init(|| tree) == tree => {
            let said = format!("{}, {} of it new there{}", remote.known_as, bytes(taken), made_room(&removed));
            Ok(warned(said, &notes))
        }
        Reply::Fetched { .. } => {
            let why = match remote.commit {
                None => "two hosts made different trees of one bundle: do they run different versions of `soll`?",
                Some(_) => {
                    "two hosts made different trees of one commit: do they run different versions of `soll` or of Git?"
                }
            };
            Err(Trouble::error(why).into())
        }
        other => Err(unexpected(&other)),
    }
}

/// What there is to say of a bundle, with what people should know of it.
pub fn warned(said: String, notes: &[String]) -> String {
    notes.iter().fold(said, |said, note| format!("{said}; WARNING {note}"))
}

/// The files whose contents the host does not have, and the releases that went there for the room.
async fn missing<W: World>(
    executor: &Executor<W>,
    target: &Target,
    bundle: &Bundle,
) -> Result<(Picked, Vec<ReleaseName>), StepTrouble> {
    let (epoch, tree) = (executor.task.epoch, &bundle.tree);
    let (base, keep) = (base(executor, target), Some(executor.task.env.keep_releases));
    let asked = match executor.world.offer(target, epoch, tree, base.as_ref(), keep).await {
        Err(HostError::Integrity(_)) if base.is_some() => executor.world.offer(target, epoch, tree, None, keep).await,
        asked => asked,
    };
    match asked? {
        Reply::Missing { files, removed, .. } => Ok((files, removed)),
        other => Err(unexpected(&other)),
    }
}

/// What this host has of a bundle that this controller had: what it runs first.
fn base<W: World>(executor: &Executor<W>, target: &Target) -> Option<Tree> {
    let state = executor.task.states.get(&target.name);
    let live = state.and_then(|state| state.current.release());
    let mut known: Vec<_> = state.iter().flat_map(|state| &state.record.releases).collect();
    known.sort_by_key(|(name, release)| (Some(*name) == live, release.staged_at));
    known.into_iter().rev().filter(|(_, release)| release.sealed).find_map(|(_, release)| {
        let tree = executor.world.tree_of(&executor.task.env, release.bundle.as_ref()?);
        tree.filter(|tree| Some(tree.digest) == release.tree)
    })
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
        strip: executor.task.env.delivery.strip(),
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
