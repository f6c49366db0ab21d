//! What a plan is made from, as one digest: a saved plan is stale when it changes, and a wait after an error ends. Taken of
//! views of its own, version 1 (law 12): the effective configuration, and of each host what decides there. No health, no
//! disk, no times: a flapping check voids nothing.

use std::collections::BTreeSet;

use serde::Serialize;

use super::planner::states;
use crate::model::desired::Environment;
use crate::model::desired::digests::EnvironmentV1;
use crate::model::ids::{Digest, ReleaseName};
use crate::model::observed::{Current, EnvObserved, Resolved};

/// The fingerprint of one environment's plan.
pub fn fingerprint(env: &Environment, seen: &EnvObserved) -> Digest {
    let hosts: Vec<_> = states(seen)
        .map(|(name, state)| {
            let record = &state.record;
            let confirmed = record.confirmed.as_ref().map(|confirmed| &confirmed.release);
            let probation = record.probation.as_ref().map(|probation| &probation.release);
            let releases: BTreeSet<&ReleaseName> = state.releases.iter().collect();
            (name, CurrentV1::from(&state.current), confirmed, probation, releases)
        })
        .collect();
    Digest::of_json(&(EnvironmentV1::from(env), ResolvedV1::from(&seen.resolved), hosts))
}

#[derive(Serialize)]
enum ResolvedV1<'a> {
    #[serde(rename = "sha")]
    Sha(&'a str),
    #[serde(rename = "unknown")]
    Unknown(&'a str),
    #[serde(rename = "not-asked")]
    NotAsked,
}

impl<'a> From<&'a Resolved> for ResolvedV1<'a> {
    fn from(live: &'a Resolved) -> Self {
        match live {
            Resolved::Sha(sha) => ResolvedV1::Sha(sha.as_str()),
            Resolved::Unknown(why) => ResolvedV1::Unknown(why),
            Resolved::NotAsked => ResolvedV1::NotAsked,
        }
    }
}

/// [`Current`].
#[derive(Serialize)]
pub enum CurrentV1<'a> {
    #[serde(rename = "missing")]
    Missing,
    #[serde(rename = "release")]
    Release(&'a str),
    #[serde(rename = "elsewhere")]
    Elsewhere(&'a str),
    #[serde(rename = "not-a-link")]
    NotALink,
}

impl<'a> From<&'a Current> for CurrentV1<'a> {
    fn from(live: &'a Current) -> Self {
        match live {
            Current::Missing => CurrentV1::Missing,
            Current::Release(release) => CurrentV1::Release(release.as_str()),
            Current::Elsewhere(target) => CurrentV1::Elsewhere(target),
            Current::NotALink => CurrentV1::NotALink,
        }
    }
}
