//! A NAS behind SFTP, which only the host reaches: a real sshd, a path with a space, and the keys of the host's own user.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::pruning::{copied, stamp};
use super::{JOB, world};
use crate::ssh::server::{Sshd, me};
use crate::support::world::World;

/// The job, to this server.
fn job(nas: &Sshd, host_key: &str) -> String {
    let dir = nas.home().join("Backup/Server Name").display().to_string();
    let url = format!("url = \"sftp://{}@127.0.0.1:{}{dir}\"\nhost_key = \"{host_key}\"", me(), nas.port);
    JOB.replace("url = \"file://$DIR/nas\"", &url)
}

/// A world whose host may log in there.
fn admitted(nas: &Sshd, job: &str) -> World {
    let w = world(job);
    fs::create_dir_all(w.path("home/.ssh")).unwrap();
    fs::copy(nas.path("key"), w.path("home/.ssh/id_ed25519")).unwrap();
    fs::set_permissions(w.path("home/.ssh/id_ed25519"), fs::Permissions::from_mode(0o600)).unwrap();
    w
}

fn there(nas: &Sshd, dir: &str) -> Vec<String> {
    let dir = nas.home().join("Backup/Server Name").join(dir);
    let names = fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn a_backup_to_a_nas_is_written_verified_and_pruned() {
    let nas = Sshd::new("Subsystem sftp internal-sftp");
    fs::create_dir_all(nas.home().join("Backup/Server Name")).unwrap();
    let w = admitted(&nas, &job(&nas, &nas.public("ed25519")));
    w.soll("backup test").exits(0).says("good: open, write, list, read, remove");
    w.edit("zone =", "keep = { daily = 1 }\nzone =");
    w.soll("apply").exits(0).says("backup nightly: daily/");
    w.soll("backup now nightly").exits(0).says("nightly: good: manual/").says("250 rows");
    assert_eq!(there(&nas, "manual").len(), 5, "{:?}", there(&nas, "manual"));
    assert!(there(&nas, "").contains(&"RESTORE.txt".to_owned()));
    w.soll("backup verify").exits(0).says("whole");
    w.soll("restore-test").exits(0).says("nightly: pass: manual/").says("from nas");
    let list = w.soll("backup list --output json").exits(0).json();
    assert_eq!((&list[0]["target"], &list[0]["verified"]), (&"nas".into(), &true.into()));
    // What is superfluous goes there, too.
    let daily = nas.home().join("Backup/Server Name/daily");
    let made = stamp(&daily);
    copied(&daily, &made, "20250101_010000");
    assert_eq!(there(&nas, "daily").len(), 10);
    w.soll("backup prune").exits(0).says("prune  nightly daily/20250101_010000 on nas");
    assert_eq!((stamp(&daily), there(&nas, "daily").len(), there(&nas, "trash").len()), (made, 5, 0));
    // One byte is another one there.
    let database = there(&nas, "manual").into_iter().find(|name| name.ends_with(".sql.gz")).unwrap();
    let path = nas.home().join("Backup/Server Name/manual").join(database);
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, bytes).unwrap();
    w.soll("backup verify").exits(1).says("is not what was written");
}

/// I20: whoever took over the server deletes no backup. What is to go stays whole, and is told.
#[test]
fn an_account_that_may_not_delete_keeps_all_and_loses_nothing() {
    let nas = Sshd::new("Subsystem sftp internal-sftp -P remove,rmdir");
    fs::create_dir_all(nas.home().join("Backup/Server Name")).unwrap();
    let job = job(&nas, &nas.public("ed25519")).replace("zone =", "keep = { daily = 1 }\nzone =");
    let w = admitted(&nas, &job);
    w.soll("backup test")
        .exits(0)
        .says("good: open, write, list, read, remove; nothing is pruned: no right to delete there; manual/soll-test-");
    w.soll("apply").exits(0);
    let daily = nas.home().join("Backup/Server Name/daily");
    let made = stamp(&daily);
    copied(&daily, &made, "20250101_010000");
    w.soll("backup prune").exits(1).says("nothing is pruned: no right to delete");
    assert_eq!((there(&nas, "daily").len(), there(&nas, "trash").len()), (10, 0));
    w.soll("backup verify --all").exits(0).says("daily/20250101_010000 on nas: whole");
    // A backup is as good as any: it is no failure that nothing goes.
    w.soll("backup now").exits(0).says("nothing is pruned: no right to delete");
    w.soll("status").exits(0).hides("failed since");
}

#[test]
fn a_nas_that_is_not_the_one_that_is_meant_gets_nothing() {
    let (nas, other) = (Sshd::new("Subsystem sftp internal-sftp"), Sshd::new(""));
    fs::create_dir_all(nas.home().join("Backup/Server Name")).unwrap();
    let w = admitted(&nas, &job(&nas, &other.public("ed25519")));
    w.soll("backup test").exits(1).says("the state file").says("somebody is in between");
    w.soll("backup now nightly").exits(1).says("somebody is in between");
    assert_eq!((there(&nas, "manual").len(), nas.logins()), (0, 0));
}
