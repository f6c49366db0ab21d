//! Backups on a host: what is asked for becomes streams of [`crate::backup`], and what came of them is noted in the record,
//! which outlives every controller.

mod login;
mod look;
mod part;
mod put_back;
mod quiet;
mod restore;
mod scratch;

use std::io;

use crate::backup::target::{Directory, S3, Sftp, Target};
use crate::backup::{BackupError, Wanted, part as parts};
use crate::host::disk::root::Root;
use crate::host::wire::backup::{Answer, Ask, Refused, TestNote, Work};
use crate::host::wire::{HostError, Reply};
use crate::model::backup::checksum;
use crate::model::backup::manifest::LARGEST;
use crate::model::backup::name::{BackupName, FileName, RESTORE, What};
use crate::model::desired::backup::{BackupTarget, Place};
use crate::model::ids::Digest;

/// Does what is asked under an epoch.
///
/// # Errors
/// [`HostError::Io`]: it cannot be done, and why; [`HostError::Connection`]: nobody waits for it any more.
pub fn work(root: &Root, work: Work, gone: &dyn Fn() -> bool) -> Result<Reply, HostError> {
    let answer = match work {
        Work::Begin { job, name, targets } => {
            let name = root.update(|record| Ok(record.begin_backup(&job, name)))?;
            // A target that cannot be had says so when it is written to.
            let room = |target: &BackupTarget| Some((target.name.clone(), open(root, target).ok()?.room().ok()??));
            Answer::Begun { name, room: targets.iter().filter_map(room).collect() }
        }
        Work::Part(part) => {
            quiet::quietly(gone, |wanted| part::make(root, *part, wanted)).map(|made| Answer::Part(Box::new(made)))?
        }
        Work::Seal { targets, name, manifest, by_hand } => {
            Answer::Sealed { refused: seal(root, &targets, name, &manifest, &by_hand) }
        }
        Work::End { job, end } => root.update(|record| {
            record.end_backup(&job, end);
            Ok(Answer::Done)
        })?,
        Work::Import { target, name, manifest, checksums, replaces, by_hand } => {
            let place = open(root, &target).map_err(failed)?;
            import(&place, name, (&manifest, replaces), &checksums, &by_hand).map_err(failed)?;
            Answer::Done
        }
        Work::Remove { target, paths } => {
            let place = open(root, &target).map_err(failed)?;
            for path in paths {
                let (dir, file) = path.split_once('/').unwrap_or(("", &path));
                place.remove(dir, file).map_err(failed)?;
            }
            Answer::Done
        }
        Work::PutBack(asked) => {
            let told = quiet::quietly(gone, |wanted| put_back::put_back(root, &asked, wanted))?;
            Answer::Restored { told }
        }
        Work::Restoring { restoring } => root.update(|record| {
            record.restoring = restoring;
            Ok(Answer::Done)
        })?,
        Work::Prove(asked) => {
            let proved = quiet::quietly(gone, |wanted| restore::prove(root, &asked, wanted))?;
            Answer::Proved(Box::new(proved))
        }
    };
    Ok(Reply::Backup(Box::new(answer)))
}

/// Answers what anybody may ask.
///
/// # Errors
/// As for [`work`].
pub fn ask(root: &Root, ask: Ask, gone: &dyn Fn() -> bool) -> Result<Reply, HostError> {
    let wanted = Asker(gone);
    let answer = match ask {
        Ask::List { target } => {
            let listed = open(root, &target).and_then(|place| look::list(&place)).map_err(failed)?;
            Answer::Listed(Box::new(listed))
        }
        Ask::Verify { target, name, parts } => {
            let place = open(root, &target).map_err(failed)?;
            Answer::Verified { wrong: look::verify(&place, name, &parts, &wanted) }
        }
        Ask::Examine { target, name, files } => {
            let parts = quiet::quietly(gone, |wanted| {
                open(root, &target).and_then(|place| look::examine(&place, name, files, wanted))
            });
            Answer::Examined { parts: parts.map_err(failed)? }
        }
        Ask::Note { job, note } if root.is_managed() => root.update(|record| {
            match note {
                TestNote::Begun(at) => record.begin_test(&job, at),
                TestNote::Ended(trial) => record.end_test(&job, trial),
            }
            Ok(Answer::Done)
        })?,
        // Where nothing was ever deployed there is nothing to remember.
        Ask::Note { .. } => Answer::Done,
        Ask::Try { target } => Answer::Tried { steps: look::try_out(|| open(root, &target), &wanted) },
    };
    Ok(Reply::Backup(Box::new(answer)))
}

/// The manifest to every target that has all parts. What is in the name of a person's way out lies beside it.
fn seal(root: &Root, targets: &[BackupTarget], name: BackupName, manifest: &str, by_hand: &str) -> Vec<Refused> {
    let file = FileName { at: name.at, what: What::Manifest, checksum: false }.to_string();
    let write = |target: &BackupTarget| -> Result<(), BackupError> {
        let place = open(root, target)?;
        if place.list("")?.iter().all(|found| found.name != RESTORE) {
            parts::write_small(&place, "", RESTORE, by_hand)?;
        }
        parts::write_small(&place, name.kind.as_str(), &file, manifest)
    };
    let refused = |target: &BackupTarget| {
        let why = write(target).err()?.0;
        Some(Refused { target: target.name.clone(), why })
    };
    targets.iter().filter_map(refused).collect()
}

/// A manifest for what something else made, last as always. Its own one lies beside for a moment, so that no crash loses its
/// words.
fn import(
    place: &Target,
    name: BackupName,
    (manifest, replaces): (&str, bool),
    checksums: &[(String, Digest)],
    by_hand: &str,
) -> Result<(), BackupError> {
    let dir = name.kind.as_str();
    for (file, sha256) in checksums {
        parts::write_small(place, dir, &format!("{file}.sha256"), &checksum::line(sha256, file))?;
    }
    if place.list("")?.iter().all(|found| found.name != RESTORE) {
        parts::write_small(place, "", RESTORE, by_hand)?;
    }
    let file = FileName { at: name.at, what: What::Manifest, checksum: false }.to_string();
    if !replaces {
        return parts::write_small(place, dir, &file, manifest);
    }
    let aside = format!("{file}.before-import");
    let mut text = String::new();
    let most = u64::try_from(LARGEST).unwrap_or(u64::MAX);
    let read = io::Read::read_to_string(&mut io::Read::take(place.read(dir, &file)?, most), &mut text);
    read.map_err(|error| BackupError(format!("{dir}/{file} cannot be read: {error}")))?;
    if place.list(dir)?.iter().all(|found| found.name != aside) {
        parts::write_small(place, dir, &aside, &text)?;
    }
    place.remove(dir, &file)?;
    parts::write_small(place, dir, &file, manifest)?;
    place.remove(dir, &aside)
}

/// The place behind a target. What lies below ROOT is made there; what is elsewhere was put there by somebody.
fn open(root: &Root, target: &BackupTarget) -> Result<Target, BackupError> {
    match &target.place {
        Place::Directory(path) => {
            let path = std::path::Path::new(path);
            Directory::open(path, path.starts_with(root.path())).map(Target::Directory)
        }
        Place::Sftp(place) => Sftp::of(place).map(Target::Sftp),
        Place::S3(place) => S3::of(place).map(Target::S3),
    }
}

fn failed(error: BackupError) -> HostError {
    HostError::Io(error.0)
}

/// Whoever asked.
struct Asker<'a>(&'a dyn Fn() -> bool);

impl Wanted for Asker<'_> {
    fn is_wanted(&self) -> bool {
        !(self.0)()
    }
}
