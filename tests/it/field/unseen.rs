//! Hosts that are not seen: one cause, one cure, one exit code, whatever was asked.

use crate::ssh::server::{Sshd, world};
use crate::support::world::{World, env};

/// What people ask about one environment.
const ASKED: [&str; 17] = [
    "plan staging",
    "apply staging",
    "wait staging --timeout 100ms",
    "approve staging",
    "reject staging --reason no",
    "promote staging production",
    "promote staging production --running",
    "rollback staging",
    "rollback staging --to 20250101120000",
    "retry staging",
    "stop staging",
    "start staging",
    "cancel staging",
    "adopt staging",
    "provision staging",
    "preflight staging",
    "acknowledge --host web1",
];

#[test]
fn a_host_that_is_down_is_one_whatever_is_asked() {
    let mut w = World::with(&format!(
        "\n[hosts.web1]\naddress = \"127.0.0.1\"\nport = 1\n{}{}",
        env("staging", 'a', "hosts = [\"web1\"]"),
        env("production", 'a', "")
    ));
    w.write("none", "");
    w.set("SOLL_SSH_CONFIG", "$DIR/none");
    w.set("SOLL_KNOWN_HOSTS", "$DIR/none");
    let head = w.head();
    for line in ASKED {
        w.soll(line).exits(6).says("127.0.0.1:1: connect: ");
    }
    assert_eq!(w.head(), head);
    // What only looks says that nothing is known of it, not that nothing runs there.
    w.soll("diff staging").exits(6).says("runs unknown").says("127.0.0.1:1: connect: ").hides("runs nothing");
    w.soll("status staging").exits(0).says("aaaaaaaa  unknown").hides("aaaaaaaa  nothing");
    // To go on without it is the cure of a host that is away.
    w.soll("plan staging").exits(6).says("unreachable = \"skip\"");
}

#[test]
fn an_unknown_key_is_mended_by_knowing_it_and_by_nothing_else() {
    let sshd = Sshd::new("");
    let w = world(&sshd);
    let production = env("production", 'a', "");
    w.commit(&format!("{}{production}", w.read("state/desired-state.toml")));
    w.write("known_hosts", "");
    for line in ASKED {
        w.soll(line).exits(6).says("host key: ").says("ssh-keygen -lf").hides("unreachable = \"skip\"");
    }
    let blocker = &w.soll("plan staging --output json").json()["environments"][0]["blockers"][0];
    assert_eq!(blocker["code"], "unreachable");
    assert!(blocker["fix"].as_str().unwrap().contains("ssh-keygen -lf"), "{blocker}");
    assert!(!blocker["message"].as_str().unwrap().contains("ssh-keygen -lf"), "said once: {blocker}");
    w.soll("doctor staging --accept-new-host-keys");
    w.soll("apply staging").exits(0);
}
