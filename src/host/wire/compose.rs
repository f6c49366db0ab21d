//! Projects of containers on a host: what is brought for them, and what the doctor asks about their engine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::host::wire::Secret;
use crate::host::wire::examine::Room;
use crate::model::compose::Project;

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
    /// What its containers are made of.
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
