//! SFTP.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use soll::backup::target::{Sftp, Target};
use soll::link::endpoint::Endpoint;
use soll::link::settings::Settings;
use soll::model::key_text::KeySource;

use super::{does_all_that_a_backup_needs, get, list, noise, put};
use crate::ssh::server::{Sshd, me};
use crate::support::disk::Disk;

const INTERNAL: &str = "Subsystem sftp internal-sftp";

/// Who may log in to this server, and by which key it is known.
fn settings(sshd: &Sshd) -> Settings {
    fs::write(sshd.path("known_hosts"), sshd.known("ed25519")).unwrap();
    fs::write(sshd.path("ssh_config"), "").unwrap();
    Settings {
        key: Some(KeySource::File(sshd.path("key"))),
        known_hosts: Some(sshd.path("known_hosts")),
        config: Some(sshd.path("ssh_config")),
        ..Settings::default()
    }
}

fn endpoint(sshd: &Sshd) -> Endpoint {
    Endpoint { address: "127.0.0.1".to_owned(), user: Some(me()), port: Some(sshd.port), agent_dir: None }
}

fn open(sshd: &Sshd, base: &Path) -> Result<Target, String> {
    let opened = Sftp::open(&settings(sshd), &endpoint(sshd), &base.display().to_string());
    opened.map(Target::Sftp).map_err(|error| error.to_string())
}

/// A server, and a directory there whose name has a space.
fn server(more: &str) -> (Sshd, PathBuf) {
    let sshd = Sshd::new(more);
    let base = sshd.home().join("Backup/Server Name");
    fs::create_dir_all(&base).unwrap();
    (sshd, base)
}

/// Every file below a directory, relative to it.
fn files(base: &Path) -> Vec<String> {
    let (mut all, mut dirs) = (Vec::new(), vec![base.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => dirs.push(path),
                false => all.push(path.strip_prefix(base).unwrap().display().to_string()),
            }
        }
    }
    all.sort();
    all
}

#[test]
fn a_server_does_all_that_a_backup_needs() {
    for subsystem in [INTERNAL, "Subsystem sftp /usr/lib/openssh/sftp-server"] {
        let (sshd, base) = server(subsystem);
        let target = open(&sshd, &base).unwrap();
        does_all_that_a_backup_needs(&target);
        assert!(target.room().unwrap().is_some_and(|room| room > 0));
        assert_eq!(files(&base), Vec::<String>::new());
        let mode = fs::metadata(base.join("daily")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        // One login for all of it.
        assert_eq!(sshd.logins(), 1, "{}", sshd.log());
    }
}

#[test]
fn in_a_chroot_paths_are_those_that_the_server_shows() {
    // Each directory above a chroot must belong to root alone, which that of the temporary ones does not.
    let dir = tempfile::tempdir_in("/var/lib").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(dir.path().join("homes/Backup")).unwrap();
    let (sshd, _) =
        server(&format!("{INTERNAL}\nForceCommand internal-sftp\nChrootDirectory {}", dir.path().display()));
    does_all_that_a_backup_needs(&open(&sshd, Path::new("/homes/Backup")).unwrap());
    // The path that a shell on the NAS shows is another one: what there is, is told.
    let refused = open(&sshd, &dir.path().join("homes/Backup")).unwrap_err();
    assert!(
        refused.contains(&format!(
            "{} is not there; in / the server shows: homes. ",
            dir.path().join("homes/Backup").display()
        )),
        "{refused}"
    );
    assert!(refused.contains("name it as SFTP calls it"), "{refused}");
}

#[test]
fn what_is_no_place_for_backups_is_told() {
    let (sshd, base) = server(INTERNAL);
    fs::write(base.join("file"), "").unwrap();
    let refused = open(&sshd, &base.join("file")).unwrap_err();
    assert!(refused.contains("is no directory: name one for the backups"), "{refused}");
    let (none, base) = server("");
    let refused = open(&none, &base).unwrap_err();
    assert!(refused.contains("the host does not start `sftp`") && refused.contains("Subsystem sftp"), "{refused}");
    let (stranger, base) = server(INTERNAL);
    let mut known = settings(&stranger);
    fs::write(stranger.path("known_hosts"), "").unwrap();
    known.known_hosts = Some(stranger.path("known_hosts"));
    let refused = Sftp::open(&known, &endpoint(&stranger), &base.display().to_string()).unwrap_err().to_string();
    assert!(refused.contains("host key") && refused.contains("ssh-keygen -lf"), "{refused}");
    assert_eq!(stranger.logins(), 0);
}

#[test]
fn who_is_there_first_is_not_replaced() {
    let (sshd, base) = server(INTERNAL);
    let target = open(&sshd, &base).unwrap();
    let mut late = target.put("daily", "x.gz").unwrap();
    late.write_all(&noise(1 << 20)).unwrap();
    fs::write(base.join("daily/x.gz"), "another").unwrap();
    let refused = late.end().unwrap_err().to_string();
    assert!(refused.contains("x.gz is there already"), "{refused}");
    assert_eq!(fs::read_to_string(base.join("daily/x.gz")).unwrap(), "another");
    assert_eq!(files(&base), ["daily/x.gz"]);
}

#[test]
fn an_upload_that_was_cut_off_is_no_backup_and_does_not_stand_in_the_way() {
    let bytes = noise(24 << 20);
    for cut in [1, bytes.len() / 2, bytes.len()] {
        let (sshd, base) = server(INTERNAL);
        let target = open(&sshd, &base).unwrap();
        let mut put_there = target.put("daily", "x.gz").unwrap();
        put_there.write_all(&bytes[..cut]).unwrap();
        sshd.cut();
        let ended = put_there.write_all(&bytes[cut..]).map_err(|error| error.to_string());
        let told = ended.and_then(|()| put_there.end().map_err(|error| error.to_string())).unwrap_err();
        assert!(told.contains("x.gz.part: the connection broke"), "cut at {cut}: {told}");
        assert_eq!(files(&base), ["daily/x.gz.part"], "cut at {cut}");
        let again = open(&sshd, &base).unwrap();
        assert!(list(&again, "daily").is_empty());
        put(&again, "daily", "x.gz", &bytes).unwrap();
        assert_eq!(files(&base), ["daily/x.gz"]);
    }
}

#[test]
fn a_download_that_was_cut_off_is_not_taken_for_whole() {
    let (sshd, base) = server(INTERNAL);
    let target = open(&sshd, &base).unwrap();
    put(&target, "daily", "x.gz", &noise(40 << 20)).unwrap();
    let mut file = target.read("daily", "x.gz").unwrap();
    let mut piece = [0; 1000];
    file.read_exact(&mut piece).unwrap();
    sshd.cut();
    let told = file.read_to_end(&mut Vec::new()).unwrap_err().to_string();
    assert!(told.contains("x.gz: the connection broke"), "{told}");
    // So is one that became shorter while it was read.
    let target = open(&sshd, &base).unwrap();
    let mut file = target.read("daily", "x.gz").unwrap();
    file.read_exact(&mut piece).unwrap();
    fs::OpenOptions::new().write(true).open(base.join("daily/x.gz")).unwrap().set_len(20 << 20).unwrap();
    let told = file.read_to_end(&mut Vec::new()).unwrap_err().to_string();
    assert!(told.contains("ends before its end: it is being changed"), "{told}");
}

#[test]
fn a_full_disk_is_told_as_one() {
    let (sshd, _) = server(INTERNAL);
    let disk = Disk::new("4m");
    let target = open(&sshd, disk.path()).unwrap();
    let room = target.room().unwrap().unwrap();
    assert!((3 << 20..=4 << 20).contains(&room), "{room}");
    let refused = put(&target, "daily", "x.gz", &noise(12 << 20)).unwrap_err();
    assert!(refused.contains("x.gz.part does not fit: the target is full ("), "{refused}");
    assert_eq!(files(disk.path()), Vec::<String>::new());
    // What fits goes on fitting.
    put(&target, "daily", "y.gz", &noise(1 << 20)).unwrap();
    assert_eq!(get(&target, "daily", "y.gz").unwrap(), noise(1 << 20));
}

#[test]
fn an_account_that_may_not_remove_still_writes_and_says_so() {
    // What the server forbids by name it forbids to root, too.
    let (sshd, base) = server("Subsystem sftp internal-sftp -P remove,rmdir");
    let target = open(&sshd, &base).unwrap();
    put(&target, "daily", "x.gz", b"x").unwrap();
    assert_eq!(get(&target, "daily", "x.gz").unwrap(), b"x");
    let told = target.remove("daily", "x.gz").unwrap_err().to_string();
    assert!(told.contains("daily/x.gz stays: nothing is pruned: no right to delete"), "{told}");
    // It lies where it lay, and counts as before: half a removal would be a backup without its manifest.
    assert_eq!(list(&target, "daily"), [("x.gz".to_owned(), 1)]);
    assert_eq!(files(&base), ["daily/x.gz"]);
    let (sshd, base) = server("Subsystem sftp internal-sftp -P rename,posix-rename");
    let target = open(&sshd, &base).unwrap();
    let told = put(&target, "daily", "x.gz", b"x").unwrap_err();
    assert!(told.contains("cannot rename to its name") && told.contains("the account may not"), "{told}");
    assert_eq!(files(&base), Vec::<String>::new());
}
