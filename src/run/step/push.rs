//! Images that the controller brings to a host (I26): it asks what the host lacks, reads that in its registry, and sends the
//! layers that the engine there does not have. The host needs no registry and no login.
//!
//! An engine keeps its layers unpacked and does not tell which bytes of a registry they came from, but it tells the digests of
//! what it has unpacked, and the configuration of an image names those of its layers: so it is known what is missing before
//! anything is sent. Layers go the way of a bundle's files, each with its own digest: taken up where a connection broke, packed
//! once for many hosts, checked on arrival, refused where there is no room. Then the agent gives its engine an archive that
//! leaves out what is there already. Should an engine not take that, it gets all of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::artifact::registry::{Image, Layer};
use crate::host::wire::compose::{Brought, Lack, Lacking, Load, Loaded, Pull};
use crate::host::wire::{HostError, Op, Reply};
use crate::model::desired::Target;
use crate::model::ids::{Digest, ReleaseName};
use crate::model::image::{chains, kept_as};
use crate::run::step::executor::{Executor, StepTrouble, unexpected};
use crate::run::step::world::{Bundle, RESUMED, World, interrupted};

/// Brings what the host lacks for a release. Gives what each reference is there.
pub async fn bring<W: World>(
    executor: &Executor<W>,
    target: &Target,
    name: &ReleaseName,
    pull: &Pull,
) -> Result<BTreeMap<String, Brought>, StepTrouble> {
    let (env, epoch) = (&executor.task.env, executor.task.epoch);
    let lack = Op::Lack { epoch, name: name.clone(), pull: Box::new(pull.clone()) };
    let Lacking { platform, images, chains: mut there } = match executor.world.call(target, lack).await? {
        Reply::Lacking(lacking) => lacking,
        other => return Err(unexpected(&other)),
    };
    let mut brought = BTreeMap::new();
    for Lack { reference, ask, here } in images {
        let found = executor.world.image(env, &ask, &platform).await;
        let came = match (found, here) {
            (Ok(image), None) => send(executor, target, (&ask, &image), &mut there).await?,
            // What lies there already is the one of the registry, or it is one that only this host has.
            (Ok(image), Some(id)) if is_it(&image, &id) => Brought { from: image.pinned.clone(), id, bytes: 0 },
            (_, Some(_)) => continue,
            (Err(trouble), None) => return Err(trouble.into()),
        };
        brought.insert(reference, came);
    }
    Ok(brought)
}

/// An engine knows an image by its configuration, or, where it is one of containerd, by its manifest.
fn is_it(image: &Image, id: &str) -> bool {
    [image.config_digest, image.manifest_digest].iter().any(|digest| id == format!("sha256:{digest}"))
}

/// Sends the layers that are not there, then the image.
async fn send<W: World>(
    executor: &Executor<W>,
    target: &Target,
    (reference, image): (&str, &Image),
    there: &mut BTreeSet<Digest>,
) -> Result<Brought, StepTrouble> {
    let diff_ids: Vec<String> = image.layers.iter().map(|layer| layer.diff_id.clone()).collect();
    let own = chains(&diff_ids);
    let is_there = |number: usize| own.get(number).is_some_and(|chain| there.contains(chain));
    let (has, lacks): (Vec<_>, Vec<_>) = image.layers.iter().enumerate().partition(|(number, _)| is_there(*number));
    let mut bytes = layers(executor, target, reference, &lacks).await?;
    let mut loaded = load(executor, target, (reference, image)).await?;
    if let Loaded::Incomplete(why) = &loaded {
        tracing::info!(host = %target.name, reference, why, "every layer is sent");
        bytes += layers(executor, target, reference, &has).await?;
        loaded = load(executor, target, (reference, image)).await?;
    }
    match loaded {
        Loaded::Id(id) => {
            there.extend(own);
            Ok(Brought { from: image.pinned.clone(), id, bytes })
        }
        Loaded::Incomplete(why) => {
            let host = &target.name;
            Err(HostError::Io(format!("the engine of {host} does not take the image {reference}: {why}")).into())
        }
    }
}

async fn load<W: World>(
    executor: &Executor<W>,
    target: &Target,
    (reference, image): (&str, &Image),
) -> Result<Loaded, StepTrouble> {
    let load = Load {
        name: kept_as(reference),
        manifest: image.manifest.clone(),
        config: image.config.clone(),
        layers: image.layers.iter().map(|layer| layer.digest).collect(),
    };
    match executor.world.call(target, Op::Load { epoch: executor.task.epoch, load: Box::new(load) }).await? {
        Reply::Loaded(loaded) => Ok(loaded),
        other => Err(unexpected(&other)),
    }
}

/// Brings layers here, and on to the host. Gives how many bytes went there.
async fn layers<W: World>(
    executor: &Executor<W>,
    target: &Target,
    reference: &str,
    layers: &[(usize, &Layer)],
) -> Result<u64, StepTrouble> {
    let mut bytes = 0;
    for (_, layer) in layers {
        let bundle = executor.world.layer(&executor.task.env, reference, layer).await?;
        bytes += upload(executor, target, &bundle).await?;
    }
    Ok(bytes)
}

/// Sends one layer, where an earlier attempt has not left it there.
async fn upload<W: World>(executor: &Executor<W>, target: &Target, layer: &Bundle) -> Result<u64, StepTrouble> {
    let (world, epoch) = (&executor.world, executor.task.epoch);
    for _ in 0..RESUMED {
        let files = match world.offer(target, epoch, &layer.tree, None, None).await? {
            Reply::Missing { files, .. } if files.is_empty() => return Ok(0),
            Reply::Missing { files, .. } => files,
            other => return Err(unexpected(&other)),
        };
        match world.upload(target, epoch, layer, files).await {
            Ok(Reply::Uploaded { bytes }) => return Ok(bytes),
            Err(HostError::Interrupted(why)) => tracing::info!(host = %target.name, why, "a layer is sent on"),
            Ok(other) => return Err(unexpected(&other)),
            Err(error) => return Err(error.into()),
        }
    }
    Err(interrupted(&target.name).into())
}
