//! Numbers of a host that no host can have come by honestly: epochs at the end of what can be counted, times and lengths at
//! the end of what can be written down.

use serde_json::{Value, json};

use crate::support::world::{APP, World, env};

/// Three roots on this machine that run `a`; `b` is desired.
fn fleet(more: &str) -> World {
    let hosts: String = (1..=3).map(|n| format!("[hosts.h{n}]\naddress = \"local\"\n")).collect();
    let world = World::new();
    world.bundle('a', &[]);
    world.bundle('b', &[]);
    let environment =
        "[environments.fleet]\nrelease = \"<a>\"\nhosts = [\"h1\", \"h2\", \"h3\"]\nroot = \"$DIR/fleet/{host}\"\n";
    world.commit(&format!("{APP}{hosts}{environment}{more}\n"));
    world.soll("apply").exits(0);
    world.edit("<a>", "<b>");
    world
}

fn runs(world: &World) -> String {
    (1..=3).map(|n| world.runs(&format!("fleet/h{n}"))).collect()
}

/// Changes the record of a root by hand.
fn tamper(world: &World, root: &str, change: impl FnOnce(&mut Value)) {
    let mut record = world.record(root);
    change(&mut record);
    world.write(&format!("{root}/.soll/record.json"), &record.to_string());
}

fn poison(world: &World, root: &str, epoch: u64) {
    tamper(world, root, |record| record["epoch"] = json!(epoch));
}

const END: u64 = u64::MAX - 1;

#[test]
fn an_epoch_that_cannot_be_true_is_that_hosts_trouble_alone() {
    let world = fleet("unreachable = \"skip\"");
    poison(&world, "fleet/h2", END);
    world.soll("plan").exits(0).says("h2").says("soll acknowledge --host h2");
    world.soll("apply").exits(0);
    assert_eq!(runs(&world), "bab");
    for healthy in ["fleet/h1", "fleet/h3"] {
        assert!(world.record(healthy)["epoch"].as_u64().unwrap() < 10, "{healthy} followed it");
    }
    let told = world.soll("doctor fleet --output json").exits(1);
    let wrong: Vec<_> = told.json().as_array().unwrap().iter().filter(|f| f["check"] == "epoch").cloned().collect();
    let [wrong] = &wrong[..] else { panic!("{wrong:?}") };
    assert_eq!((&wrong["host"], &wrong["fix"]), (&json!("h2"), &json!("soll acknowledge --host h2")));
    world.soll("acknowledge --host h2").exits(0).says(&format!("the epoch of h2 was {END}, and is"));
    world.soll("acknowledge --host h2").exits(0).says("nothing to accept");
    world.soll("apply").exits(0);
    assert_eq!(runs(&world), "bbb");
    world.soll("acknowledge --host nobody").exits(64).says("h1, h2, h3");
}

#[test]
fn where_all_hosts_are_wanted_it_blocks_and_says_what_to_do() {
    let world = fleet("");
    // Two of the same mind are no better than one.
    poison(&world, "fleet/h1", END);
    poison(&world, "fleet/h2", END - 1);
    world.soll("apply").exits(6).says("soll acknowledge --host h1").says("soll acknowledge --host h2");
    assert_eq!(runs(&world), "aaa");
    world.soll("acknowledge --host h1").exits(0);
    world.soll("acknowledge --host h2").exits(0);
    world.soll("apply").exits(0);
    assert_eq!(runs(&world), "bbb");
}

#[test]
fn a_host_alone_at_the_end_of_the_numbers_says_so_and_is_mended() {
    for epoch in [u64::MAX, END, u64::MAX - (1 << 32)] {
        let world = World::staging("");
        world.edit("<a>", "<b>");
        poison(&world, "staging", epoch);
        for line in ["apply", "preflight staging", "retry staging", "adopt staging"] {
            let ran = world.soll(line).says("soll acknowledge --host");
            assert!(ran.exit == 1, "{line}: {} {}{}", ran.exit, ran.stdout, ran.stderr);
        }
        for line in ["plan", "status", "why staging", "diff staging"] {
            world.soll(line).exits(0);
        }
        let host = world.soll("plan --output json").json()["environments"][0]["hosts"][0]["name"].clone();
        let host = host.as_str().unwrap();
        world.soll("doctor staging").exits(1).says(&format!("soll acknowledge --host {host}"));
        world.soll(&format!("acknowledge --host {host}")).exits(0).says("and is 1 now");
        world.soll("apply").exits(0);
        assert_eq!(world.runs("staging"), "b");
    }
}

/// Nobody may be held while somebody holds the root.
#[test]
fn a_root_that_is_held_is_not_counted_anew() {
    let world = World::staging("");
    poison(&world, "staging", END);
    let holder = std::fs::File::options().read(true).write(true).open(world.path("staging/.soll/lock")).unwrap();
    rustix::fs::flock(&holder, rustix::fs::FlockOperation::LockExclusive).unwrap();
    world.soll("acknowledge --host local").exits(5).says("is held by");
    assert_eq!(world.record("staging")["epoch"], json!(END));
    drop(holder);
    world.soll("acknowledge --host local").exits(0);
}

#[test]
fn times_and_lengths_at_the_end_break_nothing() {
    let late = "9999-12-30T22:00:00.999999999Z";
    let early = "-009999-01-02T01:59:59Z";
    for time in [late, early] {
        let soak = "promote = { from = \"staging\", soak = \"29d\" }";
        let world = World::with(&(env("staging", 'a', "") + &env("production", 'a', soak)));
        world.soll("apply staging").exits(0);
        tamper(&world, "staging", |record| {
            let release = record["confirmed"]["release"].clone();
            let name = release.as_str().unwrap().to_owned();
            record["confirmed"]["at"] = json!(time);
            record["releases"][&name]["staged_at"] = json!(time);
            record["releases"][&name]["confirmed_at"] = json!(time);
            record["green"] = json!({ "release": release, "since": time, "last": time, "samples": u64::MAX });
            record["ailing"] = json!({ "release": release, "since": time, "samples": u32::MAX });
            record["accepted"]["at"] = json!(time);
            record["returned"] = json!({ "from": release, "to": null, "at": time, "reason": "x" });
            record["stopped"] = json!({ "reason": "x", "by": "y", "at": time });
            record["cancel"] = json!({ "epoch": u64::MAX, "by": "y", "at": time });
        });
        for line in
            ["plan", "status", "why production", "doctor", "preflight production", "start staging", "apply", "history"]
        {
            let ran = world.soll(line);
            assert!([0, 1, 3, 4, 6].contains(&ran.exit), "{line}: {}\n{}{}", ran.exit, ran.stdout, ran.stderr);
            assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("broke off"), "{line}: {}", ran.stderr);
        }
        tamper(&world, "staging", |record| {
            let release = record["confirmed"]["release"].clone();
            record["probation"] = json!({
                "release": release, "sha": "a".repeat(40), "back_to": null, "epoch": 1, "armed_at": time, "lease": 1.8e19,
                "key": { "sha": "a".repeat(40), "bundle": null, "config": "0".repeat(64), "files": "0".repeat(64) },
                "rollback": [],
            });
            record["closed"] = json!({ "epoch": 1, "at": time, "lease": 1.8e19, "open": [] });
        });
        for line in ["plan", "status", "apply staging"] {
            let ran = world.soll(line);
            assert!([0, 1, 3, 4, 6].contains(&ran.exit), "{line}: {}\n{}{}", ran.exit, ran.stdout, ran.stderr);
            assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("broke off"), "{line}: {}", ran.stderr);
        }
    }
}
