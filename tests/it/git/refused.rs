//! Commits that are not taken: nothing is touched for them.

use super::{app, commit, grow, release};
use crate::support::world::World;

/// Whatever was tried, the first release runs, and nobody is condemned for it.
#[track_caller]
fn untouched(w: &World) {
    assert_eq!((w.runs("staging"), w.quarantined("staging")), ("one".to_owned(), vec![]));
    assert_eq!(std::fs::read_dir(w.path("staging/releases")).unwrap().count(), 1);
}

#[test]
fn a_commit_that_is_not_there_blocks_and_is_named() {
    let w = app("", "");
    w.soll("apply").exits(0);
    let unknown = "0123456789abcdef0123456789abcdef01234567";
    release(&w, unknown).exits(1).says("no branch or tag of").says("leads to a commit 01234567").says("push it there");
    untouched(&w);
    let plan = w.soll("plan --output json").exits(0).json();
    let blockers = plan["environments"][0]["blockers"].as_array().unwrap().clone();
    assert!(blockers.iter().any(|one| one["code"] == "commit-missing" && one["grade"] == "P1"), "{blockers:?}");
    w.soll("preflight staging").exits(1);
    w.soll("why staging").exits(0).says("leads to a commit");
    // It is pushed: what was said of it is not remembered.
    let second = grow(&w, &[("index.html", "two")]);
    release(&w, &second).exits(0);
}

#[test]
fn a_commit_that_no_branch_or_tag_leads_to_is_a_strangers() {
    let w = app("", "");
    w.soll("apply").exits(0);
    // As a forge has it of a fork: there, given out by its id, and in no branch.
    w.git_in("app", &["checkout", "-q", "--detach"]);
    let stray = grow(&w, &[("index.html", "theirs")]);
    w.git_in("app", &["update-ref", "refs/pull/1/head", &stray]);
    w.git_in("app", &["checkout", "-q", "main"]);
    w.git_in("app", &["config", "uploadpack.allowAnySHA1InWant", "true"]);
    release(&w, &stray).exits(1).says("no branch or tag of");
    untouched(&w);
    // An older commit of a branch is one of ours, and so is one that a tag alone leads to.
    w.git_in("app", &["tag", "theirs-is-ours-now", &stray]);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "theirs");
    let older = grow(&w, &[("index.html", "older")]);
    grow(&w, &[("index.html", "newer")]);
    release(&w, &older).exits(0);
    assert_eq!(w.runs("staging"), "older");
    // A branch that goes takes nothing back: what came stays good.
    w.git_in("app", &["tag", "-d", "theirs-is-ours-now"]);
    release(&w, &stray).exits(0);
    assert_eq!(w.runs("staging"), "theirs");
}

#[test]
fn files_that_lfs_keeps_elsewhere_are_refused_by_name() {
    let w = app("", "");
    w.soll("apply").exits(0);
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "a".repeat(64));
    w.write("app/.gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    let lfs = grow(&w, &[("media/film.bin", &pointer), ("index.html", "two")]);
    release(&w, &lfs).exits(1).says("media/film.bin").says("Git LFS").says("export-ignore");
    untouched(&w);
    let without = grow(&w, &[(".gitattributes", "media export-ignore\n")]);
    release(&w, &without).exits(0);
    assert_eq!(w.runs("staging"), "two");
}

#[test]
fn submodules_that_nobody_asked_for_are_refused_by_name() {
    let w = app("", "");
    w.soll("apply").exits(0);
    w.write("lib/code", "x");
    w.git_in("lib", &["init", "-q", "-b", "main"]);
    let lib = commit(&w, "lib");
    w.git_in("app", &["update-index", "--add", "--cacheinfo", &format!("160000,{lib},vendor/lib")]);
    w.git_in("app", &["commit", "-q", "-m", "a submodule"]);
    let with = w.git_in("app", &["rev-parse", "HEAD"]);
    release(&w, &with).exits(1).says("vendor/lib").says("submodules = true");
    untouched(&w);
}

#[test]
fn members_that_would_leave_the_release_are_refused() {
    let w = app("", "");
    w.soll("apply").exits(0);
    std::os::unix::fs::symlink("../../../../etc/passwd", w.path("app/out")).unwrap();
    let out = grow(&w, &[("index.html", "two")]);
    release(&w, &out).exits(1).says("out").says("links_out");
    untouched(&w);
}
