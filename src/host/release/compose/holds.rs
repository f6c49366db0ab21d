//! The images that releases of this root hold, as the engine can see it: each has a tag of this root's own. Several roots share
//! one engine, and none knows what another one goes back to. `docker image prune`, which removes what has no tag, leaves them,
//! too.

use super::container::Image;
use super::engine::Engine;
use crate::host::disk::root::Root;
use crate::host::wire::HostError;
use crate::model::compose::Pinned;
use crate::model::ids::Digest;

/// Before the name of each root: no registry is called so, and nothing is pulled from it.
const OURS: &str = "soll.local/";
/// So many digits tell roots, and images, apart.
const DIGITS: usize = 16;

/// A release is resolved to this image. One that nobody could bring again is never removed, and needs no tag.
pub fn hold(root: &Root, engine: &Engine, pinned: &Pinned) -> Result<(), HostError> {
    match tag(pinned).filter(|_| !pinned.is_of_nowhere()) {
        Some(tag) => engine.tag(&pinned.id, &repository(root), tag),
        None => Ok(()),
    }
}

/// What releases of this root have is held, also where an older version of this program resolved them; what none of them has,
/// because the one that wanted it was never finished, is let go.
pub fn renew(root: &Root, engine: &Engine, pinned: &[Pinned]) -> Result<(), HostError> {
    let named = engine.names(&repository(root))?;
    for one in pinned.iter().filter(|one| named.iter().all(|(_, id)| *id != one.id)) {
        // One that somebody removed meanwhile is missed when it is wanted.
        if engine.image(&one.id)?.is_some() {
            hold(root, engine, one)?;
        }
    }
    for (name, _) in named.iter().filter(|(_, id)| pinned.iter().all(|one| one.id != *id)) {
        engine.remove_image(name)?;
    }
    Ok(())
}

/// No release here has this image any more.
pub fn let_go(root: &Root, engine: &Engine, pinned: &Pinned) -> Result<(), HostError> {
    if let Some(tag) = tag(pinned) {
        engine.remove_image(&format!("{}:{tag}", repository(root)))?;
    }
    Ok(())
}

/// A release of another root has it.
pub fn is_held_elsewhere(root: &Root, image: &Image) -> bool {
    let own = format!("{}:", repository(root));
    image.tags.iter().any(|tag| tag.starts_with(OURS) && !tag.starts_with(&own))
}

fn repository(root: &Root) -> String {
    let digest = Digest::of(root.path().as_os_str().as_encoded_bytes()).to_string();
    format!("{OURS}{}", &digest[..DIGITS])
}

/// Out of the id of an image, `sha256:…`.
fn tag(pinned: &Pinned) -> Option<&str> {
    pinned.id.strip_prefix("sha256:")?.get(..DIGITS)
}
