//! The parts of a state that can be wrong for themselves, so that the others are acted on meanwhile: each included file, and
//! each environment of the state file itself, as long as its syntax is whole.

use crate::model::ids::EnvName;

/// One part of a state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A whole file. Of the state file itself: what is wrong concerns everything, or nobody can say what it concerns.
    File(String),
    /// The table of one environment in the state file itself.
    Environment { name: EnvName, file: String },
}

impl Part {
    /// The file that it is in.
    pub fn file(&self) -> &str {
        match self {
            Part::File(file) | Part::Environment { file, .. } => file,
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Part::File(file) => f.write_str(file),
            Part::Environment { name, file } => write!(f, "the environment {name} of {file}"),
        }
    }
}
