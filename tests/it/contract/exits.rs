//! Every exit code by a situation that really has it, and which one counts where environments differ (contract 1.2).

use crate::support::world::{APP, World, env, until};

/// A run that stands still in a hook until the file `go` is there.
const WAITS: &str = r#"
[[environments.held.hooks]]
phase = "pre-switch"
run = "touch $DIR/waiting; while [ ! -e $DIR/go ]; do sleep 0.02; done"
"#;

#[test]
fn nothing_to_do_and_done_are_0() {
    let w = World::with(&env("staging", 'a', ""));
    w.soll("apply").exits(0).says("succeeded");
    assert_eq!(w.runs("staging"), "a");
    w.soll("apply").exits(0).says("in sync");
    w.soll("plan --detailed-exitcode").exits(0);
}

#[test]
fn pending_changes_are_2_only_where_that_is_asked_for() {
    let w = World::with(&(env("staging", 'a', "") + &env("cold", 'a', "frozen = \"incident 4711\"")));
    w.soll("plan").exits(0);
    w.soll("plan staging --detailed-exitcode").exits(2);
    // Blocked changes are pending changes.
    w.soll("plan cold --detailed-exitcode").exits(2);
}

#[test]
fn usage_errors_are_64() {
    let w = World::with(&env("staging", 'a', ""));
    for line in
        ["", "aply", "plan --nonsense", "apply staging --plan x", "release staging", "rollback", "history --limit x"]
    {
        w.soll(line).exits(64);
    }
    w.soll("--help").exits(0).says("Exit codes");
    w.soll("--version").exits(0);
}

#[test]
fn an_unknown_environment_is_64_and_the_names_are_told() {
    let w = World::with(&(env("production", 'a', "") + &env("staging", 'a', "")));
    for line in [
        "plan nowhere",
        "apply nowhere",
        "status nowhere",
        "why nowhere",
        "wait nowhere",
        "diff nowhere",
        "release nowhere <a>",
        "promote nowhere staging",
        "promote staging nowhere",
        "rollback nowhere",
        "freeze nowhere --reason x",
        "unfreeze nowhere",
        "approve nowhere",
        "reject nowhere --reason x",
        "cancel nowhere",
        "retry nowhere",
        "stop nowhere",
        "start nowhere",
    ] {
        w.soll(line).exits(64).says("there is no environment `nowhere`; there are: production, staging");
    }
}

#[test]
fn the_worst_environment_speaks_for_all() {
    let away = "[hosts.far]\naddress = \"far.example.com\"\n[hosts.here]\naddress = \"local\"\n";
    let all = [
        env("missing", 'e', ""),
        env("rolls", 'a', ""),
        env("away", 'a', "hosts = [\"far\"]"),
        env("sick", 'a', ""),
        env("held", 'a', WAITS),
        env("cold", 'a', "frozen = \"incident 4711\""),
        env("fine", 'a', ""),
    ];
    let w = World::new();
    for letter in ['a', 'b'] {
        w.bundle(letter, &[]);
    }
    w.bundle('c', &[("broken", "")]);
    w.commit(&format!("{APP}{away}{}", all.concat()));
    w.soll("apply rolls sick fine").exits(0);
    w.soll("release sick <c>").exits(0);
    w.soll("apply sick").exits(3).says("ROLLED BACK");
    w.soll("release rolls <c>").exits(0);

    // 7 before 4 and 0; 6 before 7.
    w.soll("apply sick cold fine").exits(7);
    w.soll("apply away sick cold fine").exits(6);
    w.soll("plan away").exits(6);
    w.soll("plan").exits(6);
    // 4 before 0.
    w.soll("apply cold fine").exits(4).says("frozen: incident 4711");

    // 5 before 4, after ten seconds of patience.
    let holder = w.start("apply held", "held.log");
    until("the hook waits", || w.path("waiting").exists().then_some(()));
    w.soll("apply held cold fine").exits(5).says("locked").says("is held by");
    w.write("go", "");
    assert_eq!(holder.wait(), Some(0));

    // 3 before 6; 1 before 3.
    w.soll("apply away rolls sick cold fine").exits(3);
    w.soll("release rolls <a>").exits(0);
    w.soll("apply rolls").exits(0);
    w.soll("release rolls <c>").exits(0);
    w.soll("retry rolls").exits(0);
    w.soll("apply missing rolls away sick cold fine").exits(1);

    // 8 before everything, and nothing is done.
    w.soll("release rolls <b>").exits(0);
    w.soll("plan --out $DIR/plan.json").exits(6);
    w.soll("release rolls <a>").exits(0);
    w.soll("apply --plan $DIR/plan.json").exits(8).says("stale");
}

#[test]
fn what_the_program_cannot_do_is_1_with_the_next_move() {
    let w = World::with(&env("staging", 'e', ""));
    w.soll("apply").exits(1).says("there is no bundle of eeeeeeee").says("soll bundle DIR");
    w.soll("plan --repo $DIR/nowhere").exits(1);
    w.soll("plan --file other.toml").exits(1).says("soll init");
    w.soll("apply --plan $DIR/none.json").exits(1).says("cannot read the plan");
    w.soll("show 2020").exits(1);
    w.commit("schema = 1\n[apps.web]\n[environments.staging]\nrelease = \"<a>\"\nroot = \"$DIR/staging\"\n");
    w.soll("plan").exits(1).says("bundle");
}

#[test]
fn wait_says_when_it_is_there_and_why_it_is_not() {
    let w = World::with(&(env("staging", 'a', "") + &env("cold", 'a', "frozen = \"incident 4711\"")));
    w.soll("wait staging --timeout 300ms")
        .exits(1)
        .says("nobody was seen at work on staging")
        .says("soll apply staging");
    w.soll("wait cold --timeout 300ms").exits(4).says("incident 4711");
    w.soll("apply staging").exits(0);
    w.soll("wait staging --timeout 1m").exits(0).says("staging runs aaaaaaaa");
    w.soll("release staging <c>").exits(0);
    w.soll("apply staging").exits(3);
    w.soll("wait staging --timeout 1m").exits(7).says("quarantined");
}
