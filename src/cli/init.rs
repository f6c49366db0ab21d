//! `soll init`: a first state file that is valid and says what to change.

use std::path::PathBuf;

use clap::Args;

use super::{CliError, Result, out};

/// Write a first state file.
#[derive(Args)]
pub struct Init {
    /// Where
    #[arg(default_value = "desired-state.toml")]
    path: PathBuf,
    /// The recipe of the first app
    #[arg(long, default_value = "generic")]
    recipe: String,
}

impl Init {
    /// Writes it; a file that is there is left alone.
    pub fn run(self) -> Result {
        let at = self.path.display();
        if crate::model::desired::recipe::text(&self.recipe).is_none() {
            let known: Vec<_> = crate::model::desired::recipe::names().collect();
            return Err(CliError::usage(format!(
                "there is no recipe `{}`; there are: {}",
                self.recipe,
                known.join(", ")
            )));
        }
        let text = include_str!("init.toml").replace("@RECIPE@", &self.recipe);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&self.path).map_err(|error| {
            match error.kind() {
                std::io::ErrorKind::AlreadyExists => {
                    CliError::plain(format!("{at} is there already: it is left as it is"))
                }
                _ => CliError::plain(format!("cannot write {at}: {error}")),
            }
        })?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        out::text(&format!("wrote {at}\n  next: edit it, then: soll validate, git commit, soll plan, soll apply\n"));
        Ok(0)
    }
}
