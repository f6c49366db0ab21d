//! What a person asks for, in the journal: its row before its first effect (law 5), with who and why, each step of it, and
//! how it ended, whatever that was.

use std::sync::Arc;

use crate::fault::fault;
use crate::host::wire::HostError;
use crate::journal::operation::{Action, Operation};
use crate::journal::{Event, Failure, FailureClass, RunResult, StepEnd};
use crate::model::desired::{Environment, OnFailure};
use crate::model::ids::{EnvName, HostName, RunId};
use crate::model::machine;
use crate::model::record::Refusal;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::{Controller, ControllerError, now};
use crate::run::pass::reconcile::run_id;

/// Why an operation did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    #[error(transparent)]
    Controller(#[from] ControllerError),
    #[error("{host}: {}", told(host, error))]
    Host { host: HostName, error: HostError },
    /// Something said no: a hook, a check.
    #[error("{0}")]
    Refused(String),
    /// The same of a host that did not answer.
    #[error("{0}")]
    Unreachable(String),
    /// It is to wait for something that ends by itself: nothing was begun.
    #[error("{0}")]
    Waits(String),
}

impl OperateError {
    /// What the row says of it.
    pub fn result(&self) -> RunResult {
        match self {
            OperateError::Host {
                error: HostError::Connection(_) | HostError::Refused { refusal: Refusal::OtherMachine(_) },
                ..
            }
            | OperateError::Unreachable(_)
            | OperateError::Waits(_) => RunResult::Unreachable,
            OperateError::Refused(_) => RunResult::Failed,
            OperateError::Controller(_) | OperateError::Host { .. } => RunResult::Error,
        }
    }
}

/// With the name of the host in what is to be done about it.
fn told(host: &HostName, error: &HostError) -> String {
    match error {
        HostError::Refused { refusal: Refusal::OtherMachine(other) } => machine::refused(host, other),
        error => error.to_string(),
    }
}

/// Who asks for what, and why.
pub struct Asked {
    pub action: Action,
    pub environment: Option<EnvName>,
    pub hosts: Vec<HostName>,
    /// Of the state repository: on whose word it acts.
    pub commit: String,
    /// By what name the person goes.
    pub actor: String,
    /// In the person's words; empty: none were said.
    pub reason: String,
}

impl Asked {
    /// Of every host of an environment, by whoever runs this program.
    pub fn of(
        action: Action,
        controller: &Controller,
        snapshot: &AcceptedSnapshot,
        env: &Environment,
        reason: Option<String>,
    ) -> Asked {
        Asked {
            action,
            environment: Some(env.name.clone()),
            hosts: env.targets.iter().map(|target| target.name.clone()).collect(),
            commit: snapshot.commit.to_string(),
            actor: controller.who.clone(),
            reason: reason.unwrap_or_default(),
        }
    }
}

/// The journal of one operation.
pub struct Journal {
    controller: Arc<Controller>,
    /// Its rows: one, or one for each environment that it is about. None: it could not be opened. What a person asks for happens
    /// all the same: a full disk keeps nobody from stopping what does harm.
    runs: Vec<RunId>,
}

/// Does what was asked for, between the first line of its journal and the last.
///
/// # Errors
/// Those of the work, which are in its row by then.
pub async fn journaled<T>(
    controller: &Arc<Controller>,
    asked: Asked,
    work: impl AsyncFnOnce(&Journal) -> Result<T, OperateError>,
) -> Result<T, OperateError> {
    journaled_in_each(controller, vec![asked], work).await
}

/// The same for one thing that is asked for of several environments: each has a row of its own.
///
/// # Errors
/// Those of the work, which are in every row by then.
pub async fn journaled_in_each<T>(
    controller: &Arc<Controller>,
    asked: Vec<Asked>,
    work: impl AsyncFnOnce(&Journal) -> Result<T, OperateError>,
) -> Result<T, OperateError> {
    let mut journal = Journal { controller: controller.clone(), runs: Vec::new() };
    for Asked { action, environment, hosts, commit, actor, reason } in asked {
        let run = run_id();
        let operation = Operation { run: run.clone(), action, environment, hosts, at: now(), commit, actor, reason };
        if journal.append_to(&run, &Event::Operation(Box::new(operation))).await {
            journal.runs.push(run);
        }
    }
    fault!("operation.after-opened");
    let done = work(&journal).await;
    fault!("operation.before-finished");
    let (result, reason) = match &done {
        Ok(_) => (RunResult::Succeeded, String::new()),
        Err(error) => (error.result(), error.to_string()),
    };
    journal.append(Event::Finished { at: now(), result, reason }).await;
    done
}

impl Journal {
    /// One step of it, under a name that is unique in it: `hook:web1:halt`. `note`: what there is to say of what came out.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn step<T>(
        &self,
        step: &str,
        host: Option<&HostName>,
        note: impl FnOnce(&T) -> String,
        work: impl Future<Output = Result<T, OperateError>>,
    ) -> Result<T, OperateError> {
        let at = now();
        self.append(Event::Intended { step: step.to_owned(), at }).await;
        let done = work.await;
        let end = match &done {
            Ok(done) => StepEnd::Done { note: note(done) },
            Err(error) => StepEnd::Failed {
                failure: Failure {
                    step: step.to_owned(),
                    host: host.cloned(),
                    class: match error.result() {
                        RunResult::Unreachable => FailureClass::Connection,
                        RunResult::Failed => FailureClass::Verdict,
                        _ => FailureClass::Error,
                    },
                    on_failure: OnFailure::Abort,
                    message: error.to_string(),
                    output: None,
                },
            },
        };
        let millis = u64::try_from(now().duration_since(at).as_millis()).unwrap_or_default();
        self.append(Event::Ended { step: step.to_owned(), at: now(), millis, end }).await;
        done
    }

    async fn append(&self, event: Event) {
        for run in &self.runs {
            self.append_to(run, &event).await;
        }
    }

    async fn append_to(&self, run: &RunId, event: &Event) -> bool {
        let (run, event) = (run.clone(), event.clone());
        let wrote = self.controller.beside(move |controller| controller.store.append(&run, &event)).await;
        match wrote.map_err(|error| error.to_string()).and_then(|wrote| wrote.map_err(|error| error.to_string())) {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(error, "what is done here cannot be journaled, and is done all the same");
                false
            }
        }
    }
}
