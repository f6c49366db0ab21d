//! What people ask for beside deployments leaves a row: who, when, on what, why, and how it ended, whatever that was.

use serde_json::{Value, json};

use crate::support::world::{World, env};

/// The operations in the history, the newest first.
fn operations(w: &World) -> Vec<Value> {
    w.soll("history --subject operate --output json").exits(0).json().as_array().unwrap().clone()
}

/// The newest one: action, environment, hosts, cause, result.
#[track_caller]
fn last(w: &World) -> [Value; 5] {
    let row = operations(w).first().cloned().unwrap_or_default();
    assert_eq!((&row["subject"], &row["commit"]), (&"operate".into(), &w.head().into()), "{row:#}");
    assert!(row["started"].is_string() && row["finished"].is_string(), "{row:#}");
    ["action", "environment", "hosts", "cause", "result"].map(|key| row[key].clone())
}

/// By whom the newest one was.
fn actor(w: &World) -> String {
    operations(w)[0]["actor"].as_str().unwrap().to_owned()
}

const HOOK: &str =
    "[[environments.staging.hooks]]\nphase = \"stop\"\nname = \"halt\"\nrun = \"echo halted; exit $(cat $DIR/code)\"\n";

#[test]
fn stop_start_and_retry_say_who_and_why_and_how_it_ended() {
    let w = World::staging(HOOK);
    w.write("code", "0");
    w.run(&["stop", "staging", "--reason", "data corruption"]).exits(0);
    assert_eq!(
        last(&w),
        ["stop".into(), "staging".into(), json!(["local"]), "data corruption".into(), "succeeded".into()]
    );
    assert!(actor(&w).starts_with("ann@"), "{}", actor(&w));
    let run = operations(&w)[0]["run"].as_str().unwrap().to_owned();
    w.soll(&format!("show {run}")).exits(0).says("stop staging, by ann@").says("hook:local:halt").says("halted");

    w.run(&["start", "staging", "--reason", "repaired"]).exits(0);
    assert_eq!(last(&w), ["start".into(), "staging".into(), json!(["local"]), "repaired".into(), "succeeded".into()]);
    w.write("code", "3");
    w.soll("stop staging").exits(1);
    assert_eq!(
        last(&w),
        ["stop".into(), "staging".into(), json!(["local"]), "stopped by hand".into(), "failed".into()]
    );
    let why = operations(&w)[0]["reason"].as_str().unwrap().to_owned();
    assert!(why.starts_with("hooks said no: `halt` on local: exit code 3"), "{why}");
    w.run(&["retry", "staging", "--reason", "the disk was full"]).exits(0);
    assert_eq!(
        last(&w),
        ["retry".into(), "staging".into(), json!(["local"]), "the disk was full".into(), "succeeded".into()]
    );

    // Scripts see deployments, as before; people see everything that happened.
    let history = w.soll("history --output json").exits(0).json();
    assert_eq!((history.as_array().unwrap().len(), &history[0]["subject"]), (1, &"deploy".into()));
    assert_eq!(w.soll("history --subject all --output json").json().as_array().unwrap().len(), 5);
    let text = w.soll("history staging").exits(0).stdout;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(lines[0].contains("retry") && lines[0].ends_with("the disk was full"), "{text}");
    assert!(lines[1].contains("failed") && lines[1].contains("stopped by hand: hooks said no"), "{text}");
    assert!(lines[4].contains(" -> aaaaaaaa"), "{text}");
    w.soll("history --subject deploy").exits(0).hides("data corruption");
    // The last run of a status is a deployment.
    assert_eq!(w.soll("status --output json").json()["environments"][0]["last_run"]["subject"], "deploy");
}

#[test]
fn one_that_could_not_reach_its_host_leaves_a_row_that_says_so() {
    let w =
        World::with(&format!("[hosts.far]\naddress = \"far.example.com\"\n{}", env("away", 'a', "hosts = [\"far\"]")));
    w.soll("retry away").exits(6);
    assert_eq!(last(&w), ["retry".into(), "away".into(), json!(["far"]), "".into(), "unreachable".into()]);
    assert!(operations(&w)[0]["reason"].as_str().unwrap().starts_with("far: "), "{:#}", operations(&w)[0]);
    // What names no environment asks for nothing.
    w.soll("stop nowhere").exits(64);
    assert_eq!(operations(&w).len(), 1);
}

#[test]
fn words_bear_the_name_of_the_person() {
    let mut w = World::staging("");
    w.edit("root = ", "approvals = 1\nroot = ");
    w.soll("release staging <b>").exits(0);
    w.run(&["approve", "staging", "--note", "looked at it"]).exits(0);
    assert_eq!(last(&w), ["approve".into(), "staging".into(), json!([]), "looked at it".into(), "succeeded".into()]);
    assert_eq!(actor(&w), "Ann");
    w.set("GIT_AUTHOR_NAME", "bob");
    w.run(&["reject", "staging", "--reason", "the migration locks a table"]).exits(0);
    let wanted: [Value; 5] =
        ["reject".into(), "staging".into(), json!([]), "the migration locks a table".into(), "succeeded".into()];
    assert_eq!((last(&w), actor(&w).as_str()), (wanted, "bob"));
}

#[test]
fn an_adoption_and_an_acknowledgement_are_rows_too() {
    let w = World::with(&env("staging", 'a', ""));
    w.soll("adopt staging --dry-run").exits(0);
    assert_eq!(operations(&w), Vec::<Value>::new(), "what changes nothing is none");
    w.run(&["adopt", "staging", "--reason", "we move"]).exits(0);
    assert_eq!(last(&w), ["adopt".into(), "staging".into(), json!(["local"]), "we move".into(), "succeeded".into()]);
    w.soll("apply").exits(0);
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(0);
    w.git(&["reset", "-q", "--hard", "HEAD~1"]);
    w.edit("root = ", "frozen = \"tea\"\nroot = ");
    w.soll("apply").exits(4);
    w.run(&["acknowledge", "--reason", "a secret was committed"]).exits(0);
    let wanted: [Value; 5] =
        ["acknowledge".into(), Value::Null, json!([]), "a secret was committed".into(), "succeeded".into()];
    assert_eq!(last(&w), wanted);
    let run = operations(&w)[0]["run"].as_str().unwrap().to_owned();
    w.soll(&format!("show {run}")).exits(0).says("is accepted here and on 1 host; ").says("lost:");
    w.run(&["acknowledge", "--host", "local", "--reason", "cloned"]).exits(0);
    assert_eq!(last(&w), ["acknowledge".into(), Value::Null, json!(["local"]), "cloned".into(), "succeeded".into()]);
}

/// The kill comes before anything was done, or after all of it: the row is there, and says that nobody saw its end.
#[test]
fn one_that_died_in_between_is_interrupted() {
    for (place, stopped) in [("operation.after-opened", false), ("operation.before-finished", true)] {
        let mut w = World::staging(HOOK);
        w.write("code", "0");
        w.set("SOLL_FAULT", place);
        w.run(&["stop", "staging", "--reason", "data corruption"]).exits(-1);
        w.set("SOLL_FAULT", "");
        assert_eq!(w.record("staging")["stopped"].is_object(), stopped, "{place}");
        let wanted: [Value; 5] =
            ["stop".into(), "staging".into(), json!(["local"]), "data corruption".into(), "interrupted".into()];
        assert_eq!(last(&w), wanted, "{place}");
        assert!(operations(&w)[0]["reason"].as_str().unwrap().contains("died in it"), "{:#}", operations(&w)[0]);
        let run = operations(&w)[0]["run"].as_str().unwrap().to_owned();
        let shown = w.soll(&format!("show {run}")).exits(0).stdout;
        assert_eq!(shown.contains("hook:local:halt"), stopped, "{shown}");
        // It is a word like any other when it is said again.
        w.soll("stop staging").exits(0);
        assert_eq!(last(&w)[4], "succeeded");
    }
}
