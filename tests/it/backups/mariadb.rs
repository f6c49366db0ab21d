//! A real MariaDB, dumped by its own program with a user that may do little, and restored by hand.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{by_hand, files, job_of};
use crate::support::world::{World, env, until};

pub(super) const PASSWORD: &str = "pl4nted-pass word' #1";

/// A server of this test's own, on a socket.
pub(super) struct Server {
    child: Child,
}

impl Server {
    fn start(w: &World) -> Server {
        // A directory of its own: a server that starts removes what it takes for its temporary tables in a shared one.
        std::fs::create_dir(w.path("db-tmp")).unwrap();
        let data = "--datadir=$DIR/db --tmpdir=$DIR/db-tmp --innodb-log-file-size=8M --user=root";
        let install =
            format!("mariadb-install-db --no-defaults {data} --auth-root-authentication-method=normal --skip-test-db");
        by_hand(w, "", &install);
        let line = w.fill(&format!(
            "exec mariadbd --no-defaults {data} --skip-networking --socket=$DIR/db.sock --pid-file=$DIR/db.pid \
             --innodb-flush-log-at-trx-commit=0 --innodb-buffer-pool-size=16M --event-scheduler=OFF"
        ));
        let mut command = w.program("sh");
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(["-c", &line]).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Server { child: command.spawn().unwrap() };
        until("the database answers", || {
            let ping = w.fill("mariadb-admin --no-defaults --socket=$DIR/db.sock ping");
            w.program("sh").args(["-c", &ping]).output().unwrap().status.success().then_some(())
        });
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn sql(w: &World, database: &str, text: &str) -> String {
    w.write("query.sql", text);
    by_hand(w, "", &format!("mariadb --no-defaults -N --socket=$DIR/db.sock {database} < query.sql"))
}

pub(super) fn shop() -> (World, Server) {
    let w = World::with(&env("staging", 'a', "shared_files = [\".env\"]"));
    fs::create_dir(w.path("nas")).unwrap();
    let server = Server::start(&w);
    let word = PASSWORD.replace('\'', "''");
    sql(
        &w,
        "",
        &format!(
            "CREATE DATABASE shop; CREATE USER app@localhost IDENTIFIED BY '{word}';
        GRANT SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT ON shop.* TO app@localhost;"
        ),
    );
    let tables: String = (0..20)
        .map(|n| format!(
            "CREATE TABLE t{n} (id INT PRIMARY KEY, name VARCHAR(200), data BLOB, twice INT AS (id * 2) VIRTUAL);
             INSERT INTO t{n} (id, name, data) SELECT seq, CONCAT('it''s (row) ; ', seq, '\\\\'), UNHEX('00ff27') FROM seq_1_to_{};",
            100 + n
        ))
        .collect();
    sql(
        &w,
        "shop",
        &format!(
            "{tables}
        CREATE TABLE empty (x INT); CREATE TABLE old (x INT) ENGINE=MyISAM; INSERT INTO old VALUES (1);
        CREATE VIEW v AS SELECT COUNT(*) AS n FROM t0;
        DELIMITER //
        CREATE TRIGGER tr AFTER INSERT ON empty FOR EACH ROW BEGIN INSERT INTO old VALUES (2),(3); END //
        DELIMITER ;"
        ),
    );
    w.write(
        "staging/shared/.env",
        &format!(
            "DB_CONNECTION=mysql\nDB_SOCKET=$DIR/db.sock\nDB_DATABASE=shop\nDB_USERNAME=app\nDB_PASSWORD=\"{}\"\n",
            PASSWORD
        ),
    );
    w.soll("apply").exits(0);
    let text = w.read("state/desired-state.toml");
    w.commit(&format!("{text}{}", job_of("mysql")));
    (w, server)
}

/// Whether a file below a directory holds these words. Read here: in the arguments of a program others would find them.
pub fn holds(dir: &Path, words: &str) -> bool {
    let meta = fs::symlink_metadata(dir).unwrap();
    if meta.is_dir() {
        return fs::read_dir(dir).unwrap().any(|entry| holds(&entry.unwrap().path(), words));
    }
    meta.is_file() && String::from_utf8_lossy(&fs::read(dir).unwrap_or_default()).contains(words)
}

/// Whoever looks at the processes of this machine meanwhile sees no such word among their arguments.
#[track_caller]
pub fn unseen(word: &str, doing: impl FnOnce()) {
    let (done, seen) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let all = fs::read_dir("/proc").unwrap().flatten();
                let mut lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
                if lines.any(|line| String::from_utf8_lossy(&line).contains(word)) {
                    seen.store(true, Ordering::Relaxed);
                }
            }
        });
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(doing));
        done.store(true, Ordering::Relaxed);
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert!(!seen.load(Ordering::Relaxed), "`{word}` in the arguments of a process");
}

#[test]
fn a_dump_has_every_row_and_a_person_restores_it() {
    let (w, _server) = shop();
    unseen("pl4nted", || {
        w.soll("backup now").exits(0).says("22 tables, 2191 rows").says("not InnoDB: old").hides("pl4nted");
    });
    for dir in ["nas", "ctl", "staging/.soll"] {
        assert!(!holds(&w.path(dir), "pl4nted"), "the password lies in {dir}");
    }
    by_hand(&w, "nas/manual", "sha256sum -c *.sha256");
    sql(&w, "", "CREATE DATABASE restored");
    by_hand(&w, "nas/manual", "gunzip -c backup-db-*.sql.gz | mariadb --no-defaults --socket=$DIR/db.sock restored");
    for table in ["t0", "t19", "empty", "old"] {
        let count = format!("SELECT COUNT(*), SUM(CRC32(CONCAT_WS('|', a.*))) FROM {table} a");
        let count = count.replace(
            "CONCAT_WS('|', a.*)",
            if table.starts_with('t') { "CONCAT_WS('|', id, name, HEX(data))" } else { "x" },
        );
        assert_eq!(sql(&w, "restored", &count), sql(&w, "shop", &count), "{table}");
    }
    assert_eq!(sql(&w, "restored", "SELECT n FROM v"), "100");
    assert_eq!(
        sql(&w, "restored", "INSERT INTO empty VALUES (1); SELECT COUNT(*) FROM old"),
        "3",
        "the trigger is there"
    );
    let list = w.soll("backup list --output json").exits(0).json();
    assert_eq!(list[0]["rows"], 2191);
}

/// The login that the state file spells out, with a secret of the controller; and one that is wrong.
#[test]
fn a_password_of_the_controller_reaches_the_dump_and_nothing_else() {
    let (mut w, _server) = shop();
    w.edit("from = \".env\"", "socket = \"$DIR/db.sock\"\nuser = \"app\"\ndatabase = \"shop\"\npassword = \"SHOP\"");
    w.soll("backup now").exits(1).says("the secret SHOP");
    w.set("SOLL_SECRET_SHOP", "wr0ng-planted");
    w.soll("backup now").exits(1).says("Access denied").hides("wr0ng-planted");
    assert!(files(&w, "nas/manual").iter().all(|name| !name.contains("manifest")));
    w.set("SOLL_SECRET_SHOP", PASSWORD);
    w.soll("backup now").exits(0).says("2191 rows");
    for dir in ["nas", "ctl", "staging/.soll"] {
        assert!(!holds(&w.path(dir), "pl4nted"), "the password lies in {dir}");
    }
    // Before a deployment the same.
    w.edit("<a>", "<b>");
    w.soll("apply").exits(0);
    assert_eq!(files(&w, "nas/pre-deploy").len(), 3);
    let history = w.soll("history --output json").exits(0).json();
    let run = history[0]["run"].as_str().unwrap();
    w.soll(&format!("show {run}")).exits(0).says("2191 rows").hides("pl4nted");
}
