//! What stands beside a bundle: its checksum and the record of its build (A2, B8). Judges the texts, not the build.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::format::fault;
use crate::model::ids::Sha;
use crate::model::observed::{ArtifactFacts, Fact};

use super::fetch::{FetchError, Fetcher, missing_or_unknown};
use super::source::{Location, Source};

/// The name under which the build as a whole appears among its checks, where it did not succeed.
pub const BUILD: &str = "build";

impl Fetcher {
    /// Looks at what stands beside the bundle of `sha`, without fetching the bundle. The record is read for these checks.
    pub async fn inspect(&self, source: &Source, sha: &Sha, checks: &[String]) -> ArtifactFacts {
        let sha256 = self.checksum(source).await.map_or_else(missing_or_unknown, Fact::Known);
        let checks = if checks.is_empty() { Fact::NotAsked } else { self.record(&source.checks, sha, checks).await };
        ArtifactFacts { sha256, checks }
    }

    /// How these checks came out for a commit, by the record of its build.
    pub async fn record(&self, place: &Location, sha: &Sha, checks: &[String]) -> Fact<BTreeMap<String, String>> {
        let text = match self.small(place).await {
            Ok(text) => text,
            Err(error) => return missing_or_unknown(error),
        };
        match parse_record(&text) {
            Ok(record) => {
                let mut found = record.conclusions(sha);
                // What nobody asked for is told to nobody.
                found.retain(|name, _| name == BUILD || checks.contains(name));
                Fact::Known(found)
            }
            Err(reason) => missing_or_unknown(FetchError::refused(place, reason)),
        }
    }
}

/// The record of one build, as it lies beside the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRecord {
    pub sha: String,
    /// `completed`, or what it is instead.
    pub status: Option<String>,
    /// `success`, or what it is instead.
    pub conclusion: Option<String>,
    #[serde(default)]
    pub checks: BTreeMap<String, Option<String>>,
}

impl BuildRecord {
    /// Check → conclusion, for the build of exactly this commit. A record of another commit says nothing about its
    /// checks: it gives the one check [`BUILD`], which says so.
    pub fn conclusions(self, sha: &Sha) -> BTreeMap<String, String> {
        if self.sha != sha.as_str() {
            return BTreeMap::from([(BUILD.to_owned(), "recorded for another commit".to_owned())]);
        }
        let word = |text: Option<String>, none: &str| text.map_or(none, |text| known(&text)).to_owned();
        let mut all: BTreeMap<String, String> =
            self.checks.into_iter().map(|(name, conclusion)| (name, word(conclusion, "no conclusion"))).collect();
        let whole = match (self.status.as_deref(), self.conclusion) {
            (Some("completed"), conclusion) => word(conclusion, "no conclusion"),
            (status, _) => status.map_or("no status", known).to_owned(),
        };
        if whole != "success" {
            all.insert(BUILD.to_owned(), whole);
        }
        all
    }
}

/// What CI systems conclude or are at. Anything else is not told on: nobody knows whose file it is.
pub(super) fn known(word: &str) -> &'static str {
    const WORDS: [&str; 26] = [
        "action_required",
        "canceled",
        "cancelled",
        "completed",
        "created",
        "error",
        "failed",
        "failure",
        "in_progress",
        "manual",
        "neutral",
        "passed",
        "pending",
        "preparing",
        "queued",
        "requested",
        "running",
        "scheduled",
        "skipped",
        "stale",
        "startup_failure",
        "success",
        "timed_out",
        "waiting",
        "waiting_for_resource",
        "warning",
    ];
    WORDS.into_iter().find(|known| *known == word).unwrap_or("another word than any that is known")
}

fn parse_record(text: &str) -> Result<BuildRecord, String> {
    match text.trim() {
        "" => return Err("it is empty; the record of the build was expected".to_owned()),
        "null" => return Err("it says `null`: whoever wrote it found no build, and that is an error".to_owned()),
        _ => {}
    }
    serde_json::from_str(text).map_err(|error| format!("it is not the record of a build: {}", fault(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "f0959bafdeadbeeff0959bafdeadbeeff0959baf";

    #[test]
    fn a_record_counts_for_its_own_commit_only() {
        let record = |text: &str| parse_record(text).map(|record| record.conclusions(&SHA.parse().unwrap()));
        let mut out = String::new();
        for text in [
            format!(
                r#"{{"sha":"{SHA}","status":"completed","conclusion":"success","checks":{{"run-tests":"success"}}}}"#
            ),
            format!(
                r#"{{"sha":"{SHA}","status":"completed","conclusion":"failure","checks":{{"run-tests":"failure"}}}}"#
            ),
            format!(r#"{{"sha":"{SHA}","status":"in_progress","conclusion":null,"checks":{{"run-tests":null}}}}"#),
            format!(r#"{{"sha":"{SHA}","conclusion":"success","checks":{{"build":"success"}}}}"#),
            r#"{"sha":"dead","status":"completed","conclusion":"success","checks":{"run-tests":"success"}}"#.to_owned(),
            r#"{"status":"completed","conclusion":"success"}"#.to_owned(),
            "null".to_owned(),
            "[]".to_owned(),
            String::new(),
            "<html>".to_owned(),
        ] {
            out += &format!("{:?}\n", record(&text));
        }
        insta::assert_snapshot!(out);
    }
}
