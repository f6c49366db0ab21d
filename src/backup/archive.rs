//! Files as a tar archive that `tar` unpacks: regular files, directories and links, with owners, modes and times. What cannot
//! be in an archive is named, and so is what changed while it was read.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::backup::{BackupError, Wanted, at, unwanted};

/// What goes into an archive.
pub struct Files<'a> {
    /// The directory, or the file.
    pub path: &'a Path,
    /// What it is called in the archive: `shared`, or the absolute path without its first `/`.
    pub name: &'a Path,
    /// Globs relative to the directory; `*` stays inside one directory.
    pub exclude: &'a [String],
    /// Absolute paths that are left out whatever the globs say: backups do not go into backups.
    pub leave_out: &'a [PathBuf],
}

/// What is in one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archived {
    pub entries: u64,
    /// Sockets, devices and pipes: relative paths.
    pub special: Vec<String>,
    pub warnings: Vec<String>,
}

/// So many of a kind are named.
const NAMED: usize = 20;

/// Writes the archive.
///
/// # Errors
/// The directory is not there, or cannot be read; whoever takes the archive cannot.
pub fn archive(files: &Files<'_>, to: &mut dyn Write, wanted: &dyn Wanted) -> Result<Archived, BackupError> {
    let mut globs = GlobSetBuilder::new();
    for exclude in files.exclude {
        let glob = GlobBuilder::new(exclude).literal_separator(true).build();
        globs.add(glob.map_err(|error| BackupError(format!("`{exclude}` is not a glob: {error}")))?);
    }
    let globs = globs.build().map_err(|error| BackupError(error.to_string()))?;
    let mut builder = tar::Builder::new(to);
    builder.follow_symlinks(false);
    let mut walk = Walk { files, globs, builder, archived: Archived::default(), changed: Vec::new(), wanted };
    let meta = fs::symlink_metadata(files.path).map_err(at("read", files.path))?;
    // The directory may be named by a link, as `current` is; those in it are archived as links.
    let meta = if meta.is_symlink() { fs::metadata(files.path).map_err(at("read", files.path))? } else { meta };
    walk.entry(files.path, Path::new(""), &meta)?;
    let Walk { mut builder, mut archived, mut changed, .. } = walk;
    builder.finish().map_err(|error| lost(files.path, &error))?;
    if !changed.is_empty() {
        let more = changed.len().saturating_sub(NAMED);
        changed.truncate(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        archived.warnings.push(format!("changed while they were read: {}{more}", changed.join(", ")));
    }
    Ok(archived)
}

fn lost(path: &Path, error: &io::Error) -> BackupError {
    BackupError(format!("the archive of {} is lost: {error}", path.display()))
}

struct Walk<'a, 'b> {
    files: &'a Files<'a>,
    globs: GlobSet,
    builder: tar::Builder<&'b mut dyn Write>,
    archived: Archived,
    changed: Vec<String>,
    wanted: &'a dyn Wanted,
}

impl Walk<'_, '_> {
    /// `rel`: below the directory; empty: the directory itself.
    fn entry(&mut self, path: &Path, rel: &Path, meta: &Metadata) -> Result<(), BackupError> {
        let kind = meta.file_type();
        let name = self.files.name.join(rel);
        if !self.wanted.is_wanted() {
            return Err(lost(self.files.path, &unwanted()));
        }
        let mut header = tar::Header::new_gnu();
        header.set_metadata_in_mode(meta, tar::HeaderMode::Complete);
        let lost = |error: io::Error| lost(path, &error);
        if kind.is_dir() {
            header.set_size(0);
            self.builder.append_data(&mut header, &name, io::empty()).map_err(lost)?;
            self.archived.entries += 1;
            return self.below(path, rel);
        }
        if kind.is_symlink() {
            let target = fs::read_link(path).map_err(at("read the link", path))?;
            header.set_size(0);
            header.set_entry_type(tar::EntryType::Symlink);
            self.builder.append_link(&mut header, &name, &target).map_err(lost)?;
        } else if kind.is_file() {
            let file = match File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.vanished(rel);
                    return Ok(());
                }
                Err(error) => return Err(at("read", path)(error)),
            };
            // As it is now, and not as it was listed.
            let size = file.metadata().map_err(at("read", path))?.len();
            header.set_size(size);
            header.set_entry_type(tar::EntryType::Regular);
            let mut exact = Exact { file, left: size, short: false };
            self.builder.append_data(&mut header, &name, &mut exact).map_err(lost)?;
            if exact.short || exact.file.metadata().is_ok_and(|now| now.len() != size) {
                self.changed.push(rel.display().to_string());
            }
        } else {
            let what = if kind.is_socket() {
                "socket"
            } else if kind.is_fifo() {
                "pipe"
            } else {
                "device"
            };
            self.archived.special.push(format!("{} ({what})", rel.display()));
            return Ok(());
        }
        self.archived.entries += 1;
        Ok(())
    }

    fn below(&mut self, path: &Path, rel: &Path) -> Result<(), BackupError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(at("read", path))? {
            names.push(entry.map_err(at("read", path))?.file_name());
        }
        names.sort();
        for name in names {
            let (path, rel) = (path.join(&name), rel.join(&name));
            if self.globs.is_match(&rel) || self.files.leave_out.contains(&path) {
                continue;
            }
            match fs::symlink_metadata(&path) {
                Ok(meta) => self.entry(&path, &rel, &meta)?,
                Err(error) if error.kind() == ErrorKind::NotFound => self.vanished(&rel),
                Err(error) => return Err(at("read", &path)(error)),
            }
        }
        Ok(())
    }

    fn vanished(&mut self, rel: &Path) {
        self.changed.push(rel.display().to_string());
    }
}

/// A file as long as the archive says that it is, whatever becomes of it meanwhile.
struct Exact {
    file: File,
    left: u64,
    short: bool,
}

impl Read for Exact {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        if most == 0 {
            return Ok(0);
        }
        let read = if self.short { 0 } else { self.file.read(&mut into[..most])? };
        let read = if read == 0 {
            self.short = true;
            into[..most].fill(0);
            most
        } else {
            read
        };
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    struct Always;
    impl Wanted for Always {
        fn is_wanted(&self) -> bool {
            true
        }
    }

    #[test]
    fn excluded_and_special_files_are_not_in_it_and_links_are_links() {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("shared");
        for sub in ["storage/logs", "uploads", "backups"] {
            fs::create_dir_all(shared.join(sub)).unwrap();
        }
        for file in ["storage/logs/app.log", "uploads/a b.jpg", "backups/old.tar", ".env"] {
            fs::write(shared.join(file), file).unwrap();
        }
        std::os::unix::fs::symlink("../.env", shared.join("uploads/link")).unwrap();
        let _socket = UnixListener::bind(shared.join("app.sock")).unwrap();
        let (exclude, leave_out) = (["storage/logs/**".to_owned()], [shared.join("backups")]);
        let files = Files { path: &shared, name: Path::new("shared"), exclude: &exclude, leave_out: &leave_out };
        let mut bytes = Vec::new();
        let archived = archive(&files, &mut bytes, &Always).unwrap();
        assert_eq!(archived.special, ["app.sock (socket)"]);
        let mut archive = tar::Archive::new(bytes.as_slice());
        let names: Vec<String> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        let wanted = ["shared", "shared/.env", "shared/storage", "shared/storage/logs", "shared/uploads"];
        let wanted: Vec<String> = wanted.into_iter().map(str::to_owned).collect();
        let plain: Vec<String> = names.iter().map(|name| name.trim_end_matches('/').to_owned()).collect();
        assert_eq!(plain[..5], wanted[..]);
        assert_eq!(plain[5..], ["shared/uploads/a b.jpg", "shared/uploads/link"]);
        assert_eq!(archived.entries, 7);
    }

    #[test]
    fn a_file_that_shrinks_leaves_the_archive_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, [7; 10]).unwrap();
        let mut exact = Exact { file: File::open(&path).unwrap(), left: 20, short: false };
        let mut all = Vec::new();
        exact.read_to_end(&mut all).unwrap();
        assert_eq!((all.len(), all[9], all[10], exact.short), (20, 7, 0, true));
    }
}
