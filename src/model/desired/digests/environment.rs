//! What stands in the digests of an environment, version 1: where it is, what comes there, and under which rules.

use std::collections::BTreeMap;

use serde::Serialize;

use super::asked::{GateV1, HealthV1, HookV1, WatchV1, in_seconds};
use crate::model::desired::{
    Address, Batch, Bundle, DriftPolicy, Emergency, EnvFailure, Environment, FetchFrom, Match, Promote, ReleaseRef,
    Shared, Strategy, Target, Track, Unreachable, Weekday, Window, WindowKind, pull::Pull,
};
use crate::model::ids::HostName;

/// The views of a list.
pub fn all<'a, L, V: From<&'a L>>(live: &'a [L]) -> Vec<V> {
    live.iter().map(V::from).collect()
}

/// [`Environment`].
#[derive(Serialize)]
pub struct EnvironmentV1<'a> {
    name: &'a str,
    app: &'a str,
    recipe: &'a str,
    release: ReleaseV1<'a>,
    targets: Vec<TargetV1<'a>>,
    repository: Option<&'a str>,
    bundle: BundleV1<'a>,
    shared: Vec<SharedV1<'a>>,
    mutable: &'a [String],
    keep_releases: u32,
    required_env: &'a [String],
    gates: Vec<GateV1<'a>>,
    hooks: Vec<HookV1<'a>>,
    checks: &'a [String],
    variables: &'a BTreeMap<String, String>,
    health: HealthV1<'a>,
    watch: Option<WatchV1<'a>>,
    drift: &'static str,
    drift_every: f64,
    on_failure: &'static str,
    revert_commit: bool,
    frozen: Option<&'a str>,
    promote: Option<PromoteV1<'a>>,
    approvals: u32,
    immutable: bool,
    track: Option<TrackV1<'a>>,
    strategy: StrategyV1,
    deadline: f64,
    unreachable: &'static str,
    windows: Vec<WindowV1<'a>>,
    emergency: Option<EmergencyV1<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull: Option<PullV1<'a>>,
}

impl<'a> From<&'a Environment> for EnvironmentV1<'a> {
    fn from(live: &'a Environment) -> Self {
        let Environment {
            name,
            app,
            recipe,
            release,
            targets,
            repository,
            bundle,
            shared,
            mutable,
            keep_releases,
            required_env,
            gates,
            hooks,
            checks,
            variables,
            health,
            watch,
            drift,
            drift_every,
            on_failure,
            revert_commit,
            frozen,
            promote,
            approvals,
            immutable,
            track,
            strategy,
            deadline,
            unreachable,
            windows,
            emergency,
            pull,
            // What the settings raise stands in the fields that it raises; whom they bar is no part of what is desired.
            bounds: _,
        } = live;
        EnvironmentV1 {
            name: name.as_str(),
            app: app.as_str(),
            recipe,
            release: release.into(),
            targets: all(targets),
            repository: repository.as_deref(),
            bundle: bundle.into(),
            shared: all(shared),
            mutable,
            keep_releases: *keep_releases,
            required_env,
            gates: all(gates),
            hooks: all(hooks),
            checks,
            variables,
            health: health.into(),
            watch: watch.as_ref().map(WatchV1::from),
            drift: match drift {
                DriftPolicy::Report => "report",
                DriftPolicy::Heal => "heal",
                DriftPolicy::Ignore => "ignore",
            },
            drift_every: in_seconds(*drift_every),
            on_failure: match on_failure {
                EnvFailure::Rollback => "rollback",
                EnvFailure::Hold => "hold",
            },
            revert_commit: *revert_commit,
            frozen: frozen.as_deref(),
            promote: promote.as_ref().map(PromoteV1::from),
            approvals: *approvals,
            immutable: *immutable,
            track: track.as_ref().map(TrackV1::from),
            strategy: strategy.into(),
            deadline: in_seconds(*deadline),
            unreachable: match unreachable {
                Unreachable::Block => "block",
                Unreachable::Skip => "skip",
            },
            windows: all(windows),
            emergency: emergency.as_ref().map(EmergencyV1::from),
            pull: pull.as_ref().map(PullV1::from),
        }
    }
}

#[derive(Serialize)]
enum ReleaseV1<'a> {
    #[serde(rename = "sha")]
    Sha(&'a str),
    #[serde(rename = "tag")]
    Tag(&'a str),
    #[serde(rename = "awaited")]
    Awaited,
}

impl<'a> From<&'a ReleaseRef> for ReleaseV1<'a> {
    fn from(live: &'a ReleaseRef) -> Self {
        match live {
            ReleaseRef::Sha(sha) => ReleaseV1::Sha(sha.as_str()),
            ReleaseRef::Tag(tag) => ReleaseV1::Tag(tag),
            ReleaseRef::Awaited => ReleaseV1::Awaited,
        }
    }
}

/// [`Target`].
#[derive(Serialize)]
pub struct TargetV1<'a> {
    name: &'a str,
    address: AddressV1<'a>,
    user: Option<&'a str>,
    port: Option<u16>,
    agent_dir: Option<&'a str>,
    root: &'a str,
}

impl<'a> From<&'a Target> for TargetV1<'a> {
    fn from(live: &'a Target) -> Self {
        let Target { name, address, user, port, agent_dir, root } = live;
        let address = match address {
            Address::Local => AddressV1::Local,
            Address::Remote(to) => AddressV1::Remote(to),
        };
        let (name, user, agent_dir) = (name.as_str(), user.as_deref(), agent_dir.as_deref());
        TargetV1 { name, address, user, port: *port, agent_dir, root }
    }
}

#[derive(Serialize)]
enum AddressV1<'a> {
    #[serde(rename = "local")]
    Local,
    #[serde(rename = "remote")]
    Remote(&'a str),
}

#[derive(Serialize)]
struct BundleV1<'a> {
    url: &'a str,
    sha256: &'a str,
    checks: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fetch_from: Option<&'static str>,
}

impl<'a> From<&'a Bundle> for BundleV1<'a> {
    fn from(live: &'a Bundle) -> Self {
        let Bundle { url, sha256, checks, fetch_from } = live;
        let fetch_from = match fetch_from {
            FetchFrom::Controller => None,
            FetchFrom::Host => Some("host"),
        };
        BundleV1 { url, sha256, checks, fetch_from }
    }
}

/// [`Shared`].
#[derive(Serialize)]
pub struct SharedV1<'a> {
    path: &'a str,
    from: &'a str,
    directory: bool,
}

impl<'a> From<&'a Shared> for SharedV1<'a> {
    fn from(live: &'a Shared) -> Self {
        let Shared { path, from, directory } = live;
        SharedV1 { path, from, directory: *directory }
    }
}

#[derive(Serialize)]
struct PromoteV1<'a> {
    from: &'a str,
    soak: f64,
    by: &'static str,
}

impl<'a> From<&'a Promote> for PromoteV1<'a> {
    fn from(live: &'a Promote) -> Self {
        let Promote { from, soak, by } = live;
        let by = match by {
            Match::Sha => "sha",
            Match::Bundle => "bundle",
            Match::Tree => "tree",
        };
        PromoteV1 { from: from.as_str(), soak: in_seconds(*soak), by }
    }
}

#[derive(Serialize)]
struct TrackV1<'a> {
    branch: &'a str,
}

impl<'a> From<&'a Track> for TrackV1<'a> {
    fn from(live: &'a Track) -> Self {
        let Track { branch } = live;
        TrackV1 { branch }
    }
}

#[derive(Serialize)]
enum StrategyV1 {
    #[serde(rename = "all-at-once")]
    AllAtOnce,
    #[serde(rename = "rolling")]
    Rolling { batch: BatchV1, max_failures: u32, pause: f64 },
}

impl From<&Strategy> for StrategyV1 {
    fn from(live: &Strategy) -> Self {
        match live {
            Strategy::AllAtOnce => StrategyV1::AllAtOnce,
            Strategy::Rolling { batch, max_failures, pause } => {
                let batch = match batch {
                    Batch::Hosts(n) => BatchV1::Hosts(*n),
                    Batch::Percent(n) => BatchV1::Percent(*n),
                };
                StrategyV1::Rolling { batch, max_failures: *max_failures, pause: in_seconds(*pause) }
            }
        }
    }
}

#[derive(Serialize)]
enum BatchV1 {
    #[serde(rename = "hosts")]
    Hosts(u32),
    #[serde(rename = "percent")]
    Percent(u32),
}

#[derive(Serialize)]
struct WindowV1<'a> {
    kind: &'static str,
    days: Vec<&'static str>,
    from: u16,
    to: u16,
    zone: &'a str,
    reason: Option<&'a str>,
}

impl<'a> From<&'a Window> for WindowV1<'a> {
    fn from(live: &'a Window) -> Self {
        let Window { kind, days, from, to, zone, reason } = live;
        let kind = match kind {
            WindowKind::Allow => "allow",
            WindowKind::Deny => "deny",
        };
        let day = |day: &Weekday| match day {
            Weekday::Mon => "mon",
            Weekday::Tue => "tue",
            Weekday::Wed => "wed",
            Weekday::Thu => "thu",
            Weekday::Fri => "fri",
            Weekday::Sat => "sat",
            Weekday::Sun => "sun",
        };
        let days = days.iter().map(day).collect();
        WindowV1 { kind, days, from: *from, to: *to, zone, reason: reason.as_deref() }
    }
}

/// [`Emergency`].
#[derive(Serialize)]
pub struct EmergencyV1<'a> {
    release: &'a str,
    reason: &'a str,
    skip: &'a [String],
}

impl<'a> From<&'a Emergency> for EmergencyV1<'a> {
    fn from(live: &'a Emergency) -> Self {
        let Emergency { release, reason, skip } = live;
        EmergencyV1 { release: release.as_str(), reason, skip }
    }
}

#[derive(Serialize)]
struct PullV1<'a> {
    first: &'a str,
    others: Vec<&'a str>,
}

impl<'a> From<&'a Pull> for PullV1<'a> {
    fn from(live: &'a Pull) -> Self {
        let Pull { first, others } = live;
        PullV1 { first: first.as_str(), others: others.iter().map(HostName::as_str).collect() }
    }
}

/// What a person approves of an environment, version 2: all that decides what is done where. Recipe, gates, hooks, shared
/// paths, variables, health and watch stand in it as the configuration's digest.
#[derive(Serialize)]
pub struct ApprovedV2<'a> {
    name: &'a str,
    app: &'a str,
    targets: Vec<TargetV1<'a>>,
    repository: Option<&'a str>,
    bundle: BundleV1<'a>,
    checks: &'a [String],
    config: String,
    on_failure: &'static str,
    revert_commit: bool,
    strategy: StrategyV1,
    deadline: f64,
    unreachable: &'static str,
    /// It may skip gates.
    emergency: Option<EmergencyV1<'a>>,
}

impl<'a> From<&'a Environment> for ApprovedV2<'a> {
    fn from(live: &'a Environment) -> Self {
        let EnvironmentV1 {
            name,
            app,
            recipe: _,
            // The commit that it came to is bound beside it.
            release: _,
            targets,
            repository,
            bundle,
            shared: _,
            mutable: _,
            // Nobody reviews how long old releases are kept.
            keep_releases: _,
            required_env: _,
            gates: _,
            hooks: _,
            checks,
            variables: _,
            health: _,
            watch: _,
            // What happens between deployments.
            drift: _,
            drift_every: _,
            on_failure,
            revert_commit,
            // What may be in the way of a change says nothing about what it does.
            frozen: _,
            promote: _,
            approvals: _,
            immutable: _,
            track: _,
            strategy,
            deadline,
            unreachable,
            windows: _,
            emergency,
            // A share of one host: the whole is approved.
            pull: _,
        } = EnvironmentV1::from(live);
        let config = live.config_digest().to_string();
        ApprovedV2 {
            name,
            app,
            targets,
            repository,
            bundle,
            checks,
            config,
            on_failure,
            revert_commit,
            strategy,
            deadline,
            unreachable,
            emergency,
        }
    }
}
