//! What lies on a target, whether it is what was written, and whether a target does all that a backup needs.

use std::io::{Read, Write};

use crate::backup::examine::Expected;
use crate::backup::part::{archived_name, read_back};
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

/// Reads every byte of a backup. Gives what is wrong.
pub fn verify(place: &Target, name: BackupName, parts: &[PartEntry], wanted: &dyn Wanted) -> Vec<String> {
    let dir = name.kind.as_str();
    let mut wrong = Vec::new();
    for part in parts {
        if let Err(error) = read_back(place, dir, &part.file, (part.bytes, part.sha256), wanted) {
            wrong.push(error.0);
        }
        let beside = format!("{}.sha256", part.file);
        match text(place, dir, &beside) {
            Ok(text) if checksum::read(&text, &part.file) == Some(part.sha256) => {}
            Ok(_) => wrong.push(format!("{dir}/{beside} does not hold the checksum of the manifest")),
            Err(error) => wrong.push(error.0),
        }
    }
    wrong
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
