//! The controller's own settings: flags, `SOLL_*` variables, or a file; never the state repository (contract 1.1).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::artifact::origins::BundleOrigin;
use crate::model::ids::HostName;
use crate::model::key_text::{KeySource, may_be_a_name};
use crate::run::local_roots::RootGlob;
use crate::run::policies::Policies;
use crate::run::secrets;
use crate::run::sources::Source;
use crate::state_repo::{Author, CommitId, GitSettings};

/// Everything that the controller must be told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The state repository: a path or an address.
    pub repo: String,
    pub branch: String,
    /// The state file, relative to the repository's root.
    pub file: String,
    /// History, caches: nothing that decides.
    pub state_dir: PathBuf,
    pub git: GitSettings,
    /// How hosts are reached.
    pub ssh: crate::link::settings::Settings,
    /// Where it is given, only commits signed by these keys are acted on (B7).
    pub allowed_signers: Option<PathBuf>,
    /// With allowed signers: this commit of the state branch and its ancestors need no signature (law 10).
    pub trust_since: Option<CommitId>,
    /// What signs the commits and the words of this controller.
    pub signing_key: Option<KeySource>,
    /// The secrets, and what each of them is for.
    pub secrets: secrets::Store,
    /// Guards that no commit lowers.
    pub policies: Policies,
    /// Where commits may act on this machine; `None`: the usual.
    pub local_roots: Option<Vec<RootGlob>>,
    /// Where bundles may come from; `None`: from anywhere.
    pub bundle_origins: Option<Vec<BundleOrigin>>,
    /// An approval that is older counts no more (B3).
    pub approval_ttl: Duration,
    /// How often a remote repository is asked; a local one is watched, and asked as often.
    pub poll: Duration,
    /// Push commits of this program to `origin` although the repository is local.
    pub push: bool,
    pub author: Option<Author>,
    pub listen: Option<String>,
    /// Pull mode: this machine is that host, and acts for it alone.
    pub host: Option<HostName>,
    /// Where others publish what they see.
    pub observation: Vec<Source>,
    /// What signs what this controller publishes.
    pub observation_key: Option<KeySource>,
}

impl Settings {
    /// What holds for a place that somebody named: what the settings say of it, where they do.
    pub fn source(&self, place: &str) -> Source {
        let known = self.observation.iter().find(|source| source.place == place);
        known.cloned().unwrap_or_else(|| Source::plain(place))
    }
}

/// The settings file, `/etc/soll/config.toml` by default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    pub repo: Option<String>,
    pub branch: Option<String>,
    pub file: Option<String>,
    pub state_dir: Option<PathBuf>,
    pub ssh_key: Option<String>,
    pub known_hosts: Option<PathBuf>,
    pub ssh_config: Option<PathBuf>,
    /// How long a run tries to reach an agent again whose connection was lost.
    pub reattach: Option<String>,
    /// The program to put on hosts of another kind, by what `uname -m` says there.
    pub agents: BTreeMap<String, PathBuf>,
    pub allowed_signers: Option<PathBuf>,
    /// A full commit id; every commit after it is verified. Default: all of them are.
    pub trust_since: Option<String>,
    pub signing_key: Option<String>,
    pub secrets_dir: Option<PathBuf>,
    /// What opens encrypted files of the state repository: a file of `age-keygen`.
    pub age_identity: Option<String>,
    /// What each secret is for.
    pub secrets: BTreeMap<secrets::Name, secrets::Rule>,
    pub policy: Policies,
    /// Where commits of the state repository may act on this machine.
    pub local_roots: Option<Vec<RootGlob>>,
    /// Where bundles may come from: `https://host:port`, `file:///directory`, or `.` for the work tree.
    pub bundle_origins: Option<Vec<BundleOrigin>>,
    /// humantime
    pub poll: Option<String>,
    /// humantime
    pub approval_ttl: Option<String>,
    pub push: Option<bool>,
    pub author_name: Option<String>,
    pub author_email: Option<String>,
    pub listen: Option<String>,
    pub host: Option<HostName>,
    pub observation: Vec<Source>,
    pub observation_key: Option<String>,
}

/// How long an approval counts where nothing is said.
pub const APPROVAL_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

/// The usual place.
pub const CONFIG: &str = "/etc/soll/config.toml";

impl ConfigFile {
    /// Reads the file that was named, or the usual one where there is one.
    ///
    /// # Errors
    /// A named file that is missing, or any file that does not parse: with its path and what is wrong.
    pub fn read(named: Option<&Path>) -> Result<Self, String> {
        let path = named.unwrap_or(Path::new(CONFIG));
        match std::fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(|error: toml::de::Error| match error.span() {
                // The text of the error shows the line, which may be a key's.
                Some(span) if !text.lines().all(may_be_shown) => {
                    let line = text.get(..span.start).unwrap_or_default().lines().count().max(1);
                    format!(
                        "{}:{line}: {} (the line may hold a secret and is not shown)",
                        path.display(),
                        error.message()
                    )
                }
                _ => format!("{}: {error}", path.display()),
            }),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(ConfigFile::default()),
            Err(error) => Err(format!("cannot read the settings file {}: {error}", path.display())),
        }
    }
}

/// No part of the line looks like a key.
fn may_be_shown(line: &str) -> bool {
    line.split(['=', '"', '\'', ' ']).all(may_be_a_name) && !line.contains("-----")
}
