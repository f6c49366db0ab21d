//! What people see while something runs: on a terminal a line per host, elsewhere lines and a sign of life, and never a
//! character that moves a cursor where there is none.

use std::io::Read;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::world::{World, until};

/// A hook that waits for `$DIR/go`, after it has said something in colour.
const WAITS: &str = "[[environments.staging.hooks]]\nname = \"waits\"\nphase = \"post-switch\"\n\
    run = \"printf '\\\\033[31mred\\\\033[0m\\\\r\\\\a' && touch $DIR/waiting && until test -e $DIR/go; do sleep 0.01; done\"\n";

fn odd(text: &str) -> String {
    text.chars().filter(|c| c.is_control() && *c != '\n').collect()
}

/// Runs `apply` with a terminal as its standard error, and gives what the terminal was told.
fn on_a_terminal(w: &World, vars: &[(&str, &str)]) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let slave = std::fs::OpenOptions::new().read(true).write(true).open(name).unwrap();
    let mut command = w.program(env!("CARGO_BIN_EXE_soll"));
    command.arg("apply").current_dir(w.path("")).env("TERM", "xterm").envs(vars.iter().copied());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(slave).spawn().unwrap();
    // Without this the terminal would never hang up.
    drop(command);
    let reader = std::thread::spawn(move || {
        let (mut told, mut file) = (Vec::new(), std::fs::File::from(master));
        // A terminal whose other side is closed gives an error, not an end.
        let _ = file.read_to_end(&mut told);
        String::from_utf8_lossy(&told).into_owned()
    });
    until("the hook waits", || w.path("waiting").exists().then_some(()));
    w.write("go", "");
    assert!(child.wait().unwrap().success());
    reader.join().unwrap()
}

#[test]
fn on_a_terminal_each_host_has_a_line_that_is_redrawn() {
    let w = World::with(&crate::support::world::env("staging", 'a', WAITS));
    let told = on_a_terminal(&w, &[("NO_COLOR", "1")]);
    assert!(told.contains("staging local"), "{told}");
    assert!(told.contains("\u{1b}[2K") || told.contains("\u{1b}[1A"), "nothing was redrawn: {told:?}");
    assert!(!told.contains("\u{1b}[3") && !told.contains("\u{1b}[9"), "NO_COLOR is respected: {told:?}");
    assert!(told.contains("succeeded"), "the lines are there as well: {told}");
}

#[test]
fn a_terminal_that_moves_no_cursor_gets_lines() {
    let w = World::with(&crate::support::world::env("staging", 'a', WAITS));
    let told = on_a_terminal(&w, &[("TERM", "dumb")]).replace("\r\n", "\n");
    assert_eq!(odd(&told), "", "{told:?}");
    assert!(told.contains("switch:local"), "{told}");
}

#[test]
fn off_a_terminal_there_are_lines_and_a_sign_of_life() {
    let mut w = World::with(&crate::support::world::env("staging", 'a', WAITS));
    w.set("SOLL_HEARTBEAT", "50ms");
    let running = w.start("apply", "log");
    let still = until("a sign of life", || {
        let log = w.read("log");
        log.lines().find(|line| line.contains("still at it: hook:")).map(str::to_owned)
    });
    assert!(still.contains("staging  still at it: hook:local:waits ("), "{still}");
    w.write("go", "");
    assert_eq!(running.wait(), Some(0));
    let log = w.read("log");
    assert!(log.contains("hook:local:waits") && log.contains("red"), "what the hook said is there: {log}");
    assert_eq!(odd(&log), "", "{log:?}");
    let run = w.soll("history --output json").json()[0]["run"].as_str().unwrap().to_owned();
    let shown = w.soll(&format!("show {run}")).exits(0).stdout;
    assert_eq!(odd(&shown), "", "{shown:?}");
    w.set("SOLL_HEARTBEAT", "often");
    w.soll("apply").exits(1).says("SOLL_HEARTBEAT=often");
}
