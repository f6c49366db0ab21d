//! A pull request (law 11): its plan is of use, and touches nothing that the accepted commit does not name.

use super::{SECRET, Trap, guarded, signs};
use crate::support::web::Web;
use crate::support::world::World;

/// A branch `proposal` with this state file, by somebody who is not allowed; `main` is checked out again.
fn propose(w: &World, change: impl Fn(&str) -> String) {
    signs(w, None);
    w.git(&["checkout", "-q", "-B", "proposal", "main"]);
    let text = change(&w.read("state/desired-state.toml"));
    w.commit(&text);
    w.git(&["checkout", "-q", "main"]);
}

/// The plan of the proposal's only environment by that name.
#[track_caller]
fn planned(w: &World, name: &str) -> serde_json::Value {
    let plan = w.soll("plan --ref proposal --output json").exits(0).json();
    let found = plan["environments"].as_array().unwrap().iter().find(|env| env["name"] == name).cloned();
    found.unwrap_or_else(|| panic!("{plan}"))
}

fn codes(env: &serde_json::Value) -> Vec<String> {
    let blockers = env["blockers"].as_array().unwrap().iter();
    blockers.map(|b| format!("{} {}", b["grade"].as_str().unwrap(), b["code"].as_str().unwrap())).collect()
}

#[test]
fn a_proposed_release_is_planned_like_an_accepted_one() {
    let w = guarded();
    propose(&w, |text| text.replacen(&w.fill("<a>"), &w.fill("<b>"), 1));
    let env = planned(&w, "staging");
    assert_eq!((&env["sync"], &env["verdict"]), (&"out-of-sync".into(), &"GO".into()), "{env}");
    assert!(env["blockers"].as_array().unwrap().is_empty(), "{env}");
    w.soll("plan --ref proposal --detailed-exitcode").exits(2).says("hosts were looked at as commit");
    // What would be done is what is done once it is accepted: by Ann, who commits the same.
    signs(&w, Some("ann"));
    w.edit("<a>", "<b>");
    let after = w.soll("plan --output json").exits(0).json();
    let after = after["environments"].as_array().unwrap().iter().find(|e| e["name"] == "staging").unwrap().clone();
    for key in ["fingerprint", "binding", "sync", "health"] {
        assert_eq!(after[key], env[key], "{key}");
    }
}

#[test]
fn what_a_proposal_adds_is_unknown_and_nobody_looks() {
    let w = guarded();
    let trap = Trap::set();
    let port = trap.port();
    let added = [
        // A host at an address of theirs.
        format!(
            "[environments.fresh]\nrelease = \"<a>\"\nroot = \"$DIR/fresh\"\nhosts = [\"theirs\"]\n\
             [hosts.theirs]\naddress = \"127.0.0.1\"\nport = {port}\n"
        ),
        // This machine, another root.
        "[environments.fresh]\nrelease = \"<a>\"\nroot = \"$DIR/fresh\"\n".to_owned(),
    ];
    for lines in added {
        propose(&w, |text| text.to_owned() + &lines);
        let env = planned(&w, "fresh");
        assert_eq!((&env["sync"], &env["health"]), (&"unknown".into(), &"unknown".into()), "{env}");
        assert_eq!(codes(&env), ["P1 not-accepted"], "{env}");
        assert_eq!((&env["verdict"], &env["steps"]), (&"PENDING".into(), &serde_json::json!([])), "{env}");
        assert_eq!(env["hosts"][0]["reachable"], false);
        assert!(env["hosts"][0]["current"].is_null(), "{env}");
        w.soll("plan --ref proposal")
            .exits(0)
            .says("the accepted commit has no such environment")
            .says("not looked at");
        w.soll("plan --ref proposal --detailed-exitcode").exits(2);
        w.soll("plan --ref proposal --output markdown").exits(0).says("not-accepted");
        assert!(!trap.is_sprung());
        assert!(!w.path("fresh").exists());
    }
    // Another root, or another address, of an environment that is there.
    for (from, to, why) in [
        ("root = \"$DIR/staging\"", "root = \"$DIR/elsewhere\"".to_owned(), "another root"),
        (
            "root = \"$DIR/staging\"",
            format!(
                "root = \"$DIR/staging\"\nhosts = [\"local\"]\n[hosts.local]\naddress = \"127.0.0.1\"\nport = {port}\n"
            ),
            "another address and port",
        ),
    ] {
        propose(&w, |text| text.replacen(&w.fill(from), &to, 1));
        let env = planned(&w, "staging");
        assert_eq!((&env["sync"], codes(&env)), (&"unknown".into(), vec!["P1 not-accepted".to_owned()]), "{env}");
        w.soll("plan --ref proposal").exits(0).says(why);
        assert!(!trap.is_sprung());
    }
}

#[test]
fn the_checks_of_a_proposal_are_not_asked_and_those_of_the_accepted_commit_are() {
    let web = Web::start();
    web.set("/health", 200, "fine");
    let w = guarded();
    let check = |name: &str, url: &str, secret: &str| {
        format!(
            "[[environments.staging.health.checks]]\nname = \"{name}\"\nhttp = \"{url}\"\nbearer = \"{secret}\"\nfrom = \"controller\"\n"
        )
    };
    let ours = check("ours", &web.url("/health"), "HEALTHCHECK_TOKEN");
    w.commit(&(w.read("state/desired-state.toml") + &ours));
    w.soll("apply").exits(0);
    let trap = Trap::set();
    let of_ours = |web: &Web| web.seen().iter().filter(|head| head.contains(SECRET)).count();
    let before = of_ours(&web);
    // Nothing changes for staging: its accepted check is asked, with its secret.
    propose(&w, |text| text.replacen("schema = 1\n", "schema = 1\n# more\n", 1));
    let env = planned(&w, "staging");
    assert_eq!((&env["sync"], &env["health"]), (&"in-sync".into(), &"healthy".into()), "{env}");
    assert_eq!(of_ours(&web), before + 1);
    // One more; the accepted one at another address; with the same name and another secret's name.
    for text in [
        w.read("state/desired-state.toml") + &check("theirs", &trap.url("/"), "HEALTHCHECK_TOKEN"),
        w.read("state/desired-state.toml").replace(&web.url("/health"), &trap.url("/")),
        w.read("state/desired-state.toml").replace(&ours, &check("ours", &trap.url("/"), "OTHER")),
    ] {
        propose(&w, |_| text.clone());
        let env = planned(&w, "staging");
        assert_eq!((&env["sync"], &env["health"]), (&"in-sync".into(), &"unknown".into()), "{env}");
        assert!(codes(&env).contains(&"P2 not-accepted".to_owned()), "{env}");
        assert!(!trap.is_sprung());
    }
    // A variable leads the accepted check's template elsewhere.
    let host = |url: &str| url.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
    let templated = w.read("state/desired-state.toml").replace(&host(&web.url("/")), "{place}").replace(
        "[environments.staging]\n",
        &format!("[environments.staging]\nvariables = {{ place = \"{}\" }}\n", host(&web.url("/"))),
    );
    signs(&w, Some("ann"));
    w.commit(&templated);
    w.soll("apply").exits(0);
    propose(&w, |text| text.replacen(&host(&web.url("/")), &host(&trap.url("/")), 1));
    assert_eq!(planned(&w, "staging")["health"], "unknown");
    assert!(!trap.is_sprung());
}

#[test]
fn files_that_a_proposal_names_are_not_read() {
    let w = guarded();
    w.write("staging/shared/secret.key", "key");
    w.write("staging/shared/.env", "A=1\n");
    propose(&w, |text| {
        text.replacen(
            "[environments.staging]\n",
            "[environments.staging]\nshared_files = [\"secret.key\", \".env\"]\nrequired_env = [\"A\"]\n",
            1,
        )
    });
    let plan = w.soll("plan --ref proposal --output json").exits(0).json();
    let env = planned(&w, "staging");
    assert!(codes(&env).contains(&"P2 not-accepted".to_owned()), "{env}");
    w.soll("plan --ref proposal").says("shared/.env").says("not looked for");
    assert!(!plan.to_string().contains("shared-file-missing"), "{plan}");
}

#[test]
fn bundles_and_repositories_of_a_proposal_are_asked_only_where_the_accepted_commit_asks() {
    let w = guarded();
    let trap = Trap::set();
    w.write("controller/secret.txt", "0000000000000000000000000000000000000000000000000000000000000000");
    let theirs = |what: &str| format!("bundle = {{ {} }}\n", what.replace("{trap}", &trap.url("")));
    for bundle in [
        theirs("url = \"{trap}/b.tar.gz\""),
        theirs("url = \"bundles/deployment-bundle-{sha}.tar.gz\", sha256 = \"{trap}/s\""),
        theirs("url = \"bundles/deployment-bundle-{sha}.tar.gz\", checks = \"{trap}/c\""),
        theirs("url = \"bundles/deployment-bundle-{sha}.tar.gz\", sha256 = \"file://$DIR/controller/secret.txt\""),
        theirs("url = \"bundles/deployment-bundle-{sha}.tar.gz\", sha256 = \"../controller/secret.txt\""),
        theirs("url = \"$DIR/controller/secret.txt\", sha256 = \"$DIR/controller/secret.txt\""),
    ] {
        propose(&w, |text| {
            let text = text.replacen("[environments.staging]\n", &format!("[environments.staging]\n{bundle}"), 1);
            text.replacen(&w.fill("<a>"), &w.fill("<b>"), 1)
        });
        let plan = w.soll("plan --ref proposal --output json").exits(0);
        assert!(!trap.is_sprung(), "{bundle}");
        assert!(plan.stdout.contains("names no bundle at that place"), "{bundle}\n{}", plan.stdout);
        assert!(!plan.stdout.contains("0000000000000000"), "{bundle}\n{}", plan.stdout);
    }
    // The same place for another release is looked at.
    propose(&w, |text| text.replacen(&w.fill("<a>"), &w.fill("<e>"), 1));
    w.soll("plan staging --ref proposal").exits(0).says("there is no bundle of eeeeeeee");
    // A tag is looked up nowhere else.
    propose(&w, |text| {
        let text = text.replacen("[apps.web]\n", &format!("[apps.web]\nrepository = \"{}\"\n", trap.url("/x.git")), 1);
        text.replacen(&w.fill("<a>"), "v1", 1)
    });
    w.soll("plan staging --ref proposal").exits(0).says("does not name its repository");
    assert!(!trap.is_sprung());
}

#[test]
fn a_clone_without_the_branch_plans_what_is_text() {
    let mut w = guarded();
    propose(&w, |text| text.replacen(&w.fill("<a>"), &w.fill("<b>"), 1));
    w.git(&["clone", "-q", "--single-branch", "-b", "proposal", ".", w.path("ci").to_str().unwrap()]);
    w.set("SOLL_REPO", "$DIR/ci");
    w.set("SOLL_STATE_DIR", "$DIR/ci-state");
    let plan = w.soll("plan --ref HEAD --output json").exits(0).json();
    assert_eq!(plan["environments"][1]["sync"], "unknown", "{plan}");
    w.soll("plan --ref HEAD").exits(0).says("no branch `main`").says("no commit of the branch is accepted here");
    w.soll("validate --ref HEAD").exits(0);
    w.soll("plan").exits(1);
}
