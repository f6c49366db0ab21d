//! What others do to a project, what an end in the middle leaves of it, and what goes with old releases (I5).

use std::collections::BTreeMap;

use soll::host::wire::activate::Deed;
use soll::host::wire::{Op, Reply};
use soll::model::ids::Epoch;

use super::world::{Site, file};
use crate::host::world::{LEASE, until};
use crate::support::engines::{Pair, on_each};
use crate::support::registry::Registry;

on_each!(async what_is_done_by_hand_is_seen_and_healed: strict; old);

async fn what_is_done_by_hand_is_seen_and_healed(on: &'static Pair) {
    let (registry, site) = (Registry::start(), Site::new(on, "byhand").await);
    let (api, other) = (registry.publish("acme/api:1", "one"), registry.publish("acme/api:2", "two"));
    site.deploy(1, "r1", 'a', &[("compose.yml", &file(&[("api", &api, ""), ("db", &api, "")]))]).await;
    let seen = async |service: &str| site.services().await[service].clone();
    let heal = async || {
        assert_eq!(site.activate(1, Deed::Restart).await.unwrap().failed, None);
        let mut seen = site.services().await;
        seen.retain(|_, one| one.state != "extra");
        assert!(seen.len() == 2 && seen.values().all(|one| one.is_well()), "{seen:#?}");
    };
    let ids = site.containers();

    site.docker.run(&["stop", "-t", "0", &site.name("api")]);
    assert_eq!(seen("api").await.running, 0);
    assert!(seen("api").await.state.starts_with("exited ("));
    assert!(seen("db").await.is_well());
    heal().await;
    assert_eq!(site.containers(), ids, "it is started, not made anew");

    site.docker.run(&["rm", "-f", &site.name("api")]);
    assert_eq!(seen("api").await.state, "missing");
    heal().await;

    let labels = |service: &str, more: &[&str]| {
        let project = "com.docker.compose.project=byhand".to_owned();
        let service = format!("com.docker.compose.service={service}");
        let words = ["run", "-d", "--network", "none", "-l", &project, "-l", &service];
        let words: Vec<&str> = words.into_iter().chain(more.iter().copied()).collect();
        site.docker.run(&words)
    };
    // Another one beside it, and one of no service.
    let numbered = ["com.docker.compose.container-number=2", "com.docker.compose.oneoff=False"];
    labels("api", &["-l", numbered[0], "-l", numbered[1], "--name", "byhand_api_2", &api, "sleep", "100"]);
    assert_eq!((seen("api").await.running, seen("api").await.digest_ok), (2, false));
    labels("debug", &["-l", numbered[1], "--name", "byhand_debug_1", &api, "sleep", "100"]);
    assert_eq!((seen("debug").await.state, seen("debug").await.wanted), ("extra".to_owned(), 0));
    heal().await;
    assert!(site.containers().contains_key("byhand_debug_1"), "what no release has made is nobody's to remove");

    // The same name with another image.
    site.docker.run(&["rm", "-f", &site.name("api")]);
    site.docker.run(&["pull", "-q", &other]);
    labels(
        "api",
        &[
            "-l",
            "com.docker.compose.container-number=1",
            "-l",
            numbered[1],
            "--name",
            &site.name("api"),
            &other,
            "sleep",
            "100",
        ],
    );
    assert!(!seen("api").await.digest_ok);
    heal().await;
    assert_eq!(site.exec("api", &["cat", "/version"]), "one");
}

on_each!(async the_names_that_an_end_in_the_middle_left_are_given_back: old, strict);

async fn the_names_that_an_end_in_the_middle_left_are_given_back(on: &'static Pair) {
    let (registry, site) = (Registry::start(), Site::new(on, "names").await);
    let api = registry.publish("acme/api:1", "one");
    site.deploy(1, "r1", 'a', &[("compose.yml", &file(&[("api", &api, ""), ("db", &api, "")]))]).await;
    let ids = site.containers();
    let left = |service: &str| format!("{}_{}", &ids[&format!("names_{service}_1")][..12], site.name(service));

    // Renamed, and nothing came after that.
    site.docker.run(&["rename", &site.name("api"), &left("api")]);
    // Renamed, and the one that takes its place was made and never started.
    site.docker.run(&["rename", &site.name("db"), &left("db")]);
    let words = "create --network none -l com.docker.compose.project=names -l com.docker.compose.service=db \
                 -l com.docker.compose.container-number=1 -l com.docker.compose.oneoff=False --name";
    let name = site.name("db");
    let words: Vec<&str> = words.split_whitespace().chain([name.as_str(), api.as_str(), "sleep", "100"]).collect();
    site.docker.run(&words);
    assert_eq!(site.activate(1, Deed::Restart).await.unwrap().failed, None);
    site.assert_well().await;
    let now = site.containers();
    assert_eq!(now.keys().collect::<Vec<_>>(), ["names_api_1", "names_db_1"]);
    assert_eq!(now["names_api_1"], ids["names_api_1"]);
}

on_each!(async an_agent_that_is_killed_in_the_middle_leaves_nothing_that_the_next_one_does_not_mend: strict; old);

async fn an_agent_that_is_killed_in_the_middle_leaves_nothing_that_the_next_one_does_not_mend(on: &'static Pair) {
    for place in [
        "host.compose.after-pull",
        "host.compose.after-resolved",
        "host.compose.before-up@2",
        "host.compose.after-up@2",
    ] {
        let (registry, mut site) = (Registry::start(), Site::dying(on, "killed", Some(place)).await);
        let (one, two) = (registry.publish("acme/api:1", "one"), registry.publish("acme/api:2", "two"));
        let project = |image: &str| file(&[("api", image, ""), ("db", &one, "")]);
        let during_pull = place.contains("pull") || place.contains("resolved");
        if during_pull {
            site.stage(1, "r1", 'a', &[("compose.yml", &project(&one))]).await;
            site.pull(1, "r1").await.unwrap_err();
        } else {
            site.deploy(1, "r1", 'a', &[("compose.yml", &project(&one))]).await;
            site.stage(1, "r2", 'b', &[("compose.yml", &project(&two))]).await;
            site.pull(1, "r2").await.unwrap();
            site.world.seal(1, "r2", &[], &[]).await.unwrap();
            site.world.switch(1, "r2", 'b').await.unwrap();
            site.activate(1, Deed::Restart).await.unwrap_err();
        }
        let mut gone = site.again().await;
        gone.wait().await.unwrap();
        site.world.acquire(2, LEASE).await.unwrap();
        if !during_pull {
            let back = site.back(2).await;
            assert_eq!(back.failed, None, "{place}");
            site.assert_well().await;
            assert_eq!(site.exec("api", &["cat", "/version"]), "one", "{place}");
        }
        site.deploy(2, "r3", 'c', &[("compose.yml", &project(&two))]).await;
        site.assert_well().await;
    }
}

on_each!(async a_program_that_outlives_its_agent_ends_before_the_next_one_begins: old; strict);

async fn a_program_that_outlives_its_agent_ends_before_the_next_one_begins(on: &'static Pair) {
    let (registry, mut site) = (Registry::start(), Site::new(on, "midway").await);
    let (one, two) = (registry.publish("acme/api:1", "one"), registry.publish("acme/api:2", "two"));
    // It takes its time to end, so that there is a middle.
    let project = |image: &str| {
        let slow = r#"command: ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]"#;
        file(&[("api", image, slow)]).replace("stop_grace_period: 1s", "stop_grace_period: 3s")
    };
    site.deploy(1, "r1", 'a', &[("compose.yml", &project(&one))]).await;
    site.stage(1, "r2", 'b', &[("compose.yml", &project(&two))]).await;
    site.pull(1, "r2").await.unwrap();
    site.world.seal(1, "r2", &[], &[]).await.unwrap();
    site.world.switch(1, "r2", 'b').await.unwrap();
    let begun = site.activate(1, Deed::Restart);
    let kill = until("the program is at it", async || {
        let pattern = format!("compose -p midway -f {}", site.world.path("releases").display());
        let listed = std::process::Command::new("pgrep").args(["-f", &pattern]).output();
        listed.unwrap().status.success().then_some(())
    });
    tokio::select! { _ = begun => panic!("it ended before it was killed"), () = kill => {} }
    site.child.start_kill().unwrap();
    site.again().await.wait().await.unwrap();
    site.world.acquire(2, LEASE).await.unwrap();
    assert_eq!(site.back(2).await.failed, None);
    site.assert_well().await;
    assert_eq!(site.containers().len(), 1, "{:?}", site.containers());
    assert_eq!(site.exec("api", &["cat", "/version"]), "one");
}

on_each!(async images_and_mounts_go_with_the_last_release_that_has_them_and_volumes_never: strict; old);

async fn images_and_mounts_go_with_the_last_release_that_has_them_and_volumes_never(on: &'static Pair) {
    let (registry, site) = (Registry::start(), Site::new(on, "pruned").await);
    let versions = ["1", "2", "3", "4"].map(|tag| registry.publish(&format!("acme/pruned:{tag}"), tag));
    let db = registry.publish("acme/pruned-db:1", "db");
    let volumes = "\nvolumes:\n  data: {}\n";
    for (i, version) in versions.iter().enumerate() {
        let text =
            file(&[("api", version, "volumes: [\"./conf:/conf:ro\"]"), ("db", &db, "volumes: [\"data:/data\"]")]);
        let digit = char::from(b'a' + u8::try_from(i).unwrap());
        let conf = format!("conf {i}");
        site.deploy(1, &format!("r{i}"), digit, &[("compose.yml", &(text + volumes)), ("conf", &conf)]).await;
    }
    let pulled: BTreeMap<&str, bool> = versions.iter().map(|name| (name.as_str(), site.docker.has(name))).collect();
    assert!(pulled.values().all(|has| *has), "{pulled:?}");
    let mounts = || std::fs::read_dir(site.world.path(".soll/mounts")).unwrap().count();
    assert_eq!(mounts(), 4);
    match site.world.call(Op::Prune { epoch: Epoch(1), keep: 2 }).await.unwrap() {
        Reply::Pruned { removed, .. } => assert_eq!(removed.len(), 2),
        other => panic!("{other:?}"),
    }
    assert_eq!(versions.iter().map(|name| site.docker.has(name)).collect::<Vec<_>>(), [false, false, true, true]);
    assert!(site.docker.has(&db), "what a kept release has stays");
    assert_eq!(mounts(), 2);
    assert!(site.docker.run(&["volume", "ls", "-q"]).contains("pruned_data"));
    site.assert_well().await;
}

on_each!(async what_another_root_goes_back_to_stays: strict; old);

/// Two environments on one host, with the same images: one prunes what the other one may still need.
async fn what_another_root_goes_back_to_stays(on: &'static Pair) {
    let (mut registry, one, other) =
        (Registry::start(), Site::new(on, "shares").await, Site::new(on, "shares-too").await);
    let versions = ["1", "2", "3"].map(|tag| registry.publish(&format!("acme/shared:{tag}"), tag));
    let text = |number: usize| file(&[("api", &versions[number], "")]);
    for number in 0..2 {
        let digit = if number == 0 { 'a' } else { 'b' };
        one.deploy(1, &format!("r{number}"), digit, &[("compose.yml", &text(number))]).await;
    }
    for (number, digit) in [(0, 'a'), (1, 'b'), (2, 'c')] {
        other.deploy(1, &format!("r{number}"), digit, &[("compose.yml", &text(number))]).await;
    }
    other.world.call(Op::Prune { epoch: Epoch(1), keep: 1 }).await.unwrap();
    registry.stop();
    one.start(1, "r9", 'd', &[("compose.yml", &file(&[("api", &versions[1], "command: [\"false\"]")]))]).await;
    assert_eq!(one.back(1).await.failed, None);
    let first = one.docker.tried(&["image", "inspect", "--format", "{{.Id}}", &versions[0]]);
    assert!(first.is_some(), "it is what the first root has before its live release");
    // Nobody has it once that root has pruned as well.
    one.world.call(Op::Prune { epoch: Epoch(1), keep: 1 }).await.unwrap();
    assert!(!one.docker.has(&versions[0]));
}

on_each!(async images_of_a_release_that_was_given_up_go_with_the_next_one: old, strict);

async fn images_of_a_release_that_was_given_up_go_with_the_next_one(on: &'static Pair) {
    let (registry, site) = (Registry::start(), Site::new(on, "givenup").await);
    let (one, two) = (registry.publish("acme/givenup:1", "one"), registry.publish("acme/givenup:2", "two"));
    let absent = registry.name("acme/none:1");
    for to in ["r1", "r2"] {
        site.stage(1, to, 'a', &[("compose.yml", &file(&[("api", &one, ""), ("worker", &absent, "")]))]).await;
        site.pull(1, to).await.unwrap_err();
        assert!(site.docker.has(&one), "the next attempt needs it");
    }
    site.deploy(1, "r3", 'b', &[("compose.yml", &file(&[("api", &two, "")]))]).await;
    assert_eq!((site.docker.has(&one), site.docker.has(&two)), (false, true));
    site.assert_well().await;
    // What an older version of this program has resolved is held from the next release on; what nobody finished is let go.
    let names = || {
        let all = site.docker.run(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "soll.local/*"]);
        all.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let own = names();
    let id = site.docker.run(&["image", "inspect", "--format", "{{.Id}}", &two]);
    let own = own.iter().find(|name| id.starts_with(&format!("sha256:{}", name.rsplit_once(':').unwrap().1)));
    let own = own.expect("it is held").clone();
    let repository = own.rsplit_once(':').unwrap().0.to_owned();
    site.docker.run(&["rmi", &own]);
    let left = registry.publish("acme/givenup:3", "three");
    site.docker.run(&["pull", "-q", &left]);
    site.docker.run(&["tag", &left, &format!("{repository}:left")]);
    // What a release holds stays, whoever asked for it first.
    site.stage(1, "r4", 'c', &[("compose.yml", &file(&[("api", &one, ""), ("worker", &absent, "")]))]).await;
    site.pull(1, "r4").await.unwrap_err();
    site.deploy(1, "r5", 'd', &[("compose.yml", &file(&[("api", &one, "")]))]).await;
    assert!(site.docker.has(&one));
    assert!(names().contains(&own) && !names().contains(&format!("{repository}:left")), "{:?}", names());
    site.assert_well().await;
}
