//! What was found out about a backup by restoring it (F4): one line for each thing that was looked at. A line that says no is a
//! verdict about the backup; one that says neither yes nor no is none, and never counts as a pass.

use serde::{Deserialize, Serialize};

/// What a line says, or all lines together. In their order: the last one of several is what they come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Pass,
    /// It could not be found out.
    Inconclusive,
    Fail,
}

impl Outcome {
    /// As people and scripts read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Inconclusive => "inconclusive",
            Outcome::Fail => "fail",
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What it is: `rows`, `foreign keys`, `query 1`.
    pub what: String,
    pub outcome: Outcome,
    /// What was found, in a sentence.
    pub why: String,
    /// It is about what the data say (keys that lead nowhere, the newest row, a question of the state file), not about whether
    /// they are what was saved: a faithful copy of data that were so is what a restore in place wants.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_data: bool,
}

impl Check {
    /// It is as it should be.
    pub fn pass(what: &str, why: impl Into<String>) -> Check {
        Check { what: what.to_owned(), outcome: Outcome::Pass, why: why.into(), of_data: false }
    }

    /// It is not.
    pub fn fail(what: &str, why: impl Into<String>) -> Check {
        Check { what: what.to_owned(), outcome: Outcome::Fail, why: why.into(), of_data: false }
    }

    /// Nobody can say.
    pub fn inconclusive(what: &str, why: impl Into<String>) -> Check {
        Check { what: what.to_owned(), outcome: Outcome::Inconclusive, why: why.into(), of_data: false }
    }

    /// The same, about what the data say.
    #[must_use]
    pub fn about_data(self) -> Check {
        Check { of_data: true, ..self }
    }
}

/// What all of them come to. Nothing looked at is nothing proven.
pub fn worst<'a>(checks: impl IntoIterator<Item = &'a Check>) -> Outcome {
    checks.into_iter().map(|check| check.outcome).max().unwrap_or(Outcome::Inconclusive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_that_is_no_pass_makes_the_whole_none() {
        let (pass, fail) = (Check::pass("rows", ""), Check::fail("rows", ""));
        let open = Check::inconclusive("rows", "");
        assert_eq!(worst([&pass, &pass]), Outcome::Pass);
        assert_eq!(worst([&pass, &open]), Outcome::Inconclusive);
        assert_eq!(worst([&fail, &open, &pass]), Outcome::Fail);
        assert_eq!(worst([]), Outcome::Inconclusive);
    }
}
