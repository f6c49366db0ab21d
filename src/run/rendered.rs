//! Renders the files of an environment for one of its hosts, with the secrets that the settings give for that (A10, E4). What
//! is rendered never leaves this machine but on its way to the host (law 9), and only of an accepted commit (law 11).

use crate::host::disk::envfile;
use crate::host::wire::render::Version;
use crate::host::wire::{Reply, Secret};
use crate::model::desired::{Environment, File, Target};
use crate::model::ids::Sha;
use crate::model::mask::mask_whole;
use crate::model::observed::HostState;
use crate::model::rendered;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::registries;
use crate::run::secrets::{Purpose, Store, Use};

/// Renders every file of an environment for a host that is to run `sha`.
///
/// # Errors
/// A secret that there is not, or not for this: its name, why, and the next move.
pub fn render(store: &Store, env: &Environment, target: &Target, sha: &Sha) -> Result<Vec<Version>, String> {
    env.files.iter().map(|file| one(store, env, file, target, sha)).collect()
}

fn one(store: &Store, env: &Environment, file: &File, target: &Target, sha: &Sha) -> Result<Version, String> {
    let values = env.values(target, None, Some(sha));
    let purpose = Purpose { wanted: Use::Files, environment: Some(&env.name), url: None };
    let filled = rendered::fill(&file.text, &values, |name, out| match store.get(name, &purpose) {
        Ok(secret) => {
            out.push_str(secret.expose());
            Ok(())
        }
        Err(refused) => {
            let path = &file.path;
            Err(format!("{path} is rendered with the secret {name}, {}: {}", refused.why, refused.fix))
        }
    })?;
    Ok(Version { from: file.from.clone(), contents: Secret::new(filled), mode: file.mode, owner: file.owner.clone() })
}

/// Adds to what was seen of a host which versions of rendered files are desired there, and what they lack of `required_env`.
/// One that cannot be rendered is left out: the plan says what is missing.
pub fn note(word: &AcceptedSnapshot, env: &Environment, target: &Target, sha: &Sha, state: &mut HostState) {
    for file in &env.files {
        let Ok(version) = one(word.secrets(), env, file, target, sha) else { continue };
        state.rendered.insert(file.from.clone(), version.digest());
        if env.env_file().is_some_and(|env_file| env_file.from == file.from) {
            state.missing_env = envfile::missing(version.contents.expose(), &env.required_env);
        }
    }
}

/// A secret of fewer characters is not taken out of a text: it would stand in any.
const TELLING: usize = 4;

/// Takes the secrets that are rendered for a host out of what its commands and services have written, whatever the form of
/// the files that hold them (law 9).
pub fn hide(word: &AcceptedSnapshot, target: &Target, reply: &mut Reply) {
    let mut written = reply.written();
    written.retain(|text| !text.is_empty());
    if written.is_empty() {
        return;
    }
    let is_there = |one: &Target| one.name == target.name && one.root == target.root;
    let environments = word.desired.environments.values();
    for env in environments.filter(|env| env.targets.iter().any(is_there)) {
        let purpose = Purpose { wanted: Use::Files, environment: Some(&env.name), url: None };
        let named = env.files.iter().flat_map(|file| rendered::secrets(&file.text));
        let mut values: Vec<Secret> = named.filter_map(|name| word.secrets().get(name, &purpose).ok()).collect();
        values.extend(registries::passwords(word.secrets(), env));
        // Longest first: one value inside another would leave the rest of that standing.
        values.sort_by_key(|value| std::cmp::Reverse(value.expose().len()));
        for line in values.iter().flat_map(|value| value.expose().lines()) {
            if line.chars().count() >= TELLING {
                written.iter_mut().for_each(|text| **text = mask_whole(text, line));
            }
        }
    }
}
