//! Backups on a host: what is asked for becomes streams of [`crate::backup`], and what came of them is noted in the record,
//! which outlives every controller.

mod login;
mod look;
mod part;
mod put_back;
mod quiet;
mod restore;
mod scratch;

use crate::backup::target::{Directory, S3, Sftp, Target};
use crate::backup::{BackupError, Wanted, part as parts};
use crate::host::disk::root::Root;
use crate::host::wire::backup::{Answer, Ask, Refused, TestNote, Work};
use crate::host::wire::{HostError, Reply};
use crate::model::backup::checksum;
use crate::model::backup::name::{ASIDE, BackupName, FileName, RESTORE, What};
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
            Answer::Verified { wrong: look::verify(&place, name, &parts, &wanted).map_err(failed)? }
        }
        Ask::Examine { target, name, files } => {
            let parts = quiet::quietly(gone, |wanted| {
                open(root, &target).and_then(|place| look::examine((root, &place), name, files, wanted))
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

/// A manifest for what something else made, last as always. `replaces`: its own one, which lies beside for a moment, so that no
/// crash loses its words: until there is one of ours, [`look::list`] shows them from there.
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
    let aside = format!("{file}{ASIDE}");
    let there = place.list(dir)?;
    let lies = |name: &str| there.iter().any(|found| found.name == name);
    let (has_own, is_aside) = (lies(&file), lies(&aside));
    if replaces && has_own {
        if !is_aside {
            parts::write_small(place, dir, &aside, &look::text(place, dir, &file)?)?;
        }
        place.remove(dir, &file)?;
    }
    parts::write_small(place, dir, &file, manifest)?;
    if is_aside || (replaces && has_own) { place.remove(dir, &aside) } else { Ok(()) }
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

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "backup-manifest-20261101_010000.txt";
    const BESIDE: &str = "backup-manifest-20261101_010000.txt.before-import";

    fn read(place: &Target, name: &str) -> Option<String> {
        look::text(place, "daily", name).ok()
    }

    /// Wherever an import breaks off: the words of whoever made the backup are there, and the next import finds them.
    #[test]
    fn no_import_that_breaks_off_loses_the_words_of_who_made_the_backup() {
        let name: BackupName = "daily/20261101_010000".parse().unwrap();
        for (left, of) in [(&[OWN][..], "own"), (&[OWN, BESIDE], "own and aside"), (&[BESIDE], "aside alone")] {
            let dir = tempfile::tempdir().unwrap();
            let place = Target::Directory(Directory::open(dir.path(), false).unwrap());
            for file in left {
                parts::write_small(&place, "daily", file, "Backup of a script").unwrap();
            }
            let kept = look::list(&place).unwrap().kept;
            let words: Vec<_> = kept.iter().map(|kept| (kept.name, kept.manifest.as_str())).collect();
            assert_eq!(words, [(name, "Backup of a script")], "{of}");
            import(&place, name, ("of ours", true), &[], "how").unwrap();
            assert_eq!(read(&place, OWN).as_deref(), Some("of ours"), "{of}");
            assert_eq!(read(&place, BESIDE), None, "{of}");
        }
        // Where there was none there is nothing to keep.
        let dir = tempfile::tempdir().unwrap();
        let place = Target::Directory(Directory::open(dir.path(), false).unwrap());
        import(&place, name, ("of ours", false), &[], "how").unwrap();
        assert_eq!(place.list("daily").unwrap().len(), 1);
    }
}
