//! Hooks of real deployments: what they start and forget, and whose services they speak to.

use std::fs;
use std::os::unix::fs::chown;

use super::agent_user::{AGENT, become_agent, soll};
use crate::support::world::{World, env};

fn hook(run: &str) -> String {
    format!("[[environments.staging.hooks]]\nphase = \"post-switch\"\nname = \"start\"\nrun = {run:?}\n")
}

#[test]
fn a_worker_that_a_hook_started_and_forgot_is_named() {
    let w = World::with(&env("staging", 'a', &hook("sleep 1000 & echo started")));
    w.soll("apply").exits(0).says("it left `sleep 1000` (pid ").says(", ended) behind");
    let runs = w.soll("history --output json").exits(0).json();
    w.soll(&format!("show {}", runs[0]["run"].as_str().unwrap())).exits(0).says("it left `sleep 1000` (pid ");
    // One that says no is told with both.
    w.edit(&hook("sleep 1000 & echo started"), &hook("sleep 1000 & echo no database; exit 3"));
    w.edit("<a>", "<b>");
    w.soll("apply").says("exit code 3: no database; it left `sleep 1000` (pid ");
}

/// What a hook starts holds nothing of the connection to the controller: neither would hear that the other is gone.
#[test]
fn a_hook_gets_no_file_of_the_agent() {
    let w = World::with(&env("staging", 'a', &hook("ls -l /proc/$$/fd > $DIR/files")));
    w.soll("apply").exits(0);
    let files = w.read("files");
    let target = |line: &str| line.rsplit_once(" -> ").map(|(_, target)| target.to_owned());
    // What this test was started with itself is passed on by everybody.
    let ours: Vec<_> =
        fs::read_dir("/proc/self/fd").unwrap().flatten().flat_map(|fd| fs::read_link(fd.path())).collect();
    let is_ours = |target: &String| ours.iter().any(|own| own.to_str() == Some(target));
    let standard = |line: &&str| [" 0 -> ", " 1 -> ", " 2 -> "].iter().any(|fd| line.contains(fd));
    assert_eq!(files.lines().filter(standard).count(), 3, "{files}");
    // The shell keeps a copy of its output.
    let known: Vec<_> = files.lines().filter(standard).filter_map(target).collect();
    let beyond = files.lines().filter_map(target).filter(|to| !known.contains(to) && !is_ours(to));
    let streams: Vec<_> = beyond.filter(|to| to.starts_with("pipe:") || to.starts_with("socket:")).collect();
    assert!(streams.is_empty(), "{streams:?}\n{files}");
}

#[test]
fn a_hook_speaks_to_the_services_of_its_user() {
    let run = "echo \"at ${XDG_RUNTIME_DIR-nowhere}\" > $DIR/staging/said";
    let mut w = World::with(&env("staging", 'a', &hook(run)));
    w.bundle('d', &[]);
    become_agent(&mut w);
    let place = format!("/run/user/{AGENT}");
    assert!(!fs::exists(&place).unwrap(), "{place} is somebody's");
    soll(&w, "apply").exits(0);
    assert_eq!(w.read("staging/said"), "at nowhere\n");
    fs::create_dir_all(&place).unwrap();
    // Another user's is none to trust.
    w.edit("<a>", "<b>");
    let theirs = soll(&w, "apply");
    let said = w.read("staging/said");
    chown(&place, Some(AGENT), Some(AGENT)).unwrap();
    w.edit("<b>", "<d>");
    let own = soll(&w, "apply");
    fs::remove_dir(&place).unwrap();
    theirs.exits(0);
    assert_eq!(said, "at nowhere\n");
    own.exits(0);
    assert_eq!(w.read("staging/said"), format!("at {place}\n"));
}
