//! The controller's copies of repositories: what is cached still works, what is broken is made anew, what is old goes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use soll::state_repo::tree::Part;
use soll::state_repo::{AppRepo, GitSettings};

use super::{Hanging, app, empty, grow, release};
use crate::support::world::{World, until};

fn mirrors(w: &World) -> Vec<PathBuf> {
    let entries = fs::read_dir(w.path("ctl/cache/trees")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Forgets what was unpacked, so that the mirror is needed.
fn forget(w: &World) {
    let dir = w.path("ctl/cache/bundles/bundles");
    fs::read_dir(dir).unwrap().for_each(|entry| fs::remove_dir_all(entry.unwrap().path()).unwrap());
}

#[test]
fn without_the_repository_what_is_here_is_deployed_and_returned_to() {
    let w = app("", "");
    let first = w.git_in("app", &["rev-parse", "HEAD"]);
    w.soll("apply").exits(0);
    let second = grow(&w, &[("index.html", "two")]);
    release(&w, &second).exits(0);
    fs::rename(w.path("app"), w.path("gone")).unwrap();
    w.soll("rollback staging").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "one");
    // Not even its directory on the host, nor what was unpacked here: the mirror has it.
    forget(&w);
    let releases = w.path("staging/releases");
    for entry in fs::read_dir(&releases).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_name().to_str().unwrap().ends_with(&second[..8]) {
            fs::remove_dir_all(entry.path()).unwrap();
        }
    }
    release(&w, &second).exits(0);
    assert_eq!(w.runs("staging"), "two");
    // A commit that never came here is another matter, and nothing is touched.
    w.soll(&format!("release staging {}", "f".repeat(40))).exits(0);
    w.soll("apply").exits(1).says("git could not");
    assert_eq!(w.runs("staging"), "two");
    release(&w, &first).exits(0);
}

#[test]
fn a_broken_mirror_is_made_anew() {
    for broken in ["all objects", "some objects", "locks"] {
        let w = app("", "");
        w.soll("apply").exits(0);
        let second = grow(&w, &[("index.html", "two"), ("b", "b")]);
        let [mirror] = mirrors(&w).try_into().unwrap();
        match broken {
            "all objects" => files(&mirror.join("objects")).iter().for_each(|file| fs::remove_file(file).unwrap()),
            "some objects" => {
                // The tree of the first commit, which the ref still leads to.
                let tree = w.git_in("app", &["rev-parse", "HEAD~1^{tree}"]);
                let (dir, name) = tree.split_at(2);
                let loose = mirror.join("objects").join(dir).join(name);
                assert!(loose.exists(), "a few objects are loose ones: {:?}", files(&mirror.join("objects")));
                fs::remove_file(loose).unwrap();
                forget(&w);
                let first = w.git_in("app", &["rev-parse", "HEAD~1"]);
                fs::remove_dir_all(w.path("staging")).unwrap();
                w.soll("apply").exits(0);
                assert_eq!(w.runs("staging"), "one", "{first}");
            }
            // As a git that was killed leaves them.
            _ => {
                File::create(mirror.join("shallow.lock")).unwrap();
                File::create(mirror.join(format!("refs/soll/commits/{second}.lock"))).unwrap();
            }
        }
        release(&w, &second).exits(0);
        assert_eq!(w.runs("staging"), "two", "{broken}");
    }
}

#[test]
fn a_controller_that_is_killed_in_a_fetch_leaves_nothing_in_the_way() {
    let mut w = app("", "");
    w.soll("apply").exits(0);
    let second = grow(&w, &[("index.html", "two"), ("big", &"x".repeat(1000))]);
    w.soll(&format!("release staging {second}")).exits(0);
    Hanging::server(&mut w);
    let mut running = w.start("apply staging", "apply.log");
    until("git asks", || Hanging(&w).pid());
    running.child.kill().unwrap();
    running.wait();
    w.set("GIT_CONFIG_GLOBAL", "/dev/null");
    let _hanging = Hanging(&w);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "two");
}

#[test]
fn a_fetch_is_ended_by_whoever_cancels_the_run() {
    let mut w = app("", "");
    w.soll("apply").exits(0);
    let second = grow(&w, &[("index.html", "two")]);
    w.soll(&format!("release staging {second}")).exits(0);
    Hanging::server(&mut w);
    let running = w.start("apply staging", "apply.log");
    until("git asks", || Hanging(&w).pid());
    w.soll("cancel staging --now").exits(0);
    assert_ne!(running.wait(), Some(0));
    // Where the program was gone before its git was.
    drop(Hanging(&w));
    assert!(w.read("apply.log").contains("cancelled"), "{}", w.read("apply.log"));
    assert_eq!((w.runs("staging"), w.quarantined("staging")), ("one".to_owned(), vec![]));
    w.set("GIT_CONFIG_GLOBAL", "/dev/null");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "two");
}

#[test]
fn commits_that_nobody_asks_for_go_after_a_month() {
    let w = empty();
    let first = grow(&w, &[("index.html", "one"), ("only-in-the-first", &"x".repeat(5000))]);
    fs::remove_file(w.path("app/only-in-the-first")).unwrap();
    let second = grow(&w, &[("index.html", "two")]);
    let third = grow(&w, &[("index.html", "three")]);
    let repo = AppRepo::new(&w.fill("$DIR/app"), GitSettings::default()).unwrap();
    let cache = w.path("cache");
    let sha = |text: &str| text.parse::<soll::model::ids::Sha>().unwrap();
    let bring = |one: &str| {
        let out = tempfile::tempdir().unwrap();
        let part = Part { sha: &sha(one), directory: "", submodules: false };
        assert_eq!(repo.archive(part, &cache, out.path()).unwrap().len(), 1);
    };
    bring(&first);
    bring(&second);
    let mirror = fs::read_dir(cache.join("trees")).unwrap().map(|e| e.unwrap().path()).find(|p| p.is_dir()).unwrap();
    let old = SystemTime::now() - Duration::from_secs(31 * 24 * 3600);
    for mark in [format!("soll-asked/{first}"), format!("soll-asked/{second}"), "soll-tidied".to_owned()] {
        File::options().write(true).open(mirror.join(mark)).unwrap().set_modified(old).unwrap();
    }
    // Somebody asks for the second one again, and then for another one.
    assert!(repo.has_commit(&sha(&second), &cache).unwrap());
    bring(&third);
    let refs = w.git_in("state", &["--git-dir", mirror.to_str().unwrap(), "for-each-ref", "--format=%(refname)"]);
    let mut kept: Vec<_> = refs.lines().map(|name| name.rsplit('/').next().unwrap().to_owned()).collect();
    kept.sort();
    let mut wanted = vec![second.clone(), third.clone()];
    wanted.sort();
    assert_eq!(kept, wanted);
    let blob = w.git_in("app", &["rev-parse", &format!("{first}:only-in-the-first")]);
    let mut git = w.program("git");
    let has = git.arg("--git-dir").arg(&mirror).args(["cat-file", "-e", &blob]).status().unwrap();
    assert!(!has.success(), "its contents are gone as well");
    // Should it be needed once more, it comes once more.
    bring(&first);
}
