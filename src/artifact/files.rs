//! Errors of this machine's file system, as sentences. Knows nothing of archives or networks.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::model::ids::{Digest, Hasher};

/// The operating system said no: what was done, where, and why.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// No space or no quota is left.
    #[error("the disk of {} is full (while {doing}): free some space or point --state-dir at a larger disk", dir.display())]
    DiskFull { dir: PathBuf, doing: &'static str },
    #[error("{doing} {}: {source}", path.display())]
    Other { path: PathBuf, doing: &'static str, source: io::Error },
}

impl FileError {
    /// Sorts an error that came up at `path`, which lies in `dir`.
    pub fn new(doing: &'static str, path: &Path, dir: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                FileError::DiskFull { dir: dir.to_owned(), doing }
            }
            _ => FileError::Other { path: path.to_owned(), doing, source },
        }
    }
}

/// Attaches what was done at `path` to an error; its directory is the parent.
pub fn at<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FileError + 'a {
    move |source| FileError::new(doing, path, path.parent().unwrap_or(path), source)
}

/// The same for something that was done in a directory as a whole.
pub fn inside<'a>(doing: &'static str, dir: &'a Path) -> impl FnOnce(io::Error) -> FileError + 'a {
    move |source| FileError::new(doing, dir, dir, source)
}

/// The SHA-256 of a file.
pub fn digest(path: &Path) -> Result<Digest, FileError> {
    let mut hasher = Hasher::new();
    let read = std::fs::File::open(path).and_then(|mut file| io::copy(&mut file, &mut hasher));
    read.map(|_| hasher.finish()).map_err(at("reading", path))
}

/// The path without links, as far as it is there; the rest as it is written.
///
/// # Errors
/// It has `..` in it, a link leads to nothing, or it may not be looked at.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it has `..` in it"));
    }
    let mut rest = Vec::new();
    for ancestor in path.ancestors() {
        match ancestor.canonicalize() {
            Ok(mut found) => {
                found.extend(rest.iter().rev());
                return Ok(found);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // A link to nothing is there, and somebody may make what it leads to.
            Err(error) if ancestor.symlink_metadata().is_ok() => return Err(error),
            Err(_) => rest.extend(ancestor.file_name()),
        }
    }
    Ok(path.to_owned())
}

/// Makes what was renamed in `dir` survive a power cut.
pub fn sync_dir(dir: &Path) -> Result<(), FileError> {
    std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(at("syncing", dir))
}
