//! What lies on a target, whether it is what was written, and whether a target does all that a backup needs.

use std::io::{Read, Write};

use crate::backup::part::read_back;
use crate::backup::target::{NO_RIGHT, Target};
use crate::backup::{BackupError, Wanted};
use crate::host::wire::backup::{Kept, Listed, Tried};
use crate::model::backup::checksum;
use crate::model::backup::manifest::{LARGEST, PartEntry};
use crate::model::backup::name::{BackupName, FileName, Kind, What};
use crate::model::ids::Digest;

/// Everything that lies there under the directories of backups, with the manifests.
pub fn list(place: &Target) -> Result<Listed, BackupError> {
    let (mut files, mut kept) = (Vec::new(), Vec::new());
    for kind in Kind::ALL {
        for found in place.list(kind.as_str())? {
            if let Ok(FileName { at, what: What::Manifest, checksum: false }) = found.name.parse::<FileName>() {
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
    Ok(Listed { files, kept, room: place.room()? })
}

fn text(place: &Target, dir: &str, file: &str) -> Result<String, BackupError> {
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
