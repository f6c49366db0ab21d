//! What lies between two commits of an application's repository: subjects and authors, for whoever decides about a release.

use std::path::Path;

use super::application::AppRepo;
use super::command::Git;
use super::error::Result;
use crate::model::ids::Sha;
use crate::model::shown::clean;

/// So far back histories are fetched: two commits that are further apart are told by their page on the forge.
const DEPTH: &str = "--depth=200";

/// One commit, as people recognise it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authored {
    pub sha: Sha,
    pub author: String,
    pub subject: String,
}

/// Two commits of one history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Between {
    /// What the second one has and the first one has not, the newest first.
    pub come: Vec<Authored>,
    /// What the first one has and the second one has not: it is gone afterwards.
    pub gone: Vec<Authored>,
}

impl AppRepo {
    /// What lies between two commits, up to `limit` commits on either side. `None`: the repository does not give them out, or
    /// they have nothing in common as far back as is looked.
    ///
    /// # Errors
    /// The repository cannot be asked.
    pub fn between(&self, from: &Sha, to: &Sha, cache_dir: &Path, limit: usize) -> Result<Option<Between>> {
        self.in_names(cache_dir, |git| {
            if !related(git, from, to)? {
                let options = ["--quiet", "--no-tags", "--no-recurse-submodules", "--filter=blob:none", DEPTH];
                let output = git.run("fetch from", "fetch", &options, &["origin", from.as_str(), to.as_str()])?;
                if !output.success || !related(git, from, to)? {
                    return Ok(None);
                }
            }
            let limit = limit.to_string();
            let log = |range: String| {
                let options = ["--no-show-signature", "--max-count", &limit, "--format=%H%x00%an%x00%s"];
                let log = git.must("read the history of", "log", &options, &[&range])?;
                Ok(String::from_utf8_lossy(&log).lines().filter_map(authored).collect::<Vec<_>>())
            };
            Ok(Some(Between { come: log(format!("{from}..{to}"))?, gone: log(format!("{to}..{from}"))? }))
        })
    }
}

/// Whether both commits are here, with a commit that both come from.
fn related(git: &Git<'_>, from: &Sha, to: &Sha) -> Result<bool> {
    Ok(git.run("read", "merge-base", &[], &[from.as_str(), to.as_str()])?.success)
}

fn authored(line: &str) -> Option<Authored> {
    let mut fields = line.splitn(3, '\0');
    let sha = fields.next()?.parse().ok()?;
    let mut text = || Some(clean(fields.next()?).into_owned());
    Some(Authored { sha, author: text()?, subject: text()? })
}
