//! A connection that breaks in the middle of a run, and the agent that waits for its controller.

use std::fs;

use super::server::{Sshd, world_with};
use crate::support::world::until;

/// Every phase waits for a file before it ends, and says each time that it began.
fn hooks(phases: &[&str]) -> String {
    let hook = |phase: &&str| {
        let run = format!("echo {phase} >> $DIR/began; while test ! -e $DIR/{phase}; do sleep 0.02; done");
        format!("[[environments.staging.hooks]]\nphase = \"{phase}\"\nrun = \"{run}\"\n")
    };
    phases.iter().map(hook).collect()
}

#[test]
fn a_run_goes_on_over_another_connection_and_nothing_runs_twice() {
    let phases = ["prepare", "migrate", "pre-switch", "post-switch", "verify", "after"];
    let sshd = Sshd::new("");
    let world = world_with(&sshd, "", &hooks(&phases));
    let run = world.start("apply", "log");
    let mut began = String::new();
    for (n, phase) in phases.iter().enumerate() {
        began += &format!("{phase}\n");
        until(phase, || (world.path("began").exists() && world.read("began") == began).then_some(()));
        let before = sshd.logins();
        sshd.cut();
        until("the run is there again", || (sshd.logins() > before).then_some(()));
        // Odd ones end while nobody may listen yet, even ones after the run is back.
        if n % 2 == 0 {
            until("it says so", || (world.read("log").matches("reached again").count() > n).then_some(()));
        }
        world.write(phase, "");
    }
    assert_eq!(run.wait(), Some(0), "{}", world.read("log"));
    assert_eq!((world.runs("staging").as_str(), world.read("began")), ("a", began));
    world.soll("plan staging --detailed-exitcode").exits(0);
    let run = world.soll("history --output json").json()[0]["run"].as_str().unwrap().to_owned();
    world.soll(&format!("show {run}")).exits(0).says("succeeded");
}

#[test]
fn an_agent_that_died_is_not_waited_for() {
    let sshd = Sshd::new("");
    let world = world_with(&sshd, "", &hooks(&["prepare"]));
    let run = world.start("apply", "log");
    until("it is prepared", || world.path("began").exists().then_some(()));
    for agent in fs::read_dir("/proc").unwrap().flatten() {
        let words = fs::read(agent.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        let here = words.starts_with(&*sshd.home().to_string_lossy()) && words.contains("host-agent");
        if let Some(pid) = agent.file_name().to_string_lossy().parse().ok().filter(|_| here) {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    assert_eq!(run.wait(), Some(6), "{}", world.read("log"));
    let log = world.read("log");
    assert!(log.contains("web1") && log.contains("its process is gone"), "{log}");
    world.write("prepare", "");
    world.soll("apply").exits(0);
    assert_eq!(world.runs("staging"), "a");
}
