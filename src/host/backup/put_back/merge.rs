//! Files that were unpacked, into the place that they came from: those that are not the same there, by their contents. What is
//! there and was not saved stays. Of what belongs to the running application, `.env` and `storage/`, only what is missing is
//! put back: nothing of it is overwritten.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::host::wire::HostError;
use crate::model::shown::{clean, counted};

/// So many paths that were left as they are get named.
const NAMED: usize = 5;

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Merged {
    pub changed: u64,
    pub same: u64,
    /// What the running application has, and was another one when it was saved: relative paths, which stayed as they are.
    pub kept: Vec<PathBuf>,
    /// Data of databases, which are restored as databases, and what is of another kind there: they stayed as they are.
    pub spared: u64,
}

impl Merged {
    /// What people read of it.
    pub fn told(&self, into: &Path) -> String {
        let Merged { changed, same, kept, spared } = self;
        let were = if *same == 1 { "was" } else { "were" };
        let mut told = format!(
            "{}: {} put back, {same} {were} the same",
            clean(&into.display().to_string()),
            counted(*changed, "file", "files")
        );
        if !kept.is_empty() {
            let mut names: Vec<_> = kept.iter().take(NAMED).map(|path| path.display().to_string()).collect();
            if kept.len() > NAMED {
                names.push(format!("{} more", kept.len() - NAMED));
            }
            told.push_str(&format!(
                ", {} of the running application left as they are ({}): `--to-scratch` gives the whole",
                counted(kept.len() as u64, "file", "files"),
                clean(&names.join(", "))
            ));
        }
        if *spared > 0 {
            let entries = counted(*spared, "entry", "entries");
            told.push_str(&format!(", {entries} not touched (databases, and what is of another kind there)"));
        }
        told
    }
}

/// What stays as it is.
pub struct Keep<'a> {
    /// Where it is put back, relative to what is shared: what lies in `storage/` is known by that.
    pub base: &'a Path,
    /// Paths relative to the place, which are no files here: data of databases.
    pub spare: &'a [String],
}

/// Merges a directory, or a single file. The place, and what leads to it, is made where it is missing.
///
/// # Errors
/// Something cannot be read, made or written; what was saved as a directory is none there.
pub fn merge(from: &Path, into: &Path, keep: &Keep<'_>) -> Result<Merged, HostError> {
    let mut merged = Merged::default();
    let meta = fs::symlink_metadata(from).map_err(at("find what was saved,", from))?;
    if !meta.is_dir() {
        make_parents(into).map_err(at("make the directory of", into))?;
        entry(from, into, Path::new(""), keep, &mut merged)?;
        return Ok(merged);
    }
    match fs::metadata(into) {
        Ok(there) if there.is_dir() => {}
        Ok(_) => {
            let why = format!("{} was saved as a directory, and is none now: move it away", into.display());
            return Err(HostError::Io(why));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_parents(into).and_then(|parent| make(from, into, &parent)).map_err(at("make", into))?;
        }
        Err(error) => return Err(at("look at", into)(error)),
    }
    directory(from, into, Path::new(""), keep, &mut merged)?;
    Ok(merged)
}

fn at(doing: &str, path: &Path) -> impl Fn(io::Error) -> HostError + use<> {
    let text = format!("cannot {doing} {}", path.display());
    move |error| HostError::Io(format!("{text}: {error}"))
}

/// Makes what leads to a path, each part of whoever owns the one that it is in. Gives the directory of the path.
fn make_parents(path: &Path) -> io::Result<PathBuf> {
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    if !parent.exists() {
        let above = make_parents(parent)?;
        fs::create_dir(parent)?;
        let owner = fs::metadata(above)?;
        let _ = std::os::unix::fs::chown(parent, Some(owner.uid()), Some(owner.gid()));
    }
    Ok(parent.to_owned())
}

fn directory(from: &Path, into: &Path, rel: &Path, keep: &Keep<'_>, merged: &mut Merged) -> Result<(), HostError> {
    let entries = fs::read_dir(from).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = entries.map_err(at("read", from))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for one in entries {
        let name = one.file_name();
        entry(&one.path(), &into.join(&name), &rel.join(&name), keep, merged)?;
    }
    Ok(())
}

/// One entry. `rel`: where it lies below the place that is put back; empty: it is the place.
fn entry(source: &Path, target: &Path, rel: &Path, keep: &Keep<'_>, merged: &mut Merged) -> Result<(), HostError> {
    if keep.is_database(rel) {
        merged.spared += 1;
        return Ok(());
    }
    let parent = target.parent().unwrap_or(target);
    let is_dir = fs::symlink_metadata(source).map_err(at("look at", source))?.is_dir();
    let there = fs::symlink_metadata(target).ok();
    match &there {
        // A link to a directory, or a file where a directory was saved, or the other way round: it is the application's now.
        Some(meta) if meta.is_dir() != is_dir => merged.spared += 1,
        Some(_) if is_dir => directory(source, target, rel, keep, merged)?,
        None if is_dir => {
            make(source, target, parent).map_err(at("make", target))?;
            directory(source, target, rel, keep, merged)?;
        }
        _ if is_same(source, target).map_err(at("compare", target))? => merged.same += 1,
        Some(_) if keep.is_of_application(rel) => merged.kept.push(keep.base.join(rel)),
        there => {
            replace(source, target, there.as_ref(), parent).map_err(at("write", target))?;
            merged.changed += 1;
        }
    }
    Ok(())
}

impl Keep<'_> {
    /// Whether the running application has it as its own: it is not overwritten.
    fn is_of_application(&self, rel: &Path) -> bool {
        let whole = self.base.join(rel);
        let mut parts = whole.components().map(|part| part.as_os_str().to_string_lossy());
        let (first, last) = (parts.next(), parts.next_back());
        let name = last.or_else(|| first.clone()).unwrap_or_default();
        name == ".env" || name.starts_with(".env.") || first.as_deref() == Some("storage")
    }

    fn is_database(&self, rel: &Path) -> bool {
        let name = rel.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is =
            |path: &String| Path::new(path) == rel || (rel.parent() == Path::new(path).parent() && beside(path, &name));
        self.spare.iter().any(is)
    }
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
        let spare = ["app.db".to_owned()];
        let keep = Keep { base: Path::new(""), spare: &spare };
        let merged = merge(&from, &into, &keep).unwrap();
        let kept = vec![PathBuf::from(".env")];
        assert_eq!(merged, Merged { changed: 4, same: 1, kept: kept.clone(), spared: 1 });
        let told = merged.told(Path::new("/srv/shared"));
        assert_eq!(
            told,
            "/srv/shared: 4 files put back, 1 was the same, 1 file of the running application left as they are (.env): \
             `--to-scratch` gives the whole, 1 entry not touched (databases, and what is of another kind there)"
        );
        let read = |name: &str| fs::read_to_string(into.join(name)).unwrap_or_default();
        // What is missing is put back, also of `storage/`; what is there of it is not overwritten.
        assert_eq!(
            ["a", "b", "more", ".env", "storage/x", "app.db", "sub/c"].map(read),
            ["old", "same", "new", "new", "old", "new", "old"]
        );
        assert_eq!(fs::read_link(into.join("link")).unwrap(), Path::new("a"));
        write(&into, "storage/x", "newer");
        let again = merge(&from, &into, &keep).unwrap();
        let kept = vec![PathBuf::from(".env"), PathBuf::from("storage/x")];
        assert_eq!(again, Merged { changed: 0, same: 4, kept, spared: 1 });
        assert_eq!(fs::read_to_string(into.join("storage/x")).unwrap(), "newer");
    }

    #[test]
    fn a_place_that_is_missing_is_made_and_a_single_file_is_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir(&from).unwrap();
        fs::write(from.join("a"), "old").unwrap();
        let keep = |base| Keep { base, spare: &[] };
        let into = dir.path().join("shared/sub/into");
        let merged = merge(&from, &into, &keep(Path::new("sub/into"))).unwrap();
        assert_eq!((merged.changed, fs::read_to_string(into.join("a")).unwrap().as_str()), (1, "old"));
        // One file was saved, not a directory.
        let into = dir.path().join("more/deep/a");
        assert_eq!(merge(&from.join("a"), &into, &keep(Path::new("deep/a"))).unwrap().changed, 1);
        assert_eq!(fs::read_to_string(&into).unwrap(), "old");
        fs::write(&into, "new").unwrap();
        let merged = merge(&from.join("a"), &into, &keep(Path::new("storage/a"))).unwrap();
        assert_eq!((merged.kept.len(), fs::read_to_string(&into).unwrap().as_str()), (1, "new"));
        let error = merge(&from, &into, &keep(Path::new("x"))).unwrap_err().to_string();
        assert!(error.contains("was saved as a directory"), "{error}");
    }
}
