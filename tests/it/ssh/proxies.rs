//! Hosts that only a command leads to (`ProxyCommand`).

use super::server::{Sshd, me, world};
use crate::support::world::{World, until};

/// Carries bytes between its own pipes and a port, and notes its process and what it hears.
const RELAY: &str = r#"
import os, socket, sys, threading
open(os.path.join(os.path.dirname(__file__), "relay.pids"), "a").write(f"{os.getpid()}\n")
open(os.path.join(os.path.dirname(__file__), "relay.env"), "a").write("".join(name + "\n" for name in os.environ))
there = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def back():
    while data := there.recv(65536):
        os.write(1, data)
    os._exit(0)
threading.Thread(target=back, daemon=True).start()
while data := os.read(0, 65536):
    there.sendall(data)
"#;

/// A world whose host is `web`, which only these lines of the SSH configuration lead to.
fn led(sshd: &Sshd, lines: &str) -> World {
    let world = world(sshd);
    world.write("relay.py", RELAY);
    configured(&world, sshd, lines);
    world.edit(
        &format!("address = \"127.0.0.1\"\nuser = \"{}\"\nport = {}", me(), sshd.port),
        &format!("address = \"web\"\nuser = \"{}\"", me()),
    );
    world
}

fn configured(world: &World, sshd: &Sshd, lines: &str) {
    let known = format!("HostKeyAlias [127.0.0.1]:{}", sshd.port);
    world.write("ssh_config", &format!("Host web\n  HostName web.invalid\n  Port {}\n  {known}\n{lines}", sshd.port));
}

#[test]
fn a_command_leads_there_and_ends_with_the_connection() {
    let sshd = Sshd::new("");
    let mut world = led(&sshd, "  ProxyCommand python3 $DIR/relay.py 127.0.0.1 %p\n");
    world.set("SOLL_SECRET_TOKEN", "hunter22");
    world.soll("apply").exits(0);
    assert_eq!(world.runs("staging"), "a");
    let heard = world.read("relay.env");
    assert!(heard.lines().any(|name| name == "PATH") && !heard.contains("SOLL_"), "{heard}");
    for pid in world.read("relay.pids").lines() {
        let gone = || (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(());
        until("the relay has ended", gone);
    }
    // The tokens, and a shell's own words.
    configured(
        &world,
        &sshd,
        "  ProxyCommand test %h = web.invalid && test %n = web && python3 $DIR/relay.py 127.0.0.1 %p\n",
    );
    world.soll("plan staging").exits(6).says("ProxyCommand");
    configured(
        &world,
        &sshd,
        "  ProxyCommand sh -c 'test %h%n%% = web.invalidweb%% && exec python3 $DIR/relay.py 127.0.0.1 %p'\n",
    );
    world.soll("plan staging").exits(0);
    // The one of ssh itself, and one on the way of a jump.
    let gate = Sshd::new("");
    std::fs::copy(sshd.path("authorized"), gate.path("authorized")).unwrap();
    world.write("known_hosts", &format!("{}{}", sshd.known("ed25519"), gate.known("ed25519")));
    let through = format!(
        "  ProxyCommand ssh -F $DIR/ssh_config -i $DIR/key -o UserKnownHostsFile=$DIR/known_hosts -W 127.0.0.1:%p gate\n\
         Host gate\n  HostName 127.0.0.1\n  Port {}\n  User {}\n",
        gate.port,
        me()
    );
    configured(&world, &sshd, &through);
    world.soll("plan staging").exits(0);
    assert_eq!(gate.logins(), 1);
    let jump = format!(
        "  HostName 127.0.0.1\n  ProxyJump gate\nHost gate\n  User {}\n  Port {}\n  HostKeyAlias [127.0.0.1]:{}\n  \
         ProxyCommand python3 $DIR/relay.py 127.0.0.1 %p\n",
        me(),
        gate.port,
        gate.port
    );
    let known = format!("HostKeyAlias [127.0.0.1]:{}", sshd.port);
    world.write("ssh_config", &format!("Host web\n  Port {}\n  {known}\n{jump}", sshd.port));
    world.soll("plan staging").exits(0);
    assert_eq!(gate.logins(), 2);
}

#[test]
fn a_command_that_leads_nowhere_says_why() {
    let sshd = Sshd::new("");
    let world = led(&sshd, "  ProxyCommand sh -c 'echo no such tunnel >&2; exit 3'\n");
    world.soll("plan staging").exits(6).says("ended (exit status: 3) and said: no such tunnel");
    configured(&world, &sshd, "  ConnectTimeout 1\n  ProxyCommand sh -c 'echo waiting >&2; sleep 60'\n");
    world.soll("plan staging").exits(6).says("did not greet").says("said: waiting");
    configured(&world, &sshd, "  ProxyUseFdpass yes\n  ProxyCommand true\n");
    world.soll("plan staging").exits(6).says("ProxyUseFdpass no");
}

#[test]
fn an_address_is_no_part_of_a_command() {
    let sshd = Sshd::new("");
    let world = led(&sshd, "");
    world.write("ssh_config", "Host *\n  ProxyCommand echo %h %r\n");
    for word in ["web;touch${IFS}trap", "$(touch${IFS}trap)", "`touch`", "a'b"] {
        let text = world.read("state/desired-state.toml");
        let from = text.lines().find(|line| line.starts_with("address = ")).unwrap().to_owned();
        world.edit(&from, &format!("address = {word:?}"));
        let ran = world.soll("plan staging");
        assert_ne!(ran.exit, 0, "{word}");
    }
    assert!(!world.path("trap").exists());
}
