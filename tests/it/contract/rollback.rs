//! The three ways back (H2): health says no, a person reverts the commit, `soll rollback` commits it. None needs a bundle.

use crate::support::world::{World, env};

/// Ran `a`, then `b`; then both bundles are gone.
fn two_releases(more: &str) -> World {
    let w = World::staging(more);
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(0);
    std::fs::remove_dir_all(w.path("state/bundles")).unwrap();
    std::fs::remove_dir_all(w.path("ctl/cache")).unwrap();
    w
}

/// What the state file asks for.
fn desired(w: &World) -> String {
    let text = w.read("state/desired-state.toml");
    let line = text.lines().find(|line| line.starts_with("release = ")).unwrap();
    line["release = \"".len()..][..1].to_owned()
}

#[test]
fn a_command_commits_the_release_before_and_apply_goes_there_without_a_bundle() {
    let w = two_releases("");
    w.soll("rollback staging").exits(0).says("Roll staging back to aaaaaaaa");
    assert_eq!((desired(&w), w.runs("staging")), ("a".into(), "b".into()));
    let plan = w.soll("plan --output json").exits(0).json();
    let steps = plan["environments"][0]["steps"].as_array().unwrap().clone();
    let kinds: Vec<_> = steps.iter().map(|step| step["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["verify", "switch", "health", "confirm"]);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
    // And forth again.
    w.soll("rollback staging").exits(0);
    w.soll("apply").exits(0);
    assert_eq!((desired(&w), w.runs("staging")), ("b".into(), "b".into()));
}

#[test]
fn a_commit_or_a_release_may_be_named() {
    let w = World::staging("");
    let first = w.release("staging");
    for letter in ["b", "d"] {
        w.bundle(letter.chars().next().unwrap(), &[]);
        w.soll(&format!("release staging <{letter}>")).exits(0);
        w.soll("apply").exits(0);
    }
    w.soll("rollback staging --to <b>").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
    w.soll(&format!("rollback staging --to {first}")).exits(0);
    w.soll("apply").exits(0);
    assert_eq!((w.runs("staging"), w.release("staging")), ("a".into(), first));
    let head = w.head();
    w.soll("rollback staging --to 20200101_000000-dddddddd").exits(1).says("has no release").says("there are:");
    w.soll("rollback staging --to a/b").exits(64);
    assert_eq!(w.head(), head);
}

#[test]
fn where_nothing_was_confirmed_before_there_is_nothing_to_go_back_to() {
    let w = World::staging("");
    w.soll("rollback staging").exits(1).says("no earlier release").says("--to SHA");
    // After a failure the confirmed release is the earlier one.
    w.soll("release staging <c>").exits(0);
    w.soll("apply").exits(3);
    w.soll("rollback staging").exits(0);
    assert_eq!(desired(&w), "a");
    w.soll("apply").exits(0).says("in sync");
}

#[test]
fn a_person_reverts_the_commit() {
    let w = two_releases("");
    w.git(&["revert", "--no-edit", "HEAD"]);
    assert_eq!(desired(&w), "a");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
}

#[test]
fn the_reconciler_commits_the_revert_itself_with_the_reason() {
    let w = World::staging("revert_commit = true");
    w.soll("release staging <c>").exits(0);
    w.soll("apply").exits(3).says("revert-commit");
    assert_eq!((desired(&w), w.runs("staging")), ("a".into(), "a".into()));
    let message = w.git(&["log", "-1", "--format=%B"]);
    assert!(message.starts_with("Revert staging to aaaaaaaa: cccccccc failed\n"), "{message}");
    assert!(message.contains("check `alive` on local"), "{message}");
    assert_eq!(w.git(&["status", "--porcelain"]), "");
    w.soll("apply").exits(0).says("in sync");
}

#[test]
fn the_revert_is_pushed_to_a_remote_repository() {
    let mut w = World::with(&env("staging", 'a', "revert_commit = true"));
    w.edit("bundles/deployment", "file://$DIR/state/bundles/deployment");
    w.git(&["clone", "-q", "--bare", ".", w.path("origin.git").to_str().unwrap()]);
    w.git(&["remote", "add", "origin", w.path("origin.git").to_str().unwrap()]);
    w.set("SOLL_REPO", "file://$DIR/origin.git");
    w.soll("apply").exits(0);
    w.edit("release = \"<a>\"", "release = \"<c>\"");
    w.git(&["push", "-q", "origin", "main"]);
    w.soll("apply").exits(3);
    let message = w.git_in("origin.git", &["log", "-1", "--format=%B", "main"]);
    assert!(message.starts_with("Revert staging to aaaaaaaa: cccccccc failed\n"), "{message}");
    assert!(message.contains("check `alive` on local"), "{message}");
    // The commands that edit push as well.
    w.soll("release staging <b>").exits(0);
    assert!(w.git_in("origin.git", &["log", "-1", "--format=%s", "main"]).contains("Release bbbbbbbb to staging"));
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
    w.soll("rollback staging").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
}

#[test]
fn a_release_that_was_tampered_with_is_made_anew_before_it_is_returned_to() {
    let w = World::staging("");
    let first = w.release("staging");
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(0);
    w.write(&format!("staging/releases/{first}/index.html"), "hacked");
    w.soll("rollback staging").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
    assert_ne!(w.release("staging"), first);
}

#[test]
fn a_way_back_is_open_while_a_window_is_closed() {
    let w = two_releases(
        "[[environments.staging.windows]]\nkind = \"deny\"\nzone = \"UTC\"\nfrom = \"00:00\"\nto = \"00:01\"\n",
    );
    w.edit("to = \"00:01\"", "to = \"00:00\"");
    w.soll("rollback staging").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
    w.soll("release staging <d>").exits(0);
    w.soll("apply").exits(1);
    w.soll("plan").exits(0).says("no changes daily all day UTC");
}

#[test]
fn old_releases_are_pruned_and_the_way_back_never() {
    let w = World::staging("keep_releases = 2");
    for letter in ['b', 'd', 'e', 'f'] {
        w.bundle(letter, &[]);
        w.soll(&format!("release staging <{letter}>")).exits(0);
        w.soll("apply").exits(0);
    }
    w.soll("release staging <c>").exits(0);
    w.soll("apply").exits(3);
    let names: Vec<_> =
        std::fs::read_dir(w.path("staging/releases")).unwrap().map(|e| e.unwrap().file_name()).collect();
    let letters: std::collections::BTreeSet<_> = names.iter().map(|n| n.to_str().unwrap()[16..17].to_owned()).collect();
    assert_eq!(letters.into_iter().collect::<String>(), "ef", "what failed holds no room");
    assert_eq!(w.runs("staging"), "f");
}
