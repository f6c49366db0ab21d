//! The state repository against real git: local, bare and remote, read, written, watched and attacked.

mod application;
mod connection;
mod reading;
mod watching;
mod words;
mod writing;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use soll::state_repo::{Author, CommitId, Edits, GitSettings, Location, Publish, RepoError, StateRepo};

pub const FILE: &str = "desired-state.toml";

/// A directory with repositories, gone at the end of the test.
pub struct Sandbox {
    dir: tempfile::TempDir,
}

impl Sandbox {
    pub fn new() -> Self {
        Sandbox { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A work tree on `main` with one commit.
    pub fn work_tree(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        git(&path, &["init", "-q", "-b", "main"]);
        write(&path.join(FILE), "schema = 1\n");
        commit_all(&path, "first");
        path
    }

    /// A bare repository with one commit on `main`, and a clone of it.
    pub fn remote(&self) -> (PathBuf, PathBuf) {
        let seed = self.work_tree("seed");
        let bare = self.path("remote.git");
        git(&seed, &["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
        git(&seed, &["remote", "add", "origin", bare.to_str().unwrap()]);
        git(&seed, &["fetch", "-q", "origin"]);
        (bare, seed)
    }

    pub fn open(&self, address: &str) -> Result<StateRepo, RepoError> {
        self.open_with_cache(address, "cache")
    }

    pub fn open_with_cache(&self, address: &str, cache: &str) -> Result<StateRepo, RepoError> {
        StateRepo::open(Location::parse(address)?, "main", &self.path(cache), settings())
    }
}

pub fn settings() -> GitSettings {
    GitSettings { timeout: Duration::from_secs(60), ..GitSettings::default() }
}

pub fn file_url(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// Runs git without anything of this machine's configuration; returns what it printed.
pub fn git(dir: &Path, args: &[&str]) -> String {
    let output = git_command(dir, args).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

pub fn git_command(dir: &Path, args: &[&str]) -> Command {
    let mut git = Command::new("git");
    git.args(args).current_dir(dir).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    git.env("HOME", dir).env("LC_ALL", "C").env("TZ", "UTC");
    for who in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{who}_NAME"), "Anna").env(format!("GIT_{who}_EMAIL"), "anna@example.com");
    }
    git
}

pub fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

pub fn commit_all(dir: &Path, message: &str) -> CommitId {
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "--allow-empty", "-m", message]);
    head(dir)
}

pub fn head(dir: &Path) -> CommitId {
    git(dir, &["rev-parse", "refs/heads/main"]).parse().unwrap()
}

pub fn author() -> Author {
    Author { name: "Bob".to_owned(), email: "bob@example.com".to_owned() }
}

pub fn publish(push: bool) -> Publish {
    Publish { author: author(), signing_key: None, push }
}

/// Edits that replace one file.
pub fn edits(path: &str, text: &str) -> Edits {
    Edits { files: vec![(path.to_owned(), Some(text.as_bytes().to_vec()))], message: format!("change {path}") }
}

pub fn text(repo: &StateRepo, commit: &CommitId, path: &str) -> Option<String> {
    repo.read(commit, path).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
}
