//! Servers that were hardened by other rules: what they and this program have in common, and the line that helps where it is
//! nothing.

use super::server::{Sshd, world};

#[test]
fn a_server_that_knows_one_kind_of_exchange_is_understood() {
    let mut sshd = Sshd::new("");
    let world = world(&sshd);
    for one in ["ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521", "curve25519-sha256"] {
        sshd.again(&["ed25519"], &format!("KexAlgorithms {one}"));
        world.soll("plan staging").exits(0);
    }
    world.soll("apply").exits(0);
    assert_eq!(world.runs("staging"), "a");
}

#[test]
fn a_server_with_nothing_in_common_is_told_the_line_that_helps() {
    let mut sshd = Sshd::new("");
    let world = world(&sshd);
    for (key, only) in [("KexAlgorithms", "sntrup761x25519-sha512@openssh.com"), ("Ciphers", "aes128-cbc")] {
        sshd.again(&["ed25519"], &format!("{key} {only}"));
        let said = world.soll("plan staging").exits(6).says(only).hides("kex-strict");
        let all = format!("{}{}", said.stdout, said.stderr);
        let (_, rest) = all.split_once("let the line be `").unwrap_or_else(|| panic!("no line: {all}"));
        let line = rest.split('`').next().unwrap();
        assert!(line.starts_with(&format!("{key} {only},")), "{line}");
        sshd.again(&["ed25519"], line);
        world.soll("plan staging").exits(0);
    }
}
