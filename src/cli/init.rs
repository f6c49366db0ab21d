//! `soll init`: a first state file that is valid and says what to change.

use std::path::PathBuf;

use clap::Args;

use super::kind::Kind;
use super::{CliError, Result, out};
use crate::model::desired::{raw, recipe};

/// Write a first state file.
#[derive(Args)]
pub struct Init {
    /// Where
    #[arg(default_value = "desired-state.toml")]
    path: PathBuf,
    /// The recipe of the first app
    #[arg(long, default_value = "generic")]
    recipe: String,
    #[command(flatten)]
    kind: Kind,
}

impl Init {
    /// Writes it; a file that is there is left alone.
    pub fn run(self) -> Result {
        let at = self.path.display();
        let Some(preset) = recipe::text(&self.recipe, self.kind.get(&self.recipe)) else {
            let known: Vec<_> = recipe::names().collect();
            return Err(CliError::usage(format!(
                "there is no recipe `{}`; there are: {}",
                self.recipe,
                known.join(", ")
            )));
        };
        let text = match self.kind.get(&self.recipe) {
            raw::Kind::Bundle => include_str!("init.toml"),
            raw::Kind::Git => include_str!("init-git.toml"),
            raw::Kind::Compose => include_str!("init-compose.toml"),
        };
        let wanted: Vec<_> = recipe::wants(preset).into_iter().map(|name| format!("{name} = \"app\"")).collect();
        let variables = match wanted.is_empty() {
            true => String::new(),
            false => format!("# What the recipe asks for.\nvariables = {{ {} }}\n", wanted.join(", ")),
        };
        let text = text.replace("@RECIPE@", &self.recipe).replace("@VARIABLES@", &variables);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&self.path).map_err(|error| {
            match error.kind() {
                std::io::ErrorKind::AlreadyExists => {
                    CliError::plain(format!("{at} is there already: it is left as it is"))
                }
                _ => CliError::plain(format!("cannot write {at}: {error}")),
            }
        })?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        out::text(&format!("wrote {at}\n"));
        if self.kind.get(&self.recipe) == raw::Kind::Compose {
            self.project()?;
        }
        out::text("  next: edit it, then: soll validate, git commit, soll plan, soll apply\n");
        Ok(0)
    }

    /// The project that the state file names, beside it.
    fn project(&self) -> Result<()> {
        let dir = self.path.parent().unwrap_or(std::path::Path::new("")).join("app");
        let file = dir.join("compose.yml");
        let failed = |error| CliError::plain(format!("cannot write {}: {error}", file.display()));
        if file.exists() {
            return Ok(());
        }
        std::fs::create_dir_all(&dir).map_err(failed)?;
        std::fs::write(&file, include_str!("init-compose.yml")).map_err(failed)?;
        out::text(&format!("wrote {}\n", file.display()));
        Ok(())
    }
}
