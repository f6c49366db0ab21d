//! Which release is promoted, where what was released is not yet what runs.

use crate::support::world::{APP, World, env, sha};

/// `staging` runs `a`, and `production` waits for something.
fn world() -> World {
    let w = World::with(&format!("{}{}", env("staging", 'a', ""), env("production", 'a', "")));
    w.soll("apply staging").exits(0);
    w
}

/// What the state file says of production.
fn production(w: &World) -> String {
    let text = w.read("state/desired-state.toml");
    let table = text.split("[environments.production]").nth(1).unwrap();
    table.split('"').nth(1).unwrap()[..1].to_owned()
}

#[test]
fn a_release_promoted_right_after_its_commit_is_not_the_one_before() {
    let w = world();
    w.soll("release staging <b>").exits(0);
    let head = w.head();
    w.soll("promote staging production")
        .exits(4)
        .says("staging wants bbbbbbbb and has confirmed aaaaaaaa")
        .says("soll promote staging production --running");
    assert_eq!(w.head(), head, "nothing was committed");
    w.soll("apply staging").exits(0);
    w.soll("promote staging production").exits(0).says("Promote bbbbbbbb from staging to production");
    assert_eq!(production(&w), "b");
}

#[test]
fn what_runs_is_promoted_where_that_is_what_was_said() {
    let w = world();
    w.soll("release production <b>").exits(0);
    // It failed, and staging is back at what it ran before.
    w.soll("release staging <c>").exits(0);
    w.soll("apply staging").exits(3);
    w.soll("promote staging production").exits(4).says("staging wants cccccccc and has confirmed aaaaaaaa");
    w.soll("promote staging production --running").exits(0).says("Promote aaaaaaaa from staging to production");
    assert_eq!(production(&w), "a");
}

#[test]
fn hosts_that_do_not_run_the_same_are_named_whatever_is_meant() {
    let hosts = "[hosts.h1]\naddress = \"local\"\n[hosts.h2]\naddress = \"local\"\n";
    let staging = format!(
        "[environments.staging]\nrelease = \"{}\"\nhosts = [\"h1\", \"h2\"]\nroot = \"$DIR/staging/{{host}}\"\n",
        sha('a')
    );
    let w = World::with("");
    w.commit(&format!("{APP}{hosts}{staging}{}", env("production", 'a', "")));
    w.soll("apply staging").exits(0);
    let mended = w.read("staging/h1/.soll/record.json");
    w.write("staging/h1/.soll/record.json", &mended.replace(&sha('a'), &sha('b')));
    for line in ["promote staging production", "promote staging production --running"] {
        w.soll(line).exits(4).says("staging does not run one confirmed release on all of its hosts").says("on h2");
    }
}
