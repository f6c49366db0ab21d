//! Where the bundles of an application come from.

use serde::{Deserialize, Serialize};

use super::FetchFrom;
use crate::model::address::beside;
use crate::model::ids::Sha;
use crate::model::record::strips_none;
use crate::model::template::{Values, fill};

/// Where bundles come from. Both are templates; `{url}` in `sha256` and `checks` is the filled `url`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// https://, http://, file://, or a path relative to the state file.
    pub url: String,
    pub sha256: String,
    /// The record of the build (B8).
    pub checks: String,
    /// Who fetches it; its SHA-256 is always read by the controller, and always checked by whoever unpacks it. What is
    /// usual is not written: plans that people approved before keep their digests.
    #[serde(default, skip_serializing_if = "FetchFrom::is_default")]
    pub fetch_from: FetchFrom,
    /// So many directories enclose the release in the archive. Likewise.
    #[serde(default, skip_serializing_if = "strips_none")]
    pub strip: u32,
}

/// The places of one bundle, as texts with every template filled in. A relative one is relative to the state file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    pub url: String,
    pub sha256: String,
    pub checks: String,
}

impl Bundle {
    /// Where the bundle of a commit is, and what belongs to it. `values`: what the templates may name beside that.
    pub fn places(&self, sha: &Sha, values: &Values) -> Places {
        let mut values = values.clone();
        values.insert("sha".to_owned(), sha.to_string());
        values.insert("sha8".to_owned(), sha.short().to_owned());
        let url = fill(&self.url, &values);
        values.insert("url".to_owned(), url.clone());
        let (sha256, checks) = (of(&self.sha256, &url, &values), of(&self.checks, &url, &values));
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
