//! A Debian of this machine's release in a directory, made once and kept beside what cargo builds; every machine of a test is
//! an overlay on it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::FlockOperation;

/// What is installed beside the minimal base.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,openssh-server,sudo,procps,libpam-systemd,python3,python3-venv";

/// A user who may deploy, and restart and reload one unit and nothing else; the unit, which serves what `current` names as
/// its service starts, and does not start with a release `c`.
const SETUP: &str = r#"
useradd --create-home --shell /bin/bash deploy
mkdir -p /home/deploy/.ssh /srv/app
chown deploy: /home/deploy/.ssh /srv/app
cat > /etc/sudoers.d/deploy <<'END'
deploy ALL=(root) NOPASSWD: /usr/bin/systemctl restart app.service, /usr/bin/systemctl reload app.service
END
chmod 440 /etc/sudoers.d/deploy
cat > /etc/systemd/system/app.service <<'END'
[Unit]
Description=What is deployed
ConditionPathExists=/srv/app/current/index.html
[Service]
ExecStart=/bin/sh -c 'grep -qv c /srv/app/current/index.html && cp /srv/app/current/index.html /run/app.runs && exec sleep infinity'
ExecReload=/bin/cp /srv/app/current/index.html /run/app.runs
[Install]
WantedBy=multi-user.target
END
systemctl enable app.service
echo server > /etc/hostname
echo 127.0.1.1 server >> /etc/hosts
rm -f /etc/ssh/ssh_host_* /etc/machine-id
: > /etc/machine-id
"#;

/// The tree, made where it is not there yet.
pub fn tree() -> PathBuf {
    let soll = Path::new(env!("CARGO_BIN_EXE_soll"));
    let trees = soll.ancestors().nth(2).expect("cargo's target directory").join("trees");
    fs::create_dir_all(&trees).unwrap();
    // Other tests, and other test processes, want it too: one makes it.
    let turn = File::create(trees.join("lock")).unwrap();
    rustix::fs::flock(&turn, FlockOperation::LockExclusive).unwrap();
    let release = codename();
    // What is not made as this file says is made anew.
    let recipe = format!("{release} {PACKAGES}\n{SETUP}");
    let (tree, made) = (trees.join(&release), trees.join(format!("{release}.made")));
    if fs::read_to_string(&made).unwrap_or_default() != recipe {
        let _ = fs::remove_file(&made);
        let _ = fs::remove_dir_all(&tree);
        let include = format!("--include={PACKAGES}");
        let mut bootstrap = Command::new("debootstrap");
        bootstrap.args(["--variant=minbase", &include, &release]).arg(&tree);
        does(&mut bootstrap, "no Debian tree can be made: is a mirror reachable?");
        does(Command::new("chroot").arg(&tree).args(["sh", "-ec", SETUP]), "the tree is not set up");
        fs::write(made, recipe).unwrap();
    }
    tree
}

/// What these packages add to the tree: an upper layer of it, made once, for the tests that want them. Others boot without.
pub fn layer(name: &str, packages: &str) -> PathBuf {
    let tree = tree();
    let trees = tree.parent().expect("the trees");
    let turn = File::create(trees.join("lock")).unwrap();
    rustix::fs::flock(&turn, FlockOperation::LockExclusive).unwrap();
    let at = |what: &str| trees.join(format!("{}-{name}{what}", codename()));
    let recipe = format!("{}{packages}\n", fs::read_to_string(trees.join(format!("{}.made", codename()))).unwrap());
    if fs::read_to_string(at(".made")).unwrap_or_default() != recipe {
        for dir in ["", ".work", ".root"] {
            let _ = fs::remove_dir_all(at(dir));
            fs::create_dir(at(dir)).unwrap();
        }
        let _ = fs::remove_file(at(".made"));
        let (upper, work, root) = (at("").display().to_string(), at(".work"), at(".root").display().to_string());
        // In a mount namespace of its own: nothing has to be taken away afterwards. No service starts in a chroot.
        let script = format!(
            "mount -t overlay -o lowerdir={},upperdir={upper},workdir={} overlay {root}\nmount -t proc proc {root}/proc\n\
             cp /etc/resolv.conf {root}/etc/resolv.conf\nchroot {root} sh -ec 'apt-get update -q && \
             apt-get install -qy --no-install-recommends {packages} && apt-get clean'",
            tree.display(),
            work.display()
        );
        does(Command::new("unshare").args(["--mount", "sh", "-ec", &script]), "the packages cannot be installed");
        fs::write(at(".made"), recipe).unwrap();
    }
    at("")
}

/// This machine's release: the agent that was built here needs its libc.
fn codename() -> String {
    let text = fs::read_to_string("/etc/os-release").expect("/etc/os-release");
    let line = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    line.expect("a Debian with a codename").trim_matches('"').to_owned()
}

/// It must do, and says what it said where it does not.
fn does(command: &mut Command, what: &str) {
    let done = command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C").output();
    let done = done.unwrap_or_else(|error| panic!("{what}: {command:?}: {error}"));
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "{what}\n{command:?}\n{}", String::from_utf8_lossy(&said));
}
