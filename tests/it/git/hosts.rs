//! Commits that each host fetches itself: nothing of them goes through the controller.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{Hanging, app, desire, grow, release, staging};
use crate::ssh::server::{Sshd, me, small_agent};
use crate::support::disk::Disk;
use crate::support::world::{World, until};

const HOST: &str = "checkout = { fetch_from = \"host\" }";

/// A host `web1` behind this sshd that fetches for itself.
fn remote(sshd: &Sshd) -> World {
    let mut w = app(HOST, "");
    let first = w.git_in("app", &["rev-parse", "HEAD"]);
    w.write("known_hosts", &sshd.known("ed25519"));
    w.write("ssh_config", "");
    w.set("SOLL_SSH_KEY", sshd.path("key").to_str().unwrap());
    w.set("SOLL_KNOWN_HOSTS", "$DIR/known_hosts");
    w.set("SOLL_SSH_CONFIG", "$DIR/ssh_config");
    small_agent(&mut w);
    let host = format!("\n[hosts.web1]\naddress = \"127.0.0.1\"\nuser = \"{}\"\nport = {}\n", me(), sshd.port);
    desire(&w, HOST, &format!("{host}{}", staging(&first, "hosts = [\"web1\"]")));
    w
}

#[test]
fn the_host_has_a_mirror_of_its_own() {
    let sshd = Sshd::new("");
    let w = remote(&sshd);
    let plan = w.soll("plan staging --output json").exits(0).json();
    let steps = plan["environments"][0]["steps"].as_array().unwrap();
    let kinds: Vec<_> = steps.iter().map(|step| (step["kind"].as_str().unwrap(), step["host"].as_str())).collect();
    assert!(kinds.starts_with(&[("checksum", None), ("fetch", Some("web1")), ("extract", Some("web1"))]), "{kinds:?}");
    assert!(!kinds.iter().any(|(kind, _)| ["upload", "verify"].contains(kind)), "{kinds:?}");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "one");
    assert!(w.path("staging/repo").is_dir());
    assert!(!w.path("ctl/cache/trees").exists(), "the controller fetched nothing");
    assert!(!w.path("staging/.soll/bundles").exists(), "it is not needed any more");
    w.soll("plan --detailed-exitcode").exits(0);
    let second = grow(&w, &[("index.html", "two")]);
    w.soll(&format!("release staging {second}")).exits(0);
    w.soll("preflight staging").exits(0).says("each host fetches it itself").says("fetched there, 3 B of it new");
    w.soll("doctor staging").exits(0).says("git is /").says("it has 1 branches");
    w.soll("apply").exits(0).says("3 B of it new there");
    assert_eq!(w.runs("staging"), "two");

    // The tree is the same by the other way: nothing is made anew, and a host takes what the other way brought.
    w.edit("fetch_from = \"host\"", "fetch_from = \"controller\"");
    w.soll("apply").exits(0).says("in sync");
    w.soll("rollback staging").exits(0);
    w.soll("apply").exits(0);
    let third = grow(&w, &[("index.html", "three")]);
    release(&w, &third).exits(0).says("1 of 1 files");
    assert_eq!(w.runs("staging"), "three");
}

#[test]
fn what_the_host_cannot_have_is_told_with_the_next_move() {
    let sshd = Sshd::new("");
    let w = remote(&sshd);
    w.soll("apply").exits(0);
    let untouched = || assert_eq!((w.runs("staging"), w.quarantined("staging")), ("one".to_owned(), vec![]));
    release(&w, &"f".repeat(40)).exits(1).says("web1").says("no branch or tag of").says("push it there");
    untouched();
    let second = grow(&w, &[("index.html", "two")]);
    fs::rename(w.path("app"), w.path("gone")).unwrap();
    release(&w, &second).exits(1).says("web1").says("git could not").says("git ls-remote");
    untouched();
    w.soll("doctor staging").exits(1).says("git could not").says("git ls-remote");
    fs::rename(w.path("gone"), w.path("app")).unwrap();
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "two");
}

#[test]
fn a_mirror_that_others_could_change_is_not_used() {
    let w = app(HOST, "");
    w.soll("apply").exits(0);
    let second = grow(&w, &[("index.html", "two")]);
    fs::set_permissions(w.path("staging/repo"), fs::Permissions::from_mode(0o777)).unwrap();
    release(&w, &second).exits(1).says("staging/repo");
    assert_eq!(w.runs("staging"), "one");
    fs::set_permissions(w.path("staging/repo"), fs::Permissions::from_mode(0o700)).unwrap();
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "two");
}

#[test]
fn submodules_and_a_directory_come_along_and_pointers_do_not() {
    let w = app(HOST, "");
    w.write("lib/code", "lib");
    w.git_in("lib", &["init", "-q", "-b", "main"]);
    let lib = super::commit(&w, "lib");
    w.write("app/.gitmodules", "[submodule \"lib\"]\npath = web/lib\nurl = ../lib\n");
    w.write("app/web/index.html", "web");
    w.git_in("app", &["add", "-A"]);
    w.git_in("app", &["update-index", "--add", "--cacheinfo", &format!("160000,{lib},web/lib")]);
    w.git_in("app", &["commit", "-q", "-m", "all"]);
    let all = w.git_in("app", &["rev-parse", "HEAD"]);
    desire(&w, "checkout = { fetch_from = \"host\", directory = \"web\", submodules = true }", &staging(&all, ""));
    w.soll("apply").exits(0);
    assert_eq!((w.runs("staging"), w.read("staging/current/lib/code")), ("web".to_owned(), "lib".to_owned()));
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "a".repeat(64));
    w.write("app/web/film", &pointer);
    w.git_in("app", &["add", "web/film"]);
    w.git_in("app", &["commit", "-q", "-m", "lfs"]);
    release(&w, &w.git_in("app", &["rev-parse", "HEAD"])).exits(1).says("web/film").says("Git LFS");
    assert_eq!(w.runs("staging"), "web");
}

#[test]
fn a_path_that_only_the_controller_knows_is_refused() {
    let w = app(HOST, "");
    w.edit("repository = \"$DIR/app\"", "repository = \"../app\"");
    w.soll("validate").exits(1).says("the hosts cannot fetch from `../app`").says("an absolute path");
}

#[test]
fn without_git_a_host_says_so_and_nothing_is_touched() {
    let mut w = app(HOST, "");
    w.write("nothing/here", "");
    w.set("PATH", "$DIR/nothing");
    w.soll("apply").exits(1).says("`git` cannot be started").says("fetch_from");
    assert!(!w.path("staging/current").exists());
    w.set("PATH", &std::env::var("PATH").unwrap());
    // A first deployment that did not come to its end leaves nothing that is taken for an application.
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "one");
}

#[test]
fn a_host_that_lost_its_controller_ends_its_git_and_gives_the_root_back() {
    let mut w = app(HOST, "");
    w.soll("apply").exits(0);
    let second = grow(&w, &[("index.html", "two")]);
    w.soll(&format!("release staging {second}")).exits(0);
    Hanging::server(&mut w);
    let mut running = w.start("apply staging", "apply.log");
    until("git asks", || Hanging(&w).pid());
    running.child.kill().unwrap();
    running.wait();
    until("git was ended", || (!Hanging(&w).lives()).then_some(()));
    w.set("GIT_CONFIG_GLOBAL", "/dev/null");
    fs::remove_file(w.path("home/.gitconfig")).unwrap();
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "two");
}

/// What git cannot make small.
fn noise(seed: u64, length: usize) -> String {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + u8::try_from((state >> 40) % 90).unwrap())
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn where_there_is_no_room_for_it_old_releases_go_first() {
    const MIB: usize = 1 << 20;
    let w = app(HOST, "keep_releases = 3");
    let disk = Disk::on(w.path("staging"), "12m");
    for seed in [1, 2] {
        let sha = grow(&w, &[("data", &noise(seed, MIB)), ("index.html", &seed.to_string())]);
        release(&w, &sha).exits(0);
    }
    let third = grow(&w, &[("data", &noise(3, MIB)), ("index.html", "3")]);
    disk.resize("7300k");
    release(&w, &third).exits(1).says("make room");
    assert_eq!((w.runs("staging"), w.quarantined("staging")), ("2".to_owned(), vec![]));
    w.edit("keep_releases = 3", "keep_releases = 2");
    w.soll("apply").exits(0).says("there was no room for it beside");
    assert_eq!(w.runs("staging"), "3");
}
