//! Images as their registry has them (the distribution API): what a name means there, how large it is, and its layers, brought
//! to this machine and checked. Knows nothing of engines and hosts.

mod layer;
mod login;
mod manifest;

use std::collections::BTreeSet;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Client, RequestBuilder, StatusCode, Url};

pub use self::layer::Layer;
pub use self::login::Login;
use self::login::Passes;
use self::manifest::{Named, choose, diff_ids, sha256};
use super::backoff::Backoff;
use super::fetch::{FetchError, Fetcher};
use super::source::Location;
use crate::model::ids::Digest;
use crate::model::image::{self, HUB, Platform};
use crate::model::origin::{Origin, is_loopback};

/// No manifest and no configuration is larger.
const MOST: usize = 8 << 20;

/// One registry, as one who may be known there asks it.
#[derive(Debug)]
pub struct Registry {
    fetcher: Fetcher,
    /// As references begin with it.
    name: String,
    login: Option<Login>,
    passes: Passes,
}

/// An image for one platform.
#[derive(Debug, Clone)]
pub struct Image {
    /// `repo:tag@sha256:…`: what its name meant when it was asked for.
    pub pinned: String,
    /// As the registry has it, byte for byte.
    pub manifest: String,
    pub manifest_digest: Digest,
    pub config: String,
    pub config_digest: Digest,
    /// The lowest first.
    pub layers: Vec<Layer>,
}

impl Image {
    /// How many bytes its layers have as they travel; one that is there twice counts once.
    pub fn bytes(&self) -> u64 {
        let mut seen = BTreeSet::new();
        self.layers.iter().filter(|layer| seen.insert(layer.digest)).map(|layer| layer.size).sum()
    }
}

impl Registry {
    /// The one that a reference names.
    pub fn of(fetcher: &Fetcher, reference: &str, login: Option<Login>) -> Registry {
        let name = image::registry(reference).to_owned();
        Registry { fetcher: fetcher.clone(), name, login, passes: Passes::default() }
    }

    /// What a reference means for a platform.
    ///
    /// # Errors
    /// There is no such image, nobody may have it, or its registry does not answer: the image, why, and the next move. None of it
    /// is a verdict on the release.
    pub async fn image(&self, reference: &str, platform: &Platform) -> Result<Image, FetchError> {
        let refused = |why: String| FetchError::Refused { place: self.told(reference), reason: why };
        let asked = match image::digest(reference) {
            Some(digest) => digest.to_owned(),
            None => image::tag(reference).unwrap_or("latest").to_owned(),
        };
        let named = self.manifest(reference, &asked).await?;
        let pinned = match image::digest(reference) {
            Some(_) => reference.to_owned(),
            None => format!("{}@sha256:{}", image::with_tag(reference), Digest::of(named.as_bytes())),
        };
        let (text, manifest) = match Named::read(&named).map_err(refused)? {
            Named::Image(manifest) => (named, manifest),
            Named::Index(index) => {
                let chosen = choose(&index, platform).and_then(manifest::Descriptor::sha256).map_err(refused)?;
                let text = self.manifest(reference, &format!("sha256:{chosen}")).await?;
                match Named::read(&text).map_err(refused)? {
                    Named::Image(manifest) => (text, manifest),
                    Named::Index(_) => return Err(refused("it is a list of lists".to_owned())),
                }
            }
        };
        let config_digest = manifest.config.sha256().map_err(refused)?;
        let config = self.text(reference, &format!("blobs/sha256:{config_digest}"), Some(config_digest)).await?;
        let diff_ids = diff_ids(&config).map_err(refused)?;
        if diff_ids.len() != manifest.layers.len() {
            let (of, has) = (diff_ids.len(), manifest.layers.len());
            return Err(refused(format!("its configuration knows {of} layers, and its manifest {has}")));
        }
        let layer = |(one, diff_id): (&manifest::Descriptor, String)| {
            Ok(Layer { digest: one.sha256()?, size: one.size, diff_id })
        };
        let layers = manifest.layers.iter().zip(diff_ids).map(layer).collect::<Result<_, String>>().map_err(refused)?;
        let manifest_digest = Digest::of(text.as_bytes());
        Ok(Image { pinned, manifest: text, manifest_digest, config, config_digest, layers })
    }

    async fn manifest(&self, reference: &str, asked: &str) -> Result<String, FetchError> {
        let expected = match asked.starts_with("sha256:") {
            true => Some(sha256(asked).map_err(|reason| FetchError::Refused { place: self.told(reference), reason })?),
            false => None,
        };
        self.text(reference, &format!("manifests/{asked}"), expected).await
    }

    /// A small text of the registry, and that it is what it is called. Tried twice: whoever plans is waiting.
    async fn text(&self, reference: &str, what: &str, expected: Option<Digest>) -> Result<String, FetchError> {
        let place = self.place(reference, what)?;
        let mut backoff = Backoff::new(1.min(self.fetcher.settings.retries), self.fetcher.settings.pause);
        let bytes = loop {
            match self.bytes(reference, &place).await {
                Ok(bytes) => break bytes,
                Err(error) => backoff.pause(error).await.map_err(|error| self.about(reference, error))?,
            }
        };
        let found = Digest::of(&bytes);
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(FetchError::Refused { place: self.told(reference), reason: other(what, &expected, &found) });
        }
        String::from_utf8(bytes)
            .map_err(|_| FetchError::Refused { place: self.told(reference), reason: format!("{what} is no text") })
    }

    async fn bytes(&self, reference: &str, place: &Location) -> Result<Vec<u8>, FetchError> {
        let Location::Http(url) = place else { return Err(FetchError::missing(place)) };
        let repository = image::path(reference);
        let mut pass = self.passes.of(&repository);
        for _ in 0..2 {
            let dress = dress(url, pass.clone());
            let request = |client: &Client, url: Url| {
                let accept =
                    manifest::MANIFESTS.iter().chain(&manifest::INDEXES).copied().collect::<Vec<_>>().join(", ");
                dress(&url.clone(), client.get(url).header(ACCEPT, accept))
            };
            let answer = self.fetcher.send(place, url, request).await?;
            match answer.status() {
                StatusCode::OK => return self.fetcher.body(place, answer, MOST).await,
                StatusCode::UNAUTHORIZED => {
                    let who = (repository.as_str(), self.login.as_ref());
                    pass = Some(self.passes.renew(&self.fetcher, place, who, answer.headers()).await?);
                }
                status => return Err(FetchError::status(place, status)),
            }
        }
        Err(FetchError::refused(place, self.unknown()))
    }

    fn unknown(&self) -> String {
        match &self.login {
            Some(login) => format!(
                "the registry {} does not let {} have it: put a password or token that may read it into the secret that \
                 `registries` names",
                self.name, login.user
            ),
            None => format!("the registry {} lets nobody have it without a login: name one in `registries`", self.name),
        }
    }

    fn place(&self, reference: &str, what: &str) -> Result<Location, FetchError> {
        let host = if self.name == HUB { "registry-1.docker.io" } else { &self.name };
        // A registry of this machine is asked without https, as engines do.
        let scheme = if is_loopback(host_of(host)) { "http" } else { "https" };
        let address = format!("{scheme}://{host}/v2/{}/{what}", image::path(reference));
        address.parse().map_err(|error: super::source::BadLocation| FetchError::Refused {
            place: self.told(reference),
            reason: error.to_string(),
        })
    }

    fn told(&self, reference: &str) -> String {
        format!("the image {reference}")
    }

    /// An error of a request in the words of images.
    fn about(&self, reference: &str, error: FetchError) -> FetchError {
        let place = self.told(reference);
        match error {
            FetchError::Missing { .. } => FetchError::Refused {
                place,
                reason: format!(
                    "its registry {} does not have it: was it built and pushed, and is it still kept?",
                    self.name
                ),
            },
            FetchError::Denied { .. } => FetchError::Refused { place, reason: self.unknown() },
            FetchError::Refused { reason, .. } => FetchError::Refused { place, reason },
            FetchError::Transient { reason, .. } => FetchError::Transient {
                place,
                reason: format!("its registry {} does not serve it: {reason}", self.name),
            },
            other => other,
        }
    }
}

/// What came is something else than what was asked for.
fn other(what: &str, expected: &Digest, found: &Digest) -> String {
    format!(
        "{what} came as sha256:{found} in place of sha256:{expected}: the registry, or a proxy before it, has lost what it was; \
         push the image anew"
    )
}

/// Puts what a registry wants to see on a request to it, and on none that it leads to.
fn dress(home: &Url, pass: Option<HeaderValue>) -> impl Fn(&Url, RequestBuilder) -> RequestBuilder + Send + Sync {
    let home = home.clone();
    move |url, request| match pass.as_ref().filter(|_| same_origin(url, &home)) {
        Some(pass) => request.header(AUTHORIZATION, pass.clone()),
        None => request,
    }
}

fn same_origin(one: &Url, other: &Url) -> bool {
    Origin::of_url(one).is_some_and(|origin| Origin::of_url(other) == Some(origin))
}

/// `registry.example.com` of `registry.example.com:5000`.
fn host_of(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(host, _)| host)
}
