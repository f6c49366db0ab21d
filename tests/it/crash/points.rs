//! The places, each of them at least once. With `SOLL_LONG=1` everyone who can die there does.

use soll::fault;

use super::chain::{Chain, Dies, Plot};

/// The kinds of steps of a deployment, in the order of A4.
pub const DEPLOYMENT: &[&str] = &[
    "health-before",
    "fetch",
    "verify",
    "upload",
    "extract",
    "link",
    "gate",
    "hook",
    "maintenance",
    "migrate",
    "seal",
    "switch",
    "reload",
    "grace",
    "health",
    "assets",
    "watch",
    "confirm",
    "prune",
];

/// Whether the whole product is asked for.
pub fn long() -> bool {
    std::env::var_os("SOLL_LONG").is_some()
}

/// Every place around steps of these kinds.
fn around(kinds: &[&str]) -> Vec<String> {
    let all = kinds.iter().flat_map(|kind| fault::STEP.iter().map(move |place| format!("{place}@{kind}")));
    all.collect()
}

/// One case after the other; without `SOLL_LONG` the two ways of dying take turns.
fn play(plot: Plot, faults: &[String]) {
    let mut chain = Chain::new();
    for (i, fault) in faults.iter().enumerate() {
        let (this, other) = match i % 2 {
            0 => (Dies::Controller, Dies::Both),
            _ => (Dies::Both, Dies::Controller),
        };
        chain.case(plot, this, fault);
        if long() {
            chain.case(plot, other, fault);
        }
    }
}

#[test]
fn every_step_up_to_the_gates() {
    play(Plot::Good, &around(&DEPLOYMENT[..8]));
}

#[test]
fn every_step_from_the_gates_on() {
    // Turned by one: the other half of the places meets the other way of dying.
    let mut places = around(&DEPLOYMENT[8..]);
    places.rotate_left(1);
    play(Plot::Good, &places);
}

#[test]
fn around_a_run() {
    let places = ["before-acquire", "after-acquire", "after-started", "before-finished", "after-finished"];
    play(Plot::Good, &places.map(|place| format!("run.{place}")));
    // Hooks: prepare, pre-switch, verify, after.
    play(Plot::Good, &[2, 3, 4].map(|n| format!("run.after-effect@hook@{n}")));
}

#[test]
fn every_step_of_a_way_back() {
    let mut places = around(&["rollback"]);
    // Hooks: prepare, pre-switch, rollback.
    places.extend(fault::STEP.iter().map(|place| format!("{place}@hook@3")));
    places.extend(["before-quarantine", "after-quarantine", "after-turned-back"].map(|place| format!("run.{place}")));
    places.push("run.before-finished".to_owned());
    play(Plot::Bad, &places);
}

#[test]
fn what_is_held_what_is_reverted_and_what_never_was_switched() {
    play(Plot::Held, &around(&["hold"]));
    play(Plot::Reverted, &around(&["revert-commit"]));
    let mut places: Vec<_> =
        ["before-quarantine", "after-quarantine", "after-turned-back"].map(|place| format!("run.{place}")).into();
    places.extend(fault::STEP.iter().map(|place| format!("{place}@maintenance@2")));
    play(Plot::Unmigrated, &places);
}

#[test]
fn every_step_of_a_return_to_what_is_there() {
    let mut chain = Chain::new();
    for (i, fault) in around(&["verify", "gate", "switch", "hook", "health", "confirm"]).into_iter().enumerate() {
        // Two good ones first: the second of them is what is left.
        chain.good();
        chain.case(Plot::Back, if i % 2 == 0 { Dies::Both } else { Dies::Controller }, &fault);
    }
}

#[test]
fn the_first_deployment() {
    for fault in
        ["run.after-effect@extract", "run.after-effect@seal", "run.after-intent@switch", "run.after-effect@switch"]
    {
        for dies in [Dies::Controller, Dies::Both] {
            Chain::bare().case(Plot::Good, dies, fault);
        }
    }
}

/// What the agent passes in a deployment. `host.go-back` needs a lease that runs out, `host.adopt` a root to adopt.
#[test]
fn the_agent_at_every_place_of_a_deployment() {
    let mut chain = Chain::new();
    let parts = ["acquire", "upload", "extract", "link", "hook", "seal", "switch", "confirm", "prune"];
    for place in fault::HOST.iter().filter(|place| parts.iter().any(|part| place.starts_with(&format!("host.{part}."))))
    {
        chain.case(Plot::Good, Dies::Agent, place);
    }
    for n in if long() { 1..=9 } else { 4..=6 } {
        chain.case(Plot::Good, Dies::Agent, &format!("host.record.before-rename@{n}"));
    }
}

#[test]
fn the_agent_at_every_place_of_a_way_back() {
    let mut chain = Chain::new();
    for place in fault::HOST.iter().filter(|place| place.starts_with("host.return.")) {
        chain.case(Plot::Bad, Dies::Agent, place);
    }
    chain.case(Plot::Held, Dies::Agent, "host.hold.after-record");
    for place in
        fault::HOST.iter().filter(|place| place.starts_with("host.switch.") || place.starts_with("host.confirm."))
    {
        chain.good();
        chain.case(Plot::Back, Dies::Agent, place);
    }
}
