//! Law 6: a host that hears nobody goes back by itself, whatever became of the controller.

use std::time::Duration;

use rustix::process::Signal;
use soll::host::wire::{CommandRole, HostError, Op, Reply};
use soll::model::ids::Epoch;
use soll::model::record::Refusal;

use super::process::{Agent, lost};
use crate::host::world::{Bundle, LEASE, SHORT, World, in_process, name, temp, until};

/// r1 confirmed, r2 sealed, under epoch 1; nobody holds the root.
pub async fn two_releases(root: &str) -> World {
    let world = World::with(root, in_process().await);
    world.acquire(1, LEASE).await.unwrap();
    world.deploy(1, "r1", 'a', &Bundle::new(&[("x", "1")])).await;
    world.stage(1, "r2", 'b', &Bundle::new(&[("x", "2")]), &[]).await.unwrap();
    // Whoever gives the root back gives back what was staged, too: this one is just gone.
    drop(world);
    let world = World::with(root, in_process().await);
    until("the root is free", async || world.state().await.holder.is_none().then_some(())).await;
    world
}

async fn on_probation(root: &str, lease: Duration) -> Agent {
    let agent = Agent::start(root, None).await;
    agent.world.acquire(2, LEASE).await.unwrap();
    let rollback = "echo \"$SOLL_ENV in $(cat x)\" >> ../../hook";
    let probation = agent.world.probation(2, "r2", 'b', lease, rollback);
    agent.world.call(Op::Switch { epoch: Epoch(2), probation }).await.unwrap();
    agent
}

async fn went_back(world: &World) {
    until("the host goes back and says so", async || {
        let state = world.state().await;
        (state.record.probation.is_none() && state.holder.is_none()).then_some(())
    })
    .await;
    let record = world.state().await.record;
    assert_eq!(world.read("current/x"), "1");
    assert_eq!(world.read("hook"), "test in 1\n", "the rollback hook ran once, in the release that was returned to");
    let returned = record.returned.expect("it is noted");
    assert_eq!((returned.from, returned.to), (name("r2"), Some(name("r1"))));
    assert!(!record.quarantined[0].verdict, "once is an error, not a verdict");
    world.laws();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_controller() {
    let temp = temp();
    let root = temp.path().display().to_string();
    let world = two_releases(&root).await;
    let agent = on_probation(&root, SHORT).await;
    let mut child = agent.abandon();
    went_back(&world).await;
    assert!(child.wait().await.unwrap().success(), "the agent ends when it is done");

    // The second time in a row for the same case is a verdict.
    world.acquire(3, LEASE).await.unwrap();
    let probation = world.probation(3, "r2", 'b', Duration::from_millis(1), "");
    world.call(Op::Switch { epoch: Epoch(3), probation }).await.unwrap();
    until("it goes back again", async || world.state().await.record.quarantined[0].verdict.then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_controller_is_fenced() {
    let temp = temp();
    let root = temp.path().display().to_string();
    let world = two_releases(&root).await;
    let mut agent = on_probation(&root, SHORT).await;
    went_back(&world).await;
    assert!(agent.runs());
    // It wakes up, and finds that it may not do anything any more.
    let confirmed = agent.world.confirm(2, "r2", 'b').await.unwrap_err();
    assert!(matches!(confirmed, HostError::Refused { refusal: Refusal::Fenced { .. } }), "{confirmed:?}");
    assert!(agent.world.switch(2, "r2", 'b').await.is_err());
    assert_eq!(world.read("current/x"), "1");
    agent.world.acquire(3, LEASE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_has_a_lease_without_a_probation_too() {
    let temp = temp();
    let root = temp.path().display().to_string();
    let world = two_releases(&root).await;
    let agent = Agent::start(&root, None).await;
    agent.world.acquire(2, SHORT).await.unwrap();
    until("the lock is free", async || world.acquire(3, LEASE).await.ok()).await;
    let late = agent.world.call(Op::SetStopped { epoch: Epoch(2), stopped: None }).await.unwrap_err();
    assert_eq!(late, Refusal::Fenced { have: 3, got: 2 }.into());
    let late = agent.world.acquire_for(3, LEASE, Some("late")).await.unwrap_err();
    assert!(matches!(late, HostError::Locked { .. } | HostError::Refused { .. }), "{late:?}");
    assert_eq!(world.state().await.record.accepted, None);
    assert_eq!(world.read("current/x"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_renew_the_lease() {
    let temp = temp();
    let root = temp.path().display().to_string();
    let world = two_releases(&root).await;
    let agent = on_probation(&root, Duration::from_secs(2)).await;
    let beat = agent.world.client.heartbeat(&root, Duration::from_millis(50));
    let heard = || std::fs::metadata(world.path(".soll/heard")).unwrap().modified().unwrap();
    let (first, mut notes) = (heard(), std::collections::BTreeSet::new());
    // Noted a few times per lease: five notes are more than one lease.
    until("the lease was renewed for longer than it is", async || {
        notes.extend(Some(heard()).filter(|at| *at != first));
        (notes.len() >= 5).then_some(())
    })
    .await;
    assert_eq!(agent.world.read("current/x"), "2");
    agent.world.confirm(2, "r2", 'b').await.unwrap();
    drop(beat);
    world.laws();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_run_takes_a_live_probation_over() {
    let temp = temp();
    let root = temp.path().display().to_string();
    let world = two_releases(&root).await;
    let mut old = on_probation(&root, LEASE).await.abandon();
    let state = until("the lock is free", async || world.acquire(3, LEASE).await.ok()).await;
    let probation = state.record.probation.expect("it goes on");
    assert_eq!((probation.epoch, probation.release), (Epoch(3), name("r2")));
    assert_eq!(world.read("current/x"), "2");
    // The old agent sees that it is not needed, long before the lease is over.
    assert!(old.wait().await.unwrap().success());
    world.confirm(3, "r2", 'b').await.unwrap();
    world.laws();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probation_that_nobody_watched_ends_at_the_next_acquire() {
    let temp = temp();
    let root = temp.path().display().to_string();
    let world = two_releases(&root).await;
    let agent = on_probation(&root, SHORT).await;
    agent.signal(Signal::KILL);
    agent.wait().await;
    until("the lease is over", async || world.state().await.lease_over.then_some(())).await;
    assert_eq!(world.read("current/x"), "2", "nobody acts for a dead agent");
    let state = world.acquire(3, LEASE).await.unwrap();
    assert!(state.record.probation.is_none() && state.current.release() == Some(&name("r1")));
    world.call(Op::Release { epoch: Epoch(3), look: None }).await.unwrap();
    went_back(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_do_not_end_an_agent_that_is_needed() {
    let temp = temp();
    let root = temp.path().display().to_string();
    let world = two_releases(&root).await;
    let agent = on_probation(&root, Duration::from_secs(1)).await;
    agent.signal(Signal::HUP);
    agent.world.call(Op::Ping).await.unwrap();
    agent.signal(Signal::TERM);
    until("it hangs up", async || lost(&agent.world.call(Op::Ping).await).then_some(())).await;
    went_back(&world).await;
    assert!(agent.wait().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_under_way_is_finished_before_anything_else() {
    let temp = temp();
    let root = temp.path().display().to_string();
    let world = two_releases(&root).await;
    let agent = on_probation(&root, SHORT).await;
    let hook = shell_until(&world, "go");
    let cwd = soll::host::wire::Cwd::Current;
    let (client, at) = (agent.world.client.clone(), root.clone());
    let asked = tokio::spawn(async move {
        client.call(&at, Op::Hook { epoch: Epoch(2), cwd, command: hook, means: CommandRole::Work }).await
    });
    until("the hook runs", async || world.path("begun").exists().then_some(())).await;
    // Its lease runs out meanwhile; the host does not go back under a running command.
    until("the lease is over", async || {
        let heard = std::fs::metadata(world.path(".soll/heard")).unwrap().modified().unwrap();
        heard.elapsed().is_ok_and(|silent| silent > SHORT * 2).then_some(())
    })
    .await;
    assert_eq!(world.read("current/x"), "2");
    world.write("go", "");
    assert!(matches!(asked.await.unwrap(), Ok(Reply::Command(result)) if result.ok()));
    went_back(&world).await;
}

/// A command that says that it runs, and ends when a file is there.
fn shell_until(world: &World, file: &str) -> soll::model::record::Command {
    let (begun, file) = (world.path("begun"), world.path(file));
    let run = format!("touch {}; until test -e {}; do sleep 0.02; done", begun.display(), file.display());
    crate::host::world::shell(&run)
}
