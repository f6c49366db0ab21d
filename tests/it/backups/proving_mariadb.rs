//! Restore tests with a real MariaDB: into a database of their own, by a user that may touch nothing else, whatever a dump says.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use super::mariadb::{Server, holds, shop, sql};
use super::{Lie, file, forge};
use crate::support::world::World;

const TEST: &str = "
[backups.nightly.restore_test]
database = { user = \"soll_scratch\", password = \"SCRATCH\" }
queries = [\"SELECT COUNT(*) FROM t0\"]
";

/// The shop, with keys and routines of somebody else, and a user for restores.
pub(super) fn tried() -> (World, Server) {
    let (mut w, server) = shop();
    sql(
        &w,
        "shop",
        "CREATE TABLE posts (id INT PRIMARY KEY, t INT, created_at DATETIME, FOREIGN KEY (t) REFERENCES t0 (id));
         INSERT INTO posts VALUES (1, 1, UTC_TIMESTAMP()), (2, 2, NULL);
         CREATE DEFINER=root@localhost PROCEDURE p() SELECT 1;
         CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM empty;
         GRANT ALL ON shop.* TO app@localhost;",
    );
    sql(
        &w,
        "",
        "CREATE USER soll_scratch@localhost IDENTIFIED BY 'scr4tch pass';
         GRANT ALL ON `soll\\_scratch\\_%`.* TO soll_scratch@localhost;
         GRANT SELECT ON mysql.proc TO app@localhost;",
    );
    w.set("SOLL_SECRET_SCRATCH", "scr4tch pass");
    let text = w.read("state/desired-state.toml");
    w.commit(&format!("{text}{TEST}"));
    (w, server)
}

fn scratch_databases(w: &World) -> String {
    sql(w, "", "SHOW DATABASES LIKE 'soll%'")
}

#[test]
fn a_database_is_restored_beside_the_real_one_and_proven() {
    let (w, _server) = tried();
    w.soll("backup now").exits(0);
    let before = sql(&w, "shop", "CHECKSUM TABLE t0, t19, posts, old");
    let (done, seen) = (AtomicBool::new(false), AtomicBool::new(false));
    let ran = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let all = fs::read_dir("/proc").unwrap().flatten();
                let mut lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
                if lines.any(|line| String::from_utf8_lossy(&line).contains("scr4tch")) {
                    seen.store(true, Ordering::Relaxed);
                }
            }
        });
        let ran = w.soll("restore-test");
        done.store(true, Ordering::Relaxed);
        ran
    });
    let ran = ran.exits(0).says("nightly: pass").hides("scr4tch");
    assert!(!seen.load(Ordering::Relaxed), "a password in the arguments of a process");
    for line in [
        "2193 in 23 tables, as saved",
        "schema: every column is as it was",
        "foreign keys: 1 hold",
        "triggers: the only one is there",
        "routines: the only one is there",
        "events: the only one is there",
        "views: the only one is there",
        "(posts.created_at)",
        "`SELECT COUNT(*) FROM t0` is answered with 100",
        "DEFINER clauses were left out",
    ] {
        assert!(ran.stdout.contains(line), "{line}\n{}", ran.stdout);
    }
    assert_eq!(scratch_databases(&w), "");
    assert_eq!(sql(&w, "shop", "CHECKSUM TABLE t0, t19, posts, old"), before);
    for dir in ["nas", "ctl", "staging/.soll"] {
        assert!(!holds(&w.path(dir), "scr4tch"), "the password lies in {dir}");
    }
    // What it was restored on is said, and the server may be named where no file says it.
    w.edit("password = \"SCRATCH\" }", "password = \"SCRATCH\", socket = \"$DIR/db.sock\" }");
    let report = w.soll("restore-test --output json").exits(0).json();
    assert!(report[0]["parts"][0]["instance"].as_str().unwrap().ends_with("/db.sock"));
}

/// Each with a manifest that vouches for it; the real database is as it was after all of them.
#[test]
fn no_dump_reaches_another_database_or_hides_what_it_lacks() {
    let (w, _server) = tried();
    w.soll("backup now").exits(0);
    let before = sql(&w, "shop", "CHECKSUM TABLE t0, t19, posts, old");
    let path = file(&w, "nas/manual", "backup-db-", ".sql.gz");
    let at = file(&w, "nas/manual", "backup-manifest-", ".txt");
    let (dump, manifest) = (fs::read(&path).unwrap(), fs::read_to_string(&at).unwrap());
    let lies: [Lie; 8] = [
        (
            "made with --databases",
            |dump| format!("CREATE DATABASE IF NOT EXISTS `shop`;\nUSE `shop`;\n{dump}"),
            "CREATE DATABASE",
        ),
        ("a USE in the middle", |dump| dump.replacen("UNLOCK TABLES;", "UNLOCK TABLES;\nUSE shop;", 1), "USE"),
        (
            "a name with the schema",
            |dump| dump.replace("DROP TABLE IF EXISTS `t0`", "DROP TABLE IF EXISTS `shop`.`t0`"),
            "`shop`",
        ),
        (
            "cut between two statements",
            |dump| dump.split_once("DROP TABLE IF EXISTS `t5`;").unwrap().0.to_owned(),
            "cut off",
        ),
        (
            "a table is missing",
            |dump| {
                let (before, rest) = dump.split_once("DROP TABLE IF EXISTS `t5`;").unwrap();
                format!("{before}{}", &rest[rest.find("DROP TABLE IF EXISTS `t6`;").unwrap()..])
            },
            "the rows in the dump are not those in the manifest",
        ),
        (
            "rows that lead nowhere",
            |dump| dump.replace("(2,2,NULL)", "(2,999,NULL)"),
            "1 row of posts leads to no row of t0",
        ),
        ("another schema", |dump| dump.replace("`name` varchar(200)", "`name` varchar(201)"), "schema"),
        ("a command of the client", |dump| format!("\\! touch owned\n{dump}"), "is not run"),
    ];
    for (what, lie, told) in lies {
        fs::write(&path, &dump).unwrap();
        fs::write(&at, &manifest).unwrap();
        forge(&w, "nas/manual", lie);
        let ran = w.soll("restore-test").exits(1);
        assert!(ran.stdout.contains(told), "{what}: {}", ran.stdout);
        assert_eq!(scratch_databases(&w), "", "{what}");
        assert_eq!(sql(&w, "shop", "CHECKSUM TABLE t0, t19, posts, old"), before, "{what}");
    }
}

#[test]
fn a_user_that_may_do_more_restores_nothing_and_what_a_crash_leaves_is_swept() {
    let (mut w, _server) = tried();
    w.soll("backup now").exits(0);
    sql(&w, "", "GRANT SELECT ON shop.* TO soll_scratch@localhost");
    w.soll("restore-test").exits(3).says("may do more than touch scratch databases").says("shop").hides("IDENTIFIED");
    sql(&w, "", "REVOKE SELECT ON shop.* FROM soll_scratch@localhost");
    for fault in ["host.restore.after-note", "host.restore.before-drop"] {
        let died = w.soll_with("restore-test", &[("SOLL_FAULT", fault)]);
        assert_ne!(died.exit, 0);
        let record = w.read("staging/.soll/record.json");
        assert!(record.contains("soll_scratch_nightly_") && record.contains("/db.sock"), "{record}");
    }
    assert_ne!(scratch_databases(&w), "");
    w.soll("restore-test").exits(0).says("nightly: pass");
    assert_eq!(scratch_databases(&w), "");
    w.set("SOLL_SECRET_SCRATCH", "wr0ng-planted");
    w.soll("restore-test").exits(3).says("Access denied").hides("wr0ng");
    // The server is away.
    drop(_server);
    w.set("SOLL_SECRET_SCRATCH", "scr4tch pass");
    w.soll("restore-test").exits(3).says("nightly: inconclusive");
}
