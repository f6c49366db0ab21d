//! Clones that others made: the checkouts of CI, of other users, of a newer Git. Each is made by git itself, and the line that
//! a message proposes is run as it stands there.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::world::{Ran, World, env};

/// A world whose state repository has a bare copy `forge.git`, with a pull request 7 that wants release `b`.
fn world() -> World {
    let w = World::with("");
    let state = |letter| format!("{}{}", crate::support::world::APP, env("staging", letter, ""));
    w.commit(&state('c'));
    w.git(&["checkout", "-q", "-b", "wish"]);
    w.commit_all("nothing yet");
    w.write("state/desired-state.toml", &state('b'));
    w.commit_all("a wish");
    w.git(&["checkout", "-q", "main"]);
    w.commit(&state('a'));
    w.git(&["checkout", "-q", "--detach"]);
    w.git(&["merge", "-q", "--no-ff", "-X", "theirs", "-m", "merge", "wish"]);
    w.git(&["update-ref", "refs/pull/7/merge", "HEAD"]);
    w.git(&["checkout", "-q", "main"]);
    w.git(&["branch", "-q", "-D", "wish"]);
    w.git(&["clone", "-q", "--mirror", ".", w.path("forge.git").to_str().unwrap()]);
    for key in ["uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"] {
        w.git_in("forge.git", &["config", key, "true"]);
    }
    w
}

fn forge(w: &World) -> String {
    format!("file://{}", w.path("forge.git").display())
}

/// The checkout that CI makes at `$DIR/ci`: what is fetched, how deep, and what is checked out. Every command reads it from
/// now on.
fn checkout(w: &mut World, depth: &str, refspecs: &[&str], what: &[&str]) {
    fs::create_dir(w.path("ci")).unwrap();
    w.git_in("ci", &["init", "-q", "-b", "unborn"]);
    w.git_in("ci", &["remote", "add", "origin", &forge(w)]);
    let fetch = ["fetch", "-q", "--no-tags", "--prune", depth, "origin"];
    let words: Vec<&str> = fetch.iter().chain(refspecs).copied().filter(|word| !word.is_empty()).collect();
    w.git_in("ci", &words);
    w.git_in("ci", &[&["checkout", "-q", "--force"], what].concat());
    w.set("SOLL_REPO", "$DIR/ci");
}

/// A clone at `$DIR/ci` that every command reads from now on.
fn clone(w: &mut World, options: &[&str]) {
    let (from, to) = (forge(w), w.path("ci").display().to_string());
    w.git(&[&["clone", "-q"], options, &[&from, &to]].concat());
    w.set("SOLL_REPO", "$DIR/ci");
}

/// Runs the line of git that a message proposes.
#[track_caller]
fn run_line(w: &World, said: &Ran) {
    let line = said.stderr.split('`').skip(1).step_by(2).find(|line| line.starts_with("git "));
    let line = line.unwrap_or_else(|| panic!("no line is proposed: {}", said.stderr));
    // Some are to be run in the clone.
    let dir = if line.contains("-C ") || line.contains("clone ") { w.path("") } else { w.path("ci") };
    let done = w.program("sh").args(["-c", line]).current_dir(dir).stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
}

/// The commit that is planned, and the release that it wants.
#[track_caller]
fn planned(w: &World, line: &str) -> (String, String) {
    let plan = w.soll(&format!("plan --output json {line}")).exits(0).json();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (text(&plan["commit"]), text(&plan["environments"][0]["desired"])[..1].to_owned())
}

fn id(w: &World, dir: &str, rev: &str) -> String {
    w.git_in(dir, &["rev-parse", rev])
}

#[test]
fn a_pull_request_checked_out_by_itself_is_planned() {
    let mut w = world();
    let merge = id(&w, "forge.git", "refs/pull/7/merge");
    let fetched = format!("+{merge}:refs/remotes/pull/7/merge");
    checkout(&mut w, "--depth=1", &[&fetched], &["refs/remotes/pull/7/merge"]);
    for rev in ["HEAD", "refs/pull/7/merge", "pull/7/merge", &merge, &merge[..9]] {
        assert_eq!(planned(&w, &format!("--ref {rev}")), (merge.clone(), "b".to_owned()), "{rev}");
    }
    w.soll("plan --ref HEAD").exits(0).says("no host is looked at");
    let said = w.soll("status").exits(1).says("has no branch `main`");
    run_line(&w, &said);
    w.soll("status").exits(0);
    w.soll("plan --ref HEAD").exits(0).hides("no host is looked at");
    assert_eq!(planned(&w, ""), (w.head(), "a".to_owned()));
}

#[test]
fn the_whole_history_is_fetched_for_a_pull_request() {
    let mut w = world();
    let all = ["+refs/heads/*:refs/remotes/origin/*", "+refs/pull/7/merge:refs/remotes/pull/7/merge"];
    checkout(&mut w, "", &all, &["refs/remotes/pull/7/merge"]);
    assert_eq!(planned(&w, "--ref HEAD").1, "b");
    assert_eq!(planned(&w, ""), (w.head(), "a".to_owned()));
    w.soll("plan --ref HEAD").exits(0).hides("no host is looked at");
}

#[test]
fn a_commit_of_the_branch_is_checked_out_detached() {
    let mut w = world();
    let head = w.head();
    let both = [format!("+{head}:refs/pipelines/1"), "+refs/heads/main:refs/remotes/origin/main".to_owned()];
    checkout(&mut w, "--depth=20", &[&both[0], &both[1]], &[&head]);
    assert_eq!(planned(&w, ""), (head.clone(), "a".to_owned()));
    assert_eq!(planned(&w, "--ref main"), (head.clone(), "a".to_owned()));
    w.soll("status").exits(0);
    // What is committed wants a branch, not what was fetched of one.
    let said = w.soll("release staging <b>").exits(1).says("has no branch `main`");
    run_line(&w, &said);
    w.soll("release staging <b>").exits(0);
    assert_eq!(planned(&w, "").1, "b");
}

#[test]
fn a_shallow_clone_of_the_branch_is_read_as_far_as_it_goes() {
    let mut w = world();
    let head = w.head();
    checkout(
        &mut w,
        "--depth=1",
        &[&format!("+{head}:refs/remotes/origin/main")],
        &["-B", "main", "refs/remotes/origin/main"],
    );
    assert_eq!(planned(&w, "--branch refs/heads/main"), (head, "a".to_owned()));
    // As the remote of another one it has nothing that may be taken.
    w.set("SOLL_REPO", "file://$DIR/ci");
    let said = w.soll("plan").exits(1).says("is a shallow clone");
    run_line(&w, &said);
    assert_eq!(planned(&w, "").1, "a");
}

#[test]
fn another_users_clone_is_taken_when_git_takes_it() {
    let mut w = world();
    clone(&mut w, &[]);
    let chown = |owner: &str| {
        let done = Command::new("chown").args(["-R", owner, w.path("ci").to_str().unwrap()]).status().unwrap();
        assert!(done.success());
    };
    chown("1234:1234");
    for place in ["$DIR/ci", "$DIR/ci/.git"] {
        w.set("SOLL_REPO", place);
        w.soll("plan").exits(1).says("belongs to another user").says("safe.directory");
    }
    w.set("SOLL_REPO", "$DIR/ci");
    // Each way to configure Git that the line may write to, and the one that writes to no file.
    for (name, value) in [("GIT_CONFIG_GLOBAL", "$DIR/gitconfig"), ("GIT_CONFIG_GLOBAL", "$DIR/home/.gitconfig")] {
        w.set(name, value);
        let said = w.soll("plan").exits(1);
        run_line(&w, &said);
        assert_eq!(planned(&w, "").1, "a");
        fs::remove_file(w.path(value.trim_start_matches("$DIR/"))).unwrap();
        w.soll("plan").exits(1);
    }
    w.set("GIT_CONFIG_GLOBAL", "/dev/null");
    for (name, value) in [("COUNT", "1"), ("KEY_0", "safe.directory"), ("VALUE_0", "$DIR/ci")] {
        w.set(&format!("GIT_CONFIG_{name}"), value);
    }
    assert_eq!(planned(&w, "").1, "a");
    // What Git itself does in it is taken as well.
    w.set("SOLL_PUSH", "1");
    w.soll("release staging <b>").exits(0);
    assert_eq!(id(&w, "forge.git", "main"), id(&w, "ci", "main"));
    assert_eq!(planned(&w, "").1, "b");
}

#[test]
fn the_branch_is_called_master() {
    let mut w = world();
    w.git_in("forge.git", &["branch", "-q", "-m", "main", "master"]);
    w.git_in("forge.git", &["symbolic-ref", "HEAD", "refs/heads/master"]);
    clone(&mut w, &[]);
    let head = id(&w, "ci", "HEAD");
    for place in ["$DIR/ci", "file://$DIR/forge.git"] {
        w.set("SOLL_REPO", place);
        w.soll("plan").exits(1).says("has no branch `main`: it has `master`; `--branch master` or SOLL_BRANCH=master");
        assert_eq!(planned(&w, "--branch master"), (head.clone(), "a".to_owned()));
    }
    w.git_in("ci", &["checkout", "-q", "--detach"]);
    w.git_in("ci", &["branch", "-q", "-D", "master"]);
    w.set("SOLL_REPO", "$DIR/ci");
    w.soll("plan").exits(1).says("`--branch master`");
    w.set("SOLL_BRANCH", "master");
    assert_eq!(planned(&w, "").0, head);
}

#[test]
fn a_ref_of_the_forge_is_named_in_full() {
    let mut w = world();
    let merge = id(&w, "forge.git", "refs/pull/7/merge");
    clone(&mut w, &[]);
    let said = w.soll("plan --ref refs/pull/7/merge").exits(1).says("names no commit");
    run_line(&w, &said);
    assert_eq!(planned(&w, "--ref refs/pull/7/merge").0, merge);
    w.set("SOLL_REPO", "file://$DIR/forge.git");
    assert_eq!(planned(&w, "--ref refs/pull/7/merge").0, merge);
    assert_eq!(planned(&w, "--ref refs/pull/7/merge~1").0, w.head());
    assert_eq!(planned(&w, "--ref refs/heads/main").0, w.head());
    w.soll("plan --ref refs/pull/8/merge").exits(1).says("there is no such id, branch or tag");
}

#[test]
fn a_branch_is_never_mistaken_for_a_tag_and_a_tree_for_no_commit() {
    let mut w = world();
    let (head, old) = (w.head(), id(&w, "forge.git", "main~1"));
    w.git_in("forge.git", &["branch", "-q", "feature", "refs/pull/7/merge"]);
    for name in ["main", "feature", "v1"] {
        w.git_in("forge.git", &["tag", "-m", "x", name, &old]);
    }
    for (name, what) in [("tree", "main^{tree}"), ("blob", "main:desired-state.toml")] {
        w.git_in("forge.git", &["tag", "-m", "x", name, what]);
        w.git_in("forge.git", &["tag", &format!("light-{name}"), what]);
    }
    clone(&mut w, &[]);
    let feature = id(&w, "forge.git", "refs/heads/feature");
    for place in ["$DIR/ci", "file://$DIR/forge.git"] {
        w.set("SOLL_REPO", place);
        for (rev, commit) in [("main", &head), ("feature", &feature), ("v1", &old), ("main~1", &old)] {
            assert_eq!(planned(&w, &format!("--ref {rev}")).0, *commit, "{place} {rev}");
        }
        for (rev, commit) in [("tags/main", &old), ("refs/tags/feature", &old), ("origin/feature", &feature)] {
            assert_eq!(planned(&w, &format!("--ref {rev}")).0, *commit, "{place} {rev}");
        }
        for kind in ["tree", "blob"] {
            w.soll(&format!("plan --ref {kind}")).exits(1).says(&format!("it is a {kind}"));
            w.soll(&format!("plan --ref light-{kind}")).exits(1).says(&format!("it is a {kind}"));
        }
        w.soll(&format!("plan --ref {}", id(&w, "ci", "HEAD^{tree}"))).exits(1).says("it is a tree");
    }
}

#[test]
fn an_index_of_another_form_is_in_nobodys_way_until_it_is_written() {
    for (form, made) in [
        ("split index", &["config core.splitIndex true", "update-index --split-index"][..]),
        ("sparse index", &["sparse-checkout set --cone --sparse-index environments"]),
    ] {
        let mut w = world();
        w.write("state/docs/x.md", "x");
        w.git(&["add", "-A"]);
        w.git(&["commit", "-q", "-m", "docs"]);
        w.git(&["push", "-q", w.path("forge.git").to_str().unwrap(), "main"]);
        clone(&mut w, &[]);
        for line in made {
            w.git_in("ci", &line.split(' ').collect::<Vec<_>>());
        }
        w.soll("plan").exits(0);
        let said = w.soll("release staging <b>").exits(1).says(form).says("nothing was changed");
        assert_eq!(planned(&w, "").1, "a");
        run_line(&w, &said);
        w.soll("release staging <b>").exits(0);
        assert_eq!(planned(&w, "").1, "b");
        assert_eq!(w.git_in("ci", &["status", "--porcelain"]), "");
    }
}

#[test]
fn a_file_that_a_sparse_checkout_leaves_out_is_released_all_the_same() {
    let mut w = world();
    let main = format!("include = [\"environments/*.toml\"]\n{}", crate::support::world::APP);
    w.write("state/environments/staging.toml", &env("staging", 'a', ""));
    w.commit(&main);
    w.git(&["push", "-q", w.path("forge.git").to_str().unwrap(), "main"]);
    clone(&mut w, &[]);
    w.git_in("ci", &["sparse-checkout", "set", "--cone", "--no-sparse-index", "elsewhere"]);
    assert!(!w.path("ci/environments").exists());
    w.soll("release staging <b>").exits(0);
    assert_eq!(planned(&w, "").1, "b");
    assert!(!w.path("ci/environments").exists());
    assert_eq!(w.git_in("ci", &["status", "--porcelain"]), "");
    w.git_in("ci", &["sparse-checkout", "disable"]);
    assert!(w.read("ci/environments/staging.toml").contains(&"b".repeat(40)));
}

#[test]
fn what_a_partial_clone_leaves_out_is_fetched_when_it_is_read() {
    for options in [
        &["--filter=blob:none", "--no-checkout"][..],
        &["--filter=tree:0", "--no-checkout"],
        &["--filter=blob:none", "--sparse"],
        &["--filter=blob:none", "--bare"],
    ] {
        let mut w = world();
        let main = format!("include = [\"environments/*.toml\"]\n{}", crate::support::world::APP);
        for name in ["one", "two", "staging"] {
            w.write(&format!("state/environments/{name}.toml"), &env(name, 'a', ""));
        }
        w.commit(&main);
        w.git(&["push", "-q", w.path("forge.git").to_str().unwrap(), "main"]);
        clone(&mut w, options);
        let plan = w.soll("plan --output json").exits(0).json();
        assert_eq!(plan["environments"].as_array().unwrap().len(), 3, "{options:?}");
        assert_eq!(planned(&w, "--ref HEAD~1").1, "a", "{options:?}");
        // Without its remote it says so, and what it has is read.
        fs::rename(w.path("forge.git"), w.path("away")).unwrap();
        w.soll("plan").exits(0);
        w.soll("plan --ref HEAD~2").exits(1).says("could not fetch what its partial clone has left out");
    }
}

#[test]
fn objects_with_sha256_ids_are_told_with_the_way_out() {
    let mut w = world();
    w.git(&["init", "-q", "-b", "main", "--object-format=sha256", w.path("ci").to_str().unwrap()]);
    fs::copy(w.path("state/desired-state.toml"), w.path("ci/desired-state.toml")).unwrap();
    w.git_in("ci", &["add", "-A"]);
    w.git_in("ci", &["commit", "-q", "-m", "one"]);
    w.set("SOLL_REPO", "$DIR/ci");
    let said = w.soll("plan").exits(1).says("has objects with SHA-256 ids");
    run_line(&w, &said);
    w.set("SOLL_REPO", "$DIR/ci-sha1.git");
    assert_eq!(planned(&w, "").1, "a");
    fs::remove_dir_all(w.path("ci-sha1.git")).unwrap();
    w.set("SOLL_REPO", "file://$DIR/ci");
    let said = w.soll("plan").exits(1).says("has objects with SHA-256 ids");
    run_line(&w, &said);
    w.set("SOLL_REPO", "$DIR/ci-sha1.git");
    assert_eq!(planned(&w, "").1, "a");
}

#[test]
fn refs_in_a_reftable_are_told_with_the_way_out() {
    let mut w = world();
    let mut made = w.program("git");
    made.args(["clone", "-q", "--ref-format=reftable", &forge(&w)]).arg(w.path("ci"));
    let real = made.output().unwrap().status.success();
    if !real {
        // A Git that cannot make one: what tells such a repository is there, and the line wants a newer Git.
        clone(&mut w, &[]);
        w.git_in("ci", &["config", "core.repositoryformatversion", "1"]);
        fs::write(w.path("ci/.git/config"), w.read("ci/.git/config") + "[extensions]\n\trefstorage = reftable\n")
            .unwrap();
    }
    w.set("SOLL_REPO", "$DIR/ci");
    let said = w.soll("plan").exits(1).says("keeps its refs as a reftable").says("--ref-format=files");
    if real {
        run_line(&w, &said);
        w.set("SOLL_REPO", "$DIR/ci-files");
        assert_eq!(planned(&w, "").1, "a");
    }
}

#[test]
fn linked_work_trees_and_borrowed_objects_are_read_like_others() {
    let mut w = world();
    w.git(&["worktree", "add", "-q", "--detach", w.path("ci").to_str().unwrap(), "main"]);
    w.git(&["clone", "-q", "--shared", ".", w.path("shared").to_str().unwrap()]);
    for place in ["$DIR/ci", "$DIR/shared"] {
        w.set("SOLL_REPO", place);
        assert_eq!(planned(&w, "").1, "a");
    }
}
