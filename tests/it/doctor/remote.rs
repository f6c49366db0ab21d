//! The same on a host behind SSH: nothing here shares a file system with the controller.

use super::{found, one};
use crate::ssh::server::{Sshd, keygen, world, world_with};

#[test]
fn a_new_host_is_believed_only_when_a_person_says_so() {
    let sshd = Sshd::new("");
    let w = world(&sshd);
    w.write("known_hosts", "# nobody\n");
    let said = w.soll("doctor staging --output json").exits(6);
    one(&said, "connection", "fail: ");
    assert!(said.stdout.contains("--accept-new-host-keys"));
    assert_eq!(w.read("known_hosts"), "# nobody\n");
    let said = w.soll("doctor staging --accept-new-host-keys --output json").exits(1);
    one(&said, "host key", "warn: ssh-ed25519 SHA256:");
    one(&said, "agent", "ok: soll ");
    assert_eq!(w.read("known_hosts"), format!("# nobody\n{}", sshd.known("ed25519")));
    // A second look believes nothing new.
    let said = w.soll("doctor staging --accept-new-host-keys --output json").exits(1);
    assert_eq!(found(&said, "host key"), Vec::<String>::new());
}

#[test]
fn a_changed_key_is_never_believed() {
    let sshd = Sshd::new("");
    let w = world(&sshd);
    keygen(&w.path("other"), &["ed25519"], "");
    let other = format!("[127.0.0.1]:{} {}", sshd.port, w.read("other.pub"));
    w.write("known_hosts", &other);
    let said = w.soll("doctor staging --accept-new-host-keys --output json").exits(6);
    one(&said, "connection", "somebody is in between");
    assert_eq!(w.read("known_hosts"), other);
    assert_eq!(sshd.logins(), 0);
}

#[test]
fn a_server_is_provisioned_tried_and_deployed() {
    let sshd = Sshd::new("");
    let w = world_with(&sshd, "", "shared_files = [\".env\"]\n[[environments.staging.gates]]\nfile = \"index.html\"");
    w.write("mine.env", "KEY=hidden-1\n");
    w.soll("provision staging --env-file $DIR/mine.env").exits(0).hides("hidden-1");
    one(&w.soll("doctor staging --output json").exits(0), "clock", "ok: ");
    w.soll("preflight staging").exits(0).says("gate");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
}
