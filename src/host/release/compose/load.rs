//! An image that the controller has sent, on its way into the engine. Its layers were uploaded as files are, one by one, each
//! checked and kept until it is used: what a lost connection interrupts goes on with the next layer.

use std::fs::File;
use std::path::PathBuf;

use super::archive::Archive;
use super::brought;
use super::engine::Engine;
use crate::fault::fault;
use crate::host::disk::root::Root;
use crate::host::wire::HostError;
use crate::host::wire::compose::{Load, Loaded};
use crate::model::ids::Digest;

/// Gives it to the engine, and takes away what was uploaded for it.
///
/// # Errors
/// The engine does not take it though nothing of it is left out.
pub fn load(root: &Root, load: &Load, gone: &dyn Fn() -> bool) -> Result<Loaded, HostError> {
    let engine = Engine::here()?;
    let incoming = root.own_dir("incoming")?;
    let mut layers: Vec<(Digest, PathBuf, File)> = Vec::new();
    for digest in &load.layers {
        let name = digest.to_string();
        // One may be there twice.
        let is_new = !layers.iter().any(|(known, ..)| known == digest);
        if is_new && incoming.stat(&name)?.is_some() {
            layers.push((*digest, incoming.path().join(&name), incoming.read(&name)?));
        }
    }
    let is_whole = load.layers.iter().all(|digest| layers.iter().any(|(known, ..)| known == digest));
    let used: Vec<Digest> = layers.iter().map(|(digest, ..)| *digest).collect();
    let refused =
        |why: &str| HostError::Io(format!("the engine does not take the image {}: {}", load.name, why.trim()));
    let archive = Archive::of(load, layers).map_err(|error| refused(&format!("its manifest is none: {error}")))?;
    // Where nothing comes of the release, it goes with the next one that has no use for it.
    brought::note(root, &load.name)?;
    fault!("host.compose.before-load");
    if let Err(why) = engine.load(archive, gone)? {
        return if is_whole { Err(refused(&why)) } else { Ok(Loaded::Incomplete(why)) };
    }
    fault!("host.compose.after-load");
    // By its configuration, or, where the engine is one of containerd, by its manifest.
    let own = [&load.config, &load.manifest].map(|text| format!("sha256:{}", Digest::of(text.as_bytes())));
    let known = engine.image(&load.name)?.map(|image| image.id);
    match known.filter(|id| own.contains(id)) {
        Some(id) => {
            for digest in used {
                incoming.unlink(&digest.to_string())?;
            }
            Ok(Loaded::Id(id))
        }
        None if !is_whole => Ok(Loaded::Incomplete("it made nothing of it".to_owned())),
        None => Err(refused("it was given to it, and another one has its name")),
    }
}
