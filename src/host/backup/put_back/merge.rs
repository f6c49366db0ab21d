//! Files that were unpacked, into the directory that they came from: those that are not the same there, by their contents. What
//! is there and was not saved stays, and so do `.env` and `storage/`, which belong to the running application.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::host::wire::HostError;

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Merged {
    pub changed: u64,
    pub same: u64,
    pub spared: u64,
}

/// Merges. `spare`: relative paths that stay as they are, beside those that always do.
pub fn merge(from: &Path, into: &Path, spare: &[String]) -> Result<Merged, HostError> {
    let mut merged = Merged::default();
    directory(from, into, Path::new(""), spare, &mut merged)?;
    Ok(merged)
}

fn directory(from: &Path, into: &Path, rel: &Path, spare: &[String], merged: &mut Merged) -> Result<(), HostError> {
    let at = |doing: &str, path: &Path| {
        let text = format!("cannot {doing} {}", path.display());
        move |error: io::Error| HostError::Io(format!("{text}: {error}"))
    };
    let mut entries = fs::read_dir(from).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(at("read", from))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (source, target, rel) = (entry.path(), into.join(entry.file_name()), rel.join(entry.file_name()));
        if is_spared(&rel, spare) {
            merged.spared += 1;
            continue;
        }
        let kind = entry.file_type().map_err(at("look at", &source))?;
        let there = fs::symlink_metadata(&target).ok();
        if kind.is_dir() {
            match &there {
                Some(meta) if meta.is_dir() => {}
                // A link to a directory, or a file of this name: it is the application's now.
                Some(_) => {
                    merged.spared += 1;
                    continue;
                }
                None => make(&source, &target, into).map_err(at("make", &target))?,
            }
            directory(&source, &target, &rel, spare, merged)?;
        } else if there.as_ref().is_some_and(|meta| meta.is_dir()) {
            merged.spared += 1;
        } else if is_same(&source, &target).map_err(at("compare", &target))? {
            merged.same += 1;
        } else {
            replace(&source, &target, there.as_ref(), into).map_err(at("write", &target))?;
            merged.changed += 1;
        }
    }
    Ok(())
}

fn is_spared(rel: &Path, spare: &[String]) -> bool {
    let name = rel.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let first = rel.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned());
    name == ".env"
        || name.starts_with(".env.")
        || first.as_deref() == Some("storage")
        || spare
            .iter()
            .any(|path| Path::new(path) == rel || (rel.parent() == Path::new(path).parent() && beside(path, &name)))
}

/// The files that SQLite has beside a database.
fn beside(path: &str, name: &str) -> bool {
    let own = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    ["-wal", "-shm", "-journal"].iter().any(|ending| name == format!("{own}{ending}"))
}

/// A directory like the one that was unpacked, of whoever owns the one that it is in.
fn make(source: &Path, target: &Path, parent: &Path) -> io::Result<()> {
    let mode = fs::metadata(source)?.mode() & 0o777;
    fs::create_dir(target)?;
    fs::set_permissions(target, fs::Permissions::from_mode(mode))?;
    let owner = fs::metadata(parent)?;
    let _ = std::os::unix::fs::chown(target, Some(owner.uid()), Some(owner.gid()));
    Ok(())
}

fn is_same(source: &Path, target: &Path) -> io::Result<bool> {
    let (old, new) = match (fs::symlink_metadata(target), fs::symlink_metadata(source)?) {
        (Ok(old), new) => (old, new),
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        (Err(error), _) => return Err(error),
    };
    if new.is_symlink() || old.is_symlink() {
        return Ok(new.is_symlink() && old.is_symlink() && fs::read_link(source)? == fs::read_link(target)?);
    }
    if !old.is_file() || old.len() != new.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (File::open(source)?, File::open(target)?);
    let (mut one, mut two) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let count = a.read(&mut one)?;
        if count == 0 {
            return Ok(true);
        }
        match b.read_exact(&mut two[..count]) {
            Ok(()) if one[..count] == two[..count] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// Under another name first: nobody reads half of it.
fn replace(source: &Path, target: &Path, old: Option<&fs::Metadata>, parent: &Path) -> io::Result<()> {
    let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let fresh = target.with_file_name(format!(".{name}.soll-restore"));
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let meta = fs::symlink_metadata(source)?;
    if meta.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(source)?, &fresh)?;
    } else {
        fs::copy(source, &fresh)?;
        let of_parent = fs::metadata(parent)?;
        let owner = old.filter(|old| old.is_file()).unwrap_or(&of_parent);
        fs::set_permissions(&fresh, fs::Permissions::from_mode(meta.mode() & 0o777))?;
        let _ = std::os::unix::fs::chown(&fresh, Some(owner.uid()), Some(owner.gid()));
        File::open(&fresh)?.sync_all()?;
    }
    fs::rename(&fresh, target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_put_back_and_what_belongs_to_the_application_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (from, into) = (dir.path().join("from"), dir.path().join("into"));
        let write = |base: &Path, name: &str, text: &str| {
            let path = base.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (name, text) in
            [("a", "old"), ("b", "same"), ("sub/c", "old"), (".env", "old"), ("storage/x", "old"), ("app.db", "old")]
        {
            write(&from, name, text);
        }
        for (name, text) in
            [("a", "new"), ("b", "same"), ("more", "new"), (".env", "new"), ("app.db", "new"), ("app.db-wal", "w")]
        {
            write(&into, name, text);
        }
        std::os::unix::fs::symlink("a", from.join("link")).unwrap();
        let merged = merge(&from, &into, &["app.db".to_owned()]).unwrap();
        assert_eq!(merged, Merged { changed: 3, same: 1, spared: 3 });
        let read = |name: &str| fs::read_to_string(into.join(name)).unwrap_or_default();
        assert_eq!(
            ["a", "b", "more", ".env", "storage/x", "app.db", "sub/c"].map(read),
            ["old", "same", "new", "new", "", "new", "old"]
        );
        assert_eq!(fs::read_link(into.join("link")).unwrap(), Path::new("a"));
        assert_eq!(merge(&from, &into, &["app.db".to_owned()]).unwrap(), Merged { changed: 0, same: 4, spared: 3 });
    }
}
