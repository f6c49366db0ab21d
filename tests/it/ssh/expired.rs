//! Accounts that have run out, on a host that asks PAM: each of them lets the key in, and nobody else.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use super::server::{Seat, Sshd, me, world};
use crate::support::world::World;

const USER: u32 = 4242;

/// A host with an `/etc` of its own, in which the user `worn` has this line in `shadow`.
fn host(etc: &tempfile::TempDir, shadow: &str) -> (Sshd, World) {
    let dir = etc.path().display();
    let script = format!(
        "set -e; mount --make-rprivate /; cp -a /etc {dir}/etc; echo 'worn:x:{USER}:{USER}::/:/bin/sh' >> {dir}/etc/passwd; \
         echo 'worn:*:{shadow}' >> {dir}/etc/shadow; mount --bind {dir}/etc /etc; exec \"$@\""
    );
    let enter = ["unshare", "-m", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec();
    let seat = Seat { enter, address: "127.0.0.1".to_owned(), port: None };
    let sshd = Sshd::at(seat, &["ed25519"], "", "UsePAM yes");
    // The user reads its keys itself, and its agent lies in its home.
    fs::set_permissions(sshd.path(""), Permissions::from_mode(0o755)).unwrap();
    chown(sshd.home(), Some(USER), Some(USER)).unwrap();
    let world = world(&sshd);
    fs::set_permissions(world.path(""), Permissions::from_mode(0o755)).unwrap();
    world.edit(&format!("user = \"{}\"", me()), "user = \"worn\"");
    (sshd, world)
}

/// Runs the line that the message proposes for root, on the host.
#[track_caller]
fn run_line(sshd: &Sshd, said: &str) {
    let (_, rest) = said.split_once("as root on the host: `").unwrap_or_else(|| panic!("no line: {said}"));
    let line = rest.split('`').next().unwrap();
    let inside = sshd.pid().to_string();
    let done = Command::new("nsenter").args(["-m", "-t", &inside, "sh", "-c", line]).output().unwrap();
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn an_expired_password_is_told_with_its_own_cure() {
    let etc = tempfile::tempdir().unwrap();
    let (sshd, world) = host(&etc, "0:0:99999:7:::");
    let said = world.soll("plan staging").exits(6).says("password has expired").hides("forced command");
    run_line(&sshd, &format!("{}{}", said.stdout, said.stderr));
    world.soll("plan staging").exits(0);
}

#[test]
fn an_expired_account_is_told_with_its_own_cure() {
    let etc = tempfile::tempdir().unwrap();
    let (sshd, world) = host(&etc, "19000:0:99999:7::1:");
    let said = world.soll("plan staging").exits(6).says("account has expired").hides("authorized_keys");
    run_line(&sshd, &format!("{}{}", said.stdout, said.stderr));
    world.soll("plan staging").exits(0);
}
