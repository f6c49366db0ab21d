//! Projects of containers on a host: what is brought for them, and what the doctor asks about their engine.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::host::wire::Secret;
use crate::host::wire::examine::Room;
use crate::model::compose::Project;
use crate::model::ids::Digest;
use crate::model::image::Platform;

/// What is brought before a release of a project can run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pull {
    pub project: Project,
    /// For interpolation: `SOLL_SHA`, `SOLL_VAR_…`. What differs from release to release and reaches the definition of a
    /// service makes its containers anew each time.
    pub variables: BTreeMap<String, String>,
    /// By registry, as the reference of an image names it.
    pub registries: BTreeMap<String, Login>,
    /// Environment files of the host whose values nobody is shown (law 9).
    pub hides: Vec<String>,
    /// What the controller has brought, by reference: no registry is asked then. `None`: the host pulls for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brought: Option<BTreeMap<String, Brought>>,
}

/// An image that the engine has from the controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brought {
    /// `repo:tag@sha256:…`: what it is in its registry.
    pub from: String,
    /// By which the engine knows it.
    pub id: String,
    /// So many bytes came for it.
    pub bytes: u64,
}

/// What a host lacks of the images of a release, and what the controller must know to bring that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lacking {
    pub platform: Platform,
    pub images: Vec<Lack>,
    /// The chains of layers that the engine has: of each of its images, from the lowest layer up to each other one.
    pub chains: BTreeSet<Digest>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    /// As the project names it.
    pub reference: String,
    /// What its registry is to be asked for: what it was in the release before, where that is known.
    pub ask: String,
    /// There is one of this name and with this id, and nobody knows whether it is the one of the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub here: Option<String>,
}

/// An image for the engine. Its layers were uploaded before, those aside that the engine has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    /// `repo:tag`: what the engine keeps it as.
    pub name: String,
    /// As the registry has them, byte for byte.
    pub manifest: String,
    pub config: String,
    /// Of each layer, the lowest first.
    pub layers: Vec<Digest>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loaded {
    /// The engine knows it by this.
    Id(String),
    /// The engine does not take it without the layers that it seemed to have, and why.
    Incomplete(String),
}

/// Who asks a registry for images.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Login {
    pub user: String,
    pub password: Secret,
}

/// The release is resolved, and its images are here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    pub images: Vec<PulledImage>,
    /// Words for people.
    pub warnings: Vec<String>,
}

/// The image of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PulledImage {
    pub service: String,
    /// As the project names it.
    pub reference: String,
    /// What it is in its registry; where it is in none, the id that its containers are made of.
    pub pinned: String,
    /// So many came over the network.
    pub bytes: u64,
}

/// What the doctor asks about the engine.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AskEngine {
    pub project: String,
    /// By registry.
    pub registries: BTreeMap<String, AskLogin>,
}

/// Whether a login may have images.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AskLogin {
    pub login: Login,
    /// One of those that the project takes from there, whether it is there or not.
    pub image: String,
}

/// What there is to say of the engine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EngineFacts {
    /// Where it is spoken to.
    pub socket: String,
    /// `None` in place of a version: it does not say. Or why it does not answer, with the cure.
    pub engine: Result<EngineVersion, String>,
    /// `docker compose 2.27.0`, or why there is none.
    pub program: Result<String, String>,
    /// Of each registry that was asked why it refuses the login; `None`: it takes it.
    pub registries: BTreeMap<String, Option<String>>,
    /// Where the engine keeps images and volumes, as far as the user may look there.
    pub room: Option<Room>,
    /// The ports of this host that containers of other projects hold: `0.0.0.0:80/tcp` and whose they are.
    pub taken: BTreeMap<String, String>,
    /// What its containers run on, where it says so.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// As in [`Lacking`].
    #[serde(default)]
    pub chains: BTreeSet<Digest>,
}

/// What the engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineVersion {
    pub version: String,
    /// The newest API that it speaks.
    pub api: String,
    /// `overlay2`, `io.containerd.snapshotter.v1`, …
    pub store: String,
}
