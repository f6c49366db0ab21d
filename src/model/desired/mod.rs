//! The desired state of every environment, resolved: recipe, application and environment merged, names looked up,
//! templates still unfilled. This is what the planner reads; how it is written is `raw`'s business, how errors are
//! shown is `diagnose`'s. Pure: nothing here reads a file or knows a commit.

pub mod backup;
pub mod bounds;
mod bundle;
mod checkout;
mod commands;
pub mod compose;
mod delivery;
pub mod diagnose;
pub mod digests;
pub mod edit;
pub mod fields;
mod files;
pub mod forge;
pub mod formats;
mod health;
mod layers;
pub mod load;
pub mod part;
pub mod pull;
pub mod raw;
pub mod recipe;
pub mod release;
pub mod render;
mod resolve;
pub mod schema;
pub mod sealed;
mod secrets;
mod strategy;
pub mod suggest;
pub mod tree;
pub mod walk;
mod window;
mod words;
pub mod written;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::backup::Backup;
pub use self::bundle::{Bundle, Places};
pub use self::checkout::Checkout;
pub use self::commands::{Gate, GateTest, Hook, OnFailure, Phase};
pub use self::compose::{ComposeFiles, FilesFrom, Registry};
pub use self::delivery::{Delivery, FetchFrom};
pub use self::files::{File, MODE as FILE_MODE};
pub use self::health::{Before, Check, From, Grade, Health, Limit, Metric, MetricSource, Probe, Watch};
pub use self::sealed::Sealed;
pub use self::secrets::is_name as secret_name;
pub use self::strategy::{Batch, Strategy};
pub use self::window::{Weekday, Window, WindowKind};
use super::activation::{SETTLE, Unit};
use super::ids::{AppName, EnvName, HostName, ReleaseName, Sha};
use super::template::Values;

/// Everything that one commit of the state repository asks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Desired {
    /// By name; iteration order is the order of plans and pages.
    pub environments: BTreeMap<EnvName, Environment>,
    /// In pull mode: every environment with all of its hosts, for what one must know of another. Else empty.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub whole: BTreeMap<EnvName, Environment>,
}

/// One environment with everything that applies to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    pub name: EnvName,
    pub app: AppName,
    /// The recipe's name; its effect is already merged into the fields below.
    pub recipe: String,
    /// What `release = "…"` says.
    pub release: ReleaseRef,
    /// In the order of `hosts`; the first one migrates.
    pub targets: Vec<Target>,
    /// The application's own repository (tags, `track`, promotion by tree).
    pub repository: Option<String>,
    #[serde(flatten)]
    pub delivery: Delivery,
    pub shared: Vec<Shared>,
    /// Those of the shared files that are rendered for each host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// The encrypted files of the state repository whose secrets it may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sealed: Vec<Sealed>,
    /// Globs inside a release that the application may write (recipes set theirs).
    pub mutable: Vec<String>,
    /// Globs of places outside a release that links of its bundle may lead to. What is not used is not written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links_out: Vec<String>,
    pub keep_releases: u32,
    /// Variables that must be present in the shared environment file (E4).
    pub required_env: Vec<String>,
    pub gates: Vec<Gate>,
    pub hooks: Vec<Hook>,
    /// What runs the release: restarted whenever `current` moved (I7). Texts unfilled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<Unit>,
    /// Those of them that are stopped before a migration, and started again whatever becomes of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drains: Vec<Unit>,
    /// For so long each unit must stay what it is before it counts as started.
    #[serde(default = "settle_default", with = "seconds", skip_serializing_if = "is_settle_default")]
    pub settle: Duration,
    /// Checks of the build that must be recorded as successful beside the bundle (B8).
    pub checks: Vec<String>,
    /// `{name}` in URLs and commands, `SOLL_VAR_name` in commands.
    pub variables: BTreeMap<String, String>,
    pub health: Health,
    pub watch: Option<Watch>,
    pub drift: DriftPolicy,
    #[serde(with = "seconds")]
    pub drift_every: Duration,
    pub on_failure: EnvFailure,
    pub revert_commit: bool,
    /// The reason, where the environment is frozen (D5).
    pub frozen: Option<String>,
    pub promote: Option<Promote>,
    pub approvals: u32,
    /// So many where the change is a return to a release that was confirmed there before; `None`: as many as for any change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals_for_rollback: Option<u32>,
    /// The approval of whoever committed the release does not count (`approvers = { not_author = true }`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_author: bool,
    /// Tags are refused; only a full SHA will do (B4).
    pub immutable: bool,
    pub track: Option<Track>,
    pub strategy: Strategy,
    #[serde(with = "seconds")]
    pub deadline: Duration,
    pub unreachable: Unreachable,
    pub windows: Vec<Window>,
    pub emergency: Option<Emergency>,
    /// What is saved of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backups: Vec<Backup>,
    /// In pull mode: what is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull: Option<pull::Pull>,
    /// What the controller's settings say about it; nothing of it stands in the state file.
    #[serde(default, skip_serializing_if = "bounds::Bounds::is_empty")]
    pub bounds: bounds::Bounds,
}

/// What the line `release = "…"` names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseRef {
    Sha(Sha),
    /// Peeled to a commit of the application's repository and recorded per commit of the state repository (B6).
    Tag(String),
    /// A directory of `releases/` that is on the hosts, written `./releases/NAME`: the way back to a release of which nobody
    /// knows the commit.
    Directory(ReleaseName),
    /// Nothing yet: `track` names a branch, and no release of it was committed so far.
    Awaited,
}

impl ReleaseRef {
    /// The text as it stands in the state file, a directory by its name alone; empty where nothing stands there yet.
    pub fn as_str(&self) -> &str {
        match self {
            ReleaseRef::Sha(sha) => sha.as_str(),
            ReleaseRef::Tag(tag) => tag,
            ReleaseRef::Directory(name) => name.as_str(),
            ReleaseRef::Awaited => "",
        }
    }

    /// What stands for a commit that is asked for so, before people: its first digits, or the directory's name where nobody
    /// knows the commit.
    pub fn short<'a>(&'a self, sha: &'a Sha) -> &'a str {
        match self {
            ReleaseRef::Directory(name) if sha.is_unknown() => name.as_str(),
            _ => sha.short(),
        }
    }
}

/// One host of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub name: HostName,
    pub address: Address,
    pub user: Option<String>,
    pub port: Option<u16>,
    /// Where the agent's program is kept there.
    pub agent_dir: Option<String>,
    /// ROOT on this host, absolute, templates filled.
    pub root: String,
}

/// Where a host is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Address {
    /// This machine (`address = "local"`, or no `hosts` at all).
    Local,
    Remote(String),
}

/// A path of the release that lives under `ROOT/shared/` (A1, A9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// Relative to the release.
    pub path: String,
    /// Relative to `ROOT/shared/`.
    pub from: String,
    /// A directory is made where it is missing; a file must exist, it is never made empty.
    pub directory: bool,
}

/// What a failed deployment does to the environment (`on_failure`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EnvFailure {
    Rollback,
    /// The new release stays, for people to look at.
    Hold,
}

/// What is done about changed contents and links (A7). A hand-switched `current` is always out of sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DriftPolicy {
    Report,
    Heal,
    Ignore,
}

/// What an unreachable host does to its environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unreachable {
    Block,
    Skip,
}

/// Only what another environment runs well may come here (B2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promote {
    pub from: EnvName,
    #[serde(with = "seconds")]
    pub soak: Duration,
    pub by: Match,
}

/// How a release here is recognised in the environment that it comes from (B2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Match {
    Sha,
    Bundle,
    Tree,
}

/// Follow a branch of the application's repository (B1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    pub branch: String,
}

/// What a hotfix may skip, for one release only, with a reason that is recorded (B6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emergency {
    /// The exception holds for this commit alone.
    pub release: Sha,
    pub reason: String,
    /// `soak`, `promotion`, `window`, `approval`, `checks`, or the name of a gate.
    pub skip: Vec<String>,
}

impl Environment {
    /// The values that URLs and commands may name, around one release on one host.
    pub fn values(&self, target: &Target, release: Option<&ReleaseName>, sha: Option<&Sha>) -> Values {
        let mut values: Values = self.variables.clone();
        let mut set = |name: &str, value: &str| values.insert(name.to_owned(), value.to_owned());
        set("env", self.name.as_str());
        set("host", target.name.as_str());
        set("root", &target.root);
        // A variable of this name was there before.
        if !self.variables.contains_key("cache") {
            set("cache", &format!("{}/.soll/cache", target.root));
        }
        set("release", release.map_or("", |r| r.as_str()));
        set("sha", sha.map_or("", |s| s.as_str()));
        set("sha8", sha.map_or("", |s| s.short()));
        values
    }

    /// The values that the addresses of bundles may name beside the commit.
    pub fn bundle_values(&self) -> Values {
        let mut values = self.variables.clone();
        values.insert("env".to_owned(), self.name.to_string());
        values
    }

    /// The hooks of one phase, in their order.
    pub fn hooks_of(&self, phase: Phase) -> impl Iterator<Item = &Hook> {
        self.hooks.iter().filter(move |hook| hook.phase == phase)
    }

    /// Whether the emergency of this release skips `what`.
    pub fn skips(&self, sha: &Sha, what: &str) -> Option<&Emergency> {
        self.emergency.as_ref().filter(|e| e.release == *sha && e.skip.iter().any(|s| s == what))
    }

    /// The shared environment file: the shared file that the release calls `.env`, or whose name ends so (A9).
    pub fn env_file(&self) -> Option<&Shared> {
        let files = || self.shared.iter().filter(|s| !s.directory);
        files().find(|s| s.path == ".env").or_else(|| files().find(|s| s.path.ends_with(".env")))
    }
}

fn settle_default() -> Duration {
    SETTLE
}

fn is_settle_default(settle: &Duration) -> bool {
    *settle == SETTLE
}

/// Durations as fractional seconds: readable in JSON and stable under a digest.
pub(crate) mod seconds {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub fn serialize<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(d.as_secs_f64())
    }
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}
