//! A host is who its key says, and only a key that is known counts.

use super::server::{Sshd, keygen, world};

#[test]
fn an_unknown_host_is_refused_with_its_fingerprint_and_the_line_that_would_make_it_known() {
    let sshd = Sshd::new("");
    let world = world(&sshd);
    world.write("known_hosts", "# nobody\n");
    let said = world.soll("plan staging").exits(6);
    said.says("unreachable").says("SHA256:").says("ssh-keygen -lf").says(sshd.known("ed25519").trim());
    world.soll("apply").exits(6).says("host key");
    assert_eq!(world.read("known_hosts"), "# nobody\n", "nothing is learned by connecting");
    assert_eq!(sshd.logins(), 0);
}

#[test]
fn a_changed_or_revoked_key_is_refused() {
    let sshd = Sshd::new("");
    let world = world(&sshd);
    keygen(&world.path("other"), &["ed25519"], "");
    let other = world.read("other.pub");
    world.write("known_hosts", &format!("[127.0.0.1]:{} {other}", sshd.port));
    world.soll("apply").exits(6).says("somebody is in between").says("known_hosts:1");
    world.write("known_hosts", &format!("{}@revoked * {}\n", sshd.known("ed25519"), sshd.public("ed25519")));
    world.soll("apply").exits(6).says("known_hosts:2 revokes");
    world.write("known_hosts", &format!("@cert-authority * {}\n", sshd.public("ed25519")));
    world.soll("apply").exits(6).says("@cert-authority");
    assert_eq!(sshd.logins(), 0);
}

#[test]
fn a_host_is_found_by_hash_and_by_the_kind_of_key_that_is_known() {
    let sshd = Sshd::with(&["ed25519", "rsa", "ecdsa"], "", "");
    let world = world(&sshd);
    // Hashed by OpenSSH itself.
    let hashed =
        std::process::Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(world.path("known_hosts")).output();
    assert!(hashed.unwrap().status.success());
    assert!(world.read("known_hosts").starts_with("|1|"));
    world.soll("apply").exits(0);
    // It would rather show its ed25519 key, and is asked for the one that is known.
    for kind in ["rsa", "ecdsa"] {
        world.write("known_hosts", &sshd.known(kind));
        world.soll("plan staging").exits(0).says("in sync");
    }
}
