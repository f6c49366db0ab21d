//! Law 10: the accepted commit only moves forward, and only on allowed signatures where they are asked for.

use crate::support::world::World;

/// The host runs `b`; then the state branch is rewritten so that this commit is lost and `d` is asked for.
fn rewritten() -> World {
    let w = World::staging("");
    w.bundle('d', &[]);
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(0);
    w.git(&["reset", "-q", "--hard", "HEAD~1"]);
    w.edit("release = \"<a>\"", "release = \"<d>\"");
    w
}

/// What is told of the lost commit.
const LOST: &str = "Release bbbbbbbb to staging";

#[test]
fn a_force_push_is_refused_until_it_is_acknowledged() {
    let w = rewritten();
    let before = w.tree("staging");
    for _ in 0..2 {
        w.soll("apply").exits(4).says("the branch was rewritten").says("lost:").says(LOST).says("soll acknowledge");
    }
    assert_eq!(w.tree("staging"), before);
    w.soll("acknowledge").exits(0).says(LOST).says("is accepted here and on 1 host");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "d");
    w.soll("acknowledge").exits(0).hides("lost");
}

#[test]
fn a_controller_that_lost_its_disk_is_stopped_by_the_hosts() {
    let w = rewritten();
    std::fs::remove_dir_all(w.path("ctl")).unwrap();
    let before = w.tree("staging");
    for _ in 0..2 {
        w.soll("apply").exits(4).says("the branch was rewritten").says(LOST);
    }
    assert_eq!(w.tree("staging"), before);
    w.soll("acknowledge").exits(0).says(LOST).says("on 1 host");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "d");
}

/// A plan says what `apply` would refuse.
#[test]
fn a_controller_that_lost_its_disk_says_so_before_it_is_stopped() {
    let w = rewritten();
    std::fs::remove_dir_all(w.path("ctl")).unwrap();
    let plan = w.soll("plan --output json").exits(0).json();
    let blockers = plan["environments"][0]["blockers"].as_array().unwrap().clone();
    let rewritten = blockers.iter().find(|blocker| blocker["code"] == "rewritten").unwrap_or_else(|| panic!("{plan}"));
    assert_eq!((&plan["verdict"], &rewritten["grade"]), (&"blocked".into(), &"P0".into()));
    w.soll("plan").exits(0).says("NO-GO").says("its hosts acted on another line of commits").says("soll acknowledge");
    w.soll("status").exits(0).says("blocked").says("its hosts acted on another line of commits");
    w.soll("why staging").exits(0).says("ts hosts acted on another line of commits");
    let before = w.tree("staging");
    w.soll("provision staging").exits(4).says("the branch was rewritten");
    w.soll("adopt staging").exits(4).says("the branch was rewritten");
    assert_eq!(w.tree("staging"), before);
    w.soll("provision staging --dry-run").exits(0);
    w.soll("acknowledge").exits(0);
    w.soll("provision staging").exits(0);
    w.soll("plan").exits(0).says("GO").hides("another line");
}

#[test]
fn an_older_clone_acts_on_nothing() {
    let mut w = World::staging("");
    w.git(&["clone", "-q", ".", w.path("clone").to_str().unwrap()]);
    std::fs::create_dir_all(w.path("clone/bundles")).unwrap();
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(0);
    w.set("SOLL_REPO", "$DIR/clone");
    w.set("SOLL_STATE_DIR", "$DIR/laptop");
    w.soll("apply").exits(4);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn the_daemon_stops_at_a_force_push_and_goes_on_after_the_acknowledgement() {
    use crate::support::world::until;
    let mut w = rewritten();
    w.set("SOLL_POLL", "100ms");
    let daemon = w.start("run", "daemon.log");
    until("it is told", || w.read("daemon.log").contains("not acted on: the branch was rewritten").then_some(()));
    assert_eq!(w.runs("staging"), "b");
    w.soll("acknowledge").exits(0);
    until("it goes on", || (w.runs("staging") == "d").then_some(()));
    assert_eq!(daemon.stop(), Some(0));
}

/// Keys of Ann, who is allowed, and of Eve, who is not.
fn signed() -> World {
    let mut w = World::staging("");
    for name in ["ann", "eve"] {
        let made = w
            .program("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(w.path(name))
            .status();
        assert!(made.unwrap().success());
    }
    w.write("signers", &format!("ann@example.com {}", w.read("ann.pub")));
    w.git(&["config", "gpg.format", "ssh"]);
    w.set("SOLL_ALLOWED_SIGNERS", "$DIR/signers");
    w
}

/// A commit that asks for this release, signed by nobody or by this person.
fn ask(w: &World, letter: char, signer: Option<&str>) {
    let text = w.read("state/desired-state.toml");
    let at = text.find("release = \"").unwrap() + "release = \"".len();
    std::fs::write(
        w.path("state/desired-state.toml"),
        text[..at].to_owned() + &w.fill(&format!("<{letter}>")) + &text[at + 40..],
    )
    .unwrap();
    w.git(&["add", "-A"]);
    let key = signer.map(|name| w.path(name).display().to_string());
    match key {
        Some(key) => {
            w.git(&["-c", &format!("user.signingkey={key}"), "commit", "-q", "--allow-empty", "-S", "-m", "signed"])
        }
        None => w.git(&["commit", "-q", "-m", "not signed"]),
    };
}

#[test]
fn only_commits_signed_by_allowed_people_are_acted_on() {
    let w = signed();
    let before = w.tree("staging");
    ask(&w, 'b', None);
    w.soll("apply").exits(4).says("not signed").says("is not accepted");
    ask(&w, 'b', Some("eve"));
    w.soll("apply").exits(4);
    assert_eq!(w.tree("staging"), before);
}

#[test]
fn a_signed_commit_is_acted_on_and_one_that_hides_behind_it_is_not() {
    let w = signed();
    ask(&w, 'b', Some("ann"));
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
    // Eve's commit in the middle, Ann's on top.
    ask(&w, 'c', None);
    ask(&w, 'a', Some("ann"));
    w.soll("apply").exits(4).says("not signed");
    assert_eq!(w.runs("staging"), "b");
    // An acknowledgement does not help: it is about rewriting, not about signatures.
    w.soll("acknowledge").exits(4);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn the_programs_own_commits_are_signed_where_that_is_required() {
    let mut w = signed();
    ask(&w, 'b', Some("ann"));
    w.soll("apply").exits(0);
    w.set("SOLL_SIGNING_KEY", "$DIR/ann");
    w.soll("rollback staging").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
}
