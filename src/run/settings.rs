//! The controller's own settings: flags, `SOLL_*` variables, or a file; never the state repository (contract 1.1).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::host::wire::Secret;
use crate::model::ids::HostName;
use crate::state_repo::{Author, GitSettings};

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
    pub ssh: crate::ssh::settings::Settings,
    /// Where it is given, only commits signed by these keys are acted on (B7).
    pub allowed_signers: Option<PathBuf>,
    /// What signs the commits and the words of this controller.
    pub signing_key: Option<PathBuf>,
    /// Files named like secrets.
    pub secrets_dir: Option<PathBuf>,
    /// How often a remote repository is asked; a local one is watched, and asked as often.
    pub poll: Duration,
    /// Push commits of this program to `origin` although the repository is local.
    pub push: bool,
    pub author: Option<Author>,
    pub listen: Option<String>,
    /// Pull mode: this machine is that host, and acts for it alone.
    pub host: Option<HostName>,
    /// Where others publish what they see: files or addresses.
    pub observation: Vec<String>,
}

/// The settings file, `/etc/soll/config.toml` by default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    pub repo: Option<String>,
    pub branch: Option<String>,
    pub file: Option<String>,
    pub state_dir: Option<PathBuf>,
    pub ssh_key: Option<PathBuf>,
    pub known_hosts: Option<PathBuf>,
    pub ssh_config: Option<PathBuf>,
    /// How long a run tries to reach an agent again whose connection was lost.
    pub reattach: Option<String>,
    /// The program to put on hosts of another kind, by what `uname -m` says there.
    pub agents: BTreeMap<String, PathBuf>,
    pub allowed_signers: Option<PathBuf>,
    pub signing_key: Option<PathBuf>,
    pub secrets_dir: Option<PathBuf>,
    /// humantime
    pub poll: Option<String>,
    pub push: Option<bool>,
    pub author_name: Option<String>,
    pub author_email: Option<String>,
    pub listen: Option<String>,
    pub host: Option<HostName>,
    pub observation: Vec<String>,
}

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
            Ok(text) => toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display())),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(ConfigFile::default()),
            Err(error) => Err(format!("cannot read the settings file {}: {error}", path.display())),
        }
    }
}

impl Settings {
    /// The value of a secret: `SOLL_SECRET_NAME`, else the file `NAME` in the secrets directory without its line end.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        if let Ok(value) = std::env::var(format!("SOLL_SECRET_{name}")) {
            return Some(Secret::new(value));
        }
        let path = self.secrets_dir.as_ref()?.join(name);
        let value = std::fs::read_to_string(path).ok()?;
        Some(Secret::new(value.trim_end_matches(['\n', '\r']).to_owned()))
    }

    /// The names of the secrets that there are.
    pub fn secret_names(&self) -> BTreeSet<String> {
        let variables = std::env::vars_os().filter_map(|(name, _)| {
            name.to_str().and_then(|name| name.strip_prefix("SOLL_SECRET_")).map(str::to_owned)
        });
        let files = self.secrets_dir.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten();
        let files = files.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        variables.chain(files).collect()
    }
}
