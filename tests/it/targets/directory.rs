//! A directory of this machine.

use std::fs;

use soll::backup::target::{Directory, Target};

use super::{does_all_that_a_backup_needs, get, list, noise, put};
use crate::support::disk::Disk;

#[test]
fn a_directory_does_all_that_a_backup_needs() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("Server Name");
    let told = Directory::open(&base, false).unwrap_err().to_string();
    assert!(told.contains("is not there: mount what belongs there"), "{told}");
    fs::create_dir(&base).unwrap();
    let target = Target::Directory(Directory::open(&base, false).unwrap());
    does_all_that_a_backup_needs(&target);
    assert!(target.room().unwrap().is_some_and(|room| room > 0));
}

#[test]
fn a_full_disk_is_told_as_one() {
    let disk = Disk::new("4m");
    let target = Target::Directory(Directory::open(disk.path(), false).unwrap());
    let refused = put(&target, "daily", "x.gz", &noise(12 << 20)).unwrap_err();
    assert!(refused.contains("x.gz.part does not fit: the target is full"), "{refused}");
    assert!(list(&target, "daily").is_empty());
    put(&target, "daily", "y.gz", &noise(1 << 20)).unwrap();
    assert_eq!(get(&target, "daily", "y.gz").unwrap(), noise(1 << 20));
}

/// A pipe or a link with the name of a backup is none: it is not waited for, and leads nowhere.
#[test]
fn what_is_no_regular_file_is_no_backup() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::Directory(Directory::open(dir.path(), false).unwrap());
    put(&target, "daily", "x.gz", b"x").unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(dir.path().join("daily/pipe.gz")).status().unwrap();
    assert!(pipe.success());
    std::os::unix::fs::symlink("x.gz", dir.path().join("daily/link.gz")).unwrap();
    let told = get(&target, "daily", "pipe.gz").unwrap_err();
    assert!(told.contains("daily/pipe.gz is no regular file, and no backup"), "{told}");
    assert!(get(&target, "daily", "link.gz").is_err());
    assert_eq!(list(&target, "daily"), [("x.gz".to_owned(), 1)]);
}
