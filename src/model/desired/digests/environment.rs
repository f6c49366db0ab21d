//! What stands in the digests of an environment, version 1: where it is, what comes there, and under which rules.

use std::collections::BTreeMap;

use serde::Serialize;

use super::asked::{GateV1, HealthV1, HookV1, WatchV1, in_seconds};
use super::made_of::{BundleV1, CheckoutV1, ComposeV1, FileV1, SharedV1, UnitV1, UnitsV1};
use super::rules::{EmergencyV1, PromoteV1, PullV1, StrategyV1, TrackV1, WindowV1};
use crate::model::desired::{Address, Delivery, DriftPolicy, EnvFailure, Environment, ReleaseRef, Target, Unreachable};

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
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<BundleV1<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    git: Option<CheckoutV1<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compose: Option<ComposeV1<'a>>,
    shared: Vec<SharedV1<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<FileV1<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sealed: Vec<&'a str>,
    mutable: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    links_out: &'a [String],
    keep_releases: u32,
    required_env: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    units: Option<UnitsV1<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    drains: Vec<UnitV1<'a>>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    approvals_for_rollback: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    not_author: bool,
    immutable: bool,
    track: Option<TrackV1<'a>>,
    strategy: StrategyV1,
    deadline: f64,
    unreachable: &'static str,
    windows: Vec<WindowV1<'a>>,
    emergency: Option<EmergencyV1<'a>>,
    /// The backups that every deployment makes first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    saves: Vec<&'a str>,
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
            delivery,
            shared,
            files,
            sealed,
            mutable,
            links_out,
            keep_releases,
            required_env,
            gates,
            hooks,
            units: _,
            drains,
            settle: _,
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
            approvals_for_rollback,
            not_author,
            immutable,
            track,
            strategy,
            deadline,
            unreachable,
            windows,
            emergency,
            // What is saved, and when, is no part of what runs; that a deployment saves first is a part of what it does.
            backups,
            pull,
            // What the settings raise stands in the fields that it raises; whom they bar is no part of what is desired.
            bounds: _,
        } = live;
        let (bundle, git) = match delivery {
            Delivery::Bundle(bundle) => (Some(bundle.into()), None),
            Delivery::Git(checkout) => (None, Some(checkout.into())),
            Delivery::Compose(_) => (None, None),
        };
        EnvironmentV1 {
            name: name.as_str(),
            app: app.as_str(),
            recipe,
            release: release.into(),
            targets: all(targets),
            repository: repository.as_deref(),
            bundle,
            git,
            compose: ComposeV1::of(live),
            shared: all(shared),
            files: all(files),
            // What stands in them is in what they are rendered into.
            sealed: sealed.iter().map(|sealed| sealed.path.as_str()).collect(),
            mutable,
            links_out,
            keep_releases: *keep_releases,
            required_env,
            units: UnitsV1::of(live),
            drains: all(drains),
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
            approvals_for_rollback: *approvals_for_rollback,
            not_author: *not_author,
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
            saves: backups.iter().filter(|backup| backup.pre_deploy).map(|backup| backup.name.as_str()).collect(),
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
    #[serde(rename = "directory")]
    Directory(&'a str),
    #[serde(rename = "awaited")]
    Awaited,
}

impl<'a> From<&'a ReleaseRef> for ReleaseV1<'a> {
    fn from(live: &'a ReleaseRef) -> Self {
        match live {
            ReleaseRef::Sha(sha) => ReleaseV1::Sha(sha.as_str()),
            ReleaseRef::Tag(tag) => ReleaseV1::Tag(tag),
            ReleaseRef::Directory(name) => ReleaseV1::Directory(name.as_str()),
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

/// What a person approves of an environment, version 2: all that decides what is done where. Recipe, gates, hooks, shared
/// paths, variables, health and watch stand in it as the configuration's digest.
#[derive(Serialize)]
pub struct ApprovedV2<'a> {
    name: &'a str,
    app: &'a str,
    targets: Vec<TargetV1<'a>>,
    repository: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<BundleV1<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    git: Option<CheckoutV1<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compose: Option<ComposeV1<'a>>,
    checks: &'a [String],
    /// What runs is the same with it and without it, so that no verdict depends on it; but it lets in what was refused.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    links_out: &'a [String],
    /// Secrets of other files are others, by whatever name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sealed: Vec<&'a str>,
    config: String,
    on_failure: &'static str,
    revert_commit: bool,
    strategy: StrategyV1,
    deadline: f64,
    unreachable: &'static str,
    /// It may skip gates.
    emergency: Option<EmergencyV1<'a>>,
    /// Without one of them a migration has no way back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    saves: Vec<&'a str>,
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
            git,
            compose,
            shared: _,
            // They stand in the configuration's digest.
            files: _,
            sealed,
            mutable: _,
            links_out,
            // Nobody reviews how long old releases are kept.
            keep_releases: _,
            required_env: _,
            units: _,
            drains: _,
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
            approvals_for_rollback: _,
            not_author: _,
            immutable: _,
            track: _,
            strategy,
            deadline,
            unreachable,
            windows: _,
            emergency,
            saves,
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
            git,
            compose,
            checks,
            links_out,
            sealed,
            config,
            on_failure,
            revert_commit,
            strategy,
            deadline,
            unreachable,
            emergency,
            saves,
        }
    }
}
