//! What is saved, when, and that it can be restored by hand.

use std::fs;

use super::{JOB, by_hand, file, files, world};
use crate::support::world::until;

/// F1: `sha256sum`, `gunzip`, `tar` and the database's own reader; nothing of this program.
#[test]
fn a_person_restores_a_backup_with_the_tools_of_every_server() {
    let w = world(JOB);
    w.soll("backup test").exits(0).says("good: open, write, list, read, remove");
    w.soll("backup next").exits(0).says("due now").says("no good one yet");
    let made = w.soll("backup now nightly").exits(0).says("nightly: good: manual/").says("1 table, 250 rows");
    // Nothing is told beside what was made.
    assert!(made.stdout.trim_end().ends_with(", 250 rows, on nas, read back"), "{}", made.stdout);
    assert_eq!(files(&w, "nas/manual").len(), 5, "{:?}", files(&w, "nas/manual"));
    assert!(files(&w, "nas").contains(&"RESTORE.txt".to_owned()));
    by_hand(&w, "nas/manual", "sha256sum -c *.sha256");
    let count = "import sqlite3, sys; c = sqlite3.connect(':memory:'); c.executescript(sys.stdin.read()); \
                 print(c.execute('SELECT count(*), max(name) FROM users').fetchone())";
    let counted = by_hand(&w, "nas/manual", &format!("gunzip -c backup-db-*.sql.gz | python3 -c \"{count}\""));
    assert_eq!(counted, "(250, \"it's user 99\")");
    by_hand(&w, "nas/manual", "mkdir $DIR/out; tar -xzf backup-app-*.tar.gz -C $DIR/out");
    assert_eq!(w.read("out/shared/uploads/a b.txt"), "an upload");
    assert!(!w.path("out/shared/logs/app.log").exists() && !w.path("out/shared/app.sqlite").exists());
    let manifest = fs::read_to_string(file(&w, "nas/manual", "backup-manifest-", ".txt")).unwrap();
    for said in ["users = 250", "gunzip -c backup-db-", "engine = \"sqlite\"", "job = \"nightly\""] {
        assert!(manifest.contains(said), "{said}\n{manifest}");
    }

    let list = w.soll("backup list --output json").exits(0).json();
    assert_eq!(list[0]["name"], "nightly");
    assert_eq!(
        (&list[0]["kind"], &list[0]["target"], &list[0]["verified"]),
        (&"manual".into(), &"nas".into(), &true.into())
    );
    assert_eq!((&list[0]["rows"], &list[0]["proven"]), (&250.into(), &false.into()));
    assert_eq!(list[0]["release"], w.release("staging").as_str());
    assert!(list[0]["bytes"].as_u64().unwrap() > 500);
    w.soll("backup verify").exits(0).says("whole");
    let status = w.soll("status --output json").exits(0).json();
    assert_eq!(status["environments"][0]["backups"][0]["last_good"], list[0]["backup"]);
    let history = w.soll("history --subject backup --output json").exits(0).json();
    assert_eq!((&history[0]["subject"], &history[0]["result"]), (&"backup".into(), &"succeeded".into()));
    let run = history[0]["run"].as_str().unwrap();
    w.soll(&format!("show {run}"))
        .exits(0)
        .says("backup:local:db-main")
        .says("backup:local:app")
        .says("manifest:local");
    w.soll("backup prune --dry-run").exits(0).says("keep").says("the last good backup");
    w.soll("plan --detailed-exitcode").exits(0).says("backup nightly");
}

/// F2: cron mode and the daemon do what is due, once; a second one is for the next night.
#[test]
fn what_is_due_is_made_once_by_whoever_comes_first() {
    let w = world(JOB);
    w.soll("apply").exits(0).says("backup nightly: daily/");
    assert_eq!(files(&w, "nas/daily").len(), 5);
    w.soll("apply").exits(0).hides("backup nightly: daily/");
    w.soll("backup now --due").exits(0).says("nothing is due");
    w.soll("backup next --output json").exits(0).says("\"waiting\"");
    assert_eq!(files(&w, "nas/daily").len(), 5);
    // Another controller, which knows nothing of the first one, asks the host.
    fs::remove_dir_all(w.path("ctl")).unwrap();
    w.soll("apply").exits(0).hides("backup nightly: daily/");
}

#[test]
fn the_daemon_makes_what_is_due_and_tells_of_it() {
    let w = world(JOB);
    let daemon = w.start("run", "log");
    until("a backup of the daemon", || w.read("log").contains("backup nightly: daily/").then_some(()));
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(files(&w, "nas/daily").len(), 5);
}

/// A4: before the migration, with what the database was before it; a backup that cannot be made stops the deployment.
#[test]
fn a_deployment_saves_first_and_stops_where_it_cannot() {
    let w = world(&JOB.replace("schedule = \"0 2 * * *\"", "pre_deploy = true"));
    let migrate = "import sqlite3; c = sqlite3.connect('$DIR/staging/shared/app.sqlite'); c.execute('DELETE FROM users'); c.commit()";
    w.edit(
        "shared_dirs",
        &format!("hooks = [{{ phase = \"migrate\", run = \"\"\"python3 -c \"{migrate}\" \"\"\" }}]\nshared_dirs"),
    );
    w.edit("<a>", "<b>");
    let plan = w.soll("plan --output json").exits(0).json();
    let steps = plan["environments"][0]["steps"].as_array().unwrap();
    let at = |kind: &str| steps.iter().position(|step| step["kind"] == kind).unwrap();
    assert!(at("backup") < at("migrate") && at("backup") > at("link"));
    assert_eq!(steps[at("backup")]["id"], "backup:local:nightly");
    // The target is away.
    fs::rename(w.path("nas"), w.path("away")).unwrap();
    w.soll("apply").exits(1).says("is not there: mount what belongs there");
    assert_eq!(w.runs("staging"), "a");
    assert!(w.quarantined("staging").is_empty(), "nothing was said about the release");
    fs::rename(w.path("away"), w.path("nas")).unwrap();
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
    let list = w.soll("backup list --output json").exits(0).json();
    assert_eq!((&list[0]["kind"], &list[0]["rows"]), (&"pre-deploy".into(), &250.into()));
    let rows =
        "import sqlite3; print(sqlite3.connect('app.sqlite').execute('SELECT count(*) FROM users').fetchone()[0])";
    assert_eq!(by_hand(&w, "staging/shared", &format!("python3 -c \"{rows}\"")), "0");
}

/// Compressed otherwise, encrypted for two people, to two targets, with copies on the server.
#[test]
fn every_target_gets_all_of_it_packed_and_encrypted_as_declared() {
    let w = world("");
    let keys: Vec<String> = ["one", "two"]
        .map(|name| by_hand(&w, "", &format!("age-keygen -o {name}.key 2>/dev/null; age-keygen -y {name}.key")))
        .into();
    let job = JOB.replace(
        "zone =",
        &format!("compress = \"zstd\"\nencrypt = [\"{}\", \"{}\"]\nkeep = {{ local = 2 }}\nzone =", keys[0], keys[1]),
    );
    fs::create_dir(w.path("second disk")).unwrap();
    let second = "[[backups.nightly.targets]]\nname = \"second\"\nurl = \"file://$DIR/second%20disk\"\n";
    let text = w.read("state/desired-state.toml");
    w.commit(&format!("{text}{job}{second}"));
    w.soll("backup now").exits(0).says("on nas, second, local");
    for place in ["nas", "second disk", "staging/backups"] {
        let dir = format!("{place}/manual");
        assert_eq!(files(&w, &dir).len(), 5, "{place}");
        let rows =
            by_hand(&w, &dir, "age -d -i $DIR/two.key backup-db-*.sql.zst.age | zstd -dc | grep -c \"^INSERT INTO\"");
        assert_eq!(rows, "250");
    }
    // The archive holds no backups, and everybody else reads nothing.
    let names = by_hand(&w, "nas/manual", "age -d -i $DIR/one.key backup-app-*.tar.zst.age | zstd -dc | tar -t");
    assert!(names.contains("shared/uploads/a b.txt") && !names.contains("backups/"), "{names}");
    let verified = w.soll("backup verify --output json").exits(0).json();
    let of = |target: &str| {
        let rows = verified.as_array().unwrap().iter().filter(|row| row["target"] == target);
        rows.map(|row| (row["verified"] == true, row["wrong"].as_array().map(Vec::len))).collect::<Vec<_>>()
    };
    for target in ["nas", "second", "local"] {
        assert_eq!(of(target), [(true, Some(0))], "{target}: {verified}");
    }
    // What is other than it was written is found, also where nobody can read it.
    let archive = file(&w, "second disk/manual", "backup-app-", ".tar.zst.age");
    let mut bytes = fs::read(&archive).unwrap();
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    fs::write(&archive, bytes).unwrap();
    w.soll("backup verify")
        .exits(1)
        .says("on second: manual/backup-app-")
        .says("on local: whole")
        .says("on nas: whole");
}
