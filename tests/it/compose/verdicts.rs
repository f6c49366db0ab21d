//! What a release is condemned for, and the way back from it (I1, I3, I23).

use soll::host::wire::HostError;
use soll::host::wire::activate::Deed;

use super::world::{Site, file};
use crate::support::engines::{Pair, on_each};
use crate::support::registry::Registry;

on_each!(async what_does_not_stay_up_is_condemned_and_the_way_back_needs_no_registry: old, strict);

async fn what_does_not_stay_up_is_condemned_and_the_way_back_needs_no_registry(on: &'static Pair) {
    let (mut registry, mut site) = (Registry::start(), Site::new(on, "verdicts").await);
    let (one, two) = (registry.publish("acme/api:1", "one"), registry.publish("acme/api:2", "two"));
    let db = registry.publish("acme/db:1", "db");
    let good = file(&[("api", &one, "volumes: [\"./conf:/conf:ro\"]"), ("db", &db, "")]);
    site.deploy(1, "r1", 'a', &[("compose.yml", &good), ("conf", "first")]).await;
    let before = site.containers();
    // Those of this project alone: other tests make and remove images on the same engine.
    let image =
        |service: &str| site.docker.run(&["inspect", "--format", "{{.Image}}", &on.container("verdicts", service, 1)]);
    let images = ["api", "db"].map(image);
    let unhealthy =
        "healthcheck: {test: [\"CMD\", \"sh\", \"-c\", \"echo no table; exit 1\"], interval: 100ms, retries: 2}";
    let cases = [
        (
            "crash loop",
            "restart: always\ncommand: [\"sh\", \"-c\", \"echo cannot bind; exit 3\"]",
            "the engine starts it again and again",
            "cannot bind",
        ),
        ("unhealthy", unhealthy, "no table", ""),
        (
            "exits",
            "command: [\"sh\", \"-c\", \"echo goodbye; exit 0\"]",
            "it ended by itself: exited, exit code 0",
            "goodbye",
        ),
        ("no program", "command: [\"/nowhere\"]", "it cannot be started: ", ""),
    ];
    for (i, (what, more, why, line)) in cases.into_iter().enumerate() {
        let to = format!("r{}", i + 2);
        let bad = file(&[
            ("api", &two, &format!("volumes: [\"./conf:/conf:ro\"]\n{more}")),
            ("db", &db, ""),
            ("new", &two, ""),
        ]);
        let done = site.start(1, &to, 'b', &[("compose.yml", &bad), ("conf", "second")]).await;
        let failed = done.failed.unwrap_or_else(|| panic!("{what}: {:?}", done.told));
        assert!(failed.unit.starts_with("api"), "{what}: {failed:?}");
        assert!(failed.why.contains(why) && failed.journal.contains(line), "{what}: {failed:?}");
        registry.stop();
        let back = site.back(1).await;
        assert_eq!(back.failed, None, "{what}");
        site.assert_well().await;
        let now = site.containers();
        assert_eq!(
            now.keys().collect::<Vec<_>>(),
            before.keys().collect::<Vec<_>>(),
            "{what}: no service of it is left"
        );
        assert_eq!(now["verdicts_db_1"], before["verdicts_db_1"], "{what}");
        assert_eq!(site.exec("api", &["cat", "/version"]), "one", "{what}");
        assert_eq!(site.exec("api", &["cat", "/conf"]), "first", "{what}");
        registry.resume();
    }
    assert!(images.iter().all(|image| site.docker.has(image)), "no image of the release before is touched");

    // Its own host goes back alone, too.
    let bad = file(&[("api", &two, "command: [\"false\"]"), ("db", &db, ""), ("more", &two, "")]);
    site.stage(1, "r9", 'c', &[("compose.yml", &bad)]).await;
    site.pull(1, "r9").await.unwrap();
    site.world.seal(1, "r9", &[], &[]).await.unwrap();
    let mut probation = site.world.probation(1, "r9", 'c', crate::host::world::SHORT, "");
    probation.activation = site.activation();
    let epoch = soll::model::ids::Epoch(1);
    site.world.call(soll::host::wire::Op::Switch { epoch, probation }).await.unwrap();
    site.activate(1, Deed::Restart).await.unwrap().failed.expect("it ends");
    let mut alone = site.again().await;
    crate::host::world::until("the host is back", async || {
        let state = site.world.state().await;
        (state.record.probation.is_none() && state.services.iter().all(|one| one.is_well())).then_some(())
    })
    .await;
    assert_eq!(site.containers().len(), 2);
    alone.wait().await.unwrap();
}

on_each!(async what_cannot_be_brought_is_an_error_and_what_is_written_wrongly_is_not: old; strict);

async fn what_cannot_be_brought_is_an_error_and_what_is_written_wrongly_is_not(on: &'static Pair) {
    let (mut registry, mut site) = (Registry::start(), Site::new(on, "refused").await);
    let image = registry.publish("acme/api:1", "one");
    let good = file(&[("api", &image, "")]);
    registry.stop();
    site.stage(1, "r1", 'a', &[("compose.yml", &good)]).await;
    let error = site.pull(1, "r1").await.unwrap_err();
    assert!(
        matches!(&error, HostError::Io(why) if why.contains(&format!("the image {image} cannot be pulled"))),
        "{error:?}"
    );
    registry.resume();
    site.pull(1, "r1").await.unwrap();

    let absent = registry.name("acme/none:1");
    site.stage(1, "r2", 'b', &[("compose.yml", &file(&[("api", &absent, "")]))]).await;
    let error = site.pull(1, "r2").await.unwrap_err();
    assert!(matches!(&error, HostError::Io(_)), "{error:?}");

    let wrong = [
        ("nonsense: [", "compose.yml"),
        (&file(&[("api", &image, "volumes: [\"./none:/x\"]")]), "the release has no such file"),
        (&file(&[("api", &image, "volumes: [\"../data:/x\"]")]), "leads out of the release"),
        (&file(&[("api", "\"\"", "")]), "api"),
        (&file(&[("db", &image, "")]), "`scale` names the service api"),
    ];
    site.project.scale.insert("api".to_owned(), 1);
    for (i, (text, why)) in wrong.into_iter().enumerate() {
        let to = format!("w{i}");
        site.stage(1, &to, 'c', &[("compose.yml", text)]).await;
        let error = site.pull(1, &to).await.unwrap_err();
        assert!(matches!(&error, HostError::Precondition(said) if said.contains(why)), "{why}: {error:?}");
    }
    assert!(site.containers().is_empty());
}
