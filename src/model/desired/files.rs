//! Files that are rendered for each host before a switch, and belong to the release that they were rendered for (A10).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Environment, Shared};
use crate::model::ids::Digest;
use crate::model::rendered;

/// The mode of a rendered file that names none: what is rendered holds secrets mostly.
pub const MODE: u32 = 0o600;

/// A rendered file of an environment. The text of its template stands here, so that a change of it is a change of what is
/// desired, and of what is approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// The shared file that it is: its path in the release.
    pub path: String,
    /// Relative to `ROOT/shared/`.
    pub from: String,
    /// Where the template is in the state repository.
    pub template: String,
    /// What stands there.
    pub text: String,
    /// The permissions of the file on the host.
    pub mode: u32,
    /// `user` or `user:group`, by name; `None`: the agent's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

impl Environment {
    /// The rendered file that a shared file is, where it is one.
    pub fn rendered(&self, from: &str) -> Option<&File> {
        self.files.iter().find(|file| file.from == from)
    }

    /// The shared paths that nobody renders: what is looked for on the host.
    pub fn kept(&self) -> Vec<Shared> {
        self.shared.iter().filter(|shared| self.rendered(&shared.from).is_none()).cloned().collect()
    }

    /// The shared paths as a release with these versions of the rendered files is linked to them. A version that is not
    /// known is none that any release has.
    pub fn linked(&self, versions: &BTreeMap<String, Digest>) -> Vec<Shared> {
        let link = |shared: &Shared| {
            let mut shared = shared.clone();
            if self.rendered(&shared.from).is_some() {
                let version = versions.get(&shared.from).map_or_else(|| "unknown".to_owned(), Digest::to_string);
                shared.from = rendered::place(&shared.from, &version);
            }
            shared
        };
        self.shared.iter().map(link).collect()
    }
}
