//! Which machine a host is. A name in the state file means one machine: what is sent there is meant for its customer and
//! its data. The machine says an id of itself, which is noted at first contact, by the controller under the host's name and
//! by the host in the record of each root; another one is refused until a person takes it. The id is told by a host about
//! itself: it finds out a server that was replaced, cloned or reached by mistake, not one that lies. Pure.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{Digest, HostName};

/// The machine that a host, or a root, is known to be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// A digest of its machine id, which is never said itself.
    pub id: Digest,
    /// When that was noted: at first contact, or when a person took it.
    pub since: Timestamp,
}

/// Who had noted another machine than the one that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotedBy {
    /// Under the name of the host.
    Controller,
    /// In the record of the root: a disk that was cloned, restored or moved still names the machine that it was in.
    Record,
}

/// Another machine answers than the one that is known: nothing is sent there and nothing is done there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct OtherMachine {
    pub known: Machine,
    pub by: NotedBy,
    /// The one that answers; `None`: it has no machine id.
    pub found: Option<Digest>,
}

impl fmt::Display for OtherMachine {
    /// Half a sentence, whose subject is the host.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (known, since) = (self.known.id.short(), self.known.since);
        match self.by {
            NotedBy::Controller => f.write_str("another machine answers under this name: ")?,
            NotedBy::Record => f.write_str("the root belongs to another machine: ")?,
        }
        match self.found {
            Some(found) => write!(f, "machine {}", found.short())?,
            None => f.write_str("one without a machine id (its /etc/machine-id is missing or empty)")?,
        }
        match self.by {
            NotedBy::Controller => write!(f, ", in place of {known}, which this controller has known since {since:.0}"),
            NotedBy::Record => write!(
                f,
                " has it now, and its record has named {known} since {since:.0}: the disk was cloned, restored or moved"
            ),
        }
    }
}

/// Why a host on which another machine answers counts as one that is not there.
pub fn refused(host: &HostName, other: &OtherMachine) -> String {
    format!("{other}; {}", cure(host))
}

/// What to do about it.
pub fn cure(host: &HostName) -> String {
    format!(
        "if it was replaced on purpose, take it with `soll acknowledge --host {host}`; if not, look at what answers there"
    )
}

/// Whether the machine that answers is the one that is known. `known`: to the controller, under the host's name; `record`:
/// to the root. What nobody has noted yet is a first contact.
///
/// # Errors
/// Another machine answers, or this one has no id any more: what cannot be told apart is not taken for the same.
pub fn judge(known: Option<&Machine>, record: Option<&Machine>, found: Option<Digest>) -> Result<(), OtherMachine> {
    let noted = [(known, NotedBy::Controller), (record, NotedBy::Record)];
    let other = noted.into_iter().find_map(|(known, by)| Some((known.filter(|known| Some(known.id) != found)?, by)));
    other.map_or(Ok(()), |(known, by)| Err(OtherMachine { known: *known, by, found }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(id: &str) -> Machine {
        Machine { id: Digest::of(id.as_bytes()), since: "2026-01-02T03:04:05Z".parse().unwrap() }
    }

    #[test]
    fn one_that_differs_from_any_note_is_another_one() {
        let (a, b) = (machine("a"), machine("b"));
        let by = |known: Option<&Machine>, record: Option<&Machine>, found: Option<Digest>| {
            judge(known, record, found).err().map(|other| other.by)
        };
        // First contacts: of a machine with and without an id, of a controller without memory, of a root that was made anew.
        assert_eq!(by(None, None, None), None);
        assert_eq!(by(None, None, Some(a.id)), None);
        assert_eq!(by(None, Some(&a), Some(a.id)), None);
        assert_eq!(by(Some(&a), None, Some(a.id)), None);
        assert_eq!(by(Some(&a), Some(&a), Some(a.id)), None);
        // Replaced, with nothing on it, with a root of its own, with a copy of the root.
        for record in [None, Some(&b), Some(&a)] {
            assert_eq!(by(Some(&a), record, Some(b.id)), Some(NotedBy::Controller));
        }
        // Cloned, as a controller sees it that has no memory, and as one sees it that knows the clone.
        for known in [None, Some(&b)] {
            assert_eq!(by(known, Some(&a), Some(b.id)), Some(NotedBy::Record));
        }
        // The id is gone.
        assert_eq!(by(Some(&a), None, None), Some(NotedBy::Controller));
        assert_eq!(by(None, Some(&a), None), Some(NotedBy::Record));
    }

    #[test]
    fn a_root_belongs_to_the_machine_on_which_it_was_taken_first() {
        use crate::model::record::{Record, Refusal};
        let (a, b, later) = (machine("a"), machine("b"), "2026-02-02T00:00:00Z".parse().unwrap());
        let mut record = Record::default();
        record.pin(None, a.since).unwrap();
        assert_eq!(record.machine, None, "what has no id leaves no note");
        record.pin(Some(a.id), a.since).unwrap();
        record.pin(Some(a.id), later).unwrap();
        assert_eq!(record.machine, Some(a));
        for found in [Some(b.id), None] {
            let other = OtherMachine { known: a, by: NotedBy::Record, found };
            assert_eq!(record.pin(found, later), Err(Refusal::OtherMachine(other)));
        }
        record.repin(Some(b.id), later);
        assert_eq!(record.machine, Some(Machine { id: b.id, since: later }));
        record.pin(Some(b.id), later).unwrap();
        record.repin(None, later);
        record.pin(Some(a.id), a.since).unwrap();
        assert_eq!(record.machine, Some(a));
    }

    #[test]
    fn it_is_told_with_what_was_known_and_since_when() {
        let (a, b, web1) = (machine("a"), machine("b"), "web1".parse().unwrap());
        let told = |by, found| refused(&web1, &OtherMachine { known: a, by, found });
        let replaced = told(NotedBy::Controller, Some(b.id));
        let cloned = told(NotedBy::Record, Some(b.id));
        for told in [&replaced, &cloned] {
            for part in [&a.id.short(), &b.id.short(), "2026-01-02T03:04:05Z", "`soll acknowledge --host web1`"] {
                assert!(told.contains(part), "{part} is not in: {told}");
            }
        }
        assert!(cloned.contains("the disk was cloned"), "{cloned}");
        assert!(told(NotedBy::Controller, None).contains("without a machine id"));
    }
}
