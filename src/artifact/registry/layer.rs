//! A layer of an image on its way to this machine: once for everybody, taken up where it broke off, and checked.

use super::{Registry, dress, other};
use crate::artifact::fetch::{FetchError, OnProgress};
use crate::artifact::pack::Unpacked;
use crate::artifact::source::Location;
use crate::artifact::store::{ArtifactError, ArtifactStore};
use crate::model::ids::Digest;
use crate::model::image;

/// So often a layer is gone on with that took longer than its pass was good for.
const RENEWED: u32 = 20;

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Of the bytes that travel.
    pub digest: Digest,
    pub size: u64,
    /// `sha256:…` of what they are unpacked.
    pub diff_id: String,
}

impl Layer {
    /// What it goes by among what is kept here: no bundle is called that.
    fn key(&self) -> Digest {
        Digest::of_json(&("layer", 1, self.digest))
    }
}

impl Registry {
    /// A layer, as a tree with one file. It is brought where it is not kept here yet.
    ///
    /// # Errors
    /// The registry does not serve it, or serves something else: which layer of which image.
    pub async fn layer(
        &self,
        store: &ArtifactStore,
        reference: &str,
        layer: &Layer,
        progress: OnProgress<'_>,
    ) -> Result<Unpacked, ArtifactError> {
        if let Some(kept) = store.get(&layer.key()) {
            return Ok(kept);
        }
        let what = format!("blobs/sha256:{}", layer.digest);
        let place = self.place(reference, &what)?;
        let Location::Http(url) = &place else { return Err(FetchError::missing(&place).into()) };
        let repository = image::path(reference);
        let mut known = self.passes.of(&repository);
        let mut denied = 0;
        loop {
            let pass = match known.take() {
                None => self.pass(&repository, &place, url).await.map_err(|error| self.about(reference, error))?,
                known => known,
            };
            let dressed = dress(url, pass);
            match store.ensure_file(layer.key(), (&place, layer.digest), &dressed, progress).await {
                Err(ArtifactError::Fetch(FetchError::Mismatch { expected, found, .. })) => {
                    let reason = other(&format!("its layer {what}"), &expected, &found);
                    return Err(FetchError::Refused { place: self.told(reference), reason }.into());
                }
                // A pass may end before a layer that takes long has come: with another one it goes on where it was.
                Err(ArtifactError::Fetch(FetchError::Denied { .. })) if denied < RENEWED => denied += 1,
                Err(ArtifactError::Fetch(error)) => return Err(self.about(reference, error).into()),
                done => return done,
            }
        }
    }

    /// What the registry wants to see for this place; `None`: nothing.
    async fn pass(
        &self,
        repository: &str,
        place: &Location,
        url: &reqwest::Url,
    ) -> Result<Option<reqwest::header::HeaderValue>, FetchError> {
        let answer = self.fetcher.send(place, url, |client, url| client.head(url)).await?;
        if answer.status() != reqwest::StatusCode::UNAUTHORIZED {
            return Ok(None);
        }
        let who = (repository, self.login.as_ref());
        self.passes.renew(&self.fetcher, place, who, answer.headers()).await.map(Some)
    }
}
