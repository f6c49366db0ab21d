//! What lies on a target, whether it is what was written, and whether a target does all that a backup needs.

use std::io::{Read, Write};

use crate::backup::examine::Expected;
use crate::backup::part::{self as parts, archived_name, read_back};
use crate::backup::target::{NO_RIGHT, Target};
use crate::backup::{BackupError, Wanted, examine};
use crate::host::disk::root::Root;
use crate::host::wire::backup::{Examined, Kept, Listed, Question, Tried};
use crate::model::backup::checksum;
use crate::model::backup::manifest::{LARGEST, PartEntry};
use crate::model::backup::name::{ASIDE, BackupName, FileName, Kind, What};
use crate::model::ids::Digest;

/// Everything that lies there under the directories of backups, with the manifests.
pub fn list(place: &Target) -> Result<Listed, BackupError> {
    let (mut files, mut kept) = (Vec::new(), Vec::new());
    for kind in Kind::ALL {
        let there = place.list(kind.as_str())?;
        for found in &there {
            // Of an import that broke off: the words of whoever made the backup, where there is no manifest any more.
            let own = found.name.strip_suffix(ASIDE).filter(|own| there.iter().all(|other| other.name != *own));
            let named = own.unwrap_or(&found.name).parse::<FileName>();
            if let Ok(FileName { at, what: What::Manifest, checksum: false }) = named {
                let (manifest, why) = match text(place, kind.as_str(), &found.name) {
                    Ok(text) => (text, String::new()),
                    Err(error) => (String::new(), error.0),
                };
                kept.push(Kept { name: BackupName { kind, at }, manifest, why });
            }
            files.push((format!("{kind}/{}", found.name), found.bytes));
        }
        let unfinished = place.unfinished(kind.as_str())?.into_iter();
        files.extend(unfinished.map(|found| (format!("{kind}/{}", found.name), found.bytes)));
    }
    Ok(Listed { files, kept })
}

pub(super) fn text(place: &Target, dir: &str, file: &str) -> Result<String, BackupError> {
    let mut text = String::new();
    let most = u64::try_from(LARGEST).unwrap_or(u64::MAX);
    let read = place.read(dir, file)?.take(most).read_to_string(&mut text);
    read.map_err(|error| BackupError(format!("{dir}/{file} cannot be read: {error}")))?;
    Ok(text)
}

/// Reads every byte of a backup. Gives what is wrong, and beside that what could not be read.
///
/// # Errors
/// Nothing wrong was seen, and something could not be read: nobody knows whether the backup is whole.
pub fn verify(
    place: &Target,
    name: BackupName,
    parts: &[PartEntry],
    wanted: &dyn Wanted,
) -> Result<Vec<String>, BackupError> {
    let dir = name.kind.as_str();
    let there = place.list(dir)?;
    let lies = |file: &str| there.iter().any(|found| found.name == file);
    let one = |part: &PartEntry| match lies(&part.file) {
        true => parts::compared(place, dir, &part.file, (part.bytes, part.sha256), (None, wanted)),
        false => Ok(Some(format!("{dir}/{} is not there", part.file))),
    };
    let beside = |part: &PartEntry| {
        let beside = format!("{}.sha256", part.file);
        if !lies(&beside) {
            return Ok(Some(format!("{dir}/{beside} is not there")));
        }
        let is = checksum::read(&text(place, dir, &beside)?, &part.file) == Some(part.sha256);
        Ok((!is).then(|| format!("{dir}/{beside} does not hold the checksum of the manifest")))
    };
    let (mut wrong, mut unread) = (Vec::new(), Vec::new());
    for seen in parts.iter().flat_map(|part| [one(part), beside(part)]) {
        match seen {
            Ok(why) => wrong.extend(why),
            Err(error) => unread.push(error.0),
        }
    }
    match wrong.is_empty() && !unread.is_empty() {
        true => Err(BackupError(unread.join("; "))),
        false => Ok([wrong, unread].concat()),
    }
}

/// Reads files that something else made to their end, and compares each with the checksum beside it.
pub fn examine(
    (root, place): (&Root, &Target),
    name: BackupName,
    files: Vec<Question>,
    wanted: &dyn Wanted,
) -> Result<Vec<Examined>, BackupError> {
    let dir = name.kind.as_str();
    let there = place.list(dir)?;
    let mut parts = Vec::new();
    for Question { file, engine, path } in files {
        let Ok(FileName { at, what: What::Part(part), checksum: false }) = file.parse::<FileName>() else {
            return Err(BackupError(format!("{file} is not the name of a part of {name}")));
        };
        if at != name.at {
            return Err(BackupError(format!("{file} is not the name of a part of {name}")));
        }
        let held = path.map(|path| archived_name(&root.path().join(path), root.path()));
        let found = examine::examine(place, (dir, &file), &part, &Expected { engine, name: held }, wanted)?;
        let beside = format!("{file}.sha256");
        let has_checksum = there.iter().any(|found| found.name == beside);
        let sha256 = found.sha256.unwrap_or_else(|| Digest::of(b""));
        let mut wrong = found.wrong;
        if has_checksum && checksum::read(&text(place, dir, &beside)?, &file) != Some(sha256) {
            wrong = Some(format!("{file} is not what {beside} says: it was changed, or is cut off"));
        }
        let examine::Found { bytes, plain, rows, entries, remarks, .. } = found;
        parts.push(Examined { file, bytes, sha256, plain, rows, entries, has_checksum, remarks, wrong });
    }
    Ok(parts)
}

/// mkdir and put, list, read, remove, one after the other, with a file of a few bytes. Ends at the first step that fails: the
/// others need it. What was written is removed, whatever failed after it. An account that may not delete does for backups:
/// that nothing is pruned there is a remark.
pub fn try_out(open: impl FnOnce() -> Result<Target, BackupError>, wanted: &dyn Wanted) -> Vec<Tried> {
    const DIR: &str = "manual";
    let mut steps = Vec::new();
    let mut step = |name: &str, done: Result<(), BackupError>| {
        let why = done.err().map(|error| error.0);
        let went = why.is_none();
        steps.push(Tried { step: name.to_owned(), why, remark: None });
        went
    };
    let place = match open() {
        Ok(place) => place,
        Err(error) => {
            step("open", Err(error));
            return steps;
        }
    };
    step("open", Ok(()));
    // A name that no backup has, and that nobody else is trying at the same time.
    let file = format!("soll-test-{}-{}", std::process::id(), jiff::Timestamp::now().as_nanosecond());
    let contents = file.clone().into_bytes();
    let put = || {
        let mut put = place.put(DIR, &file)?;
        put.write_all(&contents).map_err(|error| BackupError(error.to_string()))?;
        put.end()
    };
    let listed = || match place.list(DIR)?.iter().any(|found| found.name == file) {
        true => Ok(()),
        false => Err(BackupError(format!("{DIR}/{file} was written, and is not listed"))),
    };
    let expected = (contents.len() as u64, Digest::of(&contents));
    if !step("write", put()) {
        return steps;
    }
    let went = step("list", listed()) && step("read", read_back(&place, DIR, &file, expected, wanted));
    match place.remove(DIR, &file) {
        Ok(()) if went => drop(step("remove", Ok(()))),
        Err(error) if went && error.0.contains(NO_RIGHT) => {
            let remark = format!("{NO_RIGHT} there; {DIR}/{file} of this trial stays");
            steps.push(Tried { step: "remove".to_owned(), why: None, remark: Some(remark) });
        }
        Err(error) if went => drop(step("remove", Err(error))),
        // What failed before it is what there is to tell.
        Ok(()) | Err(_) => {}
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::target::Directory;
    use crate::model::backup::name::Content;

    struct Asked(bool);
    impl Wanted for Asked {
        fn is_wanted(&self) -> bool {
            self.0
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_word_about_the_backup() {
        let dir = tempfile::tempdir().unwrap();
        let place = Target::Directory(Directory::open(dir.path(), false).unwrap());
        let name: BackupName = "daily/20261101_010000".parse().unwrap();
        let part = |file: &str| PartEntry {
            file: file.to_owned(),
            name: None,
            content: Content::Database,
            bytes: 1,
            sha256: Digest::of(b"x"),
            plain_bytes: None,
            plain_sha256: None,
            unknown: std::collections::BTreeMap::new(),
            database: None,
            files: None,
        };
        let (whole, gone) = (part("backup-db-20261101_010000.sql"), part("backup-app-20261101_010000.tar"));
        parts::write_small(&place, "daily", &whole.file, "x").unwrap();
        let line = checksum::line(&whole.sha256, &whole.file);
        parts::write_small(&place, "daily", &format!("{}.sha256", whole.file), &line).unwrap();
        let seen = |parts: &[PartEntry], wanted| verify(&place, name, parts, &Asked(wanted)).map_err(|error| error.0);
        assert_eq!(seen(std::slice::from_ref(&whole), true), Ok(Vec::new()));
        let other = PartEntry { sha256: Digest::of(b"y"), ..whole.clone() };
        assert_eq!(seen(&[other], true).map(|wrong| wrong.len()), Ok(2));
        // Who reads it is gone: so is the answer, except where something else was seen to be wrong.
        assert!(seen(std::slice::from_ref(&whole), false).is_err_and(|why| why.contains("nobody waits")));
        let wrong = seen(&[whole, gone], false).unwrap();
        assert_eq!(wrong[0], "daily/backup-app-20261101_010000.tar is not there");
        assert!(wrong.len() == 3 && wrong[2].contains("nobody waits"), "{wrong:?}");
    }
}
