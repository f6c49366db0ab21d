//! References of images, as compose files and registries have them: `registry/repository:tag@sha256:…`. Pure: which image one
//! means, an engine or a registry knows.

use serde::{Deserialize, Serialize};

use crate::model::ids::Digest;

/// Docker Hub, by the name that logins go by.
pub const HUB: &str = "docker.io";

/// What an image runs on, in the words of Go, which manifests have.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, `arm`.
    pub architecture: String,
    /// `v7` of an `arm`; empty where it is of no matter.
    pub variant: String,
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

/// `sha256:…` of `repo:tag@sha256:…`.
pub fn digest(reference: &str) -> Option<&str> {
    reference.split_once('@').map(|(_, digest)| digest)
}

/// `tag` of `repo:tag@sha256:…`.
pub fn tag(reference: &str) -> Option<&str> {
    let name = reference.split('@').next().unwrap_or_default();
    // A colon before a slash belongs to the port of a registry.
    name.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/'))
}

/// `repo` of `repo:tag@sha256:…`, its registry included.
pub fn repository(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or_default();
    match tag(name) {
        Some(tag) => &name[..name.len() - tag.len() - 1],
        None => name,
    }
}

/// As people write it: the names of Docker Hub come without that of the registry.
pub fn familiar(repository: &str) -> &str {
    let rest = repository.strip_prefix("index.docker.io/").or(repository.strip_prefix("docker.io/"));
    let rest = rest.unwrap_or(repository);
    rest.strip_prefix("library/").unwrap_or(rest)
}

/// The path of the repository in its registry: on Docker Hub `library/postgres` for `postgres`.
pub fn path(reference: &str) -> String {
    let repository = repository(reference);
    let path = match registry_part(repository) {
        Some(part) => &repository[part.len() + 1..],
        None => repository,
    };
    if registry(reference) == HUB && !path.contains('/') { format!("library/{path}") } else { path.to_owned() }
}

/// Without a tag an engine would pull every one.
pub fn with_tag(reference: &str) -> String {
    match digest(reference).is_none() && repository(reference) == reference && !is_id(reference) {
        true => format!("{reference}:latest"),
        false => reference.to_owned(),
    }
}

/// The name under which an image is kept that is named by its digest alone: without any, whoever tidies an engine takes it for
/// rubbish.
pub fn kept_as(reference: &str) -> String {
    match (tag(reference), digest(reference)) {
        (None, Some(digest)) => {
            let short: String = digest.trim_start_matches("sha256:").chars().take(12).collect();
            format!("{}:soll-{short}", repository(reference))
        }
        _ => with_tag(reference.split('@').next().unwrap_or_default()),
    }
}

/// What each layer is with all those below it: by these an engine knows whether it has one. A layer alone says nothing, because
/// it is what it changes. `layers`: `sha256:…` of each, unpacked, the lowest first.
pub fn chains(layers: &[String]) -> Vec<Digest> {
    let mut chains: Vec<Digest> = Vec::new();
    for layer in layers {
        let Some(own) = layer.strip_prefix("sha256:").and_then(|hex| hex.parse::<Digest>().ok()) else { break };
        let chain = match chains.last() {
            None => own,
            Some(below) => Digest::of(format!("sha256:{below} {layer}").as_bytes()),
        };
        chains.push(chain);
    }
    chains
}

/// An image by its own id, which no registry knows.
pub fn is_id(reference: &str) -> bool {
    reference.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The registry that a reference names.
pub fn registry(reference: &str) -> &str {
    match registry_part(reference) {
        Some("index.docker.io" | "registry-1.docker.io") | None => HUB,
        Some(other) => other,
    }
}

/// As it is written; `None`: the reference begins with its repository.
fn registry_part(reference: &str) -> Option<&str> {
    let (first, _) = reference.split_once('/')?;
    (first.contains(['.', ':']) || first == "localhost").then_some(first)
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
        for (reference, path_of, tag_of) in [
            ("postgres:16", "library/postgres", Some("16")),
            ("docker.io/library/postgres", "library/postgres", None),
            ("acme/api", "acme/api", None),
            ("127.0.0.1:5055/acme/api:one@sha256:12", "acme/api", Some("one")),
            ("localhost:5055/api", "api", None),
        ] {
            assert_eq!((path(reference).as_str(), tag(reference)), (path_of, tag_of), "{reference}");
        }
    }

    #[test]
    fn a_layer_is_known_with_all_those_below_it() {
        let layer = |digit: &str| format!("sha256:{}", digit.repeat(64));
        let both = chains(&[layer("a"), layer("b")]);
        // As the specification of OCI has it.
        assert_eq!(both[0].to_string(), "a".repeat(64));
        assert_eq!(both[1], Digest::of(format!("{} {}", layer("a"), layer("b")).as_bytes()));
        assert_ne!(chains(&[layer("c"), layer("b")])[1], both[1]);
        assert_eq!(chains(&[layer("a"), "md5:1".to_owned(), layer("b")]), both[..1]);
    }

    #[test]
    fn an_image_that_is_kept_has_a_name() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        assert_eq!(kept_as(&format!("h:5000/a@{digest}")), "h:5000/a:soll-abababababab");
        assert_eq!(kept_as(&format!("h:5000/a:one@{digest}")), "h:5000/a:one");
        assert_eq!((kept_as("h:5000/a"), kept_as("a:1")), ("h:5000/a:latest".to_owned(), "a:1".to_owned()));
    }
}
