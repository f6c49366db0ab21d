//! Who may change what the agent goes by. `ROOT/.soll/record.json` holds commands that the agent runs, and `releases/`
//! the programs that they start: a user who can write there, or put another directory in its place, is the agent's user.
//! Everything is looked at on the opened descriptor and used through it, never by a path that could mean something else
//! a moment later. Repairs nothing: what is wrong is said with the commands that mend it.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::host::disk::beneath::{Dir, at, is_dir, is_link};
use crate::host::disk::people;
use crate::host::wire::{Exposed, HostError};
use crate::model::shown::shell_word;

/// Where the agent keeps what it knows of a root.
pub const OWN: &str = ".soll";
/// A root may hold more files of ours than anybody wants to read about.
const SHOWN: usize = 8;

const GROUP_OR_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;
const ROOT_USER: u32 = 0;

/// The user that this process acts as.
fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// What may lie at a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// ROOT and `releases/`: the agent's or root's. In a sticky directory nobody renames what belongs to another.
    Ground,
    /// `.soll/` and the directories in it.
    Directory,
    /// A regular file in them, under one name only: another name would be another way to write it.
    File,
}

/// Why another user could change something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flaw {
    Link,
    OtherType(Kind),
    OtherOwner,
    Writable,
    /// It has more than one name.
    Names,
}

/// Why another user could change it; `None`: only the agent's user and root can. An access list shows in the group's
/// bits, as its mask. Asked for each file of ours that is opened: nobody is looked up by name.
fn flaw(stat: &Stat, kind: Kind) -> Option<Flaw> {
    let mode = stat.st_mode & 0o7777;
    let type_of = FileType::from_raw_mode(stat.st_mode);
    let wanted = if kind == Kind::File { FileType::RegularFile } else { FileType::Directory };
    if type_of == FileType::Symlink {
        return Some(Flaw::Link);
    }
    if type_of != wanted {
        return Some(Flaw::OtherType(kind));
    }
    if !(stat.st_uid == own_user() || kind == Kind::Ground && is_trusted(stat)) {
        return Some(Flaw::OtherOwner);
    }
    if mode & GROUP_OR_OTHERS != 0 && !(kind == Kind::Ground && mode & STICKY != 0) {
        return Some(Flaw::Writable);
    }
    // A file without a name was replaced since it was opened: what it says is what was true a moment ago.
    (kind == Kind::File && stat.st_nlink > 1).then_some(Flaw::Names)
}

/// The same in words, with the names of users: the end of a sentence about it.
fn why(stat: &Stat, kind: Kind) -> Option<String> {
    let agent = || people::user(own_user());
    let owner = || people::user(stat.st_uid);
    Some(match flaw(stat, kind)? {
        Flaw::Link => {
            format!("is a link that belongs to {}, and the agent takes nothing of its own through it", owner())
        }
        Flaw::OtherType(Kind::File) => "is no regular file".to_owned(),
        Flaw::OtherType(Kind::Ground | Kind::Directory) => "is no directory".to_owned(),
        Flaw::OtherOwner => {
            let owner = owner();
            format!("belongs to {owner}, so that {owner} decides what the agent does as {}", agent())
        }
        Flaw::Writable => {
            let who = match (stat.st_mode & 0o020 != 0, stat.st_mode & 0o002 != 0) {
                (true, false) => format!("the group {}, or an access list, may write it", people::group(stat.st_gid)),
                _ => "everybody on the host may write it".to_owned(),
            };
            format!("decides what the agent does as {}, and {who}", agent())
        }
        Flaw::Names => format!("has {} names, so that it can be changed through another one", stat.st_nlink),
    })
}

/// Whether a directory may hold what the agent goes by.
pub fn stands(stat: &Stat) -> bool {
    flaw(stat, Kind::Ground).is_none()
}

/// Whether the agent's user or root has made it.
pub fn is_trusted(stat: &Stat) -> bool {
    stat.st_uid == own_user() || stat.st_uid == ROOT_USER
}

fn refused(root: &Path) -> HostError {
    HostError::Exposed { found: survey(root) }
}

/// ROOT, opened; `None`: there is nothing yet. Links above and to it are the administrator's, and are followed.
///
/// # Errors
/// [`HostError::Exposed`]: another user could put other releases or another record there.
pub fn ground(path: &Path) -> Result<Option<Dir>, HostError> {
    let ground = match Dir::try_open(path) {
        Ok(ground) => ground,
        Err(Errno::NOENT) => return nothing(path),
        Err(Errno::NOTDIR) => {
            let path = path.display();
            return Err(HostError::Precondition(format!(
                "{path} is no directory, or lies below a file: move the file away, or correct `root`"
            )));
        }
        Err(error) => return Err(at("open the directory", path)(error)),
    };
    let mut good = stands(&ground.own_stat()?);
    for (name, inner) in [("releases", true), ("shared", false)] {
        let Some(stat) = ground.stat(name)? else { continue };
        // A link that another user left there would still lead where that user wanted.
        good &= !is_link(&stat) || is_trusted(&stat);
        good &= !inner || ground.stat_behind(name)?.filter(is_dir).as_ref().is_none_or(stands);
    }
    if good { Ok(Some(ground)) } else { Err(refused(path)) }
}

/// There is nothing at ROOT yet, which can be made; a link that leads to nothing stands in the way of that.
fn nothing(path: &Path) -> Result<Option<Dir>, HostError> {
    let Ok(to) = std::fs::read_link(path) else { return Ok(None) };
    let (path, to) = (path.display(), to.display());
    Err(HostError::Precondition(format!(
        "{path} is a link to {to}, where nothing is: mount or make {to}, or remove the link: rm {path}"
    )))
}

/// `.soll/` in a ROOT that may be trusted; `None`: soll has never acted there.
///
/// # Errors
/// [`HostError::Exposed`]: it is a link, belongs to another user, or others may write it.
pub fn own(ground: &Dir) -> Result<Option<Dir>, HostError> {
    directory(ground, OWN, ground.path())
}

/// A directory in `.soll/`; `None`: it is not there.
///
/// # Errors
/// Those of [`own`]. `root` is ROOT.
pub fn directory(dir: &Dir, name: &str, root: &Path) -> Result<Option<Dir>, HostError> {
    match dir.try_sub(name) {
        Ok(found) => match flaw(&found.own_stat()?, Kind::Directory) {
            None => Ok(Some(found)),
            Some(_) => Err(refused(root)),
        },
        Err(Errno::NOENT) => Ok(None),
        // A link; something else than a directory; another user's.
        Err(Errno::LOOP | Errno::NOTDIR | Errno::ACCESS | Errno::PERM) => Err(refused(root)),
        Err(error) => Err(at("open the directory", &dir.path().join(name))(error)),
    }
}

/// A file in a directory of ours, opened; `None`: it is not there, and `flags` do not make it. What is made has mode 600.
///
/// # Errors
/// Those of [`own`]; the operating system said no. `root` is ROOT.
pub fn file(dir: &Dir, name: &str, flags: OFlags, root: &Path) -> Result<Option<File>, HostError> {
    let found = dir.try_file(name, flags, Mode::from_raw_mode(0o600));
    match found {
        Ok(file) => {
            let stat = rustix::fs::fstat(&file).map_err(at("look at", &dir.path().join(name)))?;
            if flaw(&stat, Kind::File).is_some() { Err(refused(root)) } else { Ok(Some(file)) }
        }
        Err(Errno::NOENT) => Ok(None),
        // A link; a pipe or a socket; another user's.
        Err(Errno::LOOP | Errno::NXIO | Errno::ISDIR) => Err(refused(root)),
        Err(error @ (Errno::ACCESS | Errno::PERM)) => match dir.stat(name)?.and_then(|stat| flaw(&stat, Kind::File)) {
            Some(_) => Err(refused(root)),
            None => Err(at("open", &dir.path().join(name))(error)),
        },
        Err(error) => Err(at("open", &dir.path().join(name))(error)),
    }
}

/// A directory of ROOT that is the agent's alone; made with 700 where it is missing.
///
/// # Errors
/// [`HostError::Exposed`]: it is a link, belongs to another user, or others may write it.
pub fn private(ground: &Dir, name: &str) -> Result<Dir, HostError> {
    ground.make_missing(name, 0o700)?;
    let path = ground.path().join(name);
    let missing = || at("open the directory", &path)(Errno::NOENT);
    let stat = ground.stat(name)?.ok_or_else(missing)?;
    match exposed(&path, &stat, Kind::Directory, None) {
        Some(one) => Err(HostError::Exposed { found: vec![one] }),
        // Once more on what is opened then.
        None => directory(ground, name, ground.path())?.ok_or_else(missing),
    }
}

/// Everything of a root that another user could change, with the commands that mend it: ROOT, `releases/`, `.soll/` and
/// what is in it. Only looks, by names: what was refused was refused on a descriptor.
pub fn survey(root: &Path) -> Vec<Exposed> {
    let mut found = Vec::new();
    let Ok(ground) = Dir::try_open(root) else { return found };
    if let Ok(stat) = ground.own_stat() {
        found.extend(exposed(root, &stat, Kind::Ground, None));
    }
    for name in ["releases", "shared"] {
        let path = root.join(name);
        if let Ok(Some(stat)) = ground.stat(name)
            && is_link(&stat)
            && !is_trusted(&stat)
        {
            found.extend(exposed(&path, &stat, Kind::Ground, None));
        } else if let Ok(Some(stat)) = ground.stat_behind(name)
            && is_dir(&stat)
            && name == "releases"
        {
            found.extend(exposed(&path, &stat, Kind::Ground, None));
        }
    }
    let home = root.join(OWN);
    let Ok(Some(stat)) = ground.stat(OWN) else { return found };
    found.extend(exposed(&home, &stat, Kind::Directory, Some(&home)));
    if let Ok(dir) = ground.sub(OWN) {
        within(&dir, &home, &mut found);
    }
    found
}

/// What is exposed in a directory of ours. What is built or thrown away there is nothing that the agent goes by.
fn within(dir: &Dir, home: &Path, found: &mut Vec<Exposed>) {
    for name in dir.names().unwrap_or_default() {
        if found.len() > SHOWN {
            return;
        }
        let path = dir.path().join(&name);
        let Ok(Some(stat)) = dir.stat(&name) else { continue };
        let kind = if is_dir(&stat) { Kind::Directory } else { Kind::File };
        found.extend(exposed(&path, &stat, kind, Some(home)));
        if is_dir(&stat)
            && (name == "manifests" || name == "incoming")
            && let Ok(sub) = dir.sub(&name)
        {
            within(&sub, home, found);
        }
    }
}

/// `home`: `.soll/`, where the place is in it: it is mended as a whole.
fn exposed(path: &Path, stat: &Stat, kind: Kind, home: Option<&Path>) -> Option<Exposed> {
    let why = why(stat, kind)?;
    let (mode, agent, place) = (stat.st_mode & 0o7777, people::user(own_user()), quoted(path));
    let wanted = if kind == Kind::File { FileType::RegularFile } else { FileType::Directory };
    let (all, whole) = home.map_or(("", place.clone()), |home| ("-R ", quoted(home)));
    let mut cure = Vec::new();
    if FileType::from_raw_mode(stat.st_mode) != wanted {
        cure.push(format!("mv {place} {place}.refused"));
    } else {
        if kind == Kind::File && stat.st_nlink > 1 {
            cure.push(format!("cp -p {place} {place}.copy && mv {place}.copy {place}"));
        }
        if !(stat.st_uid == own_user() || kind == Kind::Ground && is_trusted(stat)) {
            cure.push(format!("chown {all}{agent} {whole}"));
        }
        if mode & GROUP_OR_OTHERS != 0 {
            cure.push(format!("chmod {all}go-w {whole}"));
        }
    }
    let is = format!("{}:{} {mode:o}", people::user(stat.st_uid), people::group(stat.st_gid));
    Some(Exposed { path: path.display().to_string(), is, why, cure })
}

fn quoted(path: &Path) -> String {
    shell_word(&path.display().to_string())
}

/// The directories above ROOT in which another user could put another ROOT: told, not refused, because what would stand
/// there is judged like any other root.
pub fn above(root: &Path) -> Vec<Exposed> {
    let outer = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let look = |dir: &Path| Dir::try_open(dir).ok()?.own_stat().ok();
    outer.ancestors().skip(1).filter_map(|dir| exposed(dir, &look(dir)?, Kind::Ground, None)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_replaced_while_it_is_read_is_nobody_elses() {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::try_open(root.path()).unwrap();
        let opened = std::fs::File::create_new(root.path().join("record.json")).unwrap();
        let named = rustix::fs::fstat(&opened).unwrap();
        assert_eq!(why(&named, Kind::File), None);
        std::fs::hard_link(root.path().join("record.json"), root.path().join("another")).unwrap();
        assert!(why(&rustix::fs::fstat(&opened).unwrap(), Kind::File).unwrap().contains("2 names"));
        std::fs::remove_file(root.path().join("another")).unwrap();
        std::fs::write(root.path().join("new"), "").unwrap();
        std::fs::rename(root.path().join("new"), root.path().join("record.json")).unwrap();
        assert_eq!(why(&rustix::fs::fstat(&opened).unwrap(), Kind::File), None);
        assert!(file(&dir, "record.json", OFlags::RDONLY, root.path()).unwrap().is_some());
    }
}
