//! The work tree that a build comes from: which commit it has checked out, and what in it is in no commit. For telling
//! people, never for deciding: the directory may be no work tree at all.

use std::path::Path;

use git2::{Repository, Status, StatusOptions};

use crate::model::ids::Sha;

/// What is seen of a work tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// The commit that is checked out; `None`: there is none yet.
    pub head: Option<Sha>,
    /// What differs from it: files that Git knows, anywhere in the work tree, and files that it does not know in the
    /// directory that was asked about. What it is told to ignore counts for nothing: that is where builds go.
    pub changed: Vec<String>,
}

impl Sources {
    /// Looks at the work tree that a directory lies in; `None` where it lies in none, or in one that cannot be read.
    pub fn around(dir: &Path) -> Option<Sources> {
        let dir = dir.canonicalize().ok()?;
        let repo = Repository::discover(&dir).ok()?;
        let top = repo.workdir()?.canonicalize().ok()?;
        let below = dir.strip_prefix(&top).ok()?.to_str()?.to_owned();
        let head = repo.head().ok().and_then(|head| head.peel_to_commit().ok());
        let head = head.and_then(|commit| commit.id().to_string().parse().ok());
        let mut options = StatusOptions::new();
        options.include_untracked(true).include_ignored(false).exclude_submodules(true);
        let statuses = repo.statuses(Some(&mut options)).ok()?;
        let inside = |path: &str| below.is_empty() || path.starts_with(&format!("{below}/"));
        let changed = statuses.iter().filter_map(|entry| {
            let path = entry.path().ok()?.to_owned();
            let is_new = entry.status() == Status::WT_NEW;
            // A directory of builds that nobody told Git to ignore is new as a whole, and what was to be expected.
            let counts = if is_new { inside(&path) && path.trim_end_matches('/') != below } else { true };
            counts.then_some(path)
        });
        let changed = changed.collect();
        Some(Sources { head, changed })
    }
}
