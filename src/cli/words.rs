//! `approve` and `reject`: a person's word on what a plan would do, bound to it, kept in the state repository.

use std::path::PathBuf;

use clap::Args;

use super::global::{Global, Output, blocking, names};
use super::plan::make;
use super::{CliError, Result, out};
use crate::model::ids::EnvName;
use crate::run::look::observe::{Look, Said, observe};

/// Approve a plan.
#[derive(Args)]
pub struct Approve {
    environment: EnvName,
    /// Speak about this saved plan, which may have been made elsewhere (`soll plan --out FILE`)
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// For the record
    #[arg(long)]
    note: Option<String>,
}

/// Reject a plan.
#[derive(Args)]
pub struct Reject {
    environment: EnvName,
    /// Speak about this saved plan, which may have been made elsewhere (`soll plan --out FILE`)
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Why
    #[arg(long, alias = "note")]
    reason: String,
}

impl Approve {
    /// Says yes.
    pub async fn run(self, global: &Global) -> Result {
        say(global, self.environment, self.plan, Said { approve: true, note: self.note }).await
    }
}

impl Reject {
    /// Says no.
    pub async fn run(self, global: &Global) -> Result {
        say(global, self.environment, self.plan, Said { approve: false, note: Some(self.reason) }).await
    }
}

async fn say(global: &Global, name: EnvName, saved: Option<PathBuf>, said: Said) -> Result {
    let (controller, snapshot) = global.newest(&[]).await?;
    let wanted = names(&snapshot, std::slice::from_ref(&name))?;
    let plan = match saved {
        Some(path) => super::apply::saved(&path)?,
        None => {
            let observed = observe(&controller, &snapshot, &wanted, Look { health: false, drift: false }).await;
            make(&controller, &snapshot, &wanted, &observed, true)
        }
    };
    let Some(env) = plan.environments.into_iter().find(|env| env.name == name) else {
        return Err(CliError::plain(format!("the plan says nothing about {name}")));
    };
    if !env.has_changes() {
        let hint = "a word is about a change; release something first";
        return Err(CliError::plain(format!("{name} has no change to speak about")).hint(hint));
    }
    let signing = controller.settings.signing_key.clone();
    if controller.signers.is_some() && signing.is_none() {
        return Err(CliError::plain("only signed words count here, and there is no signing key")
            .hint("name an SSH private key: SOLL_SIGNING_KEY or `signing_key` in the settings"));
    }
    let payload = serde_json::to_vec(&said).map_err(|error| CliError::plain(error.to_string()))?;
    let (binding, author, push) = (env.binding, controller.author(), controller.settings.push);
    let (worker, about) = (controller.clone(), name.clone());
    let commit =
        blocking(move || worker.repo.add_word(&about, &binding, &payload, &author, signing.as_deref(), push)).await?;
    let to = env.desired.as_ref().map_or("", |sha| sha.short()).to_owned();
    if global.output == Output::Json {
        out::json(&serde_json::json!({
            "environment": name, "approve": said.approve, "binding": binding, "commit": commit.to_string(),
        }));
        return Ok(0);
    }
    let word = if said.approve { "approved" } else { "rejected" };
    out::text(&format!("{word}: {name} -> {to} (plan {}, word {})\n", binding.short(), commit.short()));
    for step in env.steps.iter().filter(|step| step.irreversible) {
        out::text(&format!("  irreversible: {}\n", step.id));
    }
    Ok(0)
}
