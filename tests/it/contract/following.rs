//! Tags and branches of the application's repository (B1, B6).

use crate::support::world::{APP, World, env, until};

/// A world with an application repository of its own; `environments` name its commits as they like.
struct App {
    w: World,
    commits: Vec<String>,
}

impl App {
    fn new() -> App {
        let w = World::new();
        w.write("app/file", "0");
        w.git_in("app", &["init", "-q", "-b", "main"]);
        let mut app = App { w, commits: Vec::new() };
        app.grow(true);
        app
    }

    /// One more commit of the application, with a bundle or without.
    fn grow(&mut self, bundle: bool) -> String {
        let n = self.commits.len();
        self.w.write("app/file", &n.to_string());
        self.w.git_in("app", &["add", "-A"]);
        self.w.git_in("app", &["commit", "-q", "-m", &format!("change {n}")]);
        let sha = self.w.git_in("app", &["rev-parse", "HEAD"]);
        self.commits.push(sha.clone());
        if bundle {
            self.build(&sha, "");
        }
        sha
    }

    fn build(&self, sha: &str, broken: &str) {
        self.w.write(&format!("build/{sha}/index.html"), sha);
        if !broken.is_empty() {
            self.w.write(&format!("build/{sha}/{broken}"), "");
        }
        self.w.soll(&format!("bundle $DIR/build/{sha} --sha {sha} --out $DIR/state/bundles --force")).exits(0);
    }

    fn commit(&self, release: &str, more: &str) {
        let app = APP.replace("[apps.web]\n", "[apps.web]\nrepository = \"$DIR/app\"\n");
        self.w.commit(&format!("{app}{}", env("staging", 'a', more).replace("<a>", release)));
    }

    fn tag(&self, args: &[&str]) {
        self.w.git_in("app", &[&["tag", "-f"], args].concat());
    }
}

#[test]
fn a_tag_is_peeled_and_holds_until_the_next_commit() {
    let mut app = App::new();
    app.tag(&["v1.0", "-a", "-m", "annotated"]);
    app.commit("v1.0", "");
    app.w.soll("plan").exits(0).says(&format!("desired v1.0 ({}", &app.commits[0][..8]));
    app.w.soll("apply").exits(0);
    assert_eq!(app.w.runs("staging"), app.commits[0]);
    // Somebody moves the tag: what runs stays, until a commit of the state repository asks again.
    let second = app.grow(true);
    app.tag(&["v1.0", "-m", "moved"]);
    app.w.soll("apply").exits(0).says("in sync");
    assert_eq!(app.w.runs("staging"), app.commits[0]);
    app.w.commit_all("another commit");
    app.w.soll("apply").exits(0);
    assert_eq!(app.w.runs("staging"), second);
}

#[test]
fn the_way_back_from_a_tag_is_the_commit_before() {
    let mut app = App::new();
    app.tag(&["v1"]);
    app.commit("v1", "");
    app.w.soll("apply").exits(0);
    let second = app.grow(true);
    app.tag(&["v2"]);
    app.w.soll("release staging v2").exits(0);
    app.w.soll("apply").exits(0);
    assert_eq!(app.w.runs("staging"), second);
    app.w.soll("rollback staging").exits(0);
    app.w.soll("apply").exits(0);
    assert_eq!(app.w.runs("staging"), app.commits[0]);
}

#[test]
fn a_tag_that_does_not_exist_is_1_and_never_null() {
    let app = App::new();
    app.tag(&["v1"]);
    app.commit("v2", "");
    app.w.soll("apply").exits(1).says("v2").says("v1");
    app.w.soll("plan").exits(0).says("unresolved");
    // A branch is no tag.
    app.commit("main", "");
    app.w.soll("validate").exits(1);
    app.w.soll("release staging null").exits(1);
}

#[test]
fn a_branch_is_followed_to_the_newest_commit_with_a_bundle() {
    let mut app = App::new();
    let first = app.commits[0].clone();
    app.commit(&first, "track = { branch = \"main\" }");
    app.w.soll("apply").exits(0);
    let second = app.grow(true);
    let third = app.grow(false);
    app.w.soll("apply").exits(0).says("staging follows main to");
    assert_eq!(app.w.runs("staging"), second, "{third} has no bundle");
    let message = app.w.git(&["log", "-1", "--format=%B"]);
    assert!(message.contains("change 1") && message.contains(&format!("Soll-Track: staging {second}")), "{message}");
    assert_eq!(app.w.git(&["status", "--porcelain"]), "");
    app.build(&third, "");
    app.w.soll("apply").exits(0);
    assert_eq!(app.w.runs("staging"), third);
    // Nothing newer, nothing committed.
    let head = app.w.head();
    app.w.soll("apply").exits(0);
    assert_eq!(app.w.head(), head);
}

#[test]
fn a_persons_revert_is_not_undone() {
    let mut app = App::new();
    let first = app.commits[0].clone();
    app.commit(&first, "track = { branch = \"main\" }");
    let second = app.grow(true);
    app.w.soll("apply").exits(0);
    assert_eq!(app.w.runs("staging"), second);
    // It ran first, so that there is something to go back to without its bundle.
    app.w.git(&["revert", "--no-edit", "HEAD"]);
    app.w.soll("apply").exits(0);
    app.w.soll("apply").exits(0);
    assert_eq!(app.w.runs("staging"), first);
    // The next commit of the branch is followed again.
    let third = app.grow(true);
    app.w.soll("apply").exits(0);
    assert_eq!(app.w.runs("staging"), third);
}

#[test]
fn what_failed_is_not_followed_again() {
    let mut app = App::new();
    let first = app.commits[0].clone();
    app.commit(&first, "track = { branch = \"main\" }\nrevert_commit = true");
    app.w.soll("apply").exits(0);
    let bad = app.grow(false);
    app.build(&bad, "broken");
    app.w.soll("apply").exits(3);
    assert_eq!(app.w.runs("staging"), first);
    let head = app.w.head();
    app.w.soll("apply").exits(0).says("in sync");
    assert_eq!((app.w.head(), app.w.runs("staging")), (head, first));
}

#[test]
fn a_frozen_environment_does_not_follow() {
    let mut app = App::new();
    let first = app.commits[0].clone();
    app.commit(&first, "track = { branch = \"main\" }\nfrozen = \"incident 4711\"");
    app.grow(true);
    let head = app.w.head();
    app.w.soll("apply").exits(4);
    assert_eq!(app.w.head(), head);
}

#[test]
fn the_daemon_follows_by_itself() {
    let mut app = App::new();
    let first = app.commits[0].clone();
    app.commit(&first, "track = { branch = \"main\" }");
    app.w.set("SOLL_POLL", "200ms");
    let daemon = app.w.start("run", "daemon.log");
    until("the first release", || (app.w.runs("staging") == first).then_some(()));
    let second = app.grow(true);
    until("the second release", || (app.w.runs("staging") == second).then_some(()));
    assert_eq!(daemon.stop(), Some(0), "{}", app.w.read("daemon.log"));
    assert!(app.w.read("daemon.log").contains("staging follows main to"), "{}", app.w.read("daemon.log"));
}
