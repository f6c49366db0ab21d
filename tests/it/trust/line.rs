//! Signatures along the whole line (law 10): nobody's signature launders what lies below it.

use super::{guarded, signs};
use crate::support::world::{Ran, World, env, until};

/// A commit of the state file's release of staging, by whoever signs at the moment.
fn ask(w: &World, letter: char) -> String {
    let text = w.read("state/desired-state.toml");
    let at = text.find("[environments.staging]\nrelease = \"").unwrap() + "[environments.staging]\nrelease = \"".len();
    w.commit(&(text[..at].to_owned() + &w.fill(&format!("<{letter}>")) + &text[at + 40..]))
}

/// A controller without any memory.
fn elsewhere(w: &World, line: &str) -> Ran {
    let dir = w.path(&format!("memory-{}", w.git(&["rev-list", "--all", "--count"])));
    let _ = std::fs::remove_dir_all(&dir);
    w.soll(&format!("{line} --state-dir {}", dir.display()))
}

#[test]
fn no_command_builds_a_signed_commit_on_an_unsigned_one() {
    let w = guarded();
    signs(&w, None);
    let head = ask(&w, 'b');
    for command in [
        "release staging <a>",
        "release production <b>",
        "promote staging production",
        "rollback staging",
        "rollback staging --to <a>",
        "freeze staging --reason because",
        "unfreeze staging",
        "approve production",
        "reject production --reason no",
    ] {
        w.soll(command).exits(4).says("is not signed");
        assert_eq!(w.head(), head, "soll {command}");
        // Without a memory it must look at the whole line, and finds it as well.
        elsewhere(&w, command).exits(4).says("is not signed");
        assert_eq!(w.head(), head, "soll {command}");
    }
    assert_eq!(w.runs("staging"), "a");
    // One who may sign looks at it, signs a state of their own on top, and it is refused all the same.
    signs(&w, Some("ann"));
    ask(&w, 'b');
    w.soll("apply").exits(4).says("is not signed");
    elsewhere(&w, "apply").exits(4).says("is not signed");
    assert_eq!(w.runs("staging"), "a");
}

#[test]
fn a_lost_race_is_no_way_around_it() {
    let mut w = guarded();
    // The repository is remote; in the moment of the first push somebody without a key pushes.
    w.git(&["clone", "-q", "--bare", ".", w.path("remote.git").to_str().unwrap()]);
    signs(&w, None);
    let theirs = ask(&w, 'b');
    w.git(&["push", "-q", w.path("remote.git").to_str().unwrap(), "main:theirs"]);
    w.write(
        "remote.git/hooks/update",
        "#!/bin/sh\n[ -e $DIR/raced ] && exit 0\ntouch $DIR/raced\nunset GIT_QUARANTINE_PATH\n\
         git update-ref refs/heads/main refs/heads/theirs\n",
    );
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(w.path("remote.git/hooks/update"), std::fs::Permissions::from_mode(0o755)).unwrap();
    w.set("SOLL_REPO", "file://$DIR/remote.git");
    w.soll("freeze production --reason because --state-dir $DIR/laptop").exits(4).says("is not signed");
    assert!(w.path("raced").exists(), "nobody was faster");
    assert_eq!(w.git_in("remote.git", &["rev-parse", "main"]), theirs);
}

#[test]
fn an_unsigned_ancestor_is_found_without_a_memory() {
    // In the middle of the line.
    let w = guarded();
    signs(&w, None);
    ask(&w, 'b');
    signs(&w, Some("ann"));
    let text = w.read("state/desired-state.toml");
    w.commit(&(text.clone() + "# signed\n"));
    w.commit(&(text + "# and signed\n"));
    elsewhere(&w, "apply").exits(4).says("is not signed").says("trust_since");
    elsewhere(&w, "status").exits(0).says("healthy  idle       aaaaaaaa");
    elsewhere(&w, "release staging <b>").exits(4);
    assert_eq!(w.runs("staging"), "a");

    // On either side of a merge that is signed.
    for ours in [true, false] {
        let w = guarded();
        w.git(&["checkout", "-q", "-b", "side"]);
        signs(&w, None);
        w.write("state/README", "theirs");
        w.commit_all("unsigned");
        signs(&w, Some("ann"));
        w.git(&["checkout", "-q", "main"]);
        w.write("state/OTHER", "ours");
        w.commit_all("signed");
        if !ours {
            w.git(&["checkout", "-q", "side"]);
        }
        w.git(&["merge", "-q", "--no-ff", "-m", "a signed merge", if ours { "side" } else { "main" }]);
        let merge = w.git(&["rev-parse", "HEAD"]);
        w.git(&["checkout", "-q", "-B", "main", &merge]);
        elsewhere(&w, "apply").exits(4).says("is not signed");
        w.soll("apply").exits(4).says("is not signed");
    }
}

#[test]
fn the_root_commit_is_one_of_them_and_trust_since_names_where_signing_began() {
    let mut w = World::with(&env("staging", 'a', ""));
    let root = w.head();
    let began = w.commit(&(w.read("state/desired-state.toml") + "# still unsigned\n"));
    let keys = guarded();
    for file in ["ann", "ann.pub", "signers"] {
        std::fs::copy(keys.path(file), w.path(file)).unwrap();
    }
    w.git(&["config", "gpg.format", "ssh"]);
    signs(&w, Some("ann"));
    let signed = w.commit(&(w.read("state/desired-state.toml") + "# signed\n"));
    w.set("SOLL_ALLOWED_SIGNERS", "$DIR/signers");
    elsewhere(&w, "apply").exits(4).says("is not signed").says(&root[..8]).says("SOLL_TRUST_SINCE");
    elsewhere(&w, &format!("apply --trust-since {root}")).exits(4).says(&began[..8]);
    elsewhere(&w, &format!("status --trust-since {began}")).exits(0);
    // As a variable, as a line of the settings.
    w.write("config.toml", &format!("trust_since = \"{began}\"\n"));
    elsewhere(&w, "status --config $DIR/config.toml").exits(0);
    w.set("SOLL_TRUST_SINCE", &began);
    elsewhere(&w, "apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
    w.set("SOLL_SIGNING_KEY", "$DIR/ann");
    // One that is not on the branch is no beginning; neither is half of one.
    w.git(&["checkout", "-q", "--orphan", "other"]);
    w.commit_all("elsewhere");
    let other = w.git(&["rev-parse", "HEAD"]);
    w.git(&["checkout", "-q", "-f", "main"]);
    for command in ["apply", "status", "plan", "stop staging", "release staging <b>"] {
        let said = w.soll(&format!("{command} --trust-since {other}")).exits(1);
        said.says("is not among the commits of `main`").says("git log --format=%H main");
    }
    w.soll("status --trust-since abc123").exits(1).says("is not a commit").says("git log --format=%H");
    w.soll(&format!("status --trust-since {signed}")).exits(0);
    // What was accepted stays accepted, however much is verified from now on.
    w.soll("apply").exits(0);
    w.set("SOLL_TRUST_SINCE", "");
    w.soll("apply").exits(0);
}

#[test]
fn a_key_that_has_expired_signs_nothing_new_whatever_the_date() {
    let w = guarded();
    let accepted = w.head();
    w.write("signers", &format!("ann@example.com valid-before=\"20200101Z\" {}", w.read("ann.pub")));
    // What was accepted in time stays accepted.
    w.soll("apply").exits(0);
    w.soll("status").exits(0).hides("not acted on");
    let text = w.read("state/desired-state.toml").replacen(&w.fill("<a>"), &w.fill("<b>"), 1);
    w.write("state/desired-state.toml", &text);
    w.git(&["add", "-A"]);
    let mut commit = w.program("git");
    commit.args(["commit", "-q", "-m", "backdated"]).current_dir(w.path("state"));
    commit.env("GIT_AUTHOR_DATE", "2019-01-01T00:00:00Z").env("GIT_COMMITTER_DATE", "2019-01-01T00:00:00Z");
    assert!(commit.status().unwrap().success());
    w.soll("apply").exits(4).says("was valid until 2020-01-01");
    elsewhere(&w, "apply").exits(4).says("was valid until 2020-01-01");
    assert_eq!(w.runs("staging"), "a");
    w.soll("status").exits(0).says(&accepted[..8]);
}

#[test]
fn an_acknowledgement_verifies_the_whole_new_line() {
    let w = guarded();
    w.soll("release staging <b>").exits(0);
    w.soll("release production <b>").exits(0);
    w.soll("apply").exits(0);
    w.git(&["reset", "-q", "--hard", "HEAD~2"]);
    signs(&w, None);
    let hidden = w.commit(&(w.read("state/desired-state.toml") + "# unsigned\n"));
    signs(&w, Some("ann"));
    w.commit(&(w.read("state/desired-state.toml") + "# signed\n"));
    for _ in 0..2 {
        w.soll("acknowledge").exits(4).says("is not signed").says(&hidden[..8]);
        w.soll("apply").exits(4);
    }
    elsewhere(&w, "acknowledge").exits(4).says("is not signed").says(&hidden[..8]);
    assert_eq!(w.runs("staging"), "b");
    w.git(&["reset", "-q", "--hard", "HEAD~2"]);
    w.commit(&(w.read("state/desired-state.toml") + "# signed\n"));
    w.soll("acknowledge").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
}

#[test]
fn a_shallow_clone_is_told_its_cure() {
    let mut w = guarded();
    ask(&w, 'b');
    let url = format!("file://{}", w.path("state").display());
    w.git(&["clone", "-q", "--depth=1", &url, w.path("ci").to_str().unwrap()]);
    w.set("SOLL_REPO", "$DIR/ci");
    for command in ["apply", "status", "plan", "release staging <a>"] {
        elsewhere(&w, command).exits(1).says("git fetch --unshallow");
    }
    w.git_in("ci", &["fetch", "-q", "--unshallow"]);
    elsewhere(&w, "status").exits(0);
}

#[test]
fn without_a_key_nothing_is_committed_where_signatures_count() {
    let mut w = guarded();
    w.set("SOLL_SIGNING_KEY", "");
    let head = w.head();
    for command in ["release staging <b>", "freeze staging --reason x", "rollback staging --to <b>"] {
        w.soll(command).exits(1).says("SOLL_SIGNING_KEY");
        assert_eq!(w.head(), head);
    }
}

#[test]
fn a_daemon_follows_no_branch_onto_an_unsigned_commit() {
    let mut w = guarded();
    signs(&w, Some("ann"));
    w.write("app/index.html", "1");
    w.git(&["init", "-q", "-b", "main", w.path("app").to_str().unwrap()]);
    w.git_in("app", &["add", "-A"]);
    w.git_in("app", &["commit", "-q", "-m", "one"]);
    let sha = w.git_in("app", &["rev-parse", "HEAD"]);
    w.write("build/app/index.html", "followed");
    w.soll(&format!("bundle $DIR/build/app --sha {sha} --out $DIR/state/bundles")).exits(0);
    let text = w.read("state/desired-state.toml");
    w.commit(&text.replacen("[apps.web]\n", "[apps.web]\nrepository = \"$DIR/app\"\n", 1));
    signs(&w, None);
    let text = w.read("state/desired-state.toml");
    let tracked = "[environments.staging]\ntrack = { branch = \"main\" }\n";
    let head = w.commit(&text.replacen("[environments.staging]\n", tracked, 1));
    w.set("SOLL_POLL", "100ms");
    w.soll("apply").exits(4);
    let daemon = w.start("run", "daemon.log");
    until("it is told", || w.read("daemon.log").contains("not acted on").then_some(()));
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(w.head(), head);
}

/// A line of so many signed commits, in one go.
fn long_line(w: &World, commits: usize) {
    let tree = w.git(&["rev-parse", "HEAD^{tree}"]);
    let mut parent = w.head();
    let key = russh::keys::ssh_key::PrivateKey::from_openssh(w.read("ann")).unwrap();
    let repo = git2::Repository::open(w.path("state")).unwrap();
    let who = "Ann <ann@example.com> 1700000000 +0000";
    for n in 0..commits {
        let (headers, message) =
            (format!("tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n"), format!("\ncommit {n}\n"));
        let signature =
            key.sign("git", russh::keys::ssh_key::HashAlg::Sha512, (headers.clone() + &message).as_bytes()).unwrap();
        let armor = signature.to_pem(russh::keys::ssh_key::LineEnding::LF).unwrap();
        let raw = format!("{headers}gpgsig {}\n{message}", armor.trim_end().replace('\n', "\n "));
        parent = repo.odb().unwrap().write(git2::ObjectType::Commit, raw.as_bytes()).unwrap().to_string();
    }
    w.git(&["update-ref", "refs/heads/main", &parent]);
}

#[test]
fn a_long_line_is_verified_once_and_remembered() {
    let commits = if std::env::var_os("SOLL_LONG").is_some() { 5000 } else { 500 };
    let mut w = guarded();
    long_line(&w, commits);
    let line = "status --state-dir $DIR/long";
    let first = w.soll(line).exits(0).says(&format!("{} commits are signed by allowed keys", commits + 1));
    println!("{}", first.stderr);
    // Only what is new from then on.
    w.soll(line).exits(0).hides("are signed by allowed keys");
    signs(&w, Some("ann"));
    ask(&w, 'b');
    w.soll(line).exits(0).hides("are signed by allowed keys").says("out-of-sync  healthy  idle       bbbbbbbb");
    // Another file of signers has verified nothing.
    w.write("others", &format!("# the same people\nann@example.com {}", w.read("ann.pub")));
    w.set("SOLL_ALLOWED_SIGNERS", "$DIR/others");
    w.soll(line).exits(0).says(&format!("{} commits are signed by allowed keys", commits + 2));
    w.write("others", &format!("eve@example.com {}", w.read("eve.pub")));
    w.soll(line).exits(4).says("not among the allowed signers");
}
