//! Whether the places of a root are such that a release can be moved in and shared paths can be used: one file system where
//! a rename must not cross a border, links that lead somewhere, mounts that are mounted. Looks only, and judges before
//! anything is begun what would otherwise fail in the middle.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::io::Errno;

use crate::host::disk::root::Root;
use crate::host::lock;
use crate::model::desired::Shared;
use crate::model::observed::Misplaced;

/// A file system is mounted here, or will be.
struct Mount {
    at: PathBuf,
    kind: String,
}

/// What is wrong with the places of a root, each with its next move; nothing where there is no root yet.
pub fn misplaced(root: &Root, shared: &[Shared]) -> Vec<Misplaced> {
    let mut found = Vec::new();
    let (releases, home) = (root.releases(), root.shared());
    if is_usable(&releases, &mut found) {
        border(root, &releases, &mut found);
    }
    let mut places = vec![root.path().to_owned(), releases];
    if is_usable(&home, &mut found) {
        if !shared.is_empty() {
            astray(root, &mut found);
        }
        for one in shared {
            let place = home.join(&one.from);
            lost(&home, one, &mut found);
            places.push(place);
        }
    }
    places.push(home);
    unmounted(&places, &mut found);
    found
}

fn note(found: &mut Vec<Misplaced>, what: String, cure: String) {
    let one = Misplaced { what, cure };
    if !found.contains(&one) {
        found.push(one);
    }
}

/// Whether a directory of the layout is one, or can be made. Notes why not.
fn is_usable(path: &Path, found: &mut Vec<Misplaced>) -> bool {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => return true,
        Ok(_) => note(
            found,
            format!("{} is no directory", path.display()),
            format!("move it away: mv {0} {0}.old", path.display()),
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => return true,
        Err(error) => unreachable(path, path, &error, found),
    }
    false
}

/// A release is built in `.soll/` and becomes one by a rename: no border of file systems or of mounts may lie between.
fn border(root: &Root, releases: &Path, found: &mut Vec<Misplaced>) {
    let own = root.own("");
    let mut beside = own.as_path();
    let mut here = ground(beside);
    if here.is_none() {
        beside = root.path();
        here = ground(beside);
    }
    let (Some(here), Some(there)) = (here, ground(releases)) else { return };
    if here != there {
        let what = format!(
            "{} lies on another file system (or behind another mount) than {}, and a release cannot be moved into it",
            releases.display(),
            beside.display()
        );
        let cure = format!(
            "mount that file system at {} itself, with releases/, shared/ and .soll/ on it; or make releases/ a plain \
             directory of {0}",
            root.path().display()
        );
        note(found, what, cure);
    }
}

/// A release's links lead to `shared/` beside `releases/`: behind a link that leads out of ROOT they come out elsewhere.
fn astray(root: &Root, found: &mut Vec<Misplaced>) {
    let (releases, home) = (root.releases(), root.shared());
    let Ok(to) = fs::read_link(&releases) else { return };
    let Ok(end) = releases.canonicalize() else { return };
    let beside = end.parent().unwrap_or(&end).join("shared");
    // What is not there yet is made where ROOT is.
    let home = home.canonicalize().or_else(|_| root.path().canonicalize().map(|root| root.join("shared")));
    if beside.canonicalize().ok() == home.ok() {
        return;
    }
    let what = format!(
        "{} is a link to {}, and the links of a release to ../../shared lead from there to {}, not to {}",
        releases.display(),
        to.display(),
        beside.display(),
        root.shared().display()
    );
    let cure = format!(
        "make releases/ a plain directory of {}, or let the whole of it lie there: {0} as a link to a directory with both",
        root.path().display()
    );
    note(found, what, cure);
}

/// The device of a directory, and the mount by which it is reached: a bind mount is a border for renames, too.
fn ground(path: &Path) -> Option<(u32, u32, Option<u64>)> {
    let stat = rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).ok()?;
    let mount = stat.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    Some((stat.stx_dev_major, stat.stx_dev_minor, mount.then_some(stat.stx_mnt_id)))
}

/// A shared path that is there and cannot be what it should be. One that is not there at all is said elsewhere, or made.
fn lost(home: &Path, shared: &Shared, found: &mut Vec<Misplaced>) {
    let place = home.join(&shared.from);
    match fs::metadata(&place) {
        Ok(meta) if shared.directory && !meta.is_dir() => note(
            found,
            format!("the shared directory {} is no directory", place.display()),
            format!("move it away (mv {0} {0}.old), or list it under `shared_files`", place.display()),
        ),
        Ok(_) => {}
        Err(error) => {
            // The part of the way that does not lead on.
            let mut parts: Vec<&Path> = place.ancestors().take_while(|part| *part != home).collect();
            parts.reverse();
            let Some(broken) = parts.into_iter().find(|part| fs::metadata(part).is_err()) else { return };
            let is_gone = error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(broken).is_err();
            // A shared file that cannot be read is told as such.
            let told = !shared.directory && broken == place;
            if !is_gone && !told {
                unreachable(&place, broken, &error, found);
            }
        }
    }
}

/// What lies at `broken`, on the way to `place`, leads nowhere.
fn unreachable(place: &Path, broken: &Path, error: &io::Error, found: &mut Vec<Misplaced>) {
    let link = fs::read_link(broken).ok();
    let way = if place == broken { String::new() } else { format!(" (on the way to {})", place.display()) };
    let (what, cure) = match (error.raw_os_error().map(Errno::from_raw_os_error), link) {
        (Some(Errno::LOOP), _) => (
            format!("{}{way} is a link that leads in a circle", broken.display()),
            format!("make it lead to a directory: ln -sfn DIRECTORY {}", broken.display()),
        ),
        (Some(Errno::NOENT), Some(to)) => (
            format!("{}{way} is a link to {}, where nothing is", broken.display(), to.display()),
            format!("mount or make {}, or remove the link: rm {}", to.display(), broken.display()),
        ),
        (Some(Errno::NOTDIR), _) => (
            format!("{} lies below a file", place.display()),
            "move the file away, or correct the path in the state file".to_owned(),
        ),
        _ => (
            format!("{}{way} cannot be looked at: {error}", broken.display()),
            format!("look at `ls -ld {}` on the host, and at the mount that it lies on", broken.display()),
        ),
    };
    note(found, what, cure);
}

/// Places below a mount of /etc/fstab that is not mounted: what is written there is hidden as soon as it is.
fn unmounted(places: &[PathBuf], found: &mut Vec<Misplaced>) {
    let away = away();
    if away.is_empty() {
        return;
    }
    let ends: Vec<_> = places.iter().filter_map(|place| Some((end(place)?, place))).collect();
    for Mount { at, kind } in away.iter() {
        let Some((_, place)) = ends.iter().find(|(end, _)| end.starts_with(at)) else { continue };
        let at = at.display();
        let what = format!(
            "{at} is not mounted ({kind} in /etc/fstab), and {} lies there: what is written there now is hidden once it is",
            place.display()
        );
        note(found, what, format!("as root: mount {at} (and look at `systemctl status` of its mount, if that fails)"));
    }
}

/// What /etc/fstab mounts and is not mounted. A plan looks at a thousand roots of one machine: it is looked up once a second.
fn away() -> Arc<Vec<Mount>> {
    static LAST: Mutex<Option<(Instant, Arc<Vec<Mount>>)>> = Mutex::new(None);
    let mut last = lock(&LAST);
    if let Some((_, away)) = last.as_ref().filter(|(at, _)| at.elapsed() < Duration::from_secs(1)) {
        return away.clone();
    }
    let mut away = fs::read("/etc/fstab").map(|text| wanted(&text)).unwrap_or_default();
    let mounted = fs::read("/proc/self/mountinfo").map(|text| mounts(&text)).unwrap_or_default();
    away.retain(|mount| !mounted.is_empty() && !mounted.contains(&mount.at));
    let away = Arc::new(away);
    *last = Some((Instant::now(), away.clone()));
    away
}

/// Where a place comes out, as far as it is there.
fn end(place: &Path) -> Option<PathBuf> {
    let mut way: Vec<_> = Vec::new();
    for above in place.ancestors() {
        if let Ok(end) = above.canonicalize() {
            return Some(way.iter().rev().fold(end, |end, part| end.join(part)));
        }
        // A link to nothing leads below the mount that is missing.
        if let Ok(to) = fs::read_link(above) {
            let to = above.parent().unwrap_or(Path::new("/")).join(to);
            return Some(way.iter().rev().fold(to, |end, part| end.join(part)));
        }
        way.push(above.file_name()?);
    }
    None
}

/// What /etc/fstab mounts by itself, `/` aside.
fn wanted(fstab: &[u8]) -> Vec<Mount> {
    let lines = fstab.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii_start().starts_with(b"#"));
    let mount = |line: &[u8]| {
        let mut fields = line.split(|byte| byte.is_ascii_whitespace()).filter(|field| !field.is_empty());
        let (_source, at, kind) = (fields.next()?, unescaped(fields.next()?), fields.next()?);
        let by_hand = fields.next().is_some_and(|options| options.split(|byte| *byte == b',').any(|o| o == b"noauto"));
        let is_place = at.is_absolute() && at.parent().is_some() && kind != b"swap";
        let at = at.components().collect();
        (is_place && !by_hand).then(|| Mount { at, kind: String::from_utf8_lossy(kind).into_owned() })
    };
    lines.filter_map(mount).collect()
}

/// The mount points of /proc/self/mountinfo.
fn mounts(mountinfo: &[u8]) -> Vec<PathBuf> {
    let lines = mountinfo.split(|byte| *byte == b'\n');
    lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4).map(unescaped)).collect()
}

/// Spaces and the like are octal numbers in both files.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let number = after.get(..3).filter(|_| *byte == b'\\').and_then(|digits| str::from_utf8(digits).ok());
        match number.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(meant) => {
                out.push(meant);
                rest = &after[3..];
            }
            None => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_and_what_should_be_is_read_as_it_is_written() {
        let fstab =
            b"# a comment\n\nUUID=1 / ext4 defaults 0 1\nnas:/a  /srv/app/shared/my\\040files nfs4 rw,noatime 0 0\n\
            /dev/sr0 /media udf noauto,user 0 0\n/dev/b none swap sw 0 0\n /dev/c /srv/ xfs\n";
        let wanted = wanted(fstab);
        let said: Vec<_> = wanted.iter().map(|mount| (mount.at.to_str().unwrap(), mount.kind.as_str())).collect();
        assert_eq!(said, [("/srv/app/shared/my files", "nfs4"), ("/srv", "xfs")]);
        let info =
            b"22 1 0:21 / /proc rw - proc proc rw\n36 35 98:0 /m /srv/my\\040files rw,noatime - nfs4 nas:/a rw\n";
        assert_eq!(mounts(info), [Path::new("/proc"), Path::new("/srv/my files")]);
    }
}
