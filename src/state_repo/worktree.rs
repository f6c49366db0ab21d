//! Work trees that have the state branch checked out: an edited file moves along when the branch does, so that the
//! next `git status` of its owner is as clean as before. Other files are never touched, and nothing is read from here.

use std::path::Path;

use git2::build::CheckoutBuilder;
use git2::{ErrorCode, Repository, Status};

use super::CommitId;
use super::error::{RepoError, Result};

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
    let checkout = || -> std::result::Result<(), git2::Error> {
        let target = tree.find_commit(new.0)?.into_object();
        tree.checkout_tree(&target, Some(options(paths).safe()))
    };
    checkout().map_err(|error| match error.code() {
        ErrorCode::Conflict => {
            RepoError::Dirty { tree: place(tree), paths: paths.iter().map(|path| (*path).to_owned()).collect() }
        }
        _ => failed(tree, "update the work tree", &error),
    })
}

/// After a branch could not move: the paths as HEAD has them. They were clean, so nothing of the owner's is lost.
pub(super) fn go_back(tree: &Repository, paths: &[&str]) {
    let checkout = || -> std::result::Result<(), git2::Error> {
        let target = tree.head()?.peel_to_commit()?.into_object();
        tree.checkout_tree(&target, Some(options(paths).force().remove_untracked(true)))
    };
    if let Err(error) = checkout() {
        tracing::warn!(tree = %place(tree), "the work tree could not be put back: {}", error.message());
    }
}

fn options<'a>(paths: &[&str]) -> CheckoutBuilder<'a> {
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
    RepoError::Objects { what: what.to_owned(), place: place(tree), detail: error.message().to_owned() }
}
