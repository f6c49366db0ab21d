//! `preflight` tries a release and leaves no trace of it.

use std::collections::BTreeMap;

use super::{found, one};
use crate::support::world::{World, env};

const GATES: &str = "shared_files = [\".env\"]\nshared_dirs = [\"uploads\"]\n\
    [[environments.staging.gates]]\nname = \"index\"\nfile = \"index.html\"\n\
    [[environments.staging.gates]]\nname = \"env\"\nrun = \"test -L .env && grep -q KEY .env && test -d uploads && test ! -e no && pwd > here\"\n\
    [[environments.staging.hooks]]\nphase = \"migrate\"\nname = \"tables\"\nrun = \"touch $SOLL_ROOT/migrated\"\n";

/// Everything but what `soll` keeps for itself.
fn rest(w: &World) -> BTreeMap<String, String> {
    let own = w.path("staging/.soll").display().to_string();
    w.tree("staging").into_iter().filter(|(path, _)| !path.starts_with(&own)).collect()
}

fn ready() -> World {
    let w = World::with(&env("staging", 'a', GATES));
    w.soll("provision staging").exits(0);
    w.write("staging/shared/.env", "KEY=1\n");
    w
}

#[test]
fn a_release_is_tried_and_nothing_is_left_of_it() {
    let w = ready();
    let before = rest(&w);
    let said = w.soll("preflight staging --output json").exits(0);
    assert_eq!(rest(&w), before);
    assert_eq!(std::fs::read_dir(w.path("staging/.soll/staging")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(w.path("staging/.soll/incoming")).unwrap().count(), 0);
    one(&said, "bundle", "ok: aaaaaaaa");
    one(&said, "migration", "ok: `tables` would run");
    one(&said, "unpacked", "1 of them sent");
    assert_eq!(found(&said, "gate").len(), 2, "{}", said.stdout);
    w.soll("apply").exits(0);
    let (before, record) = (rest(&w), w.record("staging"));
    let said = w.soll("preflight staging --output json").exits(0);
    assert_eq!(rest(&w), before);
    one(&said, "migration", "ok: `tables` was run");
    one(&said, "unpacked", "0 of them sent");
    one(&said, "link", "ok: current/.env is a link (../../shared/.env) to ");
    let mut after = w.record("staging");
    after["epoch"] = record["epoch"].clone();
    assert_eq!(after, record);
    w.soll("plan staging").exits(0).says("in sync");
}

#[test]
fn a_gate_that_says_no_is_a_failure_and_leaves_nothing_either() {
    let w = ready();
    w.bundle('b', &[("no", "")]);
    w.edit("release = \"<a>\"", "release = \"<b>\"");
    let before = rest(&w);
    let said = w.soll("preflight staging --output json").exits(1);
    assert_eq!(found(&said, "gate").iter().filter(|gate| gate.starts_with("fail: `env` says no")).count(), 1);
    assert_eq!(rest(&w), before);
    assert!(w.quarantined("staging").is_empty(), "a trial judges nobody");
}

#[test]
fn what_a_crash_leaves_is_cleared_and_no_root_is_made() {
    let mut w = ready();
    let before = rest(&w);
    w.set("SOLL_FAULT", "host.trial.after-build");
    w.soll("preflight staging").exits(6);
    assert_eq!(std::fs::read_dir(w.path("staging/.soll/staging")).unwrap().count(), 1, "the place was passed");
    w.set("SOLL_FAULT", "");
    assert_eq!(rest(&w), before);
    w.soll("preflight staging").exits(0);
    assert_eq!(std::fs::read_dir(w.path("staging/.soll/staging")).unwrap().count(), 0);
    let empty = World::with(&env("staging", 'a', ""));
    empty.soll("preflight staging").exits(1).says("soll provision staging");
    assert!(!empty.path("staging").exists());
}

#[test]
fn a_bundle_that_is_not_there_is_a_failure() {
    let w = ready();
    w.edit("release = \"<a>\"", "release = \"<d>\"");
    one(&w.soll("preflight staging --output json").exits(1), "bundle", "fail: ");
}
