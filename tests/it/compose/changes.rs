//! What a release changes, and what it leaves alone (I1, I2).

use std::collections::BTreeSet;

use soll::host::wire::activate::Deed;
use soll::host::wire::{CommandRole, Cwd, Op, Reply};
use soll::model::compose::Update;
use soll::model::ids::Epoch;

use super::world::{STAYS, Site, file};
use crate::host::world::shell;
use crate::support::engines::{Pair, on_each};
use crate::support::registry::Registry;

const VOLUMES: &str = "\nvolumes:\n  data: {}\n";

on_each!(async a_project_comes_up_and_what_does_not_change_keeps_its_containers: old, strict; plugin, next, mixed);

async fn a_project_comes_up_and_what_does_not_change_keeps_its_containers(on: &'static Pair) {
    let (registry, mut site) = (Registry::start(), Site::new(on, "changes").await);
    let (api, db) = (registry.publish("acme/api:1", "one"), registry.publish("acme/db:1", "db"));
    site.project.scale.insert("api".to_owned(), 2);
    let first = file(&[("api", &api, ""), ("db", &db, "volumes: [\"data:/data\"]")]) + VOLUMES;
    site.stage(1, "r1", 'a', &[("compose.yml", &first)]).await;
    let pulled = site.pull(1, "r1").await.unwrap();
    let one = pulled.images.iter().find(|one| one.service == "api").unwrap();
    assert!(one.pinned.starts_with(&format!("{api}@sha256:")) && one.reference == api, "{pulled:?}");
    assert!(site.containers().is_empty(), "nothing runs before the switch");
    site.world.seal(1, "r1", &[], &[]).await.unwrap();
    site.world.switch(1, "r1", 'a').await.unwrap();
    let told = site.activate(1, Deed::Restart).await.unwrap();
    assert_eq!(told.failed, None);
    site.world.confirm(1, "r1", 'a').await.unwrap();
    site.assert_well().await;
    let ids = site.containers();
    assert_eq!(ids.keys().collect::<Vec<_>>(), ["changes_api_1", "changes_api_2", "changes_db_1"]);
    site.exec("db", &["touch", "/data/kept"]);

    // Once more, and the same in another release.
    let told = site.activate(1, Deed::Restart).await.unwrap().told;
    assert_eq!(told, ["as before: api, db"]);
    site.deploy(1, "r2", 'b', &[("compose.yml", &first), ("README", "other")]).await;
    assert_eq!(site.containers(), ids);

    // Another image, brought by `images`, for one of them.
    site.project.images.insert("api".to_owned(), registry.publish("acme/api:2", "two"));
    let told = site.deploy(1, "r3", 'c', &[("compose.yml", &first)]).await;
    assert!(
        told[0].replace('-', "_").starts_with("api runs anew (changes_api_") && told[1] == "as before: db",
        "{told:?}"
    );
    let now = site.containers();
    assert_eq!(now["changes_db_1"], ids["changes_db_1"]);
    assert!(now["changes_api_1"] != ids["changes_api_1"] && now["changes_api_2"] != ids["changes_api_2"]);
    assert_eq!(site.exec("api", &["cat", "/version"]), "two");
    site.exec("db", &["test", "-e", "/data/kept"]);
    site.assert_well().await;

    // More of them, and none of a service that is gone.
    site.project.scale.insert("api".to_owned(), 3);
    site.deploy(1, "r4", 'd', &[("compose.yml", &file(&[("api", &api, "")]))]).await;
    let more = site.containers();
    assert_eq!(more.keys().collect::<Vec<_>>(), ["changes_api_1", "changes_api_2", "changes_api_3"]);
    assert_eq!(more["changes_api_1"], now["changes_api_1"]);
    assert!(site.docker.run(&["volume", "ls", "-q"]).contains("changes_data"), "no volume goes");

    let stopped = site.activate(1, Deed::Stop).await.unwrap();
    assert_eq!((stopped.failed, stopped.told.join("")), (None, "the project changes is stopped".to_owned()));
    assert_eq!(site.services().await["api"].running, 0);
    site.activate(1, Deed::Start).await.unwrap();
    site.assert_well().await;
    assert_eq!(site.containers(), more, "they are started, not made anew");
}

on_each!(async a_mounted_file_that_changed_makes_anew_exactly_who_mounts_it: strict; old);

async fn a_mounted_file_that_changed_makes_anew_exactly_who_mounts_it(on: &'static Pair) {
    let (registry, site) = (Registry::start(), Site::new(on, "mounted").await);
    let image = registry.publish("acme/api:1", "one");
    let project = file(&[
        ("proxy", &image, "volumes: [\"./Caddyfile:/etc/Caddyfile:ro\"]"),
        ("pages", &image, "volumes: [\"./site:/site:ro\"]"),
        ("db", &image, ""),
    ]);
    let with = |proxy: &'static str, page: &'static str| {
        [("Caddyfile", proxy), ("site/index.html", page), ("site/a/b", "same")].map(|(a, b)| (a, b.to_owned()))
    };
    let deploy = async |to: &str, digit: char, files: [(&'static str, String); 3]| {
        let all: Vec<(&str, &str)> =
            files.iter().map(|(a, b)| (*a, b.as_str())).chain([("compose.yml", project.as_str())]).collect();
        site.deploy(1, to, digit, &all).await;
        site.assert_well().await;
        site.containers()
    };
    let changed = |a: &std::collections::BTreeMap<String, String>, b: &std::collections::BTreeMap<String, String>| {
        a.iter().filter(|(name, id)| b[*name] != **id).map(|(name, _)| name.clone()).collect::<BTreeSet<_>>()
    };
    let first = deploy("r1", 'a', with("one", "page")).await;
    assert_eq!(site.exec("proxy", &["cat", "/etc/Caddyfile"]), "one");
    let second = deploy("r2", 'b', with("one", "page")).await;
    assert_eq!(changed(&first, &second), BTreeSet::new());
    let third = deploy("r3", 'c', with("two", "page")).await;
    assert_eq!(changed(&second, &third), BTreeSet::from(["mounted_proxy_1".to_owned()]));
    assert_eq!(site.exec("proxy", &["cat", "/etc/Caddyfile"]), "two");
    let fourth = deploy("r4", 'd', with("two", "other")).await;
    assert_eq!(changed(&third, &fourth), BTreeSet::from(["mounted_pages_1".to_owned()]));
    assert_eq!(site.exec("pages", &["cat", "/site/index.html"]), "other");
}

on_each!(async start_first_lets_old_ones_serve_until_new_ones_are_well: strict; old);

async fn start_first_lets_old_ones_serve_until_new_ones_are_well(on: &'static Pair) {
    let (registry, mut site) = (Registry::start(), Site::new(on, "first").await);
    let (one, two) = (registry.publish("acme/api:1", "one"), registry.publish("acme/api:2", "two"));
    site.project.update.insert("api".to_owned(), Update::StartFirst);
    site.project.scale.insert("api".to_owned(), 2);
    let healthy = "healthcheck: {test: [\"CMD\", \"test\", \"-e\", \"/tmp/well\"], interval: 200ms, retries: 100}";
    let project = |image: &str, command: &str| file(&[("api", image, &format!("command: {command}\n{healthy}"))]);
    let well = STAYS.replace("trap", "touch /tmp/well; trap");
    site.deploy(1, "r1", 'a', &[("compose.yml", &project(&one, &well))]).await;
    let first = site.containers();

    // It ends at once: the old ones have never stopped.
    let fails = r#"["sh", "-c", "echo no database; exit 3"]"#;
    let started = |site: &Site, id: &str| site.docker.run(&["inspect", "--format", "{{.State.StartedAt}}", id]);
    let since: Vec<String> = first.values().map(|id| started(&site, id)).collect();
    let done = site.start(1, "r2", 'b', &[("compose.yml", &project(&two, fails))]).await;
    let failed = done.failed.expect("it is not well");
    assert!(
        failed.unit.replace('-', "_").starts_with("api (first_api_") && failed.journal.contains("no database"),
        "{failed:?}"
    );
    assert_eq!(site.containers(), first);
    assert_eq!(first.values().map(|id| started(&site, id)).collect::<Vec<_>>(), since);
    assert_eq!(site.back(1).await.told, ["as before: api"]);
    assert_eq!(site.containers(), first);
    site.assert_well().await;

    site.deploy(1, "r3", 'c', &[("compose.yml", &project(&two, &well))]).await;
    let now = site.containers();
    assert!(now.len() == 2 && now.values().all(|id| !first.values().any(|old| old == id)), "{now:?}");
    site.assert_well().await;
    // Nothing is left to do.
    assert_eq!(site.activate(1, Deed::Restart).await.unwrap().told, ["as before: api"]);
    assert_eq!(site.containers(), now);
}

on_each!(async commands_reach_the_project_of_their_release_and_once_is_not_kept_up: strict; old);

async fn commands_reach_the_project_of_their_release_and_once_is_not_kept_up(on: &'static Pair) {
    let (registry, mut site) = (Registry::start(), Site::new(on, "words").await);
    let image = registry.publish("acme/api:1", "one");
    site.project.once.push("migrate".to_owned());
    let project = file(&[
        ("api", &image, "depends_on: {migrate: {condition: service_completed_successfully}}"),
        ("migrate", &image, "command: [\"sh\", \"-c\", \"echo migrated $${SOLL_SHA} with $SOLL_SHA\"]"),
    ]);
    site.stage(1, "r1", 'a', &[("compose.yml", &project)]).await;
    site.pull(1, "r1").await.unwrap();
    let run = async |cwd: Cwd, text: &str| {
        let op = Op::Hook { epoch: Epoch(1), cwd, command: shell(text), means: CommandRole::Work };
        match site.world.call(op).await.unwrap() {
            Reply::Command(result) => result,
            other => panic!("{other:?}"),
        }
    };
    let staged = Cwd::Release("r1".parse().unwrap());
    let done = run(staged, "$SOLL_COMPOSE run --rm -T migrate").await;
    assert!(done.ok() && done.output.contains("migrated with abc"), "{done:?}");
    site.world.seal(1, "r1", &[], &[]).await.unwrap();
    site.world.switch(1, "r1", 'a').await.unwrap();
    assert_eq!(site.activate(1, Deed::Restart).await.unwrap().failed, None);
    site.assert_well().await;
    assert_eq!(site.containers().keys().collect::<Vec<_>>(), ["words_api_1"]);
    let done = run(Cwd::Current, "$SOLL_COMPOSE exec -T api cat /version").await;
    assert!(done.ok() && done.output.trim() == "one", "{done:?}");
}

on_each!(async an_index_of_platforms_and_a_pinned_reference_stay_what_they_are: strict; old, next);

/// One image has two digests where a registry has an index of it, and engines differ in which of them is its id (I4).
async fn an_index_of_platforms_and_a_pinned_reference_stay_what_they_are(on: &'static Pair) {
    let (registry, site) = (Registry::start(), Site::new(on, "index").await);
    registry.publish("acme/index:one", "one");
    let digest = registry.index("acme/index", "all", "one");
    let (tagged, pinned) = (registry.name("acme/index:all"), registry.name(&format!("acme/index:all@{digest}")));
    let bare = registry.name(&format!("acme/index@{digest}"));
    let text = file(&[("tagged", &tagged, ""), ("pinned", &pinned, ""), ("bare", &bare, "")]);
    site.stage(1, "r1", 'a', &[("compose.yml", &text)]).await;
    let pulled = site.pull(1, "r1").await.unwrap();
    for one in &pulled.images {
        assert!(one.pinned.ends_with(&format!("@{digest}")), "{pulled:?}");
    }
    assert_eq!(pulled.warnings, [""; 0]);
    site.world.seal(1, "r1", &[], &[]).await.unwrap();
    site.world.switch(1, "r1", 'a').await.unwrap();
    assert_eq!(site.activate(1, Deed::Restart).await.unwrap().failed, None);
    site.world.confirm(1, "r1", 'a').await.unwrap();
    site.assert_well().await;
    let ids = site.containers();
    let told = site.deploy(1, "r2", 'b', &[("compose.yml", &text)]).await;
    assert_eq!((told.as_slice(), site.containers()), (&["as before: bare, pinned, tagged".to_owned()][..], ids));
    site.assert_well().await;
}

on_each!(async a_service_leaves_its_data_behind_only_where_somebody_says_so: strict; old);

async fn a_service_leaves_its_data_behind_only_where_somebody_says_so(on: &'static Pair) {
    let (registry, mut site) = (Registry::start(), Site::new(on, "kept-data").await);
    let image = registry.publish("acme/db:1", "one");
    let project = |volume: &str| {
        let service = file(&[("db", &image, &format!("volumes: [\"{volume}:/data\"]"))]);
        format!("{service}\nvolumes:\n  {volume}: {{}}\n")
    };
    site.deploy(1, "r1", 'a', &[("compose.yml", &project("data"))]).await;
    site.docker.run(&["exec", &on.container("kept-data", "db", 1), "touch", "/data/kept"]);
    let ids = site.containers();

    site.stage(1, "r2", 'b', &[("compose.yml", &project("other"))]).await;
    let refused = site.pull(1, "r2").await.unwrap_err().to_string();
    let what = "the service db would mount kept-data_other at /data, where it has had kept-data_data";
    assert!(refused.contains(what) && refused.contains("`replace_volumes`"), "{refused}");
    assert_eq!(site.containers(), ids, "nothing was touched");
    site.assert_well().await;

    site.project.replace_volumes.push("db".to_owned());
    site.deploy(1, "r3", 'c', &[("compose.yml", &project("other"))]).await;
    assert_ne!(site.containers(), ids);
    // The volume with the data is still there, and what goes back to it finds them.
    assert!(site.docker.run(&["volume", "ls", "-q"]).contains("kept-data_data"));
    site.deploy(1, "r4", 'd', &[("compose.yml", &project("data"))]).await;
    site.docker.run(&["exec", &on.container("kept-data", "db", 1), "test", "-e", "/data/kept"]);
}
