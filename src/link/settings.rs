//! What the controller is told about SSH, and what the SSH configuration says about one host. `ssh -G` reads the
//! configuration: OpenSSH alone knows its rules. Where there is no `ssh`, its defaults hold.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::keys::PublicKey;

use super::endpoint::Endpoint;
use super::error::{Phase, SshError, quote};
use super::known_hosts::{Names, name_of};
use crate::model::key_text::KeySource;
use crate::model::secret::Secret;

/// `ssh -G` runs what a `Match exec` says: it must end.
const CONFIGURATION: Duration = Duration::from_secs(10);
/// Until a host answers, and again until the keys are exchanged, where `ConnectTimeout` says nothing.
const CONNECT: Duration = Duration::from_secs(10);
/// A host that is silent is asked so often, where `ServerAliveInterval` says nothing, and given up after
/// [`UNANSWERED`] times, where `ServerAliveCountMax` does not say another number.
const ALIVE: Duration = Duration::from_secs(2);
/// OpenSSH's own default.
const UNANSWERED: usize = 3;

/// The controller's own settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The key to log in with; without it the agent's and the usual ones.
    pub key: Option<KeySource>,
    /// Opens the keys that are encrypted.
    pub passphrase: Option<Secret>,
    /// The only file that host keys are read from; without it those of the user and of the machine.
    pub known_hosts: Option<PathBuf>,
    /// Instead of the user's `ssh_config`.
    pub config: Option<PathBuf>,
    /// The program to put on hosts whose `uname -m` says this; without it this program, on machines like this one.
    pub agents: BTreeMap<String, PathBuf>,
    /// Where the digests of these programs are remembered; without it they are read each time.
    pub memory: Option<PathBuf>,
    /// For so long a run tries to reach an agent again whose connection was lost; zero: not at all.
    pub reattach: Duration,
    /// Where a person says so, hosts that no line names yet are believed, noted here, and added to `known_hosts`.
    pub accept: Option<Arc<Mutex<Vec<Accepted>>>>,
    /// The keys that the place itself may show, where somebody vouches for them; empty: what the files say.
    pub pinned: Vec<PublicKey>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            key: None,
            passphrase: None,
            known_hosts: None,
            config: None,
            agents: BTreeMap::new(),
            memory: None,
            reattach: REATTACH,
            accept: None,
            pinned: Vec::new(),
        }
    }
}

/// How long a run tries to reach an agent again, where nobody says otherwise: an SSH server restarts, a cable is plugged
/// in again, a router comes back.
pub const REATTACH: Duration = Duration::from_secs(30);

/// A host that was believed without being known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// As `known_hosts` calls it.
    pub name: String,
    pub kind: String,
    pub fingerprint: String,
    /// Where its line is now.
    pub file: PathBuf,
}

/// One host with all that is said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshHost {
    pub host: String,
    pub port: u16,
    pub user: String,
    /// How `known_hosts` and certificates call it.
    pub called: Names,
    pub known_hosts: Vec<PathBuf>,
    pub identities: Vec<KeySource>,
    /// Certificates that are named beside those that lie beside their keys.
    pub certificates: Vec<PathBuf>,
    /// No key of the agent that is not among the identities.
    pub identities_only: bool,
    pub agent: Option<PathBuf>,
    /// Keys and certificates of hosts that do not count any more (`RevokedHostKeys`).
    pub withdrawn: Option<PathBuf>,
    /// The way there, the first hop first.
    pub jumps: Vec<Endpoint>,
    /// The command that leads there instead (`ProxyCommand`), ready for a shell.
    pub proxy: Option<String>,
    pub connect: Duration,
    /// A host that is silent for so long is asked whether it lives.
    pub alive: Duration,
    /// Given up when so many such questions in a row were not answered.
    pub unanswered: usize,
}

impl fmt::Display for SshHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.user, self.host, self.port)
    }
}

impl Settings {
    /// Everything about one endpoint. The endpoint's own words win over the configuration, these settings over both.
    ///
    /// # Errors
    /// The configuration cannot be read, or asks for what this program does not do.
    pub async fn place(&self, endpoint: &Endpoint) -> Result<SshHost, SshError> {
        let said = SshOptions(self.ask(endpoint).await?);
        let wrong = |what: String, cure: &str| SshError::new(endpoint, Phase::Configuration, what, cure);
        let host = said.one("hostname").unwrap_or(&endpoint.address).to_owned();
        let port = endpoint.port.or_else(|| said.one("port")?.parse().ok()).unwrap_or(22);
        let user = endpoint.user.clone().or_else(|| said.one("user").map(str::to_owned)).unwrap_or_else(me);
        let fill = |text: &str| expand(text, &host, port, &user, &endpoint.address);
        let proxy = said.one("proxycommand").filter(|command| *command != "none");
        // They come from the state file, and become a part of a line for a shell.
        let odd =
            |word: &&str| !word.chars().all(|c| c.is_alphanumeric() || "._-:@+".contains(c)) || word.starts_with('-');
        if let Some(word) = [host.as_str(), &user, &endpoint.address].iter().find(|word| proxy.is_some() && odd(word)) {
            let what = format!("`{}` is not put into a `ProxyCommand`", quote(word.as_bytes()));
            return Err(wrong(what, "use an address and a user of letters, digits and `._-:@+`"));
        }
        let proxy = proxy.map(|command| tokens(command, &host, port, &user, &endpoint.address));
        if let Some(command) = proxy.as_ref().filter(|_| said.one("proxyusefdpass") == Some("yes")) {
            let what = format!("`ProxyCommand {command}` is to pass a file descriptor (ProxyUseFdpass)");
            return Err(wrong(what, "say `ProxyUseFdpass no`, with a command that carries the bytes itself"));
        }
        let jumps = said.one("proxyjump").filter(|jump| *jump != "none").unwrap_or_default();
        let jumps = jumps.split(',').filter(|jump| !jump.is_empty()).map(|jump| {
            let bad = || wrong(format!("`ProxyJump {jump}` names no host"), "write user@host:port");
            Endpoint::parse(jump).ok_or_else(bad)
        });
        let jumps = jumps.collect::<Result<_, _>>()?;
        let identities = match &self.key {
            Some(key) => vec![key.clone()],
            None => {
                let files = said.all("identityfile").filter(|file| *file != "none");
                files.map(|file| KeySource::File(fill(file))).collect()
            }
        };
        let known_hosts = match &self.known_hosts {
            Some(file) => vec![file.clone()],
            None => {
                let files = ["userknownhostsfile", "globalknownhostsfile"].into_iter().filter_map(|key| said.one(key));
                files.flat_map(str::split_ascii_whitespace).filter(|file| *file != "none").map(fill).collect()
            }
        };
        let agent = match said.one("identityagent").filter(|agent| *agent != "SSH_AUTH_SOCK") {
            Some("none") => None,
            Some(agent) => match agent.strip_prefix('$') {
                Some(name) => std::env::var_os(name.trim_matches(['{', '}'])).map(PathBuf::from),
                None => Some(fill(agent)),
            },
            None => std::env::var_os("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty()).map(PathBuf::from),
        };
        // 0 is what `ssh -G` prints where nothing is said; a connection that nobody asks after would be lost unseen.
        let number = |key| said.one(key).and_then(|text| text.parse::<u32>().ok()).filter(|number| *number > 0);
        let seconds = |key| number(key).map(|number| Duration::from_secs(number.into()));
        let called = match said.one("hostkeyalias") {
            Some(alias) => Names { line: alias.to_ascii_lowercase(), bare: alias.to_ascii_lowercase() },
            None => Names { line: name_of(&host, port), bare: host.to_ascii_lowercase() },
        };
        let withdrawn = said.one("revokedhostkeys").filter(|file| *file != "none").map(fill);
        Ok(SshHost {
            called,
            known_hosts,
            withdrawn,
            proxy,
            identities_only: self.key.is_some() || said.one("identitiesonly") == Some("yes"),
            identities,
            certificates: said.all("certificatefile").filter(|file| *file != "none").map(fill).collect(),
            agent,
            jumps,
            connect: seconds("connecttimeout").unwrap_or(CONNECT),
            alive: seconds("serveraliveinterval").unwrap_or(ALIVE),
            unanswered: number("serveralivecountmax").map_or(UNANSWERED, |number| number as usize),
            host,
            port,
            user,
        })
    }

    /// Lines of `key value`, from `ssh -G`; its defaults where there is no such program.
    async fn ask(&self, endpoint: &Endpoint) -> Result<Vec<(String, String)>, SshError> {
        let wrong = |what: String, cure: &str| SshError::new(endpoint, Phase::Configuration, what, cure);
        let mut command = tokio::process::Command::new("ssh");
        command.arg("-G").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // A `Match exec` of the configuration is a program, too: what is ours is not for it.
        without_ours(command.as_std_mut());
        if let Some(config) = &self.config {
            command.arg("-F").arg(config);
        }
        if let Some(user) = &endpoint.user {
            command.arg("-l").arg(user);
        }
        if let Some(port) = endpoint.port {
            command.arg("-p").arg(port.to_string());
        }
        command.arg("--").arg(&endpoint.address);
        let answer = match tokio::time::timeout(CONFIGURATION, command.output()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                return match &self.config {
                    Some(config) => Err(wrong(
                        format!("{} cannot be read without the program `ssh`", config.display()),
                        "install the OpenSSH client, or do without SOLL_SSH_CONFIG",
                    )),
                    None => Ok(defaults()),
                };
            }
            Ok(Err(error)) => {
                return Err(wrong(format!("`ssh -G` cannot be started: {error}"), "look at that program"));
            }
            Err(_) => {
                let what = format!("`ssh -G` did not end within {} s", CONFIGURATION.as_secs());
                return Err(wrong(what, "look for a `Match exec` in the SSH configuration"));
            }
        };
        if !answer.status.success() {
            let what = format!("`ssh -G` refuses the SSH configuration: {}", quote(&answer.stderr));
            return Err(wrong(what, "correct it, or name another one with SOLL_SSH_CONFIG"));
        }
        let text = String::from_utf8_lossy(&answer.stdout);
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        Ok(lines.map(|(key, value)| (key.to_ascii_lowercase(), value.trim().to_owned())).collect())
    }
}

struct SshOptions(Vec<(String, String)>);

impl SshOptions {
    fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    fn one<'a>(&'a self, key: &'a str) -> Option<&'a str> {
        self.all(key).next()
    }
}

/// A program that the user's configuration names hears nothing of what is ours.
pub fn without_ours(command: &mut std::process::Command) {
    let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SOLL_"));
    ours.for_each(|(name, _)| _ = command.env_remove(name));
}

/// What OpenSSH does without a configuration.
fn defaults() -> Vec<(String, String)> {
    [
        ("identityfile", "~/.ssh/id_ed25519"),
        ("identityfile", "~/.ssh/id_ecdsa"),
        ("identityfile", "~/.ssh/id_rsa"),
        ("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2"),
        ("globalknownhostsfile", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec()
}

fn home() -> PathBuf {
    std::env::var_os("HOME").filter(|home| !home.is_empty()).map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

/// The user that this process runs as, as far as its environment says.
fn me() -> String {
    let named = ["USER", "LOGNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
    named.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| "root".to_owned())
}

/// `~` and the tokens of `ssh_config` in a path.
fn expand(text: &str, host: &str, port: u16, user: &str, asked: &str) -> PathBuf {
    let text = text.trim_matches('"');
    let (out, rest) = match text.strip_prefix("~/") {
        Some(rest) => (format!("{}/", home().display()), rest),
        None => (String::new(), text),
    };
    Path::new(&format!("{out}{}", tokens(rest, host, port, user, asked))).to_owned()
}

/// The tokens of `ssh_config`.
fn tokens(text: &str, host: &str, port: u16, user: &str, asked: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('d') => out.push_str(&home().display().to_string()),
            Some('h') => out.push_str(host),
            Some('n') => out.push_str(asked),
            Some('p') => out.push_str(&port.to_string()),
            Some('r') => out.push_str(user),
            Some('u') => out.push_str(&me()),
            Some('%') | None => out.push('%'),
            Some(other) => out.extend(['%', other]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn times_are_those_of_the_configuration_and_zero_means_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        let host = Endpoint { address: "web".to_owned(), user: None, port: None, agent_dir: None };
        for (text, wanted) in [
            ("", (CONNECT, ALIVE, UNANSWERED)),
            ("ConnectTimeout 7\nServerAliveInterval 5\nServerAliveCountMax 4\n", (secs(7), secs(5), 4)),
            ("ServerAliveInterval 0\nServerAliveCountMax 0\n", (CONNECT, ALIVE, UNANSWERED)),
        ] {
            std::fs::write(&config, text).unwrap();
            let settings = Settings { config: Some(config.clone()), ..Settings::default() };
            let place = settings.place(&host).await.unwrap();
            assert_eq!((place.connect, place.alive, place.unanswered), wanted, "{text}");
        }
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }
}
