//! Drift (A7): what is not as it was released is named file by file, and reported, healed or ignored as asked.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::support::world::{World, env};

/// A release with some files, in which everything that can drift has drifted.
fn drifted(policy: &str) -> World {
    let w = World::with(&env(
        "staging",
        'a',
        &format!("drift = \"{policy}\"\ndrift_every = \"1ms\"\nshared_dirs = [\"storage\"]"),
    ));
    w.bundle('a', &[("changed.php", "1"), ("missing.php", "1"), ("mode.php", "1"), ("dir/kept.php", "1")]);
    w.soll("apply").exits(0);
    w.soll("plan").exits(0).hides("drift");
    w.write("staging/current/changed.php", "hacked");
    fs::remove_file(w.path("staging/current/missing.php")).unwrap();
    fs::set_permissions(w.path("staging/current/mode.php"), Permissions::from_mode(0o777)).unwrap();
    w.write("staging/current/dir/added.php", "shell");
    fs::remove_file(w.path("staging/current/storage")).unwrap();
    symlink("/tmp", w.path("staging/current/storage")).unwrap();
    w
}

const FOUND: [(&str, &str); 5] = [
    ("changed.php", "changed"),
    ("dir/added.php", "added"),
    ("missing.php", "missing"),
    ("mode.php", "mode"),
    ("storage", "link"),
];

#[test]
fn it_is_named_file_by_file_and_only_reported() {
    let w = drifted("report");
    let diff = w.soll("diff staging").exits(0).stdout;
    for line in ["~ changed.php", "+ dir/added.php", "- missing.php", "m mode.php", "l storage"] {
        assert!(diff.contains(&format!("    {line}\n")), "{line}:\n{diff}");
    }
    assert!(!diff.contains("kept.php"), "{diff}");
    let found = |view: &serde_json::Value| {
        let drift = view["hosts"][0]["drift"].as_array().unwrap().clone();
        drift
            .iter()
            .map(|d| (d["path"].as_str().unwrap().to_owned(), d["kind"].as_str().unwrap().to_owned()))
            .collect::<Vec<_>>()
    };
    let wanted = FOUND.map(|(path, kind)| (path.to_owned(), kind.to_owned()));
    assert_eq!(found(&w.soll("diff staging --output json").json()), wanted);
    let plan = w.soll("plan --output json --detailed-exitcode").exits(0).json();
    assert_eq!((found(&plan["environments"][0]), &plan["verdict"]), (wanted.to_vec(), &"none".into()));
    let status = w.soll("status --output json").exits(0).json();
    assert_eq!(found(&status["environments"][0]), wanted);
    let text = w.soll("plan").exits(0).says("drift: not as released").says("5 paths, reported only").stdout;
    for (path, _) in FOUND {
        assert!(text.contains(path), "{path}:\n{text}");
    }
    w.soll("plan --output markdown").exits(0).says("nothing changes; drift is reported in 1");
    // Reported, and left as it is.
    let before = w.tree("staging/releases");
    w.soll("apply").exits(0);
    assert_eq!(w.tree("staging/releases"), before);
}

#[test]
fn it_is_healed_by_making_the_release_anew() {
    let w = drifted("heal");
    let release = w.release("staging");
    w.soll("plan --detailed-exitcode").exits(2).says("made anew").says("the plan makes it anew");
    w.soll("apply").exits(0);
    assert_ne!(w.release("staging"), release);
    assert_eq!(
        (w.read("staging/current/changed.php"), w.read("staging/current/missing.php")),
        ("1".into(), "1".into())
    );
    assert!(!w.path("staging/current/dir/added.php").exists());
    assert_eq!(fs::read_link(w.path("staging/current/storage")).unwrap().file_name().unwrap(), "storage");
    w.soll("plan --detailed-exitcode").exits(0).hides("drift");
}

#[test]
fn it_is_ignored_where_that_is_asked_for() {
    let w = drifted("ignore");
    w.soll("plan --detailed-exitcode").exits(0).hides("changed.php");
    w.soll("apply").exits(0);
    assert_eq!(w.read("staging/current/changed.php"), "hacked");
}

/// Paths and kinds of what differs on the first host of what a command says in JSON.
fn differs(view: &serde_json::Value) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let drift = view["hosts"][0]["drift"].as_array().unwrap();
    drift.iter().map(|one| (text(&one["path"]), text(&one["kind"]))).collect()
}

/// Nobody waits for a period of scans: whoever asks is told what is.
#[test]
fn an_edit_is_seen_by_the_next_plan_and_a_touch_is_none() {
    let w = World::with(&env("staging", 'a', ""));
    w.bundle('a', &[("edited.php", "1"), ("removed.php", "1"), ("touched.php", "1")]);
    w.soll("apply").exits(0);
    let plan = || differs(&w.soll("plan --output json").exits(0).json()["environments"][0]);
    assert_eq!(plan(), []);
    let touched = fs::File::options().append(true).open(w.path("staging/current/touched.php")).unwrap();
    touched.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(plan(), [], "a touched file is as it was");

    let wanted = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(path, kind)| ((*path).to_owned(), (*kind).to_owned())).collect()
    };
    // Same length, so that only its contents tell.
    w.write("staging/current/edited.php", "2");
    assert_eq!(plan(), wanted(&[("edited.php", "changed")]));
    w.soll("plan").exits(0).says("drift: not as released").says("edited.php").says("reported only").hides(" ago");
    w.soll("diff staging").exits(0).says("    ~ edited.php\n").hides("touched.php");
    w.soll("diff staging --bytes").exits(0).says("    ~ edited.php\n").hides("touched.php");

    fs::remove_file(w.path("staging/current/removed.php")).unwrap();
    w.write("staging/current/added.php", "shell");
    let all = wanted(&[("added.php", "added"), ("edited.php", "changed"), ("removed.php", "missing")]);
    // What the last look found, until somebody asks for what is.
    assert_eq!(differs(&w.soll("status --output json").exits(0).json()["environments"][0]), all[1..2]);
    assert_eq!(differs(&w.soll("status --drift --output json").exits(0).json()["environments"][0]), all);
    w.soll("status --drift").exits(0).says("drift on local: 3 paths not as released; see them: soll diff staging");
    assert_eq!(plan(), all);

    w.write("staging/current/edited.php", "1");
    w.write("staging/current/removed.php", "1");
    fs::remove_file(w.path("staging/current/added.php")).unwrap();
    assert_eq!(plan(), [], "put back by hand");
}

#[test]
fn an_edit_is_healed_by_the_next_apply_and_by_the_plan_before_it() {
    let w = World::staging("drift = \"heal\"");
    let first = w.release("staging");
    w.write("staging/current/index.html", "hacked");
    w.soll("plan --detailed-exitcode").exits(2).says("`index.html` first: made anew");
    w.soll("apply").exits(0);
    let second = w.release("staging");
    assert_ne!(second, first);
    // Without a plan before it: what is applied and then planned is nothing.
    w.write("staging/current/index.html", "hacked");
    w.soll("apply").exits(0);
    assert_ne!(w.release("staging"), second);
    w.soll("plan --detailed-exitcode").exits(0).hides("drift");
}

/// The report that is on the host is as old as it claims to be; the host's own clock says how old that is.
#[test]
fn what_is_older_than_the_question_says_how_old() {
    let w = World::staging("");
    w.write("staging/current/index.html", "hacked");
    w.soll("plan").exits(0).says("index.html");
    let report = w.read("staging/.soll/drift.json");
    let mut old: serde_json::Value = serde_json::from_str(&report).unwrap();
    let then = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(5 * 60 + 1);
    (old["at"], old["looked"]) = (then.to_string().into(), serde_json::Value::Null);
    w.write("staging/.soll/drift.json", &old.to_string());
    w.soll("status").exits(0).says("1 path not as released, compared 5 min ago; see them: soll diff staging");
    let json = w.soll("status --output json").exits(0).json();
    let age = json["environments"][0]["hosts"][0]["drift_age_s"].as_u64().unwrap();
    assert!((300..3_000).contains(&age), "{age}");
    w.soll("status --drift").exits(0).says("1 path not as released; see them: soll diff staging");
    w.soll("plan").exits(0).says("1 path, reported only").hides(" ago");
}

#[test]
fn what_the_application_may_write_is_no_drift() {
    let w = World::staging("drift_every = \"1ms\"\nmutable = [\"cache/**\"]\nshared_dirs = [\"storage\"]");
    w.write("staging/current/cache/compiled.php", "1");
    w.write("staging/current/storage/upload.txt", "1");
    w.soll("diff staging").exits(0).hides("cache").hides("upload");
}

#[test]
fn a_hand_switched_current_is_put_right() {
    let w = World::staging("");
    let first = w.release("staging");
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(0);
    let second = w.release("staging");
    let switch = |target: &str| {
        fs::remove_file(w.path("staging/current")).unwrap();
        symlink(target, w.path("staging/current")).unwrap();
    };
    w.write("elsewhere/index.html", "x");
    for target in [&format!("releases/{first}"), "releases/nowhere", w.path("elsewhere").to_str().unwrap()] {
        switch(target);
        w.soll("plan --detailed-exitcode").exits(2).says("out of sync");
        w.soll("apply").exits(0);
        assert_eq!((w.runs("staging"), w.release("staging")), ("b".into(), second.clone()), "{target}");
        assert_eq!(fs::read_link(w.path("staging/current")).unwrap().to_str().unwrap(), format!("releases/{second}"));
    }
    switch(&format!("releases/{first}"));
    w.soll("plan").exits(0).says("`current` was switched by hand to");
}

#[test]
fn a_deleted_current_is_put_right() {
    let w = World::staging("");
    let release = w.release("staging");
    fs::remove_file(w.path("staging/current")).unwrap();
    fs::remove_file(w.archive('a')).unwrap();
    w.soll("plan").exits(0).says("`current` has disappeared").says("missing");
    w.soll("apply").exits(0);
    assert_eq!((w.runs("staging"), w.release("staging")), ("a".into(), release));
}
