//! `provision` gives away what the application writes and nothing else, and changes nothing through a link.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::{APPLICATION, give, mend};
use crate::doctor::found;
use crate::support::world::{World, env, until};

const SHARED: &str = "shared_files = [{ path = \".env\", from = \".env/production.env\" }]\n\
    shared_dirs = [\"storage/logs\", \"public/uploads\"]\n";

fn uid(w: &World, path: &str) -> u32 {
    fs::symlink_metadata(w.path(path)).unwrap().uid()
}

fn mode(w: &World, path: &str) -> u32 {
    fs::symlink_metadata(w.path(path)).unwrap().permissions().mode() & 0o7777
}

/// A directory that nobody else may look into, with something in it.
fn precious(w: &World) {
    w.write("precious/logs/key", "key");
    fs::set_permissions(w.path("precious"), PermissionsExt::from_mode(0o700)).unwrap();
    fs::set_permissions(w.path("precious/logs"), PermissionsExt::from_mode(0o700)).unwrap();
}

#[track_caller]
fn untouched(w: &World, what: &str) {
    for path in ["precious", "precious/logs"] {
        assert_eq!((uid(w, path), mode(w, path)), (0, 0o700), "{what}: {path}");
    }
    let inside =
        fs::read_dir(w.path("precious")).unwrap().count() + fs::read_dir(w.path("precious/logs")).unwrap().count();
    assert_eq!(inside, 2, "{what}: something was made there");
}

#[test]
fn only_what_the_application_writes_is_given_away() {
    let w = World::with(&env("staging", 'a', SHARED));
    w.write("mine.env", "APP_KEY=1\n");
    w.soll("provision staging --owner www-data --env-file $DIR/mine.env").exits(0);
    for path in ["staging", "staging/releases"] {
        assert_eq!((uid(&w, path), mode(&w, path)), (0, 0o755), "{path}");
    }
    for path in
        ["shared", "shared/storage", "shared/storage/logs", "shared/public/uploads", "shared/.env/production.env"]
    {
        assert_eq!(uid(&w, &format!("staging/{path}")), APPLICATION, "{path}");
    }
    w.soll("apply").exits(0);
    w.soll("provision staging --owner www-data --adjust").exits(0);
    for path in ["staging", "staging/releases", "staging/.soll", "staging/current"] {
        assert_eq!(uid(&w, path), 0, "{path}");
    }
}

#[test]
fn a_root_that_the_version_before_gave_away_is_taken_back() {
    let w = World::with(&env("staging", 'a', SHARED));
    w.write("staging/shared/.env/production.env", "APP_KEY=1\n");
    fs::create_dir(w.path("staging/releases")).unwrap();
    for path in ["staging", "staging/releases", "staging/shared"] {
        give(&w.path(path));
    }
    w.soll("apply").exits(6).says(&format!("chown root {}", w.path("staging/releases").display()));
    let said = w.soll("provision staging --owner www-data --output json").exits(0);
    assert_eq!(found(&said, "differs").len(), 3, "ROOT, releases and shared/.env: {}", said.stdout);
    assert_eq!(uid(&w, "staging"), APPLICATION, "nothing is changed silently");
    w.soll("provision staging --owner www-data --adjust").exits(0);
    assert_eq!((uid(&w, "staging"), uid(&w, "staging/releases"), uid(&w, "staging/shared")), (0, 0, APPLICATION));
    w.soll("apply").exits(0);
    assert_eq!(mend(&w.soll("doctor staging --output json")), 0);
}

#[test]
fn nothing_is_given_away_or_changed_through_a_link() {
    // Where the link lies, and the words with which it was followed once.
    for (link, to) in [
        ("shared/storage", "precious"),
        ("shared/storage/logs", "precious/logs"),
        ("shared/public", "precious"),
        ("shared/.env", "precious"),
    ] {
        let w = World::with(&env("staging", 'a', SHARED));
        precious(&w);
        w.write("mine.env", "APP_KEY=1\n");
        fs::create_dir_all(w.path(&format!("staging/{link}")).parent().unwrap()).unwrap();
        give(&w.path("staging/shared"));
        symlink(w.path(to), w.path(&format!("staging/{link}"))).unwrap();
        give(&w.path(&format!("staging/{link}")));
        for words in ["", "--adjust", "--adjust --dry-run", "--adjust --env-file $DIR/mine.env"] {
            let ran = w.soll(&format!("provision staging --owner www-data {words}"));
            let through = link == "shared/.env" && words.contains("--env-file");
            assert_eq!(ran.exit, i32::from(through), "{link} {words}: {}{}", ran.stdout, ran.stderr);
            let place = w.path(&format!("staging/{link}"));
            let told = if through {
                "no secret is written through a link".to_owned()
            } else {
                format!("{} (a link to ", place.display())
            };
            ran.says(&told);
            untouched(&w, &format!("{link} {words}"));
        }
    }
}

#[test]
fn a_link_in_a_root_that_was_given_away_is_not_followed_when_it_is_taken_back() {
    let w = World::with(&env("staging", 'a', SHARED));
    precious(&w);
    fs::create_dir(w.path("staging")).unwrap();
    symlink(w.path("precious"), w.path("staging/shared")).unwrap();
    symlink(w.path("precious"), w.path("staging/releases")).unwrap();
    for path in ["staging", "staging/shared", "staging/releases"] {
        give(&w.path(path));
    }
    w.soll("provision staging --owner www-data --adjust").exits(0);
    untouched(&w, "at once");
    assert_eq!(uid(&w, "staging"), 0);
    // ROOT is the agent's now, and the links are still those of the application.
    w.soll("provision staging --owner www-data --adjust").exits(0);
    untouched(&w, "and the second time");
    w.soll("apply").exits(6).says("is a link that belongs to www-data");
    untouched(&w, "and by an apply");
}

#[test]
fn a_link_of_the_administrator_is_followed_where_nobody_else_could_have_made_it() {
    let w = World::with(&env("staging", 'a', SHARED));
    w.write("disk/storage/x", "x");
    w.write("staging/x", "x");
    symlink(w.path("disk"), w.path("staging/shared")).unwrap();
    w.soll("provision staging --owner www-data --adjust").exits(0);
    assert_eq!((uid(&w, "disk"), uid(&w, "disk/storage/logs")), (APPLICATION, APPLICATION));
}

/// The state of a process, as the kernel names it; `None`: there is none.
fn state_of(pid: i32) -> Option<char> {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok()?.rsplit_once(") ")?.1.chars().next()
}

fn go_on(pid: i32) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::CONT).unwrap();
}

/// What the application's user puts in the place of `shared/storage` just after that was made.
fn exchange(w: &World, put: &str) {
    let storage = w.path("staging/shared/storage");
    fs::remove_dir(&storage).unwrap();
    match put {
        "a link" => symlink(w.path("precious"), &storage).unwrap(),
        "a dangling link" => symlink(w.path("nothing"), &storage).unwrap(),
        _ => fs::rename(w.path("precious"), &storage).unwrap(),
    }
}

const STORAGE: &str = "shared_dirs = [\"storage\"]\n";

/// Neither mode nor owner is given to what was not made: both go by the descriptor of what is there then.
#[test]
fn a_directory_that_is_exchanged_after_it_was_made_is_not_given_away() {
    for put in ["a link", "a dangling link", "another directory"] {
        let mut w = World::with(&env("staging", 'a', STORAGE));
        w.soll("provision staging --owner www-data").exits(0);
        fs::remove_dir(w.path("staging/shared/storage")).unwrap();
        precious(&w);
        w.set("SOLL_FAULT", "stop:host.make.after-mkdir");
        let provision = w.start("provision staging --owner www-data", "log");
        let pid = provision.child.id().cast_signed();
        until("it stands still", || (state_of(pid) == Some('T')).then_some(()));
        exchange(&w, put);
        go_on(pid);
        assert_eq!(provision.wait(), Some(1), "{put}: {}", w.read("log"));
        if put == "another directory" {
            fs::rename(w.path("staging/shared/storage"), w.path("precious")).unwrap();
        }
        untouched(&w, put);
        assert!(!w.path("nothing").exists(), "{put}");
    }
}

/// The agent makes shared directories of a release, too.
#[test]
fn a_shared_directory_that_is_exchanged_while_a_release_is_linked_is_not_followed() {
    let mut w = World::with(&env("staging", 'a', STORAGE));
    w.soll("provision staging --owner www-data").exits(0);
    w.soll("apply").exits(0);
    fs::remove_dir(w.path("staging/shared/storage")).unwrap();
    precious(&w);
    w.edit("release = \"<a>\"", "release = \"<b>\"");
    // Directories of the release come first: it is continued there.
    let stops: Vec<_> = (1..=12).map(|nth| format!("stop:host.make.after-mkdir@{nth}")).collect();
    w.set("SOLL_FAULT", &stops.join(","));
    let mut apply = w.start("apply", "log");
    let pid = until("the agent stands still with the directory", || {
        let lock = fs::read_to_string(w.path("staging/.soll/lock")).ok()?;
        let pid = serde_json::from_str::<serde_json::Value>(&lock).ok()?["pid"].as_i64()?;
        let pid = i32::try_from(pid).ok()?;
        if state_of(pid)? != 'T' {
            return None;
        }
        if w.path("staging/shared/storage").exists() {
            return Some(pid);
        }
        go_on(pid);
        None
    });
    exchange(&w, "a link");
    // It may stand still again.
    let code = until("it ends", || {
        if state_of(pid) == Some('T') {
            go_on(pid);
        }
        apply.child.try_wait().unwrap()
    });
    assert_eq!(code.code(), Some(1), "{}", w.read("log"));
    assert!(w.read("log").contains("staging/shared/storage"), "{}", w.read("log"));
    untouched(&w, "while a release is linked");
    assert_eq!(w.runs("staging"), "a");
}
