//! Reading a commit: files as blobs, names by pattern, who made it and when. Nothing is ever followed: a symlink or a
//! submodule in the tree is an error (six advisories of this field began with one that was followed).

use std::collections::BTreeSet;

use crate::model::shown::clean;
use git2::{ObjectType, Oid, Repository, Sort, Tree};
use jiff::Timestamp;

use super::error::{RepoError, Result};
use super::repo::StateRepo;
use super::{CommitId, partial};

/// A state file may have so many bytes.
pub const FILE_LIMIT: usize = 4 << 20;
/// A pattern may match so many files.
pub const MATCH_LIMIT: usize = 10_000;
/// So many commits are listed at most.
const HISTORY_LIMIT: usize = 10_000;
/// No sane path is deeper; a tree that contains such a one was made to be walked forever.
const DEPTH_LIMIT: usize = 64;

const SYMLINK: i32 = 0o120_000;
const SUBMODULE: i32 = 0o160_000;

/// What is known of a commit beside its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInfo {
    pub id: CommitId,
    /// As the commit says; only a signature proves it.
    pub author_name: String,
    pub author_email: String,
    /// The committer's time.
    pub time: Timestamp,
    /// The first line of the message.
    pub subject: String,
    pub parents: Vec<CommitId>,
}

impl StateRepo {
    /// The bytes at `path` in `commit`, exactly as they were committed; `None` where there is nothing.
    ///
    /// # Errors
    /// A path that is not plain and relative; a symlink, submodule or directory there or on the way; more than
    /// [`FILE_LIMIT`] bytes.
    pub fn read(&self, commit: &CommitId, path: &str) -> Result<Option<Vec<u8>>> {
        let parts = parts(path)?;
        self.reading(|repo| {
            let Some((directory, name)) = self.directory(repo, commit, &parts)? else { return Ok(None) };
            let found = directory.get_name(name).map(|entry| (entry.id(), entry.filemode()));
            let Some((id, mode)) = found else { return Ok(None) };
            if let Some(what) = not_a_file(mode) {
                return Err(RepoError::Entry { commit: *commit, path: path.to_owned(), what: what.to_owned() });
            }
            let objects = |error| self.objects(&format!("read {path} of commit {commit}"), &error);
            // The size comes from the header: a huge blob is not loaded to be refused.
            let header = repo.odb().and_then(|odb| odb.read_header(id));
            let (size, _) = header.map_err(|error| match objects(error) {
                RepoError::Objects { what, place, detail, missing } if !missing.is_empty() => {
                    let missing = partial::siblings(repo, &directory, name);
                    RepoError::Objects { what, place, detail, missing }
                }
                other => other,
            })?;
            if size > FILE_LIMIT {
                return Err(RepoError::TooLarge { commit: *commit, path: path.to_owned(), size, limit: FILE_LIMIT });
            }
            Ok(Some(repo.find_blob(id).map_err(objects)?.content().to_vec()))
        })
    }

    /// What of `commit` matches `glob` (`environments/*.toml`, `**/x.toml`; `*` stops at `/`), sorted. A symlink or submodule is
    /// listed as well, so that one of them takes no other match away: whoever reads it is refused ([`StateRepo::read`]).
    ///
    /// # Errors
    /// A pattern that is not one; a name that is not UTF-8; more than [`MATCH_LIMIT`] matches.
    pub fn list(&self, commit: &CommitId, glob: &str) -> Result<Vec<String>> {
        let matcher = globset::GlobBuilder::new(glob)
            .literal_separator(true)
            .build()
            .map_err(|error| RepoError::Grammar(format!("`{glob}` is not a pattern: {}", error.kind())))?
            .compile_matcher();
        if glob.starts_with('/') || glob.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(RepoError::Grammar(format!("`{glob}` leaves the repository: patterns count from its root")));
        }
        self.reading(|repo| {
            let tree = self.tree(repo, commit)?;
            let mut found = Vec::new();
            let mut open = vec![(String::new(), tree.id())];
            while let Some((prefix, id)) = open.pop() {
                let tree = repo.find_tree(id).map_err(|error| self.objects("read a directory", &error))?;
                for entry in &tree {
                    let refuse = |path: String, what: &str| {
                        Err(RepoError::Entry { commit: *commit, path, what: what.to_owned() })
                    };
                    let name = String::from_utf8_lossy(entry.name_bytes()).into_owned();
                    let path = format!("{prefix}{name}");
                    if matches!(&*name, "" | "." | "..") || name.contains('/') {
                        return refuse(path, "an entry with a forged name");
                    }
                    if entry.kind() == Some(ObjectType::Tree) {
                        if prefix.matches('/').count() >= DEPTH_LIMIT {
                            return refuse(path, "nested too deeply");
                        }
                        open.push((format!("{path}/"), entry.id()));
                    } else if matcher.is_match(&path) {
                        if entry.name().is_err() {
                            return refuse(path, "a file whose name is not UTF-8");
                        }
                        found.push(path);
                        if found.len() > MATCH_LIMIT {
                            return Err(RepoError::TooMany {
                                commit: *commit,
                                glob: glob.to_owned(),
                                limit: MATCH_LIMIT,
                            });
                        }
                    }
                }
            }
            found.sort();
            Ok(found)
        })
    }

    /// The objects that are at these paths, in their order; `None` where there is nothing that could be read.
    pub fn blobs(&self, commit: &CommitId, paths: &BTreeSet<String>) -> Result<Vec<Option<String>>> {
        self.reading(|repo| {
            let blob = |path: &String| {
                let entry = parts(path).ok().and_then(|parts| self.entry(repo, commit, &parts).ok().flatten());
                entry.map(|(id, _)| id.to_string())
            };
            Ok(paths.iter().map(blob).collect())
        })
    }

    /// Who made this commit, when, and what it says.
    pub fn commit_info(&self, commit: &CommitId) -> Result<CommitInfo> {
        self.reading(|repo| self.info(repo, commit.0))
    }

    /// The commits that `new` has and `old` has not, newest first, merges included.
    pub fn committed_between(&self, old: &CommitId, new: &CommitId) -> Result<Vec<CommitInfo>> {
        self.reading(|repo| {
            self.between(repo, old.0, new.0)?.into_iter().take(HISTORY_LIMIT).map(|id| self.info(repo, id)).collect()
        })
    }

    /// The messages of the newest commits before and including `from`, newest first, at most `limit`: trailers are looked
    /// for in them.
    pub fn messages(&self, from: &CommitId, limit: usize) -> Result<Vec<String>> {
        self.reading(|repo| {
            let objects = |error| self.objects(&format!("walk the history of {from}"), &error);
            let mut walk = repo.revwalk().map_err(objects)?;
            walk.push(from.0).map_err(objects)?;
            let message = |id: std::result::Result<Oid, git2::Error>| {
                let commit = id.and_then(|id| repo.find_commit(id)).map_err(objects)?;
                Ok(String::from_utf8_lossy(commit.message_bytes()).into_owned())
            };
            walk.take(limit).map(message).collect()
        })
    }

    /// All ancestors of `new` (itself included) that are not ancestors of `old`, children before parents.
    pub(super) fn between(&self, repo: &Repository, old: Oid, new: Oid) -> Result<Vec<Oid>> {
        let walk = || {
            let mut walk = repo.revwalk()?;
            walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME)?;
            walk.push(new)?;
            walk.hide(old)?;
            walk.collect::<std::result::Result<Vec<_>, _>>()
        };
        walk().map_err(|error| self.objects(&format!("walk the history from {old} to {new}"), &error))
    }

    pub(super) fn info(&self, repo: &Repository, id: Oid) -> Result<CommitInfo> {
        let commit = repo.find_commit(id).map_err(|error| self.objects(&format!("read commit {id}"), &error))?;
        // Whoever commits chooses these, and they are told in many places.
        let text = |bytes: &[u8]| clean(&String::from_utf8_lossy(bytes)).into_owned();
        let author = commit.author();
        Ok(CommitInfo {
            id: CommitId(id),
            author_name: text(author.name_bytes()),
            author_email: text(author.email_bytes()),
            // A commit may claim any time; one outside of the calendar is as good as none.
            time: Timestamp::from_second(commit.time().seconds()).unwrap_or(Timestamp::UNIX_EPOCH),
            subject: text(commit.summary_bytes().unwrap_or_default()),
            parents: commit.parent_ids().map(CommitId).collect(),
        })
    }

    pub(super) fn tree<'r>(&self, repo: &'r Repository, commit: &CommitId) -> Result<Tree<'r>> {
        let tree = repo.find_commit(commit.0).and_then(|commit| commit.tree());
        tree.map_err(|error| self.objects(&format!("read commit {commit}"), &error))
    }

    /// The object and mode at a path. `None` where there is nothing; an error where the way leads through a link.
    pub(super) fn entry(&self, repo: &Repository, commit: &CommitId, parts: &[&str]) -> Result<Option<(Oid, i32)>> {
        let Some((directory, name)) = self.directory(repo, commit, parts)? else { return Ok(None) };
        Ok(directory.get_name(name).map(|entry| (entry.id(), entry.filemode())))
    }

    /// The directory of a path, and the name in it. `None` where there is no such directory.
    fn directory<'r, 'p>(
        &self,
        repo: &'r Repository,
        commit: &CommitId,
        parts: &[&'p str],
    ) -> Result<Option<(Tree<'r>, &'p str)>> {
        let mut tree = self.tree(repo, commit)?;
        let (last, directories) = parts.split_last().unwrap_or((&"", &[]));
        for (depth, part) in directories.iter().enumerate() {
            let Some((id, kind, mode)) = tree.get_name(part).map(|e| (e.id(), e.kind(), e.filemode())) else {
                return Ok(None);
            };
            if kind != Some(ObjectType::Tree) {
                let what = match mode {
                    SYMLINK | SUBMODULE => not_a_file(mode).unwrap_or_default(),
                    _ => return Ok(None),
                };
                return Err(RepoError::Entry {
                    commit: *commit,
                    path: parts[..=depth].join("/"),
                    what: what.to_owned(),
                });
            }
            tree = repo
                .find_tree(id)
                .map_err(|error| self.objects(&format!("read {part}/ of commit {commit}"), &error))?;
        }
        Ok(Some((tree, last)))
    }
}

/// What a mode is, where it is not an ordinary file.
pub(super) fn not_a_file(mode: i32) -> Option<&'static str> {
    match mode & 0o170_000 {
        0o100_000 => None,
        SYMLINK => Some("a symbolic link"),
        SUBMODULE => Some("a submodule"),
        0o040_000 => Some("a directory"),
        _ => Some("an unknown kind of entry"),
    }
}

/// The components of a plain relative path, safe as a tree entry and as a file of a work tree.
pub(super) fn parts(path: &str) -> Result<Vec<&str>> {
    let parts: Vec<&str> = path.split('/').collect();
    let good = |part: &&str| {
        !part.is_empty()
            && !matches!(*part, "." | "..")
            && !part.eq_ignore_ascii_case(".git")
            && !part.contains(['\\', '\0', '\n', '\r'])
    };
    if parts.iter().all(good) && parts.len() <= DEPTH_LIMIT {
        return Ok(parts);
    }
    Err(RepoError::Grammar(format!("`{path}` is not a path inside of the repository: it must be relative and plain")))
}
