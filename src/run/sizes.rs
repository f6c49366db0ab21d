//! How large the images are that a deployment would bring, by what their registries say: nothing big comes silently.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::time::Duration;

use serde_json::Value;

use crate::artifact::pack::Unpacked;
use crate::model::desired::{ComposeFiles, Environment};
use crate::model::ids::Digest;
use crate::model::image::{Platform, chains, is_id, with_tag};
use crate::plan::{Action, Plan};
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::Controller;
use crate::run::images::Images;
use crate::run::size::bytes;

/// Whoever plans does not wait longer for the registries of an environment.
const PATIENCE: Duration = Duration::from_secs(20);
/// No compose file has more bytes.
const MOST: u64 = 4 << 20;

/// What is known of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sizes {
    /// By reference: how many bytes come for it, compressed. A layer of several counts once.
    pub known: BTreeMap<String, u64>,
    /// Of these nobody could say it, and why.
    pub unknown: BTreeMap<String, String>,
}

impl Sizes {
    /// Of all that are known.
    pub fn total(&self) -> u64 {
        self.known.values().sum()
    }
}

/// Asks. `there`: the chains of layers that a host has already.
pub async fn sizes(
    controller: &Controller,
    word: &AcceptedSnapshot,
    env: &Environment,
    references: &BTreeSet<String>,
    (platform, there): (&Platform, &BTreeSet<Digest>),
) -> Sizes {
    let (images, mut sizes, mut counted) = (Images::default(), Sizes::default(), BTreeSet::new());
    for reference in references.iter().filter(|reference| !is_id(reference)) {
        let asked = async {
            let registry = images.registry(controller, word.secrets(), env, reference)?;
            images.image(&registry, &with_tag(reference), platform).await.map_err(|error| error.to_string())
        };
        match asked.await {
            Err(why) => drop(sizes.unknown.insert(reference.clone(), why)),
            Ok(image) => {
                let diff_ids: Vec<String> = image.layers.iter().map(|layer| layer.diff_id.clone()).collect();
                let own = chains(&diff_ids);
                let has = |number: usize| own.get(number).is_some_and(|chain| there.contains(chain));
                let comes = image.layers.iter().enumerate().filter(|(number, _)| !has(*number));
                let comes = comes.filter(|(_, layer)| counted.insert(layer.digest)).map(|(_, layer)| layer.size).sum();
                sizes.known.insert(reference.clone(), comes);
            }
        }
    }
    sizes
}

/// The images of a project: those that a release changes, and those that its files name themselves, as far as they name them
/// without a variable.
pub fn named(files: &ComposeFiles, changed: &BTreeMap<String, String>, tree: &Unpacked) -> BTreeSet<String> {
    let mut images: BTreeMap<String, String> = BTreeMap::new();
    for file in &files.files {
        let found = tree.manifest.entries().position(|entry| entry.path == file);
        let mut text = String::new();
        let read = found.and_then(|number| tree.reader(number).ok()?.take(MOST).read_to_string(&mut text).ok());
        // The host says what is wrong with it.
        let Some(document) = read.and_then(|_| serde_saphyr::from_str::<Value>(&text).ok()) else { continue };
        let services = document.get("services").and_then(Value::as_object);
        for (name, service) in services.into_iter().flatten() {
            let profiles: Vec<&str> =
                service["profiles"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let is_in_use = profiles.is_empty()
                || profiles.iter().any(|profile| files.profiles.iter().any(|chosen| chosen == profile));
            if let Some(image) = service["image"].as_str().filter(|image| is_in_use && !image.contains('$')) {
                images.insert(name.clone(), image.to_owned());
            }
        }
    }
    images.extend(changed.iter().map(|(service, image)| (service.clone(), image.clone())));
    images.into_values().collect()
}

/// Puts beside each step that brings images how large those are which the release changes. What a registry does not say within
/// a moment is left out: the step itself says why it cannot be had.
pub async fn tell(controller: &Controller, word: &AcceptedSnapshot, plan: &mut Plan) {
    let platform = here();
    for planned in &mut plan.environments {
        let Some(env) = word.desired.environments.get(&planned.name) else { continue };
        let brought = planned.steps.iter().find_map(|step| match &step.action {
            Action::Pull { project } => Some(project.images.values().cloned().collect::<BTreeSet<_>>()),
            _ => None,
        });
        let Some(references) = brought.filter(|references| !references.is_empty()) else { continue };
        let nothing = BTreeSet::new();
        let asked = sizes(controller, word, env, &references, (&platform, &nothing));
        let Ok(sizes) = tokio::time::timeout(PATIENCE, asked).await else { continue };
        if sizes.known.is_empty() {
            continue;
        }
        let told = format!("; {} at most, as their registry has them", bytes(sizes.total()));
        let pulls = planned.steps.iter_mut().filter(|step| matches!(step.action, Action::Pull { .. }));
        pulls.for_each(|step| step.reason.push_str(&told));
    }
}

/// What this machine is: the sizes of an image differ little from one platform to the next.
fn here() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Platform { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: String::new() }
}
