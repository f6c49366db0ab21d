//! `plan` in all its forms: it says what would be done, and does nothing.

use crate::support::web::{Web, free_port, get};
use crate::support::world::{APP, World, env, until};

/// Every kind of configured command; each of them would leave a trace.
const COMMANDS: &str = r#"
[[environments.staging.gates]]
name = "looks"
run = "touch $DIR/trace"
[[environments.staging.hooks]]
phase = "prepare"
run = "touch $DIR/trace"
[[environments.staging.hooks]]
name = "migrate"
phase = "migrate"
run = "touch $DIR/trace"
[[environments.staging.health.checks]]
name = "runs"
run = "touch $DIR/trace"
"#;

#[test]
fn a_plan_changes_nothing_and_runs_no_command() {
    let w = World::staging("");
    w.write("staging/releases/20200101_000000-dddddddd/index.html", "d");
    w.edit("release = \"<a>\"", "release = \"<b>\"");
    w.write("state/desired-state.toml", &(w.read("state/desired-state.toml") + COMMANDS));
    w.commit_all("commands");
    let (roots, state) = (w.tree("staging"), w.tree("state"));
    for line in ["plan", "plan --output json", "plan --out $DIR/plan.json", "status", "why staging", "diff staging"] {
        w.soll(line).exits(0);
    }
    assert_eq!(w.tree("staging"), roots);
    assert_eq!(w.tree("state"), state);
    assert!(!w.path("trace").exists(), "a configured command ran");
    // A root that was never used is not even made.
    w.commit(&format!("{APP}{}", env("fresh", 'a', "")));
    w.soll("plan").exits(0).says("nothing runs here yet");
    assert!(!w.path("fresh").exists());
}

#[test]
fn the_text_shows_soll_against_ist_with_reasons() {
    let w = World::staging(COMMANDS);
    w.soll("release staging <b>").exits(0);
    let plan = w.soll("plan").exits(0);
    let first = plan.stdout.lines().next().unwrap().to_owned();
    assert!(first.starts_with("staging  GO  out of sync  healthy  desired bbbbbbbb  runs "), "{first}");
    let plan = plan.says("bbbbbbbb is desired").says("irreversible").says("once per environment");
    let plan = plan.says("only what its SHA-256 vouches for is unpacked").says("about ");
    // Twice the same bytes (law 7), the estimates aside, which are the same here too.
    assert_eq!(plan.stdout, w.soll("plan").stdout);
}

#[test]
fn blockers_come_first_with_grade_and_cure() {
    let w = World::staging("");
    w.soll("freeze staging --reason incident-4711").exits(0);
    w.soll("release staging <b>").exits(0);
    let text = w.soll("plan").exits(0).stdout;
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("staging  NO-GO  out of sync"), "{text}");
    assert_eq!(lines[1], "  P1 frozen: incident-4711");
    assert_eq!(lines[2], "     fix: when it is over: soll unfreeze staging");
    w.soll("why staging").exits(0).says("incident-4711").says("soll unfreeze staging");
}

#[test]
fn the_comment_for_a_pull_request() {
    let w = World::staging("");
    let quiet = w.soll("plan --output markdown").exits(0).stdout;
    assert_eq!(quiet.lines().count(), 2, "{quiet}");
    assert!(quiet.starts_with("<!-- soll-plan -->\n**soll**: nothing changes"), "{quiet}");
    w.soll("freeze staging --reason incident-4711").exits(0);
    let head = {
        w.soll("release staging <b>").exits(0);
        w.head()
    };
    let fingerprint = w.soll("plan --output json").json()["fingerprint"].as_str().unwrap().to_owned();
    let comment = w.soll("plan --output markdown").exits(0).stdout;
    let lines: Vec<_> = comment.lines().collect();
    assert_eq!(lines[0], "<!-- soll-plan -->");
    assert!(lines[1].contains(&head) && lines[1].contains(&fingerprint), "{comment}");
    let blocker = comment.find("incident-4711").unwrap();
    let folded = comment.find("<details>").unwrap();
    assert!(blocker < folded, "the blocker is folded away:\n{comment}");
}

#[test]
fn the_graph_as_a_picture() {
    let w = World::staging("");
    w.soll("release staging <b>").exits(0);
    let mermaid = w.soll("plan --output mermaid").exits(0).stdout;
    assert!(mermaid.starts_with("flowchart TD\n"), "{mermaid}");
    let dot = w.soll("plan --output dot").exits(0).stdout;
    assert!(dot.starts_with("digraph \"staging\" {"), "{dot}");
    let steps = w.soll("plan --output json").json()["environments"][0]["steps"].as_array().unwrap().clone();
    let edges: usize = steps.iter().map(|step| step["after"].as_array().unwrap().len()).sum();
    assert_eq!(mermaid.matches(" --> ").count(), edges, "{mermaid}");
    assert_eq!(dot.matches(" -> ").count(), edges, "{dot}");
}

#[test]
fn the_order_is_that_of_a_deployment() {
    let w = World::staging("");
    w.soll("release staging <b>").exits(0);
    let plan = w.soll("plan --output json").exits(0).json();
    let steps = plan["environments"][0]["steps"].as_array().unwrap().clone();
    let kinds: Vec<_> = steps.iter().map(|step| step["kind"].as_str().unwrap()).collect();
    let wanted = [
        "health-before",
        "fetch",
        "verify",
        "upload",
        "extract",
        "link",
        "seal",
        "switch",
        "health",
        "confirm",
        "prune",
    ];
    assert_eq!(kinds, wanted);
    assert_eq!(plan["environments"][0]["verdict"], "GO");
    assert!(steps.iter().all(|step| step["reason"].as_str().is_some_and(|reason| !reason.is_empty())), "{steps:?}");
}

#[test]
fn an_estimate_comes_from_past_runs() {
    let w = World::staging("");
    w.soll("release staging <b>").exits(0);
    let plan = w.soll("plan --output json").json();
    let steps = plan["environments"][0]["steps"].as_array().unwrap().clone();
    let switch = steps.iter().find(|step| step["kind"] == "switch").unwrap();
    assert!(switch["estimate_ms"].is_u64(), "{switch}");
    // A controller that knows no past has none, and the plan is the same.
    let fresh = w.soll("plan --output json --state-dir $DIR/other").exits(0).json();
    assert!(fresh["environments"][0]["steps"][0]["estimate_ms"].is_null());
    assert_eq!(fresh["fingerprint"], plan["fingerprint"]);
}

#[test]
fn another_commit_is_planned_by_name() {
    let w = World::staging("");
    w.git(&["checkout", "-q", "-b", "proposal"]);
    w.edit("release = \"<a>\"", "release = \"<b>\"");
    w.git(&["checkout", "-q", "main"]);
    w.soll("plan --detailed-exitcode").exits(0);
    w.soll("plan --ref proposal --detailed-exitcode").exits(2).says("desired bbbbbbbb");
    w.soll("plan --ref main~0 --detailed-exitcode").exits(0);
    w.soll("plan --ref nowhere").exits(1);
    w.soll("validate --ref proposal").exits(0);
}

#[test]
fn a_pull_request_plans_from_what_a_daemon_publishes() {
    let mut w = World::staging("");
    w.set("SOLL_POLL", "1h");
    let address = format!("127.0.0.1:{}", free_port());
    let daemon = w.start(&format!("run --listen {address}"), "daemon.log");
    w.write("observation.json", &until("the daemon publishes", || get(&address, "/observation")));
    assert_eq!(daemon.stop(), Some(0));

    // The pull request releases `b` and `e`, which has no bundle; the roots cannot be seen from there.
    w.git(&["checkout", "-q", "-b", "proposal"]);
    w.edit("release = \"<a>\"", "release = \"<b>\"");
    let seen = w.soll("plan --ref proposal --output json").exits(0).json();
    std::fs::rename(w.path("staging"), w.path("away")).unwrap();
    let line = "plan --ref proposal --observation $DIR/observation.json --output json --state-dir $DIR/ci";
    let blind = w.soll(line).exits(0).json();
    for key in ["commit", "fingerprint", "verdict"] {
        assert_eq!(blind[key], seen[key], "{key}");
    }
    let plain = |plan: &serde_json::Value| {
        let mut env = plan["environments"][0].clone();
        env["steps"].as_array_mut().unwrap().iter_mut().for_each(|step| step["estimate_ms"] = 0.into());
        // What was published was seen before.
        env["hosts"].as_array_mut().unwrap().iter_mut().for_each(|host| host["drift_age_s"] = 0.into());
        env
    };
    assert_eq!(plain(&blind), plain(&seen));
    w.soll("plan --ref proposal --observation $DIR/observation.json --detailed-exitcode").exits(2);
    w.soll("plan --ref main --observation $DIR/observation.json --detailed-exitcode").exits(0);
    let published: serde_json::Value = serde_json::from_str(&w.read("observation.json")).unwrap();
    let mut old = published.clone();
    let then = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(2 * 3_600 + 60);
    old["observed"]["environments"]["staging"]["at"] = then.to_string().into();
    w.write("old.json", &old.to_string());
    // Nobody believes it, but for whoever says how old it may be.
    let plan = "plan --ref main --observation $DIR/old.json";
    w.soll(plan).exits(1).says("publishes of staging is of").says("may be 15m old at most");
    w.write("patient.toml", "[[observation]]\nurl = \"$DIR/old.json\"\nhosts = [\"*\"]\nmax_age = \"1d\"\n");
    let plan = "plan --ref main --config $DIR/patient.toml --observation $DIR/old.json";
    w.soll(plan).exits(0).says(&format!("what was observed at {then:.0}, 2 h ago"));
    w.soll(&format!("{plan} --output markdown")).exits(0).says(&format!("what was observed at {then:.0}, 2 h before"));
    let json = w.soll(&format!("{plan} --output json")).exits(0).json();
    assert!(json["observed"]["at"] == then.to_string() && json["observed"]["age_s"].as_u64() >= Some(7_260), "{json}");
    w.edit("release = \"<b>\"", "release = \"<e>\"");
    w.soll("plan --ref proposal --observation $DIR/observation.json").exits(0).says("there is no bundle of eeeeeeee");
    // What only the proposal has is unknown: nothing was unreachable, and something would change.
    w.edit(
        "[environments.staging]",
        "[environments.other]\nrelease = \"<a>\"\nroot = \"$DIR/other\"\n[environments.staging]",
    );
    let other = "plan other --ref proposal --observation $DIR/observation.json";
    let plan = w.soll(&format!("{other} --output json")).exits(0).json();
    let env = &plan["environments"][0];
    assert_eq!((&env["sync"], &env["health"]), (&"unknown".into(), &"unknown".into()), "{env}");
    assert_eq!((&env["verdict"], &env["blockers"][0]["code"]), (&"PENDING".into(), &"not-accepted".into()), "{env}");
    w.soll(&format!("{other} --detailed-exitcode")).exits(2).says("the accepted commit has no such environment");
    // What nobody publishes of the accepted commit is a hole.
    let published: serde_json::Value = serde_json::from_str(&w.read("observation.json")).unwrap();
    let mut holes = published.clone();
    holes["observed"]["environments"] = serde_json::json!({});
    w.write("holes.json", &holes.to_string());
    w.soll("plan staging --ref main --observation $DIR/holes.json").exits(6).says("it was not looked at");
    w.soll("plan staging --ref proposal --observation $DIR/holes.json").exits(6).says("it was not looked at");
    w.soll("plan --observation $DIR/none.json").exits(1).says("cannot read the observation");
    w.write("none.json", "{}");
    w.soll("plan --observation $DIR/none.json").exits(1).says("is no observation");
    let web = Web::start();
    web.set("/observation", 200, &w.read("observation.json"));
    w.soll(&format!("plan --ref main --observation {}", web.url("/observation"))).exits(0);
    w.soll(&format!("plan --observation {}", web.url("/gone"))).exits(1).says("cannot fetch the observation");
}

#[test]
fn an_unhealthy_environment_is_shown_by_passive_checks() {
    let web = Web::start();
    web.set("/health", 200, "fine");
    let check = format!("[[environments.staging.health.checks]]\nname = \"web\"\nhttp = \"{}\"\n", web.url("/health"));
    let w = World::staging(&check);
    w.soll("plan").exits(0).says("healthy");
    web.set("/health", 503, "tired");
    let plan = w.soll("plan --output json").exits(0).json();
    assert_eq!(plan["environments"][0]["health"], "degraded");
    assert_eq!(plan["verdict"], "none");
    w.soll("status").exits(0).says("degraded");
    w.soll("apply").exits(0).says("in sync, but not healthy");
}
