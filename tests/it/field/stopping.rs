//! People who want a run to end, while a hook of it takes its time.

use rustix::process::{Pid, Signal, kill_process};

use crate::support::world::{Running, World, until};

/// Runs `a`; a hook of this phase of `b` ignores what asks it to end, and would take an hour.
fn held(phase: &str) -> World {
    let hook = format!(
        "[[environments.staging.hooks]]\nname = \"slow\"\nphase = \"{phase}\"\ntimeout = \"1h\"\nrun = \"\"\"\n\
         echo begun >> $DIR/log; trap '' TERM; if [ $SOLL_SHA != <a> ]; then touch $DIR/waiting; \
         while [ ! -e $DIR/go ]; do sleep 0.05; done; fi\"\"\"\n\
         [[environments.staging.hooks]]\nname = \"undo\"\nphase = \"rollback\"\nrun = \"echo undone >> $DIR/log\"\n"
    );
    let w = World::staging(&hook);
    w.write("log", "");
    w.soll("release staging <b>").exits(0);
    w
}

fn interrupt(run: &Running) {
    kill_process(Pid::from_child(&run.child), Signal::INT).unwrap();
}

/// Again, until it is heard as another word than the first.
fn insist(w: &World, run: &Running, log: &str) {
    until("it is told again", || {
        interrupt(run);
        w.read(log).contains("told again").then_some(())
    });
}

/// It ended as one that a person cancelled, everything is where it was, and nobody is condemned.
#[track_caller]
fn cancelled(w: &World, log: &str) {
    assert!(log.contains("cancelled by ann@"), "{log}");
    assert_eq!((w.runs("staging").as_str(), w.quarantined("staging")), ("a", vec![]), "{log}");
    assert_eq!(w.soll("history --output json").json()[0]["result"], "cancelled", "{log}");
    assert!(w.record("staging")["probation"].is_null(), "{log}");
}

#[test]
fn the_first_ctrl_c_says_what_is_waited_for_and_the_second_stops_it() {
    for phase in ["prepare", "pre-switch", "post-switch", "verify"] {
        let w = held(phase);
        let run = w.start("apply", "apply.log");
        until("the hook waits", || w.path("waiting").exists().then_some(()));
        interrupt(&run);
        until("it says what it waits for", || {
            w.read("apply.log").contains("it waits for hook:local:slow, until 2").then_some(())
        });
        assert_eq!(w.runs("staging"), if ["prepare", "pre-switch"].contains(&phase) { "a" } else { "b" });
        insist(&w, &run, "apply.log");
        assert_eq!(run.wait(), Some(1), "{}", w.read("apply.log"));
        let log = w.read("apply.log");
        cancelled(&w, &log);
        // What was switched went back, and its own hooks ran to their end.
        let is_back = ["post-switch", "verify"].contains(&phase);
        assert_eq!(w.read("log").contains("undone"), is_back, "{phase}: {log}");
        // Nothing stands against it: it is tried again, and nobody waits for the one that was stopped.
        w.write("go", "");
        w.soll("apply").exits(0);
        assert_eq!(w.runs("staging"), "b");
    }
}

#[test]
fn a_run_is_stopped_at_once_from_elsewhere() {
    let w = held("post-switch");
    let run = w.start("apply", "apply.log");
    until("the hook waits", || w.path("waiting").exists().then_some(()));
    w.soll("cancel staging").exits(0).says("`slow` for up to 1h").says("soll cancel staging --now");
    until("it says what it waits for", || {
        w.read("apply.log").contains("it waits for hook:local:slow, until 2").then_some(())
    });
    w.soll("cancel staging --now").exits(0).says("is asked to stop at once");
    assert_eq!(run.wait(), Some(1), "{}", w.read("apply.log"));
    cancelled(&w, &w.read("apply.log"));
}

#[test]
fn a_loop_is_stopped_at_once_too() {
    let w = held("post-switch");
    let run = w.start("run", "run.log");
    until("the hook waits", || w.path("waiting").exists().then_some(()));
    interrupt(&run);
    until("it says what it waits for", || {
        w.read("run.log").contains("it waits for hook:local:slow, until 2").then_some(())
    });
    insist(&w, &run, "run.log");
    assert_eq!(run.wait(), Some(0), "{}", w.read("run.log"));
    cancelled(&w, &w.read("run.log"));
}

#[test]
fn a_migration_that_was_stopped_is_one_that_nobody_saw_finish() {
    let w = held("migrate");
    let run = w.start("apply", "apply.log");
    until("the hook waits", || w.path("waiting").exists().then_some(()));
    w.soll("cancel staging --now").exits(0);
    assert_eq!(run.wait(), Some(1), "{}", w.read("apply.log"));
    cancelled(&w, &w.read("apply.log"));
    w.soll("apply").exits(4).says("nobody knows what it did");
    w.soll("retry staging --migration done").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn a_gate_that_was_stopped_has_said_nothing() {
    let gate = "[[apps.web.gates]]\nname = \"slow\"\nrun = \"touch $DIR/waiting; while [ ! -e $DIR/go ]; do sleep 0.05; done\"\n";
    let w = World::staging("");
    w.commit(&w.read("state/desired-state.toml").replace("[apps.web.health]", &format!("{gate}[apps.web.health]")));
    w.soll("release staging <b>").exits(0);
    let run = w.start("apply", "apply.log");
    until("the gate waits", || w.path("waiting").exists().then_some(()));
    w.soll("cancel staging --now").exits(0);
    assert_eq!(run.wait(), Some(1), "{}", w.read("apply.log"));
    cancelled(&w, &w.read("apply.log"));
}

#[test]
fn what_is_only_waited_for_is_not_waited_for_once_a_run_is_cancelled() {
    let w = World::staging("");
    // Checks of what is not healthy, an hour apart.
    w.edit("attempts = 2\ninterval = \"20ms\"", "attempts = 9\ninterval = \"1h\"");
    w.soll("apply").exits(0);
    w.soll("release staging <c>").exits(0);
    let run = w.start("apply", "apply.log");
    until("c is live", || (w.runs("staging") == "c").then_some(()));
    w.soll("cancel staging").exits(0);
    assert_eq!(run.wait(), Some(1), "{}", w.read("apply.log"));
    cancelled(&w, &w.read("apply.log"));
}
