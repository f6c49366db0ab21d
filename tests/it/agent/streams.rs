//! Many calls over one stream: nobody waits for somebody else's hook, disk or mistake.

use std::io::Cursor;
use std::path::Path;

use soll::host::call::client::Client;
use soll::host::wire::{CommandRole, Cwd, HostError, Observe, Op, Reply};
use soll::model::desired::Probe;
use soll::model::ids::Epoch;

use super::process::{Agent, lost};
use crate::host::world::{Bundle, Fake, LEASE, World, in_process, shell, temp, until, upload};

#[tokio::test(flavor = "multi_thread")]
async fn roots_do_not_wait_for_each_other() {
    let world = World::new().await;
    let other = World::with(&format!("{}2", world.root), world.client.clone());
    world.acquire(1, LEASE).await.unwrap();
    other.acquire(1, LEASE).await.unwrap();
    let go = other.path("go");
    let wait = shell(&format!("until test -e {}; do sleep 0.02; done", go.display()));
    let hook =
        |epoch| Op::Hook { epoch: Epoch(epoch), cwd: Cwd::Current, command: wait.clone(), means: CommandRole::Work };
    let (client, root) = (world.client.clone(), world.root.clone());
    // More than the window, to the root whose worker is busy: it waits without holding up anyone.
    let big = Bundle::new(&[("big", "7".repeat(12_000_000).as_str())]);
    let wanted = world.missing(1, &big).await.unwrap();
    let op = hook(1);
    let blocked = tokio::spawn(async move { client.call(&root, op).await });
    let (client, root, (wanted, mut bytes)) = (world.client.clone(), world.root.clone(), big.pick(&wanted));
    let upload = tokio::spawn(async move { upload(&client, &root, 1, wanted, &mut bytes).await });
    world.call(Op::Ping).await.unwrap();
    assert!(world.state().await.holder.is_some(), "what holds nothing is answered beside the hook");
    other.deploy(1, "r1", 'a', &Bundle::new(&[("x", "1")])).await;
    assert!(!blocked.is_finished() && !upload.is_finished());
    other.write("go", "");
    assert!(matches!(blocked.await.unwrap(), Ok(Reply::Command(result)) if result.ok()));
    assert!(matches!(upload.await.unwrap(), Ok(Reply::Uploaded { bytes: 12_000_000 })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_refused_ends_at_once() {
    let world = World::new().await;
    world.acquire(1, LEASE).await.unwrap();
    let big = Bundle::new(&[("big", "7".repeat(30_000_000).as_str())]);
    let (wanted, mut bytes) = big.pick(&world.missing(1, &big).await.unwrap());
    let refused = upload(&world.client, &world.root, 9, wanted, &mut bytes).await;
    assert!(matches!(refused, Err(HostError::Refused { .. })), "{refused:?}");
    world.call(Op::Ping).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_where_it_was_interrupted() {
    let world = World::new().await;
    world.acquire(1, LEASE).await.unwrap();
    let (one, two) = ("1".repeat(400_000), "2".repeat(400_000));
    let bundle = Bundle::new(&[("one", one.as_str()), ("two", two.as_str())]);
    let wanted = world.missing(1, &bundle).await.unwrap();
    let (list, bytes) = bundle.pick(&wanted);
    let mut cut = Cursor::new(bytes.into_inner()[..600_000].to_vec());
    let error = upload(&world.client, &world.root, 1, list, &mut cut).await.unwrap_err();
    assert!(error.to_string().contains("200000 bytes too early"), "{error}");
    assert_eq!(world.missing(1, &bundle).await.unwrap(), wanted[1..]);

    // The connection goes in the middle of the next try; what is complete stays for the next run.
    drop(world.client);
    let world = World::with(&world.root, in_process().await);
    until("the root is free", async || world.acquire(2, LEASE).await.ok()).await;
    assert_eq!(world.missing(2, &bundle).await.unwrap(), wanted[1..]);
    world.deploy(2, "r1", 'a', &bundle).await;
    assert_eq!(world.read("current/two"), two);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_agent_is_an_error_for_everyone_who_waits() {
    let temp = temp();
    let root = temp.path().display().to_string();
    let agent = Agent::start(&root, None).await;
    agent.world.acquire(1, LEASE).await.unwrap();
    let begun = agent.world.path("begun");
    let command = shell(&format!("touch {}; sleep 1", begun.display()));
    let op = Op::Hook { epoch: Epoch(1), cwd: Cwd::Current, command, means: CommandRole::Work };
    let waiting = agent.world.call(op);
    let kill = async {
        until("the hook runs", async || begun.exists().then_some(())).await;
        agent.signal(rustix::process::Signal::KILL);
    };
    let (waited, ()) = tokio::join!(waiting, kill);
    assert!(lost(&waited), "{waited:?}");
    assert!(lost(&agent.world.call(Op::Ping).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_agent_is_told_apart() {
    let mut noise = tokio::process::Command::new("sh");
    noise.args(["-c", "echo 'bash: warning: setlocale'; cat"]);
    assert!(matches!(Client::spawn(noise).await.err(), Some(HostError::Connection(_))));
    assert!(matches!(Client::spawn_local(Path::new("/nonexistent/soll")).await.err(), Some(HostError::Connection(_))));
    let client = Client::spawn_local(Path::new(env!("CARGO_BIN_EXE_soll"))).await.unwrap();
    assert_eq!(client.hello().binary, env!("CARGO_BIN_EXE_soll"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_root_is_free_when_its_controller_leaves() {
    let temp = temp();
    let root = temp.path().display().to_string();
    let agent = Agent::start(&root, None).await;
    agent.world.acquire(1, LEASE).await.unwrap();
    assert!(agent.abandon().wait().await.unwrap().success(), "an agent that nothing needs ends");
    let world = World::with(&root, in_process().await);
    assert_eq!(world.state().await.holder, None);
    world.acquire(2, LEASE).await.unwrap();
}

#[test]
fn reading_needs_no_agent_and_changing_does() {
    let temp = temp();
    let root = temp.path().join("none").display().to_string();
    let state = soll::host::serve::local::call(&root, Op::Observe(Observe::default()), &Fake);
    assert!(matches!(state, Ok(Reply::State(state)) if state.releases.is_empty()));
    let probe = Op::Probe {
        cwd: Cwd::Current,
        probe: Probe::Run { command: String::new() },
        command: Some(shell("true")),
        secret: None,
        timeout: LEASE,
    };
    assert!(soll::host::serve::local::call(temp.path().to_str().unwrap(), probe, &Fake).is_ok());
    assert!(soll::host::serve::local::call(&root, Op::Hold { epoch: Epoch(0), verdict: None }, &Fake).is_err());
    assert!(!Path::new(&root).exists(), "looking makes nothing");
}
