//! Pull mode: servers that nobody reaches, each of which reconciles itself from the same state repository.

use crate::support::web::{free_port, get};
use crate::support::world::{World, until};

/// Two servers of one environment, reached by nobody, and a third one that has nothing to do with them. Each has a history
/// of its own.
fn servers(more: &str) -> World {
    let hosts: String =
        ["web1", "web2", "far"].map(|name| format!("[hosts.{name}]\naddress = \"{name}.example.com\"\n")).concat();
    let environments = "[environments.pair]\nrelease = \"<a>\"\nhosts = [\"web1\", \"web2\"]\nroot = \"$DIR/pair/{host}\"\n\
        MORE\n[environments.other]\nrelease = \"<a>\"\nhosts = [\"far\"]\nroot = \"$DIR/other\"\n";
    World::with(&format!("{hosts}{}", environments.replace("MORE", more)))
}

const MIGRATES: &str =
    "[[environments.pair.hooks]]\nname = \"schema\"\nphase = \"migrate\"\nrun = \"echo {host} >> $DIR/migrated\"\n";

/// `soll LINE` as it runs on a server.
fn on(w: &World, host: &str, line: &str) -> crate::support::world::Ran {
    w.soll(&format!("{line} --host {host} --state-dir $DIR/ctl-{host}"))
}

fn runs(w: &World) -> [String; 2] {
    [w.runs("pair/web1"), w.runs("pair/web2")]
}

/// What the loop on a server publishes.
fn published(w: &World, host: &str, file: &str) {
    let address = format!("127.0.0.1:{}", free_port());
    let line = format!("run --host {host} --state-dir $DIR/ctl-{host} --listen {address}");
    let daemon = w.start(&line, "daemon.log");
    w.write(file, &until("it publishes", || get(&address, "/observation")));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn each_server_reconciles_itself_and_leaves_the_others_alone() {
    let w = servers("");
    on(&w, "web1", "plan --detailed-exitcode").exits(2).says("left out, because each host looks after itself: web2");
    on(&w, "web1", "apply").exits(0).hides("far").hides("other:");
    assert_eq!(runs(&w), ["a", ""]);
    on(&w, "web1", "plan --detailed-exitcode").exits(0);
    let plan = on(&w, "web2", "plan --output json").exits(0).json();
    let names: Vec<_> = plan["environments"].as_array().unwrap().iter().map(|env| env["name"].clone()).collect();
    assert_eq!(names, ["pair"], "environments without this host are not looked at");
    assert_eq!(plan["environments"][0]["hosts"].as_array().unwrap().len(), 1);
    on(&w, "web2", "apply").exits(0);
    assert_eq!(runs(&w), ["a", "a"]);

    // What fails here is this server's own affair: it goes back, and the other one makes up its own mind.
    w.soll("release pair <c>").exits(0);
    on(&w, "web1", "apply").exits(3).says("ROLLED BACK");
    on(&w, "web1", "apply").exits(7);
    assert_eq!((runs(&w), w.quarantined("pair/web2").len()), (["a".into(), "a".into()], 0));
    on(&w, "web1", "retry pair").exits(0);
    on(&w, "web1", "status").exits(0).says("pair").hides("other");
    on(&w, "web1", "why pair").exits(0).says("Also: left out, because each host looks after itself: web2.");
}

#[test]
fn a_server_that_no_environment_names_is_told_so() {
    let w = servers("");
    on(&w, "web9", "apply").exits(64).says("no environment runs on a host `web9`; there are: far, web1, web2");
    on(&w, "web1", "apply other").exits(1).says("`other` does not run on the host `web1`");
    w.soll("apply pair --observation $DIR/x.json").exits(64).says("--host NAME");
    // The settings of a server say it once for every command.
    w.write("server.toml", "host = \"web2\"\n");
    w.soll("apply --config $DIR/server.toml").exits(0);
    assert_eq!(runs(&w), ["", "a"]);
}

#[test]
fn the_first_server_migrates_and_the_others_wait_until_they_see_it() {
    let w = servers(MIGRATES);
    let blind = on(&w, "web2", "apply").exits(4);
    let blind = blind.says("web1 migrates for everybody and is not seen from here");
    blind.says("--observation").says("soll retry pair --migration done");
    on(&w, "web2", "why pair").exits(0).says("web1 migrates for everybody");
    let plan = on(&w, "web2", "plan --output json").exits(0).json();
    let steps = plan["environments"][0]["steps"].as_array().unwrap().clone();
    assert!(steps.iter().all(|step| step["kind"] != "migrate"), "web2 never migrates: {steps:?}");

    on(&w, "web1", "apply").exits(0);
    published(&w, "web1", "web1.json");
    on(&w, "web2", "apply --observation $DIR/web1.json").exits(0);
    assert_eq!((runs(&w), w.read("migrated")), (["a".into(), "a".into()], "web1\n".into()));

    // The next release: what was published of the last one says nothing about it.
    w.soll("release pair <b>").exits(0);
    on(&w, "web2", "apply --observation $DIR/web1.json")
        .exits(4)
        .says("web1 migrates for everybody, and has not migrated bbbbbbbb yet");
    on(&w, "web1", "apply").exits(0);
    // Where nothing is published at all, a person says what they saw.
    on(&w, "web2", "retry pair --migration done").exits(0);
    on(&w, "web2", "apply").exits(0);
    assert_eq!((runs(&w), w.read("migrated")), (["b".into(), "b".into()], "web1\nweb1\n".into()));
}

#[test]
fn a_promotion_from_servers_elsewhere_needs_what_they_publish() {
    let w = servers("promote = { from = \"other\", soak = \"0s\" }");
    on(&w, "web1", "apply").exits(4).says("other was not looked at").says("--observation");
    on(&w, "far", "apply").exits(0);
    published(&w, "far", "far.json");
    on(&w, "web1", "plan --observation $DIR/far.json --detailed-exitcode").exits(2).hides("was not looked at");
    on(&w, "web1", "apply --observation $DIR/far.json").exits(0);
    assert_eq!(runs(&w), ["a", ""]);
    on(&w, "web2", "apply --observation $DIR/none.json").exits(4).says("other was not looked at");
}

#[test]
fn an_approval_is_given_to_the_plan_that_the_server_made() {
    let w = servers("approvals = 1");
    on(&w, "web1", "apply").exits(4).says("0 of 1 approvals");
    on(&w, "web1", "plan --out $DIR/plan.json").exits(0);
    // On a machine that reaches no server.
    w.soll("approve pair --plan $DIR/plan.json --state-dir $DIR/laptop").exits(0).says("approved: pair -> aaaaaaaa");
    w.soll("approve other --plan $DIR/plan.json --state-dir $DIR/laptop").exits(1).says("says nothing about other");
    on(&w, "web1", "apply").exits(0);
    assert_eq!(runs(&w), ["a", ""]);
}

#[test]
fn the_loop_of_a_server_follows_the_repository_for_it_alone() {
    let mut w = servers("");
    w.set("SOLL_POLL", "100ms");
    let daemon = w.start("run --host web2 --state-dir $DIR/ctl-web2", "daemon.log");
    until("web2 runs a", || (w.runs("pair/web2") == "a").then_some(()));
    w.edit("release = \"<a>\"\nhosts = [\"web1\"", "release = \"<b>\"\nhosts = [\"web1\"");
    until("web2 runs b", || (w.runs("pair/web2") == "b").then_some(()));
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(w.runs("pair/web1"), "");
    assert!(w.read("daemon.log").contains("for web2 alone"), "{}", w.read("daemon.log"));
    assert!(!w.path("other").exists());
}
