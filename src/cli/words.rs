//! `approve` and `reject`: a person's word on what a plan would do, bound to it, kept in the state repository.

use std::path::PathBuf;

use clap::Args;

use super::global::{Global, Output, names};
use super::{CliError, Result, out};
use crate::host::disk::token::token;
use crate::journal::operation::Action;
use crate::model::approval::{About, Decision, Envelope, Reviewed, Word, over_for_a_day};
use crate::model::ids::EnvName;
use crate::plan::{Code, EnvPlan};
use crate::run::controller::{Controller, ControllerError, now};
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::operate::journaled::{Asked, journaled};
use crate::run::planned::planned;
use crate::state_repo::{CommitId, Saying, sign_word};

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
        say(global, self.environment, self.plan, (Decision::Approve, self.note)).await
    }
}

impl Reject {
    /// Says no.
    pub async fn run(self, global: &Global) -> Result {
        say(global, self.environment, self.plan, (Decision::Reject, Some(self.reason))).await
    }
}

async fn say(
    global: &Global,
    name: EnvName,
    saved: Option<PathBuf>,
    (decision, note): (Decision, Option<String>),
) -> Result {
    let (controller, snapshot) = global.newest(&[]).await?;
    let wanted = names(&snapshot, std::slice::from_ref(&name))?;
    let plan = match saved {
        Some(path) => super::apply::saved(&path)?,
        None => {
            let observed = observe(&controller, &snapshot, &wanted, Look { health: false, drift: Scan::Last }).await;
            planned(&controller, &snapshot, &wanted, &observed, true)
        }
    };
    let Some(env) = plan.environments.into_iter().find(|env| env.name == name) else {
        return Err(CliError::plain(format!("the plan says nothing about {name}")));
    };
    let reviewed = reviewable(&env)?.clone();
    let signing = controller.settings.signing_key.clone();
    if controller.signers.is_some() && signing.is_none() {
        return Err(CliError::plain("only signed words count here, and there is no signing key")
            .hint("name an SSH private key: SOLL_SIGNING_KEY or `signing_key` in the settings"));
    }
    let to = env.desired.as_ref().map_or("", |sha| sha.short()).to_owned();
    let asked = Asked {
        action: if decision == Decision::Approve { Action::Approve } else { Action::Reject },
        environment: Some(name.clone()),
        hosts: Vec::new(),
        commit: snapshot.commit.to_string(),
        // By the name that the word itself bears.
        actor: controller.beside(|controller| controller.author().name).await?,
        reason: note.clone().unwrap_or_default(),
    };
    let said = journaled(&controller, asked, async |journal| {
        let spoken = async {
            Ok(controller.beside(move |controller| speak(controller, &name, &reviewed, decision, note)).await??)
        };
        let note =
            |(word, commit): &(Word, CommitId)| format!("{to}, plan {}, word {}", word.binding.short(), commit.short());
        journal.step("word", None, note, spoken).await
    });
    let (word, commit) = said.await?;
    if global.output == Output::Json {
        out::json(&serde_json::json!({
            "environment": word.environment, "approve": decision == Decision::Approve, "binding": word.binding,
            "commit": commit.to_string(), "id": word.id, "expires": word.expires,
        }));
        return Ok(0);
    }
    let did = if decision == Decision::Approve { "approved" } else { "rejected" };
    let until = word.expires.map(|expires| format!(", until {expires:.0}")).unwrap_or_default();
    let (name, binding) = (&word.environment, word.binding.short());
    out::text(&format!("{did}: {name} -> {to} (plan {binding}, word {}{until})\n", commit.short()));
    for step in &word.reviewed.irreversible {
        out::text(&format!("  irreversible: {step}\n"));
    }
    Ok(0)
}

/// What of a plan a word can be said about.
fn reviewable(env: &EnvPlan) -> std::result::Result<&Reviewed, CliError> {
    let name = &env.name;
    if !env.has_changes() {
        let unseen: Vec<_> = env.hosts.iter().filter(|host| !host.reachable).collect();
        if let [first, ..] = &*unseen {
            let names: Vec<_> = unseen.iter().map(|host| host.name.as_str()).collect();
            let message = format!(
                "nobody can say what would be done in {name}: {} cannot be seen ({})",
                names.join(", "),
                first.reason
            );
            let hint = format!(
                "bring it back; or speak about a plan that was made where it is seen: soll plan {name} --out FILE there, \
                 then --plan FILE here"
            );
            return Err(CliError::plain(message).hint(hint).exit(6));
        }
        if let (None, Some(blocker)) = (&env.desired, env.blocking().next()) {
            let message = format!("nobody can say what would be done in {name}: {}", blocker.message);
            return Err(CliError::plain(message).hint(blocker.fix.clone()));
        }
        let hint = "a word is about a change; release something first";
        return Err(CliError::plain(format!("{name} has no change to speak about")).hint(hint));
    }
    if env.binding.is_none() {
        let message = format!(
            "the plan of {name} was made from what a daemon publishes, which does not tell what shared files hold: a word \
             on it would be bound to nothing"
        );
        return Err(CliError::plain(message).hint("make it where hosts are reached: soll plan --out FILE"));
    }
    let Some(reviewed) = &env.reviewed else {
        return Err(CliError::plain(format!(
            "the plan of {name} was saved by an older soll, which bound less to a word"
        ))
        .hint("make the plan again: soll plan --out FILE"));
    };
    if reviewed.unnamed {
        let sha = env.desired.as_ref().map_or("the release", |sha| sha.short());
        let why = env.blockers.iter().find(|b| matches!(b.code, Code::BundleMissing | Code::Note));
        let why = why.map(|b| format!(": {}", b.message)).unwrap_or_default();
        return Err(CliError::plain(format!(
            "the digest of the bundle of {sha} is not known, and what has no name cannot be approved{why}"
        ))
        .hint("let the bundle and its SHA-256 be where the state file says, then say it again"));
    }
    Ok(reviewed)
}

/// Says it. Blocks.
fn speak(
    controller: &Controller,
    environment: &EnvName,
    reviewed: &Reviewed,
    decision: Decision,
    note: Option<String>,
) -> std::result::Result<(Word, CommitId), ControllerError> {
    let other = |error: &dyn std::fmt::Display| ControllerError::Other(format!("cannot say a word: {error}"));
    let author = controller.author();
    let repository = controller.ear.repository(&controller.repo)?;
    let heard = controller.ear.words(&controller.repo)?;
    let about = About {
        id: token().map_err(|error| other(&error))?,
        repository: &repository,
        environment,
        reviewed,
        name: &author.name,
        email: &author.email,
        ttl: controller.settings.approval_ttl,
    };
    let word = Word::new(about, decision, note, now());
    let text = serde_json::to_string(&word).map_err(|error| other(&error))?;
    let key = controller.settings.signing_key.as_ref();
    let signature = key.map(|key| sign_word(key, &text)).transpose()?;
    let bytes = serde_json::to_vec_pretty(&Envelope::new(text, signature)).map_err(|error| other(&error))?;
    let over = over_for_a_day(&heard.changes, word.at);
    let saying = Saying { environment, binding: &word.binding, id: &word.id, bytes: &bytes, over: &over };
    let commit = controller.repo.add_word(&saying, &author, controller.settings.push)?;
    Ok((word, commit))
}
