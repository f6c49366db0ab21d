//! What would be lost, hidden or broken is named before anything is moved.

use std::os::unix::fs::symlink;

use super::{ADOPT, checkout, rest};
use crate::support::world::{World, env};

#[track_caller]
fn refused(w: &World, line: &str, why: &str) {
    let before = rest(w);
    w.soll(line).exits(1).says(why);
    assert_eq!(rest(w), before, "{why}");
    assert!(!w.path("staging/.soll/convert.json").exists());
}

#[test]
fn data_that_no_shared_path_covers_is_asked_for() {
    let w = checkout("");
    w.write("staging/exports/2025.csv", "1,2");
    w.write("staging/storage/app.key", "k");
    w.write("staging/storage/logs/more.log", "covered");
    refused(&w, ADOPT, "`exports` (Git does not track it) is covered by no shared path");
    refused(&w, &format!("{ADOPT} --shared exports/"), "`storage/app.key`");
    w.soll(&format!("{ADOPT} --shared exports/ --leave storage/app.key")).exits(0).says("is shared from now on");
    assert_eq!(w.read("staging/shared/exports/2025.csv"), "1,2");
    assert_eq!(w.read("staging/current/exports/2025.csv"), "1,2");
    assert_eq!(w.read("staging/current/storage/app.key"), "k");
}

#[test]
fn edited_files_are_told() {
    let w = checkout("");
    w.write("staging/public/index.php", "<?php // a quick fix");
    w.soll(&format!("{ADOPT} --dry-run")).exits(0).says("`public/index.php` was edited here");
}

#[test]
fn without_git_what_looks_like_data_is_asked_for() {
    let w = World::with(&env("staging", 'a', ""));
    w.write("staging/index.html", "live");
    w.write("staging/lib/data.sqlite", "rows");
    w.write("staging/uploads/cat.jpg", "a cat");
    refused(&w, "adopt staging", "`lib/data.sqlite` (its name speaks of data)");
    refused(&w, "adopt staging --shared lib/data.sqlite", "`uploads` (its name speaks of data)");
    w.soll("adopt staging --shared lib/data.sqlite --shared uploads/").exits(0);
    assert_eq!(w.read("staging/current/lib/data.sqlite"), "rows");
    assert_eq!(w.read("staging/shared/uploads/cat.jpg"), "a cat");
    assert!(w.release("staging").ends_with("-checkout"));
}

#[test]
fn links_that_would_lead_elsewhere_are_refused() {
    let w = checkout("");
    symlink("../elsewhere", w.path("staging/public/out")).unwrap();
    w.soll(&format!("{ADOPT} --leave public/out --dry-run")).exits(0);
    std::fs::remove_file(w.path("staging/public/out")).unwrap();
    symlink("../../elsewhere", w.path("staging/public/out")).unwrap();
    refused(&w, &format!("{ADOPT} --leave public/out"), "`public/out` leads out of ROOT by a relative path");
}

#[test]
fn a_tree_with_a_shared_directory_of_its_own_is_refused() {
    let w = checkout("");
    w.write("staging/shared/code.php", "<?php");
    refused(&w, ADOPT, "shared/code.php is there already");
}

#[test]
fn paths_stay_below_the_root() {
    let w = checkout("");
    for path in ["../x", "/etc", ""] {
        let said = w.run(&["adopt", "staging", "--shared", path]);
        assert_eq!(said.exit, 64, "{path}: {}", said.stderr);
    }
}

#[test]
fn an_empty_root_has_nothing_to_take_over() {
    let w = World::with(&env("staging", 'a', ""));
    w.soll("adopt staging").exits(0).says("nothing to take over");
    assert!(!w.path("staging").exists());
}

#[test]
fn a_database_that_is_being_written_is_not_moved() {
    let w = checkout("");
    w.write("staging/database/app.sqlite-wal", "pages");
    let line = format!("{ADOPT} --leave database/app.sqlite-wal");
    refused(&w, &line, "`database/app.sqlite-wal` holds changes that are not in the database yet");
    w.write("staging/database/app.sqlite-wal", "");
    w.soll(&line).exits(0);
}
