//! Releases of kind `git`: the tree of a commit of the application's own repository (contract 1.5).

use serde::{Deserialize, Serialize};

use crate::model::ids::{Digest, Sha};
use crate::model::template::{Values, fill};

use super::FetchFrom;
use super::forge::ChecksFrom;

/// What of a commit becomes the release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkout {
    /// The application's repository.
    pub repository: String,
    /// The directory that becomes the release, relative, without `/` at its end; empty: all of the tree.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub directory: String,
    /// Whether what the repositories of submodules have belongs to the release.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub submodules: bool,
    /// Who fetches the commit.
    #[serde(default, skip_serializing_if = "FetchFrom::is_default")]
    pub fetch_from: FetchFrom,
    /// Where the record of the build's checks is (B8), a template; empty: nobody records any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub checks: String,
    /// The forge that tells how its checks came out, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks_from: Option<ChecksFrom>,
}

impl Checkout {
    /// The digest that this part of a commit goes by, known before anything is fetched: a commit's id stands for its
    /// contents. Hosts keep it in their records, so that another one makes the release anew.
    pub fn digest(&self, sha: &Sha) -> Digest {
        match self.submodules {
            false => Digest::of_json(&("git", 1, sha.as_str(), &self.directory)),
            true => Digest::of_json(&("git", 1, sha.as_str(), &self.directory, "submodules")),
        }
    }

    /// Directories that enclose the release in an archive of the commit.
    pub fn depth(&self) -> u32 {
        u32::try_from(self.directory.split('/').filter(|part| !part.is_empty()).count()).unwrap_or(u32::MAX)
    }

    /// Where the record of the checks of a commit is. `values`: what the template may name beside that.
    pub fn checks_of(&self, sha: &Sha, values: &Values) -> Option<String> {
        let mut values = values.clone();
        values.insert("sha".to_owned(), sha.to_string());
        values.insert("sha8".to_owned(), sha.short().to_owned());
        Some(fill(&self.checks, &values)).filter(|place| !place.is_empty())
    }
}
