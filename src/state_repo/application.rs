//! Repositories of applications: what a tag means, which commits a branch has, the tree of a commit. Only names and
//! commits are asked for, never files, so that a large repository costs little (`tree` asks for files). Everything goes
//! through the `git` command; a path on this machine works like an address.

use std::path::Path;

use jiff::Timestamp;

use super::command::{Git, GitSettings};
use super::error::{RepoError, Result};
use super::location::{self, Location};
use super::mirror::Mirror;
use crate::model::ids::Sha;
use crate::model::shown::clean;

/// The repository of an application.
#[derive(Debug, Clone)]
pub struct AppRepo {
    location: Location,
    settings: GitSettings,
}

/// One name that a repository has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRef {
    /// `refs/tags/v1.0`, …
    pub name: String,
    /// The commit; for an annotated tag the one that it points to.
    pub sha: Sha,
}

/// A commit of a followed branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitSummary {
    pub sha: Sha,
    /// The committer's time.
    pub time: Timestamp,
    pub subject: String,
}

/// Below the cache directory: copies that know commits and trees, and no files.
const NAMES: &str = "apps";
const FETCH: &[&str] = &["--quiet", "--no-tags", "--no-recurse-submodules", "--filter=blob:none", "--force"];

impl AppRepo {
    /// # Errors
    /// An address that the grammar refuses.
    pub fn new(address: &str, settings: GitSettings) -> Result<AppRepo> {
        Ok(AppRepo { location: Location::parse(address)?, settings })
    }

    /// The names that match one of `patterns` exactly, or as a glob (`refs/tags/*`). Annotated tags are peeled.
    pub fn ls_remote(&self, patterns: &[&str]) -> Result<Vec<RemoteRef>> {
        let address = self.location.operand()?;
        let peeled: Vec<String> = patterns.iter().map(|pattern| format!("{pattern}^{{}}")).collect();
        let mut operands = vec![address.as_str()];
        operands.extend(patterns.iter().copied().chain(peeled.iter().map(String::as_str)));
        let output = self.git().must("ask", "ls-remote", &["--quiet"], &operands)?;
        let mut refs: Vec<RemoteRef> = Vec::new();
        for line in String::from_utf8_lossy(&output).lines() {
            let Some((sha, name)) = line.split_once('\t') else { continue };
            if sha.len() == 64 {
                return Err(super::open::sha256(&self.location.to_string(), self.location.as_path()));
            }
            let Ok(sha) = sha.parse::<Sha>() else { continue };
            let (name, is_peeled) = name.strip_suffix("^{}").map_or((name, false), |name| (name, true));
            match refs.iter_mut().find(|known| known.name == name) {
                Some(known) if is_peeled => known.sha = sha,
                Some(_) => {}
                None => refs.push(RemoteRef { name: name.to_owned(), sha }),
            }
        }
        // ls-remote matches the tail of a name: `refs/x/refs/tags/v1` would pass for `refs/tags/v1`.
        let globs: Vec<_> = patterns.iter().filter_map(|pattern| globset::Glob::new(pattern).ok()).collect();
        let globs: Vec<_> = globs.iter().map(globset::Glob::compile_matcher).collect();
        refs.retain(|found| globs.iter().any(|glob| glob.is_match(&found.name)));
        Ok(refs)
    }

    /// The commit that a tag means now (B6).
    ///
    /// # Errors
    /// [`RepoError::NoTag`] with the tags there are; [`RepoError::BranchAsTag`].
    pub fn resolve_tag(&self, tag: &str) -> Result<Sha> {
        let wanted = location::tag_ref(tag)?;
        let branch = format!("refs/heads/{tag}");
        let found = self.ls_remote(&[&wanted, &branch])?;
        if let Some(found) = found.iter().find(|found| found.name == wanted) {
            return Ok(found.sha.clone());
        }
        let place = self.location.to_string();
        if !found.is_empty() {
            return Err(RepoError::BranchAsTag { place, name: tag.to_owned() });
        }
        let tags = self.ls_remote(&["refs/tags/*"])?;
        let known = tags.iter().filter_map(|found| found.name.strip_prefix("refs/tags/")).map(str::to_owned).collect();
        Err(RepoError::NoTag { place, tag: tag.to_owned(), known })
    }

    /// The newest `limit` commits of a branch along first parents, newest first (B1).
    pub fn branch_commits(&self, branch: &str, cache_dir: &Path, limit: usize) -> Result<Vec<CommitSummary>> {
        let refname = location::branch_ref(branch)?;
        let limit = limit.clamp(1, 10_000).to_string();
        let depth = format!("--depth={limit}");
        self.in_mirror(NAMES, cache_dir, |git| {
            let options: Vec<&str> = FETCH.iter().copied().chain([depth.as_str()]).collect();
            let output = git.run("fetch from", "fetch", &options, &["origin", &format!("+{refname}:{refname}")])?;
            if !output.success && output.stderr.contains("couldn't find remote ref") {
                let heads = self.ls_remote(&["refs/heads/*"])?;
                let known = heads.iter().filter_map(|head| head.name.strip_prefix("refs/heads/")).map(str::to_owned);
                let (place, branch) = (self.location.to_string(), branch.to_owned());
                let cure = "; `track` in the state file names the one that is followed".to_owned();
                return Err(RepoError::NoBranch { place, branch, known: known.collect(), cure });
            }
            if !output.success {
                return Err(git.failure("fetch from", &output));
            }
            let options = ["--first-parent", "--no-show-signature", "--max-count", &limit, "--format=%H%x00%ct%x00%s"];
            let log = git.must("read the history of", "log", &options, &[&refname])?;
            Ok(String::from_utf8_lossy(&log).lines().filter_map(summary).collect())
        })
    }

    /// The Git tree of a commit, for promotion by tree (B2). `None`: the repository does not have the commit, or does not
    /// give it out.
    pub fn tree_of(&self, sha: &Sha, cache_dir: &Path) -> Result<Option<String>> {
        self.in_mirror(NAMES, cache_dir, |git| {
            if let Some(tree) = tree(git, sha)? {
                return Ok(Some(tree));
            }
            let options: Vec<&str> = FETCH.iter().copied().chain(["--depth=1"]).collect();
            let output = git.run("fetch from", "fetch", &options, &["origin", sha.as_str()])?;
            if output.success {
                return tree(git, sha);
            }
            let unknown = ["not our ref", "unadvertised object", "did not send", "couldn't find remote ref"];
            match unknown.iter().any(|sign| output.stderr.contains(sign)) {
                true => Ok(None),
                false => Err(git.failure("fetch from", &output)),
            }
        })
    }

    /// Runs `work` inside the copy that knows commits and no files.
    pub(super) fn in_names<T>(&self, cache_dir: &Path, work: impl Fn(&Git<'_>) -> Result<T>) -> Result<T> {
        self.in_mirror(NAMES, cache_dir, work)
    }

    /// Runs `work` inside the bare copy under `cache_dir/KIND/`, alone.
    pub(super) fn in_mirror<T>(&self, kind: &str, cache_dir: &Path, work: impl Fn(&Git<'_>) -> Result<T>) -> Result<T> {
        let mirror = Mirror::at(cache_dir, kind, &self.location)?;
        let held = mirror.lock(&self.settings)?;
        // Its format is git's own (a partial clone), which libgit2 does not open: look for the file that git looks for.
        if !mirror.dir.join("HEAD").is_file() {
            mirror.create(&self.location, &held, |_| Ok(()))?;
        }
        let first = work(&self.git().within(&mirror.dir, &mirror.dir));
        let sound = |git: Git<'_>| {
            let options = ["--connectivity-only", "--no-dangling", "--no-progress"];
            git.run("check its copy of", "fsck", &options, &[]).is_ok_and(|output| output.success)
        };
        match first {
            // What was stopped says nothing of the copy.
            Err(RepoError::Command { .. } | RepoError::Objects { .. }) if !self.settings.is_stopped() => {
                let unlocked = mirror.unlock(&held);
                if !sound(self.git().within(&mirror.dir, &mirror.dir)) {
                    mirror.create(&self.location, &held, |_| Ok(()))?;
                } else if !unlocked {
                    return first;
                }
                work(&self.git().within(&mirror.dir, &mirror.dir))
            }
            first => first,
        }
    }

    pub(super) fn location(&self) -> &Location {
        &self.location
    }

    pub(super) fn settings(&self) -> &GitSettings {
        &self.settings
    }

    /// Another repository, with the same settings.
    pub(super) fn at(&self, location: Location) -> AppRepo {
        AppRepo { location, settings: self.settings.clone() }
    }

    pub(super) fn with(&self, settings: GitSettings) -> AppRepo {
        AppRepo { location: self.location.clone(), settings }
    }

    fn git(&self) -> Git<'_> {
        Git::new(&self.settings, &self.location)
    }
}

fn tree(git: &Git<'_>, sha: &Sha) -> Result<Option<String>> {
    let output = git.run("read", "rev-parse", &["--verify", "--quiet"], &[&format!("{sha}^{{tree}}")])?;
    let text = String::from_utf8_lossy(&output.stdout);
    // rev-parse repeats `--end-of-options` in some versions: the id is the last line.
    Ok(text.lines().last().map(str::trim).filter(|id| output.success && id.parse::<Sha>().is_ok()).map(str::to_owned))
}

fn summary(line: &str) -> Option<CommitSummary> {
    let mut fields = line.splitn(3, '\0');
    let sha = fields.next()?.parse().ok()?;
    let time = Timestamp::from_second(fields.next()?.parse().ok()?).ok()?;
    Some(CommitSummary { sha, time, subject: clean(fields.next()?).into_owned() })
}
