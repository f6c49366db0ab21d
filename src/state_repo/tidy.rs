//! What mirrors of whole trees let go, so that they do not grow for ever: commits that nobody asked for in a long time.
//! Everything happens under the lock of the mirror, so that nothing runs into a fetch.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::command::Git;
use super::error::Result;
use crate::model::ids::Sha;

/// Where the commits are that were asked for: a ref for each.
pub(super) const COMMITS: &str = "refs/soll/commits/";

/// A commit that nobody asked for in this time goes. What an environment desires is asked for at every look at it that has
/// something to do; should it be needed once more, it costs one more fetch.
const KEEP: Duration = Duration::from_secs(30 * 24 * 3600);
/// So often a mirror is gone through.
const EVERY: Duration = Duration::from_secs(24 * 3600);

/// Below a mirror: an empty file for each commit, whose time says when it was last asked for.
const ASKED: &str = "soll-asked";
/// Below a mirror: its time says when it was last gone through.
const TIDIED: &str = "soll-tidied";

/// Somebody asked for this commit.
pub(super) fn asked(mirror: &Path, sha: &Sha) {
    let _ = std::fs::create_dir_all(mirror.join(ASKED));
    mark(&mirror.join(ASKED).join(sha.as_str()));
}

/// Lets go what nobody asks for any more, where it is time to. What does not work costs room on a disk and nothing else.
pub(super) fn tidy(git: &Git<'_>, mirror: &Path) {
    let last = mirror.join(TIDIED);
    if age(&last).is_some_and(|age| age < EVERY) {
        return;
    }
    mark(&last);
    match let_go(git, mirror) {
        Ok(0) => {}
        Ok(gone) => tracing::info!(gone, mirror = %mirror.display(), "commits that nobody asks for were let go"),
        Err(error) => tracing::warn!(%error, "old commits could not be let go"),
    }
}

fn let_go(git: &Git<'_>, mirror: &Path) -> Result<usize> {
    let mut gone = 0;
    for name in
        String::from_utf8_lossy(&git.must("read", "for-each-ref", &["--format=%(refname)"], &[COMMITS])?).lines()
    {
        let Some(mark_of) = name.strip_prefix(COMMITS).map(|sha| mirror.join(ASKED).join(sha)) else { continue };
        match age(&mark_of) {
            // It has no mark: from now on its time runs.
            None => mark(&mark_of),
            Some(age) if age > KEEP => {
                git.must("let go a commit of", "update-ref", &["-d"], &[name])?;
                let _ = std::fs::remove_file(&mark_of);
                gone += 1;
            }
            Some(_) => {}
        }
    }
    if gone > 0 {
        git.must("tidy its copy of", "gc", &["--quiet", "--prune=now"], &[])?;
    }
    Ok(gone)
}

fn age(path: &Path) -> Option<Duration> {
    let modified = path.metadata().and_then(|found| found.modified()).ok()?;
    Some(SystemTime::now().duration_since(modified).unwrap_or_default())
}

/// A file whose time is now.
fn mark(path: &Path) {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    if let Err(error) = file.and_then(|file| file.set_modified(SystemTime::now())) {
        tracing::warn!(%error, path = %path.display(), "a mark could not be set");
    }
}
