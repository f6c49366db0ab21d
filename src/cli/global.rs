//! The options that every command has, and the settings that come of them: flags before variables before the file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{CliError, Result, process, screen};
use crate::host::wire::Secret;
use crate::model::desired::diagnose::Diagnostics;
use crate::model::ids::{EnvName, HostName};
use crate::model::key_text::{KeySource, may_be_a_name};
use crate::run::accepted::{AcceptedSnapshot, Standing, Verified};
use crate::run::controller::{Controller, ControllerError, Snapshot};
use crate::run::policies::Policies;
use crate::run::secrets;
use crate::run::settings::{APPROVAL_TTL, ConfigFile, Settings};
use crate::run::sources::Source;
use crate::ssh::lend::{Lent, lend};
use crate::state_repo::{Author, CommitId, GitKey, GitSettings, KeyUse};

/// Options of every command.
#[derive(Args, Clone)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// The state repository: a path or an address [default: the one around this directory]
    #[arg(long, global = true, env = "SOLL_REPO", value_name = "URL|PATH")]
    pub repo: Option<String>,
    /// Its branch [default: main]
    #[arg(long, global = true, env = "SOLL_BRANCH")]
    pub branch: Option<String>,
    /// The state file in it [default: desired-state.toml]
    #[arg(long, global = true, value_name = "PATH")]
    pub file: Option<String>,
    /// History and caches [default: /var/lib/soll for root, else ~/.local/state/soll]
    #[arg(long, global = true, env = "SOLL_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The controller's settings [default: /etc/soll/config.toml]
    #[arg(long, global = true, env = "SOLL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// With allowed signers: take this commit of the branch and all before it as they are [default: verify all of them]
    #[arg(long, global = true, env = "SOLL_TRUST_SINCE", value_name = "SHA")]
    pub trust_since: Option<String>,
    /// Pull mode: this machine is that host of the state file, and acts for it alone, without SSH. `init`: the address of the
    /// server; `acknowledge`: the host that is meant
    #[arg(long, global = true, value_name = "NAME")]
    pub host: Option<HostName>,
    /// How to print
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Say more on standard error; twice: even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// Forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Text,
    Json,
    Markdown,
    /// The graph, for Mermaid (`plan`)
    Mermaid,
    /// The graph, for Graphviz (`plan`)
    Dot,
}

impl Global {
    /// Logs go to standard error; `SOLL_LOG` names levels, `SOLL_LOG_FORMAT=json` the form (G2).
    pub fn init_logging(&self) {
        let level = match self.verbose {
            0 => "warn",
            1 => "info",
            _ => "debug",
        };
        let filter = tracing_subscriber::EnvFilter::try_from_env("SOLL_LOG")
            .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(format!("soll={level}")));
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| super::screen::Screen);
        let json = std::env::var("SOLL_LOG_FORMAT").is_ok_and(|format| format == "json");
        // Set once per process; a second call in a test is no trouble.
        let _ =
            if json { builder.json().try_init() } else { builder.with_ansi(super::out::colour_stderr()).try_init() };
    }

    /// Everything together.
    pub fn settings(&self) -> Result<Settings> {
        let config = self.config.as_deref();
        config.and_then(|path| path.to_str()).map_or(Ok(()), |path| a_name("--config or SOLL_CONFIG", path))?;
        let file = ConfigFile::read(config).map_err(CliError::plain)?;
        let env = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        let given = |name: &str, key: &str, other: Option<PathBuf>| match env(name) {
            Some(value) => Some((name.to_owned(), value)),
            None => other.map(|path| (format!("`{key}` in the settings file"), path.into_os_string())),
        };
        // A value that may be the text of a key is never shown (law 9).
        let path = |name: &str, key: &str, other: Option<PathBuf>| match given(name, key, other) {
            Some((setting, value)) => a_name(&setting, &value.to_string_lossy()).map(|()| Some(PathBuf::from(value))),
            None => Ok(None),
        };
        let key = |name: &str, key: &str, other: Option<String>| {
            if let Some(text) = process::taken(name) {
                return Some(KeySource::from_setting(name, text.expose()));
            }
            let (setting, value) = given(name, key, other.map(PathBuf::from))?;
            // A name need not be UTF-8; the text of a key is.
            Some(match value.to_str() {
                Some(text) => KeySource::from_setting(&setting, text),
                None => KeySource::File(PathBuf::from(value)),
            })
        };
        for (setting, value) in [
            ("--repo or SOLL_REPO", self.repo.as_deref()),
            ("--branch or SOLL_BRANCH", self.branch.as_deref()),
            ("--file", self.file.as_deref()),
            ("--state-dir or SOLL_STATE_DIR", self.state_dir.as_deref().and_then(|path| path.to_str())),
        ] {
            value.map_or(Ok(()), |value| a_name(setting, value))?;
        }
        let text = |name: &str, other: Option<String>| env(name).and_then(|v| v.into_string().ok()).or(other);
        let poll = text("SOLL_POLL", file.poll).unwrap_or_else(|| "15s".to_owned());
        let poll =
            humantime::parse_duration(&poll).ok().filter(|poll| *poll >= Duration::from_millis(100)).ok_or_else(
                || CliError::plain(format!("`poll = \"{}\"` is not a duration of at least 100ms", shown(&poll))),
            )?;
        let approval_ttl = match text("SOLL_APPROVAL_TTL", file.approval_ttl) {
            None => APPROVAL_TTL,
            Some(text) => humantime::parse_duration(&text).ok().filter(|ttl| !ttl.is_zero()).ok_or_else(|| {
                CliError::plain(format!("`approval_ttl = \"{}\"` is not a duration like 7d", shown(&text)))
            })?,
        };
        let author = author(text("SOLL_AUTHOR_NAME", file.author_name), text("SOLL_AUTHOR_EMAIL", file.author_email))?;
        let ssh_key = key("SOLL_SSH_KEY", "ssh_key", file.ssh_key);
        let passphrase = process::taken(process::PASSPHRASE).filter(|given| !given.expose().is_empty());
        let git = GitSettings {
            ssh_key: ssh_key.clone().map(|key| git_key(key, passphrase.clone())),
            known_hosts: path("SOLL_KNOWN_HOSTS", "known_hosts", file.known_hosts)?,
            ssh_config: path("SOLL_SSH_CONFIG", "ssh_config", file.ssh_config)?,
            ..GitSettings::default()
        };
        let agents = std::env::vars_os().filter_map(|(name, path)| {
            let machine = name.to_str()?.strip_prefix("SOLL_AGENT_").filter(|_| !path.is_empty())?;
            Some((machine.to_ascii_lowercase(), PathBuf::from(path)))
        });
        let reattach = match text("SOLL_REATTACH", file.reattach) {
            None => crate::link::settings::REATTACH,
            Some(text) => humantime::parse_duration(&text).map_err(|_| {
                CliError::plain(format!("`reattach = \"{}\"` is not a duration like 30s, or 0s", shown(&text)))
            })?,
        };
        let state_dir = self.state_dir.clone().or(file.state_dir).map_or_else(default_state_dir, Ok)?;
        let ssh = crate::link::settings::Settings {
            key: ssh_key,
            passphrase,
            known_hosts: git.known_hosts.clone(),
            config: git.ssh_config.clone(),
            agents: file.agents.into_iter().chain(agents).collect(),
            memory: Some(state_dir.join("cache/programs.json")),
            reattach,
            accept: None,
            pinned: Vec::new(),
        };
        Ok(Settings {
            repo: self.repo.clone().or(file.repo).unwrap_or_else(|| ".".to_owned()),
            branch: self.branch.clone().or(file.branch).unwrap_or_else(|| "main".to_owned()),
            file: self.file.clone().or(file.file).unwrap_or_else(|| "desired-state.toml".to_owned()),
            state_dir,
            git,
            ssh,
            allowed_signers: path("SOLL_ALLOWED_SIGNERS", "allowed_signers", file.allowed_signers)?,
            trust_since: trust_since(self.trust_since.clone().filter(|text| !text.is_empty()).or(file.trust_since))?,
            signing_key: key("SOLL_SIGNING_KEY", "signing_key", file.signing_key),
            policies: file.policy,
            local_roots: file.local_roots,
            bundle_origins: file.bundle_origins,
            secrets: secrets::Store {
                given: process::secrets(),
                dir: path("SOLL_SECRETS_DIR", "secrets_dir", file.secrets_dir)?,
                rules: file.secrets.into_iter().map(|(name, rule)| (name.0, rule)).collect(),
                identity: key("SOLL_AGE_IDENTITY", "age_identity", file.age_identity),
                ..secrets::Store::default()
            },
            approval_ttl,
            poll,
            push: text("SOLL_PUSH", None).map_or(file.push.unwrap_or(false), |v| v == "1" || v == "true"),
            author,
            listen: text("SOLL_LISTEN", file.listen),
            host: self.host.clone().or(file.host),
            observation: file.observation,
            observation_key: key("SOLL_OBSERVATION_KEY", "observation_key", file.observation_key),
        })
    }

    /// The guards of the settings, and whether those name signers, for whoever needs no controller.
    pub fn policies(&self) -> Result<(Policies, bool)> {
        let file = ConfigFile::read(self.config.as_deref()).map_err(CliError::plain)?;
        let named = std::env::var_os("SOLL_ALLOWED_SIGNERS").is_some_and(|path| !path.is_empty());
        Ok((file.policy, named || file.allowed_signers.is_some()))
    }

    /// Opens the controller.
    pub fn controller(&self) -> Result<Arc<Controller>> {
        Ok(Controller::open(self.settings()?)?)
    }

    /// The same for a command that may be told where others publish what they see: only a host that looks after itself
    /// needs that, everybody else looks.
    pub fn controller_with(&self, observation: &[String]) -> Result<Arc<Controller>> {
        let mut settings = self.settings()?;
        if settings.host.is_none() && !observation.is_empty() {
            let hint = "soll plan --observation plans without access to any host";
            return Err(CliError::plain("--observation belongs to pull mode: --host NAME").hint(hint).exit(64));
        }
        for place in observation {
            if !settings.observation.iter().any(|known| known.place == *place) {
                settings.observation.push(Source::plain(place));
            }
        }
        if settings.host.is_some() {
            for source in &settings.observation {
                source.must_be_known().map_err(CliError::plain)?;
            }
        }
        Ok(Controller::open(settings)?)
    }

    /// Opens the controller and reads the newest commit, which must be one that may be acted on.
    pub async fn newest(&self, observation: &[String]) -> Result<(Arc<Controller>, Arc<AcceptedSnapshot>)> {
        let controller = self.controller_with(observation)?;
        let standing = standing(&controller).await?;
        tell_verified(standing.verified);
        let newest = standing.newest()?;
        tell_held(&newest);
        Ok((controller, newest))
    }

    /// Opens the controller and reads the newest commit that may be acted on, which a refused one may stand in front of:
    /// that is told.
    pub async fn accepted(&self) -> Result<(Arc<Controller>, Arc<AcceptedSnapshot>)> {
        let controller = self.controller()?;
        let standing = standing(&controller).await?;
        tell(&standing);
        Ok((controller, standing.accepted))
    }
}

/// Asks the remote, and judges the branch.
pub async fn standing(controller: &Arc<Controller>) -> Result<Standing> {
    let reader = controller.clone();
    blocking(move || {
        reader.repo.refresh()?;
        reader.standing()
    })
    .await
}

/// On standard error: what the answer is about, where that is not the newest commit.
pub fn tell(standing: &Standing) {
    tell_verified(standing.verified);
    if let Some(refused) = &standing.refused {
        let (head, accepted) = (refused.commit.short(), standing.accepted.commit.short());
        screen::line(&format!("soll: the newest commit {head} is not acted on: {}", refused.why));
        if let ControllerError::Invalid(found) = &refused.why {
            tell_wrong(found);
        }
        screen::line(&format!("  this is about commit {accepted}, the last one that may be acted on"));
    }
    tell_held(&standing.accepted);
}

/// On standard error: what of a commit is wrong, and which environments are not as it says for that.
pub fn tell_held(snapshot: &Snapshot) {
    let Some(held) = &snapshot.held else { return };
    screen::line(&format!("soll: {}", held.told(&snapshot.commit)));
    tell_wrong(&held.found);
}

fn tell_wrong(found: &Diagnostics) {
    for line in found.to_string().lines() {
        screen::line(&format!("  {line}"));
    }
}

/// On standard error: a history that was verified, which takes its time.
pub fn tell_verified(verified: Option<Verified>) {
    if let Some(verified) = verified {
        let (commits, took) = (verified.commits, verified.took.as_secs_f64());
        screen::line(&format!(
            "soll: {commits} commits are signed by allowed keys (verified in {took:.2} s, and remembered)"
        ));
    }
}

/// Who commits: one half of a person would be made whole with a guess, and every commit would bear it.
fn author(name: Option<String>, email: Option<String>) -> Result<Option<Author>> {
    let (said, missing) = match (name, email) {
        (Some(name), Some(email)) => return Ok(Some(Author { name, email })),
        (None, None) => return Ok(None),
        (Some(_), None) => ("SOLL_AUTHOR_NAME (`author_name`)", "SOLL_AUTHOR_EMAIL (`author_email`)"),
        (None, Some(_)) => ("SOLL_AUTHOR_EMAIL (`author_email`)", "SOLL_AUTHOR_NAME (`author_name`)"),
    };
    Err(CliError::plain(format!(
        "{said} is set and {missing} is not: the author of a commit has a name and an address"
    ))
    .hint("set both, or neither: then git's own user.name and user.email count"))
}

fn trust_since(text: Option<String>) -> Result<Option<CommitId>> {
    let bad = |text: &str| {
        CliError::plain(format!("`trust_since = \"{text}\"` is not a commit of the state repository"))
            .hint("name a full commit id: git log --format=%H")
    };
    text.map(|text| text.parse().map_err(|_| bad(&text))).transpose()
}

/// Runs something that blocks.
pub async fn blocking<T, E>(work: impl FnOnce() -> std::result::Result<T, E> + Send + 'static) -> Result<T>
where
    T: Send + 'static,
    E: Into<CliError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Into::into),
        Err(error) => Err(CliError::plain(format!("a task broke off: {error}"))),
    }
}

/// How git's ssh gets the key, decided when it is needed.
fn git_key(key: KeySource, passphrase: Option<Secret>) -> GitKey {
    GitKey::new(move || {
        Ok(match lend(&key, passphrase.as_ref())? {
            Lent::File(path) => KeyUse::File(path),
            Lent::Agent(agent) => KeyUse::Agent { socket: agent.socket().to_owned(), until: Box::new(agent) },
        })
    })
}

/// A value for a message, unless it may be the text of a key.
fn shown(value: &str) -> &str {
    if may_be_a_name(value) { value } else { "…" }
}

/// A value that is meant as a name, and is something else, is not shown: it may be the text of a key.
fn a_name(setting: &str, value: &str) -> Result<()> {
    if value.is_empty() || may_be_a_name(value) {
        return Ok(());
    }
    let keys = "SOLL_SSH_KEY, SOLL_SIGNING_KEY, SOLL_OBSERVATION_KEY and SOLL_AGE_IDENTITY take the text of a private key; every other setting takes the name of \
                a file: write the lines into one, and give its name";
    let what = format!("{setting} holds what is no name (it is not shown, since it may be a secret)");
    Err(CliError::plain(what).hint(keys))
}

fn default_state_dir() -> Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/soll"));
    }
    if let Some(dir) = std::env::var_os("XDG_STATE_HOME").filter(|v| !v.is_empty()) {
        return Ok(PathBuf::from(dir).join("soll"));
    }
    let home = std::env::var_os("HOME").ok_or_else(|| {
        CliError::plain("there is no HOME to keep history in").hint("name a directory with --state-dir")
    })?;
    Ok(PathBuf::from(home).join(".local/state/soll"))
}

/// The environments that a command is about: those named, or all.
pub fn names(snapshot: &Snapshot, wanted: &[EnvName]) -> Result<Vec<EnvName>> {
    for name in wanted {
        crate::run::commit::known(snapshot, name)?;
    }
    if wanted.is_empty() {
        return Ok(snapshot.desired.environments.keys().cloned().collect());
    }
    Ok(wanted.to_vec())
}
