//! A Debian that was booted: systemd is its first process, its sshd is Debian's, and who deploys there is not root.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use super::net::Net;
use super::tree::tree;
use crate::ssh::server::{agent_variable, keygen};
use crate::support::world::{World, until};

/// `10.0.0.50`, on the network of a test.
pub struct Machine<'a> {
    net: &'a Net,
    running: Option<(Child, i32)>,
    /// The overlay: `upper` survives a reboot, as a disk does.
    dir: tempfile::TempDir,
}

pub const ADDRESS: &str = "10.0.0.50";

impl<'a> Machine<'a> {
    /// Sets one up and boots it.
    pub fn boot(net: &'a Net) -> Machine<'a> {
        Machine::boot_of(net, &[tree()])
    }

    /// One of these trees, the uppermost first.
    pub fn boot_of(net: &'a Net, trees: &[PathBuf]) -> Machine<'a> {
        let lower = trees.iter().map(|tree| tree.display().to_string()).collect::<Vec<_>>().join(":");
        let dir = tempfile::tempdir().unwrap();
        for name in ["upper", "work", "root"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        // Seen by everybody: a root that only root may enter lets no user in.
        fs::set_permissions(dir.path().join("upper"), fs::Permissions::from_mode(0o755)).unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let options = format!("lowerdir={lower},upperdir={},workdir={}", at("upper"), at("work"));
        let mut mount = Command::new("mount");
        mount.args(["-t", "overlay", "-o", &options, "overlay", &at("root")]);
        assert!(mount.status().unwrap().success(), "{mount:?}");
        keygen(&dir.path().join("key"), &["ed25519"], "");
        let mut machine = Machine { net, running: None, dir };
        keygen(&machine.path("/etc/ssh/ssh_host_ed25519_key"), &["ed25519"], "");
        fs::copy(machine.dir.path().join("key.pub"), machine.path("/home/deploy/.ssh/authorized_keys")).unwrap();
        // It is the same machine after every start, also where the plug is pulled before it could write down an id of its own.
        let id = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap().replace('-', "");
        fs::write(machine.path("/etc/machine-id"), id).unwrap();
        machine.start();
        machine
    }

    /// A path of it, seen from here.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("root").join(path.trim_start_matches('/'))
    }

    /// What a file there holds; of `/run` too, which only lives while it does.
    pub fn read(&self, path: &str) -> String {
        let init = self.running.as_ref().expect("it runs").1;
        fs::read_to_string(format!("/proc/{init}/root{path}")).unwrap_or_default()
    }

    /// The record of `/srv/app`.
    pub fn record(&self) -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(self.path("/srv/app/.soll/record.json")).unwrap_or_default())
            .unwrap_or_default()
    }

    /// What `current` of `/srv/app` holds.
    pub fn runs(&self) -> String {
        fs::read_to_string(self.path("/srv/app/current/index.html")).unwrap_or_default()
    }

    /// Runs a command there, as root.
    #[track_caller]
    pub fn run(&self, script: &str) -> String {
        let init = self.running.as_ref().expect("it runs").1.to_string();
        let mut command = Command::new("nsenter");
        command.args(["-t", &init, "--all", "--", "sh", "-ec", script]);
        let done = command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().unwrap();
        assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Boots it, and waits until its sshd lets users in.
    pub fn start(&mut self) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("soll{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let words = self.net.controller.enter();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["systemd-nspawn", "-q", "-b", "-D"]).arg(self.dir.path().join("root"));
        command.args(["--network-bridge=br0", "--register=no", "--keep-unit", "--console=read-only", "-M", &name]);
        let log = File::create(self.dir.path().join("console")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut child = command.spawn().expect("systemd-nspawn (package systemd-container)");
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let console = self.dir.path().join("console");
        let said = || fs::read_to_string(&console).unwrap_or_default();
        let init = until("systemd runs", || {
            assert!(child.try_wait().unwrap().is_none(), "it does not boot: {}", said());
            let text = fs::read_to_string(&children).unwrap_or_default();
            let mut all = text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok());
            all.find(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "systemd\n"))
        });
        self.running = Some((child, init));
        let init = init.to_string();
        until("it has its address", || {
            let script = format!("ip addr replace {ADDRESS}/24 dev host0 && ip link set host0 up");
            let done = Command::new("nsenter").args(["-t", &init, "-n", "sh", "-ec", &script]).output().unwrap();
            done.status.success().then_some(())
        });
        self.net.answers(ADDRESS);
        // Its sshd answers while the boot goes on, and until this unit runs it lets nobody in but root.
        until("its users may log in", || {
            let ask = "systemctl is-active systemd-user-sessions.service || true";
            (self.run(ask).trim() == "active").then_some(())
        });
    }

    /// The plug is pulled.
    pub fn dies(&mut self) {
        if let Some((mut child, init)) = self.running.take() {
            if let Some(init) = Pid::from_raw(init) {
                let _ = kill_process(init, Signal::KILL);
            }
            let _ = child.wait();
        }
    }

    /// A world whose host `web1` is this machine, with `/srv/app` as the root of `app`.
    pub fn world(&self, more: &str) -> World {
        let host = format!("\n[hosts.web1]\naddress = \"{ADDRESS}\"\nuser = \"deploy\"\n");
        let env = crate::support::world::env("app", 'a', &format!("hosts = [\"web1\"]\n{more}"));
        let mut world = World::with(&(host + &env.replace("$DIR/app", "/srv/app")));
        world.inside = self.net.controller.enter();
        let public = fs::read_to_string(self.path("/etc/ssh/ssh_host_ed25519_key.pub")).unwrap();
        world.write("known_hosts", &format!("{ADDRESS} {public}"));
        world.write("ssh_config", "ConnectTimeout 8\nServerAliveInterval 2\nServerAliveCountMax 2\n");
        copy_private(&self.dir.path().join("key"), &world.path("key"));
        world.set("SOLL_SSH_KEY", "$DIR/key");
        world.set("SOLL_KNOWN_HOSTS", "$DIR/known_hosts");
        world.set("SOLL_SSH_CONFIG", "$DIR/ssh_config");
        let (name, agent) = agent_variable();
        world.set(&name, &agent);
        world
    }
}

fn copy_private(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o600)).unwrap();
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        self.dies();
        let _ = Command::new("umount").arg("-l").arg(self.dir.path().join("root")).status();
    }
}
