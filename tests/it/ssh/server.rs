//! An sshd of one test, and a world whose host `web1` is behind it.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::world::{World, env};

/// One sshd, that ends with the test.
pub struct Sshd {
    child: Child,
    seat: Seat,
    pub port: u16,
    dir: tempfile::TempDir,
}

/// Where an sshd runs.
pub struct Seat {
    /// Words before its command: into a namespace.
    pub enter: Vec<String>,
    pub address: String,
    /// `None`: any that is free.
    pub port: Option<u16>,
}

/// The user of this process: an sshd that is no root lets nobody else in.
pub fn me() -> String {
    let said = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

/// A new key without a passphrase, beside its public half.
pub fn keygen(path: &Path, kind: &[&str], passphrase: &str) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-C", "test", "-N", passphrase, "-f"]).arg(path).arg("-t").args(kind);
    assert!(command.status().unwrap().success(), "ssh-keygen {kind:?}");
}

impl Sshd {
    /// One with an ed25519 host key, an ed25519 key that may log in, and lines of configuration of its own.
    pub fn new(more: &str) -> Sshd {
        Sshd::with(&["ed25519"], "", more)
    }

    /// One with these host keys, and options before the key that may log in (`command="…" `).
    pub fn with(kinds: &[&str], options: &str, more: &str) -> Sshd {
        let seat = Seat { enter: Vec::new(), address: "127.0.0.1".to_owned(), port: None };
        Sshd::at(seat, kinds, options, more)
    }

    /// The same at another place.
    pub fn at(seat: Seat, kinds: &[&str], options: &str, more: &str) -> Sshd {
        let dir = tempfile::tempdir().unwrap();
        // What sshd wants where it separates privileges.
        let _ = fs::create_dir_all("/run/sshd");
        fs::create_dir(dir.path().join("home")).unwrap();
        for kind in kinds {
            keygen(&dir.path().join(format!("host_{kind}")), &[kind], "");
        }
        keygen(&dir.path().join("key"), &["ed25519"], "");
        let public = fs::read_to_string(dir.path().join("key.pub")).unwrap();
        fs::write(dir.path().join("authorized"), format!("{options}{public}")).unwrap();
        let (child, port) = start(dir.path(), &seat, kinds, more);
        let seat = Seat { port: Some(port), ..seat };
        Sshd { child, seat, port, dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The home of who logs in.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// The process that listens.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What sshd wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// How often somebody logged in.
    pub fn logins(&self) -> usize {
        self.log().lines().filter(|line| line.contains("Accepted publickey")).count()
    }

    /// Lets this public key in, instead of the usual one.
    pub fn allow(&self, key: &Path) {
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        fs::write(self.path("authorized"), public).unwrap();
    }

    /// The line of `known_hosts` for a host key.
    pub fn known(&self, kind: &str) -> String {
        let name = match self.port {
            22 => self.seat.address.clone(),
            port => format!("[{}]:{port}", self.seat.address),
        };
        format!("{name} {}\n", self.public(kind))
    }

    /// Kind and key.
    pub fn public(&self, kind: &str) -> String {
        let text = fs::read_to_string(self.path(&format!("host_{kind}.pub"))).unwrap();
        text.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    /// Ends the listener and every connection at once, as when the machine's network is gone.
    pub fn kill(&mut self) {
        for pid in family(self.child.id()) {
            let Some(pid) = rustix::process::Pid::from_raw(pid) else { continue };
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }

    /// Ends every connection; who connects again is let in.
    pub fn cut(&self) {
        for pid in family(self.child.id()).into_iter().skip(1) {
            let Some(pid) = rustix::process::Pid::from_raw(pid) else { continue };
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    /// Starts it again on its port.
    pub fn again(&mut self, kinds: &[&str], more: &str) {
        self.kill();
        (self.child, self.port) = start(self.dir.path(), &self.seat, kinds, more);
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A process and those of its descendants that are sshd: agents live on.
fn family(pid: u32) -> Vec<i32> {
    let mut all = vec![pid.cast_signed()];
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()) {
        let name = fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
        if name.starts_with("sshd") {
            all.extend(family(child));
        }
    }
    all
}

fn start(dir: &Path, seat: &Seat, kinds: &[&str], more: &str) -> (Child, u16) {
    let log = || fs::read_to_string(dir.join("log")).unwrap_or_default();
    for _ in 0..20 {
        let port = seat.port.unwrap_or_else(|| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
        let (at, address) = (dir.display(), &seat.address);
        let keys: String = kinds.iter().map(|kind| format!("HostKey {at}/host_{kind}\n")).collect();
        // The first word on a matter counts: that of the test.
        let config = format!(
            "ListenAddress {address}:{port}\n{keys}{more}\nPidFile none\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
             AuthorizedKeysFile {at}/authorized\nSetEnv HOME={at}/home\nLogLevel VERBOSE\n"
        );
        fs::write(dir.join("config"), config).unwrap();
        let sshd = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"].into_iter().find(|path| Path::new(path).exists());
        let sshd = sshd.expect("sshd (package openssh-server)").to_owned();
        let words = [seat.enter.as_slice(), &[sshd]].concat();
        let before = log().matches("Server listening on").count();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("-D").arg("-f").arg(dir.join("config")).arg("-E").arg(dir.join("log"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if log().matches("Server listening on").count() > before {
                return (child, port);
            }
            // Somebody else took the port: another one.
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut said = String::new();
        let _ = child.kill();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let _ = child.wait();
        let log = log();
        assert!(log.contains("Address already in use"), "sshd does not start: {said}{log}");
    }
    panic!("sshd finds no port");
}

/// One environment `staging` that wants `a`, on the host `web1` behind this sshd.
pub fn world(sshd: &Sshd) -> World {
    world_with(sshd, "", "")
}

/// The same with lines of its own for the host and for the environment.
pub fn world_with(sshd: &Sshd, host: &str, more: &str) -> World {
    let mut world = World::with(&remote(sshd, host, more));
    fs::copy(sshd.path("key"), world.path("key")).unwrap();
    fs::set_permissions(world.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
    world.write("known_hosts", &sshd.known("ed25519"));
    world.write("ssh_config", "");
    world.set("SOLL_SSH_KEY", "$DIR/key");
    world.set("SOLL_KNOWN_HOSTS", "$DIR/known_hosts");
    world.set("SOLL_SSH_CONFIG", "$DIR/ssh_config");
    small_agent(&mut world);
    world
}

/// The tables for the host `web1` and an environment there.
pub fn remote(sshd: &Sshd, host: &str, more: &str) -> String {
    format!(
        "\n[hosts.web1]\naddress = \"127.0.0.1\"\nuser = \"{}\"\nport = {}\n{host}\n{}",
        me(),
        sshd.port,
        env("staging", 'a', &format!("hosts = [\"web1\"]\n{more}"))
    )
}

/// The program without what a debugger needs: a tenth to carry.
pub fn small_agent(world: &mut World) {
    let (name, path) = agent_variable();
    world.set(&name, &path);
}

/// The variable that names it, and where it is.
pub fn agent_variable() -> (String, String) {
    static MADE: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
    let dir = MADE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let made =
            Command::new("strip").arg("-o").arg(dir.path().join("soll")).arg(env!("CARGO_BIN_EXE_soll")).status();
        assert!(made.unwrap().success());
        dir
    });
    let machine = rustix::system::uname().machine().to_string_lossy().to_uppercase();
    (format!("SOLL_AGENT_{machine}"), dir.path().join("soll").display().to_string())
}

/// The agents on a host, in their usual place.
pub fn agents(sshd: &Sshd) -> Vec<PathBuf> {
    let dir = fs::read_dir(sshd.home().join(".cache/soll/agents"));
    let mut found: Vec<_> = dir.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}
