//! Git as a person uses it: in a work tree, with the `git` command. The loop itself never does this (law 10).

use std::path::Path;
use std::process::{Command, Stdio};

/// Runs `git ARGS` in `dir` and gives what it printed, without the line end.
///
/// # Errors
/// What git said, and where.
pub fn git(dir: &Path, args: &[&str]) -> Result<String, String> {
    dated(dir, args, None)
}

/// The same, at a fixed date: the same history on every machine, commit ids included.
pub fn dated(dir: &Path, args: &[&str], date: Option<&str>) -> Result<String, String> {
    let mut git = Command::new("git");
    // GIT_DIR and its kin, set where a hook calls us, would lead to another repository.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
        git.env_remove(name);
    }
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("LC_ALL", "C");
    if let Some(date) = date {
        git.env("GIT_AUTHOR_DATE", date).env("GIT_COMMITTER_DATE", date);
    }
    let output = git.arg("-C").arg(dir).args(args).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("`git` cannot be started ({error}): the demo needs it installed"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let (what, said) = (args.first().copied().unwrap_or_default(), String::from_utf8_lossy(&output.stderr));
    Err(format!("`git {what}` in {} failed: {}", dir.display(), said.trim()))
}

/// A new repository with a `main` branch and somebody who commits.
pub fn init(dir: &Path, name: &str, email: &str) -> Result<(), String> {
    git(dir, &["init", "-q", "-b", "main"])?;
    git(dir, &["config", "user.name", name])?;
    git(dir, &["config", "user.email", email])?;
    // A person who signs everything by habit is not asked for a passphrase here.
    git(dir, &["config", "commit.gpgsign", "false"]).map(drop)
}
