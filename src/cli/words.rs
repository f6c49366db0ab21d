//! `approve` and `reject`: a person's word on what a plan would do, bound to it, kept in the state repository.

use std::path::PathBuf;

use clap::Args;

use super::global::{Global, Output, names};
use super::{CliError, Result, out};
use crate::model::approval::Decision;
use crate::model::ids::EnvName;
use crate::run::commit::must_be_of_this_commit;
use crate::run::operate::word::{Opinion, Spoken, at_hand, say};

/// Approve a plan.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll plan production                        what would be approved
  soll approve production --note Reviewed")]
pub struct Approve {
    environment: EnvName,
    /// Speak about this saved plan, which may have been made elsewhere (`soll plan --out FILE`)
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// For the record
    #[arg(long)]
    note: Option<String>,
}

/// Reject a plan.
#[derive(Args)]
pub struct Reject {
    environment: EnvName,
    /// Speak about this saved plan, which may have been made elsewhere (`soll plan --out FILE`)
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Why
    #[arg(long, alias = "note")]
    reason: String,
}

impl Approve {
    /// Says yes.
    pub async fn run(self, global: &Global) -> Result {
        let opinion = Opinion { decision: Decision::Approve, note: self.note };
        said(global, self.environment, self.plan, opinion).await
    }
}

impl Reject {
    /// Says no.
    pub async fn run(self, global: &Global) -> Result {
        let opinion = Opinion { decision: Decision::Reject, note: Some(self.reason) };
        said(global, self.environment, self.plan, opinion).await
    }
}

async fn said(global: &Global, name: EnvName, saved: Option<PathBuf>, opinion: Opinion) -> Result {
    let (controller, snapshot) = global.newest(&[]).await?;
    let wanted = names(&snapshot, std::slice::from_ref(&name))?;
    must_be_of_this_commit(&snapshot, &wanted)?;
    let plan = match saved {
        Some(path) => super::apply::saved(&path)?,
        None => at_hand(&controller, &snapshot, &name).await?,
    };
    let Some(env) = plan.environments.into_iter().find(|env| env.name == name) else {
        return Err(CliError::plain(format!("the plan says nothing about {name}")));
    };
    let spoken = say(&controller, &snapshot, &env, opinion).await?;
    if global.output == Output::Json {
        let Spoken { word, commit, .. } = &spoken;
        out::json(&serde_json::json!({
            "environment": word.environment, "approve": word.is_approval(), "binding": word.binding,
            "commit": commit.to_string(), "id": word.id, "expires": word.expires,
        }));
        return Ok(0);
    }
    out::text(&spoken.told());
    Ok(0)
}
