//! Certificates: of people, whom sshd lets in by the word of an authority, and of hosts, which are believed by it. What ssh
//! does with the same configuration is asked each time.

use std::path::Path;
use std::process::{Command, Stdio};

use super::logins::agent;
use super::server::{Sshd, keygen, me, world};
use crate::support::world::World;

/// Signs a public key: writes `KEY-cert.pub` beside it.
fn sign(authority: &Path, more: &[&str], public: &Path) {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-I", "test", "-s"]).arg(authority).args(more).arg(public);
    assert!(keygen.status().unwrap().success(), "ssh-keygen -s {more:?}");
}

fn public(path: &Path) -> String {
    std::fs::read_to_string(path.with_extension("pub")).unwrap()
}

/// The configuration that ssh and the program read, with more lines.
fn configured(world: &World, more: &str) {
    let known = world.path("known_hosts");
    world.write("ssh_config", &format!("UserKnownHostsFile {}\nGlobalKnownHostsFile none\n{more}", known.display()));
}

/// What ssh itself does there.
fn ssh_goes_in(world: &World, sshd: &Sshd) -> bool {
    let mut ssh = world.program("ssh");
    ssh.arg("-F").arg(world.path("ssh_config")).args(["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-i"]);
    ssh.arg(world.path("key")).args(["-p", &sshd.port.to_string(), "-l", &me(), "127.0.0.1", "true"]);
    ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

#[test]
fn who_logs_in_is_vouched_for() {
    let sshd = Sshd::new("");
    let mut world = world(&sshd);
    keygen(&world.path("authority"), &["rsa", "-b", "2048"], "");
    std::fs::write(sshd.path("trusted"), public(&world.path("authority"))).unwrap();
    std::fs::write(sshd.path("authorized"), "").unwrap();
    let mut sshd = sshd;
    let trusts = format!("TrustedUserCAKeys {}", sshd.path("trusted").display());
    sshd.again(&["ed25519"], &trusts);
    keygen(&world.path("key2"), &["ed25519"], "");
    let name = me();
    std::fs::copy(sshd.path("key.pub"), world.path("key.pub")).unwrap();
    configured(&world, "");
    // Beside its key.
    world.soll("plan staging").exits(6).says("the host refuses").says("authorized_keys");
    sign(&world.path("authority"), &["-n", &name], &world.path("key.pub"));
    assert!(ssh_goes_in(&world, &sshd));
    world.soll("apply").exits(0);
    // By its own name, and by the agent.
    std::fs::rename(world.path("key-cert.pub"), world.path("apart.pub")).unwrap();
    world.soll("plan staging").exits(6);
    configured(&world, &format!("CertificateFile {}\n", world.path("apart.pub").display()));
    assert!(ssh_goes_in(&world, &sshd));
    world.soll("plan staging").exits(0);
    std::fs::copy(world.path("apart.pub"), world.path("key-cert.pub")).unwrap();
    let held = agent(&world.path("agent.sock"), &[&world.path("key")]);
    std::fs::remove_file(world.path("key-cert.pub")).unwrap();
    configured(&world, "IdentityFile none\n");
    world.set("SSH_AUTH_SOCK", "$DIR/agent.sock");
    world.set("SOLL_SSH_KEY", "");
    world.soll("plan staging").exits(0);
    drop(held);
    world.set("SSH_AUTH_SOCK", "");
    world.set("SOLL_SSH_KEY", "$DIR/key");
    configured(&world, &format!("CertificateFile {}\n", world.path("apart.pub").display()));
    // Not for this user, and not any more.
    for (more, said) in [
        (&["-n", "nobody-here"][..], "is among its principals"),
        (&["-n", &name, "-V", "20200101:20200102"], "the certificate expired at 2020-01-"),
        (&["-n", &name, "-h"], "it is a certificate for hosts"),
    ] {
        sign(&world.path("authority"), more, &world.path("key.pub"));
        std::fs::rename(world.path("key-cert.pub"), world.path("apart.pub")).unwrap();
        assert!(!ssh_goes_in(&world, &sshd), "{more:?}");
        world.soll("plan staging").exits(6).says(said);
    }
    world.set("SOLL_SSH_KEY", "$DIR/key2");
    world.soll("plan staging").exits(6).says("the host refuses");
}

/// An sshd whose host key the authority has signed, and a world that trusts that authority.
fn vouched(more: &[&str]) -> (Sshd, World) {
    let mut sshd = Sshd::new("");
    let world = world(&sshd);
    keygen(&world.path("authority"), &["ed25519"], "");
    signed(&mut sshd, &world, more);
    trusting(&world, "127.0.0.1");
    configured(&world, "");
    (sshd, world)
}

fn signed(sshd: &mut Sshd, world: &World, more: &[&str]) {
    sign(&world.path("authority"), &[&["-h"], more].concat(), &sshd.path("host_ed25519.pub"));
    let shown = format!("HostCertificate {}", sshd.path("host_ed25519-cert.pub").display());
    sshd.again(&["ed25519"], &shown);
}

fn trusting(world: &World, names: &str) {
    world.write("known_hosts", &format!("@cert-authority {names} {}", public(&world.path("authority"))));
}

#[test]
fn a_host_that_its_authority_has_signed_is_known() {
    let (mut sshd, world) = vouched(&["-n", "127.0.0.1,web.example.com"]);
    assert!(ssh_goes_in(&world, &sshd));
    world.soll("apply").exits(0);
    for names in ["*", "[127.0.0.1]:*", "127.*,other"] {
        trusting(&world, names);
        assert!(ssh_goes_in(&world, &sshd), "{names}");
        world.soll("plan staging").exits(0);
    }
    // One without names counts for every host of its authority; a pattern is no name.
    signed(&mut sshd, &world, &[]);
    world.soll("plan staging").exits(0);
    signed(&mut sshd, &world, &["-n", "127.0.0.*"]);
    assert!(!ssh_goes_in(&world, &sshd));
    world.soll("plan staging").exits(6).says("it is for 127.0.0.*, not for 127.0.0.1");
    // It is the name of the configuration that counts.
    signed(&mut sshd, &world, &["-n", "web.example.com"]);
    configured(&world, "HostKeyAlias web.example.com\n");
    trusting(&world, "*.example.com");
    assert!(ssh_goes_in(&world, &sshd));
    world.soll("plan staging").exits(0);
}

#[test]
fn a_certificate_that_does_not_count_is_refused_with_the_reason() {
    let (mut sshd, world) = vouched(&["-n", "other.example.com"]);
    for (more, said) in [
        (&["-n", "other.example.com"][..], "it is for other.example.com, not for 127.0.0.1"),
        (&["-n", "127.0.0.1", "-V", "20200101:20200102"], "the certificate expired at 2020-01-"),
        (&["-n", "127.0.0.1", "-V", "20990101:20990102"], "the certificate is valid only from 2099-01-01"),
    ] {
        signed(&mut sshd, &world, more);
        assert!(!ssh_goes_in(&world, &sshd), "{more:?}");
        world.soll("plan staging").exits(6).says("with a certificate that SHA256:").says(said).says("ssh-keygen -s");
    }
    // The key in it is known by itself.
    let known = world.read("known_hosts");
    world.write("known_hosts", &format!("{known}{}", sshd.known("ed25519")));
    world.soll("plan staging").exits(0);
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 1);
}

#[test]
fn an_authority_that_nobody_trusts_here_or_any_more_counts_for_nothing() {
    let (sshd, world) = vouched(&["-n", "127.0.0.1"]);
    let known = world.read("known_hosts");
    trusting(&world, "*.example.com");
    world.soll("plan staging").exits(6).says("host key");
    keygen(&world.path("other"), &["ed25519"], "");
    world.write("known_hosts", &format!("@cert-authority * {}", public(&world.path("other"))));
    assert!(!ssh_goes_in(&world, &sshd));
    world.soll("plan staging").exits(6).says("trusts another authority, SHA256:");
    for withdrawn in [public(&world.path("authority")), sshd.public("ed25519") + "\n"] {
        world.write("known_hosts", &format!("{known}@revoked * {withdrawn}"));
        assert!(!ssh_goes_in(&world, &sshd));
        world.soll("plan staging").exits(6).says("known_hosts:2 revokes");
    }
    world.write("known_hosts", &known);
    assert!(ssh_goes_in(&world, &sshd));
    world.soll("plan staging").exits(0);
    // By RevokedHostKeys: a list of keys, and a KRL that names the certificate.
    world.write("list", &(sshd.public("ed25519") + "\n"));
    let mut krl = Command::new("ssh-keygen");
    krl.args(["-q", "-k", "-f"]).arg(world.path("krl")).arg(sshd.path("host_ed25519-cert.pub"));
    assert!(krl.status().unwrap().success());
    for file in ["list", "krl"] {
        configured(&world, &format!("RevokedHostKeys {}\n", world.path(file).display()));
        assert!(!ssh_goes_in(&world, &sshd));
        world.soll("plan staging").exits(6).says(&format!("{} revokes", world.path(file).display()));
    }
    configured(&world, "RevokedHostKeys /nowhere\n");
    assert!(!ssh_goes_in(&world, &sshd));
    world.soll("plan staging").exits(6).says("RevokedHostKeys").says("cannot be read");
    keygen(&world.path("elses"), &["ed25519"], "");
    configured(&world, &format!("RevokedHostKeys {}\n", world.path("elses.pub").display()));
    world.soll("plan staging").exits(0);
}

#[test]
fn a_host_without_a_certificate_is_told_how_to_show_one() {
    let (mut sshd, world) = vouched(&["-n", "127.0.0.1"]);
    sshd.again(&["ed25519"], "");
    world.soll("plan staging").exits(6).says("but the host shows no certificate").says("HostCertificate");
    assert_eq!(sshd.logins(), 0);
}
