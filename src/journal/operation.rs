//! What people ask for beside deployments, and what a run is about at all: its subject.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::ids::{EnvName, HostName, RunId};

/// What a run is about. Readers that mean deployments (estimates, the last run of a status) take those of one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A release was to run on hosts.
    Deploy,
    /// A person told hosts, or the state repository, something else.
    Operate,
    /// Data were saved, by the schedule or because a person asked for it.
    Backup,
    /// A backup was restored elsewhere, to see whether it can be.
    RestoreTest,
    /// Data were put back.
    Restore,
}

impl Subject {
    /// As in the ledger and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Subject::Deploy => "deploy",
            Subject::Operate => "operate",
            Subject::Backup => "backup",
            Subject::RestoreTest => "restore-test",
            Subject::Restore => "restore",
        }
    }
}

/// What a person asked for, or a schedule. What is a commit of the state repository (`release`, `promote`, `rollback`, `freeze`)
/// is none of these: that commit says who made it and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    Stop,
    Start,
    Retry,
    Adopt,
    Acknowledge,
    Approve,
    Reject,
    Backup,
    RestoreTest,
    Restore,
}

impl Action {
    /// The command's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Stop => "stop",
            Action::Start => "start",
            Action::Retry => "retry",
            Action::Adopt => "adopt",
            Action::Acknowledge => "acknowledge",
            Action::Approve => "approve",
            Action::Reject => "reject",
            Action::Backup => "backup",
            Action::RestoreTest => "restore-test",
            Action::Restore => "restore",
        }
    }

    /// What a run of it is about.
    pub fn subject(self) -> Subject {
        match self {
            Action::Backup => Subject::Backup,
            Action::RestoreTest => Subject::RestoreTest,
            Action::Restore => Subject::Restore,
            _ => Subject::Operate,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What an operation set out to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    pub run: RunId,
    pub action: Action,
    /// `None`: it is about the state repository, or about a host in every environment.
    pub environment: Option<EnvName>,
    /// The hosts that are told; empty: none, or those that remember a commit.
    pub hosts: Vec<HostName>,
    pub at: Timestamp,
    /// The commit of the state repository on whose word it acts.
    pub commit: String,
    /// Who did it.
    pub actor: String,
    /// Why, in the words of whoever did it.
    pub reason: String,
}
