//! `soll demo` on the real binary: `--once` with its milestones in their order, and a demo that a person works with by
//! hand: git in the printed state repository, a signal at the end, and the same folder once more.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// More than a slow machine needs for anything below.
const PATIENCE: Duration = Duration::from_secs(60);

fn soll(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soll"));
    command.args(args).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn once_plays_every_act_and_sees_each() {
    let output = soll(&["demo", "--once"]).output().expect("the demo runs");
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}\n{complained}");
    let milestones = [
        "production  v1 1adbf822  NO-GO: nothing is confirmed in staging",
        "staging     v1 1adbf822  fetched, checked, staged → switched → healthy → confirmed",
        "production  v1 1adbf822  waits: it soaks in staging first",
        "production  v1 1adbf822  fetched, checked, staged → switched → healthy → confirmed",
        "✓ it waited for its soak",
        "staging     v2 d3d281bd  fetched, checked, staged → switched → healthy → confirmed",
        "Promote v2 from staging to production",
        "production  v2 d3d281bd  waits: it soaks in staging first",
        "production  v2 d3d281bd  fetched, checked, staged → switched → healthy → confirmed",
        "Release v3 to staging",
        "staging     v3 69610fb2  fetched, checked, staged → switched → NOT healthy",
        "503 the catalogue cannot be loaded (3 attempts)",
        "staging     v3 69610fb2  quarantined",
        "staging     v2 d3d281bd  switched back → healthy again: ROLLED BACK",
        "✓ the ledger says rolled-back",
        "production  v3 69610fb2  NO-GO: staging wants 69610fb2 and runs d3d281bd",
        "✓ the plan says NO-GO, nothing ran",
        "Revert \"Release v3 to staging\"",
        "✓ both are in sync with v2 again",
        "Back up: the database of production is saved",
        "✓ backup ",
        "250 rows",
        "✓ restored beside the real database, and looked at: ",
        "Deployed, promoted, rolled back, refused, reverted, backed up and restored: each of them seen",
    ];
    let mut rest = said.as_str();
    for milestone in milestones {
        let Some((_, after)) = rest.split_once(milestone) else {
            panic!("`{milestone}` is missing, or too early, in:\n{said}\n{complained}")
        };
        rest = after;
    }
    // The first lines name the folder; nothing of it is left.
    let folder = said.lines().find_map(|line| line.strip_prefix("A demo of soll in ")).expect("the folder is named");
    assert!(!Path::new(folder).exists(), "{folder} is left behind");
    assert!(!said.contains('\u{1b}'), "colour where nobody sees it:\n{said}");
}

/// A demo that runs; ended with the test.
struct Demo {
    child: Child,
    lines: mpsc::Receiver<String>,
    heard: Vec<String>,
}

impl Demo {
    fn start(dir: &Path) -> Demo {
        let dir = dir.to_str().expect("a path of ours");
        let mut child = soll(&["demo", "--dir", dir]).stdout(Stdio::piped()).spawn().expect("the demo starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Demo { child, lines, heard: Vec::new() }
    }

    /// The next line that holds all of `parts`.
    fn hear(&mut self, parts: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line with {parts:?} in:\n{}", self.heard.join("\n"))
            };
            self.heard.push(line.clone());
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
        }
    }

    /// As systemd or `kill` would.
    fn terminate(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is there");
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().expect("it is ours") {
                Some(status) => break status,
                None if Instant::now() > deadline => panic!("it does not end:\n{}", self.heard.join("\n")),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        self.heard.extend(self.lines.iter());
        let heard = self.heard.join("\n");
        assert_eq!(status.code(), Some(0), "{heard}");
        heard
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It has ended already where all is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn git(dir: &Path, args: &[&str]) {
    let output = Command::new("git").arg("-C").arg(dir).args(args).stdin(Stdio::null()).output().expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", text(&output.stderr));
}

/// Status line and body, without any client of ours.
fn get(url: &str, path: &str) -> String {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).expect("the web server listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[track_caller]
fn shows(url: &str, what: &str) {
    let page = get(url, "/");
    assert!(page.contains(what), "{page}");
}

/// The value that the first lines give for a name.
fn fact(line: &str) -> String {
    line.split_whitespace().nth(1).expect("a value").to_owned()
}

#[test]
fn commits_by_hand_are_followed_until_a_signal_and_the_folder_goes_on() {
    let place = tempfile::tempdir().expect("a folder");
    let dir = place.path().join("my demo");
    let mut demo = Demo::start(&dir);
    let staging = fact(&demo.hear(&["  staging ", "http://"]));
    let production = fact(&demo.hear(&["  production ", "http://"]));
    let line = demo.hear(&["  state "]);
    let state = Path::new(line.trim().trim_start_matches("state").trim()).to_owned();
    let [v1, v2, v3] = ["v1", "v2", "v3"].map(|name| fact(&demo.hear(&[&format!("  {name} ")])));
    demo.hear(&["soll backup now && soll backup list"]);
    demo.hear(&["soll restore-test"]);
    demo.hear(&["production", &v1[..8], "→ confirmed"]);
    shows(&staging, "<h1>Shop v1</h1>");

    // What it says can be tried works as it stands there.
    for (words, said) in [(&["backup", "now"][..], "250 rows"), (&["restore-test"][..], "shop: pass")] {
        let tried = soll(words).current_dir(&state).env("SOLL_STATE_DIR", dir.join("controller")).output();
        let tried = tried.expect("it runs");
        let all = format!("{}{}", text(&tried.stdout), text(&tried.stderr));
        assert!(tried.status.success() && all.contains(said), "{words:?}: {all}");
    }

    // Both lines in one commit: production waits for staging by itself.
    let file = state.join("desired-state.toml");
    let edit = |from: &str, to: &str| {
        let before = std::fs::read_to_string(&file).expect("the state file");
        std::fs::write(&file, before.replace(from, to)).expect("an edit");
        git(&state, &["commit", "-q", "-am", "By hand"]);
    };
    edit(&v1, &v2);
    demo.hear(&["commit", "By hand (Demo)"]);
    demo.hear(&["staging", &v2[..8], "→ confirmed"]);
    demo.hear(&["production", &v2[..8], "waits: it soaks"]);
    demo.hear(&["production", &v2[..8], "→ confirmed"]);
    shows(&staging, "<h1>Shop v2</h1>");
    shows(&production, "<h1>Shop v2</h1>");

    // A link that was switched by hand is put right.
    let link = dir.join("staging/current");
    let other = std::fs::read_dir(dir.join("staging/releases")).expect("releases").map(|e| e.expect("one").file_name());
    let other = other.map(|name| name.into_string().expect("ours")).find(|name| name.ends_with(&v1[..8])).expect("v1");
    let beside = dir.join("staging/by-hand");
    std::os::unix::fs::symlink(format!("releases/{other}"), &beside).expect("a link");
    std::fs::rename(&beside, &link).expect("a switch by hand");
    demo.hear(&["staging", &v2[..8], "→ confirmed"]);
    shows(&staging, "<h1>Shop v2</h1>");

    // A release that is bad, and its commit taken back.
    edit(&v2, &v3);
    demo.hear(&["staging", &v3[..8], "NOT healthy"]);
    demo.hear(&["staging", &v2[..8], "ROLLED BACK"]);
    assert!(get(&staging, "/health").starts_with("HTTP/1.1 200"));
    git(&state, &["revert", "--no-edit", "HEAD"]);
    demo.hear(&["staging", &v2[..8], "in sync"]);
    let heard = demo.terminate();
    assert!(heard.contains("The demo has ended."), "{heard}");
    assert!(TcpStream::connect(staging.trim_start_matches("http://").trim_end_matches('/')).is_err());

    // The same folder: no second beginning, and what was committed meanwhile is done.
    let path = dir.to_str().expect("ours");
    let refused = soll(&["demo", "--once", "--dir", path]).output().expect("it runs");
    assert_refused(&refused, "holds a demo already");
    edit(&v2, &v1);
    let mut demo = Demo::start(&dir);
    demo.hear(&["  staging ", &staging]);
    demo.hear(&["staging", &v1[..8], "→ confirmed"]);
    shows(&staging, "<h1>Shop v1</h1>");
    let beside = soll(&["demo", "--dir", path]).output().expect("it runs");
    assert_refused(&beside, "does another `soll demo` run in");
    demo.terminate();
}

fn assert_refused(output: &Output, why: &str) {
    let complained = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complained}");
    assert!(complained.contains(why), "{complained}");
}

#[test]
fn what_is_somebody_elses_is_left_alone() {
    let place = tempfile::tempdir().expect("a folder");
    std::fs::write(place.path().join("thesis.txt"), "years of work").expect("a file");
    let output = soll(&["demo", "--once", "--dir"]).arg(place.path()).output().expect("it runs");
    assert_refused(&output, "is not empty and holds no whole demo");
    let left: Vec<_> =
        std::fs::read_dir(place.path()).expect("a folder").map(|e| e.expect("one").file_name()).collect();
    assert_eq!(left, ["thesis.txt"]);
}
