//! Makes the layout of a root where it is missing: directories with their owner and mode, and the environment file that
//! was sent along. What exists is never changed silently: what differs is told, and changed only where that was asked for.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Uid};

use crate::host::disk::beneath::{Dir, at, check};
use crate::host::disk::people;
use crate::host::disk::root::Root;
use crate::host::wire::provision::{Provision, Provisioned, What};
use crate::host::wire::{HostError, Secret};

const DIRECTORY: u32 = 0o755;
/// An environment file holds secrets: the group of the application may read it, nobody else.
const FILE: u32 = 0o640;

struct Work {
    dry: bool,
    adjust: bool,
    uid: Option<u32>,
    gid: Option<u32>,
    done: Vec<Provisioned>,
}

/// Makes it, the outer directories first.
///
/// # Errors
/// An owner that this host does not know, or the operating system said no; what was made before stays.
pub fn provision(root: &Root, what: &Provision) -> Result<Vec<Provisioned>, HostError> {
    let unknown = |kind: &str, name: &str| {
        HostError::Precondition(format!("this host knows no {kind} `{name}`: make it first, or name another one"))
    };
    let user =
        what.owner.as_deref().map(|name| people::user_id(name).ok_or_else(|| unknown("user", name))).transpose()?;
    let group =
        what.group.as_deref().map(|name| people::group_id(name).ok_or_else(|| unknown("group", name))).transpose()?;
    let (uid, own) = user.unzip();
    let mut work = Work { dry: what.dry_run, adjust: what.adjust, uid, gid: group.or(own), done: Vec::new() };
    for shared in &what.shared {
        check(&shared.path)?;
        check(&shared.from)?;
    }
    for path in [root.path().to_owned(), root.releases(), root.shared()] {
        work.directory(&path)?;
    }
    let sent = what.file.as_ref().map(|(from, _)| from.as_str());
    for shared in &what.shared {
        let last = if shared.directory {
            Some(shared.from.as_str())
        } else {
            shared.from.rsplit_once('/').map(|(dir, _)| dir)
        };
        // Every directory on the way is made like the last one.
        let mut path = root.shared();
        for part in last.into_iter().flat_map(|path| path.split('/')) {
            path.push(part);
            if !work.done.iter().any(|done| done.path == path.display().to_string()) {
                work.directory(&path)?;
            }
        }
        let path = root.shared().join(&shared.from);
        if !shared.directory && sent != Some(shared.from.as_str()) {
            match fs::metadata(&path) {
                Ok(meta) if meta.is_file() => work.note(&path, What::Kept(described(&meta))),
                Ok(_) => work.note(&path, What::InTheWay("no regular file".to_owned())),
                Err(_) => work.note(&path, What::Missing),
            }
        }
    }
    if let Some((from, contents)) = &what.file {
        check(from)?;
        work.file(&root.shared(), from, contents)?;
    }
    Ok(work.done)
}

impl Work {
    fn note(&mut self, path: &Path, what: What) {
        self.done.push(Provisioned { path: path.display().to_string(), what });
    }

    /// Owner and mode in words, those that are not asked for as they are or would be.
    fn wanted(&self, mode: u32, is: Option<&fs::Metadata>) -> String {
        let uid = self.uid.or(is.map(MetadataExt::uid)).unwrap_or_else(|| rustix::process::geteuid().as_raw());
        let gid = self.gid.or(is.map(MetadataExt::gid)).unwrap_or_else(|| rustix::process::getegid().as_raw());
        format!("{}:{} {mode:o}", people::user(uid), people::group(gid))
    }

    fn directory(&mut self, path: &Path) -> Result<(), HostError> {
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => self.there(path, &meta, DIRECTORY),
            Ok(_) => {
                self.note(path, What::InTheWay("no directory".to_owned()));
                Err(HostError::Precondition(format!("{} is there and no directory: move it away", path.display())))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.note(path, What::Made(self.wanted(DIRECTORY, None)));
                if self.dry {
                    return Ok(());
                }
                let missing: Vec<PathBuf> =
                    path.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
                for path in missing.iter().rev() {
                    fs::create_dir(path).map_err(at("make the directory", path))?;
                    fs::set_permissions(path, fs::Permissions::from_mode(DIRECTORY))
                        .map_err(at("set the mode of", path))?;
                }
                // Those above ROOT are not the application's.
                self.own(path)
            }
            Err(error) => Err(at("look at", path)(error)),
        }
    }

    fn there(&mut self, path: &Path, meta: &fs::Metadata, mode: u32) -> Result<(), HostError> {
        let (is, wanted) = (described(meta), self.wanted(mode, Some(meta)));
        // A mode that gives more to the group is the administrator's choice where no mode was asked for.
        if is == wanted {
            self.note(path, What::Kept(is));
            return Ok(());
        }
        if !self.adjust {
            self.note(path, What::Differs(is, wanted));
            return Ok(());
        }
        self.note(path, What::Changed(is, wanted));
        if self.dry {
            return Ok(());
        }
        self.own(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(at("set the mode of", path))
    }

    fn own(&self, path: &Path) -> Result<(), HostError> {
        if self.uid.is_none() && self.gid.is_none() {
            return Ok(());
        }
        rustix::fs::chown(path, self.uid.map(Uid::from_raw), self.gid.map(Gid::from_raw)).map_err(|error| {
            HostError::Io(format!(
                "cannot give {} to {}: {error}; only root may: log in as root, or run this once with the owner who logs in",
                path.display(),
                self.wanted(DIRECTORY, None)
            ))
        })
    }

    fn file(&mut self, shared: &Path, from: &str, contents: &Secret) -> Result<(), HostError> {
        let path = shared.join(from);
        if let Ok(meta) = fs::symlink_metadata(&path) {
            let what = if path.is_file() {
                What::Kept(described(&meta))
            } else {
                What::InTheWay("no regular file".to_owned())
            };
            self.note(&path, what);
            return Ok(());
        }
        self.note(&path, What::Made(self.wanted(FILE, None)));
        if self.dry {
            return Ok(());
        }
        let (dir, name) = Dir::open(shared)?.parent(from)?;
        let part = format!(".{name}.tmp-{}", std::process::id());
        let written = (|| {
            let mut file = dir.create(&part, FILE)?;
            let failed = at("write", &path);
            file.write_all(contents.expose().as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
            self.own(&dir.path().join(&part))?;
            dir.move_to(&part, &dir, name)?;
            dir.sync()
        })();
        written.inspect_err(|_| {
            let _ = dir.unlink(&part);
        })
    }
}

fn described(meta: &fs::Metadata) -> String {
    format!("{}:{} {:o}", people::user(meta.uid()), people::group(meta.gid()), meta.mode() & 0o7777)
}
