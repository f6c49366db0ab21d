//! A small network of one test: the controller's side with a bridge, and hosts behind cables of their own. Every test has
//! namespaces of its own, so that all of them may use the same addresses at the same time.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::namespace::Namespace;
use crate::ssh::server::{Seat, Sshd, agent_variable, me};
use crate::support::site::Process;
use crate::support::world::{Running, World, until};

/// The controller's side. Hosts are `10.0.0.11`, `10.0.0.12`, …
pub struct Net {
    pub controller: Namespace,
    /// Secrets of the controller: the key that all hosts let in, and what they are known by.
    dir: tempfile::TempDir,
}

/// What goes wrong on the way, until it is cured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The cable is out: nothing arrives, on neither side, and nobody is told.
    Cable,
    /// A firewall that swallows everything.
    Blackhole,
    /// A firewall that answers with a reset.
    Reset,
    /// All processes of sshd are killed.
    Sshd,
    /// All agents are killed.
    Agent,
}

/// One host: its network, its sshd, its files below `/srv`.
pub struct Host {
    pub name: String,
    pub space: Namespace,
    pub sshd: Sshd,
    pub address: String,
    more: String,
    /// What `/srv` is there.
    files: tempfile::TempDir,
}

impl Net {
    pub fn new() -> Net {
        let controller =
            Namespace::new("ip link add br0 type bridge; ip addr add 10.0.0.1/24 dev br0; ip link set br0 up");
        Net { controller, dir: tempfile::tempdir().unwrap() }
    }

    /// A host behind a cable, with lines of its own in its `sshd_config`.
    pub fn host(&self, n: u8, more: &str) -> Host {
        let files = tempfile::tempdir().unwrap();
        let (name, address) = (format!("web{n}"), format!("10.0.0.{}", 10 + n));
        let space = Namespace::new(&format!("mount --bind {} /srv", files.path().display()));
        let cable = format!(
            "ip link add {name} type veth peer name eth0 netns {}; ip link set {name} master br0 up",
            space.pid()
        );
        self.controller.run(&cable);
        space.run(&format!("ip addr add {address}/24 dev eth0; ip link set eth0 up"));
        let seat = Seat { enter: space.enter_whole(), address: address.clone(), port: Some(22) };
        let sshd = Sshd::at(seat, &["ed25519"], "", more);
        let host = Host { name, space, sshd, address, more: more.to_owned(), files };
        host.settle();
        host
    }

    /// What every program of the controller's is told, so that it may log in to these hosts. A host that is silent for
    /// six seconds is given up: a busy machine may need some of them.
    pub fn variables(&self, hosts: &[&Host]) -> Vec<(String, String)> {
        let key = self.dir.path().join("key");
        let first = hosts.first().expect("a host");
        fs::copy(first.sshd.path("key"), &key).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        hosts.iter().for_each(|host| host.sshd.allow(&first.sshd.path("key")));
        let known: String = hosts.iter().map(|host| host.sshd.known("ed25519")).collect();
        let write = |name: &str, text: &str| {
            fs::write(self.dir.path().join(name), text).unwrap();
            self.dir.path().join(name).display().to_string()
        };
        let known = write("known_hosts", &known);
        let config = write("ssh_config", "ConnectTimeout 8\nServerAliveInterval 2\nServerAliveCountMax 2\n");
        let (name, program) = agent_variable();
        vec![
            ("SOLL_SSH_KEY".to_owned(), key.display().to_string()),
            ("SOLL_KNOWN_HOSTS".to_owned(), known),
            ("SOLL_SSH_CONFIG".to_owned(), config),
            // Most faults last until the controller has ended.
            ("SOLL_REATTACH".to_owned(), "1s".to_owned()),
            (name, program),
        ]
    }

    /// A world whose controller is on this network.
    pub fn world(&self, hosts: &[&Host], environments: &str) -> World {
        let tables: String = hosts.iter().map(|host| host.table()).collect();
        let mut world = World::with(&format!("{tables}{environments}"));
        world.inside = self.controller.enter();
        for (name, value) in self.variables(hosts) {
            world.set(&name, &value);
        }
        world
    }

    /// The cable of a host is taken out, or plugged in.
    pub fn cable(&self, host: &Host, up: bool) {
        self.controller.run(&format!("ip link set {} {}", host.name, if up { "up" } else { "down" }));
    }

    /// Replaces the cable of a host by one that is long (so many milliseconds each way) and drops some of all frames.
    pub fn far(&self, host: &Host, delay: f64, loss: f64) -> Relay {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/relay.py");
        let words = self.controller.enter();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["python3", script, "near1", "far1"]);
        command.args(["--leashed", "--delay", &delay.to_string(), "--loss", &loss.to_string()]);
        let mut relay = Relay(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
        let mut said = String::new();
        BufReader::new(relay.0.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "the relay does not start");
        self.cable(host, false);
        let pid = host.space.pid();
        self.controller
            .run(&format!("ip link set far1 netns {pid}; ip link set near1 master br0 up; ip neigh flush all"));
        let address = &host.address;
        host.space.run(&format!("ip addr flush dev eth0; ip link set far1 up; ip addr add {address}/24 dev far1"));
        relay
    }

    /// From now on, until it is cured.
    pub fn strike(&self, host: &mut Host, fault: Fault) {
        match fault {
            Fault::Cable => self.cable(host, false),
            Fault::Blackhole => {
                drop(host.space.run("iptables -I INPUT -i eth0 -j DROP; iptables -I OUTPUT -o eth0 -j DROP"))
            }
            Fault::Reset => {
                // What is under way is answered by a reset, and so is whoever comes anew.
                host.space.run("iptables -I INPUT -i eth0 -p tcp -j REJECT --reject-with tcp-reset");
            }
            Fault::Sshd => host.sshd.kill(),
            Fault::Agent => host.kill_agents(),
        }
    }

    pub fn cure(&self, host: &mut Host, fault: Fault) {
        match fault {
            Fault::Cable => self.cable(host, true),
            Fault::Blackhole | Fault::Reset => drop(host.space.run("iptables -F")),
            Fault::Sshd => host.sshd.again(&["ed25519"], &host.more.clone()),
            Fault::Agent => {}
        }
        self.answers(&host.address);
    }

    /// Waits until an sshd answers there.
    pub fn answers(&self, address: &str) {
        until("the host answers", || {
            let ask = format!("timeout 2 bash -c 'exec 3<>/dev/tcp/{address}/22 && read -r -u 3 line'");
            let words = self.controller.enter();
            let asked = Command::new(&words[0]).args(&words[1..]).args(["sh", "-c", &ask]).output();
            asked.unwrap().status.success().then_some(())
        });
    }
}

/// The program for hosts, and what it is called there.
fn agent() -> &'static (PathBuf, String) {
    static AGENT: std::sync::OnceLock<(PathBuf, String)> = std::sync::OnceLock::new();
    AGENT.get_or_init(|| {
        let program = PathBuf::from(agent_variable().1);
        let said = Command::new("sha256sum").arg(&program).output().unwrap();
        let digest = String::from_utf8(said.stdout).unwrap()[..64].to_owned();
        (program, format!("soll-{digest}"))
    })
}

impl Host {
    /// Puts the agent there, as if a run before had done it: most tests are about other things.
    fn settle(&self) {
        let dir = self.sshd.home().join(".cache/soll/agents");
        let (program, name) = agent();
        fs::create_dir_all(&dir).unwrap();
        fs::copy(program, dir.join(name)).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o700)).unwrap();
    }

    /// Its table in a state file.
    pub fn table(&self) -> String {
        format!("\n[hosts.{}]\naddress = \"{}\"\nuser = \"{}\"\n", self.name, self.address, me())
    }

    /// A file below `/srv`, as it is on disk.
    pub fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// What an environment with the root `/srv/app` runs: the letter of `index.html`.
    pub fn runs(&self) -> String {
        fs::read_to_string(self.space.path("/srv/app/current/index.html")).unwrap_or_default()
    }

    /// The record of `/srv/app`.
    pub fn record(&self) -> serde_json::Value {
        let text = fs::read_to_string(self.space.path("/srv/app/.soll/record.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// The agents that live there.
    pub fn agents(&self) -> Vec<Process> {
        let mut all = self.space.processes();
        all.retain(|process| process.is_agent());
        all
    }

    pub fn kill_agents(&self) {
        self.space.kill(|words| words.contains(" host-agent"));
    }
}

/// A long cable, as long as this lives.
pub struct Relay(Child);

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for the end of a program. Gives its exit code and the most memory that it had, in KiB.
pub fn peak(mut run: Running) -> (Option<i32>, u64) {
    let (mut most, mut code) = (0, None);
    until("it ends", || {
        let status = fs::read_to_string(format!("/proc/{}/status", run.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        most = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(most);
        code = run.child.try_wait().unwrap();
        code.is_some().then_some(())
    });
    (code.unwrap().code(), most)
}

/// Waits until a process stands still. Gives false where it ended.
pub fn stopped(child: &mut Child) -> bool {
    let mut ended = false;
    until("it stands still or ends", || {
        ended = child.try_wait().unwrap().is_some();
        (ended || Process { pid: child.id().cast_signed(), words: String::new() }.stands_still()).then_some(())
    });
    !ended
}

/// Lets it go on.
pub fn go_on(child: &Child) {
    kill_process(Pid::from_child(child), Signal::CONT).unwrap();
}
