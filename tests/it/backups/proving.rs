//! Restore tests of SQLite and of files: a good backup is proven, and no lie is.

use std::fs;

use super::{JOB, Lie, by_hand, file, files, forge, world};
use crate::support::world::{World, env, until};

/// The job, tried by hand, with a question of its own.
const TEST: &str = "[backups.nightly.restore_test]\nqueries = [\"SELECT count(*) > 200 FROM users\"]\n";

fn tried() -> World {
    world(&format!("{JOB}{TEST}"))
}

/// What restores left below the root.
fn scratch(w: &World) -> Vec<String> {
    files(w, "staging/.soll/scratch")
}

#[test]
fn a_backup_is_restored_elsewhere_and_proven() {
    let w = tried();
    w.soll("restore-test").exits(3).says("there is no backup that is whole");
    w.soll("backup now").exits(0);
    w.soll("backup next").exits(0).says("no restore was ever proven");
    let ran = w.soll("restore-test nightly --report $DIR/report.md").exits(0).says("nightly: pass: manual/");
    for line in [
        "the only one is there",
        "250 in 1 table, as saved",
        "foreign keys",
        "is answered with 1",
        "restored on local: RTO",
    ] {
        assert!(ran.stdout.contains(line), "{line}\n{}", ran.stdout);
    }
    assert!(
        w.read("report.md").contains("| db-main | rows | pass | 250 in 1 table, as saved |"),
        "{}",
        w.read("report.md")
    );
    assert_eq!(scratch(&w), [] as [&str; 0]);
    let list = w.soll("backup list --output json").exits(0).json();
    assert_eq!(list[0]["proven"], true);
    w.soll("backup list").exits(0).says("verified, proven");
    w.soll("status").exits(0).says("was restored and proven at");
    let history = w.soll("history --subject restore-test --output json").exits(0).json();
    assert_eq!((&history[0]["subject"], &history[0]["result"]), (&"restore-test".into(), &"succeeded".into()));
    let run = history[0]["run"].as_str().unwrap();
    w.soll(&format!("show {run}")).exits(0).says("prove:local:db-main").says("prove:local:app").says("RTO").says("RPO");
    // The second one says how the first one was.
    let reports = w.soll("restore-test --output json").exits(0).json();
    assert_eq!((&reports[0]["outcome"], &reports[0]["earlier"][1]["outcome"]), (&"pass".into(), &"pass".into()));
    assert!(reports[0]["rto_ms"].is_u64() && reports[0]["rpo_s"].is_u64());
    w.soll("restore-test --output markdown").exits(0).says("# Restore test of nightly: pass").says("## Earlier ones");
    // Whatever else goes, what is proven stays.
    w.soll("backup now").exits(0);
    w.soll("backup prune --dry-run").exits(0).says("the last one that a restore test has proven");
    w.soll("restore-test nightl").exits(64).says("there is no backup `nightl`");
}

/// The newest is what is restored on the day of need, and no other one stands in for it.
#[test]
fn a_bit_that_flipped_is_a_failed_restore() {
    let w = tried();
    w.soll("backup now").exits(0);
    let path = file(&w, "nas/manual", "backup-db-", ".sql.gz");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&path, &bytes).unwrap();
    w.soll("restore-test").exits(1).says("is not what was written").says("nightly: fail");
    assert_eq!(scratch(&w), [] as [&str; 0]);
    let history = w.soll("history --subject restore-test --output json").exits(0).json();
    assert_eq!(history[0]["result"], "failed");
    w.soll("status").exits(0).says("the last restore test: fail");
    let list = w.soll("backup list --output json").exits(0).json();
    assert_eq!(list[0]["proven"], false);
}

#[test]
fn what_cannot_be_found_out_is_neither_a_pass_nor_a_failure() {
    let w = tried();
    w.soll("backup now").exits(0);
    w.edit("count(*) > 200 FROM users", "nothing FROM users");
    w.soll("restore-test").exits(3).says("query 1: `SELECT nothing FROM users`");
    w.edit("nothing FROM users", "count(*) > 900 FROM users");
    w.soll("restore-test").exits(1).says("is answered with 0");
    fs::rename(w.path("nas"), w.path("away")).unwrap();
    w.soll("restore-test").exits(3).says("mount what belongs there");
    let history = w.soll("history --subject restore-test --output json").exits(0).json();
    assert_eq!(history[0]["result"], "error");
}

/// Each with a manifest that vouches for it.
#[test]
fn no_lie_in_a_dump_is_proven() {
    let lies: [Lie; 6] = [
        (
            "a dump that ends between two statements",
            |dump| dump.split_once("COMMIT;").unwrap().0.to_owned(),
            "it was cut off",
        ),
        (
            "rows that are missing",
            |dump| dump.lines().filter(|line| !line.contains("user 99")).map(|line| format!("{line}\n")).collect(),
            "users has 249, and 250 were saved",
        ),
        (
            "a table that is missing",
            |dump| dump.lines().filter(|line| !line.contains("users")).map(|line| format!("{line}\n")).collect(),
            "these are not there: users",
        ),
        (
            "another schema",
            |dump| dump.replace("COMMIT;", "CREATE INDEX other ON users(name);\nCOMMIT;"),
            "the definitions are not what they were",
        ),
        (
            "rows that lead nowhere",
            |dump| {
                dump.replace(
                    "COMMIT;",
                    "CREATE TABLE posts(u REFERENCES users(id));\nINSERT INTO posts VALUES(999);\nCOMMIT;",
                )
            },
            "1 row of posts leads to no row of users",
        ),
        (
            "a statement that reaches beyond the file",
            |dump| dump.replace("COMMIT;", "ATTACH DATABASE 'beyond' AS x;\nCOMMIT;"),
            "is not run: ATTACH",
        ),
    ];
    for (what, lie, told) in lies {
        let w = tried();
        w.soll("backup now").exits(0);
        forge(&w, "nas/manual", lie);
        w.soll("backup verify").exits(0).says("whole");
        let ran = w.soll("restore-test").exits(1);
        assert!(ran.stdout.contains(told), "{what}: {}", ran.stdout);
        assert_eq!(scratch(&w), [] as [&str; 0], "{what}");
    }
}

#[test]
fn an_encrypted_backup_is_opened_with_an_identity_of_the_controller() {
    let mut w = tried();
    let key = by_hand(&w, "", "age-keygen -o one.key 2>/dev/null; age-keygen -y one.key");
    w.edit("zone =", &format!("compress = \"zstd\"\nencrypt = [\"{key}\"]\nzone ="));
    w.soll("backup now").exits(0);
    w.soll("restore-test").exits(3).says("no identity of age was given");
    w.edit("compress =", "identity = \"BACKUP_KEY\"\ncompress =");
    w.soll("restore-test").exits(3).says("the secret BACKUP_KEY");
    // Before anything is stopped.
    w.soll("restore staging --unproven --yes").exits(1).says("nothing was changed: encrypted files cannot be opened");
    assert!(w.record("staging")["stopped"].is_null());
    let other = by_hand(&w, "", "age-keygen -o other.key 2>/dev/null; grep SECRET other.key");
    w.set("SOLL_SECRET_BACKUP_KEY", &other);
    w.soll("restore-test").exits(3).says("for other keys").hides("AGE-SECRET");
    let own = w.read("one.key");
    w.set("SOLL_SECRET_BACKUP_KEY", &own);
    w.soll("restore-test").exits(0).says("nightly: pass").hides("AGE-SECRET");
}

/// Whoever comes after a crash removes what is noted.
#[test]
fn what_a_crash_leaves_is_swept_by_the_next_one() {
    let w = tried();
    w.soll("backup now").exits(0);
    let died = w.soll_with("restore-test", &[("SOLL_FAULT", "host.restore.after-note")]);
    assert_ne!(died.exit, 0);
    assert!(w.read("staging/.soll/record.json").contains("soll_scratch_"));
    w.soll("restore-test").exits(0).says("nightly: pass");
    assert!(!w.read("staging/.soll/record.json").contains("soll_scratch_"));
    assert_eq!(scratch(&w), [] as [&str; 0]);
    // A controller that is killed leaves a row that says so, and nothing else.
    for fault in ["operation.after-opened", "operation.before-finished"] {
        assert_ne!(w.soll_with("restore-test", &[("SOLL_FAULT", fault)]).exit, 0);
        w.soll("restore-test").exits(0).says("nightly: pass");
        let history = w.soll("history --subject restore-test --output json").exits(0).json();
        assert_eq!(
            (&history[0]["result"], &history[1]["result"]),
            (&"succeeded".into(), &"interrupted".into()),
            "{fault}"
        );
        assert_eq!(scratch(&w), [] as [&str; 0]);
    }
}

/// F4, F6: whoever makes backups tries them when it is time, once, and tells of it.
#[test]
fn a_restore_test_is_made_when_it_is_due_and_told() {
    let w = world(&format!("{JOB}{TEST}schedule = \"0 3 * * SUN#1\"\n"));
    w.soll("apply").exits(0).says("backup nightly: daily/").says("restore test nightly: pass: daily/");
    w.soll("apply").exits(0).hides("restore test nightly");
    w.soll("backup next").exits(0).says("the next restore test is due at");
    let next = w.soll("backup next --output json").exits(0).json();
    assert_eq!((&next[0]["test"]["due"], &next[0]["test"]["overdue"]), (&false.into(), &false.into()));
    assert!(next[0]["test"]["proven"].as_str().unwrap().starts_with("daily/"));
}

#[test]
fn the_daemon_tells_of_a_restore_test_that_fails() {
    let w = world(&format!("{JOB}{}schedule = \"0 3 * * SUN#1\"\n", TEST.replace("> 200", "> 900")));
    let daemon = w.start("run", "log");
    until("a restore test of the daemon", || {
        w.read("log").contains("the restore test of nightly failed").then_some(())
    });
    assert_eq!(daemon.stop(), Some(0));
    let notices = w.soll("history --notices --output json").exits(0);
    assert!(notices.stdout.contains("restore-test-failed"), "{}", notices.stdout);
}

#[test]
fn a_restore_test_that_cannot_be_is_refused_with_its_place() {
    let w = world("");
    let base = w.read("state/desired-state.toml");
    let with = |test: &str| {
        w.commit(&format!("{base}{JOB}{test}"));
        w.soll("validate")
    };
    with("[backups.nightly.restore_test]\non = \"stagin\"\n").exits(1).says("there is no environment `stagin`");
    with("[backups.nightly.restore_test]\nschedule = \"0 3 30 2 *\"\n").exits(1).says("never fires");
    let mysql = JOB.replace("engine = \"sqlite\"", "engine = \"mysql\"");
    let mysql = mysql.replace("path = \"shared/app.sqlite\"", "user = \"app\"\ndatabase = \"shop\"");
    w.commit(&format!("{base}{mysql}[backups.nightly.restore_test]\n"));
    w.soll("validate").exits(1).says("nothing says who restores the databases of `nightly`");
}

/// F4: what production saves is restored on staging, and remembered where production's data are.
#[test]
fn a_backup_of_one_environment_is_restored_on_another() {
    let more = "shared_dirs = [\"uploads\"]";
    let w = World::with(&format!("{}{}", env("staging", 'b', more), env("production", 'a', more)));
    w.soll("apply").exits(0);
    fs::create_dir(w.path("nas")).unwrap();
    let database = rusqlite::Connection::open(w.path("production/shared/app.sqlite")).unwrap();
    database
        .execute_batch("CREATE TABLE users(id INTEGER PRIMARY KEY, created_at TEXT); INSERT INTO users VALUES (1, datetime('now'))")
        .unwrap();
    drop(database);
    let job = JOB.replace("environment = \"staging\"", "environment = \"production\"\nkeep = { local = 2 }");
    let text = w.read("state/desired-state.toml");
    w.commit(&format!("{text}{job}[backups.nightly.restore_test]\non = \"staging\"\nschedule = \"0 3 * * SUN#1\"\n"));
    let ran = w.soll("apply").exits(0).says("production: restore test nightly: pass: daily/").says("from nas");
    assert!(!ran.stdout.contains("staging: restore test"), "{}", ran.stdout);
    w.soll("restore-test").exits(0).says("(users.created_at)");
    let record = |of: &str| w.read(&format!("{of}/.soll/record.json"));
    assert!(record("production").contains("\"proven\"") && !record("staging").contains("\"proven\""));
    assert!(w.path("staging/.soll/scratch").exists() && !w.path("production/.soll/scratch").exists());
    w.soll("status").exits(0).says("was restored and proven at");
    // Staging is held meanwhile, and nothing of it is changed; production is not.
    let report = w.soll("restore-test --output json").exits(0).json();
    assert_eq!((&report[0]["on"], &report[0]["environment"]), (&"staging".into(), &"production".into()));
    assert_eq!((w.runs("staging").as_str(), w.runs("production").as_str()), ("b", "a"));
    // What is on the way to another directory there is said.
    fs::rename(w.path("nas"), w.path("away")).unwrap();
    w.soll("restore-test").exits(3).says("can read no backup").says("mount what belongs there");
}
