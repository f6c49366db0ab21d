//! What the web server's user writes into a release, and the agent's user may not remove.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use super::agent_user::{AGENT, WEB_SERVER, become_agent, soll};
use crate::support::world::{APP, World, env};

/// A world whose program runs as a user that is not root, with two releases; the web server wrote into the older one.
fn world() -> World {
    let mut w = World::with("");
    w.bundle('d', &[]);
    become_agent(&mut w);
    desire(&w, 'a');
    soll(&w, "apply").exits(0);
    let old = w.path("staging/releases").join(w.release("staging"));
    desire(&w, 'b');
    soll(&w, "apply").exits(0);
    let cache = old.join("var/cache");
    fs::create_dir_all(&cache).unwrap();
    fs::write(cache.join("page.html"), "cached").unwrap();
    fs::write(old.join("var/theirs"), "theirs").unwrap();
    for (place, owner) in [("var", AGENT), ("var/theirs", WEB_SERVER), ("var/cache", WEB_SERVER)] {
        chown(old.join(place), Some(owner), Some(owner)).unwrap();
    }
    fs::set_permissions(&cache, Permissions::from_mode(0o700)).unwrap();
    w
}

fn desire(w: &World, letter: char) {
    let app = APP.replace("[apps.web]\n", "[apps.web]\nkeep_releases = 2\n");
    w.commit(&format!("{app}{}", env("staging", letter, "")));
}

#[test]
fn a_cache_in_an_old_release_is_told_and_in_nobodys_way() {
    let w = world();
    desire(&w, 'd');
    soll(&w, "apply").exits(0).says("cannot be removed");
    assert_eq!(w.runs("staging"), "d");
    let trash = || fs::read_dir(w.path("staging/.soll/trash")).unwrap().flatten().map(|entry| entry.path());
    let left = trash().next().expect("what cannot be removed stays");
    assert!(!left.join("index.html").exists() && !left.join("var/theirs").exists(), "the rest of it is gone");
    let cache = left.join("var/cache").display().to_string();
    let cure = format!("as root: rm -rf {cache}");
    soll(&w, "plan").exits(0).says(&cache).says(&cure).says("www-data");
    soll(&w, "doctor").says("leftovers").says(&cure).says("`mutable`");
    soll(&w, "preflight staging").exits(0);
    // Forwards and back, again and again.
    for letter in ['a', 'b', 'd'] {
        desire(&w, letter);
        soll(&w, "apply").exits(0);
        assert_eq!(w.runs("staging"), letter.to_string());
    }
    soll(&w, "rollback staging").exits(0);
    soll(&w, "apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
    // The words of the cure, as root.
    assert!(Command::new("rm").args(["-rf", &cache]).status().unwrap().success());
    soll(&w, "plan").exits(0).hides("cannot be removed");
    desire(&w, 'a');
    soll(&w, "apply").exits(0).hides("cannot be removed");
    assert_eq!(trash().count(), 0);
}
