//! Branches and promotions of environments whose releases are commits (B1, B2).

use super::{app, desire, grow, record, release, staging};
use crate::support::world::env;
use crate::trust::Trap;

#[test]
fn a_branch_is_followed_to_its_head() {
    let w = app("", "track = { branch = \"main\" }");
    w.soll("apply").exits(0);
    let second = grow(&w, &[("index.html", "two")]);
    w.soll("apply").exits(0).says("staging follows main to").says(&second[..8]);
    assert_eq!(w.runs("staging"), "two");
    let head = w.head();
    w.soll("apply").exits(0).says("in sync");
    assert_eq!(w.head(), head);
    // What failed is not followed to again.
    grow(&w, &[("broken", "")]);
    w.soll("apply").exits(3);
    w.soll("apply").exits(7);
    assert_eq!(w.runs("staging"), "two");
}

#[test]
fn where_checks_are_recorded_a_branch_is_followed_to_what_has_a_record() {
    let w =
        app("checks = [\"test\"]\ncheckout = { checks = \"$DIR/checks/{sha}.json\" }", "track = { branch = \"main\" }");
    let record = |sha: &str| record(&w, sha, sha, "success");
    record(&w.git_in("app", &["rev-parse", "HEAD"]));
    let second = grow(&w, &[("index.html", "two")]);
    grow(&w, &[("index.html", "three")]);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "one");
    record(&second);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "two");
}

#[test]
fn production_takes_what_staging_runs_by_commit_by_tree_and_by_what_is_deployed_of_it() {
    for by in ["sha", "tree", "bundle"] {
        let w = app("", "");
        let first = w.git_in("app", &["rev-parse", "HEAD"]);
        w.git_in("app", &["commit", "-q", "--allow-empty", "-m", "the same tree"]);
        let merged = w.git_in("app", &["rev-parse", "HEAD"]);
        let other = grow(&w, &[("index.html", "two")]);
        let rule = format!("promote = {{ from = \"staging\", soak = \"0s\", match = \"{by}\" }}");
        let production = env("production", 'a', &rule).replace("<a>", &first);
        desire(&w, "", &format!("{}{production}", staging(&first, "")));
        w.soll("apply production").exits(4);
        w.soll("apply staging").exits(0);
        w.soll("apply production").exits(0);
        assert_eq!(w.runs("production"), "one", "{by}");
        w.soll(&format!("release production {merged}")).exits(0);
        w.soll("apply production").exits(if by == "tree" { 0 } else { 4 });
        w.soll(&format!("release production {other}")).exits(0);
        w.soll("apply production").exits(4);
        release(&w, &other).exits(0);
        w.soll("promote staging production").exits(0);
        w.soll("apply production").exits(0);
        assert_eq!(w.runs("production"), "two", "{by}");
    }
}

#[test]
fn a_proposal_that_names_another_repository_or_another_record_has_neither_asked() {
    let w = app("checks = [\"test\"]\ncheckout = { checks = \"$DIR/checks/{sha}.json\" }", "");
    let first = w.git_in("app", &["rev-parse", "HEAD"]);
    record(&w, &first, &first, "success");
    w.soll("apply").exits(0);
    let second = grow(&w, &[("index.html", "two")]);
    record(&w, &second, &second, "success");
    let trap = Trap::set();
    let propose = |change: &dyn Fn(String) -> String| {
        w.git(&["checkout", "-q", "-B", "proposal", "main"]);
        let text = w.read("state/desired-state.toml");
        w.commit(&change(text));
        w.git(&["checkout", "-q", "main"]);
        w.soll("plan --ref proposal").exits(0)
    };
    propose(&|text| text.replace(&first, &second)).says(&second[..8]).says("GO").hides("required checks");
    let said = propose(&|text| text.replace(&first, &second).replace(&w.fill("$DIR/app"), &trap.url("/theirs.git")));
    said.says("the accepted one does not name its repository, so it was not asked");
    assert!(!trap.is_sprung());
    let said = propose(&|text| text.replace("/checks/{sha}", "/home/{sha}").replace(&first, &second));
    said.says("names no record of checks at that place");
}
