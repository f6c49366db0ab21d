//! Restores in place: tried first, saved first, everything stopped meanwhile; and what is left where one breaks off.

use std::fs;

use super::mariadb::sql;
use super::{JOB, by_hand, file, files, forge, world};
use crate::support::site::Process;
use crate::support::world::{World, until};

const HOOKS: &str = "hooks = [\n\
    { phase = \"stop\", run = \"echo stop >> $DIR/told\" },\n\
    { phase = \"start\", run = \"echo start >> $DIR/told\" },\n]\nshared_dirs";

/// A world with hooks that say that they ran.
fn shop() -> World {
    let w = world(JOB);
    w.edit("shared_dirs", HOOKS);
    w.soll("apply").exits(0);
    w.write("staging/shared/storage/kept.txt", "as saved");
    w.write("staging/shared/storage/gone.txt", "as saved");
    w.soll("backup now").exits(0);
    w
}

/// The rows and the upload of the application.
fn data(w: &World) -> (String, String) {
    let count =
        "import sqlite3; print(sqlite3.connect('app.sqlite').execute('SELECT count(*) FROM users').fetchone()[0])";
    (by_hand(w, "staging/shared", &format!("python3 -c \"{count}\"")), w.read("staging/shared/uploads/a b.txt"))
}

/// Somebody deletes half of the users, and a file.
fn harm(w: &World) {
    let harm =
        "import sqlite3; c = sqlite3.connect('app.sqlite'); c.execute('DELETE FROM users WHERE id > 100'); c.commit()";
    by_hand(w, "staging/shared", &format!("python3 -c \"{harm}\""));
    w.write("staging/shared/uploads/a b.txt", "overwritten");
    w.write("staging/shared/uploads/new.txt", "new");
    w.write("staging/shared/storage/kept.txt", "newer");
    let _ = fs::remove_file(w.path("staging/shared/storage/gone.txt"));
    w.write("staging/shared/.env", "SECRET=1");
}

#[test]
fn data_are_put_back_as_they_were_and_what_was_there_is_saved() {
    let w = shop();
    let name = w.soll("backup list --output json").exits(0).json()[0]["backup"].as_str().unwrap().to_owned();
    harm(&w);
    let steps = w.soll(&format!("restore staging --at {name} --dry-run")).exits(0);
    for step in
        ["prove:local:db-main", "stop:local", "safety:local", "load:local:db-main", "load:local:app", "start:local"]
    {
        assert!(steps.stdout.contains(step), "{step}\n{}", steps.stdout);
    }
    assert_eq!(data(&w).0, "100");
    w.soll("restore staging").exits(1).says("nobody can be asked here").says("--yes");
    let ran = w.soll(&format!("restore staging --at {name} --yes")).exits(0).says(&format!("is restored from {name}"));
    assert_eq!(data(&w), ("250".to_owned(), "an upload".to_owned()));
    // What belongs to the running application is not overwritten, and what was not there then stays; what is missing is back.
    let ran = ran
        .says("1 file of the running application left as they are (storage/kept.txt): `--to-scratch` gives the whole");
    assert_eq!(w.read("staging/shared/storage/gone.txt"), "as saved");
    assert_eq!(w.read("staging/shared/storage/kept.txt"), "newer");
    assert_eq!(
        (w.read("staging/shared/.env"), w.read("staging/shared/uploads/new.txt")),
        ("SECRET=1".into(), "new".into())
    );
    assert_eq!(w.read("told"), "stop\nstart\n");
    w.soll("apply").exits(0).hides("stopped");
    let history = w.soll("history --subject restore --output json").exits(0).json();
    assert_eq!((&history[0]["subject"], &history[0]["result"]), (&"restore".into(), &"succeeded".into()));
    // What was saved before it is the newest, and is not meant unless it is named.
    w.soll("restore staging --dry-run").exits(0).says(&name);
    w.soll("restore-test").exits(0).says(&name);
    // And back.
    let safety = ran.stdout.split("is manual/").nth(1).unwrap().split(':').next().unwrap();
    w.soll(&format!("restore staging --at manual/{safety} --yes")).exits(0);
    assert_eq!(data(&w), ("100".to_owned(), "overwritten".to_owned()));
}

#[test]
fn only_the_database_or_only_files_are_put_back_where_that_is_wanted() {
    let w = shop();
    harm(&w);
    // Who was stopped by a person stays stopped, and its hooks have run.
    w.soll("stop staging --reason moving").exits(0);
    w.soll("restore staging --dry-run").exits(0).says("stays:local").hides("start:local");
    w.soll("restore staging --database-only --yes").exits(0).says("stays stopped, as before (moving by ");
    assert!(w.read("staging/.soll/record.json").contains("moving"));
    assert_eq!(w.read("told"), "stop\n");
    w.soll("start staging").exits(0);
    assert_eq!(data(&w), ("250".to_owned(), "overwritten".to_owned()));
    let first = w.soll("backup list --output json").exits(0).json()[1]["backup"].as_str().unwrap().to_owned();
    w.soll(&format!("restore staging --at {first} --files-only --yes")).exits(0);
    assert_eq!(data(&w), ("250".to_owned(), "an upload".to_owned()));
}

/// A backup that is not what it should be is found before anything is stopped.
#[test]
fn a_bad_backup_changes_nothing() {
    let w = shop();
    harm(&w);
    forge(&w, "nas/manual", |dump| dump.split_once("COMMIT;").unwrap().0.to_owned());
    w.soll("restore staging --yes").exits(1).says("nothing was changed").says("cut off");
    assert_eq!((data(&w).0.as_str(), w.read("told").as_str()), ("100", ""));
    w.soll("apply").exits(0).hides("stopped");
    w.soll("restore staging --at daily/20200101_000000 --yes").exits(1).says("nas: there is no daily/20200101_000000");
    w.soll("restore staging --at tomorrow --yes").exits(64).says("or a time");
    // So is a place to which nothing is put back, and one that nobody knows any more; to look at it is in nobody's way.
    fs::create_dir(w.path("other")).unwrap();
    w.edit("path = \"shared\"", "path = \"$DIR/other\"");
    w.soll("restore staging --yes").exits(1).says("does not lie below").says("--to-scratch");
    w.edit("name = \"app\"\npath = \"$DIR/other\"", "name = \"other\"\npath = \"shared\"");
    assert_eq!((data(&w).0.as_str(), w.read("told").as_str()), ("100", ""));
}

#[test]
fn to_scratch_touches_nothing_that_is_live() {
    let w = shop();
    harm(&w);
    let ran = w.soll("restore staging --to-scratch").exits(0).says("kept");
    assert_eq!((data(&w).0.as_str(), w.read("told").as_str()), ("100", ""));
    let dirs = files(&w, "staging/.soll/scratch");
    assert_eq!(dirs.len(), 2, "{dirs:?}\n{}", ran.stdout);
    let found = |name: &str| dirs.iter().any(|dir| w.path(&format!("staging/.soll/scratch/{dir}/{name}")).exists());
    assert!(found("restored.sqlite") && found("shared/uploads/a b.txt"));
    // They stay, whatever is tested meanwhile.
    w.soll("restore-test").exits(0);
    assert_eq!(files(&w, "staging/.soll/scratch"), dirs);
}

/// Whatever dies, nothing is deployed into half of a database; the same command goes on, and another one goes back.
#[test]
fn a_restore_that_breaks_off_blocks_deployments_until_it_is_ended() {
    let w = shop();
    harm(&w);
    let name = w.soll("backup list --output json").exits(0).json()[0]["backup"].as_str().unwrap().to_owned();
    let died = w.soll_with("restore staging --yes", &[("SOLL_FAULT", "host.put-back.before-rename")]);
    assert_ne!(died.exit, 0);
    let on = format!("stays stopped; go on: soll restore staging --at {name} --backup nightly");
    assert!(died.stderr.contains(&on), "{}", died.stderr);
    // The half of it would leave the other half as it is.
    w.soll("restore staging --database-only --yes")
        .exits(1)
        .says("it was of all of it, and now one of its databases alone is asked for");
    w.edit("<a>", "<b>");
    w.soll("apply").exits(4).says("is being restored").says("back to what was there before");
    assert_eq!(w.runs("staging"), "a");
    w.soll("start staging").exits(1).says("neither the old nor the new ones");
    w.soll("restore staging --dry-run").exits(0).says("did not come to its end").hides("prove:").hides("safety:");
    w.edit("<b>", "<a>");
    w.soll(&format!("restore staging --at {name} --yes")).exits(0);
    assert_eq!(data(&w), ("250".to_owned(), "an upload".to_owned()));
    w.soll("apply").exits(0);
    // What was there before it began is the one that was saved, and not what was half restored.
    let all = w.soll("backup list --output json").exits(0).json();
    let safety = all[0]["backup"].as_str().unwrap().to_owned();
    assert_eq!(all[0]["rows"], 100);
    w.soll(&format!("restore staging --at {safety} --yes")).exits(0);
    assert_eq!(data(&w).0, "100");
}

/// At every place: then the same command ends it, and what was written after everything was put back stays.
#[test]
fn wherever_a_restore_is_killed_the_same_command_ends_it() {
    let w = shop();
    let name = w.soll("backup list --output json").exits(0).json()[0]["backup"].as_str().unwrap().to_owned();
    let command = format!("restore staging --at {name} --yes");
    let beside = ["operation.after-opened", "host.restore.after-note", "operation.before-finished"];
    let loaded = ["restore.after-loaded", "restore.after-started", "restore.after-unmarked"];
    for fault in soll::fault::RESTORE.iter().chain(&beside) {
        harm(&w);
        assert_ne!(w.soll_with(&command, &[("SOLL_FAULT", fault)]).exit, 0, "{fault}");
        let is_loaded = loaded.contains(fault);
        if is_loaded {
            w.write("staging/shared/uploads/a b.txt", "written since");
        }
        w.soll(&command).exits(0);
        let upload = if is_loaded { "written since" } else { "an upload" };
        assert_eq!(data(&w), ("250".to_owned(), upload.to_owned()), "{fault}");
        assert!(!w.read("staging/.soll/record.json").contains("\"restoring\""), "{fault}");
        w.soll("apply").exits(0).hides("stopped");
    }
}

/// Two people who say the same: the second one does not go on with what the first one is at.
#[test]
fn who_comes_second_waits_and_looks_again() {
    let mut w = shop();
    harm(&w);
    w.set("SOLL_FAULT", "stop:restore.before-roots");
    let mut second = w.start("restore staging --yes", "log");
    let process = Process { pid: second.child.id().cast_signed(), words: String::new() };
    until("the second one stands before its lock", || {
        assert!(second.child.try_wait().unwrap().is_none(), "{}", w.read("log"));
        process.stands_still().then_some(())
    });
    w.set("SOLL_FAULT", "host.put-back.before-rename");
    assert_ne!(w.soll("restore staging --yes").exit, 0);
    process.kill(rustix::process::Signal::CONT);
    assert_eq!(second.wait(), Some(5), "{}", w.read("log"));
    assert!(w.read("log").contains("somebody else restored data of staging meanwhile"), "{}", w.read("log"));
    w.set("SOLL_FAULT", "");
    w.soll("restore staging --yes").exits(0);
    assert_eq!(data(&w), ("250".to_owned(), "an upload".to_owned()));
}

/// What the data say is no reason not to have them back: they were so when they were saved.
#[test]
fn a_faithful_copy_of_data_that_do_not_hold_together_is_restored() {
    let w = shop();
    let odd = "import sqlite3; c = sqlite3.connect('app.sqlite'); c.execute('CREATE TABLE posts(u REFERENCES users(id))'); \
               c.execute('INSERT INTO posts VALUES(999)'); c.commit()";
    by_hand(&w, "staging/shared", &format!("python3 -c \"{odd}\""));
    w.soll("backup now").exits(0);
    harm(&w);
    w.soll("restore-test").exits(1).says("1 row of posts leads to no row of users");
    w.soll("restore staging --yes").exits(0).says("1 row of posts leads to no row of users");
    assert_eq!(data(&w).0, "250");
}

/// A database that cannot be read any more cannot be saved first.
#[test]
fn a_broken_database_is_restored_without_saving_it() {
    let w = shop();
    let path = w.path("staging/shared/app.sqlite");
    for ending in ["-wal", "-shm"] {
        let _ = fs::remove_file(w.path(&format!("staging/shared/app.sqlite{ending}")));
    }
    fs::write(
        &path,
        "no database any more, and longer than a header of one would be: a hundred bytes and some more of them",
    )
    .unwrap();
    w.soll("restore staging --yes").exits(1).says("cannot be saved").says("--without-safety");
    w.soll("restore staging --without-safety --yes").exits(0);
    assert_eq!(data(&w).0, "250");
}

#[test]
fn a_mariadb_is_emptied_and_loaded_by_the_application_s_own_user() {
    let (w, _server) = super::proving_mariadb::tried();
    sql(
        &w,
        "shop",
        "CREATE SEQUENCE sq START WITH 7 NOCACHE; SELECT NEXTVAL(sq);
         CREATE TABLE ver (x INT) WITH SYSTEM VERSIONING; INSERT INTO ver VALUES (1), (2); DELETE FROM ver WHERE x = 2;",
    );
    w.soll("backup now").exits(0);
    w.soll("restore-test").exits(0).says("sequences");
    let sums = "CHECKSUM TABLE t0, t19, posts, old";
    let before = sql(&w, "shop", sums);
    sql(
        &w,
        "shop",
        "DELETE FROM posts; DELETE FROM ver; DROP SEQUENCE sq; DROP TABLE t5; \
         CREATE TABLE later (x INT); INSERT INTO old VALUES (7);",
    );
    w.soll("restore staging --yes").exits(0).says("is restored from manual/");
    assert_eq!(sql(&w, "shop", sums), before);
    assert_eq!(sql(&w, "shop", "SHOW TABLES LIKE 'later'"), "", "a later migration would find it in its way");
    assert_eq!(sql(&w, "shop", "SELECT n FROM v; SELECT COUNT(*) FROM t5"), "100\n105");
    let kinds = "SELECT table_type FROM information_schema.tables WHERE table_schema = 'shop' \
                 AND table_name IN ('sq', 'ver') ORDER BY 1";
    assert_eq!(sql(&w, "shop", kinds), "SEQUENCE\nSYSTEM VERSIONED");
    assert_eq!(sql(&w, "shop", "SELECT x FROM ver; SELECT NEXTVAL(sq)"), "1\n8");
    assert_eq!(sql(&w, "", "SHOW DATABASES LIKE 'soll%'"), "");
    let _ = file(&w, "nas", "RESTORE", ".txt");
}

/// The migration of `b` deletes the users; leaving `b` brings back exactly what was saved before it.
#[test]
fn a_rollback_brings_the_database_from_before_the_release_that_is_left() {
    let w = world(&JOB.replace("schedule = \"0 2 * * *\"", "pre_deploy = true"));
    let migrate = "import sqlite3; c = sqlite3.connect('$DIR/staging/shared/app.sqlite'); c.execute('DELETE FROM users'); c.commit()";
    w.edit(
        "shared_dirs",
        &format!("hooks = [{{ phase = \"migrate\", run = \"\"\"python3 -c \"{migrate}\" \"\"\" }}]\nshared_dirs"),
    );
    w.soll("rollback staging --with-database --yes").exits(1);
    w.edit("<a>", "<b>");
    w.soll("apply").exits(0);
    assert_eq!((w.runs("staging").as_str(), data(&w).0.as_str()), ("b", "0"));
    w.soll("rollback staging --with-database").exits(1).says("nobody can be asked here");
    // It is tried before anything is deployed: the earlier release would run on data that nobody can bring back.
    by_hand(&w, "", "cp -a nas good");
    forge(&w, "nas/pre-deploy", |dump| dump.split_once("COMMIT;").unwrap().0.to_owned());
    w.soll("rollback staging --with-database --yes").exits(1).says("nothing was changed").says("cut off");
    by_hand(&w, "", "rm -r nas && mv good nas");
    assert_eq!((w.runs("staging").as_str(), data(&w).0.as_str()), ("b", "0"));
    w.soll("rollback staging --with-database --yes").exits(0).says("is restored from pre-deploy/");
    assert_eq!((w.runs("staging").as_str(), data(&w).0.as_str()), ("a", "250"));
}
