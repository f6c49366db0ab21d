//! Databases inside services of a project: dumped by the programs that are there, over no port.

use std::fs;

use super::{by_hand, files};
use crate::support::docker::Docker;
use crate::support::engines::OLD;
use crate::support::world::{World, until};

const PASSWORD: &str = "pl4nted-pass word' #1";

/// Waits until it is told to end, with a database that others find at its usual place.
fn service(image: &str, server: &str, more: &str) -> String {
    // The programs are this machine's: no image of a database can be had here.
    let binds = [
        "/usr:/usr:ro",
        "/usr/lib:/lib:ro",
        "/usr/lib64:/lib64:ro",
        "/etc/passwd:/etc/passwd:ro",
        "/etc/group:/etc/group:ro",
    ];
    let binds: String = binds.iter().map(|bind| format!("      - {bind}\n")).collect();
    format!(
        "    image: {image}\n    network_mode: none\n    stop_grace_period: 5s\n    environment:\n      PATH: /bin:/usr/bin:/usr/sbin\n\
         {more}    tmpfs: [\"/run:mode=1777\", \"/tmp:mode=1777\", \"/var:mode=1777\"]\n    volumes:\n{binds}    command: [\"sh\", \"-c\", {}]\n",
        serde_json::to_string(server).unwrap()
    )
}

struct Project {
    w: World,
    docker: &'static Docker,
}

impl Project {
    fn new(name: &str, server: &str) -> Project {
        let docker = OLD.docker();
        docker.clear(name);
        let mut w = World::new();
        w.set("DOCKER_HOST", &docker.host());
        w.set("HOME", &docker.home().display().to_string());
        docker.image(&format!("{name}-base:1"), "base");
        let db = service(&format!("{name}-base:1"), server, "");
        w.write("state/platform/compose.yml", &format!("version: \"3.8\"\nservices:\n  db:\n{db}"));
        fs::create_dir(w.path("nas")).unwrap();
        w.commit(&format!(
            "schema = 1\n[apps.platform]\nkind = \"compose\"\nsettle = \"500ms\"\n[apps.platform.compose]\ndirectory = \
             \"platform\"\nproject = \"{name}\"\n[environments.staging]\nrelease = \"<a>\"\nroot = \"$DIR/staging\"\n"
        ));
        w.soll("apply").exits(0);
        Project { w, docker }
    }

    fn exec(&self, words: &[&str]) -> Option<String> {
        let name = self.docker.run(&[
            "ps",
            "-q",
            "--filter",
            "label=com.docker.compose.service=db",
            "--filter",
            "status=running",
        ]);
        let name = name.lines().next()?.to_owned();
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
            self.docker.clear("soll-saves-mysql");
            self.docker.clear("soll-saves-postgres");
        }
    }
}

#[test]
fn a_mariadb_in_a_service_is_dumped_there() {
    let server = "mkdir -p /run/mysqld /var/db /etc && mariadb-install-db --no-defaults --datadir=/var/db --user=root \
                  --auth-root-authentication-method=normal --skip-test-db --innodb-log-file-size=8M >/tmp/log 2>&1; exec mariadbd \
                  --no-defaults --datadir=/var/db --user=root --skip-networking --socket=/run/mysqld/mysqld.sock \
                  --innodb-log-file-size=8M --innodb-buffer-pool-size=16M";
    let mut p = Project::new("soll-saves-mysql", server);
    let word = PASSWORD.replace('\'', "''");
    let made = format!(
        "CREATE DATABASE shop; CREATE USER app@localhost IDENTIFIED BY '{word}'; GRANT SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, \
         EVENT ON shop.* TO app@localhost; CREATE TABLE shop.t (id INT PRIMARY KEY, name TEXT); INSERT INTO shop.t SELECT seq, \
         CONCAT('it''s ', seq) FROM seq_1_to_777"
    );
    until("the database answers", || {
        p.exec(&["mariadb", "--no-defaults", "--socket=/run/mysqld/mysqld.sock", "-e", &made])
    });
    p.declare("mysql");
    p.w.set("SOLL_SECRET_SHOP", "wr0ng-planted");
    p.w.soll("backup now").exits(1).says("Access denied").says("in the service db").hides("wr0ng-planted");
    assert!(files(&p.w, "nas/manual").iter().all(|name| !name.contains("manifest")));
    p.w.set("SOLL_SECRET_SHOP", PASSWORD);
    p.w.soll("backup now").exits(0).says("1 tables, 777 rows").hides("pl4nted");
    let lines = by_hand(&p.w, "nas/manual", "gunzip -c backup-db-*.sql.gz | grep -c \"it.'s\"");
    assert!(lines.parse::<u32>().unwrap() >= 1);
    let manifest = by_hand(&p.w, "nas/manual", "cat $(ls -t backup-manifest-*.txt | head -n 1)");
    assert!(manifest.contains("the service db") && manifest.contains("MariaDB"), "{manifest}");
    // What is not there is named, with what is.
    p.w.edit("service = \"db\"", "service = \"dbs\"");
    p.w.soll("backup now").exits(1).says("no container of the service dbs runs").says("its services are: db");
}

#[test]
fn a_postgresql_in_a_service_is_dumped_there() {
    let server = "B=$$(echo /usr/lib/postgresql/*/bin); mkdir -p /run/postgresql /var/db; chmod 777 /run/postgresql /var/db; \
                  export LD_LIBRARY_PATH=/usr/lib; setpriv --reuid=postgres --regid=postgres --clear-groups $$B/initdb -D \
                  /var/db/data -U postgres -E UTF8 --locale=C -N --auth=trust >/tmp/log 2>&1; exec setpriv --reuid=postgres \
                  --regid=postgres --clear-groups $$B/postgres -D /var/db/data -k /run/postgresql -h '' -c fsync=off -c \
                  shared_buffers=16MB -c dynamic_shared_memory_type=mmap";
    let mut p = Project::new("soll-saves-postgres", server);
    until("the database answers", || {
        p.exec(&["psql", "-h", "/run/postgresql", "-U", "postgres", "-c", "CREATE DATABASE shop"])
    });
    let made = "CREATE ROLE app LOGIN; GRANT pg_read_all_data TO app; CREATE TABLE t AS SELECT i FROM generate_series(1, 555) i";
    p.exec(&["psql", "-h", "/run/postgresql", "-U", "postgres", "-d", "shop", "-c", made]).unwrap();
    p.declare("postgres");
    p.w.set("SOLL_SECRET_SHOP", PASSWORD);
    p.w.soll("backup now").exits(0).says("1 tables, 555 rows").hides("pl4nted");
    let lines = by_hand(&p.w, "nas/manual", "gunzip -c backup-db-*.sql.gz | grep -c \"^[0-9]*$\"");
    assert!(lines.parse::<u32>().unwrap() >= 555);
    // A service is nothing for an application that is no project, and has no host.
    p.w.edit("service = \"db\"", "service = \"db\"\nhost = \"127.0.0.1\"");
    p.w.soll("validate").exits(1).says("`host` means nothing inside a service");
}
