//! `soll backup verify`: every byte is read back, and compared with the manifest.

use clap::Args;
use serde_json::json;

use super::{Job, Shell};
use crate::cli::{CliError, Result, out, screen};
use crate::host::wire::backup::{Answer, Ask};
use crate::model::backup::manifest::PartEntry;
use crate::model::backup::name::BackupName;
use crate::model::desired::Target;
use crate::model::desired::backup::BackupTarget;
use crate::plan::retention::State;
use crate::run::pass::backup::shelf;

#[derive(Args)]
pub(super) struct Verify {
    /// The backups, as `[backups.NAME]` calls them [default: all]
    names: Vec<String>,
    /// This one, as `list` calls it [default: the newest on each target]
    #[arg(long, value_name = "KIND/TIME")]
    at: Option<BackupName>,
    /// Every one that there is
    #[arg(long, conflicts_with = "at")]
    all: bool,
}

impl Shell<'_> {
    pub(super) async fn verify(&self, wanted: Verify) -> Result {
        let (mut rows, mut bad) = (Vec::new(), false);
        for Job { env, backup, target } in self.jobs(&wanted.names)? {
            for row in shelf::all(&self.controller, &self.snapshot, env, backup, target).await {
                let place = &row.target;
                let backups = match row.backups {
                    Ok(backups) => backups,
                    Err(why) => {
                        bad = true;
                        screen::line(&format!("soll: {} on {}: {why}", backup.name, place.name));
                        continue;
                    }
                };
                let mut chosen: Vec<_> = backups
                    .into_iter()
                    .filter(|one| wanted.at.is_none_or(|at| one.name == at))
                    .filter(|one| one.state != State::NoManifest || wanted.at.is_some())
                    .collect();
                if wanted.at.is_none() && !wanted.all {
                    chosen.truncate(1);
                }
                if chosen.is_empty() {
                    bad = true;
                    screen::line(&format!("soll: {} on {}: there is nothing to verify", backup.name, place.name));
                }
                for one in chosen {
                    let wrong = match (&one.manifest, &one.state) {
                        (Some(manifest), _) => {
                            match self.read_back(target, place, one.name, manifest.parts.clone()).await {
                                Ok(wrong) => wrong,
                                // Nobody could say: that is no word about the backup, and the others are read all the same.
                                Err(error) => {
                                    bad = true;
                                    let (name, place) = (one.name, &place.name);
                                    screen::line(&format!("soll: {} {name} on {place}: {}", backup.name, error.text()));
                                    continue;
                                }
                            }
                        }
                        (None, State::Broken(why)) => vec![why.clone()],
                        (None, _) => vec!["it has no manifest: it was not finished".to_owned()],
                    };
                    bad |= !wrong.is_empty();
                    if !self.is_json() {
                        let told = if wrong.is_empty() { "whole".to_owned() } else { wrong.join("; ") };
                        out::text(&format!("{} {} on {}: {told}\n", backup.name, one.name, place.name));
                    }
                    rows.push(json!({
                        "name": backup.name, "backup": one.name, "target": place.name,
                        "verified": wrong.is_empty(), "wrong": wrong,
                    }));
                }
            }
        }
        if self.is_json() {
            out::json(&rows);
        }
        Ok(u8::from(bad))
    }

    async fn read_back(
        &self,
        target: &Target,
        place: &BackupTarget,
        name: BackupName,
        parts: Vec<PartEntry>,
    ) -> Result<Vec<String>> {
        match self.asked(target, Ask::Verify { target: place.clone(), name, parts }).await? {
            Answer::Verified { wrong } => Ok(wrong),
            other => Err(CliError::plain(format!("the host gave an answer that does not fit: {other:?}"))),
        }
    }
}
