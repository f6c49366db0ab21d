//! Backups with the real program: from a state file to files that a person restores with none of it, and every way in which
//! one could be less than it seems.

mod failing;
mod importing;
mod manners;
mod mariadb;
mod nas;
mod postgres;
mod pruning;
mod s3;
mod saving;
mod service;

use std::path::PathBuf;
use std::process::Command;

use crate::support::world::World;

/// A job that saves a database and the shared directory of `staging`, into `$DIR/nas`.
pub const JOB: &str = r#"
[backups.nightly]
environment = "staging"
schedule = "0 2 * * *"
zone = "Europe/Berlin"
[[backups.nightly.databases]]
name = "main"
engine = "sqlite"
path = "shared/app.sqlite"
[[backups.nightly.files]]
name = "app"
path = "shared"
exclude = ["logs/**", "app.sqlite*"]
[[backups.nightly.targets]]
name = "nas"
url = "file://$DIR/nas"
"#;

/// A world that runs `a`, with a database of 250 users and a few shared files.
pub fn world(job: &str) -> World {
    let w = World::with(&crate::support::world::env("staging", 'a', "shared_dirs = [\"uploads\", \"logs\"]"));
    w.soll("apply").exits(0);
    std::fs::create_dir(w.path("nas")).unwrap();
    w.write("staging/shared/uploads/a b.txt", "an upload");
    w.write("staging/shared/logs/app.log", "noise");
    let database = rusqlite::Connection::open(w.path("staging/shared/app.sqlite")).unwrap();
    database
        .execute_batch(
            "PRAGMA journal_mode=WAL; CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250)
             INSERT INTO users SELECT i, 'it''s user ' || i FROM n;",
        )
        .unwrap();
    drop(database);
    let text = w.read("state/desired-state.toml");
    w.commit(&format!("{text}{job}"));
    w
}

/// The files in a directory of the target, by name.
pub fn files(w: &World, dir: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(w.path(dir)) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The only file whose name begins and ends so.
#[track_caller]
pub fn file(w: &World, dir: &str, begins: &str, ends: &str) -> PathBuf {
    let all = files(w, dir);
    let found: Vec<_> = all.iter().filter(|name| name.starts_with(begins) && name.ends_with(ends)).collect();
    assert_eq!(found.len(), 1, "{begins}…{ends} in {all:?}");
    w.path(dir).join(found[0])
}

/// What a person types, with none of our programs.
#[track_caller]
pub fn by_hand(w: &World, dir: &str, script: &str) -> String {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &w.fill(script)]).current_dir(w.path(dir));
    let done = command.output().unwrap();
    assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&[done.stdout, done.stderr].concat()));
    String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
}
