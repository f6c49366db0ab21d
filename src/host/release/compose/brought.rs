//! Images that came for a release that was never resolved, because a later one of them could not be had: no release names them.
//! They stay for the next attempt, and go with the first release that is resolved and has no use for them.

use std::collections::BTreeSet;

use super::container::Image;
use super::engine::Engine;
use super::held::Held;
use super::holds;
use crate::host::disk::root::{Root, json};
use crate::host::wire::HostError;

/// Below `.soll/`: the names under which they were asked for.
const NOTE: &str = "brought.json";

/// One that cannot be read names none: an image too many does no harm.
fn noted(root: &Root) -> BTreeSet<String> {
    let bytes = root.read_own(NOTE).ok().flatten().unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// An image is about to be brought.
pub fn note(root: &Root, name: &str) -> Result<(), HostError> {
    let mut all = noted(root);
    match all.insert(name.to_owned()) {
        true => root.write(NOTE, &json(&all)?),
        false => Ok(()),
    }
}

/// A release is resolved: those that none here holds go. One that a container has stays.
pub fn settle(root: &Root, engine: &Engine) -> Result<(), HostError> {
    let mut pinned = Vec::new();
    for release in root.present()? {
        // One that cannot be read may hold any of them.
        let held = Held::of(root, &release)?;
        pinned.extend(held.into_iter().flat_map(|held| held.resolved.images.into_values()));
    }
    holds::renew(root, engine, &pinned)?;
    let all = noted(root);
    if all.is_empty() {
        return Ok(());
    }
    let ids: BTreeSet<String> = pinned.into_iter().map(|pinned| pinned.id).collect();
    for name in &all {
        let is_free = |image: Image| !ids.contains(&image.id) && !holds::is_held_elsewhere(root, &image);
        if engine.image(name)?.is_some_and(is_free) {
            engine.remove_image(name)?;
        }
    }
    root.remove_own(NOTE)
}
