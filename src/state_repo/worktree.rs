//! Work trees that have the state branch checked out: an edited file moves along when the branch does, so that the
//! next `git status` of its owner is as clean as before. Other files are never touched, and nothing is read from here.

use std::path::Path;

use git2::build::CheckoutBuilder;
use git2::{Commit, ErrorCode, IndexEntry, IndexEntryExtendedFlag, Repository, Status};

use super::CommitId;
use super::error::{RepoError, Result};
use crate::model::shown::shell_word;

/// The work trees (the main one and linked ones) whose HEAD is this branch.
pub(super) fn with_branch(repo: &Repository, refname: &str) -> Vec<Repository> {
    let main = Repository::open(repo.commondir()).ok();
    let linked = repo.worktrees().ok().into_iter().flat_map(|names| {
        let trees: Vec<_> = names.iter().flatten().flatten().filter_map(|name| repo.find_worktree(name).ok()).collect();
        trees.into_iter().filter_map(|tree| Repository::open_from_worktree(&tree).ok())
    });
    main.into_iter()
        .chain(linked)
        .filter(|tree| !tree.is_bare() && tree.workdir().is_some())
        .filter(|tree| {
            let head = tree.find_reference("HEAD");
            head.is_ok_and(|head| head.symbolic_target().ok().flatten() == Some(refname))
        })
        .collect()
}

/// # Errors
/// [`RepoError::Dirty`] with every path whose file or index entry is not what HEAD says.
pub(super) fn must_be_clean(tree: &Repository, paths: &[&str]) -> Result<()> {
    let mut dirty = Vec::new();
    for path in paths {
        match tree.status_file(Path::new(path)) {
            Ok(Status::CURRENT) => {}
            // A sparse checkout leaves it out: there is no file to be dirty.
            Ok(Status::WT_DELETED) if matches!(left_out(tree, path), Ok(Some(_))) => {}
            // Neither in HEAD, nor in the index, nor on disk.
            Err(error) if error.code() == ErrorCode::NotFound => {}
            Ok(_) => dirty.push((*path).to_owned()),
            Err(error) if error.code() == ErrorCode::Ambiguous => dirty.push((*path).to_owned()),
            Err(error) => return Err(failed(tree, &format!("look at {path}"), &error)),
        }
    }
    if dirty.is_empty() { Ok(()) } else { Err(RepoError::Dirty { tree: place(tree), paths: dirty }) }
}

/// Brings file and index entry of just these paths from HEAD, which is still the old commit, to `new`. An edit since the
/// check is noticed by libgit2.
pub(super) fn follow(tree: &Repository, new: &CommitId, paths: &[&str]) -> Result<()> {
    let checkout = || bring(tree, &tree.find_commit(new.0)?, paths, CheckoutBuilder::safe);
    checkout().map_err(|error| match error.code() {
        ErrorCode::Conflict => {
            RepoError::Dirty { tree: place(tree), paths: paths.iter().map(|path| (*path).to_owned()).collect() }
        }
        _ => failed(tree, "update the work tree", &error),
    })
}

/// After a branch could not move: the paths as HEAD has them. They were clean, so nothing of the owner's is lost.
pub(super) fn go_back(tree: &Repository, paths: &[&str]) {
    let checkout = || bring(tree, &tree.head()?.peel_to_commit()?, paths, |o| o.force().remove_untracked(true));
    if let Err(error) = checkout() {
        tracing::warn!(tree = %place(tree), "the work tree could not be put back: {}", error.message());
    }
}

type Done<T> = std::result::Result<T, git2::Error>;

/// File and index entry of these paths as the commit has them.
fn bring(
    tree: &Repository,
    target: &Commit<'_>,
    paths: &[&str],
    how: impl for<'o> Fn(&'o mut CheckoutBuilder<'static>) -> &'o mut CheckoutBuilder<'static>,
) -> Done<()> {
    let (mut here, mut absent) = (Vec::new(), Vec::new());
    for path in paths {
        match left_out(tree, path)? {
            Some(entry) => absent.push((*path, entry)),
            None => here.push(*path),
        }
    }
    // No path at all would be every path.
    if !here.is_empty() {
        tree.checkout_tree(target.as_object(), Some(how(&mut options(&here))))?;
    }
    absent.iter().try_for_each(|(path, entry)| move_entry(tree, target, path, entry))
}

/// The index entry of a file that a sparse checkout keeps out of the work tree.
fn left_out(tree: &Repository, path: &str) -> Done<Option<IndexEntry>> {
    let entry = tree.index()?.get_path(Path::new(path), 0);
    let skipped = |entry: &IndexEntry| entry.flags_extended & IndexEntryExtendedFlag::SKIP_WORKTREE.bits() != 0;
    let absent = tree.workdir().is_none_or(|dir| dir.join(path).symlink_metadata().is_err());
    Ok(entry.filter(|entry| skipped(entry) && absent))
}

/// Of such a file the entry alone follows the commit, and stays one of a file that is left out.
fn move_entry(tree: &Repository, target: &Commit<'_>, path: &str, entry: &IndexEntry) -> Done<()> {
    let mut index = tree.index()?;
    match target.tree()?.get_path(Path::new(path)) {
        Ok(found) => {
            let mode = u32::try_from(found.filemode()).unwrap_or(entry.mode);
            index.add(&IndexEntry { id: found.id(), mode, file_size: 0, path: entry.path.clone(), ..*entry })?;
        }
        Err(error) if error.code() == ErrorCode::NotFound => index.remove_path(Path::new(path))?,
        Err(error) => return Err(error),
    }
    index.write()
}

fn options(paths: &[&str]) -> CheckoutBuilder<'static> {
    let mut options = CheckoutBuilder::new();
    options.disable_pathspec_match(true).update_index(true);
    for path in paths {
        options.path(*path);
    }
    options
}

fn place(tree: &Repository) -> String {
    tree.workdir().unwrap_or(tree.path()).display().to_string()
}

fn failed(tree: &Repository, what: &str, error: &git2::Error) -> RepoError {
    let place = place(tree);
    let at = shell_word(place.trim_end_matches('/'));
    // libgit2 reads an index only as a whole.
    let (form, cure) = if error.message().contains("'link'") {
        let cure = format!("git -C {at} config core.splitIndex false && git -C {at} update-index --no-split-index");
        ("has a split index", cure)
    } else if error.message().contains("'sdir'") {
        ("has a sparse index", format!("git -C {at} sparse-checkout reapply --no-sparse-index"))
    } else {
        let (what, detail) = (what.to_owned(), error.message().to_owned());
        return RepoError::Objects { what, place, detail, missing: Vec::new() };
    };
    let cure = format!("`{cure}` makes it one that is (nothing was changed)");
    RepoError::Form { place, what: form.to_owned(), cure }
}
