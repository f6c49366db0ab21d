//! What an end in the middle left of a project, and what no release of it has any more. Containers only: no volume is ever
//! touched.

use std::path::Path;

use super::container::Container;
use super::engine::Engine;
use super::held::Held;
use crate::host::disk::root::Root;
use crate::host::wire::HostError;

/// So many digits of an id stand before the name of a container that is being replaced.
const DIGITS: usize = 12;

/// Gives containers their names back that a program renamed while it replaced them, and was killed (I5). Where something has the
/// name already the other one is over: the first generation renames the old container, the second one the new one, which never
/// ran.
pub fn renamed(engine: &Engine, project: &str) -> Result<(), HostError> {
    let all = engine.containers(Some(project))?;
    for (container, name) in all.iter().filter_map(|one| Some((one, meant(one, project)?))) {
        let is_taken = all.iter().any(|other| other.id != container.id && other.name() == name);
        match is_taken {
            true => engine.remove(&container.id)?,
            false => engine.rename(&container.id, name)?,
        }
    }
    Ok(())
}

/// The name that it had before, where it is one of those.
fn meant<'a>(container: &'a Container, project: &str) -> Option<&'a str> {
    let name = container.name();
    let (digits, rest) = name.split_at_checked(DIGITS)?;
    let is_own = name.strip_prefix(project).is_some_and(|rest| rest.starts_with(['_', '-']));
    let hex = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    rest.strip_prefix('_').filter(|rest| hex && !is_own && !rest.is_empty())
}

/// Removes the containers of services that the release does not have, and of projects that other releases had under another
/// name. Only those that a release has made: what somebody else put there stays, and is shown. One that was put among those of a
/// service by hand goes, because the program stumbles over it.
pub fn others(root: &Root, engine: &Engine, held: &Held) -> Result<(), HostError> {
    let project = held.resolved.project.as_str();
    let all: Vec<Container> = engine.containers(Some(project))?.into_iter().filter(|one| !one.is_once()).collect();
    let (ours, mut gone): (Vec<Container>, Vec<Container>) =
        all.into_iter().partition(|one| held.digests.contains_key(one.service()));
    gone.retain(|one| one.digest().is_some());
    gone.extend(ours.into_iter().filter(|one| one.label("com.docker.compose.version").is_none()));
    for name in root.present()? {
        // One that cannot be read says nothing about the one that is live.
        let other = Held::of(root, &name).ok().flatten().map(|other| other.resolved.project);
        if let Some(other) = other.filter(|other| other != project) {
            let ours = |one: &Container| one.digest().is_some() && is_of(one, root);
            gone.extend(engine.containers(Some(&other))?.into_iter().filter(ours));
        }
    }
    for container in &gone {
        engine.stop(&container.id)?;
        engine.remove(&container.id)?;
    }
    Ok(())
}

/// A release of this root has made it: the name of a project may be that of another root by now.
fn is_of(container: &Container, root: &Root) -> bool {
    let files = container.label("com.docker.compose.project.config_files").unwrap_or_default();
    let releases = [Some(root.releases()), root.releases().canonicalize().ok()];
    releases.iter().flatten().any(|releases| files.split(',').any(|file| Path::new(file).starts_with(releases)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_replacing_gives_are_known() {
        let named = |name: &str| Container { names: vec![format!("/{name}")], ..Container::default() };
        for (name, project, is) in [
            ("0123456789ab_shop_api_1", "shop", Some("shop_api_1")),
            ("0123456789ab_shop-api-1", "shop", Some("shop-api-1")),
            ("0123456789ab_fixed-name", "shop", Some("fixed-name")),
            ("shop_api_1", "shop", None),
            ("0123456789ab_api_1", "0123456789ab", None),
            ("0123456789xy_shop_api_1", "shop", None),
            ("0123456789ab_", "shop", None),
            ("short", "shop", None),
        ] {
            assert_eq!(meant(&named(name), project), is, "{name}");
        }
    }
}
