//! Commits that this program makes: a new desired commit for environments, or one key of their tables, with the
//! reason in the message. Everything else in the files stays byte for byte (contract 1.2).

use std::collections::BTreeMap;

use crate::model::desired::Environment;
use crate::model::desired::edit::{self, TableName};
use crate::model::desired::part::Part;
use crate::model::desired::suggest;
use crate::model::ids::{EnvName, Sha};
use crate::run::controller::{Controller, ControllerError, Snapshot};
use crate::state_repo::{CommitId, Edits, Publish};

/// Of so many names a message that misses one says all, and of more how many there are.
const NAMED: usize = 12;

/// One change to a table.
#[derive(Debug, Clone)]
pub enum Change {
    Release(String),
    Set { key: &'static str, value: String },
    Remove { key: &'static str },
}

/// The table that a change is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Environment(EnvName),
    /// What all environments that extend it take from it.
    Template(String),
}

/// One line of the state file that is set or removed.
#[derive(Debug, Clone)]
pub struct Line {
    pub place: Place,
    pub change: Change,
}

impl Line {
    /// Of an environment.
    pub fn of(env: EnvName, change: Change) -> Line {
        Line { place: Place::Environment(env), change }
    }
}

/// Commits `change` of `env` on top of the newest commit, and pushes where that is asked for. `expect`: refused where
/// the release is another one by now.
///
/// # Errors
/// Those of [`commit_all`]; the release is another one by now.
pub fn commit(
    controller: &Controller,
    env: &EnvName,
    change: &Change,
    message: &str,
    expect: Option<&str>,
) -> Result<CommitId, ControllerError> {
    let line = Line::of(env.clone(), change.clone());
    publish(controller, &[line], message, |snapshot| {
        let now = known(snapshot, env)?.release.as_str();
        match expect.filter(|expect| *expect != now) {
            Some(expect) => Err(ControllerError::Other(format!(
                "{env} asks for {now} by now, no longer for {expect}: nothing was committed"
            ))),
            None => Ok(()),
        }
    })
}

/// Commits all of these lines as one commit on top of the newest one: either all of them are committed, or none is.
///
/// # Errors
/// A table is not there or wrong in the newest commit, a line cannot be edited, or the state would be none that is acted on.
pub fn commit_all(controller: &Controller, lines: &[Line], message: &str) -> Result<CommitId, ControllerError> {
    publish(controller, lines, message, |_| Ok(()))
}

fn publish(
    controller: &Controller,
    lines: &[Line],
    message: &str,
    may: impl Fn(&Snapshot) -> Result<(), ControllerError>,
) -> Result<CommitId, ControllerError> {
    let publish = Publish {
        author: controller.author(),
        signing_key: controller.settings.signing_key.clone(),
        push: controller.settings.push,
    };
    if controller.signers.is_some() && publish.signing_key.is_none() {
        return Err(ControllerError::Other(
            "only signed commits count here, and there is no signing key: nothing was committed; name an SSH private key \
             with SOLL_SIGNING_KEY, or `signing_key` in the settings"
                .to_owned(),
        ));
    }
    controller.repo.edit_and_push(&publish, |parent| {
        // A commit of ours vouches for everything below it.
        let snapshot = controller.accepted_parent(parent)?;
        may(&snapshot)?;
        let texts = edited(controller, &snapshot, lines)?;
        // What the loop would refuse is not committed. What was wrong in other parts before is not this commit's.
        let now = controller.readable(parent, &texts)?;
        let was_wrong = |part: &Part| snapshot.held.as_ref().is_some_and(|held| held.parts.contains(part));
        if let Some((found, parts)) = now.wrong
            && !parts.iter().all(was_wrong)
        {
            return Err(ControllerError::Invalid(found));
        }
        let files = texts.into_iter().map(|(file, text)| (file, Some(text.into_bytes()))).collect();
        Ok(Edits { files, message: message.to_owned() })
    })
}

/// The files that these lines stand in, with the lines as they should be.
fn edited(
    controller: &Controller,
    snapshot: &Snapshot,
    lines: &[Line],
) -> Result<BTreeMap<String, String>, ControllerError> {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for Line { place, change } in lines {
        let (file, table) = match place {
            Place::Environment(env) => {
                known(snapshot, env)?;
                must_be_of_this_commit(snapshot, [env])?;
                (snapshot.written.file_of(env), TableName::from(env.as_str()))
            }
            Place::Template(name) => (Some(template(snapshot, name)?), TableName::template(name)),
        };
        let file = file.unwrap_or(&controller.settings.file);
        if !texts.contains_key(file) {
            let bytes = controller.repo.read(&snapshot.commit, file)?.unwrap_or_default();
            let text = String::from_utf8(bytes).map_err(|_| ControllerError::Other(format!("{file} is not UTF-8")))?;
            texts.insert(file.to_owned(), text);
        }
        let text = &texts[file];
        let edited = match change {
            Change::Release(release) => edit::set_release(text, table, release),
            Change::Set { key, value } => edit::set_string(text, table, key, value),
            Change::Remove { key } => edit::remove_key(text, table, key),
        };
        let edited = edited.map_err(|error| ControllerError::Other(format!("{file}: {error}")))?;
        texts.insert(file.to_owned(), edited);
    }
    Ok(texts)
}

/// What is decided about these environments is decided about this commit: none of them stays as an earlier one has it.
///
/// # Errors
/// [`ControllerError::Invalid`]: what is wrong in the file that defines one.
pub fn must_be_of_this_commit<'a>(
    snapshot: &Snapshot,
    names: impl IntoIterator<Item = &'a EnvName>,
) -> Result<(), ControllerError> {
    let Some(held) = &snapshot.held else { return Ok(()) };
    match names.into_iter().any(|name| held.environments.contains_key(name)) {
        true => Err(ControllerError::Invalid(held.found.clone())),
        false => Ok(()),
    }
}

/// Takes a failed release back in the state repository (H2).
pub fn revert(
    controller: &Controller,
    env: &Environment,
    from: &Sha,
    to: &Sha,
    reason: &str,
) -> Result<CommitId, ControllerError> {
    let message = format!("Revert {} to {}: {} failed\n\n{reason}\n", env.name, to.short(), from.short());
    commit(controller, &env.name, &Change::Release(to.to_string()), &message, Some(env.release.as_str()))
}

/// The environment of that name.
///
/// # Errors
/// There is none, or not on this host (pull mode): with the names that there are.
pub fn known<'a>(snapshot: &'a Snapshot, name: &EnvName) -> Result<&'a Environment, ControllerError> {
    let environments = &snapshot.desired.environments;
    environments.get(name).ok_or_else(|| {
        if let Some(host) =
            snapshot.desired.whole.get(name).and(environments.values().next()).and_then(|e| e.targets.first())
        {
            let message = format!("`{name}` does not run on the host `{}`, and this is pull mode for it", host.name);
            return ControllerError::Other(message);
        }
        let names = environments.keys().map(EnvName::as_str);
        ControllerError::NotThere { what: "environment", name: name.to_string(), known: listed(name.as_str(), names) }
    })
}

/// The file in which the template of that name is defined.
///
/// # Errors
/// There is none: with the names that there are.
pub fn template<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a str, ControllerError> {
    let templates = &snapshot.written.templates;
    templates.get(name).map(|own| own.file.as_str()).ok_or_else(|| {
        let known = listed(name, templates.keys().map(String::as_str));
        ControllerError::NotThere { what: "template", name: name.to_owned(), known }
    })
}

/// The names that there are, for a message that misses `name`: all of them, or the one that was probably meant and how many
/// others there are.
pub fn listed<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.into_iter().collect();
    let near = suggest::closest(name, known.iter().copied());
    let all = match known.len() {
        0 => "there are none".to_owned(),
        1..=NAMED => format!("there are: {}", known.join(", ")),
        many => format!("there are {many}: {}, …", known[..NAMED].join(", ")),
    };
    near.map_or(all.clone(), |near| format!("{all}; did you mean `{near}`?"))
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn of_many_names_the_nearest_is_said() {
        assert_eq!(listed("nowhere", ["production", "staging"]), "there are: production, staging");
        assert_eq!(
            listed("stagin", ["production", "staging"]),
            "there are: production, staging; did you mean `staging`?"
        );
        let many: Vec<_> = (1..=30).map(|n| format!("customer-{n:02}")).collect();
        let said = listed("customer-3O", many.iter().map(String::as_str));
        assert!(
            said.starts_with("there are 30: customer-01, ") && said.contains(", customer-12, …; did you mean `"),
            "{said}"
        );
        assert_eq!(listed("x", []), "there are none");
    }
}
