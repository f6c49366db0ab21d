//! What a directory that another tool has made says of the commit that it was made from.

use std::fs;
use std::path::Path;

use crate::host::disk::file;
use crate::model::ids::Sha;

/// The commit of `.git/HEAD`, or of the file `REVISION`, as Capistrano and Deployer write it.
pub fn of(dir: &Path) -> Option<Sha> {
    let is_checkout = fs::symlink_metadata(dir.join(".git")).is_ok();
    let by_git = || git2::Repository::open(dir).ok()?.head().ok()?.peel_to_commit().ok()?.id().to_string().parse().ok();
    let noted = || {
        let bytes = file::read(&dir.join("REVISION"), file::CONFIGURATION).ok()?;
        String::from_utf8(bytes).ok()?.trim().parse().ok()
    };
    is_checkout.then(by_git).flatten().or_else(noted)
}
