//! Several hosts in one environment: batches, hosts that fail alone, hosts that are away, customers from a template.

use crate::support::world::{APP, World, env};

/// Four roots on this machine that run `a`; `b` is desired. `$DIR/ill/hN` makes that host refuse `b`, and `$DIR/log` says
/// in which order they were switched.
fn fleet(more: &str) -> World {
    let hosts: String = (1..=4).map(|n| format!("[hosts.h{n}]\naddress = \"local\"\n")).collect();
    let names = (1..=4).map(|n| format!("\"h{n}\"")).collect::<Vec<_>>().join(", ");
    let hooks = "[[environments.fleet.hooks]]\nname = \"logs\"\nphase = \"post-switch\"\nrun = \"echo {host} >> $DIR/log\"\n\
        [[environments.fleet.health.checks]]\nname = \"well\"\nrun = \"test ! -e $DIR/ill/{host} -o $(cat index.html) = a\"\n";
    let w = World::new();
    for letter in ['a', 'b'] {
        w.bundle(letter, &[]);
    }
    let environment =
        format!("[environments.fleet]\nrelease = \"<a>\"\nhosts = [{names}]\nroot = \"$DIR/fleet/{{host}}\"\n");
    w.commit(&format!("{APP}{hosts}{environment}{more}\n{hooks}"));
    w.soll("apply").exits(0);
    w.soll("release fleet <b>").exits(0);
    w.write("log", "");
    w
}

fn all(w: &World) -> String {
    (1..=4).map(|n| w.runs(&format!("fleet/h{n}"))).collect()
}

/// Which hosts know a verdict on `b`.
fn verdicts(w: &World) -> Vec<u32> {
    (1..=4).filter(|n| w.quarantined(&format!("fleet/h{n}")) == ["b"]).collect()
}

const ROLLING: &str = "strategy = { type = \"rolling\", batch = 1";

#[test]
fn a_batch_that_fails_sends_back_what_was_switched() {
    let w = fleet(&format!("{ROLLING} }}"));
    w.write("ill/h2", "");
    w.soll("apply").exits(3).says("ROLLED BACK").says("check `well` on h2");
    assert_eq!(all(&w), "aaaa");
    assert_eq!(w.read("log"), "h1\nh2\n", "h3 and h4 were never touched");
    assert_eq!(verdicts(&w), [1, 2, 3, 4]);
}

#[test]
fn a_batch_that_fails_is_held_where_the_environment_says_so() {
    let w = fleet(&format!("on_failure = \"hold\"\n{ROLLING} }}"));
    w.write("ill/h2", "");
    w.soll("apply").exits(1).says("held for people to look at");
    assert_eq!(all(&w), "bbaa");
    assert_eq!(verdicts(&w), [1, 2, 3, 4]);
    w.soll("apply").exits(7);
    assert_eq!(all(&w), "bbaa");
}

#[test]
fn one_host_may_fail_and_the_others_go_on() {
    let w = fleet(&format!("{ROLLING}, max_failures = 1 }}"));
    w.write("ill/h2", "");
    let ran = w.soll("apply").exits(1).says("h2 goes back alone, the others go on");
    let ran = ran.says("1 of 4 hosts failed: h2 went back (check `well` on h2").says("soll retry fleet");
    assert!(!ran.stderr.contains("succeeded"), "a rollback is no success: {}", ran.stderr);
    assert_eq!(all(&w), "babb");
    assert_eq!(w.read("log"), "h1\nh2\nh3\nh4\n");
    assert_eq!(verdicts(&w), [2], "a verdict about one host is that host's");
    for n in 1..=4 {
        assert!(w.record(&format!("fleet/h{n}"))["probation"].is_null());
    }
    let row = w.soll("history --output json").exits(0).json()[0].clone();
    assert_eq!((row["result"].as_str(), row["environment"].as_str()), (Some("failed"), Some("fleet")));
    let status = w.soll("status --output json").exits(0).json()["environments"][0].clone();
    assert_eq!((status["sync"].as_str(), status["operation"].as_str()), (Some("out-of-sync"), Some("failed")));

    // It is not tried again by itself, and the others stay where they are.
    let before = w.tree("fleet");
    w.soll("apply").exits(7).says("failed on h2").says("soll retry fleet");
    w.soll("why fleet").exits(0).says("failed on h2");
    assert_eq!(w.tree("fleet"), before);

    // A person lifts it; the host catches up alone.
    std::fs::remove_file(w.path("ill/h2")).unwrap();
    w.soll("retry fleet").exits(0);
    w.write("log", "");
    w.soll("apply").exits(0);
    assert_eq!((all(&w), w.read("log")), ("bbbb".into(), "h2\n".into()));
}

#[test]
fn one_host_too_many_sends_everybody_back() {
    let w = fleet(&format!("{ROLLING}, max_failures = 1 }}"));
    w.write("ill/h2", "");
    w.write("ill/h4", "");
    w.soll("apply").exits(3).says("h2 goes back alone").says("ROLLED BACK: check `well` on h4");
    assert_eq!(all(&w), "aaaa");
    assert_eq!(verdicts(&w), [1, 2, 3, 4]);
    w.soll("apply").exits(7);
}

#[test]
fn where_nobody_is_left_it_is_no_partial_success() {
    let w = fleet("strategy = { type = \"rolling\", batch = 4, max_failures = 4 }");
    for n in 1..=4 {
        w.write(&format!("ill/h{n}"), "");
    }
    w.soll("apply").exits(3).says("ROLLED BACK");
    assert_eq!(all(&w), "aaaa");
    assert_eq!(verdicts(&w), [1, 2, 3, 4]);
}

#[test]
fn a_host_that_fails_alone_is_held_where_the_environment_says_so() {
    let w = fleet(&format!("on_failure = \"hold\"\n{ROLLING}, max_failures = 1 }}"));
    w.write("ill/h1", "");
    w.soll("apply").exits(1).says("1 of 4 hosts failed: h1 stays as it is");
    assert_eq!(all(&w), "bbbb");
    assert_eq!(verdicts(&w), [1]);
    let confirmed = w.record("fleet/h1")["confirmed"]["sha"].as_str().unwrap().to_owned();
    assert!(confirmed.starts_with('a'), "what is held is not confirmed: {confirmed}");
    w.soll("apply").exits(7);
}

#[test]
fn a_host_that_cannot_go_back_ends_the_rollout() {
    // Once it has failed, nothing is well on h2, the old release neither.
    let check = "[[environments.fleet.health.checks]]\nname = \"whole\"\nrun = \"test ! -e $DIR/broken/{host}\"\n";
    let hook = "[[environments.fleet.hooks]]\nphase = \"post-switch\"\nrun = \"test ! -e $DIR/doomed/{host} || mkdir -p $DIR/broken/{host}\"\n";
    let w = fleet(&format!("{ROLLING}, max_failures = 1 }}\n{check}{hook}"));
    w.write("doomed/h2", "");
    let said = w.soll("apply").exits(1).says("its way back failed").says("AND THE WAY BACK FAILED");
    assert_eq!(all(&w), "aaaa");
    // What fails with both releases says nothing of the new one.
    said.says("h2 is suspect, not bbbbbbbb");
    assert_eq!(verdicts(&w), Vec::<u32>::new());
}

#[test]
fn a_controller_that_dies_over_a_host_that_failed_alone() {
    let mut w = fleet(&format!("{ROLLING}, max_failures = 1 }}"));
    w.write("ill/h2", "");
    w.set("SOLL_FAULT", "run.after-turned-back");
    let died = w.soll("apply");
    assert_eq!(died.exit, -1, "killed: {}", died.stderr);
    // The verdict goes with the way back: a host that has not gone back is judged again.
    assert_eq!((all(&w), verdicts(&w)), ("bbaa".into(), vec![]));
    w.set("SOLL_FAULT", "");
    w.soll("apply").exits(1).says("check `well` on h2");
    assert_eq!((all(&w), verdicts(&w)), ("babb".into(), vec![2]));
    w.soll("apply").exits(7).says("failed on h2");
    assert_eq!((all(&w), verdicts(&w)), ("babb".into(), vec![2]));
    for n in 1..=4 {
        assert!(w.record(&format!("fleet/h{n}"))["probation"].is_null(), "h{n}");
    }
}

#[test]
fn a_pause_lies_between_two_batches() {
    let w = fleet("strategy = { type = \"rolling\", batch = \"50%\", pause = \"10ms\" }");
    w.soll("plan").exits(0).says("grace");
    w.soll("apply").exits(0);
    assert_eq!(all(&w), "bbbb");
    let run = w.soll("history --output json").json()[0]["run"].as_str().unwrap().to_owned();
    let shown = w.soll(&format!("show {run}")).exits(0).stdout;
    let at = |part: &str| shown.find(part).unwrap_or_else(|| panic!("{part} is not in {shown}"));
    assert!(at("health:h2:well") < at("grace:batch-1") && at("grace:batch-1") < at("switch:h3"), "{shown}");
}

#[test]
fn a_host_that_was_away_is_caught_up_when_it_returns() {
    let w = fleet("unreachable = \"skip\"");
    // A root that is in nobody's reach: what should be a directory is not.
    std::fs::rename(w.path("fleet/h3"), w.path("away")).unwrap();
    w.write("fleet/h3", "");
    w.soll("apply").exits(0).says("h3 cannot be reached");
    assert_eq!(w.read("log").lines().count(), 3, "{}", w.read("log"));
    assert_eq!([1, 2, 4].map(|n| w.runs(&format!("fleet/h{n}"))), ["b", "b", "b"]);
    std::fs::remove_file(w.path("fleet/h3")).unwrap();
    std::fs::rename(w.path("away"), w.path("fleet/h3")).unwrap();
    w.write("log", "");
    w.soll("apply").exits(0);
    assert_eq!((all(&w), w.read("log")), ("bbbb".into(), "h3\n".into()));
    w.edit("\nunreachable = \"skip\"", "");
    w.soll("release fleet <a>").exits(0);
    std::fs::rename(w.path("fleet/h3"), w.path("away")).unwrap();
    w.write("fleet/h3", "");
    w.soll("apply").exits(6).says("h3 cannot be reached").says("put that right on h3");
    assert_eq!(w.runs("fleet/h1"), "b", "with `block` nobody goes without it");
    std::fs::remove_file(w.path("fleet/h3")).unwrap();
    std::fs::rename(w.path("away"), w.path("fleet/h3")).unwrap();
}

#[test]
fn one_customers_broken_server_stops_nobody_else() {
    let customers = ["north", "south", "west"].map(|name| {
        format!(
            "[hosts.{name}]\naddress = \"local\"\n[environments.{name}]\nextends = \"customer\"\nhosts = [\"{name}\"]\n"
        )
    });
    let template = "[templates.customer]\nrelease = \"<a>\"\nroot = \"$DIR/customers/{env}\"\n";
    let w = World::with(&format!("{template}{}", customers.concat()));
    w.soll("apply").exits(0);
    for name in ["north", "south", "west"] {
        assert_eq!(w.runs(&format!("customers/{name}")), "a", "{name}");
    }
    // One line moves all of them, and the one whose server is broken is the only one that stays.
    std::fs::rename(w.path("customers/south"), w.path("away")).unwrap();
    w.write("customers/south", "");
    w.edit("release = \"<a>\"", "release = \"<b>\"");
    w.soll("apply").exits(6).says("south");
    assert_eq!(w.runs("customers/north"), "b");
    assert_eq!(w.runs("customers/west"), "b");
    // A new customer is three lines.
    let more = w.read("state/desired-state.toml")
        + &env("east", 'b', "extends = \"customer\"").replace("/east", "/customers/east");
    w.commit(&more);
    w.soll("apply east").exits(0);
    assert_eq!(w.runs("customers/east"), "b");
}

#[test]
fn the_bundle_of_a_new_commit_is_fetched_while_the_hosts_are_reached() {
    let mut w = World::new();
    for letter in ['a', 'b', 'c'] {
        w.bundle(letter, &[]);
    }
    let hosts = "[hosts.h1]\naddress = \"local\"\n";
    w.commit(&format!("{APP}{hosts}{}", env("fleet", 'a', "hosts = [\"h1\"]")));
    w.soll("apply").exits(0);
    let cached = |w: &World| std::fs::read_dir(w.path("ctl/cache/bundles/bundles")).unwrap().count();
    assert_eq!(cached(&w), 1);
    // It takes connections and never says a word.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("address = \"127.0.0.1\"\nport = {}", mute.local_addr().unwrap().port());
    w.write("ssh_config", "Host *\n  ConnectTimeout 3\n");
    w.set("SOLL_SSH_CONFIG", "$DIR/ssh_config");
    w.edit("address = \"local\"", &address);
    w.soll("release fleet <b>").exits(0);
    w.soll("apply").exits(6).says("h1");
    assert_eq!(cached(&w), 2, "`b` is here before the host was reached");
    // Where nothing is known of an environment, most often nothing is to be done.
    let other = env("other", 'c', "hosts = [\"h1\"]");
    w.edit("[environments.fleet]", &format!("{other}\n[environments.fleet]"));
    w.soll("apply other").exits(6);
    assert_eq!(cached(&w), 2);
}
