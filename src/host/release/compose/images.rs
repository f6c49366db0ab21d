//! The images of a release: which one a reference means from now on, and that it is here. One that came once stays what it was
//! (B4): the same reference in the release before keeps its digest, whatever its tag leads to by now.

use std::collections::{BTreeMap, BTreeSet};

use super::container::Image;
use super::engine::Engine;
use crate::host::wire::HostError;
use crate::host::wire::compose::{Brought, Lack, Login, PulledImage};
use crate::model::compose::Pinned;
use crate::model::image::{digest, familiar, registry, repository, with_tag};

/// What references meant in the release that is live.
pub type Before = BTreeMap<String, Pinned>;

/// The images of one release, one after the other.
pub struct Images<'a> {
    pub engine: &'a Engine,
    pub from: From<'a>,
    pub before: &'a Before,
    /// Nobody waits for them any more.
    pub gone: &'a dyn Fn() -> bool,
    /// One is about to come that was not here.
    pub note: &'a dyn Fn(&str) -> Result<(), HostError>,
    /// What was settled already.
    known: BTreeMap<String, Pinned>,
    /// What was not here before.
    brought: Vec<String>,
    pub warnings: Vec<String>,
}

impl<'a> Images<'a> {
    /// None yet.
    pub fn new(
        engine: &'a Engine,
        from: From<'a>,
        before: &'a Before,
        gone: &'a dyn Fn() -> bool,
        note: &'a dyn Fn(&str) -> Result<(), HostError>,
    ) -> Images<'a> {
        Images { engine, from, before, gone, note, known: BTreeMap::new(), brought: Vec::new(), warnings: Vec::new() }
    }

    /// What the containers of a service are made of, and that it is here.
    pub fn bring(&mut self, service: &str, reference: &str) -> Result<(Pinned, PulledImage), HostError> {
        let (pinned, bytes) = match self.known.get(reference) {
            Some(pinned) => (pinned.clone(), 0),
            None => self.settle(reference)?,
        };
        self.known.insert(reference.to_owned(), pinned.clone());
        let pulled = PulledImage {
            service: service.to_owned(),
            reference: reference.to_owned(),
            pinned: pinned.known_as().to_owned(),
            bytes,
        };
        Ok((pinned, pulled))
    }

    /// An image could not be brought. Where there was no room for it, those that came before it go again, so that whatever runs
    /// beside it has the room that it had; and the error names the place.
    fn given_back(&mut self, error: HostError) -> HostError {
        if !matches!(&error, HostError::Io(why) if is_full(why)) {
            return error;
        }
        for name in std::mem::take(&mut self.brought) {
            if let Err(error) = self.engine.remove_image(&name) {
                tracing::warn!(image = name, %error, "an image that was brought for a release without room stays");
            }
        }
        no_room(self.engine, error)
    }

    fn settle(&mut self, reference: &str) -> Result<(Pinned, u64), HostError> {
        if let From::Controller(brought) = self.from
            && let Some(Brought { from, id, bytes }) = brought.get(reference)
        {
            let image = self.engine.image(id)?.ok_or_else(|| {
                HostError::Io(format!("the image {from} was sent, and the engine does not know it any more"))
            })?;
            let (pinned, id, from) = (image.id.clone(), image.id, Some(from.clone()));
            return Ok((Pinned { reference: reference.to_owned(), pinned, id, from }, *bytes));
        }
        if let Some(pinned) = still(self.engine, self.before, reference)? {
            return Ok((pinned, 0));
        }
        let wanted = wanted(self.before, reference);
        let (image, bytes) = match (self.engine.image(&wanted)?, self.from) {
            (Some(image), _) => (image, 0),
            (None, From::Controller(_)) => {
                return Err(HostError::Io(format!("the image {wanted} was here, and is gone: the next run brings it")));
            }
            (None, From::Registries(logins)) => {
                (self.note)(&wanted)?;
                let pulled = self.engine.pull(&wanted, logins.get(registry(&wanted)), self.gone);
                let bytes = pulled.map_err(|error| self.given_back(error))?;
                self.brought.push(wanted.clone());
                let image = self.engine.image(&wanted)?.ok_or_else(|| {
                    HostError::Io(format!("the image {wanted} was pulled, and the engine does not know it"))
                })?;
                (image, bytes)
            }
        };
        let pinned = match (digest(&wanted), of_repository(&image, &wanted)) {
            (Some(_), _) => wanted,
            (None, Some(digest)) => format!("{wanted}@{digest}"),
            (None, None) => {
                self.warnings.push(format!(
                    "the image {reference} came from no registry: the release holds it by its id, and no other host can pull it"
                ));
                image.id.clone()
            }
        };
        Ok((Pinned { reference: reference.to_owned(), pinned, id: image.id, from: None }, bytes))
    }
}

/// An error of an engine whose disk is full names the place, and what makes room there; another one is as it is.
pub fn no_room(engine: &Engine, error: HostError) -> HostError {
    let HostError::Io(why) = &error else { return error };
    if !is_full(why) {
        return error;
    }
    let home = engine.home().ok().filter(|home| !home.is_empty());
    let home = home.map_or_else(
        || "the directory of the engine".to_owned(),
        |home| format!("{home}, the directory of the engine"),
    );
    HostError::Io(format!(
        "{why}; make room on the file system of {home} (`docker system df` says what takes it, `docker image prune` removes \
         images that nobody uses), then run again"
    ))
}

/// Whether an engine says that its disk is full.
pub fn is_full(said: &str) -> bool {
    ["no space left", "disk quota exceeded"].iter().any(|words| said.to_lowercase().contains(words))
}

/// Where images that are not here come from.
#[derive(Clone, Copy)]
pub enum From<'a> {
    /// Their own, with these logins.
    Registries(&'a BTreeMap<String, Login>),
    /// The controller has brought them.
    Controller(&'a BTreeMap<String, Brought>),
}

/// What the host lacks of these: the controller is to bring it. One that is here without anybody knowing from where is named as
/// well: where it is the one of its registry, the release can say so. `known`: the references that a release changes.
pub fn lacking(
    engine: &Engine,
    before: &Before,
    references: &BTreeSet<String>,
    known: &BTreeSet<&str>,
) -> Result<Vec<Lack>, HostError> {
    let mut lacking = Vec::new();
    for reference in references {
        if still(engine, before, reference)?.is_some() {
            continue;
        }
        let ask = wanted(before, reference);
        let here = match engine.image(&ask)? {
            None => None,
            Some(image) if digest(&ask).is_none() && of_repository(&image, &ask).is_none() => Some(image.id),
            Some(_) => continue,
        };
        if here.is_none() || known.contains(reference.as_str()) {
            lacking.push(Lack { reference: reference.clone(), ask, here });
        }
    }
    Ok(lacking)
}

/// What a reference meant in the release before, where that is the same wherever it is brought from, and still here.
fn still(engine: &Engine, before: &Before, reference: &str) -> Result<Option<Pinned>, HostError> {
    let Some(before) = before.get(reference).filter(|before| digest(before.known_as()).is_some()) else {
        return Ok(None);
    };
    Ok(engine.image(&before.pinned)?.map(|image| Pinned { id: image.id, ..before.clone() }))
}

/// What is to be had for a reference: what it was before, whatever its tag leads to by now.
fn wanted(before: &Before, reference: &str) -> String {
    let before = before.get(reference).map(Pinned::known_as).filter(|known| digest(known).is_some());
    before.map_or_else(|| with_tag(reference), str::to_owned)
}

/// The digest by which the registry of a reference knows an image.
fn of_repository<'a>(image: &'a Image, reference: &str) -> Option<&'a str> {
    let of = |name: &str| familiar(repository(name)).to_owned();
    let ours = of(reference);
    image.repo_digests.iter().find(|name| of(name) == ours).and_then(|name| digest(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_the_digest_of_the_registry_that_the_reference_names() {
        let names = ["postgres@sha256:1", "mirror.example.com/library/postgres@sha256:2", "h:5000/a/b@sha256:3"];
        let image =
            Image { id: "sha256:x".to_owned(), repo_digests: names.map(str::to_owned).to_vec(), ..Image::default() };
        for (reference, found) in [
            ("postgres:16", Some("sha256:1")),
            ("docker.io/library/postgres", Some("sha256:1")),
            ("h:5000/a/b:one", Some("sha256:3")),
            ("h:5000/a/c:one", None),
            ("other", None),
        ] {
            assert_eq!(of_repository(&image, reference), found, "{reference}");
        }
    }
}
