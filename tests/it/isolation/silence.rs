//! Hosts that are there and do not answer: whoever looks at their root hangs in a lock that a process there never gives
//! back, as it would in a disk or in a file system over the network.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::ssh::server::{Sshd, world_with};
use crate::support::world::{APP, World, env, until};

/// From now on nobody can look at a root, until this is dropped.
fn hang(root: &Path) -> File {
    fs::create_dir_all(root.join(".soll")).unwrap();
    fs::create_dir_all(root.join("releases")).unwrap();
    let record = root.join(".soll/lock");
    if !record.exists() {
        fs::write(record, "").unwrap();
    }
    let file = File::options().create(true).append(true).open(root.join(".soll/turn")).unwrap();
    flock(&file, FlockOperation::LockExclusive).unwrap();
    file
}

#[test]
fn seventeen_hosts_that_hang_do_not_keep_three_others_from_their_releases() {
    let names: Vec<String> = (0..20).map(|n| format!("e{n:02}")).collect();
    let state = |letter| {
        let all: String = names.iter().map(|name| env(name, letter, "")).collect();
        format!("{APP}{all}")
    };
    let mut world = World::new();
    world.bundle('a', &[]);
    world.bundle('b', &[]);
    let ill: Vec<File> = names[..17].iter().map(|name| hang(&world.path(name))).collect();
    world.commit(&state('a'));
    world.set("SOLL_POLL", "200ms");
    let daemon = world.start("run", "log");
    let run = |letter: &str| names[17..].iter().all(|name| world.runs(name) == letter);
    until("the others run a", || run("a").then_some(()));
    world.commit(&state('b'));
    until("the others run b", || run("b").then_some(()));
    let log = || world.read("log");
    assert!(names[..17].iter().all(|name| world.runs(name).is_empty()), "{}", log());
    // Each of them is told of, with what is asked, where, and what to look for.
    for name in &names[..17] {
        let place = format!("(this machine) did not answer within 30 s, observing {}", world.path(name).display());
        until("it is told", || log().contains(&place).then_some(()));
    }
    assert!(log().contains("state D or T"), "{}", log());
    drop(ill);
    until("those that hung go on by themselves", || names.iter().all(|name| world.runs(name) == "b").then_some(()));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_host_behind_ssh_that_hangs_is_given_up_in_time_and_its_other_roots_are_not() {
    let sshd = Sshd::new("");
    let world = world_with(&sshd, "", "");
    let text = world.read("state/desired-state.toml") + &env("well", 'a', "hosts = [\"web1\"]");
    world.commit(&text);
    world.soll("apply").exits(0);
    world.edit("<a>", "<b>");
    world.edit("<a>", "<b>");
    let ill = hang(&world.path("staging"));
    let began = Instant::now();
    let ran =
        world.soll("apply").exits(6).says("did not answer within 30 s, observing").says("web1").says("state D or T");
    assert!(began.elapsed() < Duration::from_secs(100), "{}{}", ran.stdout, ran.stderr);
    assert_eq!((world.runs("staging"), world.runs("well")), ("a".to_owned(), "b".to_owned()));
    drop(ill);
    world.soll("apply").exits(0);
    assert_eq!(world.runs("staging"), "b");
}
