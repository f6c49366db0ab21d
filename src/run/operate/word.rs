//! A person's word on what a plan would do: bound to it, kept in the state repository, and a row of the journal.

use std::sync::Arc;

use crate::host::disk::token::token;
use crate::journal::operation::Action;
use crate::model::approval::{About, Decision, Envelope, Reviewed, Word, over_for_a_day};
use crate::model::ids::EnvName;
use crate::plan::reviewable::{NotReviewable, reviewable};
use crate::plan::{EnvPlan, Plan};
use crate::run::accepted::AcceptedSnapshot;
use crate::run::commit::must_be_of_this_commit;
use crate::run::controller::{Controller, ControllerError, Snapshot, now};
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::pass::journaled::{Asked, OperateError, journaled};
use crate::run::planned::planned;
use crate::state_repo::{CommitId, Saying, sign_word};

/// What a person says.
pub struct Opinion {
    pub decision: Decision,
    /// In the person's words.
    pub note: Option<String>,
}

/// A word that counts from now on.
pub struct Spoken {
    pub word: Word,
    /// Where it is kept: a commit of the ref of words.
    pub commit: CommitId,
    /// The first digits of the release that it is about; empty: the state desires none.
    pub to: String,
}

/// Why a word was not said.
#[derive(Debug, thiserror::Error)]
pub enum NotSaid {
    #[error(transparent)]
    NotReviewable(#[from] NotReviewable),
    #[error("only signed words count here, and there is no signing key")]
    NoKey,
    #[error(transparent)]
    Operate(#[from] OperateError),
}

impl Spoken {
    /// For people, with what cannot be taken back of it.
    pub fn told(&self) -> String {
        let Spoken { word, commit, to } = self;
        let did = if word.is_approval() { "approved" } else { "rejected" };
        let until = word.expires.map(|expires| format!(", until {expires:.0}")).unwrap_or_default();
        let (name, binding) = (&word.environment, word.binding.short());
        let mut text = format!("{did}: {name} -> {to} (plan {binding}, word {}{until})\n", commit.short());
        for step in &word.reviewed.irreversible {
            text.push_str(&format!("  irreversible: {step}\n"));
        }
        text
    }
}

/// The plan that a word of this moment is about: what a person sees who asks now.
///
/// # Errors
/// The environment stays as an earlier commit has it, because its part of this one is wrong: nothing is decided about it.
pub async fn at_hand(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    name: &EnvName,
) -> Result<Plan, ControllerError> {
    let names = std::slice::from_ref(name);
    must_be_of_this_commit(snapshot, names)?;
    let observed = observe(controller, snapshot, names, Look { health: false, drift: Scan::Last }).await;
    Ok(planned(controller, snapshot, names, &observed, Some(snapshot.secrets())))
}

/// Says it.
///
/// # Errors
/// The plan is none that a word can be about; the word cannot be signed, or not be kept.
pub async fn say(
    controller: &Arc<Controller>,
    snapshot: &Snapshot,
    env: &EnvPlan,
    opinion: Opinion,
) -> Result<Spoken, NotSaid> {
    let reviewed = reviewable(env)?.clone();
    if controller.signers.is_some() && controller.settings.signing_key.is_none() {
        return Err(NotSaid::NoKey);
    }
    let to = env.desired_short().unwrap_or_default().to_owned();
    let asked = Asked {
        action: if opinion.decision == Decision::Approve { Action::Approve } else { Action::Reject },
        environment: Some(env.name.clone()),
        hosts: Vec::new(),
        commit: snapshot.commit.to_string(),
        // By the name that the word itself bears.
        actor: controller.beside(|controller| controller.author().name).await.map_err(OperateError::from)?,
        reason: opinion.note.clone().unwrap_or_default(),
    };
    let (name, about) = (env.name.clone(), to.clone());
    let said = journaled(controller, asked, async |journal| {
        let spoken =
            async { Ok(controller.beside(move |controller| speak(controller, &name, &reviewed, opinion)).await??) };
        let note = |(word, commit): &(Word, CommitId)| {
            format!("{about}, plan {}, word {}", word.binding.short(), commit.short())
        };
        journal.step("word", None, note, spoken).await
    });
    let (word, commit) = said.await?;
    Ok(Spoken { word, commit, to })
}

/// Writes the word into the state repository. Blocks.
fn speak(
    controller: &Controller,
    environment: &EnvName,
    reviewed: &Reviewed,
    Opinion { decision, note }: Opinion,
) -> Result<(Word, CommitId), ControllerError> {
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
