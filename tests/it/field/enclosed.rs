//! Archives whose release lies in one directory: what forges, npm and `git archive --prefix` make. And what else of an archive
//! people are told, who see a deployment and not a parser.

use std::fs;
use std::process::Command;

use crate::support::world::{APP, World, env, sha};

const GATE: &str = "[[apps.web.gates]]\nfile = \"index.html\"\n[apps.web.health]";

fn world(bundle: &str, gate: bool) -> World {
    let w = World::new();
    let mut app = APP.replace(" }", &format!("{bundle} }}"));
    if gate {
        app = app.replace("[apps.web.health]", GATE);
    }
    w.commit(&format!("{app}{}", env("staging", 'a', "")));
    w
}

/// A shell in the directory of builds, which leaves `archive` there.
fn pack(w: &World, letter: char, script: &str) {
    let done = Command::new("bash").args(["-ec", script]).current_dir(w.path("build")).output().unwrap();
    assert!(done.status.success(), "{script}: {done:?}");
    fs::rename(w.path("build/archive"), w.archive(letter)).unwrap();
    let sum = soll::model::ids::Digest::of(&fs::read(w.archive(letter)).unwrap());
    w.write(&format!("state/bundles/deployment-bundle-{}.tar.gz.sha256", sha(letter)), &sum.to_string());
}

const PACKAGE: &str = "mkdir -p package/lib && echo -n a >package/index.html && echo 1 >package/lib/x && \
                       ln -sf lib/x package/x && tar -czf archive package";

#[test]
fn a_release_in_one_directory_is_proposed_to_be_taken_out_of_it() {
    let w = world("", true);
    pack(&w, 'a', PACKAGE);
    let said = w.soll("apply").exits(1).says("lies in the directory `package`").says("`package/index.html`");
    said.says("strip = 1 in `bundle`");
    assert!(w.quarantined("staging").is_empty(), "nothing was judged");
    w.soll("preflight staging").exits(1).says("strip = 1 in `bundle`");
    w.edit(".tar.gz\" }", ".tar.gz\", strip = 1 }");
    w.soll("apply").exits(0);
    assert_eq!([w.runs("staging"), w.read("staging/current/x")], ["a", "1\n"]);
    w.soll("plan --detailed-exitcode").exits(0).says("in sync");
    // The next one is told as the difference from it.
    pack(&w, 'b', &PACKAGE.replace("-n a", "-n b"));
    w.edit("<a>", "<b>");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

/// It was quarantined by its gate, as it was before there was a word for it; the word makes another case of it.
#[test]
fn another_strip_is_another_case_and_is_applied_at_the_same_commit() {
    let w = world("", false);
    w.edit("[apps.web.health]", "[[apps.web.gates]]\nrun = \"test -e index.html\"\n[apps.web.health]");
    pack(&w, 'a', PACKAGE);
    w.soll("apply").exits(1).says("all of it lies in the directory `package`");
    assert_eq!(w.quarantined("staging"), ["a"]);
    w.soll("apply").exits(7);
    w.edit(".tar.gz\" }", ".tar.gz\", strip = 1 }");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
    // What runs without it runs otherwise with it: a change at the same commit.
    let w = world("", false);
    pack(&w, 'a', PACKAGE);
    w.soll("apply").exits(0).says("WARNING").says("all of it lies in the directory `package`");
    assert_eq!(w.read("staging/current/package/index.html"), "a");
    w.edit(".tar.gz\" }", ".tar.gz\", strip = 1 }");
    w.soll("plan --detailed-exitcode").exits(2).says("strip = 1 at the same commit");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
    assert!(!w.path("staging/current/package").exists());
    w.soll("plan --detailed-exitcode").exits(0).says("in sync");
    // The way back to how it was is no way to a release that was made with another number.
    w.edit(", strip = 1 }", " }");
    w.soll("apply").exits(0);
    assert_eq!(w.read("staging/current/package/index.html"), "a");
}

#[test]
fn what_forges_and_git_make_is_taken_out_of_its_directory() {
    for script in [
        "git init -q r && cd r && echo -n a >index.html && git add -A && git -c user.name=a -c user.email=a@b commit -qm x && \
         git archive --prefix=app-1.2.3/ -o ../archive.tar.gz HEAD && mv ../archive.tar.gz ../archive",
        "mkdir -p a/b && echo -n a >a/b/index.html && tar -czf archive a",
        "mkdir -p ./p && echo -n a >p/index.html && tar -czf archive ./p && gzip -t archive",
    ] {
        let strip = if script.contains("a/b") { ", strip = 2" } else { ", strip = 1" };
        let w = world(strip, true);
        pack(&w, 'a', script);
        w.soll("apply").exits(0);
        assert_eq!(w.runs("staging"), "a", "{script}");
    }
}

#[test]
fn strip_takes_nothing_else_away() {
    for (script, why) in [
        (
            "mkdir d && echo a >index.html && echo 1 >d/x && tar -czf archive index.html d",
            "there are `d`, `index.html`",
        ),
        ("echo a >index.html && tar -czf archive index.html", "there is `index.html`"),
        ("mkdir -p p/.soll && echo a >p/index.html && tar -czf archive p", "`.soll` is reserved"),
        (
            "mkdir -p p/d && echo a >p/index.html && ln -s ../../p/d p/d/l && tar -czf archive p",
            "leads out of the release",
        ),
        ("for n in 1 2 3 4 5 6; do mkdir $n; done && tar -czf archive ?", "`1`, `2`, `3` and 3 more"),
    ] {
        let w = world(", strip = 1", false);
        pack(&w, 'a', script);
        w.soll("apply").exits(1).says(why);
    }
    let w = world("", false);
    w.edit(".tar.gz\" }", ".tar.gz\", strip = 99 }");
    w.soll("validate").exits(1).says("strip");
}

#[test]
fn a_host_that_fetches_for_itself_strips_and_tells_as_well() {
    let w = world("", true);
    w.edit(
        "\"bundles/deployment-bundle-{sha}.tar.gz\"",
        "\"$DIR/state/bundles/deployment-bundle-{sha}.tar.gz\", fetch_from = \"host\"",
    );
    pack(&w, 'a', PACKAGE);
    w.soll("apply").exits(1).says("strip = 1 in `bundle`");
    w.edit("fetch_from = \"host\"", "fetch_from = \"host\", strip = 1");
    pack(&w, 'a', &PACKAGE.replace("tar -czf", "printf '\\0\\005\\026\\007' >package/._index.html && tar -czf"));
    w.soll("preflight staging").says("AppleDouble");
    w.soll("apply").exits(0).says("WARNING").says("`package/._index.html`");
    assert_eq!(w.runs("staging"), "a");
    assert!(!w.path("staging/current/._index.html").exists());
}

/// Seen by whoever deploys, again and again, from the cache as well.
#[test]
fn what_macos_left_beside_files_is_told_with_the_deployment() {
    let w = world("", true);
    pack(
        &w,
        'a',
        "echo -n a >index.html && printf '\\0\\005\\026\\007' >._index.html && tar -czf archive index.html ._index.html",
    );
    w.soll("preflight staging").says("warn").says("AppleDouble");
    w.soll("apply").exits(0).says("WARNING `._index.html` was left out");
    assert!(!w.path("staging/current/._index.html").exists());
    let run = w.soll("history --output json").json()[0]["run"].as_str().unwrap().to_owned();
    w.soll(&format!("show {run}")).says("COPYFILE_DISABLE=1");
    w.soll("plan --detailed-exitcode").exits(0).says("in sync");
}

/// A bundle that is no archive: its place, what it is, and what to do; and nothing of it is quoted.
#[test]
fn what_is_no_archive_is_called_by_its_name_and_place() {
    let w = world("", true);
    for (script, what) in [
        ("echo a >index.html && python3 -m zipfile -c archive index.html", "it is a zip archive"),
        ("echo '<html>hunter2' >archive", "it is a web page"),
        ("echo 'hunter2' >archive", "it is a text"),
        (": >archive", "it is an empty file"),
    ] {
        pack(&w, 'a', script);
        let place = w.archive('a').display().to_string();
        w.soll("apply").exits(1).says(&format!("{place} is refused: {what}")).hides("hunter2").hides("/ctl/");
    }
}
