//! Directories in `releases/` that soll did not make.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::world::{APP, World, env};

/// What people and other tools leave there.
const STRANGERS: [&str; 6] = ["3", "before-php8", "db-backup-before-upgrade", "lost+found", "runtime", "uploads"];

fn world() -> World {
    let w = World::with("");
    w.bundle('d', &[]);
    desire(&w, 'a');
    for name in STRANGERS.iter().chain(&["20250101120000"]) {
        w.write(&format!("staging/releases/{name}/index.html"), name);
    }
    w.write("staging/releases/notes.txt", "notes");
    fs::create_dir(w.path("staging/shared")).unwrap();
    symlink("releases/20250101120000", w.path("staging/current")).unwrap();
    w
}

fn desire(w: &World, letter: char) {
    let app = APP.replace("[apps.web]\n", "[apps.web]\nkeep_releases = 1\n");
    w.commit(&format!("{app}{}", env("staging", letter, "")));
}

fn there(w: &World) -> Vec<String> {
    let entries = fs::read_dir(w.path("staging/releases")).unwrap().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_first_deployments_after_an_adoption_lose_nothing_that_is_not_theirs() {
    let w = world();
    w.soll("adopt staging --dry-run")
        .exits(0)
        .says("releases/db-backup-before-upgrade (24 B) was not made by soll, and is never removed")
        .says("soll adopt staging --release uploads");
    w.soll("plan").exits(0).says("3, before-php8, db-backup-before-upgrade and 3 more, which soll did not make");
    for letter in ['a', 'b', 'd', 'a'] {
        desire(&w, letter);
        w.soll("apply").exits(0);
    }
    let left = there(&w);
    for name in STRANGERS.iter().chain(&["notes.txt"]) {
        assert!(left.iter().any(|one| one == name), "{name} was removed: {left:?}");
    }
    assert!(!left.contains(&"20250101120000".to_owned()), "the adopted one went in its turn: {left:?}");
}

#[test]
fn what_a_person_calls_a_release_goes_in_its_turn() {
    let w = world();
    w.soll("apply").exits(0);
    w.soll("adopt staging --release before-php8 --dry-run").exits(0).says("would count");
    w.soll("adopt staging --release before-php8").exits(0).says("old releases from now on");
    w.soll("plan").exits(0).says("3, db-backup-before-upgrade, lost+found and 2 more");
    desire(&w, 'b');
    w.soll("plan").exits(0).says("1 releases are kept, before-php8");
    w.soll("apply").exits(0);
    let left = there(&w);
    assert!(!left.contains(&"before-php8".to_owned()), "{left:?}");
    assert!(left.contains(&"3".to_owned()), "{left:?}");
}

#[test]
fn many_old_releases_go_a_few_with_each_deployment() {
    let w = world();
    let old: Vec<_> = (10..25).map(|n| format!("202401{n}000000")).collect();
    for name in &old {
        w.write(&format!("staging/releases/{name}/index.html"), name);
    }
    let many = || there(&w).iter().filter(|name| old.contains(name)).count();
    w.soll("apply").exits(0);
    assert_eq!(many(), 5, "ten went");
    desire(&w, 'b');
    w.soll("apply").exits(0);
    assert_eq!(many(), 0);
}
