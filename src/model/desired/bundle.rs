//! Where the bundles of an application come from, and who fetches them.

use serde::{Deserialize, Serialize};

/// Where bundles come from. Both are templates; `{url}` in `sha256` and `checks` is the filled `url`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// https://, http://, file://, or a path relative to the state file.
    pub url: String,
    pub sha256: String,
    /// The record of the build (B8).
    pub checks: String,
    /// Who fetches it. What is usual is not written: plans that people approved before keep their digests.
    #[serde(default, skip_serializing_if = "FetchFrom::is_default")]
    pub fetch_from: FetchFrom,
}

/// Who fetches a bundle. Its SHA-256 is always read by the controller, and always checked by whoever unpacks it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FetchFrom {
    /// Once, for all hosts: each is sent what it does not have.
    #[default]
    Controller,
    /// Each host for itself.
    Host,
}

impl FetchFrom {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_default(&self) -> bool {
        *self == FetchFrom::default()
    }
}
