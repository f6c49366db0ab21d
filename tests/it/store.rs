//! The store: durable, shared by processes, honest about damage, and a truthful ledger.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use soll::journal::event::Started;
use soll::journal::notice::{Noted, Notice};
use soll::journal::operation::Action;
use soll::journal::{Entry, Event, Operation, RunResult, StepEnd, Subject, What};
use soll::model::ids::{Digest, EnvName, HostName, RunId, Sha};
use soll::model::machine::Machine;
use soll::store::{Backoff, Details, Store, StoreError};

fn now() -> Timestamp {
    "2025-11-02T15:49:00Z".parse().unwrap()
}

fn after(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

fn id(text: &str) -> RunId {
    text.parse().unwrap()
}

fn env(text: &str) -> EnvName {
    text.parse().unwrap()
}

fn sha(digit: char) -> Sha {
    digit.to_string().repeat(40).parse().unwrap()
}

fn started(run: &str, environment: &str, at: Timestamp) -> Event {
    Event::Started(Box::new(Started {
        run: id(run),
        environment: env(environment),
        at,
        commit: "c0ffee".to_owned(),
        actor: "Ada <ada@example.com>".to_owned(),
        from: Some("20251101_120000-aaaaaaaa".parse().unwrap()),
        from_sha: Some(sha('a')),
        to: sha('b'),
        release: "20251102_154900-bbbbbbbb".parse().unwrap(),
        committed_at: Some(after(-60)),
        reason: "bbbbbbbb is desired".to_owned(),
        steps: Vec::new(),
    }))
}

fn operation(run: &str, action: Action, environment: Option<&str>, at: Timestamp) -> Event {
    Event::Operation(Box::new(Operation {
        run: id(run),
        action,
        environment: environment.map(env),
        hosts: vec!["web1".parse().unwrap(), "web2".parse().unwrap()],
        at,
        commit: "c0ffee".to_owned(),
        actor: "ada@desk".to_owned(),
        reason: "data corruption".to_owned(),
    }))
}

fn finished(at: Timestamp, result: RunResult) -> Event {
    Event::Finished { at, result, reason: String::new() }
}

fn ended(step: &str, millis: u64) -> Event {
    Event::Ended { step: step.to_owned(), at: now(), millis, end: StepEnd::Done { note: String::new() } }
}

/// A whole run with these steps.
fn play(store: &Store, run: &str, environment: &str, at: Timestamp, result: RunResult, steps: &[(&str, u64)]) {
    store.append(&id(run), &started(run, environment, at)).unwrap();
    for (step, millis) in steps {
        store.append(&id(run), &ended(step, *millis)).unwrap();
    }
    store.append(&id(run), &finished(at, result)).unwrap();
}

#[test]
fn a_run_is_followed_event_by_event_and_ends_in_its_row() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    // Another process, as far as SQLite can tell.
    let reader = Store::open(dir.path()).unwrap();
    let run = id("20251102-154900-k3");
    let events = [started("20251102-154900-k3", "production", now()), ended("switch:web1", 12)];
    for (n, event) in events.iter().enumerate() {
        assert_eq!(store.append(&run, event).unwrap(), n as u64 + 1);
    }
    assert_eq!(reader.events(&run).unwrap(), [(1, events[0].clone()), (2, events[1].clone())]);
    assert_eq!(reader.run("20251102-154900-k3").unwrap().result, None);
    store.append(&run, &finished(after(41), RunResult::RolledBack)).unwrap();
    assert_eq!(reader.events_after(&run, 2).unwrap(), [(3, finished(after(41), RunResult::RolledBack))]);
    let mut row = serde_json::to_value(reader.last_run(&env("production")).unwrap().unwrap()).unwrap();
    let own = row.as_object_mut().unwrap();
    assert_eq!(own.remove("pid").unwrap(), std::process::id());
    assert!(own.remove("machine").unwrap().is_string());
    insta::assert_snapshot!("history_row", serde_json::to_string_pretty(&row).unwrap());
}

#[test]
fn a_commit_is_new_to_an_environment_that_had_runs_about_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(!store.is_new(&env("staging"), &sha('c')).unwrap(), "nothing is known of it");
    play(&store, "r1", "staging", now(), RunResult::Succeeded, &[]);
    let new = |name: &str, digit: char| store.is_new(&env(name), &sha(digit)).unwrap();
    assert_eq!([new("staging", 'c'), new("staging", 'b'), new("production", 'c')], [true, false, false]);
    // Under way or not.
    store.append(&id("r2"), &started("r2", "production", now())).unwrap();
    assert_eq!([new("production", 'c'), new("production", 'b')], [true, false]);
}

#[test]
fn a_journal_takes_nothing_before_its_start_and_nothing_after_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(matches!(store.append(&id("r1"), &ended("fetch", 1)), Err(StoreError::NoSuchRun(run)) if run == "r1"));
    play(&store, "r1", "staging", now(), RunResult::Succeeded, &[]);
    let late = finished(after(9), RunResult::Failed);
    assert!(matches!(store.append(&id("r1"), &late), Err(StoreError::Over { result, .. }) if result == "succeeded"));
    let again = store.append(&id("r1"), &started("r1", "staging", now()));
    assert!(matches!(again, Err(StoreError::Twice(_))), "{again:?}");
    assert_eq!(store.run("r1").unwrap().result, Some(RunResult::Succeeded));
    assert_eq!(store.events(&id("r1")).unwrap().len(), 2);
}

#[test]
fn a_run_whose_process_is_gone_ends_as_interrupted_and_a_living_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let dies = Store::open(dir.path()).unwrap();
    let lives = Store::open(dir.path()).unwrap();
    dies.append(&id("r1"), &started("r1", "staging", now())).unwrap();
    lives.append(&id("r2"), &started("r2", "production", now())).unwrap();
    let starts = Store::open(dir.path()).unwrap();
    assert!(starts.interrupt_dead(after(5)).unwrap().is_empty(), "both are alive");
    // What the kernel does for a process that dies: its locks are gone.
    drop(dies);
    let ended = starts.interrupt_dead(after(5)).unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!((ended[0].run.as_str(), ended[0].result), ("r1", Some(RunResult::Interrupted)));
    assert_eq!(ended[0].finished, Some(after(5)));
    assert!(ended[0].reason.contains(&std::process::id().to_string()), "{}", ended[0].reason);
    assert!(matches!(starts.events(&id("r1")).unwrap().last(), Some((3, Event::Finished { .. }))));
    assert_eq!(starts.unfinished().unwrap().iter().map(|r| r.run.as_str()).collect::<Vec<_>>(), ["r2"]);
    assert!(starts.interrupt_dead(after(6)).unwrap().is_empty(), "once is enough");
    lives.append(&id("r2"), &finished(after(7), RunResult::Succeeded)).unwrap();
    assert!(!starts.alive(&id("r2")).unwrap());
    assert_eq!(std::fs::read_dir(dir.path().join("live")).unwrap().count(), 0, "no lock file is left");
}

#[test]
fn runs_are_found_by_the_beginning_of_their_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for (n, run) in ["20251101-a1", "20251102-b1", "20251102-b12", "20251103_x"].iter().enumerate() {
        play(&store, run, "staging", after(n as i64), RunResult::Succeeded, &[]);
    }
    assert_eq!(store.run("20251101").unwrap().run.as_str(), "20251101-a1");
    assert_eq!(store.run("20251102-b1").unwrap().run.as_str(), "20251102-b1", "a whole name is never ambiguous");
    let error = store.run("20251102").unwrap_err();
    assert_eq!(error.to_string(), "`20251102` may be 20251102-b12, 20251102-b1: give more of it");
    // No pattern: `_` and `%` are letters like others.
    for nothing in ["", "%", "20251101_", "7"] {
        assert!(matches!(store.run(nothing), Err(StoreError::NoSuchRun(_))), "{nothing}");
    }
}

#[test]
fn history_is_newest_first_per_environment_and_over_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    // The start counts, not the name and not the order of writing; half a second is more than none.
    let half = after(10) + SignedDuration::from_millis(500);
    play(&store, "z1", "staging", after(10), RunResult::Succeeded, &[]);
    play(&store, "a2", "production", half, RunResult::Failed, &[]);
    play(&store, "m3", "staging", after(11), RunResult::Error, &[]);
    let names = |env: Option<&EnvName>, limit| {
        store.runs(env, None, limit).unwrap().into_iter().map(|r| r.run.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 10), ["m3", "a2", "z1"]);
    assert_eq!(names(Some(&env("staging")), 10), ["m3", "z1"]);
    assert_eq!(names(None, 1), ["m3"]);
    assert_eq!(store.last_run(&env("production")).unwrap().unwrap().started, half, "nothing is rounded");
    assert_eq!(store.last_run(&env("nowhere")).unwrap(), None);
}

#[test]
fn estimates_are_medians_of_the_last_five_successes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    // Too old to count.
    play(&store, "r0", "staging", now(), RunResult::Succeeded, &[("fetch", 90_000), ("gone", 1)]);
    for (n, millis) in [50, 10, 40, 20, 30].into_iter().enumerate() {
        let run = format!("s{n}");
        play(&store, &run, "staging", after(n as i64 + 1), RunResult::Succeeded, &[("fetch", millis)]);
    }
    play(&store, "bad", "staging", after(20), RunResult::RolledBack, &[("fetch", 7_000)]);
    play(&store, "other", "production", after(21), RunResult::Succeeded, &[("fetch", 1), ("switch:web1", 9)]);
    assert_eq!(store.estimates(&env("staging")).unwrap(), BTreeMap::from([("fetch".to_owned(), 30)]));
    assert_eq!(store.estimates(&env("production")).unwrap().len(), 2);
    assert!(store.estimates(&env("nowhere")).unwrap().is_empty());
}

#[test]
fn trimming_takes_old_events_and_leaves_the_ledger_and_what_is_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.append(&id("open"), &started("open", "staging", now())).unwrap();
    for n in 1..=4 {
        play(&store, &format!("s{n}"), "staging", after(n), RunResult::Succeeded, &[("fetch", 1)]);
    }
    play(&store, "p1", "production", now(), RunResult::Succeeded, &[("fetch", 1)]);
    assert_eq!(store.trim(2).unwrap(), 2);
    let kept = |run: &str| store.events(&id(run)).unwrap().len();
    assert_eq!(["open", "s1", "s2", "s3", "s4", "p1"].map(kept), [1, 0, 0, 3, 3, 3]);
    assert_eq!(store.runs(Some(&env("staging")), None, 10).unwrap().len(), 5);
    assert_eq!(store.trim(2).unwrap(), 0);
}

#[test]
fn operations_are_runs_of_their_own_and_stand_in_for_no_deployment() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let operate = |run: &str, action, environment, at, result| {
        store.append(&id(run), &operation(run, action, environment, at)).unwrap();
        store.append(&id(run), &finished(at, result)).unwrap();
    };
    operate("o0", Action::Stop, Some("staging"), now(), RunResult::Succeeded);
    // What only deployments say is not said of an environment that had none.
    assert!(!store.is_new(&env("staging"), &sha('c')).unwrap());
    assert_eq!(store.last_run(&env("staging")).unwrap(), None);
    play(&store, "d1", "staging", after(1), RunResult::Succeeded, &[("fetch", 30)]);
    for n in 2..=8 {
        operate(&format!("o{n}"), Action::Retry, Some("staging"), after(n), RunResult::Failed);
    }
    operate("all", Action::Acknowledge, None, after(9), RunResult::Unreachable);

    assert_eq!(store.last_run(&env("staging")).unwrap().unwrap().run.as_str(), "d1");
    assert_eq!(store.estimates(&env("staging")).unwrap(), BTreeMap::from([("fetch".to_owned(), 30)]));
    let names = |environment: Option<&str>, subject, limit| {
        let rows = store.runs(environment.map(env).as_ref(), subject, limit).unwrap();
        rows.into_iter().map(|row| row.run.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(None, Some(Subject::Deploy), 10), ["d1"]);
    assert_eq!(names(Some("staging"), Some(Subject::Operate), 2), ["o8", "o7"]);
    assert_eq!(names(Some("staging"), None, 10), ["o8", "o7", "o6", "o5", "o4", "o3", "o2", "d1", "o0"]);
    assert_eq!(names(None, None, 1), ["all"]);

    // Many operations push no deployment out of the journal.
    store.trim(2).unwrap();
    let kept = |run: &str| store.events(&id(run)).unwrap().len();
    assert_eq!(["o0", "o6", "o7", "o8", "d1", "all"].map(kept), [0, 0, 2, 2, 3, 2]);

    let row = store.run("all").unwrap();
    assert!(matches!(&row.details, Details::Operation { action: Action::Acknowledge, hosts } if hosts.len() == 2));
    let json = serde_json::to_value(&row).unwrap();
    let told =
        [&json["subject"], &json["action"], &json["environment"], &json["result"], &json["actor"], &json["cause"]];
    let wanted: [serde_json::Value; 6] = [
        "operate".into(),
        "acknowledge".into(),
        serde_json::Value::Null,
        "unreachable".into(),
        "ada@desk".into(),
        "data corruption".into(),
    ];
    assert_eq!(told, [&wanted[0], &wanted[1], &wanted[2], &wanted[3], &wanted[4], &wanted[5]]);
    assert_eq!(json.get("to"), None, "what only a deployment has is not there");
}

#[test]
fn an_operation_whose_process_is_gone_ends_as_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let dies = Store::open(dir.path()).unwrap();
    dies.append(&id("o1"), &operation("o1", Action::Stop, Some("staging"), now())).unwrap();
    drop(dies);
    let ended = Store::open(dir.path()).unwrap().interrupt_dead(after(5)).unwrap();
    assert_eq!((ended.len(), ended[0].subject, ended[0].result), (1, Subject::Operate, Some(RunResult::Interrupted)));
}

#[test]
fn numbers_only_grow_whatever_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for n in 1..=3 {
        play(&store, &format!("s{n}"), "staging", after(n), RunResult::Succeeded, &[]);
    }
    let last = store.events(&id("s3")).unwrap().last().unwrap().0;
    store.trim(0).unwrap();
    assert_eq!(store.events(&id("s3")).unwrap(), []);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.append(&id("s4"), &started("s4", "staging", after(4))).unwrap(), last + 1);
}

#[test]
fn notices_and_events_are_one_sequence_and_the_newest_about_each_thing_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let noted = |seconds, notice| Noted { at: after(seconds), notice };
    let in_sync = |name: &str| Notice::InSync { environment: env(name) };
    let unhealthy = |name: &str| Notice::Unhealthy { environment: env(name) };
    store.note(&[noted(1, in_sync("staging")), noted(1, in_sync("production"))]).unwrap();
    play(&store, "r1", "staging", after(2), RunResult::Succeeded, &[]);
    store.note(&[noted(3, unhealthy("staging"))]).unwrap();
    store.note(&[noted(4, in_sync("staging"))]).unwrap();

    let numbers = |entries: Vec<Entry>| entries.iter().map(|entry| entry.number).collect::<Vec<_>>();
    assert_eq!(numbers(store.after(0, 100).unwrap()), [1, 2, 3, 4, 5, 6]);
    let after_two = store.after(2, 3).unwrap();
    assert!(matches!(&after_two[0].what, What::Event { run, event: Event::Started(_) } if run.as_str() == "r1"));
    assert_eq!(after_two[2].what, What::Notice(noted(3, unhealthy("staging"))));
    let json = serde_json::to_value(&after_two[2]).unwrap();
    assert_eq!(
        (&json["number"], &json["notice"], &json["environment"]),
        (&5.into(), &"unhealthy".into(), &"staging".into())
    );

    let newest = store.notices(Some(&env("staging")), 2).unwrap();
    assert_eq!(newest, [(6, noted(4, in_sync("staging"))), (5, noted(3, unhealthy("staging")))]);
    let standing = [noted(1, in_sync("production")), noted(4, in_sync("staging"))];
    assert_eq!(store.standing().unwrap(), standing);
    // Old ones go, how things stand does not, nor do events of runs.
    assert_eq!(store.trim_notices(1).unwrap(), 2);
    assert_eq!(store.standing().unwrap(), standing);
    assert_eq!(numbers(store.after(0, 100).unwrap()), [2, 3, 4, 6]);
}

#[test]
fn a_tag_means_for_one_commit_what_it_meant_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let api = "https://git.example.com/api.git";
    assert_eq!(store.resolution("c1", api, "v1.1.0").unwrap(), None);
    assert_eq!(store.set_resolution("c1", api, "v1.1.0", &sha('a')).unwrap(), sha('a'));
    assert_eq!(store.set_resolution("c1", api, "v1.1.0", &sha('b')).unwrap(), sha('a'), "a moved tag changes nothing");
    assert_eq!(store.resolution("c1", api, "v1.1.0").unwrap(), Some(sha('a')));
    assert_eq!(store.set_resolution("c2", api, "v1.1.0", &sha('b')).unwrap(), sha('b'));
}

#[test]
fn accepted_commits_and_backoff_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (staging, wait) = (env("staging"), Backoff::after(None, Digest::of(b"plan"), now(), 0.5, "no route to host"));
    {
        let store = Store::open(dir.path()).unwrap();
        store.set_accepted("repo main", "c1").unwrap();
        store.set_accepted("repo main", "c2").unwrap();
        store.set_backoff(&staging, &wait).unwrap();
    }
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.accepted("repo main").unwrap().as_deref(), Some("c2"));
    assert_eq!(store.accepted("repo other").unwrap(), None);
    assert_eq!(store.backoff(&staging).unwrap(), Some(wait.clone()));
    let longer = Backoff::after(Some(&wait), wait.fingerprint, now(), 0.0, "still none");
    store.set_backoff(&staging, &longer).unwrap();
    assert_eq!(store.backoff(&staging).unwrap(), Some(longer));
    store.clear_backoff(&staging).unwrap();
    assert_eq!(store.backoff(&staging).unwrap(), None);
}

#[test]
fn a_damaged_file_is_named_with_what_to_do_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("soll.db");
    let rubbish = "this is no database, it only pretends to be one. ".repeat(100);
    std::fs::write(&file, &rubbish).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    let said = error.to_string();
    assert!(said.contains(file.to_str().unwrap()) && said.contains("Move it away"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), rubbish);
}

#[test]
fn tags_of_commits_that_are_not_acted_on_are_forgotten_once_they_are_many() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let sha = "a".repeat(40).parse().unwrap();
    for commit in ["old", "running", "accepted"] {
        store.set_resolution(commit, "repo", "v1", &sha).unwrap();
    }
    store.set_accepted("repo#main", "accepted").unwrap();
    store.append(&id("r1"), &started("r1", "staging", now())).unwrap();
    raw(dir.path()).execute("UPDATE runs SET state_commit = 'running'", []).unwrap();
    assert_eq!(store.trim_resolutions(3).unwrap(), 0);
    assert_eq!(store.trim_resolutions(2).unwrap(), 1);
    let known = |commit| store.resolution(commit, "repo", "v1").unwrap().is_some();
    assert_eq!((known("old"), known("running"), known("accepted")), (false, true, true));
}

#[test]
fn a_line_that_nobody_wrote_is_damage_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.append(&id("r1"), &started("r1", "staging", now())).unwrap();
    raw(dir.path()).execute("UPDATE events SET event = '{\"event\":\"from-the-future\"}'", []).unwrap();
    let error = store.events(&id("r1")).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}

#[test]
fn a_host_stays_the_machine_that_it_was_first_until_a_person_says_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    // What the first version left knows no machines, and gets the table for them.
    let old = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/formats/v1/soll.db");
    std::fs::copy(old, dir.path().join("soll.db")).unwrap();
    let store = Store::open(dir.path()).unwrap();
    let [web1, web2]: [HostName; 2] = ["web1", "web2"].map(|name| name.parse().unwrap());
    let known = |store: &Store, repository: &str| store.machines(repository, [&web1, &web2]).unwrap();
    assert_eq!(known(&store, "repo"), BTreeMap::new());
    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    store.note_machines("repo", &BTreeMap::from([(web1.clone(), one)]), now()).unwrap();
    // Met twice at once: the first note stays, with its time, and the other host is noted.
    store.note_machines("repo", &BTreeMap::from([(web1.clone(), two), (web2.clone(), two)]), after(9)).unwrap();
    let first = Machine { id: one, since: now() };
    let second = Machine { id: two, since: after(9) };
    let both = BTreeMap::from([(web1.clone(), first), (web2.clone(), second)]);
    assert_eq!(known(&store, "repo"), both);
    assert_eq!(known(&store, "another repo"), BTreeMap::new(), "a name means a host only in one repository");
    let taken = Machine { id: two, since: after(20) };
    store.set_machine("repo", &web1, Some(&taken)).unwrap();
    store.set_machine("repo", &web2, None).unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(known(&store, "repo"), BTreeMap::from([(web1.clone(), taken)]));
}

#[test]
fn a_newer_schema_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    raw(dir.path()).pragma_update(None, "user_version", 7).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 7, known: 4, .. }), "{error:?}");
    assert!(error.to_string().contains("use a newer soll"), "{error}");
    let version: i64 = raw(dir.path()).query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 7);
}

#[test]
fn what_is_made_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("a/state");
    let _store = Store::open(&state).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    for file in ["soll.db", "soll.db-wal", "soll.db-shm"] {
        assert_eq!(mode(&state.join(file)), 0o600, "{file}");
    }
}

#[test]
fn several_writers_at_once_lose_no_line() {
    let dir = tempfile::tempdir().unwrap();
    let writers = 4;
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let dir = dir.path();
            // Each opens for itself, all of them first: the tables are made once.
            scope.spawn(move || {
                let store = Store::open(dir).unwrap();
                let run = format!("w{writer}");
                store.append(&id(&run), &started(&run, "staging", now())).unwrap();
                let mut last = 0;
                for n in 0..10 {
                    let number = store.append(&id(&run), &ended("fetch", n)).unwrap();
                    assert!(number > last, "{number} after {last}");
                    last = number;
                }
                store.append(&id(&run), &finished(after(1), RunResult::Succeeded)).unwrap();
            });
        }
    });
    let store = Store::open(dir.path()).unwrap();
    for row in store.runs(None, None, 10).unwrap() {
        assert_eq!(store.events(&row.run).unwrap().len(), 12, "{}", row.run);
    }
    let rows = store.runs(None, None, 10).unwrap();
    assert_eq!(rows.len(), writers);
    // Over all of them every number was given once.
    let mut numbers: Vec<_> =
        rows.iter().flat_map(|row| store.events(&row.run).unwrap()).map(|(number, _)| number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=12 * writers as u64).collect::<Vec<_>>());
}

#[test]
fn what_was_appended_is_in_the_files_and_not_only_in_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.append(&id("r1"), &started("r1", "staging", now())).unwrap();
    // A copy of the files as they are now is what a killed program leaves.
    let left = tempfile::tempdir().unwrap();
    for file in ["soll.db", "soll.db-wal"] {
        std::fs::copy(dir.path().join(file), left.path().join(file)).unwrap();
    }
    assert_eq!(Store::open(left.path()).unwrap().events(&id("r1")).unwrap().len(), 1);
}

fn raw(dir: &Path) -> Connection {
    Connection::open(dir.join("soll.db")).unwrap()
}
