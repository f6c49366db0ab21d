//! `soll restore-test`: is a backup worth anything? It is restored elsewhere, looked at, and thrown away.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::global::{Global, Output};
use super::{CliError, Result, apply, out, screen};
use crate::model::backup::name::BackupName;
use crate::model::backup::proof::Outcome;
use crate::model::desired::{Backup, Environment};
use crate::run::pass::backup::prove::{Trying, prove};

/// How long an explicit command waits for whoever holds a root (contract 1.2).
const PATIENCE: Duration = Duration::from_secs(10);

/// Restore tests.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll restore-test                           the newest of every job
  soll restore-test production --report report.md")]
pub struct RestoreTest {
    /// The backups, as `[backups.NAME]` calls them [default: all]
    names: Vec<String>,
    /// This one, as `soll backup list` calls it [default: the newest that is whole]
    #[arg(long, value_name = "KIND/TIME")]
    at: Option<BackupName>,
    /// Write the report as Markdown into this file as well
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Why, for the record
    #[arg(long, default_value = "by hand")]
    reason: String,
}

impl RestoreTest {
    /// 0: each one passes; 1: one does not; 3: nobody can say.
    pub async fn run(self, global: &Global) -> Result {
        let (controller, snapshot) = global.accepted().await?;
        apply::interrupt_dead(&controller.store);
        let all = snapshot.desired.environments.values();
        let all: Vec<(&Environment, &Backup)> =
            all.flat_map(|env| env.backups.iter().map(move |backup| (env, backup))).collect();
        if let Some(unknown) = self.names.iter().find(|name| all.iter().all(|(_, backup)| backup.name != **name)) {
            let known: Vec<&str> = all.iter().map(|(_, backup)| backup.name.as_str()).collect();
            let error = CliError::usage(format!("there is no backup `{unknown}`"));
            return Err(error.hint(format!("there are: {}", known.join(", "))));
        }
        let wanted = |(_, backup): &(&Environment, &Backup)| self.names.is_empty() || self.names.contains(&backup.name);
        let jobs: Vec<_> = all.into_iter().filter(wanted).collect();
        if jobs.is_empty() {
            let hint = "declare one: `[backups.NAME]` in the state file";
            return Err(CliError::plain("no backup is declared").hint(hint));
        }
        let (mut reports, mut exits, mut markdown) = (Vec::new(), Vec::new(), String::new());
        for (env, backup) in jobs {
            let reason = self.reason.clone();
            let trying = Trying { backup: self.at, reason, patience: PATIENCE, keep: false, here: false, only: None };
            let say = |line: &str| screen::line(&format!("{}: {line}", backup.name));
            let done = prove(&controller, &snapshot, (env, backup), trying, &say).await;
            let report = match done {
                Ok(report) => report,
                Err(error) => {
                    let error = CliError::from(error);
                    screen::line(&format!("soll: {}: {}", backup.name, error.text()));
                    exits.push(error.exit);
                    continue;
                }
            };
            exits.push(match report.outcome {
                Outcome::Pass => 0,
                Outcome::Fail => 1,
                Outcome::Inconclusive => 3,
            });
            if global.output == Output::Text {
                out::text(&report.text());
            }
            markdown.push_str(&report.markdown());
            reports.push(report);
        }
        match global.output {
            Output::Json => out::json(&reports),
            Output::Markdown => out::text(&markdown),
            _ => {}
        }
        if let Some(path) = &self.report {
            let failed =
                |error| CliError::plain(format!("the report cannot be written to {}: {error}", path.display()));
            std::fs::write(path, &markdown).map_err(failed)?;
        }
        Ok(apply::worst(exits))
    }
}
