//! What a person reviews of a plan (B3): the effective environment, and of each host that changes what it runs, when that was
//! confirmed, and what it gets. Taken of versioned views (law 12). A re-plan, a failed attempt, a crash between two hosts
//! leave it as it was; each confirmation uses the part of its host up.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::Step;
use super::fingerprint::CurrentV1;
use super::forward::Host;
use super::intent::{Intent, present_files};
use crate::model::approval::Reviewed;
use crate::model::desired::digests::ApprovedV2;
use crate::model::desired::{Desired, Environment};
use crate::model::ids::{Digest, ReleaseName, Sha};
use crate::model::observed::{EnvObserved, Fact, HostState};

/// What there is to review. `hosts`: those that need something.
pub fn reviewed(
    desired: &Desired,
    env: &Environment,
    sha: Option<&Sha>,
    seen: &EnvObserved,
    hosts: &[Host<'_>],
    steps: &[Step],
) -> Reviewed {
    // In pull mode each host plans its share; people review the whole.
    let whole = desired.source(&env.name).unwrap_or(env);
    let bundle = match seen.artifact.as_ref().map(|artifact| &artifact.sha256) {
        Some(Fact::Known(digest)) => Some(*digest),
        _ => None,
    };
    let deploys = hosts.iter().any(|host| matches!(host.intent, Intent::Deploy { .. }));
    let one = |host: &Host<'_>| (host.target.name.clone(), Digest::of_json(&HostV2::of(host, sha, bundle)));
    Reviewed {
        scope: Digest::of_json(&(sha, ApprovedV2::from(whole))),
        hosts: hosts.iter().map(one).collect(),
        irreversible: steps.iter().filter(|step| step.irreversible).map(|step| step.id.clone()).collect(),
        unnamed: deploys && bundle.is_none(),
    }
}

/// One host, as it is reviewed.
#[derive(Serialize)]
struct HostV2<'a> {
    from: CurrentV1<'a>,
    /// The last confirmation of a deployment: after the next one this is another start, also from the same release.
    confirmed: Option<(&'a ReleaseName, Timestamp)>,
    gets: GetsV2<'a>,
    files: BTreeMap<String, Digest>,
}

#[derive(Serialize)]
enum GetsV2<'a> {
    #[serde(rename = "bundle")]
    Bundle(Digest),
    /// A release that is there, and of which nobody knows the bundle.
    #[serde(rename = "release")]
    Release(&'a ReleaseName),
    /// Nobody can approve that.
    #[serde(rename = "unnamed")]
    Unnamed,
}

impl<'a> HostV2<'a> {
    fn of(host: &'a Host<'_>, sha: Option<&Sha>, bundle: Option<Digest>) -> Self {
        let (state, record): (&HostState, _) = (host.state, &host.state.record);
        // A run died between switch and confirmation: what was approved is under way, from where it began.
        let under_way = record
            .probation
            .as_ref()
            .is_some_and(|p| Some(&p.sha) == sha && state.current.release() == Some(&p.release));
        let from = match &record.confirmed {
            Some(confirmed) if under_way => CurrentV1::Release(confirmed.release.as_str()),
            None if under_way => CurrentV1::Missing,
            _ => CurrentV1::from(&state.current),
        };
        // What ran before anybody deployed is adopted in the same run: that confirms nothing that was approved.
        let deployed = record.confirmed.as_ref().filter(|confirmed| confirmed.inputs.is_some());
        let there = |release: &'a ReleaseName| match record.releases.get(release).and_then(|known| known.bundle) {
            Some(bundle) => GetsV2::Bundle(bundle),
            None => GetsV2::Release(release),
        };
        let gets = match &host.intent {
            Intent::Deploy { .. } | Intent::Nothing => bundle.map_or(GetsV2::Unnamed, GetsV2::Bundle),
            Intent::SwitchTo { release, .. }
            | Intent::Reconfigure { release, .. }
            | Intent::Resume { release, .. }
            | Intent::Restart { release, .. }
            | Intent::Revive { release, .. }
            | Intent::Adopt { release, .. } => there(release),
        };
        let confirmed = deployed.map(|confirmed| (&confirmed.release, confirmed.at));
        HostV2 { from, confirmed, gets, files: present_files(state) }
    }
}
