//! Files of the web server's user in a release that the agent's user may not read.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use super::agent_user::{WEB_SERVER, become_agent, soll, written_by_web_server};
use crate::support::world::{APP, World, env};

const LIVE: &str = "20250101120000";

/// A root that another tool made: `current` leads to a healthy release with a session that nobody else may read.
fn foreign(letter: char) -> World {
    let mut w = World::with(&env("staging", letter, ""));
    become_agent(&mut w);
    w.write(&format!("staging/releases/{LIVE}/index.html"), "old");
    fs::create_dir_all(w.path("staging/shared")).unwrap();
    written_by_web_server(&w, &format!("staging/releases/{LIVE}/sessions/sess_1"));
    symlink(format!("releases/{LIVE}"), w.path("staging/current")).unwrap();
    w
}

#[test]
fn one_session_file_took_the_way_back_of_the_first_deployment() {
    let w = foreign('c');
    soll(&w, "apply").exits(3).says("cannot be read and is not vouched for: `sessions/sess_1` (www-data:www-data 600)");
    assert_eq!((w.runs("staging"), w.release("staging").as_str()), ("old".into(), LIVE));
    assert_eq!(w.record("staging")["confirmed"]["release"], LIVE);
    // What it is not vouched for is no drift, either.
    soll(&w, "status --drift").hides("sess_1");
    w.edit("<c>", "<b>");
    soll(&w, "apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn a_cache_in_the_live_release_is_told_as_what_it_is() {
    let mut w = World::with("");
    w.bundle('d', &[]);
    become_agent(&mut w);
    w.commit(&format!("{APP}{}", env("staging", 'a', "")));
    soll(&w, "apply").exits(0);
    let live = format!("staging/releases/{}", w.release("staging"));
    written_by_web_server(&w, &format!("{live}/var/page.html"));
    chown(w.path(&format!("{live}/var")), Some(WEB_SERVER), Some(WEB_SERVER)).unwrap();
    fs::set_permissions(w.path(&format!("{live}/var")), Permissions::from_mode(0o700)).unwrap();
    soll(&w, "diff staging").says("? var\n").hides("page.html");
    soll(&w, "plan").exits(0);
    w.edit("<a>", "<b>");
    soll(&w, "apply").exits(0);
    // The way back to a release that is not what was sealed is to make it anew.
    w.edit("<b>", "<a>");
    soll(&w, "apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
}

#[test]
fn a_hook_that_makes_what_cannot_be_read_is_told_how_to_say_so() {
    let mut w = World::with("");
    become_agent(&mut w);
    let hook = "[[apps.web.hooks]]\nphase = \"prepare\"\nrun = \"mkdir var && touch var/x && chmod 0 var\"\n";
    w.commit(&format!("{APP}{hook}{}", env("staging", 'a', "")));
    soll(&w, "apply").exits(1).says("cannot be sealed: `var`").says("mutable = [\"var/**\"]");
    w.edit("[apps.web]\n", "[apps.web]\nmutable = [\"var/**\"]\n");
    soll(&w, "apply").exits(0);
}
