//! `soll bundle`: what CI calls after its build (A2, A3, B8).

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::global::{Global, Output};
use super::{CliError, Result, out};
use crate::artifact::bundle;
use crate::model::ids::Sha;

/// Make a bundle.
#[derive(Args)]
pub struct Bundle {
    /// The built directory
    dir: PathBuf,
    /// The commit that it was built from
    #[arg(long)]
    sha: String,
    /// Where to put the bundle
    #[arg(long, default_value = ".", value_name = "DIR")]
    out: PathBuf,
    /// A check of the build and its conclusion, recorded beside the bundle
    #[arg(long = "check", value_name = "NAME=CONCLUSION")]
    checks: Vec<String>,
    /// The app of the state file whose file and directory gates must pass
    #[arg(long, value_name = "ENV")]
    gates_of: Option<crate::model::ids::EnvName>,
}

impl Bundle {
    /// Makes it.
    pub fn run(self, global: &Global) -> Result {
        let sha: Sha = self.sha.parse().map_err(|e: crate::model::ids::BadId| CliError::usage(e.to_string()))?;
        let mut checks = BTreeMap::new();
        for check in &self.checks {
            let (name, conclusion) =
                check.split_once('=').filter(|(name, c)| !name.is_empty() && !c.is_empty()).ok_or_else(|| {
                    CliError::usage(format!("`--check {check}` is not NAME=CONCLUSION, for example run-tests=success"))
                })?;
            checks.insert(name.to_owned(), conclusion.to_owned());
        }
        let gates = match &self.gates_of {
            Some(name) => {
                let settings = global.settings()?;
                let path = std::path::Path::new(&settings.repo).join(&settings.file);
                let checked = crate::run::files::load_file(&path)?;
                let env = checked.desired.environments.get(name);
                env.ok_or_else(|| CliError::usage(format!("there is no environment `{name}`")))?.gates.clone()
            }
            None => Vec::new(),
        };
        std::fs::create_dir_all(&self.out)
            .map_err(|error| CliError::plain(format!("cannot make {}: {error}", self.out.display())))?;
        let made = bundle::create(&self.dir, &sha, &self.out, &checks, &gates)
            .map_err(|error| CliError::plain(error.to_string()))?;
        if global.output == Output::Json {
            out::json(&serde_json::json!({ "archive": made.archive, "sha256": made.sha256, "checks": made.checks }));
        } else {
            out::text(&format!("{}\n{}\n", made.archive.display(), made.sha256));
        }
        Ok(0)
    }
}
