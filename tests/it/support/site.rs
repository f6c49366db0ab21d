//! A place where the real program lives: a state repository, bundles, roots of this machine, a history, and everything
//! that was started there, so that nothing of it outlives its test.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use soll::model::record::Record;

/// The program under test.
pub const SOLL: &str = env!("CARGO_BIN_EXE_soll");
/// Nothing here takes so long unless it hangs.
pub const LIMIT: Duration = Duration::from_secs(60);

pub struct Site {
    dir: tempfile::TempDir,
    /// Set for every program that is started here.
    pub vars: Vec<(String, String)>,
    /// Words before the program's own: into the namespace where its controller is.
    pub inside: Vec<String>,
}

/// How a program ended.
#[derive(Debug)]
pub struct Done {
    /// `None`: killed.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Done {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Done {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }
}

impl Site {
    pub fn new() -> Site {
        let site = Site { dir: tempfile::tempdir().unwrap(), vars: Vec::new(), inside: Vec::new() };
        for dir in ["state", "bundles", "build"] {
            fs::create_dir(site.path(dir)).unwrap();
        }
        site.git(&["init", "-q", "-b", "main"]);
        site
    }

    /// An absolute path of this place.
    pub fn path(&self, rel: &str) -> PathBuf {
        self.dir.path().join(rel)
    }

    /// The same as text.
    pub fn at(&self, rel: &str) -> String {
        self.path(rel).display().to_string()
    }

    pub fn read(&self, rel: &str) -> String {
        fs::read_to_string(self.path(rel)).unwrap_or_default()
    }

    pub fn write(&self, rel: &str, text: &str) {
        let path = self.path(rel);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A bundle of these files.
    pub fn bundle(&self, sha: &str, files: &[(&str, &str)]) {
        let build = format!("build/{sha}");
        for (path, text) in files {
            self.write(&format!("{build}/{path}"), text);
        }
        let sha = sha.parse().unwrap();
        let making = soll::artifact::bundle::Making { force: true, ..Default::default() };
        soll::artifact::bundle::create(&self.path(&build), &sha, &self.path("bundles"), &making).unwrap();
    }

    /// Where this place's bundles are, for a state file.
    pub fn bundles(&self) -> String {
        format!("file://{}/deployment-bundle-{{sha}}.tar.gz", self.at("bundles"))
    }

    /// Commits a state file.
    pub fn commit(&self, text: &str) {
        self.write("state/desired-state.toml", text);
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "another state"]);
    }

    pub fn git(&self, args: &[&str]) -> String {
        let mut git = self.bare("git");
        let done = git.current_dir(self.path("state")).args(args).output().unwrap();
        assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// A program with nothing of the tester's own settings.
    pub fn bare(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("SOLL_") || name.starts_with("GIT_") {
                command.env_remove(name);
            }
        }
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Ann").env(format!("GIT_{role}_EMAIL"), "ann@example.com");
        }
        command.stdin(Stdio::null());
        command
    }

    /// `soll ARGS` in the state repository.
    pub fn command(&self, args: &[&str]) -> Command {
        let words = [self.inside.as_slice(), &[SOLL.to_owned()]].concat();
        let mut command = self.bare(&words[0]);
        command.current_dir(self.path("state")).args(&words[1..]).args(args);
        command.env("SOLL_STATE_DIR", self.path("ctl")).env("SOLL_CONFIG", self.path("config.toml"));
        if !self.path("config.toml").exists() {
            self.write("config.toml", "");
        }
        command.envs(self.vars.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it to its end.
    pub fn soll(&self, args: &[&str]) -> Done {
        self.with(args, &[])
    }

    /// Runs it with more variables.
    pub fn with(&self, args: &[&str], vars: &[(&str, &str)]) -> Done {
        finish(self.command(args).envs(vars.iter().copied()))
    }

    /// What a root's record says.
    pub fn record(&self, root: &str) -> Record {
        soll::host::disk::root::Root::at(&self.at(root)).unwrap().record().unwrap()
    }

    /// The first line of a file of the live release; empty where there is none.
    pub fn live(&self, root: &str) -> String {
        self.read(&format!("{root}/current/index.html")).lines().next().unwrap_or_default().to_owned()
    }

    /// Everything that runs here and was started by us: controllers, agents, hooks.
    pub fn processes(&self) -> Vec<Process> {
        processes(self.dir.path())
    }

    /// The agents that live.
    pub fn agents(&self) -> Vec<Process> {
        agents(self.dir.path())
    }

    /// `kill -9` for every agent; returns once they are gone.
    pub fn kill_agents(&self) {
        kill_agents(self.dir.path());
    }

    /// The loop, with its output in `lines`.
    pub fn daemon(&self, args: &[&str], vars: &[(&str, &str)]) -> Daemon {
        let mut command = self.command(&[&["run"], args].concat());
        command.envs(vars.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (pipe, log) = (child.stderr.take().unwrap(), lines.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                log.lock().unwrap().push((Instant::now(), line));
            }
        });
        Daemon { child, lines }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // A hook that ends may be followed by another one: until nothing is left.
        for _ in 0..100 {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            left.iter().for_each(|process| process.kill(rustix::process::Signal::KILL));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// One process.
#[derive(Debug)]
pub struct Process {
    pub pid: i32,
    /// Its command line, words separated by blanks.
    pub words: String,
}

impl Process {
    /// Whether it is an agent; those that only lead to one are none.
    pub fn is_agent(&self) -> bool {
        self.words.contains(" host-agent") && !self.words.contains("--attach")
    }

    /// Whether it was stopped (SIGSTOP).
    pub fn stands_still(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    pub fn kill(&self, signal: rustix::process::Signal) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.pid) {
            // Gone already is as good.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

/// Everything that runs in this directory of a test: controllers, agents, hooks.
fn processes(dir: &Path) -> Vec<Process> {
    let marker = dir.display().to_string();
    let marker = marker.trim_end_matches('/');
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let environ = String::from_utf8_lossy(&read("environ")).into_owned();
        let ours = environ.split('\0').any(|line| {
            ["SOLL_STATE_DIR=", "SOLL_ROOT="].iter().any(|name| line.starts_with(&format!("{name}{marker}/")))
        });
        if ours {
            let words = String::from_utf8_lossy(&read("cmdline")).into_owned();
            found.push(Process { pid, words: words.replace('\0', " ").trim().to_owned() });
        }
    }
    found
}

fn agents(dir: &Path) -> Vec<Process> {
    processes(dir).into_iter().filter(Process::is_agent).collect()
}

/// `kill -9` for every agent at work in this directory of a test; returns once they are gone.
pub fn kill_agents(dir: &Path) {
    for agent in agents(dir) {
        agent.kill(rustix::process::Signal::KILL);
    }
    until("the agents are gone", || agents(dir).is_empty());
}

/// Runs a program to its end. One that hangs is killed and fails the test.
pub fn finish(command: &mut Command) -> Done {
    let (out, err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let mut child =
        command.stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap()).spawn().expect("it starts");
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("{command:?} does not end: {}", text(err));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Done { code: status.code(), signal: status.signal(), out: text(out), err: text(err) }
}

fn text(mut file: fs::File) -> String {
    use std::io::{Read, Seek};
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A running loop. Dropped, it is killed with its agents by the place that it belongs to.
pub struct Daemon {
    pub child: Child,
    lines: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Daemon {
    pub fn text(&self) -> String {
        self.lines.lock().unwrap().iter().map(|(_, line)| format!("{line}\n")).collect()
    }

    /// How many lines hold this.
    pub fn count(&self, part: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|(_, line)| line.contains(part)).count()
    }

    /// When the first line with this came.
    pub fn when(&self, part: &str) -> Option<Instant> {
        self.lines.lock().unwrap().iter().find(|(_, line)| line.contains(part)).map(|(at, _)| *at)
    }

    /// Waits for a line.
    #[track_caller]
    pub fn says(&self, part: &str) {
        self.until(part, || self.count(part) > 0);
    }

    /// Waits for something, and shows what was said where it does not come.
    #[track_caller]
    pub fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !done() {
            assert!(Instant::now() < deadline, "{what} does not come:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        Process { pid: self.child.id().cast_signed(), words: String::new() }.kill(signal);
    }

    /// Asks it to end, and waits for it.
    pub fn stop(mut self) -> (Option<i32>, String) {
        self.signal(rustix::process::Signal::TERM);
        let code = self.end();
        (code, self.text())
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for something that has to come.
#[track_caller]
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: this does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A full commit id that says which one it is.
pub fn sha(n: u32) -> String {
    format!("{n:08x}").repeat(5)
}

/// Whether a directory entry is there, links not followed.
pub fn there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
