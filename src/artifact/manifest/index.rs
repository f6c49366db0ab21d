//! Finding entries of a manifest by what is in them, and by their paths.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::Manifest;
use crate::artifact::picked::Picked;
use crate::model::ids::Digest;

/// The files of a manifest by what is in them.
#[derive(Debug)]
pub struct ByDigest {
    /// The numbers of all files, by digest and by their own order.
    order: Vec<u32>,
}

impl ByDigest {
    /// Of this manifest.
    pub fn of(manifest: &Manifest) -> ByDigest {
        let numbers = 0..u32::try_from(manifest.len()).unwrap_or(u32::MAX);
        let mut order: Vec<u32> = numbers.filter(|number| manifest.rows[*number as usize].is_file()).collect();
        order.sort_unstable_by_key(|number| (&manifest.rows[*number as usize].sha256, *number));
        ByDigest { order }
    }

    /// Those that are the first with their contents.
    pub fn firsts(&self, manifest: &Manifest) -> Picked {
        let digest = |number: &u32| manifest.file(*number as usize).map(|(digest, _)| digest);
        Picked::of(self.order.chunk_by(|a, b| digest(a) == digest(b)).map(|same| same[0] as usize))
    }

    /// The files with these contents in the manifest that this was made of, in order.
    pub fn all(&self, manifest: &Manifest, digest: &Digest) -> impl Iterator<Item = usize> {
        let of = |number: &u32| manifest.rows.get(*number as usize).map(|row| &row.sha256);
        let at = self.order.partition_point(|number| of(number) < Some(digest));
        self.order[at..].iter().take_while(move |number| of(number) == Some(digest)).map(|number| *number as usize)
    }

    /// The first of them.
    pub fn first(&self, manifest: &Manifest, digest: &Digest) -> Option<usize> {
        self.all(manifest, digest).next()
    }
}

/// The entries of a manifest by their paths, in whatever order they are.
#[derive(Debug, Clone, Default)]
pub struct ByPath {
    numbers: HashTable<u32>,
    hasher: RandomState,
}

impl ByPath {
    /// Of all that this manifest has.
    pub fn of(manifest: &Manifest) -> ByPath {
        let mut by_path = ByPath { numbers: HashTable::with_capacity(manifest.len()), hasher: RandomState::new() };
        (0..manifest.len()).for_each(|number| by_path.add(manifest, number));
        by_path
    }

    /// The entry with this number, too; no other one has its path.
    pub fn add(&mut self, manifest: &Manifest, number: usize) {
        let hasher = &self.hasher;
        let hash =
            |number: &u32| manifest.rows.get(*number as usize).map_or(0, |row| hasher.hash_one(manifest.path(row)));
        if let (Some(row), Ok(number)) = (manifest.rows.get(number), u32::try_from(number)) {
            let own = hasher.hash_one(manifest.path(row));
            self.numbers.insert_unique(own, number, hash);
        }
    }

    /// The number of the entry at a path.
    pub fn find(&self, manifest: &Manifest, path: &str) -> Option<usize> {
        let same = |number: &u32| manifest.rows.get(*number as usize).is_some_and(|row| manifest.path(row) == path);
        self.numbers.find(self.hasher.hash_one(path), same).map(|number| *number as usize)
    }
}
