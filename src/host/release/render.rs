//! The versions of rendered files below `ROOT/shared/.versions/`: each is written once, complete, and belongs to the releases
//! that are linked to it. `ROOT/shared/<file>` leads to the version of the live release, for units and for people.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

use zeroize::Zeroizing;

use crate::fault::fault;
use crate::host::disk::beneath::{Dir, at, check, is_dir, is_link};
use crate::host::disk::envfile;
use crate::host::disk::file;
use crate::host::disk::kept::Contents;
use crate::host::disk::people;
use crate::host::disk::root::Root;
use crate::host::wire::HostError;
use crate::host::wire::render::{Compared, Version};
use crate::model::ids::{Digest, ReleaseName};
use crate::model::rendered::{BEFORE, VERSIONS, of_place, place, version};

/// Users of the host reach a version through the link of a release; none of them lists what versions there are.
const DIRECTORY: u32 = 0o711;

/// Writes what is not there yet. Gives how each compares with what the live release reads.
///
/// # Errors
/// The disk, or an owner that this host does not have or that the agent may not give files to.
pub fn render(root: &Root, files: &[Version]) -> Result<Vec<Compared>, HostError> {
    let compared = compare(root, files)?;
    files.iter().try_for_each(|file| write(root, file))?;
    Ok(compared)
}

/// How files compare with what the live release reads. Reads only.
///
/// # Errors
/// A file there that cannot be read.
pub fn compare(root: &Root, files: &[Version]) -> Result<Vec<Compared>, HostError> {
    let one = |version: &Version| {
        check(&version.from)?;
        let path = root.shared().join(&version.from);
        let live = match file::read(&path, file::CONFIGURATION) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound || file::is_unfit(&error) => {
                return Ok(Compared { from: version.from.clone(), first: true, ..Compared::default() });
            }
            Err(error) => return Err(at("read", &path)(error)),
        };
        let live = Zeroizing::new(String::from_utf8_lossy(&live).into_owned());
        let new = version.contents.expose();
        let differences = envfile::differences(&live, new);
        let same = *live == *new;
        Ok(Compared {
            from: version.from.clone(),
            first: false,
            same,
            new: differences.new,
            changed: differences.changed,
            gone: differences.gone,
        })
    };
    files.iter().map(one).collect()
}

fn write(root: &Root, file: &Version) -> Result<(), HostError> {
    let digest = file.digest();
    let place = place(&file.from, &digest.to_string());
    check(&place)?;
    if fits(root, &place) {
        return Ok(());
    }
    let owner = file.owner.as_deref().map(owner).transpose()?;
    let mut dir = Dir::open(&root.shared())?;
    for part in [VERSIONS].into_iter().chain(file.from.split('/')) {
        dir.make_missing(part, DIRECTORY)?;
        dir.sync()?;
        dir = dir.sub(part)?;
    }
    let name = digest.to_string();
    let temp = format!(".{name}.new");
    if dir.stat(&temp)?.is_some() {
        dir.unlink(&temp)?;
    }
    let made = dir.create(&temp, 0o600)?;
    let path = dir.path().join(&temp);
    let fill = || -> Result<(), HostError> {
        (&made).write_all(file.contents.expose().as_bytes()).map_err(at("write", &path))?;
        if let Some((user, group)) = owner {
            let (user, group) = (rustix::fs::Uid::from_raw(user), group.map(rustix::fs::Gid::from_raw));
            rustix::fs::fchown(&made, Some(user), group).map_err(|error| not_given(file, error))?;
        }
        rustix::fs::fchmod(&made, rustix::fs::Mode::from_raw_mode(file.mode)).map_err(at("set the mode of", &path))?;
        made.sync_all().map_err(at("sync", &path))
    };
    if let Err(error) = fill() {
        let _ = dir.unlink(&temp);
        return Err(error);
    }
    fault!("host.render.before-rename");
    dir.rename(&temp, &name)?;
    dir.sync()?;
    fault!("host.render.after-rename");
    Ok(())
}

/// The numbers of `user` or `user:group`.
fn owner(text: &str) -> Result<(u32, Option<u32>), HostError> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let missing = |what: &str, name: &str| {
        HostError::Precondition(format!(
            "this host has no {what} {name}, to whom a rendered file is to belong: correct `owner` in the state file, or make \
             the {what}"
        ))
    };
    let (uid, _) = people::user_id(user).ok_or_else(|| missing("user", user))?;
    let gid = group.map(|group| people::group_id(group).ok_or_else(|| missing("group", group))).transpose()?;
    Ok((uid, gid))
}

/// Why files cannot be given to an owner (`user` or `user:group`) here; `None`: they can.
pub fn withheld(text: &str) -> Option<String> {
    let (uid, gid) = match owner(text) {
        Ok(numbers) => numbers,
        Err(error) => return Some(error.to_string()),
    };
    let me = rustix::process::geteuid();
    let groups = rustix::process::getgroups().unwrap_or_default();
    let is_mine =
        |gid: u32| rustix::process::getegid().as_raw() == gid || groups.iter().any(|group| group.as_raw() == gid);
    // Linux lets a user give a file to a group of its own; anything more is root's.
    let may = me.is_root() || (me.as_raw() == uid && gid.is_none_or(is_mine));
    (!may).then(|| format!("{} may not give files to {text}", people::user(me.as_raw())))
}

fn not_given(file: &Version, error: rustix::io::Errno) -> HostError {
    let me = people::user(rustix::process::geteuid().as_raw());
    let owner = file.owner.as_deref().unwrap_or_default();
    HostError::Precondition(format!(
        "{me} may not give the rendered file {} to {owner} ({}): deploy as a user who may, or leave out `owner` and let a group \
         of {me} read it (`mode`)",
        file.from,
        io::Error::from(error)
    ))
}

/// Whether what lies at the place of a version is that version: its contents, mode and owner fit its name.
pub fn fits(root: &Root, place: &str) -> bool {
    let Some((_, wanted)) = of_place(place) else { return true };
    let path = root.shared().join(place);
    let bytes = match file::read(&path, file::CONFIGURATION) {
        Ok(bytes) => bytes,
        // Given to somebody else by an agent that may do that and no more: nobody says that it is another one.
        Err(error) => return error.kind() == io::ErrorKind::PermissionDenied,
    };
    let contents = Digest::of(&Zeroizing::new(bytes));
    let Ok(meta) = fs::symlink_metadata(&path) else { return false };
    let mode = meta.mode() & 0o7777;
    let is = |owner: Option<&str>| version(&contents, mode, owner).to_string() == wanted;
    let user = people::user(meta.uid());
    (meta.uid() == rustix::process::geteuid().as_raw() && is(None))
        || is(Some(&user))
        || is(Some(&format!("{user}:{}", people::group(meta.gid()))))
}

/// Lets `ROOT/shared/<file>` lead to what the release that is live by now is linked to. What lay there before is kept beside
/// it once, and comes back where a release is live that reads it. Gives what there is to tell.
///
/// # Errors
/// The disk; a directory in the place of a rendered file.
pub fn settle(root: &Root, live: &ReleaseName) -> Result<Vec<String>, HostError> {
    let Some(kept) = Contents::recall(root, live)? else { return Ok(Vec::new()) };
    let mut told = Vec::new();
    for shared in kept.contents.shared.iter().filter(|shared| !shared.directory) {
        let done = match of_place(&shared.from) {
            Some((from, _)) => lead(root, from, &shared.from)?,
            None => restore(root, &shared.from)?,
        };
        told.extend(done);
    }
    Ok(told)
}

/// The same for whatever `current` leads to, where soll made it.
///
/// # Errors
/// Those of [`settle`].
pub fn settle_live(root: &Root) -> Result<Vec<String>, HostError> {
    match crate::host::release::observe::current(root)?.release() {
        Some(live) => settle(root, live),
        None => Ok(Vec::new()),
    }
}

fn lead(root: &Root, from: &str, place: &str) -> Result<Option<String>, HostError> {
    let home = Dir::open(&root.shared())?;
    let (parent, name) = from.rsplit_once('/').unwrap_or(("", from));
    let dir = home.make_all(parent)?;
    let target = format!("{}{place}", "../".repeat(from.split('/').count() - 1));
    let mut told = None;
    match dir.stat(name)? {
        None => {}
        Some(stat) if is_link(&stat) => {
            let there = dir.target(name)?;
            if there == target {
                return Ok(None);
            }
            if !there.trim_start_matches("../").starts_with(&format!("{VERSIONS}/")) {
                told = Some(keep(&dir, from, name)?);
            }
        }
        Some(stat) if is_dir(&stat) => {
            let path = root.shared().join(from);
            let path = path.display();
            return Err(HostError::Precondition(format!(
                "{path} is a directory, and a rendered file is to be there: move it away, then run again"
            )));
        }
        Some(_) => told = Some(keep(&dir, from, name)?),
    }
    let temp = format!(".{name}.new");
    if dir.stat(&temp)?.is_some() {
        dir.unlink(&temp)?;
    }
    dir.link(&target, &temp)?;
    dir.rename(&temp, name)?;
    dir.sync()?;
    Ok(told)
}

/// Keeps what lies at the place of a rendered file under another name as well.
fn keep(dir: &Dir, from: &str, name: &str) -> Result<String, HostError> {
    let mut aside = format!("{name}{BEFORE}");
    let mut count = 1;
    while dir.stat(&aside)?.is_some() {
        count += 1;
        aside = format!("{name}{BEFORE}.{count}");
    }
    dir.name_also(name, &aside)?;
    Ok(format!("shared/{from} is rendered from now on; what lay there is kept beside it as {aside}"))
}

/// A release is live that reads the file that lay there before anything was rendered.
fn restore(root: &Root, from: &str) -> Result<Option<String>, HostError> {
    let home = Dir::open(&root.shared())?;
    let (parent, name) = from.rsplit_once('/').unwrap_or(("", from));
    let Ok(dir) = home.try_sub(parent) else { return Ok(None) };
    let Some(stat) = dir.stat(name)?.filter(is_link) else { return Ok(None) };
    let aside = format!("{name}{BEFORE}");
    let of_ours = is_link(&stat) && dir.target(name)?.trim_start_matches("../").starts_with(&format!("{VERSIONS}/"));
    if !of_ours || dir.stat(&aside)?.is_none() {
        return Ok(None);
    }
    dir.rename(&aside, name)?;
    dir.sync()?;
    Ok(Some(format!("shared/{from} is again what lay there before it was rendered")))
}

/// Removes the versions that no release here is linked to. Where it cannot be said what one is linked to, nothing goes.
///
/// # Errors
/// The disk.
pub fn sweep(root: &Root) -> Result<usize, HostError> {
    let Ok(versions) = Dir::open(&root.shared()).and_then(|home| home.sub(VERSIONS)) else { return Ok(0) };
    let mut used: BTreeSet<String> = BTreeSet::new();
    for name in root.present()? {
        let Some(contents) = Contents::load(root, &name)? else { continue };
        used.extend(contents.shared.into_iter().map(|shared| shared.from));
    }
    let mut removed = 0;
    let mut open = vec![String::new()];
    while let Some(prefix) = open.pop() {
        let dir = versions.sub(&prefix)?;
        for name in dir.names()? {
            let rel = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            match dir.stat(&name)? {
                Some(stat) if is_dir(&stat) => open.push(rel),
                Some(_) if !used.contains(&format!("{VERSIONS}/{rel}")) => {
                    dir.unlink(&name)?;
                    removed += 1;
                }
                _ => {}
            }
        }
    }
    Ok(removed)
}
