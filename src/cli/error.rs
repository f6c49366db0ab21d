//! Errors at the edge: what happened, the next move, the exit code.

use super::screen;
use crate::host::wire::HostError;
use crate::model::desired::diagnose::Diagnostics;
use crate::model::desired::render::Style;
use crate::model::record::Refusal;
use crate::run::controller::ControllerError;
use crate::run::operate::word::NotSaid;
use crate::run::pass::journaled::OperateError;
use crate::state_repo::{NotAccepted, RepoError};
use crate::store::StoreError;

/// An error that ends the program.
#[derive(Debug)]
pub struct CliError {
    pub exit: u8,
    message: String,
    hint: Option<String>,
    diagnostics: Option<Box<Diagnostics>>,
}

impl CliError {
    /// Exit code 1.
    pub fn plain(message: impl Into<String>) -> Self {
        CliError { exit: 1, message: message.into(), hint: None, diagnostics: None }
    }

    /// Exit code 64: the arguments do not fit.
    pub fn usage(message: impl Into<String>) -> Self {
        CliError { exit: 64, ..CliError::plain(message) }
    }

    /// Adds the next move.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Another exit code.
    pub fn exit(mut self, exit: u8) -> Self {
        self.exit = exit;
        self
    }

    /// What happened, in one sentence.
    pub fn text(&self) -> &str {
        &self.message
    }

    /// What is wrong with the state file, where that is what happened.
    pub fn wrong(&self) -> Option<&Diagnostics> {
        self.diagnostics.as_deref()
    }

    /// To standard error.
    pub fn print(&self) {
        if let Some(found) = &self.diagnostics {
            screen::block(&found.render(Style { colour: super::out::colour_stderr(), ..Style::default() }));
        }
        screen::line(&format!("soll: {}", self.message));
        if let Some(hint) = &self.hint {
            screen::line(&format!("  next: {hint}"));
        }
    }
}

impl From<ControllerError> for CliError {
    fn from(error: ControllerError) -> Self {
        let plain = CliError::plain(error.to_string());
        match error {
            ControllerError::Invalid(found) => CliError { diagnostics: Some(found), ..plain },
            ControllerError::NotAccepted(NotAccepted::Rewritten { .. }) => {
                plain.exit(4).hint("look at what was lost; if it is meant: soll acknowledge")
            }
            ControllerError::NotAccepted(NotAccepted::Unsigned { .. }) => plain.exit(4),
            ControllerError::NotThere { .. } | ControllerError::Nobody { .. } | ControllerError::NoHost { .. } => {
                plain.exit(64)
            }
            _ => plain,
        }
    }
}

impl From<OperateError> for CliError {
    fn from(error: OperateError) -> Self {
        let plain = CliError::plain(error.to_string());
        match error {
            OperateError::Controller(error) => error.into(),
            OperateError::Unreachable(_)
            | OperateError::Host {
                error: HostError::Connection(_) | HostError::Refused { refusal: Refusal::OtherMachine(_) },
                ..
            } => plain.exit(6),
            OperateError::Host { error: HostError::Locked { .. }, .. } | OperateError::Waits(_) => plain.exit(5),
            OperateError::Host { .. } | OperateError::Refused(_) => plain,
        }
    }
}

impl From<NotSaid> for CliError {
    fn from(error: NotSaid) -> Self {
        let plain = CliError::plain(error.to_string());
        match error {
            NotSaid::NotReviewable(why) => plain.hint(why.fix).exit(if why.unseen { 6 } else { 1 }),
            NotSaid::NoKey => plain.hint("name an SSH private key: SOLL_SIGNING_KEY or `signing_key` in the settings"),
            NotSaid::Operate(error) => error.into(),
        }
    }
}

impl From<RepoError> for CliError {
    fn from(error: RepoError) -> Self {
        CliError::plain(error.to_string())
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        CliError::plain(error.to_string())
    }
}
