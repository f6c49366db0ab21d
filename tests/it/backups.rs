//! Backups with the real program: from a state file to files that a person restores with none of it, and every way in which
//! one could be less than it seems.

mod failing;
mod importing;
mod manners;
mod mariadb;
mod nas;
mod postgres;
mod proving;
mod proving_mariadb;
mod pruning;
mod restoring;
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

/// A job that saves the database of `staging`'s own `.env`, before deployments, into `$DIR/nas`.
pub fn job_of(engine: &str) -> String {
    let of = "environment = \"staging\"\npre_deploy = true\n[[backups.nightly.databases]]\nname = \"main\"\n";
    let from = format!("engine = \"{engine}\"\nfrom = \".env\"\n");
    format!("\n[backups.nightly]\n{of}{from}[[backups.nightly.targets]]\nname = \"nas\"\nurl = \"file://$DIR/nas\"\n")
}

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

/// What it is, what it makes of a dump, and what is said of that.
pub type Lie = (&'static str, fn(String) -> String, &'static str);

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

/// Changes the dump of the only backup of a kind, and its manifest with it: what comes of it is a backup that vouches for itself,
/// as whoever can write to the target could make one.
pub fn forge(w: &World, dir: &str, change: impl FnOnce(String) -> String) {
    use std::io::{Read, Write};

    use soll::model::backup::manifest::Manifest;
    use soll::model::ids::Digest;

    let path = file(w, dir, "backup-db-", ".sql.gz");
    let mut dump = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(&path).unwrap()).read_to_string(&mut dump).unwrap();
    let before = dump.clone();
    let dump = change(dump);
    assert_ne!(before, dump, "nothing was changed");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(dump.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    std::fs::write(&path, &packed).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    std::fs::write(path.with_file_name(format!("{name}.sha256")), format!("{}  {name}\n", Digest::of(&packed)))
        .unwrap();
    let at = file(w, dir, "backup-manifest-", ".txt");
    let mut manifest = Manifest::parse(&std::fs::read_to_string(&at).unwrap()).unwrap();
    let part = manifest.parts.iter_mut().find(|part| part.file == name).unwrap();
    (part.bytes, part.sha256) = (packed.len() as u64, Digest::of(&packed));
    (part.plain_bytes, part.plain_sha256) = (Some(dump.len() as u64), Some(Digest::of(dump.as_bytes())));
    std::fs::write(&at, manifest.to_text().unwrap()).unwrap();
}
