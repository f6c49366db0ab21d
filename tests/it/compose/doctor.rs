//! What is said of an engine, and of one that is not there.

use std::collections::BTreeMap;

use soll::host::wire::activate::Deed;
use soll::host::wire::compose::{AskEngine, AskLogin, EngineFacts, Login};
use soll::host::wire::examine::Examine;
use soll::host::wire::{HostError, Op, Reply, Secret};

use super::world::{Site, agent, file};
use crate::support::engines::{Pair, on_each};
use crate::support::registry::Registry;

/// Asks with a login to a registry where nobody listens, and to another one for an image that it does not know.
async fn facts(site: &Site, other: &Registry) -> EngineFacts {
    let ask = |registry: String| {
        let login = Login { user: "deploy".to_owned(), password: Secret::new("hunter2".to_owned()) };
        let image = format!("{registry}/acme/api:none");
        (registry, AskLogin { login, image })
    };
    let there = other.name("").trim_end_matches('/').to_owned();
    let registries = BTreeMap::from([ask("127.0.0.1:1".to_owned()), ask(there)]);
    let engine = Some(AskEngine { project: site.project.name.clone(), registries });
    match site.world.call(Op::Examine(Box::new(Examine { engine, ..Examine::default() }))).await.unwrap() {
        Reply::Examined(examined) => examined.engine.expect("it was asked for"),
        other => panic!("{other:?}"),
    }
}

on_each!(async an_engine_says_what_it_is_and_one_that_is_gone_is_no_verdict: strict; old);

async fn an_engine_says_what_it_is_and_one_that_is_gone_is_no_verdict(on: &'static Pair) {
    let (registry, mut site) = (Registry::start(), Site::new(on, "doctor").await);
    let image = registry.publish("acme/api:1", "one");
    site.deploy(1, "r1", 'a', &[("compose.yml", &file(&[("api", &image, "")]))]).await;
    let found = facts(&site, &registry).await;
    let engine = found.engine.unwrap();
    assert!(engine.version.contains('.') && engine.api.starts_with("1.") && !engine.store.is_empty(), "{engine:?}");
    let program = found.program.unwrap();
    assert!(program.starts_with(if on.plugin { "docker compose 2." } else { "docker-compose 1." }), "{program}");
    assert!(found.room.is_some_and(|room| room.bytes > 0) && found.socket.ends_with("/sock"));
    let refused = found.registries["127.0.0.1:1"].as_ref().expect("nobody listens there");
    assert!(!refused.contains("hunter2"), "{refused}");
    let there = registry.name("").trim_end_matches('/').to_owned();
    assert_eq!(found.registries[&there], None, "it lets everybody in, and does not know the image");

    site.world.call(Op::Release { epoch: soll::model::ids::Epoch(1), look: None }).await.unwrap();
    let (client, child) = agent(site.docker, "unix:///nowhere/docker.sock", None).await;
    (site.world.client, site.child) = (client, child);
    let state = site.world.state().await;
    let why = state.services_unseen.expect("nobody can know");
    assert!(state.services.is_empty() && why.contains("no container engine listens at /nowhere/docker.sock"), "{why}");
    let found = facts(&site, &registry).await;
    assert!(found.engine.is_err() && found.program.is_ok(), "{found:?}");
    site.world.acquire(2, crate::host::world::LEASE).await.unwrap();
    let error = site.activate(2, Deed::Look).await.unwrap_err();
    assert!(matches!(error, HostError::Io(_)), "{error:?}");

    let (client, child) = agent(site.docker, "tcp://10.0.0.1:2375", None).await;
    (site.world.client, site.child) = (client, child);
    let why = site.world.state().await.services_unseen.expect("it is not asked");
    assert!(why.contains("on its own socket only"), "{why}");
}
