//! Who may log in: keys of every kind, encrypted ones, an agent; and what is said where none will do.

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use super::server::{Sshd, keygen, world};
use crate::support::world::until;

/// Ends with the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn keys_of_every_kind_open_and_an_encrypted_one_with_its_passphrase() {
    let sshd = Sshd::new("");
    let mut world = world(&sshd);
    for (name, kind) in [
        ("rsa", &["rsa", "-b", "2048"][..]),
        ("rsa_pem", &["rsa", "-b", "2048", "-m", "PEM"]),
        ("ec256", &["ecdsa", "-b", "256"]),
        ("ec384", &["ecdsa", "-b", "384"]),
    ] {
        keygen(&world.path(name), kind, "");
        sshd.allow(&world.path(name));
        world.set("SOLL_SSH_KEY", &format!("$DIR/{name}"));
        world.soll("plan staging").exits(0).says("web1");
    }
    keygen(&world.path("closed"), &["ed25519"], "correct horse");
    sshd.allow(&world.path("closed"));
    world.set("SOLL_SSH_KEY", "$DIR/closed");
    world.soll("plan staging").exits(6).says("SOLL_SSH_PASSPHRASE").says("closed");
    world.set("SOLL_SSH_PASSPHRASE", "wrong horse");
    world.soll("plan staging").exits(6).says("does not open it").hides("wrong horse");
    world.set("SOLL_SSH_PASSPHRASE", "correct horse");
    world.soll("plan staging").exits(0).hides("correct horse");
}

#[test]
fn an_agent_opens_with_and_without_a_named_key() {
    let sshd = Sshd::new("");
    let mut world = world(&sshd);
    let socket = world.path("agent.sock");
    let child = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    let _agent = Agent(child);
    until("the agent listens", || socket.exists().then_some(()));
    keygen(&world.path("other"), &["rsa"], "");
    for key in ["other", "key"] {
        let added = Command::new("ssh-add").arg("-q").arg(world.path(key)).env("SSH_AUTH_SOCK", &socket).status();
        assert!(added.unwrap().success());
    }
    world.set("SSH_AUTH_SOCK", "$DIR/agent.sock");
    world.set("SOLL_SSH_KEY", "");
    world.soll("plan staging").exits(0).says("web1");
    // A key of the agent's that is named by its public half alone; no other one is offered.
    std::fs::copy(sshd.path("key.pub"), world.path("half.pub")).unwrap();
    world.set("SOLL_SSH_KEY", "$DIR/half");
    world.soll("plan staging").exits(0);
    std::fs::copy(world.path("other.pub"), world.path("half.pub")).unwrap();
    world.soll("plan staging").exits(6).says("login");
}

#[test]
fn a_refused_login_says_what_was_tried() {
    let sshd = Sshd::new("");
    let mut world = world(&sshd);
    keygen(&world.path("stranger"), &["ed25519"], "");
    world.set("SOLL_SSH_KEY", "$DIR/stranger");
    world.soll("apply").exits(6).says("the host refuses").says("stranger (SHA256:").says("authorized_keys");
    world.set("SOLL_SSH_KEY", "$DIR/nowhere");
    world.soll("apply").exits(6).says("no key to log in with").says("nowhere");
}

#[test]
fn a_key_that_others_may_read_is_no_reason_to_fail_but_rubbish_is_named() {
    let sshd = Sshd::new("");
    let world = world(&sshd);
    std::fs::set_permissions(world.path("key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    world.soll("plan staging").exits(0);
    world.write("key", "no key at all");
    world
        .soll("plan staging")
        .exits(6)
        .says("$DIR/key".replace("$DIR", world.path("").to_str().unwrap().trim_end_matches('/')).as_str());
}
