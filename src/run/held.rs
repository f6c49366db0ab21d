//! A commit in which some of its parts are wrong: included files, environments of the state file itself. What its good parts
//! define is as they say; an environment that a wrong one defines stays as the newest commit before it has it in which that part
//! was good. Each environment is that of one commit, never a mixture; and what is wrong for one customer keeps nobody from
//! looking after the others.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::model::desired::diagnose::Diagnostics;
use crate::model::desired::load::{Loaded, mentioned};
use crate::model::desired::part::Part;
use crate::model::desired::{Desired, Environment};
use crate::model::ids::EnvName;
use crate::run::controller::{Controller, ControllerError, Snapshot};
use crate::state_repo::CommitId;

/// So many commits are read on the way back to a good one, and of older ones those that changed what was wrong.
const READ: usize = 32;
/// So far back nobody looks.
const FAR: usize = 2_000;

/// What of a commit is wrong, and what it keeps as it was.
#[derive(Debug, Clone)]
pub struct Held {
    /// All that is wrong, with its places.
    pub found: Box<Diagnostics>,
    /// The parts that are left out: those, and parts that use what those define.
    pub parts: BTreeSet<Part>,
    /// What stays as it was, and as which commit has it.
    pub environments: BTreeMap<EnvName, CommitId>,
}

impl Held {
    /// For people: what is wrong, and what it leads to.
    pub fn told(&self, commit: &CommitId) -> String {
        let parts: Vec<_> = self.found.wrong_parts().iter().map(Part::to_string).collect();
        let (parts, at) = (parts.join(", "), commit.short());
        let kept: Vec<_> = self
            .environments
            .iter()
            .map(|(name, commit)| format!("{name} as commit {} has it", commit.short()))
            .collect();
        match kept.is_empty() {
            true => format!("{parts} is wrong in commit {at}, and what it defines is left out"),
            false => {
                format!("{parts} is wrong in commit {at}, and until it is corrected this stays: {}", kept.join(", "))
            }
        }
    }
}

/// A commit as far as it can be read.
pub(in crate::run) struct Readable {
    pub loaded: Loaded,
    /// What is wrong, and the parts that were left out for it.
    pub wrong: Option<(Box<Diagnostics>, BTreeSet<Part>)>,
}

impl Controller {
    /// The desired state of one commit, as far as it is good.
    ///
    /// # Errors
    /// [`ControllerError::Invalid`]: the state file itself is wrong, or nobody can say without the others.
    pub fn snapshot_in_part(&self, commit: CommitId) -> Result<Snapshot, ControllerError> {
        let Readable { mut loaded, wrong } = self.readable(&commit, None)?;
        let Some((found, parts)) = wrong else { return self.prepared(commit, loaded, None) };
        let mut held = Held { found, parts, environments: BTreeMap::new() };
        let mut kept = Vec::new();
        for (part, (good, before)) in self.before(commit, &held.parts)? {
            let (doubtful, is_whole) = match &part {
                Part::Environment { name, .. } => (BTreeSet::from([name.clone()]), false),
                Part::File(file) => {
                    // What cannot be read mentions nothing.
                    let text = self.repo.read(&commit, file).ok().flatten().unwrap_or_default();
                    (mentioned(&String::from_utf8_lossy(&text)), true)
                }
            };
            // One that it defines as well as a good file: nobody knows which is meant.
            loaded.desired.environments.retain(|name, _| !doubtful.contains(name));
            kept.push((part.file().to_owned(), doubtful, is_whole, good, before));
        }
        // After all of them: what one part keeps another one may mention.
        for (file, doubtful, is_whole, good, before) in kept {
            for (name, env) in &before.desired.environments {
                let is_of = doubtful.contains(name) || (is_whole && before.defined_in.get(name) == Some(&file));
                if !is_of || !may_stay(env, &loaded.desired) {
                    continue;
                }
                held.environments.insert(name.clone(), good);
                let defined_in = before.defined_in.get(name).unwrap_or(&file).clone();
                loaded.defined_in.insert(name.clone(), defined_in);
                loaded.desired.environments.insert(name.clone(), env.clone());
            }
        }
        self.prepared(commit, loaded, Some(held))
    }

    /// The newest commit before this one that can be read, where this one's state file is wrong itself.
    ///
    /// # Errors
    /// The history cannot be read.
    pub(in crate::run) fn good_before(&self, commit: CommitId) -> Result<Option<Snapshot>, ControllerError> {
        let mut way = Way::new(self, commit, BTreeSet::new())?;
        while let Some(before) = way.next()? {
            if let Ok(snapshot) = self.snapshot_in_part(before) {
                return Ok(Some(snapshot));
            }
        }
        Ok(None)
    }

    /// What can be read of a commit, with one file replaced by a text that is not committed yet: a part in which something is
    /// wrong is left out, and so is one that uses what that one defines.
    ///
    /// # Errors
    /// [`ControllerError::Invalid`]: what is wrong in the state file itself is no environment's alone.
    pub(in crate::run) fn readable(
        &self,
        commit: &CommitId,
        instead: Option<(&str, &str)>,
    ) -> Result<Readable, ControllerError> {
        let mut wrong: Option<(Box<Diagnostics>, BTreeSet<Part>)> = None;
        loop {
            let none = BTreeSet::new();
            let without = wrong.as_ref().map_or(&none, |(_, parts)| parts);
            let found = match self.load_without(commit, instead, without) {
                Ok(loaded) => return Ok(Readable { loaded, wrong }),
                Err(ControllerError::Invalid(found)) => found,
                Err(error) => return Err(error),
            };
            let parts = found.wrong_parts();
            let is_new = parts.iter().any(|part| !without.contains(part));
            if parts.contains(&Part::File(self.settings.file.clone())) || !is_new {
                return Err(ControllerError::Invalid(wrong.map_or(found, |(first, _)| first)));
            }
            wrong.get_or_insert_with(|| (found, BTreeSet::new())).1.extend(parts);
        }
    }

    /// For each of these parts the newest commit before this one in which it was good, and what that one says.
    fn before(
        &self,
        commit: CommitId,
        parts: &BTreeSet<Part>,
    ) -> Result<BTreeMap<Part, (CommitId, Rc<Loaded>)>, ControllerError> {
        let mut found = BTreeMap::new();
        let mut way = Way::new(self, commit, parts.iter().map(|part| part.file().to_owned()).collect())?;
        while found.len() < parts.len()
            && let Some(before) = way.next()?
        {
            let Ok(Readable { loaded, wrong }) = self.readable(&before, None) else { continue };
            // One commit may be what a thousand parts go back to.
            let loaded = Rc::new(loaded);
            let is_good = |part: &&Part| wrong.as_ref().is_none_or(|(_, wrong)| !wrong.contains(*part));
            for part in parts.iter().filter(is_good) {
                found.entry(part.clone()).or_insert_with(|| (before, loaded.clone()));
            }
        }
        Ok(found)
    }
}

/// Whether an environment of an earlier commit may stand beside those of a newer one: none has its name by now, and none
/// has taken one of its roots, which two would then fight for.
fn may_stay(env: &Environment, beside: &Desired) -> bool {
    let has = |other: &Environment| {
        let same = |a: &crate::model::desired::Target| {
            other.targets.iter().any(|b| a.address == b.address && a.port == b.port && a.root == b.root)
        };
        env.targets.iter().any(same)
    };
    !beside.environments.contains_key(&env.name) && !beside.environments.values().any(has)
}

/// The commits before one, by their first parents: what the branch was at earlier. Of those that are far those that differ
/// from the one after them in the files that are asked about, or in the state file.
struct Way<'a> {
    controller: &'a Controller,
    at: CommitId,
    files: BTreeSet<String>,
    last: Vec<Option<String>>,
    steps: usize,
}

impl<'a> Way<'a> {
    fn new(controller: &'a Controller, at: CommitId, mut files: BTreeSet<String>) -> Result<Way<'a>, ControllerError> {
        files.insert(controller.settings.file.clone());
        let last = controller.repo.blobs(&at, &files)?;
        Ok(Way { controller, at, files, last, steps: 0 })
    }

    fn next(&mut self) -> Result<Option<CommitId>, ControllerError> {
        while self.steps < FAR {
            let Some(before) = self.controller.repo.commit_info(&self.at)?.parents.first().copied() else { break };
            (self.at, self.steps) = (before, self.steps + 1);
            let blobs = self.controller.repo.blobs(&before, &self.files)?;
            let differs = std::mem::replace(&mut self.last, blobs) != self.last;
            if differs || self.steps <= READ {
                return Ok(Some(before));
            }
        }
        Ok(None)
    }
}
