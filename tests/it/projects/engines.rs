//! Engines that die in the middle, and engines whose disk is full.

use std::path::PathBuf;

use super::platform::Platform;
use crate::support::disk::Disk;
use crate::support::docker::{Docker, Options};
use crate::support::engines::{Pair, on_each};
use crate::support::registry::Registry;
use crate::support::world::until;

on_each!(an_engine_that_is_killed_while_it_recreates_is_healed_by_the_next_pass: old, strict);

/// With each way of an engine to treat what runs while it is away (I5).
fn an_engine_that_is_killed_while_it_recreates_is_healed_by_the_next_pass(on: &'static Pair) {
    for live_restore in [false, true] {
        let docker = Docker::start(on, Options { live_restore, ..Options::default() });
        let registry = Registry::start();
        let port = registry.port;
        let p = Platform::with(&docker, "soll-killed", "", registry, port);
        // It takes its time to end, so that there is a middle.
        let text = p.w.read("state/platform/compose.yml").replacen("trap 'exit 0' TERM", "trap '' TERM", 1);
        p.w.write("state/platform/compose.yml", &text);
        p.w.commit_all("an api that does not end");
        p.w.soll("apply").exits(0);
        let db = p.id("db");
        p.w.edit("<a>", "<b>");
        let run = p.w.start("apply", "log");
        let pattern = format!("compose -p soll-killed -f {}", p.w.path("staging/releases").display());
        until("the program is at it", || {
            // The second generation makes the new one before the old one goes.
            if on.plugin {
                let all = p.docker.containers(&p.project);
                return all.iter().any(|(name, _)| name.ends_with(&format!("_{}", p.name("api")))).then_some(());
            }
            let found = std::process::Command::new("pgrep").args(["-f", &format!("{pattern}.* up ")]).output().unwrap();
            found.status.success().then_some(())
        });
        docker.kill();
        assert_eq!(run.wait(), Some(1), "live-restore {live_restore}: {}", p.w.read("log"));
        assert!(p.w.quarantined("staging").is_empty(), "{}", p.w.read("log"));
        docker.resume();
        recovers(&p, &format!("live-restore {live_restore}"));
        assert_eq!(
            p.id("db"),
            db,
            "live-restore {live_restore}: what the release does not change is the same container"
        );
    }
}

on_each!(an_engine_that_is_killed_while_it_is_waited_for_condemns_nobody: strict; old);

fn an_engine_that_is_killed_while_it_is_waited_for_condemns_nobody(on: &'static Pair) {
    for live_restore in [false, true] {
        let docker = Docker::start(on, Options { live_restore, ..Options::default() });
        let registry = Registry::start();
        let port = registry.port;
        let p = Platform::with(&docker, "soll-waits", "", registry, port);
        p.w.soll("apply").exits(0);
        // Longer than it takes to see that it runs.
        p.w.edit("settle = \"500ms\"", "settle = \"20s\"");
        p.w.edit("<a>", "<b>");
        let before = p.id("api");
        let run = p.w.start("apply", "log");
        until("the new one runs", || {
            let all = p.docker.containers(&p.project);
            let new = all.iter().find(|(name, id)| *name == p.name("api") && *id != before)?;
            (p.docker.run(&["inspect", "--format", "{{.State.Status}}", &new.1]) == "running").then_some(())
        });
        docker.kill();
        assert_eq!(run.wait(), Some(1), "live-restore {live_restore}: {}", p.w.read("log"));
        assert!(p.w.quarantined("staging").is_empty(), "{}", p.w.read("log"));
        docker.resume();
        p.w.edit("settle = \"20s\"", "settle = \"500ms\"");
        recovers(&p, &format!("live-restore {live_restore}"));
    }
}

/// The next pass brings everything to what is desired, and leaves no name that a program gave on its way.
fn recovers(p: &Platform<'_>, what: &str) {
    p.w.soll("apply").exits(0);
    p.w.soll("plan --detailed-exitcode").exits(0);
    assert_eq!(p.exec("api", "/version"), "two", "{what}");
    assert!(p.status().iter().all(|(_, well)| *well), "{what}: {:?}", p.status());
    let mut names: Vec<String> = p.docker.containers(&p.project).into_iter().map(|(name, _)| name).collect();
    names.retain(|name| !name.contains("migrate"));
    assert_eq!(names, ["api", "db", "web"].map(|service| p.name(service)), "{what}");
}

on_each!(a_full_disk_is_an_error_that_names_the_place_and_takes_nothing: old; strict);

fn a_full_disk_is_an_error_that_names_the_place_and_takes_nothing(on: &'static Pair) {
    let disk = Disk::new("96m");
    let data: PathBuf = disk.path().join("engine");
    let more = vec!["--max-download-attempts".to_owned(), "1".to_owned()];
    let docker = Docker::start(on, Options { data: Some(data.clone()), more, ..Options::default() });
    let registry = Registry::start();
    let port = registry.port;
    let p = Platform::with(&docker, "soll-full", "", registry, port);
    p.w.soll("apply").exits(0);
    let (api, db) = (p.id("api"), p.id("db"));
    let used = || {
        let stat = rustix::fs::statvfs(disk.path()).unwrap();
        (stat.f_blocks - stat.f_bfree) * stat.f_frsize
    };
    let before = used();
    // The one has room, the other one has none.
    let small = p.registry.publish_heavy("soll-full/small:1", 8 << 20);
    let heavy = p.registry.publish_heavy("soll-full/heavy:1", 110 << 20);
    let text = p.w.read("state/platform/compose.yml");
    let more = format!(
        "services:\n  another:\n    image: {small}\n    network_mode: none\n  heavy:\n    image: {heavy}\n    network_mode: none\n"
    );
    p.w.write("state/platform/compose.yml", &text.replacen("services:\n", &more, 1));
    p.w.commit_all("more than fits");
    for _ in 0..2 {
        let failed = p.w.soll("apply").exits(1).says("no space left").says("make room on the file system of");
        failed.says(&data.display().to_string());
    }
    assert!(p.w.quarantined("staging").is_empty());
    assert_eq!((p.id("api"), p.id("db")), (api, db));
    assert!(!p.docker.has(&small), "what came for it goes again");
    until("the room is given back", || (used() < before + (2 << 20)).then_some(()));
    p.w.write("state/platform/compose.yml", &text);
    p.w.commit_all("as before");
    p.w.soll("apply").exits(0);
    assert!(p.status().iter().all(|(_, well)| *well), "{:?}", p.status());
}
