//! Roots in which an application was live before soll came.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::world::{World, env};

fn world() -> World {
    World::with(&env("staging", 'a', "shared_files = [\".env\"]"))
}

/// Nothing is deployed beside what is there, and the plan says which it is.
#[track_caller]
fn blocked(w: &World, names: &str) {
    let plan = w.soll("plan --output json").exits(0).json();
    let blocker = &plan["environments"][0]["blockers"][0];
    assert_eq!((blocker["grade"].as_str(), blocker["code"].as_str()), (Some("P0"), Some("foreign")), "{plan}");
    assert!(blocker["message"].as_str().unwrap().contains(names), "{blocker}");
    w.soll("apply").exits(1).says("soll adopt staging");
    assert!(!w.path("staging/releases").exists() && !w.path("staging/current").exists());
    w.soll("doctor").exits(1).says("nothing is deployed beside it");
}

#[test]
fn an_application_that_is_live_there_is_taken_over_and_not_deployed_beside() {
    let w = world();
    w.write("staging/index.php", "<?php");
    w.write("staging/.env", "APP_KEY=1\n");
    w.write("staging/lib/a.php", "<?php");
    blocked(&w, "index.php, lib");
    // A layout made by hand, or by `provision`, makes it no less live.
    w.soll("provision staging").exits(0);
    let plan = w.soll("plan").exits(0);
    plan.says("NO-GO").says("index.php, lib");
    // The way that is named is one that leads on.
    w.soll("adopt staging").exits(0).says("current leads to releases/");
    w.soll("apply").exits(0);
    assert_eq!((w.runs("staging"), w.read("staging/current/.env")), ("a".into(), "APP_KEY=1\n".into()));
}

#[test]
fn a_checkout_is_known_by_its_repository_alone() {
    let w = world();
    fs::create_dir(w.path("staging")).unwrap();
    w.git_in("staging", &["init", "-q"]);
    blocked(&w, ".git");
}

#[test]
fn an_application_with_a_directory_called_releases_is_no_root_with_releases() {
    let w = world();
    w.write("staging/app.py", "print()");
    w.write("staging/releases/notes-1.0.md", "what is new");
    w.soll("plan").exits(0).says("NO-GO").says("app.py");
    w.soll("adopt staging").exits(1).says("releases/notes-1.0.md is there already").says("choose another root");
    w.soll("apply").exits(1);
    assert_eq!(w.read("staging/releases/notes-1.0.md"), "what is new");
}

#[test]
fn what_a_person_prepares_keeps_nothing_from_the_first_deployment() {
    let w = world();
    w.write("staging/shared/.env", "APP_KEY=1\n");
    w.write("staging/.env", "an older copy");
    w.write("staging/.htaccess", "Require all granted");
    w.write("staging/.well-known/acme-challenge/token", "token");
    w.write("staging/logs/access.log", "GET /");
    // A mark for a check, without contents.
    fs::create_dir_all(w.path("staging")).unwrap();
    w.write("staging/ok", "");
    for dir in ["lost+found", "releases", "tmp", "public/empty", "storage"] {
        fs::create_dir_all(w.path(&format!("staging/{dir}"))).unwrap();
    }
    w.write("staging/storage/.gitkeep", "");
    symlink("current/public", w.path("staging/html")).unwrap();
    symlink(w.path("staging/current"), w.path("staging/www")).unwrap();
    w.soll("adopt staging --dry-run").exits(0).says("there is nothing to take over");
    w.soll("plan").exits(0).hides("NO-GO");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
    // Afterwards everything else is the people's own.
    w.write("staging/notes.txt", "restart it on Mondays");
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn what_capistrano_keeps_beside_its_releases_is_no_application() {
    let w = world();
    w.write("staging/shared/.env", "APP_KEY=1\n");
    w.write("staging/revisions.log", "Branch main (at aaaaaaaa) deployed as release 20250101120000 by ann");
    w.write("staging/repo/HEAD", "ref: refs/heads/main");
    w.write("staging/.dep/releases_log", "{}");
    w.write("staging/releases/20250101120000/index.html", "old");
    symlink("releases/20250101120000", w.path("staging/current")).unwrap();
    w.soll("plan").exits(0).hides("NO-GO");
    // The link was lost, as a half-done deployment of another tool leaves it.
    fs::remove_file(w.path("staging/current")).unwrap();
    w.soll("plan").exits(0).hides("NO-GO");
    w.soll("adopt staging --dry-run").exits(0).says("there are releases, and no `current`");
}
