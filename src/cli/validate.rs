//! `soll validate`: the file in the work tree, where there is one, so that mistakes are found before they are committed.

use clap::Args;

use super::global::{Global, Output};
use super::{CliError, Result, out, screen};
use crate::model::desired::render::Style;
use crate::run::controller::{Checked, ControllerError, Snapshot};
use crate::run::files;

/// Check the state file.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll validate                               the work tree, before a commit
  soll validate --ref HEAD")]
pub struct Validate {
    /// A file to check instead of the repository's
    path: Option<std::path::PathBuf>,
    /// Check a commit instead of the work tree
    #[arg(long = "ref", value_name = "REV", conflicts_with = "path")]
    rev: Option<String>,
}

impl Validate {
    /// Checks and prints.
    pub fn run(self, global: &Global) -> Result {
        let checked = match (&self.path, &self.rev) {
            (Some(path), _) => raised(global, files::load_file(path))?,
            (None, Some(rev)) => {
                let controller = global.controller()?;
                let commit = controller.repo.resolve(rev)?;
                controller.snapshot(commit).map(Snapshot::into_checked)
            }
            (None, None) => {
                let settings = global.settings()?;
                let path = std::path::Path::new(&settings.repo).join(&settings.file);
                if path.exists() {
                    raised(global, files::load_file(&path))?
                } else {
                    let controller = global.controller()?;
                    let head = controller.repo.head()?;
                    controller.snapshot(head).map(Snapshot::into_checked)
                }
            }
        };
        let found = match checked {
            Ok(checked) => checked,
            Err(ControllerError::Invalid(found)) if global.output == Output::Json => {
                out::json(&serde_json::json!({ "valid": false, "errors": found.to_json() }));
                return Ok(1);
            }
            Err(error) => return Err(error.into()),
        };
        if global.output == Output::Json {
            let environments: Vec<_> = found.desired.environments.keys().collect();
            let warnings = found.warnings.to_json();
            out::json(
                &serde_json::json!({ "valid": true, "environments": environments, "warnings": warnings, "policies": told(&found) }),
            );
            return Ok(0);
        }
        if !found.warnings.is_empty() {
            screen::block(&found.warnings.render(Style { colour: out::colour_stderr(), ..Style::default() }));
        }
        for told in told(&found) {
            screen::line(&format!("policy: {told}"));
        }
        let n = found.desired.environments.len();
        out::text(&format!("valid: {n} environment{}\n", if n == 1 { "" } else { "s" }));
        Ok(0)
    }
}

/// A file of a work tree under the settings of this machine, as a commit of it would be read.
fn raised(
    global: &Global,
    checked: std::result::Result<Checked, ControllerError>,
) -> Result<std::result::Result<Checked, ControllerError>> {
    let (policies, signers) = global.policies()?;
    Ok(checked.map(|mut checked| {
        policies.raise(&mut checked.desired, signers);
        checked
    }))
}

/// What the settings demand beyond the state file, as sentences.
fn told(checked: &Checked) -> Vec<String> {
    let environments = checked.desired.environments.values();
    let all = environments.flat_map(|env| {
        let unmet = env.bounds.unmet.iter().map(|unmet| &unmet.message);
        env.bounds.raised.iter().chain(unmet).map(|said| format!("{}: {said}", env.name))
    });
    all.collect()
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        CliError::plain(error.to_string())
    }
}
