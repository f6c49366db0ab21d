//! The images of a release: which one a reference means from now on, and that it is here. One that came once stays what it was
//! (B4): the same reference in the release before keeps its digest, whatever its tag leads to by now.

use std::collections::BTreeMap;

use super::container::Image;
use super::engine::Engine;
use crate::host::wire::HostError;
use crate::host::wire::compose::{Login, PulledImage};
use crate::model::compose::Pinned;

/// Docker Hub, by the name that logins go by.
const HUB: &str = "docker.io";

/// The images of one release, one after the other.
pub struct Images<'a> {
    pub engine: &'a Engine,
    pub logins: &'a BTreeMap<String, Login>,
    /// What references meant in the release that is live: reference → pinned.
    pub before: &'a BTreeMap<String, String>,
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
        logins: &'a BTreeMap<String, Login>,
        before: &'a BTreeMap<String, String>,
        gone: &'a dyn Fn() -> bool,
        note: &'a dyn Fn(&str) -> Result<(), HostError>,
    ) -> Images<'a> {
        Images { engine, logins, before, gone, note, known: BTreeMap::new(), brought: Vec::new(), warnings: Vec::new() }
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
            pinned: pinned.pinned.clone(),
            bytes,
        };
        Ok((pinned, pulled))
    }

    /// An image could not be brought. Where there was no room for it, those that came before it go again, so that whatever runs
    /// beside it has the room that it had; and the error names the place.
    fn given_back(&mut self, error: HostError) -> HostError {
        let HostError::Io(why) = &error else { return error };
        if !is_full(why) {
            return error;
        }
        for name in std::mem::take(&mut self.brought) {
            if let Err(error) = self.engine.remove_image(&name) {
                tracing::warn!(image = name, %error, "an image that was brought for a release without room stays");
            }
        }
        let home = self.engine.home().ok().filter(|home| !home.is_empty());
        let home = home.map_or_else(
            || "the directory of the engine".to_owned(),
            |home| format!("{home}, the directory of the engine"),
        );
        HostError::Io(format!(
            "{why}; make room on the file system of {home} (`docker system df` says what takes it, `docker image prune` removes \
             images that nobody uses), then run again"
        ))
    }

    fn settle(&mut self, reference: &str) -> Result<(Pinned, u64), HostError> {
        let whole = with_tag(reference);
        let before = self.before.get(reference).filter(|pinned| digest(pinned).is_some());
        let wanted = before.map_or(whole.as_str(), String::as_str);
        let (image, bytes) = match self.engine.image(wanted)? {
            Some(image) => (image, 0),
            None => {
                (self.note)(wanted)?;
                let pulled = self.engine.pull(wanted, self.logins.get(registry(wanted)), self.gone);
                let bytes = pulled.map_err(|error| self.given_back(error))?;
                self.brought.push(wanted.to_owned());
                let image = self.engine.image(wanted)?.ok_or_else(|| {
                    HostError::Io(format!("the image {wanted} was pulled, and the engine does not know it"))
                })?;
                (image, bytes)
            }
        };
        let pinned = match (digest(wanted), of_repository(&image, wanted)) {
            (Some(_), _) => wanted.to_owned(),
            (None, Some(digest)) => format!("{whole}@{digest}"),
            (None, None) => {
                self.warnings.push(format!(
                    "the image {reference} came from no registry: the release holds it by its id, and no other host can pull it"
                ));
                image.id.clone()
            }
        };
        Ok((Pinned { reference: reference.to_owned(), pinned, id: image.id }, bytes))
    }
}

/// Whether an engine says that its disk is full.
pub fn is_full(said: &str) -> bool {
    ["no space left", "disk quota exceeded"].iter().any(|words| said.to_lowercase().contains(words))
}

/// The digest by which the registry of a reference knows an image.
fn of_repository<'a>(image: &'a Image, reference: &str) -> Option<&'a str> {
    let of = |name: &str| familiar(repository(name)).to_owned();
    let ours = of(reference);
    image.repo_digests.iter().find(|name| of(name) == ours).and_then(|name| digest(name))
}

/// `sha256:…` of `repo:tag@sha256:…`.
pub fn digest(reference: &str) -> Option<&str> {
    reference.split_once('@').map(|(_, digest)| digest)
}

/// `repo` of `repo:tag@sha256:…`.
fn repository(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or_default();
    match name.rsplit_once(':') {
        // A colon before a slash belongs to the port of a registry.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

/// As people write it: the names of Docker Hub come without that of the registry.
fn familiar(repository: &str) -> &str {
    let rest = repository.strip_prefix("index.docker.io/").or(repository.strip_prefix("docker.io/"));
    let rest = rest.unwrap_or(repository);
    rest.strip_prefix("library/").unwrap_or(rest)
}

/// Without a tag an engine would pull every one.
fn with_tag(reference: &str) -> String {
    match digest(reference).is_none() && repository(reference) == reference && !is_id(reference) {
        true => format!("{reference}:latest"),
        false => reference.to_owned(),
    }
}

/// An image by its own id, which no registry knows.
pub fn is_id(reference: &str) -> bool {
    reference.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The registry that a reference names.
pub fn registry(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => match first {
            "index.docker.io" | "registry-1.docker.io" => HUB,
            other => other,
        },
        _ => HUB,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_taken_apart() {
        assert_eq!(registry("ghcr.io/acme/api:one"), "ghcr.io");
        assert_eq!(registry("127.0.0.1:5055/acme/api"), "127.0.0.1:5055");
        assert_eq!(registry("localhost/api"), "localhost");
        assert_eq!((registry("postgres:16"), registry("acme/api")), (HUB, HUB));
        assert_eq!(with_tag("postgres"), "postgres:latest");
        assert_eq!(with_tag("127.0.0.1:5055/api"), "127.0.0.1:5055/api:latest");
        for whole in ["postgres:16", "a/b@sha256:12", "127.0.0.1:5055/api:one"] {
            assert_eq!(with_tag(whole), whole);
        }
        let id = format!("sha256:{}", "a".repeat(64));
        assert_eq!(with_tag(&id), id);
    }

    #[test]
    fn an_image_has_the_digest_of_the_registry_that_the_reference_names() {
        let names = ["postgres@sha256:1", "mirror.example.com/library/postgres@sha256:2", "h:5000/a/b@sha256:3"];
        let image = Image { id: "sha256:x".to_owned(), repo_digests: names.map(str::to_owned).to_vec() };
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
