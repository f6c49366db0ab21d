//! What is kept, what goes by itself, what is held until a person has looked, and what is swept.

use std::fs;

use soll::model::ids::Digest;

use super::{JOB, file, files, world};
use crate::support::world::{World, until};

/// The time in the names of the only backup of a directory.
#[track_caller]
pub fn stamp(dir: &std::path::Path) -> String {
    let names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let found: Vec<_> =
        names.iter().filter_map(|name| name.strip_prefix("backup-manifest-")?.strip_suffix(".txt")).collect();
    assert_eq!(found.len(), 1, "{names:?}");
    found[0].to_owned()
}

/// The same backup once more, as if it had been made at another time.
pub fn copied(dir: &std::path::Path, from: &str, to: &str) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.contains(from) {
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        if name.ends_with(".txt") || name.ends_with(".sha256") {
            // A release that was made in the same second keeps its name.
            let release = format!("{from}-");
            let text =
                String::from_utf8(bytes).unwrap().replace(&release, "\0").replace(from, to).replace('\0', &release);
            bytes = match text.split_once("# sha256 of all lines above: ") {
                Some((body, _)) => {
                    format!("{body}# sha256 of all lines above: {}\n", Digest::of(body.as_bytes())).into_bytes()
                }
                None => text.into_bytes(),
            };
        }
        fs::write(dir.join(name.replace(from, to)), bytes).unwrap();
    }
}

/// The names of the whole backups in a directory.
fn whole(w: &World, dir: &str) -> Vec<String> {
    let of = |name: &String| Some(name.strip_prefix("backup-manifest-")?.strip_suffix(".txt")?.to_owned());
    files(w, dir).iter().filter_map(of).collect()
}

/// As if all that its host remembers of backups had been a day earlier.
fn a_day_later(w: &World, today: &str, yesterday: &str) {
    let path = w.path("staging/.soll/record.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(today), "{text}");
    let iso = |stamp: &str| {
        let (day, time) = stamp.split_once('_').unwrap();
        format!("{}-{}-{}T{}:{}:{}Z", &day[..4], &day[4..6], &day[6..], &time[..2], &time[2..4], &time[4..])
    };
    fs::write(&path, text.replace(today, yesterday).replace(&iso(today), &iso(yesterday))).unwrap();
}

/// F3: jobs that have no schedule prune, too, as part of the deployment that made a backup.
#[test]
fn before_deployments_what_leads_back_to_nothing_in_use_goes() {
    let w = world(&JOB.replace("schedule = \"0 2 * * *\"", "pre_deploy = true\nkeep = { pre_deploy = 1 }"));
    w.edit("<a>", "<b>");
    w.soll("apply").exits(0);
    let dir = w.path("nas/pre-deploy");
    let made = stamp(&dir);
    for earlier in ["20250101_010000", "20250102_010000", "20250103_010000"] {
        copied(&dir, &made, earlier);
    }
    w.soll("backup list").exits(0).says("pre-deploy/20250102_010000");
    w.bundle('d', &[]);
    w.edit("<b>", "<d>");
    w.soll("apply").exits(0);
    let history = w.soll("history --output json").exits(0).json();
    let told = w.soll(&format!("show {}", history[0]["run"].as_str().unwrap())).exits(0);
    let kept = whole(&w, "nas/pre-deploy");
    // The first and the newest of what leads back to `a`, and the one that was made now.
    assert_eq!((kept.len(), &kept[..2]), (3, &["20250101_010000".to_owned(), made][..]), "{}", told.stdout);
    assert!(files(&w, "nas/trash").is_empty());
    told.says("pruned on nas: pre-deploy/20250103_010000, pre-deploy/20250102_010000");
}

/// A failure of yesterday does not keep a good run from pruning, nor a person who says so.
#[test]
fn what_failed_before_holds_nothing_once_a_backup_is_good() {
    let w = world(&JOB.replace("zone =", "keep = { daily = 1 }\nzone ="));
    w.soll("apply").exits(0);
    let dir = w.path("nas/daily");
    let made = stamp(&dir);
    copied(&dir, &made, "20250101_010000");
    fs::rename(w.path("staging/shared/app.sqlite"), w.path("gone.sqlite")).unwrap();
    w.soll("backup now").exits(1);
    w.soll("backup prune --dry-run")
        .exits(0)
        .says("hold   nightly daily/20250101_010000 on nas: it would go")
        .says("failed here");
    w.soll("backup prune").exits(0).says("failed here");
    assert_eq!(whole(&w, "nas/daily").len(), 2);
    w.soll("backup prune --yes").exits(0).says("prune  nightly daily/20250101_010000");
    assert_eq!(whole(&w, "nas/daily"), std::slice::from_ref(&made));
    // A good one after the failure prunes by itself.
    copied(&dir, &made, "20250101_010000");
    fs::rename(w.path("gone.sqlite"), w.path("staging/shared/app.sqlite")).unwrap();
    w.soll("backup now").exits(0).says("pruned on nas: daily/20250101_010000");
    assert_eq!(whole(&w, "nas/daily"), [made]);
}

/// I20: most of the rows are gone. It is held and told, and what it is compared with stays what it was.
#[test]
fn a_backup_that_has_shrunk_is_held_until_a_person_says_that_it_is_right() {
    let w = world(&JOB.replace("zone =", "keep = { daily = 1 }\nzone ="));
    w.soll("apply").exits(0);
    let dir = w.path("nas/daily");
    let (made, yesterday) = (stamp(&dir), "20250102_010000");
    copied(&dir, &made, yesterday);
    files(&w, "nas/daily")
        .iter()
        .filter(|name| name.contains(&made))
        .for_each(|name| fs::remove_file(dir.join(name)).unwrap());
    a_day_later(&w, &made, yesterday);
    let database = rusqlite::Connection::open(w.path("staging/shared/app.sqlite")).unwrap();
    database.execute_batch("DELETE FROM users WHERE id > 100").unwrap();
    let daemon = w.start("run", "log");
    until("the daemon tells of it", || w.read("log").contains("backup nightly has shrunk: daily/").then_some(()));
    assert_eq!(daemon.stop(), Some(0));
    let log = w.read("log");
    assert!(log.contains("it has 100 rows, and daily/20250102_010000 had 250"), "{log}");
    w.soll("backup list").exits(0).says("shrunk: it has 100 rows");
    // The next one is as small: it is not its measure.
    w.soll("backup now").exits(0).says("it has 100 rows, and daily/20250102_010000 had 250");
    w.soll("backup next").exits(0).says("the last good one is daily/20250102_010000").says("has shrunk, and is held");
    w.soll("backup prune --dry-run").exits(0).says("it has shrunk: ").says("keep   nightly daily/20250102_010000");
    // A person says that it is right.
    w.edit("keep = { daily = 1 }", "keep = { daily = 1 }\nmax_shrink = \"100%\"");
    w.soll("backup list").exits(0).hides("shrunk");
    w.soll("backup now").exits(0).hides("had 250");
    w.soll("backup next").exits(0).says("the last good one is manual/").hides("has shrunk");
}

/// What a run that broke off has left goes after a day, and nothing else that looks like it.
#[test]
fn what_was_begun_and_never_finished_is_swept() {
    let w = world(JOB);
    let big = fs::File::create(w.path("staging/shared/uploads/big")).unwrap();
    big.set_len(64 << 30).unwrap();
    let mut running = w.start("backup now", "log");
    let begun = until("the archive is under way", || {
        let names = files(&w, "nas/manual");
        names.iter().find_map(|name| Some(name.strip_prefix("backup-app-")?.strip_suffix(".tar.gz.part")?.to_owned()))
    });
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    until("the agent gives up", || files(&w, "nas/manual").iter().all(|name| !name.ends_with(".part")).then_some(()));
    fs::remove_file(w.path("staging/shared/uploads/big")).unwrap();
    // As it is where the server lost its power.
    w.write(&format!("nas/manual/backup-app-{begun}.tar.gz.part"), "half of it");
    w.write("nas/manual/backup-db-20250101_010000.sql.gz", "of a script");
    w.write("nas/manual/backup-db-20250101_010000.sql.gz.part", "of a script");
    let is_left = |stamp: &str| files(&w, "nas/manual").iter().filter(|name| name.contains(stamp)).count();
    assert_eq!(is_left(&begun), 3, "{:?}", files(&w, "nas/manual"));
    w.soll("backup prune").exits(0).says("what is left of it goes after a day");
    assert_eq!(is_left(&begun), 3);
    // A day later.
    for name in files(&w, "nas/manual").iter().filter(|name| name.contains(&begun)) {
        let earlier = w.path("nas/manual").join(name.replace(&begun, "20250102_010000"));
        fs::rename(w.path("nas/manual").join(name), earlier).unwrap();
    }
    a_day_later(&w, &begun, "20250102_010000");
    w.soll("backup now").exits(0).says("pruned on nas: manual/20250102_010000");
    assert_eq!(is_left("20250102_010000"), 0);
    assert_eq!(is_left("20250101_010000"), 2, "what this program did not make is not its business");
    let _ = file(&w, "nas/manual", "backup-manifest-", ".txt");
}

/// The names that were said are those that are made.
#[test]
fn those_that_are_due_are_made_by_name() {
    let w = world(&format!("{JOB}{}", JOB.replace("backups.nightly", "backups.other").replace("/nas", "/other")));
    fs::create_dir(w.path("other")).unwrap();
    w.soll("backup now other --due").exits(0).says("other: good: daily/").hides("nightly");
    assert_eq!((files(&w, "nas/daily").len(), files(&w, "other/daily").len()), (0, 5));
    w.soll("backup now nothing --due").exits(64).says("there is no backup `nothing`");
}

/// Two jobs that keep copies on the server share a directory: each sees its own, and no name is taken twice.
#[test]
fn two_jobs_that_keep_copies_on_the_server_do_not_prune_each_other() {
    let job = JOB.replace("zone =", "keep = { daily = 1, local = 1 }\nzone =");
    let w = world(&format!("{job}{}", job.replace("backups.nightly", "backups.other").replace("/nas", "/other")));
    fs::create_dir(w.path("other")).unwrap();
    w.soll("apply").exits(0).says("backup nightly: daily/").says("backup other: daily/");
    assert_eq!(whole(&w, "staging/backups/daily").len(), 2);
    w.soll("backup now").exits(0);
    w.soll("backup now").exits(0);
    w.soll("backup prune --yes").exits(0);
    let list = w.soll("backup list --output json").exits(0).json();
    for name in ["nightly", "other"] {
        let of = |one: &&serde_json::Value| one["name"] == name && one["target"] == "local";
        assert_eq!(list.as_array().unwrap().iter().filter(of).count(), 1, "{name}: {list}");
    }
    w.soll("backup verify --all").exits(0);
}
