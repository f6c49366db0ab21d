//! What each version left behind (`fixtures/formats/vN`, made by `fixtures/formats/make`) is read by this one, and means the
//! same.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use soll::journal::{Event, RunResult, RunState, Subject};
use soll::model::desired::diagnose::SourceFile;
use soll::model::desired::load::load;
use soll::model::observed::Observed;
use soll::plan::{Context, Plan, plan_environment};
use soll::store::{RunRow, Store};

use super::fixtures;
use crate::support::world::{World, sha};

const VERSIONS: [&str; 3] = ["v1", "v2", "v3"];
/// Of an application that is deployed from commits, with a rendered file (`fixtures/formats/make-kinds`).
const FROM_COMMITS: [&str; 1] = ["git-v4"];

/// A world whose `production` is what a program of this version left, and wants this commit.
fn left_by(version: &str, letter: char) -> World {
    let w = World::new();
    copy(&fixtures().join("formats").join(version).join("root"), &w.path("root"));
    fs::set_permissions(w.path("root/.soll"), fs::Permissions::from_mode(0o700)).unwrap();
    let state = fs::read_to_string(fixtures().join("formats").join(version).join("state/desired-state.toml")).unwrap();
    let (state, _) = state.split_once("[apps.plain]").unwrap();
    let line = |line: &str| match line {
        _ if line.starts_with("release = ") => format!("release = \"{}\"", sha(letter)),
        _ if line.starts_with("frozen = ") => String::new(),
        _ => line.replace("/tmp/soll-golden/", "$DIR/"),
    };
    w.commit(&state.lines().map(line).collect::<Vec<_>>().join("\n"));
    // This is another state repository: the commit that was acted on is not in it.
    let mut record = w.record("root");
    record["accepted"] = serde_json::Value::Null;
    // And another machine than the one on which it was made.
    record.as_object_mut().unwrap().remove("machine");
    w.write("root/.soll/record.json", &record.to_string());
    w
}

/// As a checkout has it, with the modes that the program gave.
fn copy(from: &Path, to: &Path) {
    let meta = fs::symlink_metadata(from).unwrap();
    if meta.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(from).unwrap(), to).unwrap();
    }
    let mode = if meta.is_dir() {
        fs::create_dir(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name));
        }
        0o755
    } else {
        fs::copy(from, to).unwrap();
        match from.file_name().unwrap().to_str().unwrap() {
            "made" => 0o640,
            "start" => 0o755,
            _ => 0o644,
        }
    };
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_root_of_every_version_needs_nothing_and_remembers_its_verdict() {
    for version in VERSIONS {
        let w = left_by(version, 'b');
        fs::create_dir_all(w.path("root/shared/storage")).unwrap();
        let before = w.read("root/.soll/record.json");
        let plan = w.soll("plan --detailed-exitcode --output json").exits(0).json();
        assert_eq!(plan["verdict"], "none", "{version}: {plan:#}");
        assert_eq!(plan["environments"][0]["hosts"][0]["drift"], serde_json::json!([]), "{version}: {plan:#}");
        assert_eq!(w.read("root/.soll/record.json"), before, "{version}: looking writes nothing");
        // The way back needs neither bundle nor build, and the failed release is not tried again.
        w.edit(&sha('b'), &sha('a'));
        let plan = w.soll("plan --output json").exits(0).json();
        let steps = plan["environments"][0]["steps"].as_array().unwrap();
        let kinds: Vec<_> = steps.iter().map(|step| step["kind"].as_str().unwrap()).collect();
        assert!(kinds.starts_with(&["verify"]) && !kinds.contains(&"fetch"), "{version}: {kinds:?}");
        w.edit(&sha('a'), &sha('c'));
        w.soll("plan").exits(0).says("is quarantined: check `alive` on local: exit code 1");
    }
}

/// Where a machine was noted, it is noted still: the copy that a checkout makes of such a root is a cloned disk.
#[test]
fn a_root_that_names_its_machine_is_refused_on_another_one() {
    for (version, names) in [("v1", false), ("v2", false), ("v3", true)] {
        let w = left_by(version, 'b');
        let left = fixtures().join("formats").join(version).join("root/.soll/record.json");
        let left: serde_json::Value = serde_json::from_str(&fs::read_to_string(left).unwrap()).unwrap();
        let mut record = w.record("root");
        assert_eq!(left["machine"]["since"].is_string(), names, "{version}");
        if let Some(machine) = left.get("machine") {
            record["machine"] = machine.clone();
            // Whatever machine this is, that one it is not.
            record["machine"]["id"] = "0".repeat(64).into();
            w.write("root/.soll/record.json", &record.to_string());
            w.soll("plan").exits(6).says("the disk was cloned").says("soll acknowledge --host local");
        }
    }
}

#[test]
fn what_is_not_known_of_a_record_is_kept_by_whoever_writes_it() {
    for version in VERSIONS {
        let w = left_by(version, 'c');
        let mut record = w.record("root");
        record["pinned"] = serde_json::json!({ "machine": "abc" });
        record["confirmed"]["tested"] = serde_json::json!(true);
        record["quarantined"][0]["seen"] = serde_json::json!(["ann"]);
        w.write("root/.soll/record.json", &record.to_string());
        w.soll("retry production").exits(0);
        let after = w.record("root");
        assert_eq!(after["quarantined"], serde_json::json!([]), "{after:#}");
        assert_eq!((&after["pinned"], &after["confirmed"]["tested"]), (&record["pinned"], &true.into()), "{after:#}");
        // Whoever reads it next knows what it takes: the first version refuses it with its own words.
        assert_eq!(after["format"], 2);
        assert!(after["by"].as_str().unwrap().starts_with("soll "), "{after:#}");
    }
}

#[test]
fn what_a_newer_program_wrote_is_called_newer_and_stays_as_it_is() {
    let w = left_by("v1", 'b');
    let record = r#"{ "format": 3, "by": "soll 7.1 (cafe)", "epoch": { "of": "other kind" } }"#;
    w.write("root/.soll/record.json", record);
    let told = |ran: crate::support::world::Ran| {
        let ran = ran.says("which is newer than this program").says("use a newer soll, soll 7.1 (cafe)");
        ran.hides("cannot be understood").hides("damaged");
    };
    told(w.soll("plan").exits(6));
    told(w.soll("apply").exits(6));
    told(w.soll("retry production"));
    assert_eq!(w.read("root/.soll/record.json"), record);

    // What was published, planned, converted, remembered of a release: likewise.
    let w = left_by("v1", 'b');
    w.write("observation.json", r#"{ "schema": 3, "commit": 1 }"#);
    w.soll("plan --observation $DIR/observation.json").exits(1).says("it has format 3").hides("is no observation");
    w.write("plan.json", r#"{ "schema": 2, "plans": [] }"#);
    w.soll("apply --plan $DIR/plan.json").exits(8).says("it has format 2").hides("is no saved plan");
    w.write("root/.soll/convert.json", r#"{ "format": 2, "moves": [] }"#);
    w.soll("apply").exits(6).says("it has format 2").hides("cannot be understood");
    fs::remove_file(w.path("root/.soll/convert.json")).unwrap();
    let manifest = w.path(&format!("root/.soll/manifests/{}.json", w.release("root")));
    fs::write(&manifest, r#"{ "format": 2, "manifest": { "entries": [] } }"#).unwrap();
    fs::remove_file(w.path("root/.soll/drift.json")).unwrap();
    w.soll("plan").exits(6).says("it has format 2").hides("cannot be understood");
    rusqlite::Connection::open(w.path("ctl/soll.db")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    w.soll("plan").exits(1).says("use a newer soll").hides("damaged");
}

#[test]
fn the_history_of_every_version_is_read() {
    for version in VERSIONS {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(fixtures().join("formats").join(version).join("soll.db"), dir.path().join("soll.db")).unwrap();
        let store = Store::open(dir.path()).unwrap();
        let env = "production".parse().unwrap();
        let runs = store.runs(Some(&env), Some(Subject::Deploy), 10).unwrap();
        let to = |run: &RunRow| run.deployment().unwrap().to[..1].to_owned();
        let ended: Vec<_> = runs.iter().map(|run| (to(run), run.result.unwrap())).collect();
        let expected = [("c", RunResult::RolledBack), ("b", RunResult::Succeeded), ("a", RunResult::Succeeded)];
        assert_eq!(ended, expected.map(|(to, result)| (to.to_owned(), result)), "{version}");
        let mut numbers = Vec::new();
        for run in &runs {
            let events = store.events(&run.run).unwrap();
            assert!(matches!(events.first(), Some((_, Event::Started(_)))), "{version}");
            assert!(matches!(events.last(), Some((_, Event::Finished { .. }))), "{version}");
            numbers.splice(0..0, events.iter().map(|(number, _)| *number));
            let state = RunState::of(events.iter().map(|(_, event)| event));
            assert_eq!(state.result.map(|(result, _)| result), run.result, "{version}");
            assert_eq!(state.quarantined, run.result == Some(RunResult::RolledBack), "{version}");
        }
        // One sequence over all runs, in their order; what comes next goes on with it.
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{version}");
        assert!(!store.estimates(&env).unwrap().is_empty(), "{version}");
    }
}

/// Its commits, the oldest first: two that succeeded, one that failed, and one that was never deployed.
fn commits(version: &str) -> Vec<String> {
    let text = fs::read_to_string(fixtures().join("formats").join(version).join("commits")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// A world whose `production` is deployed from commits and is what a program of this version left. The repository of the
/// application is not there: nothing that is decided here needs it.
fn left_of_commits_by(version: &str) -> World {
    let mut w = World::new();
    let folder = fixtures().join("formats").join(version);
    copy(&folder.join("root"), &w.path("root"));
    fs::set_permissions(w.path("root/.soll"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::create_dir_all(w.path("root/shared/storage")).unwrap();
    for version in fs::read_dir(w.path("root/shared/.versions/.env")).unwrap() {
        fs::set_permissions(version.unwrap().path(), fs::Permissions::from_mode(0o640)).unwrap();
    }
    w.set("SOLL_SECRET_PASSWORD", "hunter2");
    w.write("state/env/production.env", &fs::read_to_string(folder.join("state/env/production.env")).unwrap());
    let state = fs::read_to_string(folder.join("state/desired-state.toml")).unwrap();
    let line = |line: &str| match line {
        _ if line.starts_with("release = ") => format!("release = \"{}\"", commits(version)[1]),
        _ if line.starts_with("frozen = ") => String::new(),
        _ if line.starts_with("root = ") => "root = \"$DIR/root\"".to_owned(),
        _ => line.to_owned(),
    };
    w.commit(&state.lines().map(line).collect::<Vec<_>>().join("\n"));
    let mut record = w.record("root");
    record["accepted"] = serde_json::Value::Null;
    for elsewhere in ["machine", "tenant"] {
        record.as_object_mut().unwrap().remove(elsewhere);
    }
    w.write("root/.soll/record.json", &record.to_string());
    w
}

#[test]
fn a_root_that_is_deployed_from_commits_needs_nothing_and_remembers_its_verdict() {
    for version in FROM_COMMITS {
        let (w, commits) = (left_of_commits_by(version), commits(version));
        let before = w.read("root/.soll/record.json");
        let plan = w.soll("plan --detailed-exitcode --output json").exits(0).json();
        assert_eq!(plan["verdict"], "none", "{version}: {plan:#}");
        assert_eq!(plan["environments"][0]["hosts"][0]["drift"], serde_json::json!([]), "{version}: {plan:#}");
        assert_eq!(w.read("root/.soll/record.json"), before, "{version}: looking writes nothing");
        // The way back needs neither the repository nor a build, and the failed release is not tried again.
        w.edit(&commits[1], &commits[0]);
        let plan = w.soll("plan --output json").exits(0).json();
        let steps = plan["environments"][0]["steps"].as_array().unwrap();
        let kinds: Vec<_> = steps.iter().map(|step| step["kind"].as_str().unwrap()).collect();
        assert!(kinds.starts_with(&["verify"]) && !kinds.contains(&"fetch"), "{version}: {kinds:?}");
        w.edit(&commits[0], &commits[2]);
        w.soll("plan").exits(0).says("is quarantined: check `alive` on local: exit code 1");
    }
}

#[test]
fn the_history_of_what_is_deployed_from_commits_is_read() {
    for version in FROM_COMMITS {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(fixtures().join("formats").join(version).join("soll.db"), dir.path().join("soll.db")).unwrap();
        let store = Store::open(dir.path()).unwrap();
        let runs = store.runs(Some(&"production".parse().unwrap()), Some(Subject::Deploy), 10).unwrap();
        let ended: Vec<_> =
            runs.iter().rev().map(|run| (run.deployment().unwrap().to.clone(), run.result.unwrap())).collect();
        let results = [RunResult::Succeeded, RunResult::Succeeded, RunResult::RolledBack];
        assert_eq!(ended, commits(version).into_iter().zip(results).collect::<Vec<_>>(), "{version}");
        for run in &runs {
            let events = store.events(&run.run).unwrap();
            let state = RunState::of(events.iter().map(|(_, event)| event));
            assert_eq!(state.result.map(|(result, _)| result), run.result, "{version}");
        }
        // So is a plan that was saved, with what only such an application has.
        let saved = fs::read_to_string(fixtures().join("formats").join(version).join("plan.json")).unwrap();
        let saved: Plan = serde_json::from_str(&saved).unwrap();
        let kinds: Vec<_> = saved.environments[0].steps.iter().map(|step| step.action.kind()).collect();
        assert!(kinds.starts_with(&["health-before", "fetch", "verify"]) && kinds.contains(&"render"), "{kinds:?}");
    }
}

/// A plan that was saved and reviewed before an upgrade is not stale after it.
#[test]
fn what_every_version_observed_gives_the_plan_that_it_made_of_it() {
    #[derive(serde::Deserialize)]
    struct Published {
        observed: Observed,
    }
    for version in VERSIONS {
        let folder = fixtures().join("formats").join(version);
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let saved: Plan = serde_json::from_str(&read("plan.json")).unwrap();
        let published: Published = serde_json::from_str(&read("observation.json")).unwrap();
        let state = SourceFile::of("desired-state.toml", Ok(read("state/desired-state.toml")));
        let desired = load(state, &|_| Ok(Vec::new())).unwrap_or_else(|errors| panic!("{errors}")).desired;
        let env = &desired.environments[&"production".parse().unwrap()];
        let now = "2026-11-28T23:13:00Z".parse().unwrap();
        let context = Context { commit: &saved.commit, now, secrets: None };
        let made = plan_environment(&desired, &published.observed, env, &context);
        assert_eq!(made.fingerprint, saved.environments[0].fingerprint, "{version}");
        let ids = |steps: &[soll::plan::Step]| steps.iter().map(|step| step.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&made.steps), ids(&saved.environments[0].steps), "{version}");
    }
}
