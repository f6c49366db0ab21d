//! Every way in which a backup could be less than it seems, injected and caught.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{JOB, file, files, world};
use crate::support::world::{APP, World, env, until};

/// One bit, somewhere in the middle.
#[test]
fn a_bit_that_flipped_on_the_target_is_found() {
    let w = world(JOB);
    w.soll("backup now").exits(0);
    let path = file(&w, "nas/manual", "backup-app-", ".tar.gz");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&path, &bytes).unwrap();
    w.soll("backup list").exits(0).says("verified");
    w.soll("backup verify").exits(1).says("is not what was written");
    // Cut: already the list shows it.
    fs::write(&path, &bytes[..middle]).unwrap();
    w.soll("backup list").exits(0).says("broken").says("bytes, and");
    // Without its manifest it was not finished.
    fs::remove_file(file(&w, "nas/manual", "backup-manifest-", ".txt")).unwrap();
    w.soll("backup list").exits(0).says("no manifest");
    w.soll("backup verify").exits(1).says("nothing to verify");
}

/// What fails leaves no manifest, is noted where the next controller sees it, and is tried again.
#[test]
fn a_database_that_is_not_there_is_no_backup_of_nothing() {
    let w = world(JOB);
    fs::rename(w.path("staging/shared/app.sqlite"), w.path("gone.sqlite")).unwrap();
    w.soll("backup now").exits(1).says("app.sqlite").says("nightly: failed");
    assert!(files(&w, "nas/manual").iter().all(|name| !name.contains("manifest")), "{:?}", files(&w, "nas/manual"));
    w.soll("status").exits(0).says("failed since");
    let history = w.soll("history --subject backup --output json").exits(0).json();
    assert_eq!((&history[0]["subject"], &history[0]["result"]), (&"backup".into(), &"failed".into()));
    fs::rename(w.path("gone.sqlite"), w.path("staging/shared/app.sqlite")).unwrap();
    w.soll("backup now").exits(0);
    w.soll("status").exits(0).hides("failed since");
}

#[test]
fn a_damaged_database_is_not_saved_as_a_good_one() {
    let w = world(JOB);
    let path = w.path("staging/shared/app.sqlite");
    let mut bytes = fs::read(&path).unwrap();
    // The page with the rows.
    let end = bytes.len();
    bytes[4096..end].fill(0xff);
    fs::write(&path, bytes).unwrap();
    w.soll("backup now").exits(1).says("app.sqlite");
    w.soll("backup list").exits(0).hides("verified");
}

/// One target is full: the other one has all of it, the run says so, and the host remembers to try again.
#[test]
fn a_full_target_is_left_out_and_told() {
    let disk = crate::support::disk::Disk::new("1m");
    let mut job = JOB.to_owned();
    job.push_str(&format!(
        "[[backups.nightly.targets]]\nname = \"small\"\nurl = \"file://{}\"\n",
        disk.path().display()
    ));
    let w = world(&job);
    fs::write(w.path("staging/shared/uploads/noise.bin"), super::manners::noise(3_000_000)).unwrap();
    w.soll("backup now").exits(1).says("it is not on small").says("full");
    let list = w.soll("backup list --output json").exits(0).json();
    let all: Vec<_> = list.as_array().unwrap().iter().filter(|one| one["verified"] == true).collect();
    assert_eq!((all.len(), &all[0]["target"]), (1, &"nas".into()));
    assert!(fs::read_dir(disk.path().join("manual")).unwrap().all(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        !name.contains("backup-app") && !name.contains("manifest")
    }));
    w.soll("status").exits(0).says("failed since");
    // Once more: that the other target has it makes it no first failure.
    w.soll("backup now").exits(1).says("it is not on small");
    let backed = w.record("staging")["backups"]["nightly"].clone();
    assert_eq!((&backed["failed"]["times"], &backed["failed"]["refused"][0]), (&2.into(), &"small".into()), "{backed}");
    assert_eq!((&backed["open"], backed["left"].as_array().map(Vec::len)), (&serde_json::Value::Null, Some(2)));
}

/// Nobody waits for it any more: what was written counts for nothing, and the next one is whole.
#[test]
fn a_controller_that_is_killed_leaves_nothing_that_counts() {
    let w = world(JOB);
    // As large as it must be to be still under way, and nothing on the disk.
    let big = fs::File::create(w.path("staging/shared/uploads/big")).unwrap();
    big.set_len(64 << 30).unwrap();
    let mut running = w.start("backup now", "log");
    until("the archive is under way", || {
        files(&w, "nas/manual")
            .iter()
            .any(|name| name.starts_with("backup-app") && name.ends_with(".part"))
            .then_some(())
    });
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    until("the agent gives up", || files(&w, "nas/manual").iter().all(|name| !name.ends_with(".part")).then_some(()));
    w.soll("backup list").exits(0).says("no manifest").hides("verified");
    fs::remove_file(w.path("staging/shared/uploads/big")).unwrap();
    w.soll("backup now").exits(0);
    let history = w.soll("history --subject backup --output json").exits(0).json();
    let results: Vec<_> = history.as_array().unwrap().iter().take(2).map(|row| row["result"].clone()).collect();
    assert_eq!(results, ["succeeded", "interrupted"]);
}

/// I17: who migrates has the root, and who dumps has it; the second one waits or goes.
#[test]
fn a_dump_and_a_deployment_keep_each_other_out() {
    let w = world(JOB);
    let big = fs::File::create(w.path("staging/shared/uploads/big")).unwrap();
    big.set_len(64 << 30).unwrap();
    let mut running = w.start("backup now", "log");
    until("the archive is under way", || {
        files(&w, "nas/manual").iter().any(|name| name.starts_with("backup-app")).then_some(())
    });
    // Whoever looks sees that it is under way, and whoever makes what is due leaves it alone.
    w.soll("backup next").exits(0).says("nightly (staging): being made since ");
    w.soll("backup now --due").exits(0).says("nothing is due");
    w.edit("<a>", "<b>");
    w.soll("apply").exits(5).says("backup nightly");
    assert_eq!(w.runs("staging"), "a");
    running.child.kill().unwrap();
    running.child.wait().unwrap();
}

/// What the host does not let us do is said with the place.
#[test]
fn a_trial_names_the_step_that_fails() {
    let w = world(JOB);
    w.soll("backup test").exits(0);
    fs::remove_dir_all(w.path("nas")).unwrap();
    w.soll("backup test").exits(1).says("open failed").says("mount what belongs there");
    fs::write(w.path("nas"), "a file").unwrap();
    w.soll("backup test").exits(1).says("is no directory");
    fs::remove_file(w.path("nas")).unwrap();
    fs::create_dir(w.path("nas")).unwrap();
    fs::set_permissions(w.path("nas"), fs::Permissions::from_mode(0o700)).unwrap();
    w.soll("backup test --output json").exits(0).says("\"remove\"");
}

/// What is declared and not built is refused, and not believed in.
#[test]
fn what_this_version_does_not_do_is_refused_by_name() {
    let w = world("");
    let base = w.read("state/desired-state.toml");
    let with = |from: &str, to: &str| {
        assert!(JOB.contains(from), "{from}");
        w.commit(&format!("{base}{}", JOB.replace(from, to)));
        w.soll("validate")
    };
    with("file://$DIR/nas", "s3://backups/shop").exits(1).says("needs `access_key` and `secret_key`");
    with("file://$DIR/nas\"", "file://$DIR/nas\"\nregion = \"eu-central-1\"").exits(1).says("which is no bucket");
    with("file://$DIR/nas", "sftp://nas.example.com").exits(1).says("the root of everything");
    with("file://$DIR/nas\"", "file://$DIR/nas\"\nhost_key = \"ssh-ed25519 AAAA\"")
        .exits(1)
        .says("not the key of an SSH server");
    with("schedule = \"0 2 * * *\"", "ping = \"PING\"").exits(1).says("hears nothing");
    with("engine = \"sqlite\"", "engine = \"postgres\"").exits(1).says("is the file of a database of SQLite");
    with(
        "engine = \"sqlite\"\npath = \"shared/app.sqlite\"",
        "engine = \"mysql\"\nservice = \"db\"\nuser = \"a\"\ndatabase = \"b\"",
    )
    .exits(1)
    .says("is no project of Compose");
    with("name = \"nas\"", "name = \"nas\"\nvia = \"controller\"")
        .exits(1)
        .says("targets that the controller writes to");
    with("0 2 * * *", "0 2 30 2 *").exits(1).says("never fires");
    with("0 2 * * *", "every night").exits(1).says("is not a schedule");
    with("environment = \"staging\"", "environment = \"stagin\"").exits(1).says("did you mean `staging`?");
    with("path = \"shared/app.sqlite\"", "").exits(1).says("which file is it?");
    with("name = \"nas\"", "name = \"local\"").exits(1).says("taken");
    with("[[backups.nightly.targets]]", "[[backups.nightly.targetz]]").exits(1).says("targets");
}

/// While a release is on probation a backup waits: that is no failure, and nothing is noted of it.
#[test]
fn a_release_on_probation_is_waited_for() {
    let w = world(JOB);
    let mut record = w.record("staging");
    let digest = "0".repeat(64);
    record["probation"] = serde_json::json!({
        "release": w.release("staging"), "sha": crate::support::world::sha('a'), "back_to": null, "epoch": record["epoch"],
        "armed_at": jiff::Timestamp::now(), "lease": 3600, "rollback": [],
        "key": { "sha": crate::support::world::sha('a'), "bundle": null, "config": digest, "files": digest },
    });
    let path = w.path("staging/.soll/record.json");
    fs::write(&path, record.to_string()).unwrap();
    w.soll("backup now").exits(5).says("a release of staging is on probation: its data are saved when that is over");
    w.soll("backup now --due").exits(5).says("is on probation");
    record["probation"].take();
    fs::write(&path, record.to_string()).unwrap();
    w.soll("status").exits(0).hides("failed since");
    assert!(w.soll("history --subject backup --output json").exits(0).json().as_array().unwrap().is_empty());
    w.soll("backup now --due").exits(0).says("nightly: good: daily/");
}

/// After a restore that broke off nothing is saved and nothing goes: what it goes on from must stay, and what is there is neither
/// the old nor the new.
#[test]
fn while_something_is_being_restored_nothing_is_saved_and_nothing_goes() {
    let w = world(&JOB.replace("zone =", "keep = { daily = 1 }\nzone ="));
    w.soll("backup now --due").exits(0);
    let made = super::pruning::stamp(&w.path("nas/daily"));
    super::pruning::copied(&w.path("nas/daily"), &made, "20250101_010000");
    let mut record = w.record("staging");
    let name = format!("daily/{made}");
    record["restoring"] = serde_json::json!({ "job": "nightly", "backup": name, "since": jiff::Timestamp::now() });
    let path = w.path("staging/.soll/record.json");
    fs::write(&path, record.to_string()).unwrap();
    let says = format!("staging is being restored from {name}");
    w.soll("backup now").exits(5).says(&says).says("soll restore staging");
    w.soll("backup prune --yes")
        .exits(0)
        .says("hold   nightly daily/20250101_010000")
        .says("something is being restored");
    assert_eq!(super::files(&w, "nas/daily").iter().filter(|name| name.contains("manifest")).count(), 2);
    record["restoring"].take();
    fs::write(&path, record.to_string()).unwrap();
    w.soll("backup prune --yes").exits(0).says("prune  nightly daily/20250101_010000");
}

/// A host that cannot be seen is no reason to say that nothing is due.
#[test]
fn a_host_that_is_away_is_told_by_who_asks_for_what_is_due() {
    let w = World::new();
    let job = JOB.replace("\"staging\"", "\"away\"");
    let state = env("away", 'a', "hosts = [\"gone\"]\nshared_dirs = [\"uploads\"]");
    w.commit(&format!("{APP}[hosts.gone]\naddress = \"127.0.0.1\"\nport = 1\n{state}{job}"));
    let told = w.soll("backup now --due").exits(6);
    assert!(!told.stdout.contains("nothing is due"), "{}", told.stdout);
    told.says("nobody can say what is due of away").says("gone of away cannot be seen");
}
