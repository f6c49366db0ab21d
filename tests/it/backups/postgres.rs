//! A real PostgreSQL, dumped by its own program with a user that may only read, and restored by hand.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::mariadb::{holds, unseen};
use super::{by_hand, file, files, job_of};
use crate::support::world::{World, env, until};

const PASSWORD: &str = "pl4nted:pass\\word' #1";
/// Of the server's own user, who makes the tables.
const OWN: &str = "own";

/// A server of this test's own, on a socket. It does not run as root.
pub struct Server {
    dir: tempfile::TempDir,
    child: Child,
}

/// Words before a program that is not to run as root.
fn unprivileged() -> &'static str {
    match rustix::process::getuid().is_root() {
        true => "setpriv --reuid=postgres --regid=postgres --clear-groups",
        false => "",
    }
}

/// Where Debian keeps the server's programs.
pub fn bin() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").unwrap().map(|entry| entry.unwrap().path().join("bin"));
    let mut all: Vec<_> = versions.filter(|bin| bin.join("initdb").exists()).collect();
    all.sort();
    all.pop().expect("the package postgresql")
}

impl Server {
    pub fn start() -> Server {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(dir.path().join("word"), OWN).unwrap();
        fs::set_permissions(dir.path().join("word"), fs::Permissions::from_mode(0o644)).unwrap();
        let (place, bin) = (dir.path().display(), bin());
        let made = format!(
            "cd / && exec {} {}/initdb -D {place}/data -U owner -E UTF8 --locale=C.UTF-8 -N --auth=scram-sha-256 \
             --pwfile={place}/word",
            unprivileged(),
            bin.display()
        );
        let made = Command::new("sh").args(["-c", &made]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let line = format!(
            "cd / && exec {} {}/postgres -D {place}/data -k {place} -h '' -c fsync=off -c shared_buffers=16MB",
            unprivileged(),
            bin.display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &line]).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Server { child: command.spawn().unwrap(), dir };
        until("the database answers", || server.psql("postgres", "-c 'SELECT 1'").status.success().then_some(()));
        server
    }

    pub fn socket(&self) -> String {
        self.dir.path().display().to_string()
    }

    /// psql as the owner of everything, with these words of a shell.
    fn psql(&self, database: &str, words: &str) -> std::process::Output {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("psql -X -q -A -t -v ON_ERROR_STOP=1 {words}")]);
        command
            .env("PGHOST", self.dir.path())
            .env("PGUSER", "owner")
            .env("PGPASSWORD", OWN)
            .env("PGDATABASE", database);
        command.output().unwrap()
    }

    #[track_caller]
    pub fn sql(&self, database: &str, text: &str) -> String {
        fs::write(self.dir.path().join("query.sql"), text).unwrap();
        let done = self.psql(database, &format!("-f {}/query.sql", self.socket()));
        assert!(done.status.success(), "{text}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        }
        let _ = self.child.wait();
    }
}

/// Everything in a database that a dump could get wrong.
pub fn fill(server: &Server) {
    let word = PASSWORD.replace('\'', "''");
    server.sql("postgres", &format!("CREATE ROLE app LOGIN PASSWORD '{word}'; CREATE DATABASE shop"));
    let tables: String = (0..20)
        .map(|n| {
            format!(
                "CREATE TABLE t{n} (id int PRIMARY KEY, name text, data bytea, twice int GENERATED ALWAYS AS (id * 2) STORED);
                 INSERT INTO t{n} SELECT i, E'it''s (row) ; \\n\\t\\\\. \\\\' || i, '\\x00ff27' FROM generate_series(1, {}) i;\n",
                100 + n
            )
        })
        .collect();
    server.sql(
        "shop",
        &format!(
            "{tables}
        CREATE TYPE mood AS ENUM ('good', 'it''s bad');
        CREATE TABLE empty (x int, m mood); CREATE TABLE old (x int);
        CREATE SCHEMA \"Own One\"; CREATE TABLE \"Own One\".\"Users (all)\" (id serial PRIMARY KEY, note text);
        INSERT INTO \"Own One\".\"Users (all)\" (note) VALUES (E'\\\\.'), (NULL), ('');
        CREATE TABLE parted (id int, at date) PARTITION BY RANGE (at);
        CREATE TABLE parted_a PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
        CREATE TABLE parted_b PARTITION OF parted FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
        INSERT INTO parted SELECT i, date '2026-01-01' + i FROM generate_series(1, 300) i;
        CREATE VIEW v AS SELECT count(*) AS n FROM t0;
        CREATE FUNCTION loud() RETURNS trigger LANGUAGE plpgsql AS $_$
BEGIN
  -- What follows is a text, and no row.
  PERFORM '
COPY public.none (x) FROM stdin;
1
\\.
';
  INSERT INTO old VALUES (2), (3);
  RETURN NULL;
END $_$;
        CREATE TRIGGER tr AFTER INSERT ON empty FOR EACH ROW EXECUTE FUNCTION loud();
        GRANT pg_read_all_data TO app;"
        ),
    );
}

pub fn shop() -> (World, Server) {
    let w = World::with(&env("staging", 'a', "shared_files = [\".env\"]"));
    fs::create_dir(w.path("nas")).unwrap();
    let server = Server::start();
    fill(&server);
    let socket = server.socket();
    let login = format!("DB_CONNECTION=pgsql\nDB_HOST={socket}\nDB_DATABASE=shop\nDB_USERNAME=app\n");
    w.write("staging/shared/.env", &format!("{login}DB_PASSWORD=\"{}\"\n", PASSWORD));
    w.soll("apply").exits(0);
    let text = w.read("state/desired-state.toml");
    w.commit(&format!("{text}{}", job_of("postgres")));
    (w, server)
}

#[test]
fn a_dump_of_postgresql_has_every_row_and_a_person_restores_it() {
    let (w, server) = shop();
    unseen("pl4nted", || {
        w.soll("backup now").exits(0).says("25 tables, 2493 rows").hides("pl4nted");
    });
    for dir in ["nas", "ctl", "staging/.soll"] {
        assert!(!holds(&w.path(dir), "pl4nted"), "the password lies in {dir}");
    }
    by_hand(&w, "nas/manual", "sha256sum -c *.sha256");
    // What cannot be put back is in nobody's way who only looks at it: that says so itself.
    w.soll("restore staging --yes").exits(1).says("is a database of PostgreSQL").says("RESTORE.txt");
    w.soll("restore staging --to-scratch").exits(3).says("this version restores no database of PostgreSQL");
    server.sql("postgres", "CREATE DATABASE restored");
    // As its manifest says, as all of it or nothing.
    let manifest = fs::read_to_string(file(&w, "nas/manual", "backup-manifest-", ".txt")).unwrap();
    let command = "| psql -v ON_ERROR_STOP=1 -1 -q restored";
    assert!(manifest.contains(command), "{manifest}");
    for said in ["engine = \"postgres\"", "\"public.t19\" = 119", "\"Own One.Users (all)\" = 3", "position = \"0/"] {
        assert!(manifest.contains(said), "{said}\n{manifest}");
    }
    let login = format!("PGHOST={} PGUSER=owner PGPASSWORD={OWN}", server.socket());
    by_hand(
        &w,
        "nas/manual",
        &format!("gunzip -c backup-db-*.sql.gz | {login} psql -v ON_ERROR_STOP=1 -1 -q restored"),
    );
    for table in ["t0", "t19", "empty", "old", "\"Own One\".\"Users (all)\"", "parted"] {
        let sum =
            format!("SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text COLLATE \"C\")) FROM {table} t");
        assert_eq!(server.sql("restored", &sum), server.sql("shop", &sum), "{table}");
    }
    assert_eq!(server.sql("restored", "SELECT n FROM v"), "100");
    assert_eq!(server.sql("restored", "INSERT INTO empty VALUES (1); SELECT count(*) FROM old"), "2", "the trigger");
    let list = w.soll("backup list --output json").exits(0).json();
    assert_eq!((&list[0]["rows"], &list[0]["verified"]), (&2493.into(), &true.into()));
    w.soll("backup verify").exits(0).says("whole");
}

/// A database that its user may not read wholly is no smaller database; and a login that the state file spells out.
#[test]
fn what_may_not_be_read_is_told_and_leaves_no_backup_of_postgresql() {
    let (mut w, server) = shop();
    server.sql("shop", "REVOKE pg_read_all_data FROM app");
    w.soll("backup now").exits(1).says("permission denied").says("pg_dump");
    assert!(files(&w, "nas/manual").iter().all(|name| !name.contains("manifest")));
    server.sql("shop", "GRANT pg_read_all_data TO app");
    // Where its log stands it may not ask: that is a remark, and no reason to save nothing.
    server.sql("shop", "REVOKE EXECUTE ON FUNCTION pg_current_wal_lsn() FROM PUBLIC");
    let socket = server.socket();
    let spelt = format!("socket = \"{socket}\"\nuser = \"app\"\ndatabase = \"shop\"\npassword = \"SHOP\"");
    w.edit("from = \".env\"", &spelt);
    w.set("SOLL_SECRET_SHOP", "wr0ng-planted");
    w.soll("backup now").exits(1).says("password authentication failed").hides("wr0ng-planted");
    w.set("SOLL_SECRET_SHOP", PASSWORD);
    w.soll("backup now").exits(0).says("2493 rows");
    // By the address that an application has, and before a deployment the same.
    let word = "pl4nted%3Apass%5Cword%27%20%231";
    let url = format!("DATABASE_URL=postgresql://app:{word}@/shop?host={socket}\n");
    w.write("staging/shared/.env", &url);
    w.edit(&spelt, "from = \".env\"");
    w.edit("<a>", "<b>");
    w.soll("apply").exits(0);
    assert_eq!(files(&w, "nas/pre-deploy").len(), 3);
    for dir in ["nas", "ctl", "staging/.soll"] {
        assert!(!holds(&w.path(dir), "pl4nted"), "the password lies in {dir}");
    }
    // Another engine than the application's.
    w.write("staging/shared/.env", "DB_CONNECTION=mysql\nDB_DATABASE=shop\nDB_USERNAME=app\n");
    w.soll("backup now").exits(1).says("DB_CONNECTION=mysql").says("declare `engine = \"mysql\"`");
}

/// Whatever makes it another schema, before and after: a restore test compares it, and a dump that sees it change is made anew.
#[test]
fn each_kind_of_thing_that_a_schema_has_makes_it_another_one() {
    use soll::backup::Wanted;
    use soll::backup::dump::{Login, Sink, postgres};

    struct Always;
    impl Wanted for Always {
        fn is_wanted(&self) -> bool {
            true
        }
    }
    let server = Server::start();
    let made = "CREATE TABLE t (id int); CREATE TYPE mood AS ENUM ('good'); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql \
                AS 'BEGIN RETURN NULL; END'; CREATE MATERIALIZED VIEW m AS SELECT 1 AS one";
    server.sql("postgres", made);
    let schema = || {
        let login = Login {
            host: Some(server.socket()),
            user: "owner".to_owned(),
            password: OWN.to_owned().into(),
            database: "postgres".to_owned(),
            ..Login::default()
        };
        let mut sink = std::io::sink();
        postgres::dump(&login, &mut Sink { to: &mut sink, wanted: &Always }).unwrap().schema.unwrap()
    };
    let mut before = schema();
    assert_eq!(schema(), before);
    for change in [
        "ALTER TABLE t ADD name text",
        "CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
        "ALTER TABLE t DISABLE TRIGGER tr",
        "CREATE POLICY own ON t USING (id = 1)",
        "ALTER POLICY own ON t USING (id = 2)",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "ALTER TYPE mood ADD VALUE 'bad'",
        "DROP MATERIALIZED VIEW m; CREATE MATERIALIZED VIEW m AS SELECT 2 AS one",
    ] {
        server.sql("postgres", change);
        let after = schema();
        assert_ne!(after, before, "{change}");
        before = after;
    }
}
