//! Commits that this program makes: a new desired commit for an environment, or one key of its table, with the
//! reason in the message. Everything else in the file stays byte for byte (contract 1.2).

use crate::model::desired::Environment;
use crate::model::desired::edit;
use crate::model::desired::part::Part;
use crate::model::ids::{EnvName, Sha};
use crate::run::controller::{Controller, ControllerError, Snapshot};
use crate::state_repo::{CommitId, Edits, Publish};

/// One change to an environment's table.
#[derive(Debug, Clone)]
pub enum Change {
    Release(String),
    Set { key: &'static str, value: String },
    Remove { key: &'static str },
}

/// Commits `change` of `env` on top of the newest commit, and pushes where that is asked for. `expect`: refused where
/// the release is another one by now.
pub fn commit(
    controller: &Controller,
    env: &EnvName,
    change: &Change,
    message: &str,
    expect: Option<&str>,
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
        let desired = known(&snapshot, env)?;
        must_be_of_this_commit(&snapshot, [env])?;
        if let Some(expect) = expect.filter(|expect| *expect != desired.release.as_str()) {
            let now = desired.release.as_str();
            return Err(ControllerError::Other(format!(
                "{env} asks for {now} by now, no longer for {expect}: nothing was committed"
            )));
        }
        let file = snapshot.defined_in.get(env).cloned().unwrap_or_else(|| controller.settings.file.clone());
        let bytes = controller.repo.read(parent, &file)?.unwrap_or_default();
        let text = String::from_utf8(bytes).map_err(|_| ControllerError::Other(format!("{file} is not UTF-8")))?;
        let name = env.as_str();
        let edited = match change {
            Change::Release(release) => edit::set_release(&text, name, release),
            Change::Set { key, value } => edit::set_string(&text, name, key, value),
            Change::Remove { key } => edit::remove_key(&text, name, key),
        };
        let edited = edited.map_err(|error| ControllerError::Other(format!("{file}: {error}")))?;
        // What the loop would refuse is not committed. What was wrong in other parts before is not this commit's.
        let now = controller.readable(parent, Some((&file, &edited)))?;
        let was_wrong = |part: &Part| snapshot.held.as_ref().is_some_and(|held| held.parts.contains(part));
        if let Some((found, parts)) = now.wrong
            && !parts.iter().all(was_wrong)
        {
            return Err(ControllerError::Invalid(found));
        }
        Ok(Edits { files: vec![(file, Some(edited.into_bytes()))], message: message.to_owned() })
    })
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
pub fn known<'a>(snapshot: &'a Snapshot, name: &EnvName) -> Result<&'a Environment, ControllerError> {
    let environments = &snapshot.desired.environments;
    environments.get(name).ok_or_else(|| {
        if let Some(host) =
            snapshot.desired.whole.get(name).and(environments.values().next()).and_then(|e| e.targets.first())
        {
            let message = format!("`{name}` does not run on the host `{}`, and this is pull mode for it", host.name);
            return ControllerError::Other(message);
        }
        let names: Vec<_> = environments.keys().map(EnvName::as_str).collect();
        ControllerError::NoEnvironment { name: name.clone(), known: names.join(", ") }
    })
}
