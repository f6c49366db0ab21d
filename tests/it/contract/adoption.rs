//! Roots that something else made: taken over as they are, with a way back from the first apply on (A8, contract 1.4).

use std::os::unix::fs::symlink;

use crate::support::world::{World, env};

/// A Capistrano-like root that runs `a`, whose bundle nobody has.
fn foreign(letter: char, more: &str) -> World {
    let w = World::with(&env("staging", letter, more));
    w.write("staging/releases/20250101_120000-dddddddd/index.html", "d");
    w.write("staging/releases/20250201_120000-aaaaaaaa/index.html", "a");
    w.write("staging/shared/storage/upload.txt", "kept");
    symlink(w.path("staging/releases/20250201_120000-aaaaaaaa"), w.path("staging/current")).unwrap();
    std::fs::remove_file(w.archive('a')).unwrap();
    w
}

#[test]
fn a_healthy_current_becomes_the_way_back() {
    let w = foreign('c', "");
    w.soll("plan").exits(0).says("becomes the way back if it is healthy");
    w.soll("apply").exits(3);
    assert_eq!((w.runs("staging"), w.release("staging")), ("a".into(), "20250201_120000-aaaaaaaa".into()));
    assert_eq!(w.record("staging")["confirmed"]["release"], "20250201_120000-aaaaaaaa");
    assert_eq!(w.read("staging/shared/storage/upload.txt"), "kept");
}

#[test]
fn an_unhealthy_current_does_not() {
    let w = foreign('c', "");
    w.write("staging/releases/20250201_120000-aaaaaaaa/broken", "");
    w.soll("apply").exits(1).says("there was no confirmed release to go back to");
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn a_foreign_release_is_returned_to_without_a_bundle() {
    let w = foreign('b', "");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
    // The directory's name says only the first digits of a commit: the directory itself is committed.
    w.soll("rollback staging --to 20250201_120000-aaaaaaaa").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.release("staging"), "20250201_120000-aaaaaaaa");
    w.soll("rollback staging --to <a>").exits(0);
    w.soll("apply").exits(0).says("in sync");
    assert_eq!((w.runs("staging"), w.release("staging")), ("a".into(), "20250201_120000-aaaaaaaa".into()));
    // One that never ran under soll, too.
    w.soll("rollback staging --to <d>").exits(0);
    w.soll("apply").exits(0);
    assert_eq!((w.runs("staging"), w.release("staging")), ("d".into(), "20250101_120000-dddddddd".into()));
}

#[test]
fn the_desired_release_is_adopted_where_it_is() {
    let w = foreign('a', "");
    w.soll("plan --detailed-exitcode").exits(2).says("soll has not seen it before");
    w.soll("apply").exits(0);
    assert_eq!(w.release("staging"), "20250201_120000-aaaaaaaa");
    w.soll("plan --detailed-exitcode").exits(0);
}

#[test]
fn a_current_that_is_no_link_is_left_alone() {
    let w = World::with(&env("staging", 'a', ""));
    w.write("staging/current/index.html", "old");
    let before = w.tree("staging");
    w.soll("apply").exits(1).says("is a real directory, not a link");
    assert_eq!(w.tree("staging"), before);
}

#[test]
fn old_foreign_releases_count_and_are_pruned_oldest_first() {
    let w = foreign('b', "keep_releases = 2");
    w.soll("apply").exits(0);
    assert!(!w.path("staging/releases/20250101_120000-dddddddd").exists());
    assert!(w.path("staging/releases/20250201_120000-aaaaaaaa").exists());
}
