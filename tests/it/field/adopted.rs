//! Back to a release that another tool has made.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::world::{World, env, sha};

/// Capistrano deployed twice, and then soll deployed `a`. `revision`: what `REVISION` says.
fn world(revision: Option<char>) -> World {
    let w = World::with(&env("staging", 'a', ""));
    for (name, text) in [("20250101120000", "older"), ("20250201120000", "old")] {
        w.write(&format!("staging/releases/{name}/index.html"), text);
        if let Some(letter) = revision {
            w.write(&format!("staging/releases/{name}/REVISION"), &format!("{}\n", sha(letter)));
        }
    }
    fs::create_dir(w.path("staging/shared")).unwrap();
    symlink("releases/20250201120000", w.path("staging/current")).unwrap();
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
    w
}

#[test]
fn a_person_goes_back_to_where_the_host_itself_would_go() {
    let w = world(None);
    w.soll("rollback staging").exits(0).says("Roll staging back to 20250201120000");
    assert!(w.read("state/desired-state.toml").contains("release = \"./releases/20250201120000\""));
    // Nobody knows its commit: it goes by its name wherever it is told.
    w.soll("plan").exits(0).says("switch").says("20250201120000 is desired").hides("00000000");
    w.soll("apply").exits(0).says("-> 20250201120000").hides("00000000");
    let history = w.soll("history --output json").exits(0).json();
    assert_eq!((&history[0]["to"], &history[0]["release"]), (&"20250201120000".into(), &"20250201120000".into()));
    w.soll("history").says("-> 20250201120000");
    assert_eq!((w.runs("staging").as_str(), w.release("staging").as_str()), ("old", "20250201120000"));
    w.soll("apply").exits(0).says("in sync");
    w.soll("status").exits(0).says("in-sync");
    // And forth again, and by its name.
    w.soll("rollback staging").exits(0).says("Roll staging back to aaaaaaaa");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
    w.soll("rollback staging --to 20250101120000").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "older");
    // What is released after it is a release like any other.
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn what_a_release_says_of_its_commit_is_what_is_committed() {
    let w = world(Some('d'));
    assert_eq!(w.record("staging")["releases"]["20250201120000"]["sha"], sha('d').as_str());
    w.soll("rollback staging").exits(0).says("Roll staging back to dddddddd");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "old");
    w.soll("apply").exits(0).says("in sync");
    for line in ["rollback staging --to 20250101120000", "rollback staging --to dddd"] {
        w.soll(line).exits(0).says("it says so already");
    }
}

#[test]
fn the_first_digits_of_a_commit_name_it_where_one_begins_so() {
    let w = world(None);
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(0);
    w.soll("rollback staging --to aaaa").exits(0).says("Roll staging back to aaaaaaaa");
    w.soll("rollback staging --to cccc").exits(1).says("staging has no release cccc").says("there are: ");
    let mut record = w.read("staging/.soll/record.json");
    record = record.replace(&sha('b'), &format!("aaaa{}", &sha('b')[4..]));
    w.write("staging/.soll/record.json", &record);
    w.soll("rollback staging --to aaaa").exits(1).says("several releases of staging begin with aaaa");
}

#[test]
fn a_directory_that_is_gone_is_not_made_anew() {
    let w = world(None);
    w.soll("rollback staging --to 20250101120000").exits(0);
    fs::remove_dir_all(w.path("staging/releases/20250101120000")).unwrap();
    w.soll("apply").exits(1).says("20250101120000 is not in releases/ on local").says("soll release staging SHA");
    assert_eq!(w.runs("staging"), "a");
}

#[test]
fn an_adopted_release_that_is_ill_is_judged_like_any_other() {
    let w = world(None);
    w.write("staging/releases/20250101120000/broken", "");
    w.soll("rollback staging --to 20250101120000").exits(0);
    w.soll("apply").exits(3);
    assert_eq!(w.runs("staging"), "a");
    w.soll("apply").exits(7).says("soll retry staging");
    fs::remove_file(w.path("staging/releases/20250101120000/broken")).unwrap();
    w.soll("retry staging").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "older");
}
