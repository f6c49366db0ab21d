//! The kind of an application as a word of the command line.

use clap::{Args, ValueEnum};

use crate::model::desired::{raw, recipe};

/// Which kind of application is meant.
#[derive(Args)]
pub struct Kind {
    /// The kind of application [default: what the recipe is for, else bundle]
    #[arg(long = "kind", value_name = "KIND", value_enum)]
    word: Option<Word>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Word {
    Bundle,
    Git,
    Compose,
}

impl Kind {
    /// As the state file has it. `recipe`: for applications of which kind this one is, where none is said.
    pub fn get(&self, recipe: &str) -> raw::Kind {
        match self.word {
            None => recipe::only_for(recipe).unwrap_or(raw::Kind::Bundle),
            Some(Word::Bundle) => raw::Kind::Bundle,
            Some(Word::Git) => raw::Kind::Git,
            Some(Word::Compose) => raw::Kind::Compose,
        }
    }

    /// Whether one was said.
    pub fn is_said(&self) -> bool {
        self.word.is_some()
    }

    /// A kind as the state file has it.
    pub fn word(kind: raw::Kind) -> &'static str {
        match kind {
            raw::Kind::Bundle => "bundle",
            raw::Kind::Git => "git",
            raw::Kind::Compose => "compose",
        }
    }
}
