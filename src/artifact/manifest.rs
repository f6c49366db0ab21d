//! The canonical tree of a release: what was in the archive, no more, no less. Pure.

use serde::{Deserialize, Serialize};

use crate::model::ids::Digest;

/// A release's contents, sorted by path; parents come before what they hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub entries: Vec<Entry>,
}

/// One path of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Relative, `/`-separated, UTF-8, without `.`, `..` or empty parts.
    pub path: String,
    #[serde(flatten)]
    pub node: Node,
}

/// What is at a path. Modes are canonical: directories 755, files 644 or 755 (A8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Node {
    Dir,
    File {
        sha256: Digest,
        size: u64,
        executable: bool,
    },
    /// A relative link that stays inside the release.
    Link {
        target: String,
    },
}

impl Manifest {
    /// The digest of the whole tree.
    pub fn digest(&self) -> Digest {
        Digest::of_json(self)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files().map(|(_, _, size)| size).sum()
    }

    /// Path, digest and size of every file.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Digest, u64)> {
        self.entries.iter().filter_map(|entry| match &entry.node {
            Node::File { sha256, size, .. } => Some((entry.path.as_str(), sha256, *size)),
            _ => None,
        })
    }

    /// The entry at a path.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok().map(|i| &self.entries[i])
    }
}
