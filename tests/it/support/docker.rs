//! A container engine of the tests' own: one for the whole process, with its own directories and socket, and no network that it
//! would have to make. Whatever becomes of the process, it ends with it.
//!
//! Containers run in no network (`network_mode: none`), so that nothing of the machine's firewall is touched.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::world::until;

/// Packages of Debian that have what is needed.
const PACKAGES: &str = "docker.io, docker-compose, docker-registry and busybox-static";

/// Runs a program until our end of its input is gone, which it is however this process ends; then it ends the program.
const WATCH: &str = r#""$@" >"$LOG" 2>&1 </dev/null & pid=$!; read -r _; kill $pid 2>/dev/null; wait $pid; [ -z "$DIR" ] || rm -rf "$DIR""#;

pub struct Docker {
    dir: PathBuf,
    _watch: Child,
}

impl Docker {
    /// The engine of this process.
    pub fn here() -> &'static Docker {
        static ENGINE: OnceLock<Docker> = OnceLock::new();
        ENGINE.get_or_init(Docker::start)
    }

    fn start() -> Docker {
        for program in ["dockerd", "docker", "docker-compose", "docker-registry", "busybox"] {
            let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).output().unwrap();
            assert!(found.status.success(), "`{program}` is not there: these tests need {PACKAGES}");
        }
        assert!(rustix::process::geteuid().is_root(), "a container engine is started by root: run these tests as root");
        // The path of a socket is short.
        let dir = PathBuf::from(format!("/tmp/soll-docker-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let own = |name: &str| dir.join(name).display().to_string();
        let mut words = vec!["dockerd".to_owned(), "--host".to_owned(), format!("unix://{}", own("sock"))];
        for (name, file) in [("data-root", "data"), ("exec-root", "exec"), ("pidfile", "pid")] {
            words.extend([format!("--{name}"), own(file)]);
        }
        let no_network = "--bridge=none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --userland-proxy=false";
        words.extend(no_network.split(' ').map(str::to_owned));
        words.extend(["--shutdown-timeout", "1", "--log-level", "warn"].map(str::to_owned));
        let watch = watched(&words, &own("log"), Some(&dir));
        let docker = Docker { dir, _watch: watch };
        let answers = || docker.command(&["version"]).output().unwrap().status.success().then_some(());
        let log = || fs::read_to_string(docker.dir.join("log")).unwrap_or_default();
        let began = std::time::Instant::now();
        while answers().is_none() {
            assert!(began.elapsed().as_secs() < 60, "dockerd does not start: {}", log());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        docker.busybox();
        docker
    }

    /// For DOCKER_HOST.
    pub fn host(&self) -> String {
        format!("unix://{}", self.dir.join("sock").display())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(args).env("DOCKER_HOST", self.host()).env("DOCKER_CONFIG", self.dir.join("config"));
        command.stdin(Stdio::null());
        command
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
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let tar = self.dir.join(format!("{}.tar", COUNT.fetch_add(1, Ordering::Relaxed)));
        let own = tar.with_extension("d");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("version"), version).unwrap();
        let mut pack = Command::new("tar");
        pack.arg("-cf").arg(&tar).arg("-C").arg(self.dir.join("tree")).arg(".").arg("-C").arg(&own).arg("version");
        assert!(pack.status().unwrap().success());
        self.run(&["import", "-c", "ENV PATH=/bin", &tar.display().to_string(), name]);
        fs::remove_file(tar).unwrap();
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

fn which(program: &str) -> String {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).output().unwrap();
    String::from_utf8_lossy(&found.stdout).trim().to_owned()
}

fn watched(words: &[String], log: &str, dir: Option<&Path>) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", WATCH, "sh"]).args(words).env("LOG", log).stdin(Stdio::piped()).process_group(0);
    command.env("DIR", dir.map(Path::as_os_str).unwrap_or_default());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// A registry on a port of this machine.
pub struct Registry {
    dir: tempfile::TempDir,
    pub port: u16,
    runs: Option<Child>,
}

impl Registry {
    pub fn start() -> Registry {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut registry = Registry { dir: tempfile::tempdir().unwrap(), port, runs: None };
        registry.resume();
        registry
    }

    /// Nobody answers at its port any more.
    pub fn stop(&mut self) {
        if let Some(mut runs) = self.runs.take() {
            drop(runs.stdin.take());
            let _ = runs.wait();
        }
    }

    /// With what it had.
    pub fn resume(&mut self) {
        let config = self.dir.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{}\n",
            self.dir.path().join("data").display(),
            self.port
        );
        fs::File::create(&config).unwrap().write_all(text.as_bytes()).unwrap();
        let words = ["docker-registry", "serve", &config.display().to_string()].map(str::to_owned);
        self.runs = Some(watched(&words, &self.dir.path().join("log").display().to_string(), None));
        until("the registry answers", || std::net::TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    /// A name in it.
    pub fn name(&self, rest: &str) -> String {
        format!("127.0.0.1:{}/{rest}", self.port)
    }

    /// Makes an image, sends it here, and forgets it on the engine.
    pub fn publish(&self, rest: &str, version: &str) -> String {
        let (docker, name) = (Docker::here(), self.name(rest));
        docker.image(&name, version);
        docker.run(&["push", "-q", &name]);
        docker.run(&["rmi", &name]);
        name
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}
