//! A run that is to stop: for a newer commit, for a person, for the end of the program, before and after its switch.

use super::state::Yard;
use crate::support::site::{Daemon, sha};

const QUICK: &[(&str, &str)] = &[("SOLL_POLL", "200ms")];

/// The loop, in a run of commit 2 that waits in a hook of this phase; commit 1 is confirmed.
fn in_hook(phase: &str) -> (Yard, Daemon) {
    let mut yard = Yard::new().slow_hook(phase).env("web", 1, "");
    yard.let_go();
    yard.commit();
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.until("the first commit", || yard.runs("web", 1));
    std::fs::remove_file(yard.site.path("go")).unwrap();
    yard.release("web", 2);
    yard.begins("web", phase, 2);
    (yard, daemon)
}

#[test]
fn a_newer_commit_supersedes_at_the_next_safe_point() {
    let (mut yard, daemon) = in_hook("prepare");
    let commits = daemon.count("commit ");
    yard.release("web", 3);
    daemon.until("the newer commit is heard", || daemon.count("commit ") > commits);
    assert_eq!(yard.began("web", "prepare"), 2, "one run at a time");
    yard.let_go();
    daemon.until("the newer commit", || yard.runs("web", 3));
    assert_eq!(daemon.stop().0, Some(0));
    assert_eq!(yard.results("web"), ["succeeded", "superseded", "succeeded"]);
}

#[test]
fn after_the_switch_a_release_is_judged_first() {
    let (mut yard, daemon) = in_hook("verify");
    assert_eq!(yard.site.live("web"), sha(2));
    let commits = daemon.count("commit ");
    yard.release("web", 3);
    daemon.until("the newer commit is heard", || daemon.count("commit ") > commits);
    yard.let_go();
    daemon.until("the newer commit", || yard.runs("web", 3));
    assert_eq!(daemon.stop().0, Some(0));
    assert_eq!(yard.results("web"), ["succeeded"; 3]);
}

#[test]
fn an_environment_that_leaves_the_state_file_is_let_go() {
    let (mut yard, daemon) = in_hook("prepare");
    yard.set("api", 1, "");
    yard.remove("web");
    let commits = daemon.count("commit ");
    yard.commit();
    daemon.until("the newer commit is heard", || daemon.count("commit ") > commits);
    yard.let_go();
    daemon.says("superseded");
    daemon.until("the other one", || yard.runs("api", 1));
    assert_eq!(yard.site.live("web"), sha(1));
    let busy = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.child.id())).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    // Hundredths of a second of work in half a second of idling: a loop that spins uses all there is.
    let before = busy();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(busy() - before < 25, "the loop spins: {} of 50", busy() - before);
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn a_person_cancels_before_the_switch() {
    let (mut yard, daemon) = in_hook("prepare");
    let asked = yard.site.soll(&["cancel", "web"]).expect(0);
    assert!(asked.out.contains("asked to stop"), "{}", asked.out);
    yard.let_go();
    daemon.says("cancelled by");
    stays(&mut yard, &daemon, "prepare");
}

#[test]
fn a_person_cancels_after_the_switch() {
    let (mut yard, daemon) = in_hook("verify");
    assert_eq!(yard.site.live("web"), sha(2));
    yard.site.soll(&["cancel", "web"]).expect(0);
    yard.let_go();
    daemon.says("cancelled by");
    daemon.until("it goes back", || yard.runs("web", 1));
    stays(&mut yard, &daemon, "verify");
}

/// What a person stopped does not start again behind their back, until they say so.
fn stays(yard: &mut Yard, daemon: &Daemon, phase: &str) {
    daemon.says("left alone");
    yard.set("api", 1, "");
    yard.commit();
    daemon.until("another environment", || yard.runs("api", 1));
    assert_eq!(yard.site.live("web"), sha(1), "{}", daemon.text());
    assert_eq!(yard.began("web", phase), 2, "{}", daemon.text());
    assert_eq!(yard.results("web"), ["succeeded", "cancelled"]);
    yard.site.soll(&["retry", "web"]).expect(0);
    daemon.until("the retry", || yard.runs("web", 2));
}

#[test]
fn the_end_of_the_program_stops_a_run_before_its_switch() {
    let (yard, mut daemon) = in_hook("prepare");
    daemon.signal(rustix::process::Signal::TERM);
    yard.let_go();
    assert_eq!(daemon.end(), Some(0), "{}", daemon.text());
    assert_eq!(yard.site.live("web"), sha(1));
    assert_eq!(yard.results("web"), ["succeeded", "superseded"]);
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.until("the second commit", || yard.runs("web", 2));
}

#[test]
fn the_end_of_the_program_waits_for_a_run_after_its_switch() {
    let (yard, mut daemon) = in_hook("verify");
    daemon.signal(rustix::process::Signal::TERM);
    yard.let_go();
    assert_eq!(daemon.end(), Some(0), "{}", daemon.text());
    assert!(yard.runs("web", 2));
    assert_eq!(yard.results("web"), ["succeeded"; 2]);
}

#[test]
fn an_apply_that_is_told_to_end_does_not_call_that_a_success() {
    let yard = Yard::new().slow_hook("prepare").env("web", 1, "");
    yard.commit();
    let mut apply = yard.site.command(&["apply"]).spawn().unwrap();
    yard.begins("web", "prepare", 1);
    let pid = rustix::process::Pid::from_child(&apply);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    yard.let_go();
    assert_eq!(apply.wait().unwrap().code(), Some(1));
    assert_eq!(yard.site.live("web"), "");
}

#[test]
fn an_apply_beside_the_loop_waits_for_it() {
    let (yard, daemon) = in_hook("prepare");
    let waiting = std::thread::scope(|scope| {
        let apply = scope.spawn(|| yard.site.soll(&["apply"]));
        daemon.until("it asks for the root", || yard.site.agents().len() >= 2);
        yard.let_go();
        apply.join().unwrap()
    });
    waiting.expect(0);
    daemon.until("one of them has done it", || yard.runs("web", 2));
    assert_eq!(yard.began("web", "prepare"), 2, "it was done once");
    assert_eq!(yard.results("web"), ["succeeded"; 2]);
}

#[test]
fn an_apply_that_waits_in_vain_names_the_holder() {
    let (yard, daemon) = in_hook("prepare");
    let locked = yard.site.soll(&["apply"]).expect(5);
    assert!(locked.out.contains("is held by") && locked.out.contains("run "), "{}", locked.out);
    yard.let_go();
    daemon.until("the loop goes on", || yard.runs("web", 2));
}
