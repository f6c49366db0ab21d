//! What is healed and changed again at once was deployed thirteen times in fifteen seconds.

use std::fs;
use std::os::unix::fs::chown;

use super::agent_user::WEB_SERVER;
use crate::support::world::{APP, World, env, until};

/// An environment that is healed, and whose application has written into its release since it was.
fn relapsed(times: u32) -> World {
    let w = World::with(&env("staging", 'a', "drift = \"heal\"\ndrift_every = \"1ms\""));
    w.bundle('a', &[("index.php", "1"), ("cache/.keep", "")]);
    w.soll("apply").exits(0);
    write(&w);
    w.soll("apply").exits(0);
    assert!(!w.path("staging/current/cache/one").exists(), "the first heal is made at once");
    let record = w.record("staging");
    assert_eq!(record["healed"]["times"], 1, "{record}");
    // As if that were one of many in a row, a moment ago.
    remember(&w, times);
    write(&w);
    w
}

/// What the web server's user writes.
fn write(w: &World) {
    for name in ["one", "two"] {
        let path = w.path("staging/current/cache").join(name);
        fs::write(&path, "cached").unwrap();
        chown(&path, Some(WEB_SERVER), Some(WEB_SERVER)).unwrap();
    }
}

fn remember(w: &World, times: u32) {
    let mut record = w.record("staging");
    record["healed"]["times"] = times.into();
    record["healed"]["at"] = jiff::Timestamp::now().to_string().into();
    fs::write(w.path("staging/.soll/record.json"), serde_json::to_vec(&record).unwrap()).unwrap();
}

#[test]
fn what_does_not_stay_healed_waits_and_says_who_writes_it_and_what_would_cover_it() {
    let w = relapsed(6);
    let release = w.release("staging");
    w.soll("apply").exits(4);
    assert_eq!(w.release("staging"), release);
    let plan = w.soll("plan --output json").exits(0).json();
    let found = plan["environments"][0]["blockers"].as_array().unwrap().clone();
    let blocker = found.iter().find(|found| found["code"] == "heal-did-not-last").unwrap_or_else(|| panic!("{plan}"));
    assert_eq!(blocker["grade"], "P1");
    let (message, fix) = (blocker["message"].as_str().unwrap(), blocker["fix"].as_str().unwrap());
    assert!(message.contains("cache/one (owner www-data, 20") && message.contains("6 heals in a row"), "{message}");
    assert!(message.contains("not healed again before 20"), "{message}");
    assert!(fix.contains("mutable = [\"cache/**\"]") && fix.contains("soll retry staging"), "{fix}");
    assert_eq!(plan["environments"][0]["sync"], "out-of-sync");
    w.soll("plan").exits(0).says("healed later");
    // A person's word.
    w.soll("retry staging").exits(0);
    w.soll("apply").exits(0);
    assert_ne!(w.release("staging"), release);
    assert!(!w.path("staging/current/cache/one").exists());
}

#[test]
fn the_globs_that_are_proposed_end_it() {
    let w = relapsed(6);
    w.soll("apply").exits(4);
    let app = APP.replace("[apps.web]\n", "[apps.web]\nmutable = [\"cache/**\"]\n");
    w.commit(&format!("{app}{}", env("staging", 'a', "drift = \"heal\"\ndrift_every = \"1ms\"")));
    w.soll("retry staging").exits(0);
    w.soll("apply").exits(0);
    write(&w);
    w.soll("plan --detailed-exitcode").exits(0).hides("cache/one");
}

#[test]
fn another_release_does_not_wait_for_it() {
    let w = relapsed(9);
    w.bundle('b', &[("index.php", "2"), ("cache/.keep", "")]);
    w.commit(&format!("{}{}", APP, env("staging", 'b', "drift = \"heal\"\ndrift_every = \"1ms\"")));
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
    assert!(w.record("staging")["healed"].is_null(), "what was healed is gone");
}

#[test]
fn a_daemon_tells_it_once_however_often_it_looks() {
    let w = relapsed(9);
    let daemon = w.start("run", "daemon.log");
    let told = |kind: &str| {
        let notices = w.soll("history --notices --output json").exits(0).json();
        notices.as_array().unwrap().iter().filter(|notice| notice["notice"] == kind).count()
    };
    until("the notice", || (told("heal-did-not-last") == 1).then_some(()));
    // Each commit makes it look again.
    for commits in 2..5 {
        w.write("README", &commits.to_string());
        w.commit_all("words");
        until("the commit", || (told("accepted-commit") == commits).then_some(()));
    }
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!((told("heal-did-not-last"), told("blocked"), told("drift")), (1, 0, 0));
}
