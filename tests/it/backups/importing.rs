//! What another script made under the same names is taken over: listed, verified, kept and removed like ours, and nothing that is
//! less than it seems.

use std::fs;

use super::{JOB, by_hand, files, world};

/// A backup as a script of somebody else makes it.
const SCRIPT: &str = "mkdir -p daily; cd daily; \
    printf 'CREATE TABLE users(name TEXT);\\nINSERT INTO users VALUES (1);\\nCOMMIT;\\n' | gzip > backup-db-TS.sql.gz; \
    tar -czf backup-app-TS.tar.gz -C $DIR/staging shared; \
    sha256sum backup-db-TS.sql.gz > backup-db-TS.sql.gz.sha256; \
    printf 'Backup of TS\\nDatabase: shop\\n' > backup-manifest-TS.txt";

/// What is done to the backup of a day before it is imported, and what is said of that day then.
const DAYS: [(&str, &str, &str); 5] = [
    ("20261101_010000", "rm backup-app-TS.tar.gz", "left alone: it has no archive of the files app"),
    (
        "20261102_010000",
        "truncate -s $(($(stat -c %s backup-app-TS.tar.gz) / 2)) backup-app-TS.tar.gz",
        "left alone: backup-app-TS.tar.gz cannot be unpacked to its end",
    ),
    (
        "20261103_010000",
        "gunzip -c backup-db-TS.sql.gz | head -n 2 | gzip > x; mv x backup-db-TS.sql.gz; rm backup-db-TS.sql.gz.sha256",
        "left alone: backup-db-TS.sql.gz does not say that it came to its end (`COMMIT;`)",
    ),
    (
        "20261104_010000",
        "mkdir $DIR/extra; tar -czf backup-app-TS.tar.gz -C $DIR/staging shared -C $DIR extra; \
         gzip -c /dev/null > backup-db-old-TS.sql.gz",
        "imported: whole; backup-db-old-TS.sql.gz is of nothing that the job declares: it is kept with the others; \
         backup-app-TS.tar.gz has 1 entry outside of shared, which no restore puts back: extra/",
    ),
    ("20261105_010000", "true", "imported: whole\n"),
];

#[test]
fn backups_of_another_script_are_taken_over() {
    let w = world(&JOB.replace("zone =", "keep = { daily = 2 }\nzone ="));
    for (day, change, _) in DAYS {
        by_hand(&w, "nas", &format!("{SCRIPT}; {change}").replace("TS", day));
    }
    w.soll("backup list").exits(0).hides("verified");
    let dry = w.soll("backup import --dry-run").exits(1);
    assert_eq!(dry.stdout.matches("would be imported").count(), 2, "{}", dry.stdout);
    let checksums = || files(&w, "nas/daily").iter().filter(|name| name.ends_with(".sha256")).count();
    assert_eq!(checksums(), 4, "nothing is written");
    let said = w.soll("backup import").exits(1);
    for (day, _, says) in DAYS {
        let says = format!("daily/{day} on nas: {}", says.replace("TS", day));
        assert!(said.stdout.contains(&says), "{says}\n{}", said.stdout);
    }
    // Its own words are kept, and its files are as they were.
    let manifest = w.read("nas/daily/backup-manifest-20261105_010000.txt");
    for said in ["imported = true", "Database: shop", "job = \"nightly\""] {
        assert!(manifest.contains(said), "{said}\n{manifest}");
    }
    assert!(files(&w, "nas/daily").iter().all(|name| !name.contains("before-import")));
    by_hand(&w, "nas/daily", "sha256sum --quiet -c backup-*-20261105_010000.*.sha256");
    let list = w.soll("backup list --output json").exits(0).json();
    let verified = list.as_array().unwrap().iter().filter(|one| one["verified"] == true).count();
    assert_eq!(verified, 2);
    w.soll("backup verify").exits(0).says("daily/20261105_010000 on nas: whole");
    // They fill slots, and the oldest goes when there is another one.
    w.soll("backup now --due").exits(0).says("pruned on nas: daily/20261104_010000");
    let names = files(&w, "nas/daily");
    assert!(names.iter().any(|name| name.contains("20261105")) && !names.iter().any(|name| name.contains("20261104")));
    assert!(names.iter().any(|name| name.contains("20261101")), "what is not whole is held: {names:?}");
    w.soll("backup import").exits(1).hides(": imported");
}

/// A backup of this program that broke off is none that somebody else made.
#[test]
fn what_broke_off_is_not_imported_as_whole() {
    let w = world(JOB);
    fs::rename(w.path("staging/shared/uploads"), w.path("uploads")).unwrap();
    fs::remove_dir_all(w.path("staging/shared/logs")).unwrap();
    w.soll("backup now").exits(0);
    let manifest = files(&w, "nas/manual").into_iter().find(|name| name.contains("manifest")).unwrap();
    fs::remove_file(w.path("nas/manual").join(manifest)).unwrap();
    w.soll("backup import").exits(1).says("soll began it for the job nightly, and did not come to its end");
    assert!(w.soll("backup list").exits(0).stdout.contains("no manifest"));
}
