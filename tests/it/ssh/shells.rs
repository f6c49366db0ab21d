//! Login shells: some talk, some are no POSIX shells, some run nothing.

use std::fs;

use super::server::{Sshd, world};

fn behind(shell: &str) -> Sshd {
    Sshd::with(&["ed25519"], &format!("command=\"exec {shell} -c \\\"$SSH_ORIGINAL_COMMAND\\\"\" "), "")
}

#[test]
fn shells_that_are_no_posix_shells_do() {
    for shell in ["fish", "tcsh", "dash", "bash"] {
        let sshd = behind(shell);
        let world = world(&sshd);
        world.soll("apply").exits(0);
        assert_eq!(world.runs("staging"), "a", "{shell}");
    }
}

#[test]
fn what_a_profile_prints_is_skipped_unless_it_does_not_end() {
    let sshd = Sshd::new("");
    let world = world(&sshd);
    fs::write(sshd.home().join(".bashrc"), "echo Welcome; echo to the machine; printf 'no line end'\n").unwrap();
    world.soll("apply").exits(0);
    assert_eq!(world.runs("staging"), "a");
    fs::write(sshd.home().join(".bashrc"), "yes 'buy more disks' | head -c 200000\n").unwrap();
    world.soll("plan staging").exits(6).says("buy more disks").says("64 KiB").says("profile");
}

#[test]
fn an_account_that_runs_no_commands_is_told_so() {
    let sshd = Sshd::with(&["ed25519"], "command=\"echo $SSH_ORIGINAL_COMMAND; exit 3\" ", "");
    let world = world(&sshd);
    world.soll("apply").exits(6).says("exit code 3").says("forced command");
    let sshd = behind("/usr/sbin/nologin");
    let world = super::server::world(&sshd);
    world.soll("apply").exits(6).says("This account is currently not available");
}
