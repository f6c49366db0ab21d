//! What a root is right now. Changes nothing but the cached drift scan, takes no lock for longer than a look.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use crate::host::disk::beneath::{at, check};
use crate::host::disk::envfile;
use crate::host::disk::file;
use crate::host::disk::foreign;
use crate::host::disk::leftovers;
use crate::host::disk::lock::Lock;
use crate::host::disk::machine;
use crate::host::disk::places;
use crate::host::disk::revision;
use crate::host::disk::root::{Root, now};
use crate::host::disk::seat;
use crate::host::release::compose;
use crate::host::release::contents::digest;
use crate::host::release::drift;
use crate::host::release::units::seen;
use crate::host::wire::{HostError, Observe};
use crate::model::desired::Shared;
use crate::model::ids::{Digest, ReleaseName, Sha};
use crate::model::observed::{Current, DriftReport, HostState};
use crate::model::record::Record;

/// The state of a root. A root that does not exist is an empty one, not an error.
pub fn observe(root: &Root, what: &Observe) -> Result<HostState, HostError> {
    let (record, current) = consistent(root)?;
    let mut files = BTreeMap::new();
    let mut unreadable = BTreeMap::new();
    for file in what.shared.iter().filter(|shared| !shared.directory) {
        let is_env = what.env_file.as_deref() == Some(file.from.as_str());
        let digest = match shared_digest(root, file, is_env)? {
            SharedFile::Read(digest) => Some(digest),
            SharedFile::Missing => None,
            SharedFile::Unfit(why) => {
                unreadable.insert(file.from.clone(), why);
                None
            }
        };
        files.insert(file.from.clone(), digest);
    }
    let releases = root.present()?;
    let holder = if root.is_managed() { Lock::holder(root)? } else { None };
    let (mut services, mut services_unseen) = compose::services(root, &current);
    match seen::seen(root, &record, &current) {
        Ok(units) => services.extend(units),
        Err(why) => services_unseen = services_unseen.or(Some(why)),
    }
    let lease_over = holder.is_none() && record.leased().is_some_and(|leased| root.lease_over(&leased));
    Ok(HostState {
        revisions: revisions(root, &record, &releases),
        releases,
        files,
        unreadable,
        rendered: BTreeMap::new(),
        rerendered: Vec::new(),
        missing_env: missing_env(root, what.env_file.as_deref(), &what.required_env)?,
        leftovers: leftovers::found(root),
        foreign: foreign::found(root, &current, record.confirmed.is_some())?,
        misplaced: places::misplaced(root, &what.shared),
        drift: drift_of(root, &current, what)?,
        holder,
        lease_over,
        health: Vec::new(),
        machine: machine::id(),
        seat: seat::of(root.path()),
        services,
        services_unseen,
        record,
        current,
    })
}

/// So many old releases of other tools are asked what they are of, the newest first.
const ASKED: usize = 64;

/// What releases that the record knows no commit of say themselves.
fn revisions(root: &Root, record: &Record, releases: &[ReleaseName]) -> BTreeMap<ReleaseName, Sha> {
    let nameless = |name: &&ReleaseName| record.releases.get(*name).is_none_or(|known| known.sha.is_none());
    let asked = releases.iter().rev().filter(nameless).take(ASKED);
    asked.filter_map(|name| Some((name.clone(), revision::of(&root.release(name))?))).collect()
}

/// The record and the link at one moment: a probation is written before the link moves and ends after it moved back, so
/// a record that did not change around the look belongs to it.
fn consistent(root: &Root) -> Result<(Record, Current), HostError> {
    let mut record = root.record()?;
    for _ in 0..16 {
        let link = current(root)?;
        let again = root.record()?;
        if again == record {
            return Ok((record, link));
        }
        record = again;
    }
    let _turn = root.turn()?;
    Ok((root.record()?, current(root)?))
}

/// What `ROOT/current` is. A relative and an absolute link into `ROOT/releases/` mean the same.
pub fn current(root: &Root) -> Result<Current, HostError> {
    let path = root.current();
    let text = match fs::read_link(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Current::Missing),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(Current::NotALink),
        Err(error) => return Err(at("read the link", &path)(error)),
    };
    let elsewhere = || Current::Elsewhere(text.to_string_lossy().into_owned());
    let full = root.path().join(&text);
    let (Some(parent), Some(name)) = (full.parent(), full.file_name()) else { return Ok(elsewhere()) };
    let Ok(name) = name.to_string_lossy().parse::<ReleaseName>() else { return Ok(elsewhere()) };
    let ours = parent == root.releases()
        || matches!((parent.canonicalize(), root.releases().canonicalize()), (Ok(a), Ok(b)) if a == b);
    if ours && fs::symlink_metadata(root.release(&name)).is_ok_and(|meta| meta.is_dir()) {
        return Ok(Current::Release(name));
    }
    Ok(elsewhere())
}

/// The release that `current` leads to, where an operation needs one.
pub fn current_release(root: &Root) -> Result<ReleaseName, HostError> {
    let path = root.current();
    Err(HostError::Precondition(match current(root)? {
        Current::Release(name) => return Ok(name),
        Current::Missing => format!("{} does not exist yet", path.display()),
        Current::NotALink => not_a_link(root),
        Current::Elsewhere(to) => {
            format!("{} leads to {to}, which is no release below {}", path.display(), root.releases().display())
        }
    }))
}

/// What to say where `current` is a directory.
pub fn not_a_link(root: &Root) -> String {
    let path = root.current();
    format!(
        "{} is a real file or directory, not a link: `soll adopt` converts such a root, nothing was changed",
        path.display()
    )
}

/// The names of `required` that the shared environment file does not set; all of them where there is no such file.
pub fn missing_env(root: &Root, env_file: Option<&str>, required: &[String]) -> Result<Vec<String>, HostError> {
    let Some(from) = env_file.filter(|_| !required.is_empty()) else { return Ok(required.to_vec()) };
    check(from)?;
    let path = root.shared().join(from);
    match file::read(&path, file::CONFIGURATION) {
        Ok(bytes) => {
            let text = zeroize::Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
            let _bytes = zeroize::Zeroizing::new(bytes);
            Ok(envfile::missing(&text, required))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound || file::is_unfit(&error) => Ok(required.to_vec()),
        Err(error) if file::leads_nowhere(&path, &error).is_some() => Ok(required.to_vec()),
        Err(error) => Err(at("read", &path)(error)),
    }
}

/// A shared file as an observation sees it.
enum SharedFile {
    Read(Digest),
    Missing,
    /// Something else is there, and why it is not read.
    Unfit(String),
}

/// Of a larger file only the looks are digested: it is data, which nobody wants to have read with every pass.
const LARGE: u64 = 256 << 20;

fn shared_digest(root: &Root, shared: &Shared, is_env: bool) -> Result<SharedFile, HostError> {
    check(&shared.from)?;
    let path = root.shared().join(&shared.from);
    let read = file::fits(&path, if is_env { file::CONFIGURATION } else { u64::MAX }).and_then(|()| file::open(&path));
    let read = read.and_then(|(file, meta)| {
        if meta.len() > LARGE {
            let looks = format!("{} bytes, last changed at {}.{:09}", meta.len(), meta.mtime(), meta.mtime_nsec());
            return Ok(Digest::of(looks.as_bytes()));
        }
        // A file that grows while it is read has another digest at the next look.
        digest(file.take(LARGE)).map(|(digest, _)| digest)
    });
    match read {
        Ok(digest) => Ok(SharedFile::Read(digest)),
        Err(error) if file::is_unfit(&error) => Ok(SharedFile::Unfit(error.to_string())),
        Err(error) => match file::leads_nowhere(&path, &error) {
            Some(why) => Ok(SharedFile::Unfit(why)),
            None if error.kind() == io::ErrorKind::NotFound => Ok(SharedFile::Missing),
            None => Err(at("read", &path)(error)),
        },
    }
}

fn drift_of(root: &Root, current: &Current, what: &Observe) -> Result<Option<DriftReport>, HostError> {
    let Some(name) = current.release() else { return Ok(None) };
    let last = drift::last(root, name);
    let fresh = |report: &DriftReport, seconds: u64| {
        let age = now().duration_since(report.at);
        !age.is_negative() && age.as_secs().unsigned_abs() < seconds
    };
    match what.scan_older_than {
        Some(seconds) if !last.as_ref().is_some_and(|report| fresh(report, seconds)) => {
            drift::scan(root, name, drift::Depth::Bytes)
        }
        _ if what.stamps => {
            // What was never read in full, as far as is known, is read now.
            let depth = if last.is_some() { drift::Depth::Stamps } else { drift::Depth::Bytes };
            drift::scan(root, name, depth)
        }
        _ => Ok(last),
    }
}
