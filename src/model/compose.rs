//! A project of containers: what an application of kind `compose` says of it, what a release holds of it once it is resolved,
//! and what is seen of its services. Pure: nothing here knows an engine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The file of a release that holds its project as resolved: all that is needed to run it, now and on a way back.
pub const RESOLVED: &str = "compose.soll.json";

/// The label of a container that names the definition of its service, as resolved. Nothing of a commit or of the path of a
/// release is in that (I2).
pub const DIGEST_LABEL: &str = "soll.digest";

/// What an application of kind `compose` says of its project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Project {
    pub name: String,
    /// Relative to `directory`, in their order. None: what the program finds by itself.
    #[serde(default)]
    pub files: Vec<String>,
    /// A shared or rendered file, relative to the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_file: Option<String>,
    #[serde(default)]
    pub profiles: Vec<String>,
    /// By service: what a release changes, variables filled in.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
    /// By service: how many containers it has.
    #[serde(default)]
    pub scale: BTreeMap<String, u32>,
    /// Services that must end with 0.
    #[serde(default)]
    pub once: Vec<String>,
    /// By service, where it is another one than the default.
    #[serde(default)]
    pub update: BTreeMap<String, Update>,
    /// Services that may lose what they keep their data in: said by a person, for one change (I5).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replace_volumes: Vec<String>,
    /// Where the files lie in the release; empty: at its top.
    #[serde(default)]
    pub directory: String,
}

/// How the containers of a service give way to those of another definition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Update {
    /// Stopped, then made anew.
    #[default]
    Recreate,
    /// New ones run, and are healthy, before old ones go.
    StartFirst,
}

/// What stands under `x-soll` in [`RESOLVED`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Resolved {
    pub project: String,
    /// Every service that stays up: how many containers it has.
    pub scale: BTreeMap<String, u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub once: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub update: BTreeMap<String, Update>,
    /// By service.
    pub images: BTreeMap<String, Pinned>,
    /// What of the release is mounted: names below `ROOT/.soll/mounts/`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<String>,
}

/// An image as it was when the release was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pinned {
    /// As the project names it.
    pub reference: String,
    /// `repo:tag@sha256:…`, or the id of one that came from no registry to this host: what containers are made of.
    pub pinned: String,
    /// By which the engine of this host knows it.
    pub id: String,
    /// `repo:tag@sha256:…` of one that the controller sent: what it is in its registry, of which this engine knows nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

impl Pinned {
    /// What it is for people, and in its registry.
    pub fn known_as(&self) -> &str {
        self.from.as_deref().unwrap_or(&self.pinned)
    }

    /// Nobody can bring it again: it was made on this host, or loaded by hand.
    pub fn is_of_nowhere(&self) -> bool {
        self.from.is_none() && crate::model::image::is_id(&self.pinned)
    }
}

/// How images come to the hosts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transfer {
    /// Each host pulls them from their registry.
    #[default]
    Pull,
    /// The controller reads them there, and sends what a host lacks: hosts need no registry.
    Push,
}

impl Transfer {
    /// For serde: what is usual is not said.
    pub fn is_pull(&self) -> bool {
        *self == Transfer::Pull
    }
}

/// One service, as it should be and as it is: what plans show of SOLL and IST. A service of a project, or a unit of systemd.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServiceSeen {
    pub service: String,
    /// So many containers; 0 also where the release knows no such service ([`state`](Self::state) `extra`).
    pub wanted: u32,
    pub running: u32,
    /// Of the containers; where there are none, what they would be made of. Empty for a unit.
    pub image: String,
    /// Every container was made from the definition of the release ([`DIGEST_LABEL`]), and of its image; a unit runs out of that
    /// release.
    pub digest_ok: bool,
    /// `running`, `restarting`, `exited (1)`, `missing`, `extra`: the worst of its containers.
    pub state: String,
    /// `healthy`, `unhealthy`, `starting`; `None`: it has no healthcheck, or no container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// How often the engine restarted one of them by itself, where that was asked.
    #[serde(default)]
    pub restarts: u32,
    /// `127.0.0.1:8080->80/tcp`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
}

impl ServiceSeen {
    /// It runs as the release says.
    pub fn is_well(&self) -> bool {
        self.digest_ok && self.running == self.wanted && self.state == "running"
    }
}
