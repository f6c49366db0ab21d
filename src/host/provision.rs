//! Makes the layout of a root where it is missing: directories with their owner and mode, and the environment file that
//! was sent along. What exists is never changed silently: what differs is told, and changed only where that was asked for.
//!
//! Only what the application writes is given away, `shared/` and what is in it: who owns ROOT or `releases/` decides what
//! the agent runs. What is given away is in the hands of another user from then on, so that nothing below it is made or
//! changed by a path, nor through a link.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::host::disk::beneath::{Dir, at, check, is_dir, is_link};
use crate::host::disk::machine as this_machine;
use crate::host::disk::people;
use crate::host::disk::root::Root;
use crate::host::disk::trust;
use crate::host::wire::provision::{Provision, Provisioned, What};
use crate::host::wire::{HostError, Secret};
use crate::model::machine;
use crate::model::record::Refusal;

const DIRECTORY: u32 = 0o755;
/// An environment file holds secrets: the group of the application may read it, nobody else.
const FILE: u32 = 0o640;

/// Whose a directory is to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// The agent's, or root's: ROOT and `releases/`.
    Agent,
    /// The application's.
    Application,
}

/// What became of a directory.
enum Directory {
    /// It is there. `trusted`: a link in it was made by the agent's user or by root, as far as its owner says.
    There { dir: Dir, trusted: bool },
    /// It would be made.
    WouldBe,
    /// It lies behind a link that another user may have made: nothing is made and nothing is changed there.
    BehindLink,
}

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
/// This is another machine than the one that is meant, and nothing was made; an owner that this host does not know, or the
/// operating system said no; what was made before stays.
pub fn provision(root: &Root, what: &Provision) -> Result<Vec<Provisioned>, HostError> {
    // A record that cannot be read is told by whoever needs it: here a root is made.
    let pinned = root.record().ok().and_then(|record| record.machine);
    machine::judge(what.machine.as_ref(), pinned.as_ref(), this_machine::id()).map_err(Refusal::OtherMachine)?;
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
    if let Some((from, _)) = &what.file {
        check(from)?;
    }
    let ground = work.ground(root.path())?;
    work.within(&ground, &root.releases(), Whose::Agent)?;
    let home = work.within(&ground, &root.shared(), Whose::Application)?;
    let sent = what.file.as_ref().map(|(from, _)| from.as_str());
    for shared in &what.shared {
        let last = if shared.directory {
            Some(shared.from.as_str())
        } else {
            shared.from.rsplit_once('/').map(|(dir, _)| dir)
        };
        // Every directory on the way is made like the last one.
        let (mut path, mut inner) = (root.shared(), None);
        for part in last.into_iter().flat_map(|path| path.split('/')) {
            path.push(part);
            inner = Some(work.within(inner.as_ref().unwrap_or(&home), &path, Whose::Application)?);
        }
        let path = root.shared().join(&shared.from);
        if !shared.directory && sent != Some(shared.from.as_str()) {
            match fs::metadata(&path) {
                Ok(meta) if meta.is_file() => {
                    work.note(&path, What::Kept(described(meta.uid(), meta.gid(), meta.mode())))
                }
                Ok(_) => work.note(&path, What::InTheWay("no regular file".to_owned())),
                Err(_) => work.note(&path, What::Missing),
            }
        }
    }
    if let Some((from, contents)) = &what.file {
        work.file(&home, &root.shared(), from, contents)?;
    }
    Ok(work.done)
}

impl Work {
    /// Says it once of each path, however many shared paths lead there.
    fn note(&mut self, path: &Path, what: What) {
        let path = path.display().to_string();
        if !self.done.iter().any(|done| done.path == path) {
            self.done.push(Provisioned { path, what });
        }
    }

    /// User and group that a place should have; what nobody asked for is as it is, or as it would be.
    fn owners(&self, whose: Whose, is: Option<&Stat>) -> (u32, u32) {
        let (own_uid, own_gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        match whose {
            Whose::Application => (
                self.uid.or(is.map(|is| is.st_uid)).unwrap_or(own_uid),
                self.gid.or(is.map(|is| is.st_gid)).unwrap_or(own_gid),
            ),
            Whose::Agent => {
                let good = is.filter(|is| is.st_uid == own_uid || is.st_uid == 0);
                (good.map_or(own_uid, |is| is.st_uid), is.map_or(own_gid, |is| is.st_gid))
            }
        }
    }

    fn wanted(&self, whose: Whose, mode: u32, is: Option<&Stat>) -> String {
        let (uid, gid) = self.owners(whose, is);
        described(uid, gid, mode)
    }

    /// ROOT. What is above it, and links to it, are the administrator's.
    fn ground(&mut self, path: &Path) -> Result<Directory, HostError> {
        let missing: Vec<PathBuf> =
            path.ancestors().take_while(|path| fs::symlink_metadata(path).is_err()).map(Path::to_owned).collect();
        match fs::metadata(path) {
            Ok(meta) if !meta.is_dir() => return Err(self.no_directory(path)),
            Ok(_) => {
                return self.there(Dir::open(path)?, path, Whose::Agent);
            }
            Err(error) if missing.is_empty() || error.kind() != std::io::ErrorKind::NotFound => {
                return Err(at("look at", path)(error));
            }
            Err(_) => self.note(path, What::Made(self.wanted(Whose::Agent, DIRECTORY, None))),
        }
        if self.dry {
            return Ok(Directory::WouldBe);
        }
        for path in missing.iter().rev() {
            if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
                Dir::open(parent)?.make(&name.to_string_lossy())?;
            }
        }
        Ok(Directory::There { dir: Dir::open(path)?, trusted: true })
    }

    /// A directory in another one, made where it is missing.
    fn within(&mut self, outer: &Directory, path: &Path, whose: Whose) -> Result<Directory, HostError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let (dir, trusted) = match outer {
            Directory::There { dir, trusted } => (dir, *trusted),
            Directory::BehindLink => return Ok(Directory::BehindLink),
            Directory::WouldBe => {
                self.note(path, What::Made(self.wanted(whose, DIRECTORY, None)));
                return Ok(Directory::WouldBe);
            }
        };
        match dir.stat(&name)? {
            Some(stat) if is_dir(&stat) => self.there(dir.sub(&name)?, path, whose),
            Some(stat) if is_link(&stat) => match dir.stat_behind(&name)?.filter(is_dir) {
                None => Err(self.no_directory(path)),
                Some(_) if trusted && trust::is_trusted(&stat) => self.there(Dir::open(path)?, path, whose),
                Some(behind) => {
                    let (is, to) = (described(behind.st_uid, behind.st_gid, behind.st_mode), dir.target(&name)?);
                    self.note(path, What::Kept(format!("a link to {to}, which is {is}: left alone with all below it")));
                    Ok(Directory::BehindLink)
                }
            },
            Some(_) => Err(self.no_directory(path)),
            None => {
                self.note(path, What::Made(self.wanted(whose, DIRECTORY, None)));
                if self.dry {
                    return Ok(Directory::WouldBe);
                }
                let made = dir.make_as(&name, DIRECTORY)?;
                if whose == Whose::Application && (self.uid.is_some() || self.gid.is_some()) {
                    // Who owns the outer directory could have put another one under the name.
                    if !made.names()?.is_empty() {
                        let text = format!(
                            "{} was made, and is not the one that is there now: look who put it there",
                            path.display()
                        );
                        return Err(HostError::Io(text));
                    }
                    made.give(self.uid, self.gid).map_err(|error| self.not_given(path, DIRECTORY, error))?;
                }
                let trusted = trust::stands(&made.own_stat()?);
                Ok(Directory::There { dir: made, trusted })
            }
        }
    }

    fn no_directory(&mut self, path: &Path) -> HostError {
        self.note(path, What::InTheWay("no directory".to_owned()));
        HostError::Precondition(format!("{} is there and no directory: move it away", path.display()))
    }

    /// A directory that is there, on its descriptor. Links in it are judged by who could make them until now.
    fn there(&mut self, dir: Dir, path: &Path, whose: Whose) -> Result<Directory, HostError> {
        let stat = dir.own_stat()?;
        let trusted = trust::stands(&stat);
        let (is, wanted) =
            (described(stat.st_uid, stat.st_gid, stat.st_mode), self.wanted(whose, DIRECTORY, Some(&stat)));
        // A mode that gives more to the group is the administrator's choice where no mode was asked for.
        if is == wanted {
            self.note(path, What::Kept(is));
            return Ok(Directory::There { dir, trusted });
        }
        if !self.adjust {
            self.note(path, What::Differs(is, wanted));
            return Ok(Directory::There { dir, trusted });
        }
        self.note(path, What::Changed(is, wanted));
        if self.dry {
            return Ok(Directory::There { dir, trusted });
        }
        let (uid, gid) = self.owners(whose, Some(&stat));
        let (uid, gid) = ((uid != stat.st_uid).then_some(uid), (gid != stat.st_gid).then_some(gid));
        if uid.is_some() || gid.is_some() {
            dir.give(uid, gid).map_err(|error| self.not_given(path, DIRECTORY, error))?;
        }
        dir.set_own_mode(DIRECTORY)?;
        Ok(Directory::There { dir, trusted })
    }

    fn not_given(&self, path: &Path, mode: u32, error: Errno) -> HostError {
        HostError::Io(format!(
            "cannot give {} to {}: {error}; only root may: log in as root, or run this once with the owner who logs in",
            path.display(),
            self.wanted(Whose::Application, mode, None)
        ))
    }

    fn file(&mut self, home: &Directory, shared: &Path, from: &str, contents: &Secret) -> Result<(), HostError> {
        let path = shared.join(from);
        let made = What::Made(self.wanted(Whose::Application, FILE, None));
        let (parent, name) = from.rsplit_once('/').unwrap_or(("", from));
        let opened = match home {
            Directory::There { dir, .. } => dir.try_sub(parent),
            Directory::WouldBe => Err(Errno::NOENT),
            Directory::BehindLink => Err(Errno::LOOP),
        };
        let dir = match opened {
            Ok(dir) => dir,
            Err(Errno::NOENT) if self.dry => {
                self.note(&path, made);
                return Ok(());
            }
            Err(Errno::LOOP) if path.is_file() => {
                self.note(&path, What::Kept("a file behind a link".to_owned()));
                return Ok(());
            }
            Err(Errno::LOOP) => {
                return Err(HostError::Io(format!(
                    "{} lies behind a link, and no secret is written through a link: put the file there by hand",
                    path.display()
                )));
            }
            Err(error) => return Err(at("open the directory", &shared.join(parent))(error)),
        };
        if let Some(stat) = dir.stat(name)? {
            let behind = dir.stat_behind(name)?.unwrap_or(stat);
            let what = if FileType::from_raw_mode(behind.st_mode) == FileType::RegularFile {
                What::Kept(described(behind.st_uid, behind.st_gid, behind.st_mode))
            } else {
                What::InTheWay("no regular file".to_owned())
            };
            self.note(&path, what);
            return Ok(());
        }
        self.note(&path, made);
        if self.dry {
            return Ok(());
        }
        let part = format!(".{name}.tmp-{}", std::process::id());
        let written = (|| {
            let mut file = dir.create(&part, FILE)?;
            let failed = at("write", &path);
            file.write_all(contents.expose().as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
            std::os::unix::fs::fchown(&file, self.uid, self.gid)
                .map_err(|error| self.not_given(&path, FILE, Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
            dir.move_to(&part, &dir, name)?;
            dir.sync()
        })();
        written.inspect_err(|_| {
            let _ = dir.unlink(&part);
        })
    }
}

fn described(uid: u32, gid: u32, mode: u32) -> String {
    format!("{}:{} {:o}", people::user(uid), people::group(gid), mode & 0o7777)
}
