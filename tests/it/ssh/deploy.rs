//! A deployment over SSH is one on this machine, at another place.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use super::server::{Sshd, agents, world, world_with};
use crate::support::world::{World, env, until};

/// What lies in the releases, without their names and inodes.
fn releases(world: &World, env: &str) -> Vec<BTreeMap<String, String>> {
    let mut all: Vec<_> =
        fs::read_dir(world.path(&format!("{env}/releases"))).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    let bare = |path: &std::path::Path| {
        let tree = world.tree(path.strip_prefix(world.path("")).unwrap().to_str().unwrap());
        let prefix = path.display().to_string();
        let bare = tree.into_iter().map(|(at, what)| {
            let (mode, what) = what.split_once(' ').unwrap();
            let what = if what.contains(" [") { what.split_once(' ').unwrap().1 } else { what };
            (at.replace(&prefix, ""), format!("{mode} {what}"))
        });
        bare.collect()
    };
    all.iter().map(|path| bare(path)).collect()
}

#[test]
fn a_deployment_there_is_one_as_here_and_the_second_finds_nothing_to_do() {
    let sshd = Sshd::new("");
    let world = world(&sshd);
    let text = world.read("state/desired-state.toml") + &env("here", 'a', "");
    world.commit(&text);
    world.soll("plan staging --detailed-exitcode").exits(2).says("GO").says("web1");
    world.soll("apply").exits(0).says("staging: succeeded");
    assert_eq!((world.runs("staging"), world.runs("here")), ("a".to_owned(), "a".to_owned()));
    assert_eq!(releases(&world, "staging"), releases(&world, "here"));
    assert_eq!(releases(&world, "staging").len(), 1);

    // The agent lies in its place once, for its owner alone, and is not put there again.
    let there = agents(&sshd);
    assert_eq!(there.len(), 1, "{there:?}");
    let meta = fs::metadata(&there[0]).unwrap();
    assert_eq!(meta.mode() & 0o7777, 0o700);
    let said = world.soll("apply staging -v").exits(0);
    assert!(!said.stderr.contains("putting the agent there"), "{}", said.stderr);
    assert_eq!(fs::metadata(&there[0]).unwrap().ino(), meta.ino());
    world.soll("plan staging --detailed-exitcode").exits(0);

    world.edit("<a>", "<b>");
    world.soll("apply staging").exits(0);
    assert_eq!(world.runs("staging"), "b");
    assert_eq!(agents(&sshd), there);
}

#[test]
fn an_edit_there_is_seen_by_the_next_plan() {
    let sshd = Sshd::new("");
    let world = world(&sshd);
    world.soll("apply").exits(0);
    world.soll("plan").exits(0).hides("drift");
    world.write("staging/current/index.html", "hacked");
    world.soll("plan").exits(0).says("drift: not as released").says("index.html");
    world.write("staging/current/added.html", "shell");
    world.soll("diff staging").exits(0).says("~ index.html").says("+ added.html");
    world.soll("status --drift").exits(0).says("drift on web1: 2 paths not as released; see them: soll diff staging");
}

#[test]
fn a_bad_release_there_goes_back() {
    let sshd = Sshd::new("");
    let world = world(&sshd);
    world.soll("apply").exits(0);
    world.edit("<a>", "<c>");
    world.soll("apply").exits(3).says("rolled");
    assert_eq!(world.runs("staging"), "a");
    assert_eq!(world.quarantined("staging"), ["c"]);
    world.soll("apply").exits(7);
}

#[test]
fn many_environments_of_one_host_share_one_login() {
    let sshd = Sshd::new("");
    let world = world(&sshd);
    let mut text = world.read("state/desired-state.toml");
    for n in 0..2 {
        text += &env(&format!("more{n}"), 'a', "hosts = [\"web1\"]");
    }
    world.commit(&text);
    let before = sshd.logins();
    world.soll("apply").exits(0);
    assert_eq!(["staging", "more0", "more1"].map(|env| world.runs(env)), ["a", "a", "a"]);
    assert_eq!(sshd.logins() - before, 1, "{}", sshd.log());
}

#[test]
fn a_host_that_allows_one_session_per_connection_gets_more_connections() {
    let sshd = Sshd::new("MaxSessions 1");
    let world = world(&sshd);
    world.soll("apply").exits(0);
    assert_eq!(world.runs("staging"), "a");
}

#[test]
fn a_host_that_is_lost_in_the_middle_of_a_run_goes_back_by_itself() {
    let mut sshd = Sshd::new("");
    // Healthy while there is a file `ok`: without it the host is asked again and again.
    let health = "deadline = \"2s\"\n[environments.staging.health]\nattempts = 100\ninterval = \"1s\"\n\
                  [[environments.staging.health.checks]]\nname = \"ok\"\nrun = \"test -e $DIR/ok\"";
    let mut world = world_with(&sshd, "", health);
    world.set("SOLL_REATTACH", "2s");
    world.write("ok", "");
    world.soll("apply").exits(0);
    fs::remove_file(world.path("ok")).unwrap();
    world.edit("<a>", "<b>");
    let run = world.start("apply", "log");
    until("b is on probation", || (world.runs("staging") == "b").then_some(()));
    sshd.kill();
    until("the host goes back by itself", || (world.runs("staging") == "a").then_some(()));
    let exit = run.wait();
    assert_eq!(exit, Some(6), "{}", world.read("log"));
    until("the probation is over", || world.record("staging")["probation"].is_null().then_some(()));
    // Nobody has condemned it: the evidence was missing.
    assert_eq!(world.quarantined("staging"), Vec::<String>::new());
    let ended = world.soll("plan staging").exits(6);
    assert!(ended.stdout.contains("unknown"), "{}", ended.stdout);
}

#[test]
fn a_daemon_goes_on_when_its_host_comes_back() {
    let mut sshd = Sshd::new("");
    let mut world = world(&sshd);
    world.set("SOLL_POLL", "200ms");
    let daemon = world.start("run", "log");
    until("a runs", || (world.runs("staging") == "a").then_some(()));
    sshd.kill();
    world.edit("<a>", "<b>");
    until("the loss is noticed", || world.read("log").contains("connect").then_some(()));
    sshd.again(&["ed25519"], "");
    until("b runs", || (world.runs("staging") == "b").then_some(()));
    assert_eq!(daemon.stop(), Some(0));
}
