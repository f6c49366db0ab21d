//! The images of a release of services, on one host: what is asked of it, and what it answers.

use std::collections::BTreeMap;

use crate::host::wire::compose::{Pull, Pulled};
use crate::host::wire::{Op, Reply};
use crate::model::compose::{Project, Transfer};
use crate::model::desired::Target;
use crate::run::fill::hides;
use crate::run::size::bytes;
use crate::run::step::executor::{Executor, StepResult, unexpected};
use crate::run::step::push;
use crate::run::step::transfer::warned;
use crate::run::step::world::World;

/// Lets the host have what it lacks, and resolve the project. Where it pulls for itself, logins go along for the registries that
/// the environment names, and nowhere else; where the controller sends, none does.
pub async fn pull<W: World>(executor: &Executor<W>, target: &Target, project: &Project) -> StepResult {
    let (task, name) = (&executor.task, executor.new_release());
    let env = &task.env;
    let mut pull = Pull {
        project: project.clone(),
        variables: variables(executor, target),
        registries: BTreeMap::new(),
        hides: hides(env, target, Some(&name)),
        brought: None,
    };
    match env.delivery.compose().map(|files| (files.transfer, &files.registries)) {
        Some((Transfer::Push, _)) => pull.brought = Some(push::bring(executor, target, &name, &pull).await?),
        Some((Transfer::Pull, named)) => {
            for host in named.keys() {
                if let Some(login) = executor.world.login(env, host)? {
                    pull.registries.insert(host.clone(), login);
                }
            }
        }
        None => {}
    }
    match executor.world.call(target, Op::Pull { epoch: task.epoch, name, pull: Box::new(pull) }).await? {
        Reply::Pulled(pulled) => Ok(told(&pulled)),
        other => Err(unexpected(&other)),
    }
}

/// What `${NAME}` of the compose files may name beside the environment file. Nothing that is new with every attempt: it would
/// make every container anew that it reaches (I2).
fn variables<W: World>(executor: &Executor<W>, target: &Target) -> BTreeMap<String, String> {
    let (env, sha) = (&executor.task.env, executor.task.sha());
    let own = [
        ("SOLL_ENV", env.name.to_string()),
        ("SOLL_HOST", target.name.to_string()),
        ("SOLL_SHA", sha.to_string()),
        ("SOLL_SHA8", sha.short().to_owned()),
    ];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
    own.chain(env.variables.iter().map(|(name, value)| (format!("SOLL_VAR_{name}"), value.clone()))).collect()
}

/// `api registry.example.com/api:0123@sha256:… (12 MB)`, the others by their number.
fn told(pulled: &Pulled) -> String {
    let (new, there): (Vec<_>, Vec<_>) = pulled.images.iter().partition(|image| image.bytes > 0);
    let mut said: Vec<String> =
        new.iter().map(|image| format!("{} {} ({})", image.service, image.pinned, bytes(image.bytes))).collect();
    match there.len() {
        0 => {}
        1 => said.push("1 image was there already".to_owned()),
        n => said.push(format!("{n} images were there already")),
    }
    if said.is_empty() {
        said.push("no service has an image".to_owned());
    }
    warned(said.join("; "), &pulled.warnings)
}
