//! Commands that only print: recipes, the schema, completions, the manual page.

use clap::Args;
use clap_complete::Shell;

use super::kind::Kind;
use super::{CliError, Result, out};
use crate::model::desired::{recipe, schema};

/// Print a recipe.
#[derive(Args)]
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
pub struct Completions {
    shell: Shell,
}

impl Completions {
    /// Prints them.
    pub fn run(self, mut command: clap::Command) -> Result {
        let mut bytes = Vec::new();
        clap_complete::generate(self.shell, &mut command, "soll", &mut bytes);
        out::text(&String::from_utf8_lossy(&bytes));
        Ok(0)
    }
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
