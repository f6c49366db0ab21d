//! A directory of the state repository as an archive: read as objects, like everything of it (law 10). The same tree gives the
//! same bytes, whichever commit it is read for. Unlike `tree`, which makes what an application's own repository says of
//! itself, it heeds no attributes: what was committed is what is deployed.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use git2::{ObjectType, Oid, Repository};

use super::CommitId;
use super::error::{RepoError, Result};
use super::read::{not_a_file, parts};
use super::repo::StateRepo;
use crate::model::shown::clean;

/// More entries than this are no files of a project.
const MOST: usize = 100_000;
/// No sane path is deeper.
const DEEPEST: usize = 64;

const SYMLINK: i32 = 0o120_000;
const EXECUTABLE: i32 = 0o100_755;

impl StateRepo {
    /// The id of what a directory holds at a commit; `None`: there is no such directory.
    ///
    /// # Errors
    /// A path that is not plain and relative; a symlink or a submodule there or on the way.
    pub fn tree_id(&self, commit: &CommitId, path: &str) -> Result<Option<String>> {
        let parts = parts(path)?;
        self.reading(|repo| match self.entry(repo, commit, &parts)? {
            Some((id, mode)) if not_a_file(mode) == Some("a directory") => Ok(Some(id.to_string())),
            Some((_, mode)) => match not_a_file(mode) {
                None => Ok(None),
                Some(what) => Err(RepoError::Entry { commit: *commit, path: path.to_owned(), what: what.to_owned() }),
            },
            None => Ok(None),
        })
    }

    /// Writes what a tree holds into `dir`, as one archive. `path`: where it is, for people.
    ///
    /// # Errors
    /// Something in it is no file, no link and no directory, or cannot be read.
    pub fn archive_tree(&self, tree: &str, path: &str, dir: &Path) -> Result<PathBuf> {
        let to = dir.join("tree.tar");
        let written = |source| RepoError::Storage { what: "write", path: to.clone(), source };
        self.reading(|repo| {
            let root =
                Oid::from_str(tree).map_err(|error| self.objects(&format!("find the tree of {path}"), &error))?;
            let mut tar = tar::Builder::new(BufWriter::new(File::create(&to).map_err(written)?));
            let mut open = vec![(String::new(), root)];
            let mut count = 0;
            while let Some((prefix, id)) = open.pop() {
                let tree =
                    repo.find_tree(id).map_err(|error| self.objects(&format!("read {path}/{prefix}"), &error))?;
                for entry in &tree {
                    let refuse = |what: &str, cure: &str| {
                        let name = String::from_utf8_lossy(entry.name_bytes()).into_owned();
                        Err(RepoError::Grammar(format!(
                            "{path}/{prefix}{} is {what}, which is not deployed: {cure}",
                            clean(&name)
                        )))
                    };
                    let Some(name) = entry.name().ok().filter(|name| parts(name).is_ok_and(|parts| parts.len() == 1))
                    else {
                        return refuse("an entry with a name that no file may have", "rename it, and commit that");
                    };
                    let inner = format!("{prefix}{name}");
                    count += 1;
                    if count > MOST {
                        let what =
                            format!("more than the {MOST} entries that a directory of the state repository may have");
                        return refuse(&what, "name a smaller directory");
                    }
                    if prefix.matches('/').count() > DEEPEST {
                        return refuse(&format!("more than {DEEPEST} directories deep"), "move it up");
                    }
                    if entry.kind() == Some(ObjectType::Tree) {
                        add(&mut tar, &inner, 0o755, Content::Dir).map_err(written)?;
                        open.push((format!("{inner}/"), entry.id()));
                        continue;
                    }
                    let mode = entry.filemode();
                    let what = not_a_file(mode);
                    if what.is_some_and(|_| mode != SYMLINK) {
                        return refuse(what.unwrap_or_default(), "commit its files instead");
                    }
                    let bytes = self.blob(repo, entry.id(), &format!("{path}/{inner}"))?;
                    let done = match mode {
                        SYMLINK => match std::str::from_utf8(&bytes) {
                            Ok(target) => add(&mut tar, &inner, 0o777, Content::Link(target)),
                            Err(_) => {
                                return refuse("a symbolic link whose target is not UTF-8", "let it name another file");
                            }
                        },
                        EXECUTABLE => add(&mut tar, &inner, 0o755, Content::File(&bytes)),
                        _ => add(&mut tar, &inner, 0o644, Content::File(&bytes)),
                    };
                    done.map_err(written)?;
                }
            }
            let ended = tar.into_inner().and_then(|mut out| out.flush());
            ended.map_err(written)?;
            Ok(to.clone())
        })
    }

    fn blob(&self, repo: &Repository, id: Oid, path: &str) -> Result<Vec<u8>> {
        let blob = repo.find_blob(id).map_err(|error| self.objects(&format!("read {path}"), &error))?;
        Ok(blob.content().to_vec())
    }
}

enum Content<'a> {
    Dir,
    Link(&'a str),
    File(&'a [u8]),
}

fn add(tar: &mut tar::Builder<impl Write>, path: &str, mode: u32, content: Content<'_>) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_mode(mode);
    match content {
        Content::Dir => {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, path, io::empty())
        }
        // The library would tidy a target up.
        Content::Link(target) if target.len() <= 100 => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_link_name_literal(target)?;
            tar.append_data(&mut header, path, io::empty())
        }
        Content::Link(target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            tar.append_link(&mut header, path, target)
        }
        Content::File(bytes) => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, path, bytes)
        }
    }
}
