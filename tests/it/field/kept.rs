//! A private key of mode 600 became readable for all, and every `.pyc` that was shipped was older than its source.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use crate::support::world::{World, env, sha};

/// Packs a directory as the bundle of a letter, with the program that most builds use.
fn pack(w: &World, letter: char, dir: &Path, options: &[&str]) {
    w.bundle(letter, &[]);
    let archive = w.archive(letter);
    let packed = Command::new("tar").args(options).arg("-czf").arg(&archive).arg("-C").arg(dir).arg(".").status();
    assert!(packed.unwrap().success());
    let digest = Command::new("sha256sum").arg(&archive).output().unwrap().stdout;
    fs::write(format!("{}.sha256", archive.display()), &digest[..64]).unwrap();
}

fn put(dir: &Path, name: &str, text: &str, mode: u32, time: i64) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    set_time(&path, time);
}

fn set_time(path: &Path, time: i64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(time.unsigned_abs());
    File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn modes_and_times_are_those_of_the_archive() {
    let w = World::with(&env("staging", 'a', ""));
    let dir = w.path("built");
    let files = [
        ("index.php", 0o644, 0o644),
        ("keys/private.key", 0o600, 0o600),
        ("shared.txt", 0o666, 0o644),
        ("bin/run", 0o4755, 0o755),
        ("bin/own", 0o700, 0o700),
        ("read-only", 0o440, 0o440),
    ];
    for (name, has, _) in files {
        put(&dir, name, name, has, 1_500_000_000);
    }
    fs::set_permissions(dir.join("keys"), fs::Permissions::from_mode(0o2770)).unwrap();
    for format in ["--format=posix", "--format=gnu", "--format=ustar"] {
        pack(&w, 'a', &dir, &[format]);
        w.soll("apply").exits(0);
        let live = w.path("staging/current");
        for (name, _, wanted) in files {
            assert_eq!(mode(&live.join(name)), wanted, "{name} of {format}");
            assert_eq!(fs::metadata(live.join(name)).unwrap().mtime(), 1_500_000_000, "{name} of {format}");
        }
        assert_eq!(mode(&live.join("keys")), 0o750, "{format}");
        w.soll("plan --detailed-exitcode").exits(0).hides("drift");
        fs::remove_dir_all(w.path("staging")).unwrap();
    }
    // What is touched is not what changed; another mode is.
    w.soll("apply").exits(0);
    set_time(&w.path("staging/current/index.php"), 1_600_000_000);
    w.soll("plan").exits(0).hides("drift");
    let key = w.path("staging/current/keys/private.key");
    fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();
    w.soll("plan").exits(0).says("drift").says("private.key");
}

#[test]
fn a_build_that_differs_in_its_times_alone_brings_them() {
    let w = World::with(&env("staging", 'a', ""));
    let dir = w.path("built");
    for (letter, time) in [('a', 1_500_000_000), ('b', 1_500_000_060)] {
        (0..40).for_each(|n| put(&dir, &format!("src/{n}.php"), "same", 0o644, time));
        put(&dir, "index.html", &letter.to_string(), 0o644, time);
        pack(&w, letter, &dir, &[]);
    }
    w.soll("apply").exits(0);
    w.edit(&sha('a'), &sha('b'));
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
    for name in ["index.html", "src/0.php", "src/39.php"] {
        let time = fs::metadata(w.path("staging/current").join(name)).unwrap().mtime();
        assert_eq!(time, 1_500_000_060, "{name}");
    }
    w.soll("plan --detailed-exitcode").exits(0);
}

#[test]
fn what_says_no_time_has_that_of_its_deployment() {
    let w = World::with(&env("staging", 'a', ""));
    let dir = w.path("built");
    put(&dir, "index.php", "1", 0o644, 1_500_000_000);
    pack(&w, 'a', &dir, &["--mtime=@0"]);
    w.soll("apply").exits(0);
    let time = fs::metadata(w.path("staging/current/index.php")).unwrap().mtime();
    assert!(time > 1_700_000_000, "a web server would tell all versions of a page by one time: {time}");
}

#[test]
fn what_python_compiled_for_the_bundle_is_taken_as_it_is() {
    let w = World::with(&env("staging", 'a', ""));
    let dir = w.path("built");
    put(&dir, "index.php", "1", 0o644, 1_500_000_000);
    put(&dir, "app.py", "answer = 42\n", 0o644, 1_500_000_000);
    let compiled = Command::new("python3").args(["-m", "compileall", "-q", "."]).current_dir(&dir).status().unwrap();
    assert!(compiled.success());
    pack(&w, 'a', &dir, &[]);
    w.soll("apply").exits(0);
    let ran = Command::new("python3")
        .args(["-c", "import app; print(app.answer)"])
        .current_dir(w.path("staging/current"))
        .env_remove("PYTHONDONTWRITEBYTECODE")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "42\n");
    w.soll("plan --detailed-exitcode").exits(0).hides("drift");
}

#[test]
fn a_group_and_an_access_list_of_releases_reach_what_is_made_there() {
    let w = World::with(&env("staging", 'a', ""));
    let releases = w.path("staging/releases");
    fs::create_dir_all(&releases).unwrap();
    chown(&releases, None, Some(33)).unwrap();
    fs::set_permissions(&releases, fs::Permissions::from_mode(0o2755)).unwrap();
    rustix::fs::setxattr(&releases, ACL, &access_list(), rustix::fs::XattrFlags::empty()).unwrap();
    w.bundle('a', &[("index.php", "1"), ("var/cache/one", "1"), ("var/same", "1")]);
    w.soll("apply").exits(0);
    let live = w.path("staging/current");
    for name in ["", "var", "var/cache"] {
        let dir = live.join(name);
        assert_eq!((mode(&dir), fs::metadata(&dir).unwrap().gid()), (0o2755, 33), "{name}");
        let mut list = [0; 256];
        assert!(rustix::fs::getxattr(&dir, ACL, &mut list).unwrap_or(0) > 0, "{name} has no access list");
    }
    for name in ["index.php", "var/cache/one", "var/same"] {
        assert_eq!(fs::metadata(live.join(name)).unwrap().gid(), 33, "{name}");
    }
    w.soll("plan --detailed-exitcode").exits(0).hides("drift");
}

const ACL: &str = "system.posix_acl_default";

/// The web server's user may write: in the form in which the kernel keeps it (tag, permissions, number).
fn access_list() -> Vec<u8> {
    let entries = [(1, 7, u32::MAX), (2, 7, 33), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 5, u32::MAX)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, may, id) in entries {
        list.extend([u16::to_le_bytes(tag), u16::to_le_bytes(may)].concat());
        list.extend(u32::to_le_bytes(id));
    }
    list
}
