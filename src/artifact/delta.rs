//! A manifest on its way to a host that may have most of it: whole, or as the difference from one that it has. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::manifest::{Entry, Manifest, Node};
use crate::model::ids::Digest;

/// A manifest on its way to a host that may know most of it: 9,000 digests are longer than what a small change sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listing {
    Full(Arc<Manifest>),
    /// What is different from the tree `base`. `tree` is what must come out.
    Delta {
        base: Digest,
        tree: Digest,
        removed: Vec<String>,
        changed: Vec<Entry>,
    },
}

impl Listing {
    /// The shorter way to say it to somebody who has `base`; both with their digests.
    pub fn against((manifest, tree): (&Arc<Manifest>, Digest), (base, known): (&Manifest, Digest)) -> Listing {
        let changed: Vec<Entry> = manifest.entries.iter().filter(|e| base.get(&e.path) != Some(*e)).cloned().collect();
        let removed = base.entries.iter().filter(|entry| manifest.get(&entry.path).is_none());
        let removed: Vec<String> = removed.map(|entry| entry.path.clone()).collect();
        if changed.len() + removed.len() > manifest.entries.len() / 2 {
            return Listing::Full(manifest.clone());
        }
        Listing::Delta { base: known, tree, removed, changed }
    }

    /// The tree that it is told against; `None`: nothing needs to be known.
    pub fn base(&self) -> Option<&Digest> {
        match self {
            Listing::Full(_) => None,
            Listing::Delta { base, .. } => Some(base),
        }
    }

    /// The manifest that is meant, where `base` is the one that it was told against. `None`: it is not.
    pub fn resolve(self, base: Option<&Manifest>) -> Option<Manifest> {
        let (tree, removed, changed) = match self {
            Listing::Full(manifest) => return Some(Arc::unwrap_or_clone(manifest)),
            Listing::Delta { tree, removed, changed, .. } => (tree, removed, changed),
        };
        let mut nodes: BTreeMap<&str, &Node> = base?.entries.iter().map(|e| (e.path.as_str(), &e.node)).collect();
        for path in &removed {
            nodes.remove(path.as_str())?;
        }
        nodes.extend(changed.iter().map(|entry| (entry.path.as_str(), &entry.node)));
        let entry = |(path, node): (&str, &Node)| Entry { path: path.to_owned(), node: node.clone() };
        let manifest = Manifest { entries: nodes.into_iter().map(entry).collect() };
        (manifest.digest() == tree).then_some(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Manifest {
        let node = |text: &str| Node::File { sha256: Digest::of(text.as_bytes()), size: 1, executable: false };
        let entries = files.iter().map(|(path, text)| Entry { path: (*path).to_owned(), node: node(text) });
        Manifest { entries: entries.collect() }
    }

    #[test]
    fn a_delta_gives_the_manifest_that_was_meant_or_nothing() {
        let base = tree(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1"), ("f", "1")]);
        let next = tree(&[("a", "1"), ("aa", "new"), ("b", "2"), ("d", "1"), ("e", "1"), ("f", "1")]);
        let since = |next: &Manifest, base: &Manifest| {
            Listing::against((&Arc::new(next.clone()), next.digest()), (base, base.digest()))
        };
        let listing = since(&next, &base);
        let Listing::Delta { removed, changed, .. } = &listing else { panic!("{listing:?}") };
        assert_eq!((removed.as_slice(), changed.len()), (&["c".to_owned()][..], 2));
        assert_eq!(listing.base(), Some(&base.digest()));
        assert_eq!(listing.clone().resolve(Some(&base)), Some(next.clone()));
        // Against anything else it is not what was meant, and that is noticed.
        let drifted = tree(&[("a", "x"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1"), ("f", "1")]);
        assert_eq!(listing.clone().resolve(Some(&drifted)), None);
        assert_eq!(listing.resolve(None), None);
        assert_eq!(since(&base, &tree(&[])), Listing::Full(Arc::new(base.clone())));
        assert_eq!(since(&base, &base).resolve(Some(&base)), Some(base));
    }
}
