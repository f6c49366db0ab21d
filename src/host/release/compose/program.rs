//! The program that brings a project up: the plugin of `docker`, or `docker-compose`. Started with its arguments and no shell, in
//! an environment of our own; how it ended says nothing about the release.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::engine::Engine;
use crate::host::disk::command::{PATH, runtime_dir};
use crate::host::wire::HostError;

/// A question to the program is answered at once.
const ANSWER: Duration = Duration::from_secs(60);
/// Between asking it to end and killing it.
const PATIENCE: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(20);
/// The last API in which an engine says of an image what the first generation asks of it before it makes a container anew
/// (`ContainerConfig`). By itself it speaks the newest one, and crashes after it has stopped the old container.
const LAST_FOR_FIRST: (usize, usize) = (1, 44);
/// Of what it says so many bytes are kept.
const KEPT: u64 = 16 << 20;

/// The program of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    words: Vec<String>,
    pub version: String,
    /// The API that it is told to speak with the engine; `None`: it finds one by itself.
    api: Option<String>,
}

/// How it ended.
#[derive(Debug, Clone)]
pub struct Done {
    pub ok: bool,
    /// The signal that has ended it, where that was none of ours.
    pub signal: Option<i32>,
    pub output: String,
    /// What it complained about.
    pub said: String,
    /// A person wanted it to stop.
    pub stopped: Option<String>,
    /// It was ended because its time was over.
    pub late: bool,
}

impl Program {
    /// The plugin first, because that is what is maintained. Looked for once: an agent lives as long as a run.
    ///
    /// # Errors
    /// There is neither.
    pub fn here() -> Result<Program, HostError> {
        static FOUND: OnceLock<Program> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(found.clone());
        }
        for words in [&["docker", "compose"][..], &["docker-compose"]] {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            let mut program = Program { words, version: String::new(), api: None };
            let asked =
                program.run(&["version", "--short"], Path::new("/"), &BTreeMap::new(), None, ANSWER, &mut || None);
            if let Some(version) = asked.ok().filter(|done| done.ok).and_then(|done| version(&done.output)) {
                program.version = version;
                return Ok(FOUND.get_or_init(|| program).clone());
            }
        }
        Err(HostError::Precondition(
            "neither `docker compose` nor `docker-compose` can be run here: install the plugin (docker-compose-plugin, \
             docker-compose-v2) or Debian's docker-compose for all users"
                .to_owned(),
        ))
    }

    /// The same as it is called on this engine.
    pub fn on(mut self, engine: &Engine) -> Program {
        let (major, minor) = LAST_FOR_FIRST;
        self.api = (self.is_first() && engine.api() > LAST_FOR_FIRST).then(|| format!("{major}.{minor}"));
        self
    }

    /// What it needs to be told in its environment.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.api.iter().map(|api| ("COMPOSE_API_VERSION", api.as_str()))
    }

    /// `docker compose 2.27.0`.
    pub fn told(&self) -> String {
        format!("{} {}", self.words.join(" "), self.version)
    }

    /// The words of its call.
    pub fn words(&self) -> String {
        self.words.join(" ")
    }

    /// The first generation prints YAML and knows fewer options.
    pub fn is_first(&self) -> bool {
        self.version.starts_with("1.")
    }

    /// Runs it in a directory and waits. `turn`: a lock that it holds as long as it lives, also where this process does not:
    /// it is its empty input.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn run(
        &self,
        arguments: &[&str],
        dir: &Path,
        variables: &BTreeMap<String, String>,
        turn: Option<File>,
        limit: Duration,
        stop: &mut dyn FnMut() -> Option<String>,
    ) -> Result<Done, HostError> {
        let Some((program, first)) = self.words.split_first() else {
            return Err(HostError::Io("no program was named".to_owned()));
        };
        let mut command = Command::new(program);
        command
            .args(first)
            .args(arguments)
            .current_dir(dir)
            .env_clear()
            .process_group(0)
            .stdin(turn.map_or(Stdio::null(), Stdio::from));
        command.env("PATH", PATH).env("LANG", "C.UTF-8").env("COMPOSE_INTERACTIVE_NO_CLI", "1");
        // What a network of forty services takes to be made is no reason to give up.
        command.env("COMPOSE_HTTP_TIMEOUT", "300").env("COMPOSE_ANSI", "never");
        for name in ["HOME", "USER", "LOGNAME", "DOCKER_HOST"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.envs(self.variables());
        command.envs(runtime_dir().map(|dir| ("XDG_RUNTIME_DIR", dir))).envs(variables);
        let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        // Our own hold on that lock.
        drop(command);
        let called = || format!("{} {}", self.words.join(" "), arguments.first().unwrap_or(&""));
        let lost = |error: io::Error| HostError::Io(format!("`{}` cannot be run here: {error}", called()));
        let mut child = spawned.map_err(lost)?;
        let (output, said) = (child.stdout.take().map(read), child.stderr.take().map(read));
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let signal = |signal| group.map(|group| rustix::process::kill_process_group(group, signal));
        let (began, mut stopped, mut late, mut kill_at) = (Instant::now(), None, false, None);
        let status = loop {
            if let Some(status) = child.try_wait().map_err(lost)? {
                break status;
            }
            if kill_at.is_none() {
                stopped = stop();
                late = began.elapsed() >= limit;
                if stopped.is_some() || late {
                    kill_at = Some(Instant::now() + PATIENCE);
                    signal(Signal::TERM);
                }
            }
            if kill_at.is_some_and(|at| Instant::now() >= at) {
                signal(Signal::KILL);
            }
            std::thread::sleep(TICK);
        };
        // What it left behind holds its output open, and nothing is left that anybody waits for.
        signal(Signal::KILL);
        let text = |thread: Option<JoinHandle<String>>| thread.and_then(|t| t.join().ok()).unwrap_or_default();
        // Of its own accord no program ends so: somebody, or the kernel, has ended it.
        let killed = std::os::unix::process::ExitStatusExt::signal(&status).filter(|_| kill_at.is_none());
        Ok(Done { ok: status.success(), signal: killed, output: text(output), said: text(said), stopped, late })
    }
}

fn read(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What comes after that is read and dropped: a program that cannot write does not end.
        let _ = from.by_ref().take(KEPT).read_to_end(&mut bytes);
        let _ = io::copy(&mut from, &mut io::sink());
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// `2.27.0` of `v2.27.0-desktop.2`.
fn version(printed: &str) -> Option<String> {
    let word = printed.lines().map(|line| line.trim().trim_start_matches('v')).find(|line| !line.is_empty())?;
    let version: String = word.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    version.contains('.').then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_in_each_of_its_forms() {
        for (printed, read) in
            [("1.29.2\n", Some("1.29.2")), ("v2.27.0-desktop.2\n", Some("2.27.0")), ("\n2.40.3+ds1\n", Some("2.40.3"))]
        {
            assert_eq!(version(printed).as_deref(), read, "{printed}");
        }
        assert_eq!(version("docker: 'compose' is not a docker command."), None);
    }
}
