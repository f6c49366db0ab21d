//! What a person tells a live system: stop, start, cancel, retry, and what the ledger says afterwards (D5, B3).

use crate::support::world::{World, until};

const HOOKS: &str = r#"
[[environments.staging.hooks]]
phase = "stop"
name = "halt"
run = "echo stop >> $DIR/log"
[[environments.staging.hooks]]
phase = "start"
name = "go"
run = "echo start >> $DIR/log"
[[environments.staging.hooks]]
phase = "maintenance-on"
name = "close"
run = "echo close >> $DIR/log"
[[environments.staging.hooks]]
phase = "maintenance-off"
name = "open"
run = "echo open >> $DIR/log"
"#;

#[test]
fn stop_and_start_by_declared_hooks() {
    let w = World::staging(HOOKS);
    w.write("log", "");
    w.run(&["stop", "staging", "--reason", "data corruption"]).exits(0).says("soll start staging");
    assert_eq!(w.read("log"), "close\nstop\n");
    // Nothing is deployed into what is stopped.
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(4).says("data corruption").says("soll start staging");
    assert_eq!(w.runs("staging"), "a");
    w.write("log", "");
    w.soll("start staging").exits(0);
    assert_eq!(w.read("log"), "start\nopen\n");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn a_stop_hook_that_says_no_is_told() {
    let w = World::staging(&HOOKS.replace("echo stop", "exit 3; echo stop"));
    w.soll("stop staging").exits(1).says("hooks said no: `halt` on local");
}

/// A run that stands still in a hook of this phase until `$DIR/go` is there.
fn held(phase: &str) -> World {
    let hook = format!(
        "[[environments.staging.hooks]]\nname = \"waits\"\nphase = \"{phase}\"\nrun = \"\"\"\n\
         touch $DIR/waiting; while [ -e $DIR/hold -a ! -e $DIR/go ]; do sleep 0.02; done\"\"\"\n"
    );
    let w = World::staging(&hook);
    std::fs::remove_file(w.path("waiting")).unwrap();
    w.write("hold", "");
    w.soll("release staging <b>").exits(0);
    w
}

#[test]
fn a_run_is_cancelled_at_its_next_safe_point() {
    for (phase, end) in [("prepare", "`current` is untouched"), ("post-switch", "everything is back where it was")] {
        let w = held(phase);
        let run = w.start("apply", "apply.log");
        until("the hook waits", || w.path("waiting").exists().then_some(()));
        w.soll("cancel staging").exits(0).says("is asked to stop at its next safe point");
        // The wish is on the host: the answer of the step that is under way carries it.
        w.write("go", "");
        assert_eq!(run.wait(), Some(1), "{}", w.read("apply.log"));
        let log = w.read("apply.log");
        assert!(log.contains("cancelled by ann@") && log.contains(end), "{log}");
        assert_eq!(w.runs("staging"), "a");
        assert_eq!(w.quarantined("staging"), Vec::<String>::new());
        assert_eq!(w.soll("history --output json").json()[0]["result"], "cancelled");
    }
    let w = World::staging("");
    w.soll("cancel staging").exits(0).says("nothing is seen to run on staging right now");
}

#[test]
fn a_live_run_is_shown_and_followed() {
    let w = held("pre-switch");
    let run = w.start("apply", "apply.log");
    until("the hook waits", || w.path("waiting").exists().then_some(()));
    let status = w.soll("status --output json").exits(0).json();
    assert_eq!(status["environments"][0]["operation"], "running");
    let name = w.soll("history --output json").json()[0]["run"].as_str().unwrap().to_owned();
    let follower = w.start(&format!("show {name} --follow"), "follow.log");
    w.write("go", "");
    assert_eq!((run.wait(), follower.wait()), (Some(0), Some(0)));
    w.soll(&format!("show {name}")).exits(0).says("switch:local").says("succeeded");
    assert_eq!(w.soll("status --output json").json()["environments"][0]["operation"], "succeeded");
}

#[test]
fn a_migration_that_nobody_saw_finish_blocks_until_a_person_says_what_it_did() {
    for (answer, runs) in [("done", 1), ("again", 2)] {
        let hook = "[[environments.staging.hooks]]\nname = \"migrate\"\nphase = \"migrate\"\ntimeout = \"300ms\"\nrun = \"\"\"\n\
                    echo ran >> $DIR/log; if [ -e $DIR/hang ]; then sleep 60; fi\"\"\"\n";
        let w = World::staging(hook);
        w.write("log", "");
        w.write("hang", "");
        w.soll("release staging <b>").exits(0);
        w.soll("apply").exits(1).says("migrate hook `migrate` says no");
        assert_eq!(w.runs("staging"), "a");
        std::fs::remove_file(w.path("hang")).unwrap();
        w.soll("retry staging").exits(0);
        w.soll("apply").exits(4).says("nobody knows what it did").says("soll retry staging --migration done");
        w.soll(&format!("retry staging --migration {answer}")).exits(0);
        w.soll("apply").exits(0);
        assert_eq!((w.runs("staging"), w.read("log").lines().count()), ("b".into(), runs), "{answer}");
    }
}

#[test]
fn a_sigterm_ends_a_run_at_its_safe_point() {
    let w = held("prepare");
    let run = w.start("apply", "apply.log");
    until("the hook waits", || w.path("waiting").exists().then_some(()));
    run.ask_to_end();
    w.write("go", "");
    assert_eq!(run.wait(), Some(1), "{}", w.read("apply.log"));
    assert!(w.read("apply.log").contains("the controller was told to end"), "{}", w.read("apply.log"));
    assert_eq!(w.runs("staging"), "a");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
}
