//! A list that may be of any length on its way to people: its beginning, and how much more there is. An answer has room for
//! what somebody reads, not for a hundred thousand paths.

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};

/// So many are told one by one.
const TOLD: usize = 500;

/// The beginning of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt<T> {
    told: Vec<T>,
    /// So many more there are.
    more: u64,
}

impl<T> Default for Excerpt<T> {
    fn default() -> Self {
        Excerpt { told: Vec::new(), more: 0 }
    }
}

impl<T> From<Vec<T>> for Excerpt<T> {
    fn from(told: Vec<T>) -> Self {
        Excerpt { told, more: 0 }
    }
}

impl<T> Excerpt<T> {
    /// Cut to what is told.
    #[must_use]
    pub fn cut(mut self) -> Self {
        self.more += self.told.len().saturating_sub(TOLD) as u64;
        self.told.truncate(TOLD);
        self
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.told.len() as u64 + self.more
    }

    /// How many are not told, in words; `None`: all are.
    pub fn and_more(&self) -> Option<String> {
        (self.more > 0).then(|| format!("… and {} more", self.more))
    }

    /// All of it, where it was not cut.
    pub fn into_told(self) -> Vec<T> {
        self.told
    }
}

impl<T> Deref for Excerpt<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.told
    }
}

impl<T> DerefMut for Excerpt<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.told
    }
}
