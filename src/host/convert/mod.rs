//! From a plain checkout to a root with releases, and back: nothing is copied and nothing is deleted, everything is moved
//! by renames on one file system. The steps are written down before the first one (law 5), so that whoever comes after a
//! crash goes on, or back. `survey` looks and plans, `steps` does one step either way.

mod steps;
mod survey;

use std::fs;

use serde::{Deserialize, Serialize};

use crate::fault::fault;
use crate::host::disk::root::{Root, json};
use crate::host::wire::convert::{Convert, Kind, Step, Survey};
use crate::host::wire::{HostError, Reply};
use crate::model::format::{Form, Unreadable};
use crate::model::ids::ReleaseName;
use crate::model::record::Record;

pub use survey::survey;

/// Written before the first step, and after each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Journal {
    name: ReleaseName,
    steps: Vec<Step>,
    /// So many were done; the one after may have been, too.
    done: usize,
    back: bool,
    finished: bool,
}

const FILE: &str = "convert.json";

/// The first version says none.
const FORM: Form = Form { known: 1, unsaid: Some(1) };

/// Does it.
///
/// # Errors
/// [`HostError::Precondition`]: it is refused, and nothing was changed. Others: run it again, or undo it.
pub fn perform(root: &Root, convert: &Convert) -> Result<Reply, HostError> {
    match convert {
        Convert::Do(ask) => begin(root, ask).map(|name| Reply::Converted { name: Some(name) }),
        Convert::Undo => undo(root).map(|()| Reply::Converted { name: None }),
    }
}

/// Refuses everything else while a conversion is half done: a deployment would not find the data.
pub fn guard(root: &Root) -> Result<(), HostError> {
    match Journal::load(root)? {
        Some(journal) if !journal.finished => Err(HostError::Precondition(format!(
            "the conversion of {} was begun and not finished: `soll adopt ENV` goes on with it, `soll adopt ENV --undo` takes it back",
            root.path().display()
        ))),
        _ => Ok(()),
    }
}

fn begin(root: &Root, ask: &Survey) -> Result<ReleaseName, HostError> {
    let mut journal = match Journal::load(root)? {
        Some(journal) if journal.finished => return Ok(journal.name),
        Some(journal) if journal.back => {
            let text = "an undo was begun here and not finished: `soll adopt ENV --undo` goes on with it";
            return Err(HostError::Precondition(text.to_owned()));
        }
        Some(journal) => journal,
        None => {
            let seen = survey(root, ask)?;
            let first = seen.refused.first().map(|(what, next)| format!("{what}: {next}"));
            let data = seen.uncovered.first().map(|(path, why)| {
                format!("`{path}` ({why}) is covered by no shared path: --shared {path}, or --leave {path}")
            });
            if let Some(why) = first.or(data) {
                return Err(HostError::Precondition(why));
            }
            if seen.kind != Kind::Checkout {
                return Err(HostError::Precondition(
                    "this root is no plain checkout: there is nothing to convert".to_owned(),
                ));
            }
            let journal =
                Journal { name: seen.name, steps: seen.steps.into_told(), done: 0, back: false, finished: false };
            journal.save(root)?;
            journal
        }
    };
    fault!("host.convert.after-journal");
    while let Some(step) = journal.steps.get(journal.done) {
        step.forward(root)?;
        fault!("host.convert.after-step");
        journal.done += 1;
        journal.save(root)?;
    }
    journal.finished = true;
    journal.save(root)?;
    fault!("host.convert.after-done");
    Ok(journal.name)
}

fn undo(root: &Root) -> Result<(), HostError> {
    let Some(mut journal) = Journal::load(root)? else {
        return Err(HostError::Precondition("no conversion was made here: there is nothing to undo".to_owned()));
    };
    let record = root.record()?;
    if let Some(why) = acted(&record) {
        return Err(HostError::Precondition(format!(
            "{why} since the conversion: its data live in shared/ now, and an undo would take them from the releases"
        )));
    }
    if !journal.back {
        // The step after the last one that was noted may have been done.
        journal.done = (journal.done + 1).min(journal.steps.len());
        (journal.back, journal.finished) = (true, false);
        journal.save(root)?;
    }
    while let Some(last) = journal.done.checked_sub(1) {
        journal.steps[last].back(root)?;
        fault!("host.convert.after-back-step");
        journal.done = last;
        journal.save(root)?;
    }
    // Holding a root makes them; an undo leaves them only where they hold something.
    for dir in [root.releases(), root.shared()] {
        let _ = fs::remove_dir(dir);
    }
    root.remove_own(FILE)
}

/// Whether `soll` has taken the converted root over, or deployed to it.
fn acted(record: &Record) -> Option<&'static str> {
    match record {
        Record { probation: Some(_), .. } => Some("a release was put on probation"),
        Record { confirmed: Some(_), .. } => Some("a release was confirmed"),
        Record { releases, .. } if !releases.is_empty() => Some("releases were made"),
        _ => None,
    }
}

impl Journal {
    fn load(root: &Root) -> Result<Option<Journal>, HostError> {
        let path = root.own(FILE);
        match root.read_own(FILE)? {
            Some(bytes) => FORM.read(&bytes).map(Some).map_err(|error| {
                let path = path.display();
                HostError::Io(match error {
                    Unreadable::Newer { .. } => format!("{path} says what was moved where: {error}"),
                    Unreadable::Damaged(error) => {
                        format!("{path} cannot be understood ({error}): it says what was moved where")
                    }
                })
            }),
            None => Ok(None),
        }
    }

    fn save(&self, root: &Root) -> Result<(), HostError> {
        root.write(FILE, &json(self)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_of_every_version_is_read() {
        let of: [&[u8]; 2] = [
            include_bytes!("../../../fixtures/formats/v1/convert.json"),
            include_bytes!("../../../fixtures/formats/v2/convert.json"),
        ];
        for bytes in of {
            let journal: Journal = FORM.read(bytes).unwrap();
            assert!(journal.finished && !journal.back && journal.done == journal.steps.len() && journal.done == 6);
        }
    }
}
