//! The keys that scripts rely on (contract 1.3): exactly these, everywhere. A new key is added here on purpose.

use serde_json::Value;

use crate::support::world::{World, env};

#[track_caller]
fn keys(value: &Value, wanted: &str) {
    let mut found: Vec<_> =
        value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect();
    found.sort_unstable();
    let mut wanted: Vec<_> = wanted.split(' ').collect();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}

const HOST: &str = "name reachable current confirmed releases drift reason";
const RUN: &str = "run subject environment from to result reason started finished actor commit cause from_release release committed_at pid machine";

/// `staging` fell back from `c`; `production` is frozen; `away` cannot be reached.
fn varied() -> World {
    let away = "[hosts.far]\naddress = \"far.example.com\"\n";
    let w = World::with(
        &(away.to_owned()
            + &env("staging", 'a', "drift_every = \"1ms\"")
            + &env("production", 'a', "frozen = \"incident\"")
            + &env("away", 'a', "hosts = [\"far\"]")),
    );
    w.soll("apply staging").exits(0);
    w.write("staging/current/added.php", "x");
    w.soll("release staging <c>").exits(0);
    w.soll("apply staging").exits(3);
    w
}

fn one_of(value: &Value, words: &str) {
    let word = value.as_str().unwrap();
    assert!(words.split('|').any(|known| known == word), "{word} is none of {words}");
}

#[test]
fn plan() {
    let w = varied();
    let plan = w.soll("plan --output json").exits(6).json();
    keys(&plan, "schema commit fingerprint verdict environments");
    assert_eq!((&plan["schema"], &plan["commit"], &plan["verdict"]), (&1.into(), &w.head().into(), &"blocked".into()));
    assert_eq!(plan["fingerprint"].as_str().unwrap().len(), 64);
    let names: Vec<_> =
        plan["environments"].as_array().unwrap().iter().map(|env| env["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["away", "production", "staging"]);
    for env in plan["environments"].as_array().unwrap() {
        keys(env, "name app desired release fingerprint binding reviewed sync health verdict blockers hosts steps");
        one_of(&env["sync"], "in-sync|out-of-sync|unknown");
        one_of(&env["health"], "healthy|progressing|degraded|missing|unknown");
        one_of(&env["verdict"], "GO|NO-GO|PENDING");
        env["hosts"].as_array().unwrap().iter().for_each(|host| keys(host, HOST));
        for blocker in env["blockers"].as_array().unwrap() {
            keys(blocker, "grade code message fix");
            one_of(&blocker["grade"], "P0|P1|P2");
        }
        for step in env["steps"].as_array().unwrap() {
            for key in ["id", "kind", "host", "after", "on_failure", "irreversible", "estimate_ms", "reason"] {
                assert!(step.get(key).is_some(), "{key}: {step}");
            }
            one_of(&step["on_failure"], "abort|rollback|warn");
        }
    }
    let state =
        |n: usize| (plan["environments"][n]["sync"].clone(), plan["environments"][n]["hosts"][0]["reachable"].clone());
    assert_eq!(state(0), ("unknown".into(), false.into()));
    assert_eq!(state(1), ("out-of-sync".into(), true.into()));
    let host = &plan["environments"][2]["hosts"][0];
    keys(&host["drift"][0], "path kind");
    assert_eq!((&host["current"], &host["confirmed"]), (&w.release("staging").into(), &w.release("staging").into()));
}

#[test]
fn status_and_why() {
    let w = varied();
    let status = w.soll("status --output json").exits(0).json();
    keys(&status, "commit environments");
    for env in status["environments"].as_array().unwrap() {
        keys(env, "name desired release sync health operation reason quarantined hosts last_run");
        one_of(&env["operation"], "idle|running|succeeded|failed|error|rolled-back|blocked|superseded");
        env["hosts"].as_array().unwrap().iter().for_each(|host| keys(host, HOST));
    }
    let staging = &status["environments"][2];
    assert_eq!(staging["operation"], "rolled-back");
    keys(&staging["last_run"], RUN);
    keys(&staging["quarantined"][0], "key reason at verdict");
    assert_eq!(staging["quarantined"][0]["key"]["sha"], Value::from(w.fill("<c>")));
    assert_eq!(status["environments"][1]["operation"], "blocked");
    assert!(status["environments"][1]["last_run"].is_null());
    let why = w.soll("why staging --output json").exits(0).json();
    keys(&why, "name why status");
    assert!(why["why"].as_str().unwrap().contains("quarantined"), "{why}");
}

#[test]
fn history_and_show() {
    let w = varied();
    let history = w.soll("history --output json").exits(0).json();
    let rows = history.as_array().unwrap();
    assert_eq!(rows.len(), 2);
    rows.iter().for_each(|row| keys(row, RUN));
    let (last, first) = (&rows[0], &rows[1]);
    assert_eq!((&last["result"], &first["result"]), (&"rolled-back".into(), &"succeeded".into()));
    assert_eq!((&last["from"], &last["to"]), (&w.fill("<a>").into(), &w.fill("<c>").into()));
    assert_eq!((&last["environment"], &last["actor"]), (&"staging".into(), &"Ann".into()));
    assert_eq!(last["commit"], Value::from(w.head()));
    assert!(last["reason"].as_str().unwrap().contains("check `alive`"), "{last}");
    let run = last["run"].as_str().unwrap();
    let show = w.soll(&format!("show {run} --output json")).exits(0).json();
    keys(&show, "run events");
    assert_eq!(&show["run"], last);
    // Exit code, ledger and status come from one row (law 8).
    assert_eq!(w.soll("status staging --output json").json()["environments"][0]["last_run"], *last);
    assert_eq!(w.soll("history --output json --limit 1").json().as_array().unwrap().len(), 1);
    assert_eq!(w.soll("history production --output json").json(), Value::Array(Vec::new()));
}

#[test]
fn apply() {
    let w = varied();
    let apply = w.soll("apply --output json").exits(6).json();
    keys(&apply, "commit environments");
    let row = "name outcome exit run result reason message blockers";
    apply["environments"].as_array().unwrap().iter().for_each(|env| keys(env, row));
    let exits: Vec<_> =
        apply["environments"].as_array().unwrap().iter().map(|env| env["exit"].as_u64().unwrap()).collect();
    assert_eq!(exits, [6, 4, 7]);
    keys(&apply["environments"][1]["blockers"][0], "grade code message fix");
    w.soll("release staging <b>").exits(0);
    let apply = w.soll("apply staging --output json").exits(0).json();
    let env = &apply["environments"][0];
    assert_eq!((&env["outcome"], &env["result"]), (&"converged".into(), &"succeeded".into()));
    assert_eq!(env["run"], w.soll("history --output json").json()[0]["run"]);
}

#[test]
fn the_others() {
    let w = varied();
    keys(&w.soll("diff staging --output json").exits(0).json(), "name desired release sync hosts");
    keys(&w.soll("release staging <b> --output json").exits(0).json(), "commit changed subject");
    keys(&w.soll("approve staging --output json").exits(0).json(), "environment approve binding commit id expires");
    keys(&w.soll("validate --output json").exits(0).json(), "valid environments warnings policies");
    let bundle = "bundle $DIR/build/a --sha <a> --out $DIR/out --check run-tests=success --output json";
    keys(&w.soll(bundle).exits(0).json(), "archive sha256 checks warnings");
    w.write("state/desired-state.toml", "schema = 1\nnonsense = 2\n");
    let invalid = w.soll("validate --output json").exits(1).json();
    keys(&invalid, "valid errors");
    let error = &invalid["errors"][0];
    assert_eq!((&error["line"], &error["column"]), (&2.into(), &1.into()), "{error}");
}
