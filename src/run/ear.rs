//! The words of people, as they were heard last: the history of words is read once for all environments and passes.

use std::sync::{Arc, Mutex, PoisonError};

use crate::state_repo::{CommitId, RepoError, StateRepo, Words};

/// What was heard last.
#[derive(Debug, Default)]
pub struct Ear {
    words: Mutex<Option<Arc<Words>>>,
    /// The first commit of the repository, as seen from a head.
    first: Mutex<Option<(CommitId, CommitId)>>,
}

impl Ear {
    /// All that was said so far. Blocks: it reads objects.
    pub fn words(&self, repo: &StateRepo) -> Result<Arc<Words>, RepoError> {
        let known = self.words.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let words = repo.words(known.as_ref())?;
        *self.words.lock().unwrap_or_else(PoisonError::into_inner) = Some(words.clone());
        Ok(words)
    }

    /// By what words name the state repository. Blocks.
    pub fn repository(&self, repo: &StateRepo) -> Result<String, RepoError> {
        let head = repo.head()?;
        let known = *self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, first)) = known.filter(|(of, _)| *of == head) {
            return Ok(first.to_string());
        }
        let first = repo.first_commit()?;
        *self.first.lock().unwrap_or_else(PoisonError::into_inner) = Some((head, first));
        Ok(first.to_string())
    }
}
