//! What one process has at hand of a root: the manifest that it was asked about, which files of that it has received, and what is
//! kept for releases. All of it could be read again, and is forgotten when somebody else may have acted there.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard};

use crate::artifact::picked::Picked;
use crate::host::disk::kept::{Kept, Offered};
use crate::host::disk::root::Root;
use crate::host::disk::stamp::Stamp;
use crate::host::lock;
use crate::model::ids::{Digest, ReleaseName};

/// What this process knows of a root, and another one would have to read.
#[derive(Debug, Default)]
pub struct Memory {
    /// The manifest that was asked about last: reading it takes as long as many files.
    offered: Option<Arc<Offered>>,
    /// The files of it that were received and checked since the root was taken: nothing but this process could have
    /// spoilt them.
    received: Picked,
    /// What is kept for releases, with what its files looked like when they were read; the latest last.
    kept: VecDeque<(ReleaseName, Looks, Arc<Kept>)>,
}

/// Size and stamp of a file.
type Looks = (u64, Stamp);

impl Memory {
    /// Forgets contents of releases as long as there are too many entries in all, but for so many of the latest.
    fn shrink(&mut self, least: usize) {
        let offered = self.offered.as_ref().map_or(0, |offered| offered.manifest.len());
        let kept = |all: &VecDeque<(ReleaseName, Looks, Arc<Kept>)>| -> usize {
            all.iter().map(|(.., kept)| kept.contents.manifest.len()).sum()
        };
        while self.kept.len() > least && offered + kept(&self.kept) > MANY {
            self.kept.pop_front();
        }
    }
}

/// Contents of so many releases are at hand: of the new one, of the live one.
const KEPT: usize = 2;
/// With more entries in all, those that were used last are at hand alone: they are what takes the memory of an agent.
const MANY: usize = 100_000;

impl Root {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }

    /// Somebody else may have been here meanwhile.
    pub fn forget(&self) {
        *self.memory() = Memory::default();
    }

    /// Keeps a manifest at hand.
    pub fn note_offered(&self, offered: &Arc<Offered>) {
        let mut memory = self.memory();
        if memory.offered.as_ref().is_none_or(|before| before.tree != offered.tree) {
            memory.received = Picked::default();
        }
        memory.offered = Some(offered.clone());
        memory.shrink(0);
    }

    /// The manifest with this digest, where it is at hand.
    pub fn offered(&self, tree: &Digest) -> Option<Arc<Offered>> {
        self.memory().offered.clone().filter(|offered| offered.tree == *tree)
    }

    /// Much is about to be held in memory: of what is at hand only what is not much stays.
    pub fn make_light(&self) {
        self.memory().shrink(0);
    }

    /// The manifest that was asked about became a release: nobody asks about it any more.
    pub fn forget_offered(&self) {
        let mut memory = self.memory();
        (memory.offered, memory.received) = Default::default();
    }

    /// What was kept for a release, where its file still looks so.
    pub fn kept(&self, name: &ReleaseName, looks: Looks) -> Option<Arc<Kept>> {
        let memory = self.memory();
        let found = memory.kept.iter().find(|(of, looked, _)| of == name && *looked == looks);
        found.map(|(.., kept)| kept.clone())
    }

    /// Has what is kept for a release at hand.
    pub fn note_kept(&self, name: &ReleaseName, looks: Looks, kept: &Arc<Kept>) {
        let mut memory = self.memory();
        memory.kept.retain(|(of, ..)| of != name);
        if memory.kept.len() == KEPT {
            memory.kept.pop_front();
        }
        memory.kept.push_back((name.clone(), looks, kept.clone()));
        memory.shrink(1);
    }

    /// A file of the manifest that was asked about was received and checked.
    pub fn note_received(&self, number: usize) {
        self.memory().received.add(number);
    }

    /// Whether this process has received and checked it. It is asked once: the upload is used up then.
    pub fn take_received(&self, number: usize) -> bool {
        self.memory().received.take(number)
    }
}
