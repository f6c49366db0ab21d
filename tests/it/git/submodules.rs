//! Submodules that belong to the release.

use super::{app, commit, desire, grow, release, staging};
use crate::support::world::World;

const WITH: &str = "checkout = { submodules = true }";

/// A repository `$DIR/NAME` whose only file is `code`.
fn library(w: &World, name: &str, code: &str) -> String {
    w.write(&format!("{name}/code"), code);
    w.git_in(name, &["init", "-q", "-b", "main"]);
    commit(w, name)
}

/// Makes a commit a submodule of a repository at `path`, as `git submodule add` does, without cloning it.
fn link(w: &World, repository: &str, path: &str, url: &str, sha: &str) {
    let before = w.read(&format!("{repository}/.gitmodules"));
    w.write(
        &format!("{repository}/.gitmodules"),
        &format!("{before}[submodule \"{path}\"]\npath = {path}\nurl = {url}\n"),
    );
    w.git_in(repository, &["add", ".gitmodules"]);
    w.git_in(repository, &["update-index", "--add", "--cacheinfo", &format!("160000,{sha},{path}")]);
    w.git_in(repository, &["commit", "-q", "-m", "a submodule"]);
}

fn head(w: &World, repository: &str) -> String {
    w.git_in(repository, &["rev-parse", "HEAD"])
}

#[test]
fn they_are_below_their_paths_with_theirs_below_them() {
    let w = app(WITH, "");
    let inner = library(&w, "inner", "inner");
    library(&w, "lib", "lib");
    link(&w, "lib", "deep/inner", "../inner", &inner);
    w.write("lib/.gitattributes", "left-out export-ignore\n");
    w.write("lib/left-out", "x");
    w.git_in("lib", &["add", ".gitattributes", "left-out"]);
    w.git_in("lib", &["commit", "-q", "-m", "attributes"]);
    let lib = head(&w, "lib");
    link(&w, "app", "vendor/lib", "../lib", &lib);
    let first = head(&w, "app");
    desire(&w, WITH, &staging(&first, ""));
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "one");
    assert_eq!(w.read("staging/current/vendor/lib/code"), "lib");
    assert_eq!(w.read("staging/current/vendor/lib/deep/inner/code"), "inner");
    assert!(!w.path("staging/current/vendor/lib/left-out").exists(), "each goes by its own attributes");
    w.soll("plan --detailed-exitcode").exits(0);

    // Another commit of it is a change of the application, and only what changed is sent.
    w.write("lib/code", "lib 2");
    w.git_in("lib", &["add", "code"]);
    w.git_in("lib", &["commit", "-q", "-m", "two"]);
    let moved = head(&w, "lib");
    w.git_in("app", &["update-index", "--cacheinfo", &format!("160000,{moved},vendor/lib")]);
    w.git_in("app", &["commit", "-q", "-m", "moved"]);
    release(&w, &head(&w, "app")).exits(0).says("1 of");
    assert_eq!(w.read("staging/current/vendor/lib/code"), "lib 2");
}

#[test]
fn with_and_without_them_are_two_releases_of_one_commit() {
    let w = app("checkout = { directory = \"web\" }", "");
    let lib = library(&w, "lib", "lib");
    grow(&w, &[("web/index.html", "web")]);
    link(&w, "app", "vendor/lib", "../lib", &lib);
    let first = head(&w, "app");
    desire(&w, "checkout = { directory = \"web\" }", &staging(&first, ""));
    // Beside the directory that is deployed there may be any.
    w.soll("apply").exits(0);
    w.edit("directory = \"web\"", "directory = \"web\", submodules = true");
    w.soll("plan --detailed-exitcode").exits(2).says("with its submodules");
    w.soll("apply").exits(0);
    w.soll("plan --detailed-exitcode").exits(0);
    assert!(!w.path("staging/current/vendor").exists());
}

#[test]
fn what_cannot_be_had_is_told_by_its_path_and_nothing_is_touched() {
    let w = app(WITH, "");
    w.soll("apply").exits(0);
    let lib = library(&w, "lib", "lib");
    let unknown = "f".repeat(40);
    let base = head(&w, "app");
    for (url, sha, why) in [
        ("https://elsewhere.example.com/lib.git", lib.as_str(), "not on the server of the repository that names it"),
        ("../lib", unknown.as_str(), "leads to a commit"),
        ("../nowhere", lib.as_str(), "git could not"),
        ("ext::sh -c x", lib.as_str(), "cannot be used"),
        ("lib", lib.as_str(), "no absolute path"),
    ] {
        w.git_in("app", &["reset", "-q", "--hard", &base]);
        link(&w, "app", "vendor/lib", url, sha);
        let said = release(&w, &head(&w, "app")).exits(1).says(why);
        if url != "../nowhere" {
            said.says("the submodule `vendor/lib`");
        }
        assert_eq!((w.runs("staging"), w.quarantined("staging")), ("one".to_owned(), vec![]));
    }
    w.git_in("app", &["reset", "-q", "--hard", &base]);
    w.git_in("app", &["update-index", "--add", "--cacheinfo", &format!("160000,{lib},vendor/lib")]);
    w.git_in("app", &["commit", "-q", "-m", "without .gitmodules"]);
    release(&w, &head(&w, "app")).exits(1).says("has no `url` in .gitmodules");
}

#[test]
fn a_repository_that_names_itself_has_a_limit() {
    let w = app(WITH, "");
    let mut last = head(&w, "app");
    for level in 0..10 {
        link(&w, "app", &format!("again{level}"), "../app", &last);
        w.git_in("app", &["rm", "-q", "--cached", "--ignore-unmatch", &format!("again{}", level - 1)]);
        w.git_in("app", &["commit", "-q", "--allow-empty", "-m", "one alone"]);
        last = head(&w, "app");
    }
    desire(&w, WITH, &staging(&last, ""));
    w.soll("apply").exits(1).says("is one too many").says("8 levels");
}
