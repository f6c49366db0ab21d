//! One host: the operations on a root, the agent that serves them over a byte stream, and the client that asks for them.
//! This room knows no plan, no run and no policy: it does what it is told and says what is.
//!
//! Its floors, each importing only those before it: [`wire`] (what can be asked and answered, and the frames it travels
//! in), [`disk`] (the root, its record and lock, commands), [`release`] (what is done with releases), then [`backup`],
//! [`convert`], [`examine`] and [`provision`] beside runs, [`serve`] (who answers), [`call`] (who asks). Operations are plain
//! synchronous code; only `call` is not.

pub mod backup;
pub mod call;
pub mod convert;
pub mod disk;
pub mod examine;
pub mod provision;
pub mod release;
pub mod serve;
pub mod wire;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A worker that panicked left no half-written value behind: what these locks guard is replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
