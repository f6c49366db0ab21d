//! Configured commands: when they run, where, with what around them, and what a fleet makes of them (contract 1.1, D1).

use crate::support::world::{APP, World, env};

const PHASES: [&str; 9] = [
    "prepare",
    "maintenance-on",
    "migrate",
    "pre-switch",
    "post-switch",
    "maintenance-off",
    "verify",
    "after",
    "rollback",
];

/// A hook for every phase, in another order than they run, that says when, where and for what it runs. What `$DIR/no`
/// names says no.
fn tracing() -> String {
    let hook = |phase: &&str| {
        format!(
            "[[environments.staging.hooks]]\nphase = \"{phase}\"\nname = \"{phase}\"\nrun = \"\"\"\n\
             echo {phase} $(basename $(pwd -P)) $SOLL_SHA $SOLL_RELEASE >> $DIR/log\n\
             if [ \"$(cat $DIR/no)\" = {phase} ]; then exit 1; fi\"\"\"\n"
        )
    };
    PHASES.iter().rev().map(hook).collect()
}

/// The lines of the log, without names of directories: `phase where commit`.
fn traced(w: &World, old: &str, new: &str) -> Vec<String> {
    let log = w.read("log");
    w.write("log", "");
    let place = |name: &str| match name {
        name if name == old => "old",
        name if name == new => "new",
        _ => "elsewhere",
    };
    let line = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        assert_eq!(words[1], words[3], "the directory is that of SOLL_RELEASE: {line}");
        format!("{} {} {}", words[0], place(words[1]), &words[2][..1])
    };
    log.lines().map(line).collect()
}

#[test]
fn every_phase_in_its_order_its_place_and_its_commit() {
    let w = World::with(&env("staging", 'a', &tracing()));
    w.write("no", "");
    w.soll("apply").exits(0);
    let first = w.release("staging");
    // Nothing runs yet that could be closed.
    let wanted = ["prepare", "migrate", "pre-switch", "post-switch", "maintenance-off", "verify", "after"]
        .map(|p| format!("{p} new a"));
    assert_eq!(traced(&w, "", &first), wanted);

    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(0);
    let second = w.release("staging");
    let wanted = [
        "prepare new b",
        "maintenance-on old a",
        "migrate new b",
        "pre-switch new b",
        "post-switch new b",
        "maintenance-off new b",
        "verify new b",
        "after new b",
    ];
    assert_eq!(traced(&w, &first, &second), wanted);

    // A release that is there already: its rollback hooks, no migration, no preparation.
    w.soll("release staging <a>").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.release("staging"), first);
    assert_eq!(traced(&w, &second, &first), ["rollback new a", "verify new a", "after new a"]);
}

#[test]
fn what_was_closed_is_opened_whatever_happens() {
    let w = World::staging(&tracing());
    let first = w.release("staging");
    w.write("log", "");
    w.soll("release staging <b>").exits(0);
    w.write("no", "pre-switch");
    w.soll("apply").exits(1);
    let lines = traced(&w, &first, "");
    assert_eq!(lines.last().unwrap(), "maintenance-off old a");
    assert_eq!(lines.iter().filter(|line| line.starts_with("maintenance-on")).count(), 1);
    assert_eq!(w.runs("staging"), "a");

    w.write("no", "post-switch");
    w.soll("retry staging").exits(0);
    w.soll("apply").exits(3);
    let lines = traced(&w, &first, "");
    let tail: Vec<_> = lines.iter().rev().take(3).rev().map(String::as_str).collect();
    assert_eq!(tail, ["post-switch elsewhere b", "rollback old a", "maintenance-off old a"]);
}

#[test]
fn a_migration_that_is_done_is_not_done_again() {
    let w = World::staging(&tracing());
    w.write("log", "");
    w.soll("release staging <b>").exits(0);
    w.write("no", "post-switch");
    w.soll("apply").exits(3);
    w.write("no", "");
    w.soll("retry staging").exits(0);
    w.soll("apply").exits(0);
    let log = w.read("log");
    assert_eq!(log.matches("migrate").count(), 1, "{log}");
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn a_command_sees_its_own_facts_and_nothing_of_the_controller() {
    let more = "variables = { tenant = \"north\", \"region\" = \"eu\" }\n[[environments.staging.hooks]]\nphase = \"after\"\n\
                run = \"env > $DIR/env; echo {tenant} {sha8} {env} {host} {release} {root} > $DIR/filled\"\n";
    let mut w = World::with(&env("staging", 'a', more));
    w.set("CONTROLLER_ONLY", "hunter2");
    w.set("SOLL_SECRET_TOKEN", "hunter2");
    w.set("AWS_PROFILE", "hunter2");
    w.soll("apply").exits(0);
    let (environment, release) = (w.read("env"), w.release("staging"));
    // What the shell itself adds is not ours.
    let ours = |line: &&str| !["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|own| line.starts_with(own));
    let mut lines: Vec<_> = environment.lines().filter(ours).map(str::to_owned).collect();
    lines.sort();
    let mut wanted = vec![
        w.fill("HOME=$DIR/home"),
        "LANG=C.UTF-8".to_owned(),
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "SOLL_ENV=staging".to_owned(),
        "SOLL_HOST=local".to_owned(),
        format!("SOLL_RELEASE={release}"),
        w.fill("SOLL_ROOT=$DIR/staging"),
        w.fill("SOLL_SHA=<a>"),
        "SOLL_VAR_region=eu".to_owned(),
        "SOLL_VAR_tenant=north".to_owned(),
        "USER=ann".to_owned(),
    ];
    wanted.sort();
    assert_eq!(lines, wanted);
    assert_eq!(w.read("filled"), w.fill(&format!("north aaaaaaaa staging local {release} $DIR/staging\n")));
}

/// Three roots on this machine, each of which says what happens to it; `$DIR/no` names the one that refuses.
fn fleet(more: &str) -> World {
    let hosts: String = (1..=3).map(|n| format!("[hosts.h{n}]\naddress = \"local\"\n")).collect();
    let hooks: String = ["migrate", "post-switch", "verify", "rollback"]
        .iter()
        .map(|phase| {
            format!(
                "[[environments.fleet.hooks]]\nphase = \"{phase}\"\nname = \"{phase}\"\nrun = \"\"\"\n\
                 echo {phase} $SOLL_HOST >> $DIR/log\n\
                 if [ \"$(cat $DIR/no)\" = {phase}-$SOLL_HOST ]; then exit 1; fi\"\"\"\n"
            )
        })
        .collect();
    let w = World::new();
    for letter in ['a', 'b'] {
        w.bundle(letter, &[]);
    }
    let environment =
        "[environments.fleet]\nrelease = \"<a>\"\nhosts = [\"h1\", \"h2\", \"h3\"]\nroot = \"$DIR/fleet/{host}\"\n";
    w.commit(&format!("{APP}{hosts}{environment}{more}\n{hooks}"));
    w.write("no", "");
    w.soll("apply").exits(0);
    w
}

fn all(w: &World) -> [String; 3] {
    [1, 2, 3].map(|n| w.runs(&format!("fleet/h{n}")))
}

#[test]
fn a_migration_runs_on_the_first_host_only() {
    let w = fleet("");
    assert_eq!(all(&w), ["a", "a", "a"]);
    assert_eq!(w.read("log").matches("migrate").count(), 1);
    assert!(w.read("log").starts_with("migrate h1\n"), "{}", w.read("log"));
    // A host that comes back later gets the release without another migration.
    std::fs::remove_dir_all(w.path("fleet/h3")).unwrap();
    w.soll("apply").exits(0);
    assert_eq!(all(&w), ["a", "a", "a"]);
    assert_eq!(w.read("log").matches("migrate").count(), 1);
}

#[test]
fn batches_follow_the_order_of_the_hosts() {
    for (batch, wanted) in [
        (
            "1",
            vec![
                "migrate h1",
                "post-switch h1",
                "verify h1",
                "post-switch h2",
                "verify h2",
                "post-switch h3",
                "verify h3",
            ],
        ),
        (
            "\"50%\"",
            vec![
                "migrate h1",
                "post-switch h1",
                "post-switch h2",
                "verify h1",
                "verify h2",
                "post-switch h3",
                "verify h3",
            ],
        ),
    ] {
        let w = fleet(&format!("strategy = {{ type = \"rolling\", batch = {batch} }}"));
        let log = w.read("log");
        let mut lines: Vec<_> = log.lines().collect();
        // Inside a batch everything happens at once: only the border between batches is an order.
        if batch != "1" {
            lines[1..5].sort();
        }
        assert_eq!(lines, wanted, "batch = {batch}");
    }
}

#[test]
fn a_failure_on_one_host_sends_the_others_back() {
    let w = fleet("strategy = { type = \"rolling\", batch = 1 }");
    w.soll("release fleet <b>").exits(0);
    w.write("log", "");
    w.write("no", "post-switch-h2");
    w.soll("apply").exits(3).says("post-switch hook `post-switch` says no on h2");
    assert_eq!(all(&w), ["a", "a", "a"]);
    let log = w.read("log");
    let mut lines: Vec<_> = log.lines().collect();
    lines[4..].sort();
    let wanted = ["migrate h1", "post-switch h1", "verify h1", "post-switch h2", "rollback h1", "rollback h2"];
    assert_eq!(lines, wanted, "h3 was never touched");
    for n in 1..=3 {
        assert_eq!(w.quarantined(&format!("fleet/h{n}")), ["b"], "every host knows the verdict");
    }
    w.soll("apply").exits(7);
}

#[test]
fn all_at_once_is_all_or_nothing_too() {
    let w = fleet("");
    w.soll("release fleet <b>").exits(0);
    w.write("no", "verify-h3");
    w.soll("apply").exits(3);
    assert_eq!(all(&w), ["a", "a", "a"]);
    w.write("no", "");
    w.soll("retry fleet").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(all(&w), ["b", "b", "b"]);
}
