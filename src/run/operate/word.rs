//! A person's word on what a plan would do: bound to it, kept in the state repository, and a row of the journal.

use std::sync::Arc;

use crate::host::disk::token::token;
use crate::journal::operation::Action;
use crate::model::approval::{About, Decision, Envelope, Subject, Word, over_for_a_day};
use crate::model::ids::EnvName;
use crate::model::shown::counted;
use crate::plan::reviewable::{NotReviewable, reviewable};
use crate::plan::{EnvPlan, Plan};
use crate::run::accepted::AcceptedSnapshot;
use crate::run::changes;
use crate::run::commit::must_be_of_this_commit;
use crate::run::controller::{Controller, ControllerError, Snapshot, now};
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::pass::journaled::{Asked, OperateError, journaled_in_each};
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
    /// For each of its plans the first digits of the release that it is about; empty: the state desires none.
    pub to: Vec<String>,
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
        let mut text = String::new();
        for (Subject { environment, binding, reviewed }, to) in word.subjects().zip(to) {
            let (binding, commit) = (binding.short(), commit.short());
            text.push_str(&format!("{did}: {environment} -> {to} (plan {binding}, word {commit}{until})\n"));
            for step in &reviewed.irreversible {
                text.push_str(&format!("  irreversible: {step}\n"));
            }
        }
        text
    }
}

/// The plans that a word of this moment is about: what a person sees who asks now.
///
/// # Errors
/// An environment stays as an earlier commit has it, because its part of this one is wrong: nothing is decided about it.
pub async fn at_hand(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    names: &[EnvName],
) -> Result<Plan, ControllerError> {
    must_be_of_this_commit(snapshot, names)?;
    let observed = observe(controller, snapshot, names, Look { health: false, drift: Scan::Last }).await;
    let mut plan = planned(controller, snapshot, names, &observed, Some(snapshot.secrets()));
    changes::tell(controller, snapshot, &observed, &mut plan).await;
    Ok(plan)
}

/// Says it: one word about all of these plans, of which there is at least one.
///
/// # Errors
/// One of the plans is none that a word can be about; the word cannot be signed, or not be kept.
pub async fn say(
    controller: &Arc<Controller>,
    snapshot: &Snapshot,
    plans: &[&EnvPlan],
    opinion: Opinion,
) -> Result<Spoken, NotSaid> {
    let mut subjects = Vec::new();
    for env in plans {
        subjects.push(Subject::new(env.name.clone(), reviewable(env)?.clone()));
    }
    if controller.signers.is_some() && controller.settings.signing_key.is_none() {
        return Err(NotSaid::NoKey);
    }
    let to: Vec<_> = plans.iter().map(|env| env.desired_short().unwrap_or_default().to_owned()).collect();
    // By the name that the word itself bears.
    let actor = controller.beside(|controller| controller.author().name).await.map_err(OperateError::from)?;
    // A row for each environment: its history says who approved what it deployed, whoever else the word was about.
    let asked = plans.iter().map(|env| Asked {
        action: if opinion.decision == Decision::Approve { Action::Approve } else { Action::Reject },
        environment: Some(env.name.clone()),
        hosts: Vec::new(),
        commit: snapshot.commit.to_string(),
        actor: actor.clone(),
        reason: opinion.note.clone().unwrap_or_default(),
    });
    let about = match &*to {
        [one] => one.clone(),
        all => counted(all.len() as u64, "environment", "environments"),
    };
    let said = journaled_in_each(controller, asked.collect(), async |journal| {
        let spoken = async { Ok(controller.beside(move |controller| speak(controller, subjects, opinion)).await??) };
        let note = |(word, commit): &(Word, CommitId)| {
            format!("{about}, plan {}, word {}", word.subject.binding.short(), commit.short())
        };
        journal.step("word", None, note, spoken).await
    });
    let (word, commit) = said.await?;
    Ok(Spoken { word, commit, to })
}

/// Writes the word into the state repository. Blocks.
fn speak(
    controller: &Controller,
    mut subjects: Vec<Subject>,
    Opinion { decision, note }: Opinion,
) -> Result<(Word, CommitId), ControllerError> {
    let other = |error: &dyn std::fmt::Display| ControllerError::Other(format!("cannot say a word: {error}"));
    if subjects.is_empty() {
        return Err(other(&"it is about no plan"));
    }
    let also = subjects.split_off(1);
    let subject = subjects.remove(0);
    let author = controller.author();
    let repository = controller.ear.repository(&controller.repo)?;
    let heard = controller.ear.words(&controller.repo)?;
    let about = About {
        id: token().map_err(|error| other(&error))?,
        repository: &repository,
        subject,
        also,
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
    let Subject { environment, binding, .. } = &word.subject;
    let saying = Saying { environment, binding, id: &word.id, bytes: &bytes, over: &over };
    let commit = controller.repo.add_word(&saying, &author, controller.settings.push)?;
    Ok((word, commit))
}
