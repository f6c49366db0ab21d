//! Two controllers, one of which is frozen in the middle of its deployment (law 3): the host hears one of them.

use super::hardships::app;
use super::net::{Host, Net, go_on, stopped};
use crate::support::world::{World, until};

/// One line per switch in `$DIR/switched`.
const COUNTED: &str = "deadline = \"4s\"\n[[environments.app.hooks]]\nname = \"counts\"\nphase = \"post-switch\"\n\
                       run = \"echo $SOLL_RELEASE >> $DIR/switched\"\n";

fn ready(net: &Net, host: &Host) -> World {
    let world = net.world(&[host], &app(&[host], COUNTED));
    world.soll("apply").exits(0);
    world.edit("<a>", "<b>");
    world.write("switched", "");
    world
}

/// Freezes one at this place, lets another one work, and continues the first. Gives its exit code and what it said.
fn frozen_at(place: &str) -> (Net, Host, World, Option<i32>, String) {
    let net = Net::new();
    let host = net.host(1, "");
    let mut world = ready(&net, &host);
    world.set("SOLL_FAULT", &format!("stop:{place}"));
    let mut first = world.start("apply", "first.log");
    world.set("SOLL_FAULT", "");
    assert!(stopped(&mut first.child), "{place} was not passed: {}", world.read("first.log"));
    world.set("SOLL_STATE_DIR", "$DIR/other");
    // The lock is waited for; the lease of the one that is frozen ends meanwhile.
    world.soll("apply").exits(0);
    assert_eq!(host.runs(), "b");
    let record = host.record();
    let release = std::fs::read_link(host.space.path("/srv/app/current")).unwrap();
    go_on(&first.child);
    let code = first.wait();
    let what = |record: &serde_json::Value| {
        // Samples of a release that is well may be noted by anybody.
        let mut record = record.clone();
        record.as_object_mut().unwrap().remove("green");
        record
    };
    assert_eq!(what(&host.record()), what(&record), "{place}: its late effects were refused");
    assert_eq!(std::fs::read_link(host.space.path("/srv/app/current")).unwrap(), release, "{place}");
    assert!(record["probation"].is_null() && record["confirmed"]["sha"].as_str().unwrap().starts_with('b'));
    world.soll("plan --detailed-exitcode").exits(0);
    let log = world.read("first.log");
    (net, host, world, code, log)
}

#[test]
fn frozen_before_the_switch() {
    let (_net, _host, world, code, log) = frozen_at("run.after-effect@seal");
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("web1") && log.contains("does not hold this root"), "{log}");
    assert_eq!(world.read("switched").lines().count(), 1, "only the other one switched");
}

#[test]
fn frozen_after_the_switch() {
    let (_net, _host, world, code, log) = frozen_at("run.after-effect@switch");
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("web1") && log.contains("does not hold this root"), "{log}");
    assert_eq!(world.read("switched").lines().count(), 1, "the first one was sent back before its hooks");
}

#[test]
fn frozen_after_the_confirmation() {
    let (_net, _host, world, code, log) = frozen_at("run.after-effect@confirm");
    // What it did stands; what it did not get to is nobody's loss.
    assert!(matches!(code, Some(0 | 1)), "{code:?} {log}");
    assert_eq!(world.read("switched").lines().count(), 1);
}

#[test]
fn both_at_once() {
    let net = Net::new();
    let host = net.host(1, "");
    let mut world = ready(&net, &host);
    let first = world.start("apply", "first.log");
    world.set("SOLL_STATE_DIR", "$DIR/other");
    let second = world.start("apply", "second.log");
    let logs = || world.read("first.log") + &world.read("second.log");
    for run in [first, second] {
        let code = run.wait();
        assert!(matches!(code, Some(0 | 5)), "{code:?} {}", logs());
    }
    until("b runs", || (host.runs() == "b").then_some(()));
    assert_eq!(world.read("switched").lines().count(), 1, "{}", logs());
    world.soll("plan --detailed-exitcode").exits(0);
}
