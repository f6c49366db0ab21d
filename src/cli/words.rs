//! `approve` and `reject`: a person's word on what a plan would do, bound to it, kept in the state repository. About several
//! environments it is one word, which is bound to the plan of each.

use std::path::PathBuf;

use clap::Args;

use super::apply::worst;
use super::chosen::{Chosen, must_be_said};
use super::global::{Global, Output};
use super::{CliError, Result, out};
use crate::model::approval::{Decision, Subject};
use crate::model::ids::EnvName;
use crate::model::shown::counted;
use crate::plan::reviewable::reviewable;
use crate::plan::{EnvPlan, render};
use crate::run::commit::must_be_of_this_commit;
use crate::run::operate::word::{NotSaid, Opinion, Spoken, at_hand, say};

/// Approve a plan.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll plan production                        what would be approved
  soll approve production --note Reviewed")]
pub struct Approve {
    #[command(flatten)]
    chosen: Chosen,
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
    #[command(flatten)]
    chosen: Chosen,
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
        said(global, self.chosen, self.plan, opinion).await
    }
}

impl Reject {
    /// Says no.
    pub async fn run(self, global: &Global) -> Result {
        let opinion = Opinion { decision: Decision::Reject, note: Some(self.reason) };
        said(global, self.chosen, self.plan, opinion).await
    }
}

async fn said(global: &Global, chosen: Chosen, saved: Option<PathBuf>, opinion: Opinion) -> Result {
    let choice = must_be_said(chosen.choice()?)?;
    let (controller, snapshot) = global.newest(&[]).await?;
    let names = choice.of(&snapshot)?;
    must_be_of_this_commit(&snapshot, &names)?;
    let plan = match saved {
        Some(path) => super::apply::saved(&path)?,
        None => at_hand(&controller, &snapshot, &names).await?,
    };
    let of = |name: &EnvName| plan.environments.iter().find(|env| env.name == *name);
    if let Some(name) = choice.only() {
        let env = of(name).ok_or_else(|| CliError::plain(format!("the plan says nothing about {name}")))?;
        let spoken = say(&controller, &snapshot, &[env], opinion).await?;
        match global.output {
            Output::Json => {
                let Subject { environment, binding, .. } = &spoken.word.subject;
                let mut all = as_json(&spoken);
                all["environment"] = serde_json::json!(environment);
                all["binding"] = serde_json::json!(binding);
                out::json(&all);
            }
            _ => {
                out::text(&spoken.told());
                let changes = env.changes.iter();
                changes.for_each(|changes| out::text(&format!("  {}\n", changes.summary())));
            }
        }
        return Ok(0);
    }
    let found: Vec<&EnvPlan> = names.iter().filter_map(of).collect();
    let set = Set::of(&found);
    if global.output != Output::Json {
        out::text(&render::text::environments(&set.good, super::plan::style()));
    }
    let spoken = match set.good.is_empty() {
        true => None,
        false => Some(say(&controller, &snapshot, &set.good, opinion).await?),
    };
    set.print(global, spoken.as_ref(), names.len() - found.len())
}

/// The plans of several environments, before something is said about them.
struct Set<'a> {
    /// Those that a word can be about.
    good: Vec<&'a EnvPlan>,
    /// Those in which nothing would be done.
    idle: usize,
    /// Those of which nobody can say what would be done: the word is not about them.
    refused: Vec<(&'a EnvPlan, CliError)>,
}

impl<'a> Set<'a> {
    fn of(plans: &[&'a EnvPlan]) -> Set<'a> {
        let mut set = Set { good: Vec::new(), idle: 0, refused: Vec::new() };
        for env in plans {
            match reviewable(env) {
                Ok(_) => set.good.push(env),
                Err(why) if why.idle => set.idle += 1,
                Err(why) => set.refused.push((env, NotSaid::from(why).into())),
            }
        }
        set
    }

    /// What was said, and about whom nothing was. `unplanned`: so many are not in the saved plan.
    fn print(self, global: &Global, spoken: Option<&Spoken>, unplanned: usize) -> Result {
        let Set { good, idle, refused } = self;
        for (_, error) in &refused {
            error.print();
        }
        let refusals = worst(refused.iter().map(|(_, error)| error.exit));
        if global.output == Output::Json {
            let mut all = spoken.map_or_else(|| serde_json::json!({}), as_json);
            let one = |subject: &Subject| {
                let Subject { environment, binding, .. } = subject;
                serde_json::json!({ "environment": environment, "binding": binding })
            };
            all["environments"] = spoken.iter().flat_map(|spoken| spoken.word.subjects()).map(one).collect();
            let not = |(env, error): &(&EnvPlan, CliError)| {
                let (environment, why) = (&env.name, error.text());
                serde_json::json!({ "environment": environment, "why": why })
            };
            all["refused"] = refused.iter().map(not).collect();
            out::json(&all);
        } else {
            if let Some(spoken) = spoken {
                let did = if spoken.word.is_approval() { "approved" } else { "rejected" };
                let until = spoken.word.expires.map(|expires| format!(", until {expires:.0}")).unwrap_or_default();
                let whom = counted(good.len() as u64, "environment", "environments");
                out::text(&format!("{did}: {whom} (one word {}{until})\n", spoken.commit.short()));
            }
            for (count, what) in [(idle, "without a change to speak about"), (unplanned, "not in the saved plan")] {
                if count > 0 {
                    out::text(&format!("{}: {what}\n", counted(count as u64, "environment", "environments")));
                }
            }
        }
        match (spoken, refusals) {
            (None, 0) => Err(CliError::plain("none of these environments has a change to speak about")
                .hint("a word is about a change; release something first")),
            (_, exit) => Ok(exit),
        }
    }
}

/// What is said of every word.
fn as_json(spoken: &Spoken) -> serde_json::Value {
    let Spoken { word, commit, .. } = spoken;
    serde_json::json!({
        "approve": word.is_approval(), "commit": commit.to_string(), "id": word.id, "expires": word.expires,
    })
}
