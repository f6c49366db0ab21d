//! `provision` makes what is missing, again and again, and changes nothing silently.

use std::os::unix::fs::PermissionsExt;

use super::found;
use crate::support::world::{World, env};

const FILES: &str =
    "shared_files = [{ path = \".env\", from = \".env/production.env\" }]\nshared_dirs = [\"storage/logs\"]\n";

fn mode(w: &World, path: &str) -> u32 {
    std::fs::metadata(w.path(path)).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_dry_run_says_it_all_and_makes_nothing() {
    let w = World::with(&env("staging", 'a', FILES));
    let said = w.soll("provision staging --dry-run").exits(0);
    said.says("/staging/shared/storage/logs would be made (").says(" 755)").says("/.env/production.env is missing");
    assert!(!w.path("staging").exists());
}

#[test]
fn what_was_made_is_kept_and_no_file_is_made_empty() {
    let w = World::with(&env("staging", 'a', FILES));
    let said = w.soll("provision staging --output json").exits(0);
    assert_eq!(found(&said, "made").len(), 6, "{}", said.stdout);
    assert_eq!(found(&said, "missing").len(), 1);
    for dir in ["staging", "staging/releases", "staging/shared", "staging/shared/storage/logs", "staging/shared/.env"] {
        assert_eq!(mode(&w, dir), 0o755, "{dir}");
    }
    assert!(!w.path("staging/shared/.env/production.env").exists());
    let before = w.tree("staging");
    let again = w.soll("provision staging --output json").exits(0);
    assert_eq!((found(&again, "made").len(), found(&again, "kept").len()), (0, 6));
    assert_eq!(w.tree("staging"), before);
}

#[test]
fn an_environment_file_is_put_there_once_and_never_shown() {
    let w = World::with(&env("staging", 'a', FILES));
    w.write("mine.env", "APP_KEY=my-secret-1\n");
    w.soll("provision staging --env-file $DIR/mine.env").exits(0).hides("my-secret-1");
    assert_eq!(w.read("staging/shared/.env/production.env"), "APP_KEY=my-secret-1\n");
    assert_eq!(mode(&w, "staging/shared/.env/production.env"), 0o640);
    w.write("mine.env", "APP_KEY=my-secret-2\n");
    w.soll("provision staging --env-file $DIR/mine.env").exits(0).hides("my-secret-2");
    assert_eq!(w.read("staging/shared/.env/production.env"), "APP_KEY=my-secret-1\n", "a file that is there stays");
    w.soll("apply").exits(0);
}

#[test]
fn what_differs_is_told_and_changed_only_when_asked() {
    let w = World::with(&env("staging", 'a', FILES));
    w.soll("provision staging").exits(0);
    std::fs::set_permissions(w.path("staging/shared"), PermissionsExt::from_mode(0o700)).unwrap();
    let said = w.soll("provision staging --output json").exits(0);
    assert_eq!(found(&said, "differs").len(), 1);
    assert_eq!(mode(&w, "staging/shared"), 0o700);
    w.soll("provision staging --adjust --dry-run").exits(0).says("would be changed from");
    assert_eq!(mode(&w, "staging/shared"), 0o700);
    w.soll("provision staging --adjust").exits(0);
    assert_eq!(mode(&w, "staging/shared"), 0o755);
}

#[test]
fn what_cannot_be_is_an_error_with_its_place() {
    let w = World::with(&env("staging", 'a', FILES));
    w.soll("provision staging --owner no-such-user").exits(1).says("knows no user `no-such-user`");
    assert!(!w.path("staging").exists());
    w.write("staging/releases", "a file");
    w.soll("provision staging").exits(1).says("/staging/releases is there and no directory");
}
