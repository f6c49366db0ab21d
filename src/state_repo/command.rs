//! Where the `git` command is started for what crosses a connection (fetch, push, ls-remote), never for
//! reading objects of the state repository. It knows no branches and no commits, only how to run git so that it cannot
//! ask, hang, run hooks or leak.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::error::{RepoError, Result};
use super::location::Location;
use crate::model::shown::shell_word;

/// The private key of git's `ssh`. How it is to be had is decided anew for each command.
#[derive(Clone)]
pub struct GitKey(Arc<dyn Fn() -> std::result::Result<KeyUse, String> + Send + Sync>);

/// How one command gets the key.
pub enum KeyUse {
    /// `ssh -i` reads it.
    File(PathBuf),
    /// An agent at this socket has it, and nothing else, for as long as `until` lives.
    Agent { socket: PathBuf, until: Box<dyn Send> },
}

impl GitKey {
    /// Asked before each command that crosses an SSH connection. Its error is a whole sentence without any of the key.
    pub fn new(lend: impl Fn() -> std::result::Result<KeyUse, String> + Send + Sync + 'static) -> GitKey {
        GitKey(Arc::new(lend))
    }
}

impl From<PathBuf> for GitKey {
    fn from(path: PathBuf) -> GitKey {
        GitKey::new(move || Ok(KeyUse::File(path.clone())))
    }
}

impl std::fmt::Debug for GitKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GitKey(…)")
    }
}

/// The controller's settings for git (`SOLL_SSH_KEY`, `SOLL_KNOWN_HOSTS`, `SOLL_SSH_CONFIG`).
#[derive(Debug, Clone)]
pub struct GitSettings {
    /// The private key for `ssh` addresses; without it ssh chooses by itself (agent, default keys).
    pub ssh_key: Option<GitKey>,
    /// The pinned host keys; without it the user's `known_hosts`. An unknown host is refused either way.
    pub known_hosts: Option<PathBuf>,
    /// Another `ssh_config`.
    pub ssh_config: Option<PathBuf>,
    /// How long one git command may take before it is killed with its helpers.
    pub timeout: Duration,
    /// Set by whoever does not wait for an answer any more: what runs then is killed likewise.
    pub stop: Option<Arc<AtomicBool>>,
}

impl GitSettings {
    /// Whether nobody waits for an answer any more.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }
}

impl Default for GitSettings {
    fn default() -> Self {
        GitSettings {
            ssh_key: None,
            known_hosts: None,
            ssh_config: None,
            timeout: Duration::from_secs(120),
            stop: None,
        }
    }
}

/// More than this from one command is an error: it is kept in memory.
const STDOUT_LIMIT: usize = 32 << 20;
/// Of the error output only the end is kept.
const STDERR_LIMIT: usize = 64 << 10;
/// How long pipes that a left-over helper keeps open are listened to after git has ended.
const GRACE: Duration = Duration::from_secs(2);
/// So often it is asked whether anybody still waits.
const LOOK: Duration = Duration::from_secs(1);
/// Answers git's question for a login from the environment of this one process, never from an argument.
const LOGIN_HELPER: &str =
    r#"!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$SOLL_GIT_USERNAME" "$SOLL_GIT_PASSWORD"; }; f"#;

/// One git command about one address.
pub(super) struct Git<'a> {
    settings: &'a GitSettings,
    location: &'a Location,
    repository: Option<(&'a Path, &'a Path)>,
    alone: bool,
}

/// What it left.
pub(super) struct Output {
    pub success: bool,
    pub stdout: Vec<u8>,
    /// For people: trimmed and redacted.
    pub stderr: String,
}

impl<'a> Git<'a> {
    pub fn new(settings: &'a GitSettings, location: &'a Location) -> Self {
        Git { settings, location, repository: None, alone: false }
    }

    /// Inside this repository; relative addresses in its configuration count from `cwd`.
    pub fn within(mut self, git_dir: &'a Path, cwd: &'a Path) -> Self {
        self.repository = Some((git_dir, cwd));
        self
    }

    /// Without any settings of this machine or its user: what comes out is the same everywhere, and nothing that they name
    /// (a filter) is run. For what crosses no connection.
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Runs `git COMMAND OPTIONS --end-of-options OPERANDS`. `what` completes "git could not …".
    ///
    /// # Errors
    /// Only where there is no answer: git is missing, timed out, or said too much. A refusal is an [`Output`].
    pub fn run(&self, what: &str, command: &str, options: &[&str], operands: &[&str]) -> Result<Output> {
        let failed = |detail: String| RepoError::Command {
            what: what.to_owned(),
            place: self.location.to_string(),
            detail: self.location.redact(&detail),
        };
        // An agent that lends the key lives until git has ended.
        let key = match &self.settings.ssh_key {
            Some(key) if self.location.may_be_ssh() => Some((key.0)().map_err(&failed)?),
            _ => None,
        };
        let mut git = self.command(key.as_ref());
        git.arg(command).args(options).arg("--end-of-options").args(operands);
        let mut child =
            git.spawn().map_err(|error| failed(format!("`git` cannot be started ({error}): is it installed?")))?;
        let stdout = collect(child.stdout.take(), STDOUT_LIMIT, Keep::Start);
        let stderr = collect(child.stderr.take(), STDERR_LIMIT, Keep::End);
        let deadline = Instant::now() + self.settings.timeout;
        let is_stopped = || self.settings.is_stopped();
        if !ended_before(&child, deadline, &is_stopped) {
            kill_group(&child);
            let _ = child.wait();
            if is_stopped() {
                return Err(failed("nobody waits for it any more".to_owned()));
            }
            return Err(RepoError::TimedOut {
                what: what.to_owned(),
                place: self.location.to_string(),
                after: self.settings.timeout,
            });
        }
        let status = child.wait().map_err(|error| failed(error.to_string()))?;
        let grace = Instant::now() + GRACE;
        let stdout = match received(&stdout, grace) {
            Some((stdout, false)) => stdout,
            Some((_, true)) => return Err(failed(format!("it answered with more than {STDOUT_LIMIT} bytes"))),
            // Half an answer could be read as "there is no such thing".
            None => return Err(failed("git ended, but something that it started keeps its output open".to_owned())),
        };
        let (stderr, _) = received(&stderr, grace).unwrap_or_default();
        let stderr = self.location.redact(String::from_utf8_lossy(&stderr).trim());
        Ok(Output { success: status.success(), stdout, stderr })
    }

    /// As [`Git::run`], and a refusal is an error with what git said.
    pub fn must(&self, what: &str, command: &str, options: &[&str], operands: &[&str]) -> Result<Vec<u8>> {
        let output = self.run(what, command, options, operands)?;
        if output.success {
            return Ok(output.stdout);
        }
        Err(self.failure(what, &output))
    }

    /// The error for a refusal.
    pub fn failure(&self, what: &str, output: &Output) -> RepoError {
        if output.stderr.contains("mismatched algorithms") {
            return super::open::sha256(&self.location.to_string(), self.location.as_path());
        }
        let said = output.stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
        // As OpenSSL and as GnuTLS say it.
        let unknown = [
            "unable to get local issuer certificate",
            "self-signed certificate",
            "self signed certificate",
            "certificate verification failed",
        ];
        let detail = match said.is_empty() {
            true => "it gave no reason".to_owned(),
            false if unknown.iter().any(|sign| said.contains(sign)) => format!(
                "{said}; where its authority is a private one, name the file with that one's certificate in GIT_SSL_CAINFO, or \
                 by `git config --global http.sslCAInfo FILE`"
            ),
            false => said,
        };
        RepoError::Command { what: what.to_owned(), place: self.location.to_string(), detail }
    }

    fn command(&self, key: Option<&KeyUse>) -> Command {
        let mut git = Command::new("git");
        quiet(&mut git);
        git.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        git.process_group(0);
        git.env("GIT_TERMINAL_PROMPT", "0").env("GIT_ASKPASS", "").env("SSH_ASKPASS_REQUIRE", "never");
        git.env("GIT_NO_REPLACE_OBJECTS", "1").env("GIT_NO_LAZY_FETCH", "1");
        git.env("GIT_ALLOW_PROTOCOL", "https:http:ssh:file");
        git.env("GIT_SSH_COMMAND", self.ssh(key)).env("GIT_SSH_VARIANT", "ssh");
        if let Some(KeyUse::Agent { socket, .. }) = key {
            // Also for a jump host, whose ssh hears nothing of the options.
            git.env("SSH_AUTH_SOCK", socket);
        }
        for setting in [
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "protocol.ext.allow=never",
            "color.ui=false",
            "push.gpgSign=false",
            "push.followTags=false",
            "fetch.recurseSubmodules=false",
            "push.recurseSubmodules=no",
            // In an archive: what an ordinary umask leaves.
            "tar.umask=0022",
            // A detached gc would work on a mirror after its lock is gone.
            "gc.autoDetach=false",
            "maintenance.autoDetach=false",
        ] {
            git.args(["-c", setting]);
        }
        if self.alone {
            for (name, _) in std::env::vars_os() {
                if name.to_string_lossy().starts_with("GIT_CONFIG_") {
                    git.env_remove(&name);
                }
            }
            git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_ATTR_NOSYSTEM", "1");
            // Without it the user's own `~/.config/git/attributes` counts.
            git.args(["-c", "core.attributesFile=/dev/null"]);
            // A directory is one, whatever signs its name has.
            git.arg("--literal-pathspecs");
        } else {
            self.log_in(&mut git);
        }
        if let Some((git_dir, cwd)) = self.repository {
            git.arg("--git-dir").arg(git_dir).current_dir(cwd);
        }
        git
    }

    fn log_in(&self, git: &mut Command) {
        let Some(login) = self.location.login() else { return };
        match &login.password {
            Some(password) => {
                // The empty helper resets the list: no other helper is asked, none stores what we were given.
                git.args(["-c", &format!("credential.{}.helper=", login.scope)]);
                git.args(["-c", &format!("credential.{}.helper={LOGIN_HELPER}", login.scope)]);
                git.env("SOLL_GIT_USERNAME", &*login.username).env("SOLL_GIT_PASSWORD", &**password);
            }
            None => {
                // After what the user's environment says already.
                let given = std::env::var("GIT_CONFIG_COUNT").ok().and_then(|count| count.parse::<u32>().ok());
                let next = given.unwrap_or_default();
                git.env("GIT_CONFIG_COUNT", (next + 1).to_string());
                git.env(format!("GIT_CONFIG_KEY_{next}"), format!("credential.{}.username", login.scope));
                git.env(format!("GIT_CONFIG_VALUE_{next}"), &*login.username);
            }
        }
    }

    fn ssh(&self, key: Option<&KeyUse>) -> String {
        let mut words = vec!["ssh".to_owned()];
        if let Some(config) = &self.settings.ssh_config {
            words.extend(["-F".to_owned(), shell_word(&config.to_string_lossy())]);
        }
        for option in ["BatchMode=yes", "ConnectTimeout=15", "StrictHostKeyChecking=yes"] {
            words.extend(["-o".to_owned(), option.to_owned()]);
        }
        match key {
            Some(KeyUse::File(path)) => {
                words.extend(["-o IdentitiesOnly=yes -i".to_owned(), shell_word(&path.to_string_lossy())]);
            }
            Some(KeyUse::Agent { socket, .. }) => {
                words.push("-o IdentitiesOnly=no -o IdentityFile=none -o ForwardAgent=no -o".to_owned());
                words.push(shell_word(&format!("IdentityAgent=\"{}\"", socket.display())));
            }
            None => {}
        }
        if let Some(hosts) = &self.settings.known_hosts {
            let option = format!("UserKnownHostsFile=\"{}\"", hosts.display());
            words.extend(["-o GlobalKnownHostsFile=/dev/null -o".to_owned(), shell_word(&option)]);
        }
        words.join(" ")
    }
}

/// What a `git` of ours hears of this process's environment: the user's configuration, and nothing that sends it to another
/// repository; what it says is English.
pub(super) fn quiet(git: &mut Command) {
    let kept = ["GIT_EXEC_PATH", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_COUNT"];
    let families = ["GIT_SSL_", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"];
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let stays = kept.contains(&&*name) || families.iter().any(|family| name.starts_with(family));
        // GIT_DIR and its kin would redirect us, SOLL_* holds our secrets.
        if name.starts_with("SOLL_") || name.starts_with("GIT_") && !stays {
            git.env_remove(&*name);
        }
    }
    git.env("LC_ALL", "C").env_remove("LANGUAGE");
}

enum Keep {
    Start,
    End,
}

/// Reads a pipe to its end on a thread, so that the child never blocks on us. Whether more came than was kept is the flag.
fn collect(pipe: Option<impl Read + Send + 'static>, limit: usize, keep: Keep) -> mpsc::Receiver<(Vec<u8>, bool)> {
    let (sender, receiver) = mpsc::channel();
    if let Some(mut pipe) = pipe {
        std::thread::spawn(move || {
            let (mut kept, mut over) = (Vec::new(), false);
            let mut piece = vec![0; 64 << 10];
            while let Ok(n @ 1..) = pipe.read(&mut piece) {
                match keep {
                    Keep::Start => {
                        over |= kept.len() + n > limit;
                        let room = limit.saturating_sub(kept.len()).min(n);
                        kept.extend_from_slice(&piece[..room]);
                    }
                    Keep::End => {
                        kept.extend_from_slice(&piece[..n]);
                        let surplus = kept.len().saturating_sub(limit);
                        kept.drain(..surplus);
                    }
                }
            }
            // The receiver is gone when the command timed out.
            let _ = sender.send((kept, over));
        });
    }
    receiver
}

fn received(receiver: &mpsc::Receiver<(Vec<u8>, bool)>, until: Instant) -> Option<(Vec<u8>, bool)> {
    receiver.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
}

/// Waits without reaping: the process id stays ours until it has been decided whether to kill its group.
fn ended_before(child: &Child, deadline: Instant, is_stopped: &dyn Fn() -> bool) -> bool {
    let Some(pid) = Pid::from_raw(child.id().cast_signed()) else { return true };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = rustix::process::waitid(WaitId::Pid(pid), options) {}
        let _ = sender.send(());
    });
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(left.min(LOOK)) {
            Ok(()) => return true,
            Err(_) if left <= LOOK || is_stopped() => return false,
            Err(_) => {}
        }
    }
}

fn kill_group(child: &Child) {
    if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
        // Gone already is as good.
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_reach_ssh_as_quoted_words() {
        let settings = GitSettings {
            known_hosts: Some("/a b/known".into()),
            ssh_config: Some("/c".into()),
            ..GitSettings::default()
        };
        let location = Location::parse("git@host:x").unwrap();
        assert_eq!(
            Git::new(&settings, &location).ssh(Some(&KeyUse::File("/keys/it's".into()))),
            "ssh -F /c -o BatchMode=yes -o ConnectTimeout=15 -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes -i \
             '/keys/it'\\''s' -o GlobalKnownHostsFile=/dev/null -o 'UserKnownHostsFile=\"/a b/known\"'"
        );
    }

    #[test]
    fn a_password_is_in_the_environment_and_in_no_argument() {
        let location = Location::parse("https://bob:hunter2@host/x").unwrap();
        let settings = GitSettings::default();
        let command = Git::new(&settings, &location).command(None);
        assert!(command.get_args().all(|arg| !arg.to_string_lossy().contains("hunter2")));
        assert!(
            command
                .get_envs()
                .any(|(name, value)| name == "SOLL_GIT_PASSWORD" && value.is_some_and(|v| v == "hunter2"))
        );
    }
}
