//! What a hook finds of the controller on the machine that both run on.

use std::process::Command;

use crate::support::world::{APP, World, env};

const VALUE: &str = "tok-Rf19-planted-secret";
const PHRASE: &str = "pw-Ln28-planted-passphrase";

/// Reads the environment of every process above the hook, as far as it may, and says how each of them stands.
const NOSY: &str = r#"
[[apps.web.hooks]]
phase = "prepare"
run = '''
p=$$
while [ "$p" -gt 1 ]; do
    echo "process $p" >> $SOLL_ROOT/../seen
    cat /proc/$p/environ >> $SOLL_ROOT/../seen 2>> $SOLL_ROOT/../refused
    awk '/core file/ { print $5, $6 }' /proc/$p/limits >> $SOLL_ROOT/../cores
    p=$(awk '/^PPid:/ { print $2 }' /proc/$p/status)
done
true
'''
[[apps.web.health.checks]]
name = "asks"
run = "cat /proc/$PPID/environ >> $SOLL_ROOT/../seen; true"
"#;

fn world() -> World {
    let mut w = World::with("");
    w.commit(&format!("{APP}{NOSY}{}", env("staging", 'a', "")));
    w.set("SOLL_SECRET_TOKEN", VALUE);
    w.set("SOLL_SSH_PASSPHRASE", PHRASE);
    w
}

#[track_caller]
fn nothing_found(w: &World) {
    let seen = std::fs::read(w.path("seen")).unwrap();
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.matches("process ").count() >= 3, "the hook, its agent, its controller: {seen}");
    assert!(seen.contains("SOLL_ENV=staging"), "it can read its own: {seen}");
    for planted in [VALUE, PHRASE, "Rf19", "Ln28"] {
        assert!(!seen.contains(planted), "{planted} was found: {seen}");
    }
}

#[test]
fn a_hook_finds_no_secret_in_any_process_above_it() {
    let w = world();
    w.soll("apply").exits(0);
    nothing_found(&w);
    // The hook itself, its agent, and the controller keep no core file.
    let cores = w.read("cores");
    assert!(cores.lines().take(3).all(|line| line.starts_with('0')), "{cores}");
}

#[test]
fn a_hook_of_the_same_user_may_not_look_at_all() {
    if !rustix::process::geteuid().is_root() {
        return a_hook_finds_no_secret_in_any_process_above_it();
    }
    let mut w = world();
    // The program is reachable for everybody, and everything here belongs to somebody who is not root.
    std::fs::copy(env!("CARGO_BIN_EXE_soll"), w.path("soll")).unwrap();
    let owned = Command::new("chown").args(["-R", "65534:65534"]).arg(w.path("")).status().unwrap();
    assert!(owned.success());
    let soll = w.path("soll").display().to_string();
    let line = format!("shift; exec setpriv --reuid=65534 --regid=65534 --clear-groups {soll} \"$@\"");
    w.inside = ["sh", "-c", &line, "sh"].map(str::to_owned).to_vec();
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
    nothing_found(&w);
    let refused = w.read("refused");
    assert!(refused.matches("Permission denied").count() >= 2, "agent and controller are closed: {refused}");
}

#[test]
fn what_the_controller_starts_inherits_no_secret() {
    let mut w = world();
    // Stands in for git and ssh on the way to a repository elsewhere.
    for name in ["git", "ssh"] {
        w.write(&format!("bin/{name}"), "#!/bin/sh\n/usr/bin/env >> $DIR/inherited\nexit 1\n");
        std::fs::set_permissions(w.path(&format!("bin/{name}")), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
    }
    w.commit(&format!("{APP}[hosts.far]\naddress = \"far.invalid\"\n{}", env("staging", 'a', "hosts = [\"far\"]\n")));
    w.set("PATH", &format!("{}:/usr/bin:/bin", w.path("bin").display()));
    w.soll("plan");
    w.soll("plan --repo https://git.invalid/x.git").exits(1);
    let inherited = w.read("inherited");
    assert!(inherited.contains("PATH="), "both were started: {inherited}");
    assert!(inherited.contains("GIT_TERMINAL_PROMPT"), "git was started: {inherited}");
    for planted in [VALUE, PHRASE, "SOLL_SECRET", "SOLL_SSH_PASSPHRASE"] {
        assert!(!inherited.contains(planted), "{planted} was inherited: {inherited}");
    }
}
