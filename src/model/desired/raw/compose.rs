//! Projects of Docker Compose as they are written. No defaults are applied here.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::fields::*;

/// A project of Docker Compose, with `kind = "compose"`: what a recipe, an application or a template says of it is replaced
/// key by key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compose {
    /// The directory that becomes the release, relative to this file: all that the project needs, and nothing else. Left out
    /// where the files lie in the application's `repository` and `checkout` says where.
    #[schemars(example = &"platform")]
    pub directory: Option<RelPath>,
    /// The compose files in it, the later ones over the earlier ones. Default: compose.yml.
    #[schemars(length(min = 1), example = ["compose.yml", "compose.production.yml"])]
    pub files: Option<Vec<RelPath>>,
    /// The name of the project: one of its own on each host, and never that of a directory. `{env}` and variables are filled in.
    #[schemars(example = &"platform")]
    pub project: Option<Line>,
    /// The file with the values for `${NAME}` in the compose files: one of `shared_files`, or a file of the directory.
    pub env_file: Option<RelPath>,
    /// The profiles that are in use.
    pub profiles: Option<Vec<ServiceName>>,
    /// What a release changes: images by service. Each names `{sha}`, `{sha8}` or `{tag}`, or ends in a digest; `{env}` and
    /// variables are filled in.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "format": "soll-service", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$" }))]
    pub images: BTreeMap<String, Line>,
    /// Registries by host (and port), and who logs in there.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "format": "soll-registry", "pattern": "^[A-Za-z0-9.-]+(:[0-9]+)?$" }))]
    pub registries: BTreeMap<String, Registry>,
    /// How images come to the hosts. Default: pull.
    pub transfer: Option<Transfer>,
    /// How many containers of a service there are, where it is another number than the files say.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "format": "soll-service", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$" }))]
    pub scale: BTreeMap<String, Scale>,
    /// Services that must end with exit code 0: run in the phase `migrate`, in this order. All others must stay up.
    pub once: Option<Vec<ServiceName>>,
    /// How the containers of a service give way to new ones. Default: recreate.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "format": "soll-service", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$" }))]
    pub update: BTreeMap<String, Update>,
    /// Services that may mount something else than before where they keep their data: for one change, and taken out again after
    /// it. Without it a release that would leave data behind is refused before anything is touched.
    #[schemars(example = ["db"])]
    pub replace_volumes: Option<Vec<ServiceName>>,
}

/// A number of containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Scale(#[schemars(range(min = 0, max = 1000), example = 3)] pub u32);

/// Who logs in to a registry.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// Who.
    #[schemars(example = &"deploy")]
    pub user: Line,
    /// The name of a secret of the controller with the use `registry`, never its value.
    #[schemars(example = &"GHCR_TOKEN")]
    pub password: SecretName,
}

/// How images come to the hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transfer {
    /// Each host pulls them from their registry.
    Pull,
    /// The controller reads them there and sends each host what it lacks: hosts need no registry and no login.
    Push,
}

/// How the containers of a service give way to new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Update {
    /// The old ones are stopped, then new ones are made.
    Recreate,
    /// The new ones run, and are healthy, before the old ones go: for a service without a fixed name and without a port of the
    /// host.
    StartFirst,
}
