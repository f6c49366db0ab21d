//! Many environments at once: one commit, one word and one table for all that are named, by name, glob, application or template.

use crate::support::world::{APP, World, env};

/// So many customers, as `docs/fleets.md` declares them, on one root each; all of them get what the template says.
fn customers(count: usize, more: &str) -> World {
    let w = World::new();
    for letter in ['a', 'b'] {
        w.bundle(letter, &[]);
    }
    let template = "\n[templates.customer]\nroot = \"$DIR/{env}\"\nrelease = \"<a>\"\n";
    let customers: String = (1..=count).map(|n| format!("[environments.c{n:02}]\nextends = \"customer\"\n")).collect();
    w.commit(&format!("{APP}{template}{more}\n{customers}"));
    w
}

fn state(w: &World) -> String {
    w.read("state/desired-state.toml")
}

fn commits(w: &World, of: &str) -> usize {
    w.git(&["rev-list", "--count", of]).parse().unwrap()
}

#[test]
fn a_coffee_for_thirty_customers() {
    let w = customers(30, "");
    // What makes one of them ill lies on its host: no plan knows it.
    w.edit("run = \"test ! -e broken\"", "run = \"test ! -e $SOLL_ROOT/ill || grep -q a index.html\"");
    w.soll("apply").exits(0);
    w.write("c07/ill", "");
    w.edit("release = \"<a>\"", "release = \"<a>\"\napprovals = 1");
    let (before, text) = (commits(&w, "main"), state(&w));

    w.soll("release --template customer <b>")
        .exits(0)
        .says("Release bbbbbbbb to the template customer (commit ")
        .says("30 environments follow it");
    w.soll("plan").exits(0).says(" in 30 environments").says("0 of 1 approvals for ENV -> bbbbbbbb");
    w.soll("approve --template customer")
        .exits(0)
        .says(" in 30 environments")
        .says("approved: 30 environments (one word ");
    w.soll("apply").exits(3);
    w.soll("rollback c07").exits(0).says("Roll c07 back to aaaaaaaa (commit ").says("pinned: c07");
    w.soll("status c0*")
        .exits(0)
        .says("pinned: its template customer is at bbbbbbbb; to let it follow: soll unpin c07");
    w.soll("apply").exits(0);

    assert_eq!((commits(&w, "main"), commits(&w, "refs/soll/approvals")), (before + 2, 1));
    for n in 1..=30 {
        assert_eq!(w.runs(&format!("c{n:02}")), if n == 7 { "a" } else { "b" }, "c{n:02}");
    }
    // Whom the word was about is in the history of each.
    let history = w.soll("history c29 --subject operate --output json").exits(0).json();
    assert_eq!(history[0]["action"], "approve", "{history}");
    // What is pinned stays, and says so; then it follows again, and the file is as it was but for the release.
    w.soll("release --template customer <a>")
        .exits(0)
        .says("29 environments follow it")
        .says("c07 is pinned to aaaaaaaa");
    w.soll("unpin --all").exits(0).says("Unpin c07");
    assert_eq!(state(&w), text);
}

#[test]
fn one_commit_for_all_that_are_named() {
    let w = customers(4, &env("web", 'a', ""));
    let text = state(&w);
    let one = |line: &[&str], wanted: &str| {
        let before = commits(&w, "main");
        w.run(line).exits(0).says(wanted);
        assert_eq!(commits(&w, "main"), before + 1, "{line:?}");
    };
    one(&["freeze", "c0*", "--reason", "a fair"], "Freeze 4 environments: a fair");
    assert!(w.git(&["log", "-1", "--format=%b"]).contains("c01\nc02\nc03\nc04"));
    assert_eq!(state(&w).matches("frozen = \"a fair\"").count(), 4);
    one(&["unfreeze", "c02"], "Unfreeze c02");
    one(&["unfreeze", "--template", "customer"], "Unfreeze 4 environments");
    assert_eq!(state(&w), text);
    one(&["freeze", "--app", "web", "--reason", "x"], "Freeze 5 environments");
    one(&["unfreeze", "--all"], "Unfreeze 5 environments");
    one(&["release", "c01", "c0[34]", &w.fill("<b>"), "-m", "for three"], "Release bbbbbbbb to 3 environments");
    one(&["unpin", "--template", "customer"], "Unpin 3 environments");
    assert_eq!(state(&w), text);
    // Of a template that is frozen in its own line nobody is unfrozen alone.
    w.edit("root = \"$DIR/{env}\"", "frozen = \"all of them\"\nroot = \"$DIR/{env}\"");
    w.soll("unfreeze c01")
        .exits(1)
        .says("c01 is frozen by its template customer")
        .says("soll unfreeze --template customer");
    one(&["unfreeze", "--template", "customer"], "Unfreeze 4 environments");
    assert_eq!(state(&w), text);
    // Each to where it was: none of these has run anything, so none has anywhere to go.
    w.soll("rollback c0*").exits(1).says("c01 has no earlier release").says("c04 has no earlier release");
    // Several in JSON say which; one says what it always said.
    let json = w.soll("release c01 c02 <b> --output json").exits(0).json();
    assert_eq!(json["environments"], serde_json::json!(["c01", "c02"]));
    assert!(w.soll("release c01 <a> --output json").exits(0).json().get("environments").is_none());
    w.soll("unpin c03").exits(1).says("c03 is not pinned: it follows its template customer already");
}

#[test]
fn a_choice_that_meets_nothing_is_an_error_with_the_nearest_name() {
    let w = customers(14, "");
    let head = w.head();
    for (line, wanted) in [
        ("freeze c9* --reason x", "there is no environment like `c9*`; there are 14: c01, "),
        ("freeze c011 --reason x", "there is no environment `c011`"),
        (
            "freeze --app wbe --reason x",
            "there is no application with environments `wbe`; there are: web; did you mean `web`?",
        ),
        (
            "freeze --template custmer --reason x",
            "there is no template `custmer`; there are: customer; did you mean `customer`?",
        ),
        ("release --template custmer <b>", "there is no template `custmer`"),
        ("freeze --reason x", "no environment is named"),
        ("approve", "no environment is named"),
        ("retry", "no environment is named"),
        ("rollback", "no environment is named"),
        ("promote c01", "no environment is named"),
        ("release <b>", "which release of which environments?"),
        ("freeze c01 --all --reason x", "--all is every environment"),
        ("rollback c0* --with-database --yes", "of one environment back"),
        ("status ../x", "is not a name"),
    ] {
        w.soll(line).exits(64).says(wanted);
    }
    assert_eq!(w.head(), head);
    let names = |line: &str| {
        let json = w.soll(&format!("{line} --output json")).exits(0).json();
        let all = json["environments"].as_array().unwrap().iter();
        all.map(|env| env["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("status c02 c0[12]"), "c02 c01");
    assert_eq!(names("plan --template customer --app web c1*"), "c10 c11 c12 c13 c14");
}
