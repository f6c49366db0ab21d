//! One thing that was looked at, and what is to be thought of it. The form is stable: programs read it.

use serde::Serialize;

use crate::model::ids::EnvName;

/// What is to be thought of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Opinion {
    Ok,
    /// It works, and will not always.
    Warn,
    /// A deployment would stop here.
    Fail,
    /// It could not be seen.
    Unknown,
}

/// One line of `doctor`, `preflight`, `provision` and `adopt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `controller`, or the host's name in the state file.
    pub host: String,
    pub environment: Option<EnvName>,
    pub check: String,
    pub verdict: Opinion,
    pub message: String,
    /// The next move; empty where there is none to make.
    pub fix: String,
}

/// The findings about one host and one environment.
#[derive(Debug, Clone)]
pub struct Findings {
    host: String,
    environment: Option<EnvName>,
    pub all: Vec<Finding>,
    /// The host did not answer.
    pub unreachable: bool,
}

impl Findings {
    /// None yet.
    pub fn about(host: impl Into<String>, environment: Option<&EnvName>) -> Findings {
        Findings { host: host.into(), environment: environment.cloned(), all: Vec::new(), unreachable: false }
    }

    /// Adds one.
    pub fn add(&mut self, check: &str, verdict: Opinion, message: impl Into<String>, fix: impl Into<String>) {
        self.all.push(Finding {
            host: self.host.clone(),
            environment: self.environment.clone(),
            check: check.to_owned(),
            verdict,
            message: message.into(),
            fix: fix.into(),
        });
    }

    /// All is well.
    pub fn ok(&mut self, check: &str, message: impl Into<String>) {
        self.add(check, Opinion::Ok, message, "");
    }

    /// It works for now.
    pub fn warn(&mut self, check: &str, message: impl Into<String>, fix: impl Into<String>) {
        self.add(check, Opinion::Warn, message, fix);
    }

    /// It does not work.
    pub fn fail(&mut self, check: &str, message: impl Into<String>, fix: impl Into<String>) {
        self.add(check, Opinion::Fail, message, fix);
    }

    /// Nobody knows.
    pub fn unknown(&mut self, check: &str, message: impl Into<String>, fix: impl Into<String>) {
        self.add(check, Opinion::Unknown, message, fix);
    }

    /// Whether anything would stop a deployment.
    pub fn has_failed(&self) -> bool {
        self.all.iter().any(|finding| finding.verdict == Opinion::Fail)
    }
}
