//! Bundles that a host fetches itself: nothing of them goes through the controller, and nothing is taken on trust.

use std::fs;

use super::server::{Sshd, world};
use crate::fetch::server::{Reply, Server};
use crate::support::world::World;

/// Serves the bundles of a world, whose hosts fetch from there.
async fn served(world: &World) -> Server {
    let server = Server::start().await;
    for letter in ['a', 'b'] {
        offer(&server, world, letter);
    }
    let url = server.address.replace("http://", "http://ann:hunter2@");
    let here = "url = \"bundles/deployment-bundle-{sha}.tar.gz\"";
    world.edit(here, &format!("url = \"{url}/{{sha}}.tar.gz\", fetch_from = \"host\""));
    server
}

fn offer(server: &Server, world: &World, letter: char) {
    let archive = world.archive(letter);
    let sum = fs::read(archive.with_extension("gz.sha256")).unwrap();
    server.on(&format!("/{}.tar.gz.sha256", world.fill(&format!("<{letter}>"))), [Reply::ok(sum)]);
    server.on(&place(world, letter), [Reply::ok(fs::read(archive).unwrap())]);
}

fn place(world: &World, letter: char) -> String {
    world.fill(&format!("/<{letter}>.tar.gz"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_host_brings_its_bundle_itself() {
    let sshd = Sshd::new("");
    let world = world(&sshd);
    let server = served(&world).await;
    let plan = world.soll("plan staging --output json").exits(0).json();
    let steps = plan["environments"][0]["steps"].as_array().unwrap();
    let kinds: Vec<_> = steps.iter().map(|step| (step["kind"].as_str().unwrap(), step["host"].as_str())).collect();
    assert!(kinds.starts_with(&[("checksum", None), ("fetch", Some("web1")), ("extract", Some("web1"))]), "{kinds:?}");
    assert!(!kinds.iter().any(|(kind, _)| ["upload", "verify"].contains(kind)), "{kinds:?}");

    for (letter, from, to) in [("a", "<a>", "<b>"), ("b", "<b>", "<a>"), ("a", "<a>", "<b>")] {
        world.soll("apply").exits(0).hides("hunter2");
        assert_eq!(world.runs("staging"), letter);
        world.soll("plan --detailed-exitcode").exits(0);
        assert!(!world.path("staging/.soll/bundles").exists(), "it is not needed any more");
        world.edit(from, to);
        if letter == "a" {
            world.soll("preflight staging").exits(0).says("each host fetches it itself").says("fetched there");
        }
    }
    assert_eq!(server.asked(&format!("GET {} ", place(&world, 'b'))).len(), 3, "two trials and one release");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_download_that_breaks_off_goes_on_where_it_was() {
    let sshd = Sshd::new("");
    let world = world(&sshd);
    let server = served(&world).await;
    let bytes = fs::read(world.archive('a')).unwrap();
    let (half, whole) = (bytes.len() / 2, bytes.len());
    let tag = "ETag: \"1\"";
    let rest = Reply::new("206 Partial Content", &bytes[half..]).header(tag);
    let rest = rest.header(format!("Content-Range: bytes {half}-{}/{whole}", whole - 1));
    server.on(&place(&world, 'a'), [Reply::ok(bytes.clone()).header(tag).broken_after(half), rest]);
    world.soll("apply").exits(0);
    assert_eq!(world.runs("staging"), "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_not_what_it_should_be_is_not_unpacked() {
    let sshd = Sshd::new("");
    let world = world(&sshd);
    let server = served(&world).await;
    world.soll("apply").exits(0);
    world.edit("<a>", "<b>");
    let b = place(&world, 'b');
    server.on(&b, [Reply::ok(fs::read(world.archive('a')).unwrap())]);
    let said = world.soll("apply").exits(1).says("web1").says("was replaced after its checksum was written");
    said.says(&b).hides("hunter2").hides("quarantined");
    server.on(&b, [Reply::new("404 Not Found", "")]);
    // The controller sees the checksum only; that the bundle itself is gone is for the host to say.
    world.soll("apply").exits(1).says("web1").says("does not exist; was the bundle of this commit built");
    assert_eq!(world.runs("staging"), "a");
    assert!(world.quarantined("staging").is_empty());
    offer(&server, &world, 'b');
    world.soll("apply").exits(0);
    assert_eq!(world.runs("staging"), "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_agent_that_dies_with_the_bundle_leaves_nothing_in_the_way() {
    // One on this machine takes its faults from the environment.
    let mut world = World::staging("");
    let _server = served(&world).await;
    world.edit("<a>", "<b>");
    world.set("SOLL_FAULT", "host.fetch.after-unpack");
    world.soll("apply").exits(6);
    assert!(world.path("staging/.soll/bundles").exists(), "it died there");
    world.set("SOLL_FAULT", "");
    world.soll("apply").exits(0);
    assert_eq!(world.runs("staging"), "b");
    assert!(!world.path("staging/.soll/bundles").exists());
}

#[test]
fn a_path_that_only_the_controller_knows_is_refused() {
    let sshd = Sshd::new("");
    let world = world(&sshd);
    let here = "bundle = { url = \"bundles/deployment-bundle-{sha}.tar.gz\" }";
    world.edit(here, &here.replace(" }", ", fetch_from = \"host\" }"));
    let said = world.soll("validate").exits(1).says("the hosts cannot fetch the bundle").says("bundle = {");
    said.says("an absolute path where the file lies on each host");
    world.edit("\"bundles/deployment", "\"$DIR/state/bundles/deployment");
    world.soll("apply").exits(0);
    assert_eq!(world.runs("staging"), "a");
}
