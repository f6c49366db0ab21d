//! What a daemon publishes of its environments for those who plan without access to any host: a form of its own, with a
//! version (law 12), which holds what a planner needs and no more. No command, no evidence of a check, no name or address of
//! a person, no text that a person or a host wrote to say why. Where a planner compares contents of shared files, there are
//! tokens ([`veil`]): two of one view are equal where the contents are, and nobody can guess a value from them.
//!
//! Each type takes its live type apart field by field: a new field does not compile until somebody says whether it is
//! published. Pure: who reads it from where, and whom that may be believed of, is `run::look::published`.

mod unveil;
mod veil;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::veil::Veil;
use super::desired::{Check, Probe};
use super::format::Form;
use super::ids::{Digest, EnvName, HostName, ReleaseName, Sha};
use super::record::strips_none;

/// The version of this form. 1 was the live types of the first programs, which are still read (`run::look::published`).
pub const SCHEMA: u64 = 2;

/// How published views are read. The first program that published said no version.
pub const FORM: Form = Form { known: SCHEMA, unsaid: Some(1) };

/// Everything that one daemon publishes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// The version of this form.
    pub schema: u64,
    /// The program that wrote it.
    pub by: String,
    /// The commit that is acted on.
    pub commit: String,
    /// When it was written.
    pub at: Timestamp,
    pub observed: Environments,
}

/// The environments that were looked at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Environments {
    pub environments: BTreeMap<EnvName, EnvironmentV2>,
}

/// One environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnvironmentV2 {
    /// The commit as which its hosts were looked at.
    pub commit: String,
    /// When they were looked at.
    pub at: Timestamp,
    pub hosts: BTreeMap<HostName, HostV2>,
    /// What `release = "…"` means at that commit.
    pub resolved: ResolvedV2,
    pub artifact: Option<ArtifactV2>,
    /// Of the controller's checks; the hosts carry their own.
    pub health: Vec<CheckV2>,
    pub words: Vec<WordV2>,
    /// So many words do not count.
    pub remarks: usize,
    pub tree: Option<String>,
    pub live_trees: BTreeMap<Sha, String>,
}

/// What a `release` came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResolvedV2 {
    Sha(Sha),
    Unknown,
    NotAsked,
}

/// What stands at the place of the bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtifactV2 {
    pub sha256: FactV2<Digest>,
    /// The name of a check of the build, and its conclusion.
    pub checks: FactV2<BTreeMap<String, String>>,
}

/// Something that was looked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FactV2<T> {
    Known(T),
    Missing,
    Unknown,
    NotAsked,
}

/// What one check said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckV2 {
    /// As [`shown`].
    pub check: String,
    pub verdict: VerdictV2,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictV2 {
    Pass,
    Fail,
    Inconclusive,
}

/// A person's word, of a person who is a number here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WordV2 {
    pub by: usize,
    pub at: Timestamp,
    pub approve: bool,
    /// Which commit goes where, under which configuration.
    pub scope: Digest,
    /// What was reviewed of each host: the digest that a plan of this view gives, where it is what the daemon would do now.
    pub hosts: BTreeMap<HostName, Digest>,
    /// The digests of the names of the steps.
    pub irreversible: Vec<Digest>,
    pub unnamed: bool,
}

/// One host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostV2 {
    Reached(Box<RootV2>),
    Unreachable,
    /// Another machine answers than the one that is known.
    OtherMachine(OtherMachineV2),
}

/// Machines by digests of their ids, which nobody can guess.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OtherMachineV2 {
    pub known: Digest,
    pub since: Timestamp,
    /// Whether the record of the root names it, or the controller.
    pub by_record: bool,
    pub found: Option<Digest>,
}

/// One root on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RootV2 {
    pub current: CurrentV2,
    pub confirmed: Option<ConfirmedV2>,
    pub probation: Option<ProbationV2>,
    /// Since when it is closed for maintenance.
    pub closed: Option<Timestamp>,
    /// What is known of each release.
    pub known: BTreeMap<ReleaseName, ReleaseV2>,
    /// The directories in `releases/`.
    pub releases: Vec<ReleaseName>,
    pub quarantined: Vec<QuarantineV2>,
    /// By `SHA/digest of the hook`.
    pub migrations: BTreeMap<String, MigrationV2>,
    pub green: Option<GreenV2>,
    pub ailing: Option<AilingV2>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healed: Option<HealedV2>,
    /// Since when it is stopped.
    pub stopped: Option<Timestamp>,
    /// Since when it is suspect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspect: Option<Timestamp>,
    pub returned: Option<ReturnedV2>,
    /// Since when somebody holds it.
    pub held: Option<Timestamp>,
    /// The shared files: a token for the contents, `null` where one is missing.
    pub files: BTreeMap<String, Option<Digest>>,
    /// The shared files that are no regular files, and what they are instead.
    pub unreadable: BTreeMap<String, String>,
    /// The versions of rendered files that are desired here, as tokens.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rendered: BTreeMap<String, Digest>,
    /// So many places of the root cannot be used as they are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub misplaced: u64,
    /// Names of variables that the environment file lacks.
    pub missing_env: Vec<String>,
    pub drift: Option<DriftReportV2>,
    pub health: Vec<CheckV2>,
    /// So many entries of ROOT are an application that is live there, and not soll's.
    #[serde(default, skip_serializing_if = "is_none")]
    pub foreign: usize,
    /// The commits of directories in `releases/` that nothing else is known of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub revisions: BTreeMap<ReleaseName, Sha>,
    /// The services of a project of containers, or the units of systemd.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceV2>,
    /// Nothing is known of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub services_unseen: bool,
}

/// One service: what runs of it, and of what it is made. Not where it can be reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceV2 {
    pub service: String,
    pub wanted: u32,
    pub running: u32,
    /// With its digest, where it has one; empty for a unit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    pub as_released: bool,
    pub state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    #[serde(default, skip_serializing_if = "is_never")]
    pub restarts: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_never(count: &u32) -> bool {
    *count == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

/// What `ROOT/current` is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CurrentV2 {
    Missing,
    Release(ReleaseName),
    Elsewhere(String),
    NotALink,
}

/// The release that was healthy last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfirmedV2 {
    pub release: ReleaseName,
    pub sha: Option<Sha>,
    pub bundle: Option<Digest>,
    pub at: Timestamp,
    /// Of variables and shared paths, as the state file has them.
    pub inputs: Option<Digest>,
    /// The shared files that it was confirmed with, as tokens.
    pub files: BTreeMap<String, Digest>,
}

/// A release that is not confirmed yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbationV2 {
    pub release: ReleaseName,
    pub sha: Sha,
    pub back_to: Option<ReleaseName>,
    pub armed_at: Timestamp,
    pub key: CaseV2,
    /// How far its watch has come.
    pub watched: Option<WatchedV2>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WatchedV2 {
    /// In seconds.
    pub time: u64,
    /// By the name of the metric.
    pub broken: BTreeMap<String, u32>,
}

/// What a verdict is about. Shared files as a token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseV2 {
    pub sha: Sha,
    pub bundle: Option<Digest>,
    pub config: Digest,
    pub files: Digest,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleaseV2 {
    pub sha: Option<Sha>,
    pub bundle: Option<Digest>,
    pub links: Option<Digest>,
    #[serde(default, skip_serializing_if = "strips_none")]
    pub strip: u32,
    pub staged_at: Timestamp,
    pub sealed: bool,
    pub confirmed_at: Option<Timestamp>,
    pub failed: bool,
    pub adopted: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuarantineV2 {
    pub key: CaseV2,
    pub at: Timestamp,
    pub verdict: bool,
    pub alone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationV2 {
    Begun,
    Done,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GreenV2 {
    pub release: ReleaseName,
    pub since: Timestamp,
    pub last: Timestamp,
    pub samples: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AilingV2 {
    pub release: ReleaseName,
    pub since: Timestamp,
    pub samples: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealedV2 {
    pub release: ReleaseName,
    pub at: Timestamp,
    pub times: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReturnedV2 {
    pub from: ReleaseName,
    pub to: Option<ReleaseName>,
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftReportV2 {
    pub release: ReleaseName,
    /// When every byte was read last.
    pub at: Timestamp,
    /// When files were compared by their looks, where that found something else.
    pub looked: Option<Timestamp>,
    /// How old it was when the hosts were looked at, in seconds by the host's own clock.
    pub age: u64,
    pub entries: Vec<DriftV2>,
    /// So many more paths differ.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftV2 {
    pub path: String,
    pub kind: DriftKindV2,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriftKindV2 {
    Changed,
    Missing,
    Added,
    Mode,
    Unreadable,
    Link,
}

/// A check as it is published: by the name that a person gave it. One without is named by what it asks, which may be a
/// command, or an address: by the digest of that.
pub fn shown(check: &Check) -> String {
    let asks = match &check.probe {
        Probe::Run { command } => command.trim_end_matches('/') == check.name,
        _ => check.name.contains(['/', ':', '@']),
    };
    if asks { label(&check.name) } else { check.name.clone() }
}

/// Whether a published check is the one of this name.
pub fn is_of(published: &str, name: &str) -> bool {
    published == name || published == label(name)
}

fn label(name: &str) -> String {
    format!("#{}", Digest::of(name.as_bytes()))
}
