//! Where the bundles of an application come from, and who fetches them.

use serde::{Deserialize, Serialize};

use super::Environment;
use crate::model::address::beside;
use crate::model::ids::Sha;
use crate::model::template::{Values, fill};

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

/// The places of one bundle, as texts with every template filled in. A relative one is relative to the state file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    pub url: String,
    pub sha256: String,
    pub checks: String,
}

impl Environment {
    /// Where the bundle of a commit is, and what belongs to it.
    pub fn places(&self, sha: &Sha) -> Places {
        let mut values = self.variables.clone();
        values.insert("sha".to_owned(), sha.to_string());
        values.insert("sha8".to_owned(), sha.short().to_owned());
        values.insert("env".to_owned(), self.name.to_string());
        let url = fill(&self.bundle.url, &values);
        values.insert("url".to_owned(), url.clone());
        let (sha256, checks) = (of(&self.bundle.sha256, &url, &values), of(&self.bundle.checks, &url, &values));
        Places { url, sha256, checks }
    }
}

/// A template that begins with `{url}` means what lies beside the bundle, whose address may end in a query.
fn of(template: &str, url: &str, values: &Values) -> String {
    match template.strip_prefix("{url}") {
        Some(suffix) => beside(url, &fill(suffix, values)),
        None => fill(template, values),
    }
}
