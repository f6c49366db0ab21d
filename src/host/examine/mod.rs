//! What a host is like, for the doctor and for the preflight: directories, room, tools, permissions. Reads only: the one
//! thing that it makes is a file without a name, to see whether copies share their blocks. Judges nothing.

mod fpm;
mod nginx;
mod units;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Access;

use crate::host::disk::beneath::check;
use crate::host::disk::command::{self, PATH};
use crate::host::disk::envfile;
use crate::host::disk::file;
use crate::host::disk::foreign;
use crate::host::disk::leftovers;
use crate::host::disk::machine;
use crate::host::disk::people;
use crate::host::disk::places;
use crate::host::disk::room;
use crate::host::disk::root::{Root, now};
use crate::host::disk::trust;
use crate::host::release::checkout;
use crate::host::release::compose;
use crate::host::release::observe::{current, missing_env};
use crate::host::release::render;
use crate::host::wire::HostError;
use crate::host::wire::examine::{Examine, Examined, Found, LayoutDirectory, Nginx, Room, SharedFact, keyed};
use crate::model::desired::Shared;
use crate::model::ids::Digest;
use crate::model::record::Command;

/// Looks. `unfinished`: what keeps every other operation from this root, if anything does.
pub fn examine(root: &Root, what: &Examine, unfinished: Option<HostError>) -> Result<Examined, HostError> {
    let began = now();
    for shared in &what.shared {
        check(&shared.path)?;
        check(&shared.from)?;
    }
    let uid = rustix::process::geteuid().as_raw();
    let places = [root.path().to_owned(), root.releases(), root.shared()];
    let places = places.iter().map(|path| LayoutDirectory { path: path.display().to_string(), found: found(path) });
    let exposed = trust::survey(root.path());
    // Said once: what is exposed is not read.
    let readable = exposed.is_empty();
    if readable {
        root.ground()?;
    }
    let current = current(root)?;
    let is_confirmed = root.record().is_ok_and(|record| record.confirmed.is_some());
    let mut examined = Examined {
        began,
        ended: began,
        user: people::user(uid),
        uid,
        places: places.collect(),
        foreign: foreign::found(root, &current, is_confirmed)?,
        current,
        room: room(root.path()),
        tools: what.tools.iter().map(|name| (name.clone(), which(name))).collect(),
        sudo: (what.sudo || (uid != 0 && what.activation.units.iter().any(|unit| !unit.user))).then(permissions),
        shared: what.shared.iter().map(|shared| shared_fact(root, shared)).collect(),
        missing_env: missing_env(root, what.env_file.as_deref(), &what.required_env)?,
        owners: what.owners.iter().map(|owner| (owner.clone(), render::withheld(owner))).collect(),
        tokens: tokens(root, what),
        units: what.activation.units.iter().map(|unit| units::fact(root, unit)).collect(),
        engine: what.engine.as_ref().map(|ask| compose::facts(ask, &room)),
        repository: what.repository.as_ref().map(checkout::answers),
        fpm: fpm::found(),
        nginx: which("nginx").map(|_| configuration(root)),
        epoch: root.record().ok().map(|record| record.epoch),
        record: root.record().err().filter(|_| readable).map(|error| error.to_string()),
        machine: machine::id(),
        pinned: root.record().ok().and_then(|record| record.machine),
        unfinished: unfinished.filter(|_| readable).map(|error| error.to_string()),
        leftovers: leftovers::found(root),
        misplaced: places::misplaced(root, &what.shared),
        exposed,
        above: trust::above(root.path()),
    };
    examined.ended = now();
    Ok(examined)
}

fn found(path: &Path) -> Option<Found> {
    let meta = fs::metadata(path).ok()?;
    Some(Found {
        directory: meta.is_dir(),
        owner: people::user(meta.uid()),
        group: people::group(meta.gid()),
        mode: meta.mode() & 0o7777,
        writable: rustix::fs::access(path, Access::WRITE_OK).is_ok(),
    })
}

fn shared_fact(root: &Root, shared: &Shared) -> SharedFact {
    let place = root.current().join(&shared.path);
    let link = fs::read_link(&place).ok().map(|text| text.to_string_lossy().into_owned());
    let leads_to = link.as_ref().and_then(|_| place.canonicalize().ok()).map(|path| path.display().to_string());
    SharedFact { shared: shared.clone(), found: found(&root.shared().join(&shared.from)), link, leads_to }
}

/// Where a command of ours would find a program.
pub fn which(name: &str) -> Option<String> {
    let runs = |path: PathBuf| {
        let there = path.is_file() && rustix::fs::access(&path, Access::EXEC_OK).is_ok();
        there.then(|| path.display().to_string())
    };
    if name.starts_with('/') {
        return runs(PathBuf::from(name));
    }
    PATH.split(':').find_map(|dir| runs(Path::new(dir).join(name)))
}

/// The first directory on the way up that is there.
fn nearest(path: &Path) -> &Path {
    path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"))
}

fn room(path: &Path) -> Option<Room> {
    let dir = nearest(path);
    let stat = rustix::fs::statvfs(dir).ok()?;
    let free = room::free(dir).ok()?;
    let (kind, noreplace) = kind_of(rustix::fs::statfs(dir).ok()?.f_type as i64);
    Some(Room {
        free_bytes: free.bytes,
        bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        free_inodes: free.inodes.unwrap_or(0),
        inodes: stat.f_files,
        quota: free.quota,
        kind,
        noreplace,
        reflink: room::reflink(dir),
    })
}

fn kind_of(number: i64) -> (String, Option<bool>) {
    let (name, noreplace) = match number & 0xffff_ffff {
        0xef53 => ("ext", Some(true)),
        0x5846_5342 => ("xfs", Some(true)),
        0x9123_683e => ("btrfs", Some(true)),
        0x0102_1994 => ("tmpfs", Some(true)),
        0x794c_7630 => ("overlay", Some(true)),
        0xf2f5_2010 => ("f2fs", Some(true)),
        0x2fc1_2fc1 => ("zfs", None),
        0x6969 => ("nfs", Some(false)),
        0xff53_4d42 | 0xfe53_4d42 => ("smb", Some(false)),
        other => return (format!("kind {other:#x}"), None),
    };
    (name.to_owned(), noreplace)
}

fn permissions() -> Result<String, String> {
    if which("sudo").is_none() {
        return Err("there is no `sudo` on this host".to_owned());
    }
    said("sudo -n -l")
}

/// What a fixed command prints where it succeeds.
fn said(run: &str) -> Result<String, String> {
    let command = Command {
        name: run.to_owned(),
        run: run.to_owned(),
        env: BTreeMap::from([("LC_ALL".to_owned(), "C".to_owned())]),
        timeout: Duration::from_secs(10),
        hides: Vec::new(),
    };
    let result = command::run(&command, Path::new("/")).map_err(|error| error.to_string())?;
    if result.ok() { Ok(result.output) } else { Err(result.evidence()) }
}

fn tokens(root: &Root, what: &Examine) -> BTreeMap<String, Digest> {
    let Some(from) = what.env_file.as_ref().filter(|from| check(from).is_ok() && !what.tokens.is_empty()) else {
        return BTreeMap::new();
    };
    let Ok(bytes) = file::read(&root.shared().join(from), file::CONFIGURATION) else { return BTreeMap::new() };
    let bytes = zeroize::Zeroizing::new(bytes);
    let text = zeroize::Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
    let digested = |name: &String| {
        let value = zeroize::Zeroizing::new(envfile::value(&text, name)?);
        Some((name.clone(), keyed(&what.nonce, &value)))
    };
    what.tokens.iter().filter_map(digested).collect()
}

fn configuration(root: &Root) -> Nginx {
    match said_whole("timeout 10 nginx -T").or_else(|why| said_whole("timeout 10 sudo -n nginx -T").map_err(|_| why)) {
        Ok(text) => Nginx::Read { stale: nginx::stale(&text, &root.current().display().to_string()) },
        Err(why) => Nginx::Unknown(why),
    }
}

/// Standard output to its end: the configuration of many sites is longer than what is kept of a command.
fn said_whole(run: &str) -> Result<String, String> {
    let words: Vec<_> = run.split(' ').collect();
    let output = std::process::Command::new(words[0])
        .args(&words[1..])
        .env_clear()
        .env("PATH", PATH)
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| format!("`{run}`: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{run}` says no: {}", text.lines().last().unwrap_or_default().trim()))
}
