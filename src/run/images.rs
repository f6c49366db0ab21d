//! The images of an environment as the controller reads them in their registries: who is asked, and what was brought. For one
//! run, or one plan.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use crate::artifact::fetch::FetchError;
use crate::artifact::pack::Unpacked;
use crate::artifact::registry::{Image, Login, Registry};
use crate::model::desired::Environment;
use crate::model::ids::Digest;
use crate::model::image::{self, Platform};
use crate::run::controller::Controller;
use crate::run::registries;
use crate::run::secrets::Store;

/// What is known of them so far.
#[derive(Default)]
pub struct Images {
    /// By name: each gives its passes once.
    registries: Mutex<HashMap<String, Arc<Registry>>>,
    /// A tag that moves during a run means to all of its hosts what it meant to the first.
    known: tokio::sync::Mutex<HashMap<(String, Platform), Arc<Image>>>,
    /// Layers that may still be sent, by what they go by in the cache.
    held: Mutex<HashMap<Digest, Arc<Unpacked>>>,
}

impl Images {
    /// The registry of a reference, asked with the login that the environment names.
    ///
    /// # Errors
    /// A secret that there is not, or not for this.
    pub fn registry(
        &self,
        controller: &Controller,
        secrets: &Store,
        env: &Environment,
        reference: &str,
    ) -> Result<Arc<Registry>, String> {
        let name = image::registry(reference);
        let mut known = self.registries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(registry) = known.get(name) {
            return Ok(registry.clone());
        }
        let login = registries::login(secrets, env, name)?
            .map(|login| Login { user: login.user, password: Zeroizing::new(login.password.expose().to_owned()) });
        let registry = Arc::new(Registry::of(controller.artifacts.fetcher(), reference, login));
        known.insert(name.to_owned(), registry.clone());
        Ok(registry)
    }

    /// What a reference means in its registry.
    ///
    /// # Errors
    /// Those of [`Registry::image`].
    pub async fn image(
        &self,
        registry: &Registry,
        reference: &str,
        platform: &Platform,
    ) -> Result<Arc<Image>, FetchError> {
        let mut known = self.known.lock().await;
        let key = (reference.to_owned(), platform.clone());
        if let Some(image) = known.get(&key) {
            return Ok(image.clone());
        }
        let image = Arc::new(registry.image(reference, platform).await?);
        known.insert(key, image.clone());
        Ok(image)
    }

    /// Keeps a layer open until the run is over. Gives what it goes by.
    pub fn hold(&self, layer: Unpacked) -> Digest {
        let digest = layer.bundle;
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, Arc::new(layer));
        digest
    }

    /// One that was brought in this run.
    pub fn held(&self, digest: &Digest) -> Option<Arc<Unpacked>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }
}
