//! An upgrade of the controller from the first release, and the way back. That program is built from this repository's own
//! history, which takes minutes: in the long run only (`tests/run --long`).

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::support::world::{APP, World, env};

/// The first release.
const OLD: &str = "dbad799";
const ROOTS: usize = 20;

/// Its program; `None`: not now.
fn old() -> Option<PathBuf> {
    if let Some(built) = std::env::var_os("SOLL_TEST_OLD") {
        return Some(built.into());
    }
    if std::env::var_os("SOLL_LONG").is_none() {
        println!("skipped: {OLD} is built in the long run only (SOLL_LONG=1)");
        return None;
    }
    let here = env!("CARGO_MANIFEST_DIR");
    let build = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(OLD);
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let source = build.join("source");
    let safe = ["-c", "safe.directory=*"];
    if !source.join(".git").exists() {
        run(Command::new("git").args(safe).args(["clone", "-q", "--no-checkout", here]).arg(&source));
    }
    // A clone without the history cannot say what an older program did.
    run(Command::new("git").args(safe).args(["checkout", "-q", OLD]).current_dir(&source));
    run(Command::new(env!("CARGO")).args(["build", "--locked"]).current_dir(&source).env("CARGO_TARGET_DIR", &build));
    Some(build.join("debug/soll"))
}

fn text(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn an_upgrade_plans_nothing_and_a_downgrade_is_refused() {
    let Some(old) = old() else { return };
    let names: Vec<String> = (0..ROOTS).map(|n| format!("env{n:02}")).collect();
    let more = "variables = { tenant = \"acme\" }\n[[environments.NAME.hooks]]\nphase = \"migrate\"\nrun = \"true\"";
    let state: String = names.iter().map(|name| env(name, 'a', &more.replace("NAME", name))).collect();
    let w = World::new();
    for letter in ['a', 'b'] {
        w.bundle(letter, &[]);
    }
    w.bundle('c', &[("broken", "")]);
    w.commit(&format!("{APP}{state}"));
    let before = |args: &[&str]| w.program(old.to_str().unwrap()).args(args).current_dir(w.path("")).output().unwrap();
    let deployed = before(&["apply"]);
    assert!(deployed.status.success(), "{}", text(&deployed));
    // One of them has judged a release.
    w.edit("<a>", "<c>");
    assert_eq!(before(&["apply"]).status.code(), Some(3));
    w.edit("<c>", "<a>");
    assert!(before(&["apply"]).status.success());

    let runs = |w: &World| w.soll("history --output json").exits(0).json().as_array().unwrap().len();
    let plan = w.soll("plan --detailed-exitcode --output json").exits(0).json();
    assert_eq!(plan["verdict"], "none", "{plan:#}");
    assert_eq!(runs(&w), ROOTS + 1);
    w.soll("apply").exits(0).says("in sync");
    assert_eq!(runs(&w), ROOTS + 1, "an upgrade deployed something");
    w.edit("<a>", "<c>");
    w.soll("apply env00").exits(7);
    w.edit("<c>", "<b>");
    w.soll("apply").exits(0);
    assert_eq!((w.runs("env00"), w.runs("env01")), ("b".into(), "a".into()));

    // And back: with its history, and without.
    let record = w.read("env00/.soll/record.json");
    let known = w.path("ctl").display().to_string();
    let none = w.path("another").display().to_string();
    for state_dir in [&known, &none] {
        for command in ["plan", "apply"] {
            let refused = before(&[command, "env00", "--state-dir", state_dir]);
            let told = text(&refused);
            assert!(told.contains("use a newer soll"), "{told}");
            assert!(!told.contains("damaged") && !told.contains("cannot be understood"), "{told}");
            assert!(!refused.status.success(), "{told}");
        }
    }
    assert_eq!((w.read("env00/.soll/record.json"), w.runs("env00")), (record, "b".into()));
}
