//! Whether a branch or a tag of a repository leads to a commit. Forges give out by its id every commit of every fork and
//! pull request, so that an id alone says nothing of where a commit is from.

use std::path::Path;

use super::application::AppRepo;
use super::error::Result;
use crate::model::ids::Sha;

/// Below the cache directory: the history of branches and tags, without trees and files where the server can leave them out.
const HISTORY: &str = "history";

impl AppRepo {
    /// # Errors
    /// The repository could not be asked.
    pub(super) fn is_led_to(&self, sha: &Sha, cache_dir: &Path) -> Result<bool> {
        // What is released is mostly the head of a branch, or a tag.
        let refs = self.ls_remote(&["refs/heads/*", "refs/tags/*"])?;
        if refs.iter().any(|found| found.sha == *sha) {
            return Ok(true);
        }
        if refs.is_empty() {
            return Ok(false);
        }
        self.in_mirror(HISTORY, cache_dir, |git| {
            let options = ["--quiet", "--no-tags", "--no-recurse-submodules", "--filter=tree:0", "--force", "--prune"];
            let all = ["origin", "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
            git.must("fetch the history of", "fetch", &options, &all)?;
            let operand = format!("{sha}^{{commit}}");
            if !git.run("read", "rev-parse", &["--verify", "--quiet"], &[&operand])?.success {
                return Ok(false);
            }
            let contains = format!("--contains={sha}");
            let found =
                git.must("read the history of", "for-each-ref", &["--count=1", &contains, "--format=%(refname)"], &[])?;
            Ok(!found.is_empty())
        })
    }
}
