//! `soll bundle`: what CI calls after its build (A2, A3, B8).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

use super::global::{Global, Output};
use super::{CliError, Result, out, screen};
use crate::artifact::bundle::{self, Making};
use crate::artifact::terms::Terms;
use crate::artifact::tree::shown;
use crate::model::ids::Sha;
use crate::state_repo::sources::Sources;

/// Make a bundle.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll bundle dist --sha f0959bafdeadbeeff0959bafdeadbeeff0959baf --out bundles")]
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
    /// The environment of the state file whose file and directory gates must pass, and whose `links_out` counts
    #[arg(long, value_name = "ENV")]
    gates_of: Option<crate::model::ids::EnvName>,
    /// Replace a bundle of this commit that has other contents
    #[arg(long)]
    force: bool,
    /// Places outside the release that its links may lead to, as `links_out` of the state file says them
    #[arg(long, value_name = "GLOB")]
    links_out: Vec<String>,
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
        let mut making = Making { checks, force: self.force, ..Making::default() };
        if let Some(name) = &self.gates_of {
            let settings = global.settings()?;
            let path = std::path::Path::new(&settings.repo).join(&settings.file);
            let checked = crate::run::files::load_file(&path)?;
            let env = checked.desired.environments.get(name);
            let env = env.ok_or_else(|| CliError::usage(format!("there is no environment `{name}`")))?;
            making.gates = env.gates.clone();
            making.terms = Terms::of(env);
        }
        making.terms.links_out.extend(self.links_out);
        std::fs::create_dir_all(&self.out)
            .map_err(|error| CliError::plain(format!("cannot make {}: {error}", self.out.display())))?;
        let made =
            bundle::create(&self.dir, &sha, &self.out, &making).map_err(|error| CliError::plain(error.to_string()))?;
        let warnings: Vec<String> = made.notes.iter().cloned().chain(sources(&self.dir, &sha)).collect();
        for warning in &warnings {
            screen::line(&format!("warning: {warning}"));
        }
        if global.output == Output::Json {
            out::json(&serde_json::json!({
                "archive": made.archive, "sha256": made.sha256, "checks": made.checks, "warnings": warnings,
            }));
        } else {
            out::text(&format!("{}\n{}\n", made.archive.display(), made.sha256));
        }
        Ok(0)
    }
}

/// What to say of the work tree that the build comes from.
fn sources(dir: &Path, sha: &Sha) -> Vec<String> {
    let Some(Sources { head, changed }) = Sources::around(dir) else { return Vec::new() };
    let mut said = Vec::new();
    if let Some(head) = head.filter(|head| head != sha) {
        said.push(format!(
            "{} lies in a work tree that has {} checked out, and the bundle is said to be of {}: give the SHA of what was built",
            dir.display(),
            head.short(),
            sha.short()
        ));
    }
    let first: Vec<String> = changed.iter().take(bundle::NAMED).map(|path| format!("`{}`", shown(path))).collect();
    let more = match changed.len().saturating_sub(bundle::NAMED) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    if !changed.is_empty() {
        said.push(format!(
            "what is in no commit may be in the bundle of {}: {}{more}; commit it, or build from a clean clone",
            sha.short(),
            first.join(", ")
        ));
    }
    said
}
