//! What a commit is made into, and what can be done with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{app, commit, desire, empty, grow, record, release, staging};
use crate::support::web::{free_port, get};
use crate::support::world::{World, env, until};

fn mode(w: &World, path: &str) -> u32 {
    fs::symlink_metadata(w.path(path)).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_release_is_what_git_archive_gives_whatever_the_settings_of_this_machine() {
    let mut w = empty();
    w.write("app/.gitattributes", "docs export-ignore\nversion.txt export-subst\nwin.txt text eol=crlf\n");
    w.write("app/docs/how.md", "how");
    w.write("app/version.txt", "$Format:%H$ $Format:%d$\n");
    w.write("app/win.txt", "a\nb\n");
    w.write("app/bin/run", "#!/bin/sh\n");
    fs::set_permissions(w.path("app/bin/run"), fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::symlink("bin/run", w.path("app/start")).unwrap();
    let first = grow(&w, &[("index.html", "one\n")]);
    desire(&w, "", &staging(&first, ""));
    // What a user of git has made of it on this machine changes nothing in a release.
    w.write("home/.config/git/attributes", "*.html export-ignore\n*.txt filter=loud\n");
    w.write("gitconfig", "[core]\nautocrlf = true\n[filter \"loud\"]\nsmudge = touch $DIR/ran\n[tar]\numask = 0077\n");
    w.set("GIT_CONFIG_GLOBAL", "$DIR/gitconfig");
    w.soll("apply").exits(0).says(&first[..8]);
    assert_eq!(w.read("staging/current/index.html"), "one\n");
    assert_eq!(w.read("staging/current/win.txt"), "a\r\nb\r\n");
    assert_eq!(w.read("staging/current/version.txt").trim(), first, "no ref of a mirror is named in it");
    assert!(!w.path("staging/current/docs").exists(), "export-ignore");
    assert!(!w.path("ran").exists(), "a filter of the user's ran");
    assert_eq!(fs::read_link(w.path("staging/current/start")).unwrap().to_str(), Some("bin/run"));
    assert_eq!((mode(&w, "staging/current/bin/run"), mode(&w, "staging/current/index.html")), (0o755, 0o644));
    w.soll("plan --detailed-exitcode").exits(0);
    w.soll("preflight staging").exits(0).says(&format!("commit {}", &first[..8]));
}

#[test]
fn a_tag_is_peeled_and_one_that_moves_stays_what_it_was() {
    let w = app("", "");
    w.git_in("app", &["tag", "-a", "-m", "annotated", "v1"]);
    desire(&w, "", &staging("v1", ""));
    w.soll("apply").exits(0);
    grow(&w, &[("index.html", "two")]);
    w.git_in("app", &["tag", "-f", "v1", "-m", "moved"]);
    w.soll("apply").exits(0).says("in sync");
    assert_eq!(w.runs("staging"), "one");
    w.commit_all("another commit of the state repository asks again");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "two");
}

#[test]
fn a_directory_of_the_commit_becomes_the_release() {
    let w = empty();
    w.write("app/.gitattributes", "secret export-ignore\n");
    w.write("app/web/secret", "x");
    w.write("app/web/[v]/index.html", "inner");
    w.write("app/web/v/index.html", "what a pattern would match");
    w.write("app/file", "no directory");
    let first = grow(&w, &[("web/index.html", "outer")]);
    let table = |directory: &str| format!("checkout = {{ directory = \"{directory}\" }}");
    desire(&w, &table("web"), &staging(&first, ""));
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "outer");
    assert!(!w.path("staging/current/secret").exists() && !w.path("staging/current/web").exists());
    // Another directory of the same commit is another release.
    w.edit(&table("web"), &table("web/[v]/"));
    w.soll("plan --detailed-exitcode").exits(2).says("web/[v]");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "inner");
    w.soll("plan --detailed-exitcode").exits(0);
    w.soll("apply").exits(0).says("in sync");
    for (directory, why) in [("none", "has no directory `none`"), ("file", "has no directory `file`")] {
        w.edit("web/[v]/", directory);
        w.soll("apply").exits(1).says(why).says("checkout");
        assert_eq!((w.runs("staging"), w.quarantined("staging")), ("inner".to_owned(), vec![]));
        w.edit(&format!("\"{directory}\""), "\"web/[v]/\"");
    }
    w.soll("rollback staging").exits(1);
    w.soll("apply").exits(0).says("in sync");
}

#[test]
fn what_lies_in_one_directory_alone_is_told_in_the_words_of_a_checkout() {
    let w = empty();
    let first = grow(&w, &[("site/public/x", "x")]);
    fs::remove_file(w.path("app/index.html")).unwrap();
    let first = commit(&w, "app").replace(&first, "");
    desire(&w, "gates = [{ file = \"public/x\" }]", &staging(&first, ""));
    w.soll("apply").exits(1).says("directory = \"site\" in `checkout`").hides("strip").hides("in `bundle`");
    w.edit("gates =", "checkout = { directory = \"site\" }\ngates =");
    w.soll("apply").exits(0);
    assert_eq!(w.read("staging/current/public/x"), "x");
}

#[test]
fn a_commit_without_files_is_no_release() {
    let w = empty();
    fs::remove_file(w.path("app/index.html")).unwrap();
    let first = commit(&w, "app");
    desire(&w, "", &staging(&first, ""));
    w.soll("apply").exits(1).says("empty").says(&first[..8]);
    assert!(!w.path("staging/current").exists());
}

#[test]
fn what_did_not_change_is_not_sent_again() {
    let w = app("", "");
    grow(&w, &[("big", &"x".repeat(100_000)), ("b", "b")]);
    let first = grow(&w, &[("c", "c")]);
    desire(&w, "", &staging(&first, ""));
    w.soll("apply").exits(0).says("4 of 4 files");
    let second = grow(&w, &[("index.html", "two")]);
    release(&w, &second).exits(0).says("1 of 4 files, 3 B");
    assert_eq!(w.runs("staging"), "two");
}

#[test]
fn what_fails_goes_back_and_is_not_tried_again() {
    let w = app("", "");
    w.soll("apply").exits(0);
    let good = grow(&w, &[("index.html", "two")]);
    let bad = grow(&w, &[("broken", "")]);
    release(&w, &bad).exits(3);
    assert_eq!((w.runs("staging"), w.quarantined("staging")), ("one".to_owned(), vec![bad[..1].to_owned()]));
    w.soll("apply").exits(7);
    w.git(&["revert", "--no-edit", "HEAD"]);
    w.soll("apply").exits(0).says("in sync");
    release(&w, &good).exits(0);
    w.soll("rollback staging").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "one");
}

#[test]
fn hooks_of_phase_prepare_build_in_it_and_drift_is_healed() {
    let hook = "[[apps.web.hooks]]\nphase = \"prepare\"\nrun = \"cat index.html > built && echo $SOLL_SHA >> built\"\n";
    let w = app("", "drift = \"heal\"");
    let text = w.read("state/desired-state.toml");
    w.commit(&text.replacen("[apps.web.health]", &format!("{hook}[apps.web.health]"), 1));
    w.soll("apply").exits(0);
    let built = w.read("staging/current/built");
    assert!(built.starts_with("one"), "{built}");
    for file in ["index.html", "built"] {
        w.write(&format!("staging/current/{file}"), "somebody's");
        w.soll("apply").exits(0);
        assert_eq!((w.runs("staging"), w.read("staging/current/built")), ("one".to_owned(), built.clone()), "{file}");
    }
}

#[test]
fn two_environments_fetch_a_commit_once_and_a_server_of_its_own_acts_for_itself() {
    let w = app("", "");
    let first = w.git_in("app", &["rev-parse", "HEAD"]);
    let other = env("other", 'a', "").replace("<a>", &first);
    desire(&w, "", &format!("{}{other}", staging(&first, "")));
    w.soll("apply staging").exits(0);
    fs::rename(w.path("app"), w.path("gone")).unwrap();
    w.soll("apply other").exits(0).says("in the cache already");
    assert_eq!(w.runs("other"), "one");

    let w = app("", "hosts = [\"web1\"]\n[hosts.web1]\naddress = \"web1.example.com\"");
    w.soll("apply --host web1").exits(0);
    assert_eq!(w.runs("staging"), "one");
}

#[test]
fn required_checks_are_those_of_exactly_this_commit() {
    let w = app("checks = [\"test\"]\ncheckout = { checks = \"$DIR/checks/{sha}.json\" }", "");
    let first = w.git_in("app", &["rev-parse", "HEAD"]);
    let record = |of: &str, test: &str| record(&w, &first, of, test);
    let blocked = |why: &str| {
        w.soll("apply").exits(4).says(why);
        assert!(!w.path("staging/current").exists());
    };
    w.soll("plan").exits(0).says("test (missing)");
    blocked("test (missing)");
    record(&first, "failure");
    blocked("test (failure)");
    record(&"f".repeat(40), "success");
    blocked("recorded for another commit");
    record(&first, "success");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "one");
    let w = app("checks = [\"test\"]", "");
    w.soll("validate").exits(1).says("recorded nowhere").says("checkout = { checks");
}

#[test]
fn what_is_published_names_no_place_of_the_controller() {
    let w = app("", "");
    let unknown = "f".repeat(40);
    w.soll("apply").exits(0);
    w.soll(&format!("release staging {unknown}")).exits(0);
    let address = format!("127.0.0.1:{}", free_port());
    let daemon = w.start(&format!("run --listen {address}"), "daemon.log");
    let seen = until("it says what is missing", || {
        get(&address, "/observation").filter(|text| text.contains("staging") && text.contains("ffff"))
    });
    assert_eq!(daemon.stop(), Some(0));
    for place in ["$DIR/app", "$DIR/ctl"] {
        assert!(!seen.contains(&w.fill(place)), "{place} in {seen}");
    }
}

#[test]
fn a_table_of_the_other_kind_is_refused_and_so_is_no_repository() {
    let w = app("bundle = { url = \"x-{sha}.tar.gz\" }", "");
    w.soll("validate").exits(1).says("belongs to `kind = \"bundle\"`");
    w.edit("bundle = { url = \"x-{sha}.tar.gz\" }", "");
    w.soll("validate").exits(0);
    w.edit("repository = \"$DIR/app\"\n", "");
    w.soll("validate").exits(1).says("does not say where its repository is");
}

#[test]
fn a_plan_says_which_commits_come_and_go() {
    let w = app("", "");
    let first = w.git_in("app", &["rev-parse", "HEAD"]);
    w.soll("apply").exits(0);
    let second = grow(&w, &[("index.html", "two")]);
    desire(&w, "", &staging(&second, "approvals = 1"));
    let way = format!("({}..{})", &first[..8], &second[..8]);
    let line = format!("+ {}  ", &second[..8]);
    w.soll("plan").exits(0).says(&format!("1 commit comes {way}")).says(&line).says("  (Ann)");
    w.soll("diff staging").exits(0).says(&format!("1 commit comes {way}")).says(&line);
    w.soll("plan --output markdown").exits(0).says("1 commit comes").says(&second[..8]);
    let json = w.soll("plan --output json").exits(0).json();
    assert_eq!(json["environments"][0]["changes"]["come"][0]["author"], "Ann", "{json}");
    w.soll("approve staging").exits(0).says(&format!("1 commit comes {way}"));
    // The word was about the plan, and not about its history, which a saved plan leaves out.
    w.soll("plan --out $DIR/plan.json").exits(0);
    assert!(!w.read("plan.json").contains("\"come\""));
    w.soll("apply --plan $DIR/plan.json").exits(0);
    desire(&w, "", &staging(&first, ""));
    w.soll("plan").exits(0).says(&format!("1 commit goes ({}..{})", &second[..8], &first[..8]));
}
