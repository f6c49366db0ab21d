//! Commands that only print: recipes, the schema, completions, the manual page.

use clap::Args;
use clap_complete::Shell;

use super::global::{Global, Output};
use super::kind::Kind;
use super::{CliError, Result, complete, out};
use crate::model::desired::{recipe, schema};

/// Print a recipe.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll recipe                                 their names
  soll recipe laravel
  soll recipe node --kind git")]
pub struct Recipe {
    /// Its name; without one the names are printed
    name: Option<String>,
    #[command(flatten)]
    kind: Kind,
}

impl Recipe {
    /// Prints it.
    pub fn run(self) -> Result {
        let Some(name) = self.name else {
            recipe::names().for_each(|name| out::text(&format!("{name}\n")));
            return Ok(0);
        };
        let text = recipe::text(&name, self.kind.get(&name)).ok_or_else(|| {
            let known: Vec<_> = recipe::names().collect();
            CliError::usage(format!("there is no recipe `{name}`; there are: {}", known.join(", ")))
        })?;
        out::text(text);
        Ok(0)
    }
}

/// Print completions.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll completions bash > /etc/bash_completion.d/soll
  soll completions zsh > /usr/local/share/zsh/site-functions/_soll
  soll completions fish > ~/.config/fish/completions/soll.fish")]
pub struct Completions {
    shell: Shell,
}

impl Completions {
    /// Prints them.
    pub fn run(self) -> Result {
        complete::script(&self.shell.to_string())
    }
}

/// Prints the version: of the program, and the commit that it was built from.
pub fn version(global: &Global, version: &str, commit: &str) -> Result {
    match global.output {
        Output::Json => out::json(&serde_json::json!({ "version": version, "commit": commit })),
        _ => out::text(&format!("soll {version} ({commit})\n")),
    }
    Ok(0)
}

/// Prints the JSON Schema of the state file.
pub fn schema() -> Result {
    out::json(schema::schema());
    Ok(0)
}

/// Prints the manual page: the program, then every command.
pub fn man(command: clap::Command) -> Result {
    let mut bytes = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut bytes)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let name = format!("soll-{}", sub.get_name());
        clap_mangen::Man::new(sub.clone().display_name(name)).render(&mut bytes)?;
    }
    out::text(&String::from_utf8_lossy(&bytes));
    Ok(0)
}
