//! The options by which a command takes several environments: names and globs, an application, a template, all.

use clap::Args;

use super::{CliError, Result};
use crate::model::ids::EnvName;
use crate::run::choice::{Choice, Named};
use crate::run::controller::Snapshot;

/// Which environments.
#[derive(Args, Clone, Default)]
pub struct Chosen {
    /// The environments, by name or glob ('customer-*')
    #[arg(id = "environments", value_name = "ENV")]
    names: Vec<Named>,
    #[command(flatten)]
    narrowed: Narrowed,
}

/// Which of them, or of all.
#[derive(Args, Clone, Default)]
pub struct Narrowed {
    /// Only those of this application
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Only those that extend this template
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// Every environment
    #[arg(long)]
    all: bool,
}

impl Chosen {
    /// One of which the name is known.
    pub fn one(name: EnvName) -> Chosen {
        Chosen { names: vec![Named::One(name)], narrowed: Narrowed::default() }
    }

    /// What was said.
    pub fn choice(self) -> Result<Choice> {
        self.narrowed.of(self.names)
    }

    /// The environments of a command that looks: where nothing is said, all.
    pub fn names(&self, snapshot: &Snapshot) -> Result<Vec<EnvName>> {
        Ok(self.clone().choice()?.of(snapshot)?)
    }
}

impl Narrowed {
    /// Which of these.
    pub fn of(self, names: Vec<Named>) -> Result<Choice> {
        let Narrowed { app, template, all } = self;
        if all && !names.is_empty() {
            return Err(CliError::usage("--all is every environment: name some, or say --all"));
        }
        Ok(Choice { names, app, template, all })
    }
}

/// Of a command that changes something: it is told what, and never takes silence for everything.
pub fn must_be_said(choice: Choice) -> Result<Choice> {
    match choice.is_empty() {
        true => Err(CliError::usage("no environment is named")
            .hint("name environments or globs ('customer-*'), or say --app NAME, --template NAME or --all")),
        false => Ok(choice),
    }
}
