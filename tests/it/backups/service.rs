//! Databases inside services of a project: dumped by the programs that are there, over no port.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::postgres::bin;
use super::{by_hand, files};
use crate::support::docker::Docker;
use crate::support::engines::OLD;
use crate::support::world::{World, until};

const PASSWORD: &str = "pl4nted-pass word' #1";

/// A container with the programs of this machine, because no image of a database can be had here, and with data made before.
fn service(image: &str, data: &Path, server: &str) -> String {
    let binds = [
        "/usr:/usr:ro",
        "/usr/lib:/lib:ro",
        "/usr/lib64:/lib64:ro",
        "/etc/passwd:/etc/passwd:ro",
        "/etc/group:/etc/group:ro",
    ];
    let data = format!("{}:/data", data.display());
    let binds: String = binds.into_iter().chain([data.as_str()]).map(|bind| format!("      - {bind}\n")).collect();
    format!(
        "    image: {image}\n    network_mode: none\n    stop_grace_period: 5s\n    environment:\n      PATH: /usr/bin:/usr/sbin:/bin\n\
         \x20   tmpfs: [\"/run:mode=1777\", \"/tmp:mode=1777\", \"/var:mode=1777\"]\n    volumes:\n{binds}    command: {}\n",
        serde_json::to_string(&["/bin/sh", "-c", server]).unwrap()
    )
}

struct Project {
    w: World,
    docker: &'static Docker,
    name: String,
    _data: TempDir,
}

impl Project {
    /// `init`: makes the data, in the directory `D`.
    fn new(name: &str, init: &str, server: &str) -> Project {
        let docker = OLD.docker();
        docker.clear(name);
        let data = tempfile::tempdir().unwrap();
        fs::set_permissions(data.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let done = Command::new("bash").args(["-euc", init]).env("D", data.path()).current_dir("/").output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&[done.stdout, done.stderr].concat()));
        let mut w = World::new();
        w.set("DOCKER_HOST", &docker.host());
        w.set("HOME", &docker.home().display().to_string());
        docker.image(&format!("{name}-base:1"), "base");
        let db = service(&format!("{name}-base:1"), data.path(), server);
        w.write("state/platform/compose.yml", &format!("version: \"3.8\"\nservices:\n  db:\n{db}"));
        fs::create_dir(w.path("nas")).unwrap();
        w.commit(&format!(
            "schema = 1\n[apps.platform]\nkind = \"compose\"\nsettle = \"500ms\"\n[apps.platform.compose]\ndirectory = \
             \"platform\"\nproject = \"{name}\"\n[environments.staging]\nrelease = \"<a>\"\nroot = \"$DIR/staging\"\n"
        ));
        w.soll("apply").exits(0);
        Project { w, docker, name: name.to_owned(), _data: data }
    }

    /// A program in the container; nothing where it did not do well.
    fn exec(&self, words: &[&str]) -> Option<String> {
        let name = self.docker.pair.container(&self.name, "db", 1);
        let state = self.docker.run(&["inspect", "--format", "{{.State.Status}}", &name]);
        assert_eq!(state, "running", "{}", self.docker.run(&["logs", &name]));
        self.docker.tried(&[&["exec", name.as_str()], words].concat())
    }

    fn declare(&self, engine: &str) {
        let text = self.w.read("state/desired-state.toml");
        self.w.commit(&format!(
            "{text}\n[backups.nightly]\nenvironment = \"staging\"\nschedule = \"0 2 * * *\"\n[[backups.nightly.databases]]\nname = \
             \"main\"\nengine = \"{engine}\"\nservice = \"db\"\nuser = \"app\"\ndatabase = \"shop\"\npassword = \"SHOP\"\n\
             [[backups.nightly.targets]]\nname = \"nas\"\nurl = \"file://$DIR/nas\"\n"
        ));
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.docker.clear(&self.name);
        }
    }
}

#[test]
fn a_mariadb_in_a_service_is_dumped_there() {
    let init = "mariadb-install-db --no-defaults --datadir=$D/db --user=root --auth-root-authentication-method=normal \
                --skip-test-db --innodb-log-file-size=8M";
    let server = "mkdir -p /run/mysqld; exec mariadbd --no-defaults --datadir=/data/db --user=root --skip-networking \
                  --socket=/run/mysqld/mysqld.sock --innodb-log-file-size=8M --innodb-buffer-pool-size=16M";
    let mut p = Project::new("soll-saves-mysql", init, server);
    let word = PASSWORD.replace('\'', "''");
    let made = format!(
        "CREATE DATABASE shop; CREATE USER app@localhost IDENTIFIED BY '{word}'; GRANT SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, \
         EVENT ON shop.* TO app@localhost; CREATE TABLE shop.t (id INT PRIMARY KEY, name TEXT); INSERT INTO shop.t SELECT seq, \
         CONCAT('it''s ', seq) FROM shop.seq_1_to_777"
    );
    let client = ["mariadb", "--no-defaults", "--socket=/run/mysqld/mysqld.sock", "-e"];
    until("the database answers", || p.exec(&[&client[..], &["SELECT 1"]].concat()));
    p.exec(&[&client[..], &[made.as_str()]].concat()).unwrap();
    p.declare("mysql");
    p.w.set("SOLL_SECRET_SHOP", "wr0ng-planted");
    p.w.soll("backup now").exits(1).says("Access denied").says("in the service db").hides("wr0ng-planted");
    assert!(files(&p.w, "nas/manual").iter().all(|name| !name.contains("manifest")));
    p.w.set("SOLL_SECRET_SHOP", PASSWORD);
    p.w.soll("backup now").exits(0).says("1 table, 777 rows").hides("pl4nted");
    let lines = by_hand(&p.w, "nas/manual", "gunzip -c backup-db-*.sql.gz | grep -c \"it.'s\"");
    assert!(lines.parse::<u32>().unwrap() >= 1);
    let manifest = by_hand(&p.w, "nas/manual", "cat $(ls -t backup-manifest-*.txt | head -n 1)");
    assert!(manifest.contains("the service db") && manifest.contains("MariaDB"), "{manifest}");
    // A dump that waits for a lock, and whose controller is killed: it is ended, and holds nothing in the database.
    let name = p.docker.pair.container(&p.name, "db", 1);
    let lock = "LOCK TABLES shop.t WRITE; SELECT SLEEP(300)";
    p.docker.run(&[&["exec", "-d", name.as_str()], &client[..], &[lock]].concat());
    let list = || p.exec(&[&client[..], &["SHOW PROCESSLIST"]].concat());
    until("the table is locked", || list().filter(|list| list.contains("SLEEP")));
    let dumps = || p.docker.run(&["top", &name]).contains("mariadb-dump");
    let mut running = p.w.start("backup now", "log");
    until("the dump waits", || list().filter(|list| dumps() && list.contains("Waiting for table")));
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    until("the dump is ended", || (!dumps()).then_some(()));
    // What is not there is named, with what is.
    p.w.edit("service = \"db\"", "service = \"dbs\"");
    p.w.soll("backup now").exits(1).says("no container of the service dbs runs").says("its services are: db");
}

#[test]
fn a_postgresql_in_a_service_is_dumped_there() {
    let as_postgres = "/usr/bin/setpriv --reuid=postgres --regid=postgres --clear-groups";
    let bin = bin().display().to_string();
    let init = format!("{as_postgres} {bin}/initdb -D $D/db -U postgres -E UTF8 --locale=C -N --auth=trust");
    let server = format!(
        "mkdir -p /var/run/postgresql; chmod 777 /var/run/postgresql; exec {as_postgres} {bin}/postgres -D /data/db -k /var/run/postgresql -h \
         '' -c fsync=off -c shared_buffers=16MB -c dynamic_shared_memory_type=mmap"
    );
    let mut p = Project::new("soll-saves-postgres", &init, &server);
    until("the database answers", || {
        p.exec(&["psql", "-h", "/var/run/postgresql", "-U", "postgres", "-c", "CREATE DATABASE shop"])
    });
    let made = "CREATE ROLE app LOGIN; GRANT pg_read_all_data TO app; CREATE TABLE t AS SELECT i FROM generate_series(1, 555) i";
    p.exec(&["psql", "-h", "/var/run/postgresql", "-U", "postgres", "-d", "shop", "-c", made]).unwrap();
    p.declare("postgres");
    p.w.set("SOLL_SECRET_SHOP", PASSWORD);
    p.w.soll("backup now").exits(0).says("1 table, 555 rows").hides("pl4nted");
    let lines = by_hand(&p.w, "nas/manual", "gunzip -c backup-db-*.sql.gz | grep -c \"^[0-9]*$\"");
    assert!(lines.parse::<u32>().unwrap() >= 555);
    // A service is nothing for an application that is no project, and has no host.
    p.w.edit("service = \"db\"", "service = \"db\"\nhost = \"127.0.0.1\"");
    p.w.soll("validate").exits(1).says("`host` means nothing inside a service");
}
