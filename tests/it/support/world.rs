//! A whole small world for black-box tests: a state repository, bundles made by the program itself, roots on this
//! machine, and the real binary with nothing of this machine's settings around it.
//!
//! In texts and arguments `<a>` is the commit `aaaa…`, and `$DIR` the directory of the world.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The head of most state files: one app whose releases are healthy unless they hold a file `broken`.
pub const APP: &str = r#"schema = 1

[apps.web]
bundle = { url = "bundles/deployment-bundle-{sha}.tar.gz" }
[apps.web.health]
attempts = 2
interval = "20ms"
[[apps.web.health.checks]]
name = "alive"
run = "test ! -e broken"
"#;

/// Long enough for the slowest machine; nothing waits for it where all is well.
const PATIENCE: Duration = Duration::from_secs(120);

/// The commit of one letter.
pub fn sha(letter: char) -> String {
    letter.to_string().repeat(40)
}

/// An environment below `$DIR` with lines of its own. Tables of it come last in `more`.
pub fn env(name: &str, letter: char, more: &str) -> String {
    format!("\n[environments.{name}]\nrelease = \"<{letter}>\"\nroot = \"$DIR/{name}\"\n{more}\n")
}

/// Looks again and again until it is so.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub struct World {
    dir: tempfile::TempDir,
    variables: Vec<(String, String)>,
    /// Words before the program's own: into the namespace where its controller is.
    pub inside: Vec<String>,
}

impl World {
    /// An empty one, with a state repository without a commit.
    pub fn new() -> World {
        let world = World { dir: tempfile::tempdir().unwrap(), variables: Vec::new(), inside: Vec::new() };
        for dir in ["state/bundles", "home", "build"] {
            fs::create_dir_all(world.path(dir)).unwrap();
        }
        world.git(&["init", "-q", "-b", "main"]);
        fs::write(world.path("state/.git/info/exclude"), "bundles/\n").unwrap();
        world
    }

    /// One with [`APP`] and these environments committed, good bundles `a` and `b`, and `c` that is not healthy.
    pub fn with(environments: &str) -> World {
        let world = World::new();
        world.bundle('a', &[]);
        world.bundle('b', &[]);
        world.bundle('c', &[("broken", "")]);
        world.commit(&format!("{APP}{environments}"));
        world
    }

    /// One environment `staging` that runs `a`, with lines of its own.
    pub fn staging(more: &str) -> World {
        let world = World::with(&env("staging", 'a', more));
        world.soll("apply").exits(0);
        world
    }

    /// A variable of every program that is started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), self.fill(value)));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn fill(&self, text: &str) -> String {
        let mut text = text.replace("$DIR", self.dir.path().to_str().unwrap());
        for letter in 'a'..='f' {
            text = text.replace(&format!("<{letter}>"), &sha(letter));
        }
        text
    }

    /// A file below the world's directory; directories are made.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, self.fill(text)).unwrap();
    }

    /// What a file holds; nothing where there is none.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Commits this as the whole state file. Gives the commit.
    pub fn commit(&self, text: &str) -> String {
        self.write("state/desired-state.toml", text);
        self.commit_all("a person's commit")
    }

    /// Commits whatever lies in the work tree.
    pub fn commit_all(&self, message: &str) -> String {
        self.commit_in("state", message);
        self.head()
    }

    /// Replaces a part of the state file that must be there, and commits it.
    #[track_caller]
    pub fn edit(&self, from: &str, to: &str) -> String {
        let text = self.read("state/desired-state.toml");
        let (from, to) = (self.fill(from), self.fill(to));
        assert!(text.contains(&from), "`{from}` is not in\n{text}");
        self.commit(&text.replacen(&from, &to, 1))
    }

    /// The commit of the state branch.
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "main"])
    }

    /// git in the state repository.
    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        self.git_in("state", args)
    }

    /// git in a directory of this world.
    #[track_caller]
    pub fn git_in(&self, dir: &str, args: &[&str]) -> String {
        let output = self.program("git").args(args).current_dir(self.path(dir)).output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Commits all that lies in a repository of this world. Gives the commit.
    #[track_caller]
    pub fn commit_in(&self, dir: &str, message: &str) -> String {
        self.git_in(dir, &["add", "-A"]);
        self.git_in(dir, &["commit", "-q", "--allow-empty", "-m", message]);
        self.git_in(dir, &["rev-parse", "HEAD"])
    }

    /// A bundle whose `index.html` is its letter, with more files.
    pub fn bundle(&self, letter: char, files: &[(&str, &str)]) {
        let dir = format!("build/{letter}");
        let _ = fs::remove_dir_all(self.path(&dir));
        self.write(&format!("{dir}/index.html"), &letter.to_string());
        for (name, text) in files {
            self.write(&format!("{dir}/{name}"), text);
        }
        self.soll(&format!("bundle $DIR/{dir} --sha <{letter}> --out $DIR/state/bundles --force")).exits(0);
    }

    /// The bundle's archive; its checksum lies beside it.
    pub fn archive(&self, letter: char) -> PathBuf {
        self.path(&format!("state/bundles/deployment-bundle-{}.tar.gz", sha(letter)))
    }

    /// Runs the program with these arguments, split at spaces.
    pub fn soll(&self, line: &str) -> Ran {
        let line = self.fill(line);
        self.run(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// The same with variables for this one run.
    pub fn soll_with(&self, line: &str, vars: &[(&str, &str)]) -> Ran {
        let line = self.fill(line);
        let args: Vec<_> = line.split_whitespace().collect();
        Ran::of(&args, self.command(&args).envs(vars.iter().copied()).stdin(Stdio::null()).output().unwrap())
    }

    /// Runs the program.
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(args, self.command(args).stdin(Stdio::null()).output().unwrap())
    }

    /// Starts the program; what it says on standard error is in the file `log`.
    pub fn start(&self, line: &str, log: &str) -> Running {
        let line = self.fill(line);
        let mut command = self.command(&line.split_whitespace().collect::<Vec<_>>());
        let stderr = fs::File::create(self.path(log)).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        Running { child }
    }

    fn command(&self, args: &[&str]) -> Command {
        let words = [self.inside.as_slice(), &[env!("CARGO_BIN_EXE_soll").to_owned()]].concat();
        let mut command = self.program(&words[0]);
        command.args(&words[1..]).args(args).current_dir(self.dir.path());
        command
    }

    /// A program that hears nothing of this machine's settings.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.path("home")).env("LC_ALL", "C").env("USER", "ann");
        command.env("SOLL_STATE_DIR", self.path("ctl")).env("SOLL_REPO", self.path("state"));
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ann").env(format!("GIT_{who}_EMAIL"), "ann@example.com");
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// What an environment runs: the letter in `current/index.html`.
    pub fn runs(&self, env: &str) -> String {
        self.read(&format!("{env}/current/index.html"))
    }

    /// The name of the live release.
    pub fn release(&self, env: &str) -> String {
        let link = fs::read_link(self.path(&format!("{env}/current"))).unwrap();
        link.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// The host's record of an environment.
    pub fn record(&self, env: &str) -> serde_json::Value {
        serde_json::from_str(&self.read(&format!("{env}/.soll/record.json"))).unwrap_or_default()
    }

    /// The verdicts that an environment's host has recorded, as commits.
    pub fn quarantined(&self, env: &str) -> Vec<String> {
        let record = self.record(env);
        let all = record["quarantined"].as_array().cloned().unwrap_or_default();
        let verdicts = all.iter().filter(|entry| entry["verdict"] == true);
        verdicts.map(|entry| entry["key"]["sha"].as_str().unwrap()[..1].to_owned()).collect()
    }

    /// Everything below a directory: what it is, its mode, its inode, its contents. The drift cache aside.
    pub fn tree(&self, dir: &str) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        walk(&self.path(dir), &mut found);
        found.retain(|path, _| !path.ends_with("/.soll/drift.json") && !path.ends_with("/.soll/turn"));
        found
    }
}

fn walk(path: &Path, found: &mut BTreeMap<String, String>) {
    let Ok(meta) = fs::symlink_metadata(path) else { return };
    let what = if meta.is_symlink() {
        format!("-> {}", fs::read_link(path).unwrap().display())
    } else if meta.is_file() {
        format!("{} {:?}", meta.ino(), fs::read(path).unwrap())
    } else {
        "directory".to_owned()
    };
    found.insert(path.display().to_string(), format!("{:o} {what}", meta.permissions().mode()));
    if meta.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| walk(&entry.unwrap().path(), found));
    }
}

/// How a command ended; -1: by a signal.
#[derive(Debug)]
pub struct Ran {
    line: String,
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    fn of(args: &[&str], output: Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        Ran { line: args.join(" "), exit: output.status.code().unwrap_or(-1), stdout, stderr }
    }

    #[track_caller]
    pub fn exits(self, wanted: i32) -> Ran {
        assert_eq!(self.exit, wanted, "soll {}\n{}\n{}", self.line, self.stdout, self.stderr);
        self
    }

    /// Somewhere in its output.
    #[track_caller]
    pub fn says(self, wanted: &str) -> Ran {
        let all = format!("{}\n{}", self.stdout, self.stderr);
        assert!(all.contains(wanted), "`{wanted}` is not in the output of soll {}\n{all}", self.line);
        self
    }

    /// Nowhere in its output.
    #[track_caller]
    pub fn hides(self, unwanted: &str) -> Ran {
        let all = format!("{}\n{}", self.stdout, self.stderr);
        assert!(!all.contains(unwanted), "`{unwanted}` is in the output of soll {}\n{all}", self.line);
        self
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("soll {}: {error}\n{}", self.line, self.stdout))
    }
}

/// A program that runs; killed at the end of the test.
pub struct Running {
    pub child: Child,
}

impl Running {
    /// SIGTERM.
    pub fn ask_to_end(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Asks it to end, and gives its exit code.
    pub fn stop(self) -> Option<i32> {
        self.ask_to_end();
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
