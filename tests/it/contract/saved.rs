//! A saved plan: exactly that is carried out, or nothing (contract 1.2).

use crate::support::world::{World, env};

#[test]
fn exactly_what_was_saved_is_done() {
    let w = World::staging("");
    w.soll("release staging <b>").exits(0);
    w.soll("plan --out $DIR/plan.json").exits(0);
    w.soll("apply --plan $DIR/plan.json").exits(0).says("succeeded");
    assert_eq!(w.runs("staging"), "b");
    // A plan is used up by its run.
    w.soll("apply --plan $DIR/plan.json").exits(8).says("stale");
}

#[test]
fn a_commit_that_changes_nothing_here_voids_nothing() {
    let w = World::staging("");
    w.soll("release staging <b>").exits(0);
    w.soll("plan --out $DIR/plan.json").exits(0);
    w.write("state/README.md", "hello");
    w.commit_all("README");
    w.edit("schema = 1", "schema = 1 # a remark");
    w.soll("apply --plan $DIR/plan.json").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn a_stale_plan_does_nothing_at_all() {
    let w = World::with(&(env("one", 'a', "") + &env("two", 'a', "")));
    w.soll("plan --out $DIR/plan.json").exits(0);
    // One host is not what it was: the other one is not touched either.
    w.soll("apply one").exits(0);
    w.soll("apply --plan $DIR/plan.json").exits(8).says("one is not what it was when the plan was made");
    assert_eq!((w.runs("one"), w.runs("two")), ("a".into(), String::new()));
    // Another configuration is another plan.
    w.soll("plan --out $DIR/plan.json").exits(0);
    w.edit("attempts = 2", "attempts = 3");
    w.soll("apply --plan $DIR/plan.json").exits(8);
    assert_eq!(w.runs("two"), "");
}

#[test]
fn a_blocked_environment_does_not_stop_the_others() {
    let w = World::with(&(env("cold", 'a', "frozen = \"incident 4711\"") + &env("warm", 'a', "")));
    w.soll("plan --out $DIR/plan.json").exits(0);
    w.soll("apply --plan $DIR/plan.json").exits(4).says("incident 4711");
    assert_eq!((w.runs("cold"), w.runs("warm")), (String::new(), "a".into()));
}

#[test]
fn its_commit_must_be_on_the_branch() {
    let w = World::staging("");
    w.git(&["checkout", "-q", "-b", "proposal"]);
    w.edit("release = \"<a>\"", "release = \"<b>\"");
    w.soll("plan --ref proposal --out $DIR/plan.json").exits(0);
    w.soll("apply --plan $DIR/plan.json").exits(8).says("is not on the accepted branch main");
    assert_eq!(w.runs("staging"), "a");
    w.git(&["checkout", "-q", "main"]);
    w.git(&["merge", "-q", "--no-ff", "-m", "merge", "proposal"]);
    w.soll("apply --plan $DIR/plan.json").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn what_is_no_plan_of_this_program_is_refused() {
    let w = World::staging("");
    w.write("plan.json", "{}");
    w.soll("apply --plan $DIR/plan.json").exits(1).says("is no saved plan");
    w.soll("plan --out $DIR/plan.json").exits(0);
    w.write("plan.json", &w.read("plan.json").replace("\"schema\": 1", "\"schema\": 9"));
    w.soll("apply --plan $DIR/plan.json").exits(8).says("make the plan again");
}
