//! Which bundles were fetched before anybody asked for them, and how many of them are fetched at once.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::model::ids::Digest;

/// Bundles at once.
const WIDTH: usize = 2;

/// What was read ahead, or is being.
pub struct Ahead {
    /// The addresses that were tried, digested: they may hold secrets. None is tried twice.
    tried: Mutex<HashSet<Digest>>,
    turns: Semaphore,
}

impl Default for Ahead {
    fn default() -> Self {
        Ahead { tried: Mutex::default(), turns: Semaphore::new(WIDTH) }
    }
}

impl Ahead {
    /// Whether nobody has tried this address yet; from now on somebody has.
    pub fn is_untried(&self, address: Digest) -> bool {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).insert(address)
    }

    /// Waits until one of the fetches under way ends, where there are too many.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // An error means that it was closed, which nobody does.
        self.turns.acquire().await.ok()
    }
}
