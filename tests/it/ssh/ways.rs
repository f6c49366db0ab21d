//! The way to a host: ports, jump hosts, the SSH configuration, and hosts that do not answer.

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::server::{Sshd, me, world, world_with};
use crate::support::world::{env, until};

#[test]
fn a_wrong_port_is_named_with_its_cure_and_blocks() {
    let sshd = Sshd::new("");
    let world = world(&sshd);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    world.edit(&format!("port = {}", sshd.port), &format!("port = {closed}"));
    let plan = world.soll("plan staging --output json").exits(6).json();
    let seen = &plan["environments"][0];
    assert_eq!(seen["sync"], "unknown");
    assert_eq!(seen["hosts"][0]["reachable"], false);
    let blocker = seen["blockers"].as_array().unwrap().iter().find(|b| b["code"] == "unreachable").unwrap();
    let message = blocker["message"].as_str().unwrap();
    for part in ["web1", &format!("127.0.0.1:{closed}"), "connect", "refused", "is the port right"] {
        assert!(message.contains(part), "`{part}` is not in {message}");
    }
    world.soll("apply").exits(6).says("refused");
    world.soll("status").says("unknown");
}

#[test]
fn an_unreachable_host_holds_up_no_other() {
    let sshd = Sshd::new("");
    let world = world(&sshd);
    // It accepts and never greets.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let text = world.read("state/desired-state.toml");
    let more =
        format!("\n[hosts.dead]\naddress = \"127.0.0.1\"\nport = {port}\n{}", env("dead", 'a', "hosts = [\"dead\"]"));
    world.commit(&(text + &more));
    world.write("ssh_config", "ConnectTimeout 2\n");
    let run = world.start("apply", "log");
    until("the other one is served", || (world.runs("staging") == "a").then_some(()));
    assert_eq!(run.wait(), Some(6), "{}", world.read("log"));
    world.soll("plan dead").exits(6).says("did not greet");
}

#[test]
fn a_jump_host_is_gone_through() {
    let gate = Sshd::new("");
    let sshd = Sshd::new("");
    let world = world(&sshd);
    // One key for both, and both are known.
    std::fs::copy(sshd.path("authorized"), gate.path("authorized")).unwrap();
    world.write("known_hosts", &format!("{}{}", sshd.known("ed25519"), gate.known("ed25519")));
    let config = format!(
        "Host gate\n  HostName 127.0.0.1\n  Port {}\n  User {}\nHost web\n  HostName 127.0.0.1\n  Port {}\n  ProxyJump gate\n",
        gate.port,
        me(),
        sshd.port
    );
    world.write("ssh_config", &config);
    world.edit(
        &format!("address = \"127.0.0.1\"\nuser = \"{}\"\nport = {}", me(), sshd.port),
        &format!("address = \"web\"\nuser = \"{}\"", me()),
    );
    world.soll("apply").exits(0);
    assert_eq!(world.runs("staging"), "a");
    assert_eq!(gate.logins(), 1, "{}", gate.log());
    // The gate is a host like any other: it must be known.
    world.write("known_hosts", &sshd.known("ed25519"));
    world.soll("plan staging").exits(6).says("host key").says(&format!("127.0.0.1:{}", gate.port));
    world.write("ssh_config", &config.replace("Host web\n", "Host gate\n  ProxyJump web\nHost web\n"));
    world.soll("plan staging").exits(6).says("circle");
    world.write("ssh_config", &config.replace("ProxyJump gate", "ProxyCommand false"));
    world.soll("plan staging").exits(6).says("`ProxyCommand false` ended");
    world.write("ssh_config", "Nonsense yes\n");
    world.soll("plan staging").exits(6).says("SSH configuration");
}

#[test]
fn without_the_program_ssh_its_defaults_hold() {
    let sshd = Sshd::new("");
    let mut world = world_with(&sshd, "", "");
    std::fs::create_dir(world.path("bin")).unwrap();
    for name in ["git", "sh"] {
        let real = String::from_utf8(Command::new("which").arg(name).output().unwrap().stdout).unwrap();
        symlink(real.trim(), world.path("bin").join(name)).unwrap();
    }
    world.set("PATH", "$DIR/bin");
    world.soll("plan staging").exits(6).says("without the program `ssh`");
    world.set("SOLL_SSH_CONFIG", "");
    world.set("SOLL_SSH_KEY", "");
    world.set("SOLL_KNOWN_HOSTS", "");
    std::fs::create_dir(world.path("home/.ssh")).unwrap();
    std::fs::copy(sshd.path("key"), world.path("home/.ssh/id_ed25519")).unwrap();
    world.write("home/.ssh/known_hosts", &sshd.known("ed25519"));
    world.soll("apply").exits(0);
    assert_eq!(world.runs("staging"), "a");
}
