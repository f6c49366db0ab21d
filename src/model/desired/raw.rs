//! The state file as it is written: these structs are the one source of its JSON Schema (doc comments become the
//! descriptions that editors show) and of what is accepted. No defaults are applied here and nothing is looked up.

mod backup;
mod compose;
mod health;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub use self::backup::{
    Backup, BackupTarget, Database, Engine as BackupEngine, FileSet, Keep, Packing, RestoreTest, Via,
};
pub use self::compose::{Compose, Registry, Transfer, Update};
pub use self::health::{Assets, Check, Health, Metric, Watch};
use super::fields::*;
use super::forge::Forge;
use super::{DriftPolicy, EnvFailure, FetchFrom, Match, OnFailure, Phase, Unreachable, Weekday, WindowKind};

/// The desired state of everything that `soll` deploys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateFile {
    /// The version of this format: 1.
    #[schemars(range(min = 1, max = 1), example = 1)]
    #[schemars(extend("x-why" = "this program knows schema 1; a newer file wants a newer program"))]
    pub schema: u32,
    /// More files, relative to this one: globs such as `environments/*.toml`. They hold apps, hosts, environments and
    /// templates, and include nothing themselves.
    #[serde(default)]
    pub include: Vec<Include>,
    /// Encrypted files with secrets, relative to this one: files of age, and files of SOPS.
    #[serde(default)]
    pub secrets: Vec<SecretFile>,
    /// Applications by name.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "format": "soll-name", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" }))]
    pub apps: BTreeMap<String, App>,
    /// Hosts by name.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "format": "soll-name", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" }))]
    pub hosts: BTreeMap<String, Host>,
    /// Environments by name: what runs where.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "format": "soll-name", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" }))]
    pub environments: BTreeMap<String, Environment>,
    /// Parts that several environments share, taken with `extends = "NAME"`.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "format": "soll-name", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" }))]
    pub templates: BTreeMap<String, Environment>,
    /// Backups by name: what is saved of an environment, when, and where to.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "format": "soll-name", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" }))]
    pub backups: BTreeMap<String, Backup>,
}

/// How an application is deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A tar.gz built once by CI, unpacked beside the old release and switched by a link.
    Bundle,
    /// The tree of a commit of `repository`, sent beside the old release; hooks of phase `prepare` build in it.
    Git,
    /// A project of Docker Compose: a directory of the state repository, and the images that a release changes.
    Compose,
}

/// Whose approvals count.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approvers {
    /// Not the word of whoever committed what is approved. Default: false.
    #[serde(default)]
    pub not_author: bool,
}

/// A host.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// A host name, an IP address, or a name of the SSH configuration; `local` is this machine.
    pub address: HostAddress,
    /// The SSH user. Default: what the SSH configuration says.
    pub user: Option<User>,
    /// The SSH port. Default: what the SSH configuration says, else 22.
    #[schemars(range(min = 1, max = 65535), example = 22)]
    pub port: Option<u16>,
    /// Where the agent's program is kept on the host. Default: `~/.cache/soll/agents`.
    pub agent_dir: Option<AgentDir>,
}

/// Where bundles are. `{sha}`, `{sha8}`, `{env}` and variables are filled in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// https://, http://, file://, or a path relative to the state file.
    pub url: BundleUrl,
    /// Where the SHA-256 is. Default: `{url}.sha256`.
    pub sha256: Option<BundleUrl>,
    /// Where the record of the build's checks is. Default: `{url}.checks.json`.
    pub checks: Option<BundleUrl>,
    /// Who fetches the bundle: the controller once for all hosts, or each host itself. Default: controller.
    pub fetch_from: Option<FetchFrom>,
    /// So many directories enclose the release in the archive: `package/` of npm, `NAME-VERSION/` of a forge. Default: 0.
    #[schemars(range(min = 0, max = 8), example = 1)]
    #[schemars(extend("x-why" = "no archive wraps a release in more directories than that"))]
    pub strip: Option<u32>,
}

/// What of a commit becomes the release, with `kind = "git"`, or with `kind = "compose"` where its files lie in `repository`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Checkout {
    /// Who fetches the commit. Default: controller, so that hosts need no key of the forge; host: each into a mirror in
    /// ROOT/repo, with its own Git and its own keys.
    pub fetch_from: Option<FetchFrom>,
    /// The directory of the repository that becomes the release. Default: all of it.
    pub directory: Option<RelPath>,
    /// Whether what its submodules have belongs to the release: repositories on the same server, or beside a path. Default:
    /// false, and a commit that has any is refused.
    pub submodules: Option<bool>,
    /// Where the record of the build's checks is: https://, http://, file://, or a path relative to the state file. `{sha}`,
    /// `{sha8}`, `{env}` and variables are filled in.
    pub checks: Option<BundleUrl>,
    /// The forge that says how the checks of the commit came out: GitHub, GitLab, Gitea or Forgejo, by its API.
    pub checks_from: Option<ChecksFrom>,
}

/// A forge, and how it is asked. Of a repository at github.com, gitlab.com or codeberg.org everything may be left out.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChecksFrom {
    /// Which one. Default: by the host of `repository`, where that is github.com, gitlab.com, codeberg.org or gitea.com.
    pub forge: Option<Forge>,
    /// Where its API begins. Default: the usual place at the host of `repository`.
    #[schemars(example = &"https://git.example.com/api/v4")]
    pub url: Option<HttpUrl>,
    /// The repository as the forge calls it. Default: the path of `repository`.
    #[schemars(example = &"acme/api")]
    pub project: Option<Line>,
    /// The name of a secret of the controller, with the use `fetch`: a token that may read statuses. Default: none.
    pub token: Option<SecretName>,
}

/// A shared file: its path in the release, or a table where it has another name under `ROOT/shared/`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SharedFile {
    Same(RelPath),
    Other(RenamedFile),
}

/// A shared file that has another name under `ROOT/shared/`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenamedFile {
    /// In the release.
    pub path: RelPath,
    /// Under `ROOT/shared/`.
    pub from: RelPath,
}

/// A shared file that is rendered for each host: a version of it belongs to each release, and comes and goes with it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The path of one of `shared_files` in the release.
    pub path: RelPath,
    /// The template: a file of the state repository, relative to this one. `{name}` is a variable, `{secret:NAME}` a secret of
    /// the controller; braces that are meant as they stand are doubled.
    pub template: Template,
    /// The permissions of the file, in octal digits. Default: 0600.
    pub mode: Option<FileMode>,
    /// `user` or `user:group`. Default: the user who deploys; for another one that user needs the right to give files away.
    pub owner: Option<Owner>,
}

/// An encrypted file with secrets for every environment, or a table where it is for some.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SecretFile {
    ForAll(SealedFile),
    ForSome(BoundSecrets),
}

/// An encrypted file with secrets for some environments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BoundSecrets {
    /// The file.
    pub file: SealedFile,
    /// The environments that may use its secrets: names, or globs over them.
    #[schemars(length(min = 1))]
    pub environments: Vec<EnvGlob>,
}

/// A unit of systemd: its name, or a table where it belongs to the manager of the user who deploys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Unit {
    Named(UnitName),
    Other(OtherUnit),
}

/// A unit of systemd with more than its name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtherUnit {
    /// With its suffix.
    pub name: UnitName,
    /// It belongs to the manager of the user who deploys (`systemctl --user`). Default: false.
    pub user: Option<bool>,
    /// A worker of a queue: it is stopped before a migration, once it has finished what it is at, and started again whatever
    /// becomes of the deployment. Default: false.
    pub drain: Option<bool>,
}

/// A check of the new release directory before anything is switched.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-one-of" = [["file", "dir", "run"]]))]
#[schemars(extend("oneOf" = [{ "required": ["file"] }, { "required": ["dir"] }, { "required": ["run"] }]))]
pub struct Gate {
    /// Default: the file, the directory, or the command.
    pub name: Option<Line>,
    /// This file must exist.
    pub file: Option<RelPath>,
    /// This directory must exist.
    pub dir: Option<RelPath>,
    /// This command must succeed, through `sh -c` in the new release.
    pub run: Option<Text>,
    /// With `kind = "compose"` and `run`: inside a container of this service, made for this.
    pub service: Option<ServiceName>,
    /// Default: 10m.
    pub timeout: Option<Time>,
}

/// A command at one phase of a deployment.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Default: the command. A hook of the same name in a recipe or application is replaced.
    pub name: Option<Line>,
    /// When it runs.
    #[schemars(example = &"post-switch")]
    pub phase: Phase,
    /// The command, for `sh -c`.
    pub run: Text,
    /// Default: abort for prepare, pre-switch, maintenance-on, stop and start; rollback for migrate, post-switch, verify and
    /// maintenance-off; warn for after and rollback.
    pub on_failure: Option<OnFailure>,
    /// Default: 10m.
    pub timeout: Option<Time>,
    /// With `kind = "compose"`: inside this service, through its own `sh -c`; before the switch, `maintenance-on` aside, in a
    /// container made for this.
    pub service: Option<ServiceName>,
    /// Counted and shown as a reload of a service.
    pub reload: Option<bool>,
}

/// Only what another environment runs well may come here.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Promote {
    /// The environment that must run it.
    #[schemars(example = &"staging")]
    pub from: Name,
    /// It must have been healthy there for so long. Default: 1h.
    pub soak: Option<Pause>,
    /// How the release is recognised there. Default: sha.
    #[serde(rename = "match")]
    pub by: Option<Match>,
}

/// Follow a branch of the application's repository.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Track {
    /// The newest commit of this branch that has a bundle.
    pub branch: Branch,
}

/// In which order the hosts are switched.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Strategy {
    /// Which way.
    #[serde(rename = "type")]
    pub kind: StrategyKind,
    /// With `rolling`: how many hosts at a time. Default: 1.
    pub batch: Option<Batch>,
    /// With `rolling`: so many hosts may fail after their switch and go back alone while the others go on; one more, and
    /// everybody goes back. Default: 0.
    #[schemars(range(min = 0, max = 1000), example = 0)]
    pub max_failures: Option<u32>,
    /// With `rolling`: between a batch that is healthy and the next one. Default: 0s.
    pub pause: Option<Pause>,
}

/// The ways of going over the hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(extend("x-not-yet" = { "blue-green": "blue-green deployments", "canary": "canary deployments" }))]
pub enum StrategyKind {
    /// All hosts together.
    AllAtOnce,
    /// Batch after batch; a batch must be healthy before the next one starts.
    Rolling,
}

/// A number of hosts, or a part of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Batch {
    Hosts(#[schemars(range(min = 1, max = 10000))] u32),
    Percent(Percent),
}

/// A time in which changes are allowed or denied.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// With any allow window, changes happen only inside one; a deny window wins.
    #[schemars(example = &"deny")]
    pub kind: WindowKind,
    /// Default: every day. A window past midnight belongs to the day on which it starts.
    #[serde(default)]
    pub days: Vec<Weekday>,
    /// Local time. Default: midnight.
    pub from: Option<Clock>,
    /// Local time. Default: midnight; the same as `from` is the whole day.
    pub to: Option<Clock>,
    /// The IANA time zone of `from`, `to` and `days`.
    pub zone: Zone,
    /// Shown where a change waits.
    pub reason: Option<Line>,
}

/// What a hotfix may skip: for one release, with a reason that is recorded and announced.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Emergency {
    /// The exception holds for this commit alone.
    pub release: FullSha,
    /// Why.
    pub reason: Line,
    /// `soak`, `promotion`, `window`, `approval`, `checks`, or the name of a gate.
    #[schemars(length(min = 1))]
    pub skip: Vec<Line>,
}

/// What applications and environments both may say: an environment adds to what its application says, and wins.
macro_rules! with_settings {
    ($(#[$meta:meta])* pub struct $name:ident { $($own:tt)* }) => {
        $(#[$meta])*
        pub struct $name {
            $($own)*
            /// Where bundles are.
            pub bundle: Option<Bundle>,
            /// What of a commit becomes the release, with `kind = "git"`, or with `kind = "compose"` where its files lie in
            /// `repository`.
            pub checkout: Option<Checkout>,
            /// The project, with `kind = "compose"`.
            pub compose: Option<Compose>,
            /// Directories that live under `ROOT/shared/` and outlive every release.
            pub shared_dirs: Option<Vec<RelPath>>,
            /// Files that live under `ROOT/shared/`. They must exist there: none is ever made empty.
            pub shared_files: Option<Vec<SharedFile>>,
            /// Shared files that are rendered from templates; one of the same path replaces an inherited one.
            #[serde(default)]
            pub files: Vec<File>,
            /// Globs inside a release that the application may write without this being drift.
            pub mutable: Option<Vec<Glob>>,
            /// Globs of places outside the release that links of the bundle may lead to. Default: none.
            pub links_out: Option<Vec<LinkTarget>>,
            /// How many confirmed releases are kept, the live one included. Default: 5.
            #[schemars(range(min = 1, max = 100), example = 5)]
            #[schemars(extend("x-why" = "the live release is always kept, and disks are finite"))]
            pub keep_releases: Option<u32>,
            /// Variables that the shared environment file must have before a switch.
            pub required_env: Option<Vec<EnvVar>>,
            /// The unit of systemd that runs the release: restarted whenever `current` moved, forward or back, and watched until
            /// it has settled.
            pub unit: Option<UnitName>,
            /// The same for several, in the order in which they are restarted.
            pub units: Option<Vec<Unit>>,
            /// For so long a restarted unit must stay what it is. Default: 10s.
            pub settle: Option<Time>,
            /// Checks of the build that must have succeeded for exactly this commit.
            pub checks: Option<Vec<Line>>,
            /// Checks of the new release directory; one of the same name replaces an inherited one.
            #[serde(default)]
            pub gates: Vec<Gate>,
            /// Commands at the phases of a deployment; one of the same name replaces an inherited one.
            #[serde(default)]
            pub hooks: Vec<Hook>,
            /// Health checks and their rhythm.
            pub health: Option<Health>,
            /// `{name}` in URLs and commands, `SOLL_VAR_name` in the environment of commands. No secrets.
            #[serde(default)]
            #[schemars(extend("propertyNames" = { "format": "soll-variable", "pattern": "^[a-z][a-z0-9_]*$" }))]
            pub variables: BTreeMap<String, String>,
        }
    };
}

with_settings! {
    /// An application.
    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    pub struct App {
        /// How it is deployed. Default: bundle.
        pub kind: Option<Kind>,
        /// A preset for everything below; `soll recipe NAME` prints what it sets. Default: generic.
        pub recipe: Option<Name>,
        /// The application's own repository: for tags, `track`, and promotion by tree.
        pub repository: Option<Repository>,
    }
}

with_settings! {
    /// What runs where, and who decides.
    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    pub struct Environment {
        /// The template that fills in what is not said here.
        pub extends: Option<Name>,
        /// The application. May be left out where there is one.
        pub app: Option<Name>,
        /// The line that people and CI commit: a full commit id, or a tag.
        pub release: Option<Release>,
        /// In the order in which they are switched; the first one migrates. Default: this machine.
        #[schemars(length(min = 1))]
        pub hosts: Option<Vec<Name>>,
        /// ROOT on the hosts, absolute; `{env}`, `{host}` and variables are filled in.
        #[schemars(example = &"/var/www/api")]
        pub root: Option<Line>,
        /// Encrypted files with secrets for this environment, beside those of the top level: files of age, and files of SOPS.
        pub secrets: Option<Vec<SealedFile>>,
        /// What is done about changed contents and links. Default: report.
        pub drift: Option<DriftPolicy>,
        /// Between two scans of the contents. Default: 10m.
        pub drift_every: Option<Time>,
        /// What a failed deployment does. Default: rollback.
        pub on_failure: Option<EnvFailure>,
        /// The reconciler commits and pushes the revert of a release that failed. Default: false.
        pub revert_commit: Option<bool>,
        /// Present: nothing is changed. The text is the reason.
        pub frozen: Option<Line>,
        /// Only what another environment runs well may come here.
        pub promote: Option<Promote>,
        /// So many people must approve. Default: 0.
        #[schemars(range(min = 0, max = 10), example = 1)]
        #[schemars(extend("x-why" = "more than ten people never agree in time"))]
        pub approvals: Option<u32>,
        /// So many people must approve a return to a release that was confirmed there before. Default: as many as for any change.
        #[schemars(range(min = 0, max = 10), example = 0)]
        #[schemars(extend("x-why" = "more than ten people never agree in time"))]
        pub approvals_for_rollback: Option<u32>,
        /// Whose approvals count.
        pub approvers: Option<Approvers>,
        /// Only a full commit id will do, no tag. Default: false.
        pub immutable: Option<bool>,
        /// Follow a branch of the application's repository.
        pub track: Option<Track>,
        /// In which order the hosts are switched. Default: all-at-once.
        pub strategy: Option<Strategy>,
        /// A host on probation that hears nothing from a controller for so long goes back by itself. Default: 2m.
        pub deadline: Option<Time>,
        /// What an unreachable host does. Default: block.
        pub unreachable: Option<Unreachable>,
        /// When changes are allowed or denied.
        #[serde(default)]
        pub windows: Vec<Window>,
        /// What a hotfix may skip.
        pub emergency: Option<Emergency>,
        /// How a deployment is watched before it is confirmed.
        pub watch: Option<Watch>,
    }
}
