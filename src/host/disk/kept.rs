//! What is kept of a release below `.soll/manifests/`: its contents, as they were last made sure of. A form, no deed.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::artifact::manifest::{ByDigest, Entry, Manifest, Node};
use crate::artifact::picked::Picked;
use crate::model::desired::Shared;
use crate::model::format::Form;
use crate::model::ids::Digest;

/// The contents of one release, as they were last made sure of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// The version of this form. The first one is not written; a newer one is not used, whatever it looks like.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub format: u64,
    pub manifest: Arc<Manifest>,
    /// The links to `shared/`; no part of the manifest.
    #[serde(default)]
    pub shared: Vec<Shared>,
    /// What the application may write; no part of the manifest.
    #[serde(default)]
    pub mutable: Vec<String>,
    /// Modes that were found, where they are not the usual ones of their kind.
    #[serde(default)]
    pub modes: BTreeMap<String, u32>,
}

/// How contents are read.
pub const FORM: Form = Form { known: 1, unsaid: Some(1) };

fn first() -> u64 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_first(format: &u64) -> bool {
    *format == first()
}

impl Default for Contents {
    fn default() -> Self {
        let (shared, mutable, modes) = Default::default();
        Contents { format: first(), manifest: Arc::default(), shared, mutable, modes }
    }
}

/// What is kept for a release, with the digest of its manifest: both take as long as looking at many files.
#[derive(Debug)]
pub struct Kept {
    pub contents: Contents,
    tree: OnceLock<Digest>,
}

impl Kept {
    /// Of these contents.
    pub fn new(contents: Contents) -> Kept {
        Kept { contents, tree: OnceLock::new() }
    }

    /// The digest of the manifest.
    pub fn tree(&self) -> Digest {
        *self.tree.get_or_init(|| self.contents.manifest.digest())
    }
}

/// A manifest that a controller asks about, and its files by what is in them.
#[derive(Debug)]
pub struct Offered {
    pub tree: Digest,
    pub manifest: Arc<Manifest>,
    pub by_digest: ByDigest,
    /// The files that are the first with their contents: the others are copies of these.
    pub firsts: Picked,
}

impl Offered {
    /// Of a manifest with its digest.
    pub fn new(tree: Digest, manifest: Arc<Manifest>) -> Arc<Offered> {
        let by_digest = ByDigest::of(&manifest);
        let firsts = by_digest.firsts(&manifest);
        Arc::new(Offered { tree, manifest, by_digest, firsts })
    }
}

impl Contents {
    /// The mode that a path should have; `None` for links and for what is not there.
    pub fn mode(&self, entry: Entry<&str>) -> Option<u32> {
        match entry.node {
            Node::Link { .. } => None,
            _ => Some(self.modes.get(entry.path).copied().unwrap_or_else(|| entry.mode())),
        }
    }
}
