//! Whole deployments of a project, and the way back, on every pair of an engine and a program.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::platform::Platform;
use crate::support::engines::{self, NEXT, OLD, Pair, on_each};

on_each!(a_commit_is_deployed_and_a_bad_one_goes_back_without_a_registry: old, strict; plugin, next, mixed);

fn a_commit_is_deployed_and_a_bad_one_goes_back_without_a_registry(on: &'static Pair) {
    let mut p = Platform::new(on, "soll-deploys", "");
    let plan = p.w.soll("plan --detailed-exitcode").exits(2).stdout;
    for part in ["pull", "the project soll-deploys", "migrate", "-> 127.0.0.1:"] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    // What is not committed is not there.
    p.w.write("state/platform/web/site.conf", "not committed");
    p.w.soll("apply").exits(0);
    p.w.soll("plan --detailed-exitcode").exits(0);
    assert_eq!((p.exec("api", "/version").as_str(), p.exec("web", "/etc/site.conf").as_str()), ("one", "one"));
    assert_eq!(p.exec("api", "/tmp/warm"), "a".repeat(40));
    let well = ["api", "db", "web"].map(|name| (name.to_owned(), true));
    assert_eq!(p.status(), well);
    p.w.soll("status").exits(0).says("3 services as released");
    let (api, web, db) = (p.id("api"), p.id("web"), p.id("db"));

    // Another image alone.
    p.files("one");
    p.w.edit("<a>", "<b>");
    p.w.soll("apply").exits(0);
    assert_eq!(p.exec("api", "/version"), "two");
    assert_eq!(p.anew(&[("api", &api), ("web", &web), ("db", &db)]), ["api"]);

    // Another file at the same commit of the application.
    let api = p.id("api");
    p.files("two");
    let proposed = p.w.commit_all("another file");
    p.w.soll(&format!("plan --ref {proposed}")).exits(0).says("another setting of the project changed");
    p.w.soll("apply").exits(0);
    assert_eq!(p.exec("web", "/etc/site.conf"), "two");
    assert_eq!(p.anew(&[("api", &api), ("web", &web), ("db", &db)]), ["web"]);
    p.w.soll("plan --detailed-exitcode").exits(0);

    // A bad one with another file goes back, byte for byte, while the registry is away.
    let (web, name) = (p.id("web"), p.registry.name("soll-deploys/api:cccccccc"));
    p.docker.run(&["pull", "-q", &name]);
    p.registry.stop();
    p.files("three");
    p.w.edit("<b>", "<c>");
    let failed = p.w.soll("apply").exits(3);
    assert!(
        failed.stdout.contains(&format!("service api ({}) says no on local", on.container("soll-deploys", "api", 1))),
        "{}",
        failed.stdout
    );
    assert_eq!(p.w.quarantined("staging"), ["c"]);
    assert_eq!((p.exec("api", "/version").as_str(), p.exec("web", "/etc/site.conf").as_str()), ("two", "two"));
    assert_eq!(p.id("db"), db);
    assert_ne!(p.id("web"), web);
    assert_eq!(p.status(), well);
}

#[test]
fn a_registry_that_is_away_is_no_verdict() {
    let mut p = Platform::new(&OLD, "soll-away", "");
    p.w.soll("apply").exits(0);
    let api = p.id("api");
    p.registry.stop();
    p.w.edit("<a>", "<b>");
    p.w.soll("apply").exits(1).says("pull");
    assert!(p.w.quarantined("staging").is_empty());
    assert_eq!(p.id("api"), api);
    assert_eq!(p.status().len(), 3);
    p.registry.resume();
    p.w.soll("apply").exits(0);
    assert_eq!(p.exec("api", "/version"), "two");
}

#[test]
fn what_somebody_stopped_is_shown_or_brought_up_again() {
    let p = Platform::new(&OLD, "soll-heals", "drift = \"report\"");
    p.w.soll("apply").exits(0);
    let db = p.id("db");
    p.docker.run(&["stop", "-t", "1", &db]);
    p.w.soll("plan --detailed-exitcode").exits(0).says("services: not as released").says("db");
    p.w.soll("status").exits(0).says("1 of 3 services not as released: db");
    p.w.soll("diff staging").exits(0).says("db");
    p.w.soll("plan --output markdown").exits(0);
    p.w.edit("drift = \"report\"", "drift = \"heal\"");
    p.w.soll("plan --detailed-exitcode").exits(2).says("brought up");
    p.w.soll("apply").exits(0);
    assert_eq!(p.id("db"), db);
    assert!(p.status().iter().all(|(_, well)| *well));
    p.w.soll("plan --detailed-exitcode").exits(0);
    // So it is while the commit that is desired has failed, and is not tried again; but not while people froze everything.
    p.w.edit("<a>", "<c>");
    p.w.soll("apply").exits(3);
    let stopped = p.id("db");
    p.docker.run(&["stop", "-t", "1", &stopped]);
    p.w.soll("freeze staging --reason looking").exits(0);
    p.w.soll("apply");
    assert!(p.status().contains(&("db".to_owned(), false)), "{:?}", p.status());
    p.w.soll("unfreeze staging").exits(0);
    p.w.soll("apply");
    assert!(p.status().iter().all(|(_, well)| *well), "{:?}", p.status());
    assert_eq!((p.id("db"), p.version().as_deref()), (stopped, Some("one")));
    assert_eq!(p.w.quarantined("staging"), ["c"]);
    p.w.edit("<c>", "<a>");
    p.w.soll("plan --detailed-exitcode").exits(0);
    // Stopped on purpose it stays so, and starts when somebody says so (D5).
    p.w.soll("stop staging --reason maintenance").exits(0);
    assert!(p.status().iter().all(|(_, well)| !well), "{:?}", p.status());
    p.w.soll("start staging").exits(0);
    assert!(p.status().iter().all(|(_, well)| *well));
}

#[test]
fn a_pass_that_changes_nothing_calls_no_program() {
    let mut p = Platform::new(&NEXT, "soll-idle", "");
    // The plugin, and a line for each call of it.
    let plugin = "home/.docker/cli-plugins/docker-compose";
    let real = engines::next().join("usr/libexec/docker/cli-plugins/docker-compose");
    p.w.write(plugin, &format!("#!/bin/sh\necho \"$*\" >> $DIR/calls\nexec {} \"$@\"\n", real.display()));
    fs::set_permissions(p.w.path(plugin), fs::Permissions::from_mode(0o755)).unwrap();
    p.w.set("HOME", &p.w.path("home").display().to_string());
    p.w.soll("apply").exits(0);
    let calls = p.w.read("calls");
    assert!(calls.contains(" config ") && calls.contains(" up "), "{calls}");
    for command in ["apply", "plan --detailed-exitcode", "status", "diff staging"] {
        p.w.soll(command).exits(0);
        assert_eq!(p.w.read("calls"), calls, "{command}");
    }
}
