//! The controller's secrets, and for what each of them may be used: `[secrets.NAME]` of the settings. Commits of the state
//! repository name secrets; only the settings say where a secret may go.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use crate::host::wire::Secret;
use crate::model::desired::Desired;
use crate::model::desired::secret_name;
use crate::model::ids::EnvName;
use crate::model::key_text::KeySource;
use crate::model::origin::Origin;
use crate::model::rendered;
use crate::plan::policy::{Refused, Secrets};
use crate::run::pattern::Pattern;
use crate::run::sealed::Opened;

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// Sent by a check or by a watched figure.
    Health,
    /// Sent to where bundles are.
    Fetch,
    /// Sent to those who tell people.
    Notify,
    /// Logs in to a registry of images.
    Registry,
    /// Logs in to where backups are, or encrypts them.
    Backup,
    /// Signs what calls the listener.
    Webhook,
    /// Sent by whoever reads what a daemon publishes, and asked for by that daemon.
    Observation,
    /// Logs in to a database.
    Database,
    /// Stands in a file that is rendered for a host.
    Files,
}

impl Use {
    /// As it is written in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Use::Health => "health",
            Use::Fetch => "fetch",
            Use::Notify => "notify",
            Use::Registry => "registry",
            Use::Backup => "backup",
            Use::Webhook => "webhook",
            Use::Observation => "observation",
            Use::Database => "database",
            Use::Files => "files",
        }
    }
}

/// One table `[secrets.NAME]`. What is left out narrows nothing, `webhook` aside: that is always named.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(rename = "use")]
    pub uses: Option<Vec<Use>>,
    /// Names of environments, or globs over them.
    pub environments: Option<Vec<Pattern>>,
    /// `https://host:port`: where it may be sent.
    pub origins: Option<Vec<Origin>>,
}

/// The name of a table: that of a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(pub String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if secret_name(&name) {
            return Ok(Name(name));
        }
        let why = format!("`{name}` cannot be the name of a secret: capital letters, digits and `_`, as in API_TOKEN");
        Err(serde::de::Error::custom(why))
    }
}

/// What somebody wants a secret for.
#[derive(Debug, Clone, Copy)]
pub struct Purpose<'a> {
    pub wanted: Use,
    pub environment: Option<&'a EnvName>,
    /// The address that it would be sent to, with its templates filled.
    pub url: Option<&'a str>,
}

impl<'a> Purpose<'a> {
    /// The login to a database.
    pub fn database(environment: &'a EnvName) -> Self {
        Purpose { wanted: Use::Database, environment: Some(environment), url: None }
    }

    /// What opens a place for backups, hears of them, or opens encrypted ones.
    pub fn backup(environment: &'a EnvName, url: Option<&'a str>) -> Self {
        Purpose { wanted: Use::Backup, environment: Some(environment), url }
    }

    /// The login to a registry of images.
    pub fn registry(environment: &'a EnvName, url: &'a str) -> Self {
        Purpose { wanted: Use::Registry, environment: Some(environment), url: Some(url) }
    }
}

/// The secrets of this program's own, which need no table and are for nothing else: what signs webhooks, and what the
/// listener asks of those who read what it publishes.
pub const WEBHOOK: &str = "WEBHOOK";
pub const OBSERVATION: &str = "OBSERVATION";

/// What a secret of this program's own is for.
fn own(name: &str) -> Option<Use> {
    match name {
        WEBHOOK => Some(Use::Webhook),
        OBSERVATION => Some(Use::Observation),
        _ => None,
    }
}

/// All secrets of a controller.
#[derive(Debug, Clone, Default)]
pub struct Store {
    /// What the environment held at the start.
    pub given: BTreeMap<String, Secret>,
    /// Files named like secrets.
    pub dir: Option<PathBuf>,
    /// The tables of the settings.
    pub rules: BTreeMap<String, Rule>,
    /// What opens encrypted files of the state repository.
    pub identity: Option<KeySource>,
    /// Those files.
    pub sealed: InFiles,
}

/// What is known of the secrets in encrypted files of the state repository.
#[derive(Debug, Clone, Default)]
pub enum InFiles {
    /// No commit is asked about.
    #[default]
    None,
    /// Those of an accepted commit.
    Of(Arc<Opened>),
    /// The commit is not accepted: nothing is opened (law 11), and nobody knows which secrets these environments have.
    Closed(BTreeSet<EnvName>),
}

impl Store {
    /// The same with the secrets of an accepted commit.
    pub(in crate::run) fn accepted(&self, desired: &Desired) -> Store {
        Store { sealed: InFiles::Of(Arc::new(Opened::of(desired, self.identity.clone()))), ..self.clone() }
    }

    /// The same beside a commit that is not accepted.
    pub fn proposed(&self, desired: &Desired) -> Store {
        let with_files = desired.environments.values().filter(|env| !env.sealed.is_empty());
        Store { sealed: InFiles::Closed(with_files.map(|env| env.name.clone()).collect()), ..self.clone() }
    }

    /// The encrypted files of the accepted commit.
    pub fn opened(&self) -> Option<&Opened> {
        match &self.sealed {
            InFiles::Of(opened) => Some(opened),
            InFiles::None | InFiles::Closed(_) => None,
        }
    }

    /// The value of a secret, for one purpose. This is the only place that decides.
    ///
    /// # Errors
    /// There is none, it is empty, or the settings do not give it for this purpose: never with its value.
    pub fn get(&self, name: &str, purpose: &Purpose<'_>) -> Result<Secret, Refused> {
        if let Some(refused) = self.narrowed(name, purpose) {
            return Err(refused);
        }
        let value = match self.value(name) {
            Some(value) => Some(value),
            None => self.in_files(name, purpose)?,
        };
        match value {
            Some(value) if !value.expose().is_empty() => Ok(value),
            Some(_) => Err(empty(name, &self.paths(purpose))),
            None => Err(missing(name, &self.paths(purpose))),
        }
    }

    /// What the encrypted files of the environment have of that name. What this controller has itself goes before it; and what
    /// guards the controller's own listener is never a commit's to say.
    fn in_files(&self, name: &str, purpose: &Purpose<'_>) -> Result<Option<Secret>, Refused> {
        let is_own = matches!(purpose.wanted, Use::Webhook | Use::Observation);
        let (Some(opened), Some(environment), false) = (self.opened(), purpose.environment, is_own) else {
            return Ok(None);
        };
        opened.get(environment, name).map_err(|why| Refused {
            why: format!("which this controller does not have itself, and {why}"),
            fix: format!("put that right, or set SOLL_SECRET_{} on the controller", as_variable(name)),
        })
    }

    /// The encrypted files that were looked into for a purpose.
    fn paths(&self, purpose: &Purpose<'_>) -> Vec<&str> {
        self.opened()
            .zip(purpose.environment)
            .map(|(opened, environment)| opened.paths(environment))
            .unwrap_or_default()
    }

    /// What a check or a watched figure of this environment sends to that address, which is filled.
    ///
    /// # Errors
    /// Those of [`Store::get`].
    pub fn sent(&self, environment: &EnvName, name: &str, url: &str) -> Result<Secret, Refused> {
        self.get(name, &Purpose { wanted: Use::Health, environment: Some(environment), url: Some(url) })
    }

    /// What a planner may know: which secrets there are, and the tables. Reads the directory once.
    pub fn known(&self) -> Known<'_> {
        let files = self.dir.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten();
        let files = files.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let names = self.given.keys().cloned().chain(files.filter(|name| rendered::secret(name).is_some()));
        let full = |name: String| {
            let is_full = self.value(&name).is_some_and(|value| !value.expose().is_empty());
            (name, is_full)
        };
        Known { store: self, names: names.map(full).collect() }
    }

    /// Whether there is one of this name, for whatever use, even an empty one.
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The secrets that no table narrows: for every use but webhooks.
    pub fn open(&self) -> Vec<String> {
        let base = |name: &String| rendered::secret(name).map_or_else(|| name.clone(), |(base, _)| base.to_owned());
        let narrowed = |name: &String| self.rules.contains_key(&base(name)) || own(name).is_some();
        let mut names: BTreeSet<String> = self.known().names.into_keys().collect();
        for (opened, environment) in
            self.opened().iter().flat_map(|opened| opened.environments().map(move |e| (opened, e)))
        {
            names.extend(
                opened
                    .each(environment)
                    .filter_map(|(_, read)| read.ok())
                    .flat_map(|read| read.keys().cloned().collect::<Vec<_>>()),
            );
        }
        names.into_iter().filter(|name| !narrowed(name)).collect()
    }

    /// `SOLL_SECRET_NAME`, else the file `NAME` in the secrets directory without its line end.
    fn value(&self, name: &str) -> Option<Secret> {
        // The name becomes a path below.
        rendered::secret(name)?;
        let given = self.given.get(name).or_else(|| self.given.get(&as_variable(name)));
        given.cloned().or_else(|| read(&self.dir.as_ref()?.join(name)))
    }

    /// What the tables say against it.
    fn narrowed(&self, name: &str, purpose: &Purpose<'_>) -> Option<Refused> {
        let none = Rule::default();
        // The table of a secret is that of all of its versions.
        let name = rendered::secret(name).map_or(name, |(base, _)| base);
        let rule = self.rules.get(name);
        let own = own(name).filter(|_| rule.is_none());
        let rule = rule.unwrap_or(&none);
        let table =
            |line: &str| format!("if it should be, say so in the controller's settings: [secrets.{name}] {line}");
        let is_used = match &rule.uses {
            Some(uses) => uses.contains(&purpose.wanted),
            None => own.map_or(purpose.wanted != Use::Webhook, |own| own == purpose.wanted),
        };
        if !is_used {
            let wanted = purpose.wanted.as_str();
            return Some(Refused {
                why: format!("which the controller's settings do not give for the use `{wanted}`"),
                fix: table(&format!("use = [\"{wanted}\"]")),
            });
        }
        if let (Some(environments), Some(environment)) = (&rule.environments, purpose.environment)
            && !environments.iter().any(|pattern| pattern.matches(environment.as_str()))
        {
            return Some(Refused {
                why: format!("which the controller's settings do not give to the environment {environment}"),
                fix: table(&format!("environments = [\"{environment}\"]")),
            });
        }
        if let (Some(origins), Some(url)) = (&rule.origins, purpose.url) {
            let origin = Origin::of(url);
            if !origin.as_ref().is_some_and(|origin| origins.contains(origin)) {
                let shown = origin.map_or_else(|| "an address that is none".to_owned(), |origin| origin.to_string());
                return Some(Refused {
                    why: format!("which the controller's settings do not send to {shown}"),
                    fix: table(&format!("origins = [\"{shown}\"]")),
                });
            }
        }
        None
    }
}

fn read(path: &Path) -> Option<Secret> {
    let value = std::fs::read_to_string(path).ok()?;
    Some(Secret::new(value.trim_end_matches(['\n', '\r']).to_owned()))
}

/// `files`: the encrypted files that do not have it either.
fn missing(name: &str, files: &[&str]) -> Refused {
    let variable = as_variable(name);
    match files.join(", ") {
        files if files.is_empty() => Refused {
            why: "which this controller does not have".to_owned(),
            fix: format!("set SOLL_SECRET_{variable}, or put it into the controller's secrets directory"),
        },
        files => Refused {
            why: format!("which this controller does not have, and {files} neither"),
            fix: format!("add {name} to {files}, or set SOLL_SECRET_{variable} on the controller"),
        },
    }
}

/// How the name of a secret ends the name of a variable, where no `@` may stand: `NAME__2` for `NAME@2`.
fn as_variable(name: &str) -> String {
    name.replace('@', "__")
}

fn empty(name: &str, files: &[&str]) -> Refused {
    let or = files.iter().map(|file| format!(", or {name} in {file}")).collect::<String>();
    Refused {
        why: "which is empty on this controller".to_owned(),
        fix: format!(
            "give it a value: SOLL_SECRET_{}, or the file {name} in the controller's secrets directory{or}",
            as_variable(name)
        ),
    }
}

/// The secrets as a plan sees them: names and tables, no value.
#[derive(Debug)]
pub struct Known<'a> {
    store: &'a Store,
    /// Whether each has a value.
    names: BTreeMap<String, bool>,
}

impl Secrets for Known<'_> {
    fn refused(&self, environment: &EnvName, name: &str, url: &str) -> Option<Refused> {
        self.asked(name, &Purpose { wanted: Use::Health, environment: Some(environment), url: Some(url) })
    }

    fn withheld(&self, environment: &EnvName, name: &str) -> Option<Refused> {
        self.asked(name, &Purpose { wanted: Use::Files, environment: Some(environment), url: None })
    }

    fn kept_from(&self, environment: &EnvName, name: &str, registry: &str) -> Option<Refused> {
        self.asked(name, &Purpose::registry(environment, &registry_url(registry)))
    }
}

/// A registry as an address, against which the origins of a secret are held.
pub fn registry_url(host: &str) -> String {
    format!("https://{host}")
}

impl Known<'_> {
    fn asked(&self, name: &str, purpose: &Purpose<'_>) -> Option<Refused> {
        let known = self.names.get(name).or_else(|| self.names.get(&as_variable(name)));
        if let Some(refused) = self.store.narrowed(name, purpose) {
            return Some(refused);
        }
        match (known, &self.store.sealed) {
            (Some(true), _) => None,
            (Some(false), _) => Some(empty(name, &[])),
            (None, InFiles::Of(_)) => self.store.get(name, purpose).err(),
            // Not known is not missing; that the commit is not accepted is said beside it.
            (None, InFiles::Closed(with_files)) if purpose.environment.is_some_and(|env| with_files.contains(env)) => {
                None
            }
            (None, _) => Some(missing(name, &[])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(tables: &str) -> Store {
        let given = ["TOKEN", "EMPTY", "WEBHOOK"].map(|name| {
            let value = if name == "EMPTY" { "" } else { "hunter2" };
            (name.to_owned(), Secret::new(value.to_owned()))
        });
        Store { given: given.into(), rules: toml::from_str(tables).unwrap(), ..Store::default() }
    }

    fn asked(store: &Store, name: &str, wanted: Use, environment: &str, url: &str) -> String {
        let environment = environment.parse().unwrap();
        let purpose = Purpose { wanted, environment: Some(&environment), url: Some(url) };
        match store.get(name, &purpose) {
            Ok(value) => format!("given {}", value.expose().len()),
            Err(refused) => refused.why,
        }
    }

    #[test]
    fn a_secret_without_a_table_is_for_everything_but_webhooks() {
        let store = store("");
        for wanted in [Use::Health, Use::Fetch, Use::Notify, Use::Registry, Use::Backup, Use::Database] {
            assert_eq!(asked(&store, "TOKEN", wanted, "prod", "http://x"), "given 7", "{wanted:?}");
            assert!(asked(&store, "WEBHOOK", wanted, "prod", "http://x").contains("the use"), "{wanted:?}");
        }
        assert!(asked(&store, "TOKEN", Use::Webhook, "prod", "http://x").contains("`webhook`"));
        assert_eq!(asked(&store, "WEBHOOK", Use::Webhook, "prod", "http://x"), "given 7");
        assert!(asked(&store, "EMPTY", Use::Health, "prod", "http://x").contains("empty"));
        assert!(asked(&store, "OTHER", Use::Health, "prod", "http://x").contains("does not have"));
    }

    #[test]
    fn a_table_narrows_use_environment_and_origin() {
        let store = store(
            "[TOKEN]\nuse = [\"health\"]\nenvironments = [\"prod*\"]\norigins = [\"https://api.example.com\", \"http://127.0.0.1:8080\"]\n[WEBHOOK]\nuse = []",
        );
        let ask = |wanted, env, url| asked(&store, "TOKEN", wanted, env, url);
        for good in ["https://api.example.com/health?x=1", "https://API.example.com:443/", "http://127.0.0.1:8080/up"] {
            assert_eq!(ask(Use::Health, "production", good), "given 7", "{good}");
        }
        assert!(ask(Use::Notify, "production", "https://api.example.com").contains("`notify`"));
        assert!(ask(Use::Health, "staging", "https://api.example.com").contains("environment staging"));
        for bad in [
            "https://api.example.com.evil.example/",
            "https://api.example.com@evil.example/",
            "https://evil.example/?https://api.example.com",
            "http://api.example.com/",
            "https://api.example.com:8443/",
            "http://127.0.0.1:8081/",
            "http://localhost:8080/",
            "http://[::1]:8080/",
            "ftp://api.example.com/",
            "api.example.com",
            "",
        ] {
            let said = ask(Use::Health, "production", bad);
            assert!(said.contains("do not send"), "{bad}: {said}");
        }
        assert!(asked(&store, "WEBHOOK", Use::Webhook, "prod", "http://x").contains("`webhook`"));
    }

    #[test]
    fn a_name_is_never_a_path() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("secrets")).unwrap();
        std::fs::write(dir.path().join("OUTSIDE"), "x").unwrap();
        std::fs::write(dir.path().join("secrets/INSIDE"), "x\n").unwrap();
        let store = Store { dir: Some(dir.path().join("secrets")), ..Store::default() };
        assert_eq!(asked(&store, "INSIDE", Use::Health, "prod", "http://x"), "given 1");
        for name in ["../OUTSIDE", "/etc/hostname", "", ".", "lower"] {
            assert!(asked(&store, name, Use::Health, "prod", "http://x").contains("does not have"), "{name}");
        }
    }
}
