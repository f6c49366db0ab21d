//! Images and mounts that went out of use with the releases that were removed. No volume, and no image that any release of any
//! root, or any container, still has.

use std::collections::{BTreeMap, BTreeSet};

use super::engine::Engine;
use super::held::Held;
use super::holds;
use super::mounts;
use crate::host::disk::root::Root;
use crate::host::wire::HostError;
use crate::model::compose::Pinned;

/// Removes what only these releases had.
pub fn after(root: &Root, removed: &[Held]) -> Result<(), HostError> {
    if removed.is_empty() {
        return Ok(());
    }
    let mut stays: Vec<Held> = Vec::new();
    for name in root.present()? {
        // What cannot be read may need any of them.
        stays.extend(Held::of(root, &name)?);
    }
    mounts::sweep(root, &stays.iter().flat_map(|held| held.resolved.mounts.iter().cloned()).collect())?;
    let pins =
        |held: &[Held]| held.iter().flat_map(|one| one.resolved.images.values().cloned()).collect::<Vec<Pinned>>();
    let kept = pins(&stays);
    let ids: BTreeSet<&str> = kept.iter().map(|pinned| pinned.id.as_str()).collect();
    let gone: Vec<Pinned> = pins(removed);
    // One that came from no registry nobody could bring again.
    let gone: BTreeMap<(&str, &str), &Pinned> = gone
        .iter()
        .filter(|pinned| !ids.contains(pinned.id.as_str()) && !pinned.is_of_nowhere())
        .map(|pinned| ((pinned.reference.as_str(), pinned.pinned.as_str()), pinned))
        .collect();
    if gone.is_empty() {
        return Ok(());
    }
    let engine = Engine::here()?;
    for ((reference, pinned), one) in gone {
        holds::let_go(root, &engine, one)?;
        if engine.image(pinned)?.is_some_and(|image| holds::is_held_elsewhere(root, &image)) {
            continue;
        }
        // Its tag may lead to another image by now, which is not ours to remove.
        let of = |name: &str| engine.image(name).map(|image| image.map(|image| image.id));
        if of(reference)?.is_some_and(|id| of(pinned).is_ok_and(|same| same == Some(id))) {
            engine.remove_image(reference)?;
        }
        engine.remove_image(pinned)?;
    }
    Ok(())
}
