//! A host is one machine: another one under its name gets nothing until a person takes it. Each host is an sshd with an
//! `/etc` of its own, whose machine id the test changes.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::ssh::server::{Seat, Sshd, world, world_with};
use crate::support::site::Process;
use crate::support::world::{Ran, World, env, until};

const ONE: &str = "00000000000000000000000000000001";
const TWO: &str = "00000000000000000000000000000002";

/// A copy of `/etc`, for whoever is started in it.
struct Etc(tempfile::TempDir);

impl Etc {
    fn of(id: &str) -> Etc {
        let etc = Etc(tempfile::tempdir().unwrap());
        // What another test writes there meanwhile may be gone before it is copied, and is not missed.
        let _ = Command::new("cp").args(["-a", "/etc"]).arg(etc.0.path().join("etc")).output().unwrap();
        assert!(etc.0.path().join("etc/passwd").exists(), "/etc cannot be copied: is this test run as root?");
        etc.says(Some(id));
        etc
    }

    /// Its machine id from now on.
    fn says(&self, id: Option<&str>) {
        let place = self.0.path().join("etc/machine-id");
        match id {
            // Put in its place at once: nobody reads half of one.
            Some(id) => {
                fs::write(self.0.path().join("next"), format!("{id}\n")).unwrap();
                fs::rename(self.0.path().join("next"), place).unwrap();
            }
            None => {
                let _ = fs::remove_file(place);
            }
        }
    }

    /// Words before those of a program that is to run in it.
    fn inside(&self) -> Vec<String> {
        let enter = format!("mount --bind {}/etc /etc && exec \"$@\"", self.0.path().display());
        ["unshare", "--mount", "sh", "-c", &enter, "sh"].map(str::to_owned).to_vec()
    }
}

/// A host behind SSH.
struct Server {
    etc: Etc,
    sshd: Sshd,
}

impl Server {
    fn new() -> Server {
        let etc = Etc::of(ONE);
        let seat = Seat { enter: etc.inside(), address: "127.0.0.1".to_owned(), port: None };
        let sshd = Sshd::at(seat, &["ed25519"], "", "");
        Server { etc, sshd }
    }
}

/// What the record of a root names.
fn machine(world: &World, root: &str) -> Value {
    world.record(root)["machine"]["id"].clone()
}

fn refused(ran: Ran, why: &str) -> Ran {
    ran.says(why).says("soll acknowledge --host web1")
}

const REPLACED: &str = "another machine answers under this name";
const CLONED: &str = "the disk was cloned, restored or moved";

#[test]
fn a_replaced_server_gets_nothing_until_a_person_takes_it() {
    let server = Server::new();
    let w = world(&server.sshd);
    w.edit("[apps.web.health]", "shared_files = [\".env\"]\n[apps.web.health]");
    w.write("staging/shared/.env", "KEY=of this customer\n");
    w.soll("doctor staging --output json").says("to be noted at the first plan");
    w.soll("apply").exits(0);
    let first = machine(&w, "staging");
    assert!(first.is_string(), "{:#}", w.record("staging"));
    w.soll("doctor staging").says("as it has been known since");

    // Another one stands there, with an empty disk.
    server.etc.says(Some(TWO));
    fs::rename(w.path("staging"), w.path("gone")).unwrap();
    w.edit("<a>", "<b>");
    let plan = refused(w.soll("plan --output json").exits(6), REPLACED).json();
    let staging = &plan["environments"][0];
    assert_eq!((&plan["verdict"], &staging["verdict"]), (&json!("blocked"), &json!("NO-GO")), "{plan:#}");
    assert_eq!(staging["blockers"][0]["code"], "other-machine", "{plan:#}");
    assert_eq!((&staging["hosts"][0]["reachable"], &staging["steps"]), (&json!(false), &json!([])), "{plan:#}");
    for line in ["apply", "retry staging", "stop staging", "start staging", "plan", "diff staging"] {
        refused(w.soll(line).exits(6), REPLACED);
    }
    for line in ["status", "why staging"] {
        refused(w.soll(line).exits(0), REPLACED);
    }
    w.write("env", "KEY=of this customer\n");
    for line in ["doctor staging", "preflight staging", "provision staging --env-file $DIR/env"] {
        refused(w.soll(line).exits(1), REPLACED);
    }
    // So says the plan of a commit that is only text, too.
    w.git(&["branch", "proposal"]);
    w.git(&["commit", "-q", "--allow-empty", "-m", "a proposal"]);
    w.git(&["branch", "-f", "proposal"]);
    w.git(&["reset", "-q", "--hard", "HEAD~1"]);
    refused(w.soll("plan --ref proposal").exits(6), REPLACED);
    assert!(!w.path("staging").exists(), "something was made there");

    // Nobody can be asked here, so it has to be said.
    let asked = w.soll("acknowledge --host web1").exits(1).says(REPLACED).says("--yes");
    asked.says(&first.as_str().unwrap()[..12]);
    w.soll("plan").exits(6);
    w.soll("acknowledge --host web1 --yes").exits(0).says("from now on");
    w.soll("acknowledge --host web1").exits(0).says("nothing to accept");
    w.soll("provision staging --env-file $DIR/env").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
    let second = machine(&w, "staging");
    assert!(second.is_string() && second != first, "{second}");
    w.soll("plan --detailed-exitcode").exits(0);

    // And the first one is another one now.
    server.etc.says(Some(ONE));
    refused(w.soll("apply").exits(6), REPLACED);
}

#[test]
fn a_cloned_disk_is_refused_by_a_controller_without_memory() {
    let server = Server::new();
    let w = world(&server.sshd);
    w.soll("apply").exits(0);
    server.etc.says(Some(TWO));
    w.edit("<a>", "<b>");
    let record = w.read("staging/.soll/record.json");
    for line in ["plan", "apply", "retry staging"] {
        refused(w.soll(&format!("{line} --state-dir $DIR/fresh")).exits(6), CLONED);
    }
    assert_eq!((w.read("staging/.soll/record.json"), w.runs("staging")), (record, "a".into()));
    // Taken with the old controller: both notes are told, and the other one has nothing against it.
    w.soll("acknowledge --host web1 --yes").exits(0).says(REPLACED).says(CLONED);
    w.soll("apply --state-dir $DIR/fresh").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn the_same_machine_with_an_empty_disk_is_deployed_to() {
    let server = Server::new();
    let w = world(&server.sshd);
    w.soll("apply").exits(0);
    fs::remove_dir_all(w.path("staging")).unwrap();
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
}

#[test]
fn a_host_that_is_exchanged_between_look_and_lock_gets_nothing() {
    let server = Server::new();
    let mut w = world(&server.sshd);
    w.soll("apply").exits(0);
    fs::remove_dir_all(w.path("staging")).unwrap();
    w.set("SOLL_FAULT", "stop:run.before-acquire");
    let mut run = w.start("apply", "log");
    let process = Process { pid: run.child.id().cast_signed(), words: String::new() };
    until("the run stands before its lock", || {
        assert!(run.child.try_wait().unwrap().is_none(), "{}", w.read("log"));
        process.stands_still().then_some(())
    });
    server.etc.says(Some(TWO));
    process.kill(rustix::process::Signal::CONT);
    assert_eq!(run.wait(), Some(6), "{}", w.read("log"));
    assert!(!w.path("staging").exists(), "something was made there");
    w.set("SOLL_FAULT", "");
    refused(w.soll("plan").exits(6), REPLACED);
}

#[test]
fn a_machine_without_an_id_works_and_is_told() {
    let server = Server::new();
    let w = world(&server.sshd);
    for none in [None, Some(""), Some("uninitialized")] {
        server.etc.says(none);
        w.soll("doctor staging --output json").says("it has no machine id");
        w.soll("apply").exits(0);
    }
    assert_eq!(machine(&w, "staging"), Value::Null);
    // It gets one, which is noted, and loses it again.
    server.etc.says(Some(ONE));
    w.soll("plan --detailed-exitcode").exits(0);
    w.edit("<a>", "<b>");
    w.soll("apply").exits(0);
    assert!(machine(&w, "staging").is_string());
    server.etc.says(None);
    refused(w.soll("apply").exits(6), "one without a machine id");
    w.soll("acknowledge --host web1 --yes").exits(0).says("has no machine id");
    w.edit("<b>", "<a>");
    w.soll("apply").exits(0);
    assert_eq!((w.runs("staging"), machine(&w, "staging")), ("a".into(), Value::Null));
}

#[test]
fn the_loop_goes_on_elsewhere_and_with_this_one_once_a_person_took_it() {
    let server = Server::new();
    let w = world_with(&server.sshd, "", &env("here", 'a', ""));
    w.soll("apply").exits(0);
    server.etc.says(Some(TWO));
    let state = w.read("state/desired-state.toml");
    w.commit(&state.replace(&w.fill("<a>"), &w.fill("<b>")));
    let daemon = w.start("run", "log");
    until("the other environment goes on", || (w.runs("here") == "b").then_some(()));
    until("it is told", || w.read("log").contains(REPLACED).then_some(()));
    assert_eq!(w.runs("staging"), "a");
    w.soll("acknowledge --host web1 --yes").exits(0);
    until("it goes on here, too", || (w.runs("staging") == "b").then_some(()));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn this_machine_is_no_exception() {
    let etc = Etc::of(ONE);
    let mut w = World::with(&env("staging", 'a', ""));
    w.inside = etc.inside();
    w.soll("apply").exits(0);
    etc.says(Some(TWO));
    w.edit("<a>", "<b>");
    w.soll("apply").exits(6).says(REPLACED).says("soll acknowledge --host local");
    assert_eq!(w.runs("staging"), "a");
    w.soll("acknowledge --host local --yes").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
}
