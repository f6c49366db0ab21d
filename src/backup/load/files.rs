//! An archive of files: looked through, or unpacked beneath a directory. Whatever an archive says, nothing is written outside of
//! that directory: each part of a path is opened below the one before it, and through no link.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use super::{Spoilt, Stored};
use crate::backup::{Wanted, at, unwanted};
use crate::model::shown::{clean, counted};

/// What is in an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unpacked {
    pub entries: u64,
    pub bytes: u64,
    /// Links that lead out of the archive, and were not made.
    pub left_out: Vec<String>,
}

impl Unpacked {
    /// What was not made, in a sentence; `None`: everything was.
    pub fn skipped(&self) -> Option<String> {
        let some: Vec<_> = self.left_out.iter().take(NAMED).cloned().collect();
        let more = self.left_out.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let made = if self.left_out.len() == 1 { "was" } else { "were" };
        (!some.is_empty()).then(|| {
            let links = counted(self.left_out.len() as u64, "link", "links");
            clean(&format!("{links} out of the archive {made} not made: {}{more}", some.join(", "))).into_owned()
        })
    }
}

/// So many links that were not made are named.
const NAMED: usize = 10;

/// Reads every entry of it, and writes nothing.
///
/// # Errors
/// It is not what was written, it is no archive, or an entry has a path that leads out of it.
pub fn look(stored: &Stored<'_>, wanted: &dyn Wanted) -> Result<Unpacked, Spoilt> {
    walk(stored, wanted, &mut |_, _| Ok(true))
}

/// Unpacks it beneath a directory, which is there and empty. Owners are those of whoever unpacks.
///
/// # Errors
/// Those of [`look`]; the directory cannot be written to.
pub fn unpack(stored: &Stored<'_>, into: &Path, wanted: &dyn Wanted) -> Result<Unpacked, Spoilt> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let base = rustix::fs::openat(CWD, into, flags, Mode::empty()).map_err(at("open", into))?;
    walk(stored, wanted, &mut |path, entry| write(&base, path, entry))
}

/// What is done with an entry. `false`: it is left out.
type Deed<'a> = dyn FnMut(&Path, &mut tar::Entry<'_, &mut super::Reading<'_>>) -> Result<bool, Spoilt> + 'a;

fn walk(stored: &Stored<'_>, wanted: &dyn Wanted, deed: &mut Deed<'_>) -> Result<Unpacked, Spoilt> {
    let mut reading = stored.open()?;
    let mut unpacked = Unpacked::default();
    let mut broke = None;
    let mut archive = tar::Archive::new(&mut reading);
    let entries = archive.entries().map_err(|error| Spoilt::fail(format!("{}: {error}", stored.part.file)))?;
    for entry in entries {
        if !wanted.is_wanted() {
            return Err(Spoilt::open(unwanted().to_string()));
        }
        let mut entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                broke = Some(error);
                break;
            }
        };
        let path = match entry.path() {
            Ok(path) => path.into_owned(),
            Err(error) => {
                return Err(Spoilt::fail(format!("{} has an entry without a path: {error}", stored.part.file)));
            }
        };
        let path = inside(&path).ok_or_else(|| {
            let shown = path.display().to_string();
            Spoilt::fail(format!("{} has an entry that leads out of it: {}", stored.part.file, shown.escape_debug()))
        })?;
        if !deed(&path, &mut entry)? {
            unpacked.left_out.push(path.display().to_string());
        }
        unpacked.entries += 1;
        unpacked.bytes = unpacked.bytes.saturating_add(entry.size());
    }
    if let Some(error) = broke {
        return Err(reading.broken(&error, wanted));
    }
    reading.end(wanted)?;
    Ok(unpacked)
}

/// A relative path of plain parts; `None`: it is none.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => inside.push(part),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(inside)
}

/// Whether a link that lies there leads to somewhere in the archive.
fn stays(link: &Path, to: &Path) -> bool {
    let mut depth = i64::try_from(link.components().count()).unwrap_or(0) - 1;
    to.components().all(|part| {
        depth += match part {
            Component::Normal(_) => 1,
            Component::CurDir => 0,
            Component::ParentDir => -1,
            _ => i64::MIN / 2,
        };
        depth >= 0
    })
}

fn write(base: &OwnedFd, path: &Path, entry: &mut tar::Entry<'_, &mut super::Reading<'_>>) -> Result<bool, Spoilt> {
    let failed = |error: io::Error| Spoilt::from(at("write", path)(error));
    let mode = Mode::from_raw_mode(entry.header().mode().unwrap_or(0o644) & 0o777);
    let (Some(name), parent) = (path.file_name(), path.parent().unwrap_or(Path::new(""))) else { return Ok(true) };
    let dir = descend(base, parent).map_err(|error| failed(error.into()))?;
    let kind = entry.header().entry_type();
    if kind.is_dir() {
        let sub = descend(&dir, Path::new(name)).map_err(|error| failed(error.into()))?;
        // Its owner must be able to fill it.
        rustix::fs::fchmod(&sub, mode | Mode::RWXU).map_err(|error| failed(error.into()))?;
    } else if kind.is_file() {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            rustix::fs::openat(&dir, name, flags, Mode::RUSR | Mode::WUSR).map_err(|error| failed(error.into()))?;
        let mut file = File::from(file);
        io::copy(entry, &mut file).map_err(failed)?;
        rustix::fs::fchmod(&file, mode).map_err(|error| failed(error.into()))?;
        if let Ok(seconds) = entry.header().mtime() {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            file.set_modified(time).map_err(failed)?;
        }
    } else if kind.is_symlink() {
        let Ok(Some(to)) = entry.link_name() else { return Ok(false) };
        if !stays(path, &to) {
            return Ok(false);
        }
        rustix::fs::symlinkat(&*to, &dir, name).map_err(|error| failed(error.into()))?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// A directory below another one, part by part and through no link; what is missing is made.
fn descend(base: &impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut dir = rustix::fs::openat(base, ".", flags, Mode::empty())?;
    for part in path.components().map(|part| part.as_os_str()).filter(|part| *part != OsStr::new("")) {
        match rustix::fs::mkdirat(&dir, part, Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        dir = rustix::fs::openat(&dir, part, flags, Mode::empty())?;
    }
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_were_not_made_are_told() {
        let of =
            |count: usize| Unpacked { left_out: vec!["a\u{1b}b".to_owned(); count], ..Unpacked::default() }.skipped();
        assert_eq!(of(0), None);
        assert_eq!(of(1).as_deref(), Some("1 link out of the archive was not made: a b"));
        assert!(of(12).is_some_and(|told| told.starts_with("12 links") && told.ends_with(" and 2 more")));
    }

    #[test]
    fn no_path_and_no_link_leads_out() {
        let inside = |path: &str| inside(Path::new(path)).map(|path| path.display().to_string());
        assert_eq!(inside("./shared/a b.txt"), Some("shared/a b.txt".to_owned()));
        for path in ["/etc/passwd", "../x", "shared/../../x"] {
            assert_eq!(inside(path), None, "{path}");
        }
        let stays = |link: &str, to: &str| stays(Path::new(link), Path::new(to));
        assert!(stays("shared/uploads/link", "../.env") && stays("shared/a", "b/c"));
        assert!(!stays("shared/a", "../../etc") && !stays("a", "/etc/passwd") && !stays("a", "../x"));
    }
}
