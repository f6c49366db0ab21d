//! Container engines of the tests' own: one of each kind for the whole process, and others for a test that harms them, each with
//! its own directories and socket, and no network that it would have to make. Whatever becomes of the process, they end with it.
//!
//! Containers run in no network (`network_mode: none`), so that nothing of the machine's firewall is touched.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use super::engines::{self, OLD, Pair};
use super::world::until;

/// Packages of Debian that have what is needed.
const PACKAGES: &str = "docker.io, docker-compose, docker-registry and busybox-static";

/// Runs a program until our end of its input is gone, which it is however this process ends; then it ends the program. With each
/// line of that input it waits for the program's end, and runs it once more. An engine that was killed leaves a mount of its
/// data.
const WATCH: &str = r#"go() { "$@" >>"$LOG" 2>&1 </dev/null & pid=$!; }
go "$@"; while read -r _; do wait $pid; go "$@"; done; kill $pid 2>/dev/null; wait $pid
[ -z "$DIR" ] || { umount -l "$DIR/data" 2>/dev/null; rm -rf "$DIR"; }"#;

/// What is said of an engine beside its kind.
#[derive(Default)]
pub struct Options {
    /// Words before its own: into a namespace, where it makes networks.
    pub inside: Vec<String>,
    /// Where it keeps images and volumes, where that is not its own directory.
    pub data: Option<PathBuf>,
    /// Containers go on while it is away.
    pub live_restore: bool,
    /// Other words.
    pub more: Vec<String>,
}

pub struct Docker {
    pub pair: &'static Pair,
    dir: PathBuf,
    watch: Child,
}

impl Docker {
    /// The engine of this process, as Debian has it.
    pub fn here() -> &'static Docker {
        OLD.docker()
    }

    /// Another one, for a test alone.
    pub fn start(pair: &'static Pair, options: Options) -> Docker {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        for program in ["dockerd", "docker", "docker-compose", "docker-registry", "busybox"] {
            let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).output().unwrap();
            assert!(found.status.success(), "`{program}` is not there: these tests need {PACKAGES}");
        }
        assert!(rustix::process::geteuid().is_root(), "a container engine is started by root: run these tests as root");
        // The path of a socket is short.
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(format!("/tmp/soll-docker-{}-{}{number}", std::process::id(), pair.name));
        engines::programs(pair.engine, &dir.join("bin"));
        engines::equip(pair, &dir.join("home"));
        let own = |name: &str| dir.join(name).display().to_string();
        let config = serde_json::json!({ "features": { "containerd-snapshotter": pair.containerd } });
        fs::write(dir.join("daemon.json"), config.to_string()).unwrap();
        let mut words: Vec<String> = options.inside.clone();
        words.push("dockerd".to_owned());
        words.extend([
            "--host".to_owned(),
            format!("unix://{}", own("sock")),
            "--config-file".to_owned(),
            own("daemon.json"),
        ]);
        let data = options.data.map_or_else(|| own("data"), |data| data.display().to_string());
        for (name, file) in [("data-root", data), ("exec-root", own("exec")), ("pidfile", own("pid"))] {
            words.extend([format!("--{name}"), file]);
        }
        if options.inside.is_empty() {
            let no_network = "--bridge=none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false";
            words.extend(no_network.split(' ').map(str::to_owned));
        }
        if options.live_restore {
            words.push("--live-restore".to_owned());
        }
        words.extend(["--userland-proxy=false", "--shutdown-timeout", "1", "--log-level", "warn"].map(str::to_owned));
        words.extend(options.more.iter().cloned());
        let path = format!("{}:{}", own("bin"), std::env::var("PATH").unwrap_or_default());
        let mut variables = vec![("PATH", path)];
        variables.extend(pair.oldest.map(|oldest| ("DOCKER_MIN_API_VERSION", oldest.to_owned())));
        let watch = watched(&words, &variables, &own("log"), Some(&dir));
        let docker = Docker { pair, dir, watch };
        docker.answers();
        docker.busybox();
        docker
    }

    /// Waits until it does.
    fn answers(&self) {
        let began = std::time::Instant::now();
        while !self.command(&["version"]).output().unwrap().status.success() {
            let log = || fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            assert!(began.elapsed().as_secs() < 120, "dockerd ({}) does not start: {}", self.pair.name, log());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Its process is gone at once; what it started is not asked.
    pub fn kill(&self) {
        let pid = |file: PathBuf| fs::read_to_string(file).ok().and_then(|pid| pid.trim().parse::<i32>().ok());
        kill_process(Pid::from_raw(pid(self.dir.join("pid")).unwrap()).unwrap(), Signal::KILL).unwrap();
        // Its containerd dies with it. Where nobody reaps that, it looks alive to the next engine, which would wait for it.
        let beside = self.dir.join("exec/containerd/containerd.pid");
        let Some(containerd) = pid(beside.clone()) else { return };
        until("containerd is gone", || {
            let status = fs::read_to_string(format!("/proc/{containerd}/stat")).unwrap_or_default();
            let state = status.rsplit_once(") ").map_or("X", |(_, rest)| &rest[..1]);
            matches!(state, "Z" | "X").then_some(())
        });
        let _ = fs::remove_file(beside);
    }

    /// It runs again after that.
    pub fn resume(&self) {
        let mut input = self.watch.stdin.as_ref().unwrap();
        input.write_all(b"again\n").unwrap();
        self.answers();
    }

    /// For DOCKER_HOST.
    pub fn host(&self) -> String {
        format!("unix://{}", self.dir.join("sock").display())
    }

    /// The home directory of a user of its host: for HOME.
    pub fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    fn command(&self, args: &[&str]) -> Command {
        // Its own one: an older one is refused.
        let own = self.dir.join("bin/docker");
        let mut command = Command::new(if own.exists() { own } else { PathBuf::from("docker") });
        command.args(args).env("DOCKER_HOST", self.host()).env("DOCKER_CONFIG", self.dir.join("config"));
        command.stdin(Stdio::null());
        command
    }

    /// What the client of the engine prints, where that is well.
    pub fn tried(&self, args: &[&str]) -> Option<String> {
        let done = self.command(args).output().unwrap();
        done.status.success().then(|| String::from_utf8_lossy(&done.stdout).trim().to_owned())
    }

    /// What the client of the engine prints, which must be well.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> String {
        let done = self.command(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        assert!(done.status.success(), "docker {args:?}: {}", text(&done.stderr));
        text(&done.stdout)
    }

    /// A tree with a shell and little else.
    fn busybox(&self) {
        let bin = self.dir.join("tree/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy(fs::canonicalize(which("busybox")).unwrap(), bin.join("busybox")).unwrap();
        for name in ["sh", "sleep", "cat", "echo", "true", "false", "test", "ls", "env", "touch", "tail"] {
            std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
        }
        for dir in ["etc", "data", "tmp"] {
            fs::create_dir_all(self.dir.join("tree").join(dir)).unwrap();
        }
    }

    /// Makes an image whose `/version` holds this text.
    pub fn image(&self, name: &str, version: &str) {
        self.import(name, version, 0);
    }

    /// Makes an image with so many bytes that do not compress.
    pub fn heavy_image(&self, name: &str, bytes: u64) {
        self.import(name, "heavy", bytes);
    }

    fn import(&self, name: &str, version: &str, heavy: u64) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let tar = self.dir.join(format!("{}.tar", COUNT.fetch_add(1, Ordering::Relaxed)));
        let own = tar.with_extension("d");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("version"), version).unwrap();
        let mut random = fs::File::open("/dev/urandom").unwrap().take(heavy);
        std::io::copy(&mut random, &mut fs::File::create(own.join("heavy")).unwrap()).unwrap();
        let mut pack = Command::new("tar");
        pack.arg("-cf").arg(&tar).arg("-C").arg(self.dir.join("tree")).arg(".").arg("-C").arg(&own);
        pack.args(["version", "heavy"]);
        assert!(pack.status().unwrap().success());
        self.run(&["import", "-c", "ENV PATH=/bin", &tar.display().to_string(), name]);
        fs::remove_file(tar).unwrap();
        fs::remove_dir_all(own).unwrap();
    }

    /// Where it keeps what it has, and the home directory of its users.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Lets the client that publishes log in somewhere, and forget that again.
    pub fn login(&self, registry: &str, user: &str, password: &str) {
        self.run(&["login", "-u", user, "-p", password, registry]);
    }

    /// Makes an image that is another one with one layer more, whose `/version` holds this text.
    pub fn layered(&self, name: &str, base: &str, version: &str) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let file = self.dir.join(format!("version-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        fs::write(&file, version).unwrap();
        let container = self.run(&["create", "--network", "none", base, "true"]);
        self.run(&["cp", &file.display().to_string(), &format!("{container}:/version")]);
        self.run(&["commit", &container, name]);
        self.run(&["rm", &container]);
    }

    /// The containers of a project: name and id of each, also of those that do not run.
    pub fn containers(&self, project: &str) -> Vec<(String, String)> {
        let filter = format!("label=com.docker.compose.project={project}");
        let listed = self.run(&["ps", "-a", "--no-trunc", "--filter", &filter, "--format", "{{.Names}} {{.ID}}"]);
        let mut all: Vec<_> = listed
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, id)| (name.to_owned(), id.to_owned()))
            .collect();
        all.sort();
        all
    }

    /// Whether it has an image of this name.
    pub fn has(&self, image: &str) -> bool {
        self.command(&["image", "inspect", image]).output().unwrap().status.success()
    }

    /// Removes what is left of a project, volumes too.
    pub fn clear(&self, project: &str) {
        for (_, id) in self.containers(project) {
            let _ = self.command(&["rm", "-f", "-v", &id]).output();
        }
        let filter = format!("label=com.docker.compose.project={project}");
        let volumes = self.run(&["volume", "ls", "-q", "--filter", &filter]);
        for volume in volumes.lines() {
            let _ = self.command(&["volume", "rm", volume]).output();
        }
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // One that was killed has left containers behind, which only an engine ends.
        if !self.command(&["version"]).output().is_ok_and(|done| done.status.success()) {
            let _ = self.watch.stdin.as_ref().map(|mut input| input.write_all(b"again\n"));
            let _ = (0..200).find(|_| {
                std::thread::sleep(std::time::Duration::from_millis(50));
                self.command(&["version"]).output().is_ok_and(|done| done.status.success())
            });
        }
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
    }
}

fn which(program: &str) -> String {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).output().unwrap();
    String::from_utf8_lossy(&found.stdout).trim().to_owned()
}

/// A program that ends with this process.
pub fn watched(words: &[String], variables: &[(&str, String)], log: &str, dir: Option<&Path>) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", WATCH, "sh"]).args(words).env("LOG", log).stdin(Stdio::piped()).process_group(0);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command.env("DIR", dir.map(Path::as_os_str).unwrap_or_default());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
