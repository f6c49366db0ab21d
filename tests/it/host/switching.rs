//! `current`, the record, and what protects them.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use soll::host::wire::{HostError, Observe, Op, Reply};
use soll::model::ids::Epoch;
use soll::model::observed::Current;
use soll::model::record::{Migration, Quarantine, Refusal};

use super::world::{Bundle, LEASE, World, in_process, key, name, sha};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_switches_and_no_reader_ever_fails_or_sees_a_mixture() {
    let world = World::new().await;
    world.acquire(1, LEASE).await.unwrap();
    for (to, digit) in [("r1", 'a'), ("r2", 'b')] {
        world.deploy(1, to, digit, &Bundle::new(&[("one", to), ("sub/two", to)])).await;
    }
    let (stop, link) = (Arc::new(AtomicBool::new(false)), world.path("current"));
    let reading = stop.clone();
    let reader = std::thread::spawn(move || {
        let mut rounds = 0u32;
        while !reading.load(Ordering::Relaxed) {
            fs::read_to_string(link.join("one")).expect("through the link");
            let dir = link.canonicalize().expect("the link leads somewhere");
            let (one, two) = (fs::read_to_string(dir.join("one")), fs::read_to_string(dir.join("sub/two")));
            assert_eq!(one.expect("one"), two.expect("two"));
            rounds += 1;
        }
        rounds
    });
    for i in 0..1000 {
        let (to, digit) = if i % 2 == 0 { ("r1", 'a') } else { ("r2", 'b') };
        world.switch(1, to, digit).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    assert!(reader.join().expect("no read failed") > 0);
    world.laws();
}

#[tokio::test(flavor = "multi_thread")]
async fn forward_back_and_held() {
    let world = World::new().await;
    assert_eq!(world.current().await, Current::Missing);
    world.acquire(1, LEASE).await.unwrap();
    world.stage(1, "r1", 'a', &Bundle::new(&[("x", "1")]), &[]).await.unwrap();
    world.switch(1, "r1", 'a').await.unwrap();
    assert_eq!(fs::read_link(world.path("current")).unwrap().to_str(), Some("releases/r1"));
    let error = world.call(Op::Return { epoch: Epoch(1), verdict: None }).await.unwrap_err();
    assert_eq!(error, Refusal::NowhereToGo.into(), "the first release has no way back");
    world.confirm(1, "r1", 'a').await.unwrap();
    world.laws();

    world.stage(1, "r2", 'b', &Bundle::new(&[("x", "2")]), &[]).await.unwrap();
    assert!(world.confirm(1, "r2", 'b').await.is_err(), "not live");
    world.switch(1, "r2", 'b').await.unwrap();
    for _ in 0..2 {
        // Asked twice, because an answer may be lost.
        let reply = world.call(Op::Return { epoch: Epoch(1), verdict: None }).await.unwrap();
        assert!(matches!(reply, Reply::Returned { to } if to == name("r1")));
        assert_eq!(world.read("current/x"), "1");
        world.laws();
    }
    let state = world.state().await;
    assert!(state.record.probation.is_none() && state.record.releases[&name("r2")].failed);

    world.switch(1, "r2", 'b').await.unwrap();
    world.call(Op::Hold { epoch: Epoch(1), verdict: None }).await.unwrap();
    assert_eq!(world.read("current/x"), "2");
    assert!(world.call(Op::Return { epoch: Epoch(1), verdict: None }).await.is_err(), "its probation has ended");
    world.laws();

    world.extract(1, "r3", 'c', &Bundle::new(&[("x", "3")])).await.unwrap();
    assert_eq!(world.switch(1, "r3", 'c').await.unwrap_err(), Refusal::NotSealed(name("r3")).into());
    assert_eq!(world.switch(1, "r9", 'c').await.unwrap_err(), Refusal::NoSuchRelease(name("r9")).into());
    world.laws();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_current_can_be() {
    let world = World::new().await;
    world.acquire(1, LEASE).await.unwrap();
    world.stage(1, "r1", 'a', &Bundle::new(&[("x", "1")]), &[]).await.unwrap();
    world.write("current/index.php", "a checkout");
    assert_eq!(world.current().await, Current::NotALink);
    let error = world.switch(1, "r1", 'a').await.unwrap_err().to_string();
    assert!(error.contains("soll adopt"), "{error}");
    assert_eq!(world.read("current/index.php"), "a checkout");
    assert!(world.state().await.record.probation.is_none(), "nothing was armed");
    fs::remove_dir_all(world.path("current")).unwrap();
    for (text, wanted) in [
        ("releases/r1", Current::Release(name("r1"))),
        ("./releases/r1/", Current::Release(name("r1"))),
        ("releases/gone", Current::Elsewhere("releases/gone".to_owned())),
        ("/etc", Current::Elsewhere("/etc".to_owned())),
        ("shared", Current::Elsewhere("shared".to_owned())),
    ] {
        let _ = fs::remove_file(world.path("current"));
        symlink(text, world.path("current")).unwrap();
        assert_eq!(world.current().await, wanted, "{text}");
    }
    // A link that leads elsewhere is replaced like any other.
    world.switch(1, "r1", 'a').await.unwrap();
    assert_eq!(world.read("current/x"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_holder_acts_and_only_under_its_epoch() {
    let world = World::new().await;
    world.acquire(5, LEASE).await.unwrap();
    let other = World::with(&world.root, in_process().await);
    let error = other.acquire(6, LEASE).await.unwrap_err();
    let HostError::Locked { holder, .. } = &error else { panic!("{error:?}") };
    assert_eq!((holder.who.as_str(), holder.epoch, holder.pid), ("test", Epoch(5), std::process::id()));
    assert_eq!(other.state().await.holder.unwrap().who, "test");
    let fenced = |error: HostError| matches!(error, HostError::Refused { refusal: Refusal::Fenced { .. } });
    assert!(fenced(other.call(Op::Hold { epoch: Epoch(5), verdict: None }).await.unwrap_err()), "it holds nothing");
    assert!(fenced(world.call(Op::Hold { epoch: Epoch(4), verdict: None }).await.unwrap_err()));
    assert!(fenced(world.call(Op::Hold { epoch: Epoch(6), verdict: None }).await.unwrap_err()));
    let look = Some(Observe::default());
    let Reply::Released { watched: false, state: Some(left) } =
        world.call(Op::Release { epoch: Epoch(5), look }).await.unwrap()
    else {
        panic!("it is free, and was looked at")
    };
    assert_eq!((left.holder, left.record.epoch), (None, Epoch(5)), "looked at when it was given back");
    assert_eq!(other.state().await.holder, None);
    assert!(fenced(other.acquire_for(5, LEASE, Some("late")).await.unwrap_err()), "an epoch is used once");
    assert_eq!(other.state().await.holder, None, "a refused run holds nothing");
    assert_eq!(other.state().await.record.accepted, None, "and acts on nothing");
    other.acquire_for(6, LEASE, Some("c1")).await.unwrap();
    assert_eq!(other.state().await.record.accepted.unwrap().commit, "c1");
    assert!(fenced(world.call(Op::Hold { epoch: Epoch(5), verdict: None }).await.unwrap_err()));
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_keeps_what_is_needed_and_what_is_used() {
    let world = World::new().await;
    // Made before soll came: one that a person called an old release, and one that nobody did.
    world.write("releases/20200101/x", "0");
    world.write("releases/db-backup/x", "precious");
    let claim = Op::Claim { who: "ann".to_owned(), machine: None, releases: vec![name("20200101")] };
    world.call(claim).await.unwrap();
    let missing = Op::Claim { who: "ann".to_owned(), machine: None, releases: vec![name("20190101")] };
    assert!(world.call(missing).await.unwrap_err().to_string().contains("20190101"));
    world.acquire(1, LEASE).await.unwrap();
    for (to, digit) in [("r1", 'a'), ("r2", 'b'), ("r3", 'c'), ("r4", 'd')] {
        world.deploy(1, to, digit, &Bundle::new(&[("x", to)])).await;
    }
    world.stage(1, "r5", 'e', &Bundle::new(&[("x", "failed")]), &[]).await.unwrap();
    symlink(world.path("shared"), world.path("releases/r1/out")).unwrap();
    world.write("shared/data", "precious");
    let mut sleeper =
        std::process::Command::new("sleep").arg("600").current_dir(world.path("releases/r2")).spawn().unwrap();
    let reply = world.call(Op::Prune { epoch: Epoch(1), keep: 2 }).await;
    let again = {
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        world.call(Op::Prune { epoch: Epoch(1), keep: 1 }).await
    };
    let Ok(Reply::Pruned { removed, kept_in_use, .. }) = reply else { panic!("{reply:?}") };
    assert_eq!((removed, kept_in_use), (vec![name("r5"), name("20200101"), name("r1")], vec![name("r2")]));
    let Ok(Reply::Pruned { removed, .. }) = again else { panic!("{again:?}") };
    assert_eq!(removed, [name("r2"), name("r3")]);
    let left = [name("db-backup"), name("r4")];
    assert_eq!(world.state().await.releases, left, "neither the live one nor what is no release is ever pruned");
    assert_eq!(world.read("shared/data"), "precious", "links are not followed");
    assert_eq!(world.state().await.record.releases.len(), 1);
    world.laws();
}

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_notes_and_samples_are_kept() {
    let world = World::new().await;
    let beat = |healthy| Op::Sample { healthy, every: Duration::from_secs(300) };
    world.call(beat(true)).await.unwrap();
    assert!(!world.path(".soll").exists(), "a sample makes no root");
    world.acquire(1, LEASE).await.unwrap();
    world.deploy(1, "r1", 'a', &Bundle::new(&[("x", "1")])).await;
    world.call(beat(true)).await.unwrap();
    assert_eq!(world.state().await.record.green.unwrap().samples, 2);
    world.call(beat(false)).await.unwrap();
    assert_eq!(world.state().await.record.green, None);
    let (reason, at) = ("health".to_owned(), jiff::Timestamp::now());
    let entry = Quarantine { key: key('b'), reason, at, verdict: true, alone: false };
    world.call(Op::Quarantine { epoch: Epoch(1), entry }).await.unwrap();
    let record = world.state().await.record;
    assert!(record.verdict_on(&key('b')).is_some() && record.accepted.is_none());
    let reply = world
        .call(Op::Retry { epoch: Epoch(1), sha: sha('b'), migration: Some(Migration::Done), done: Vec::new() })
        .await
        .unwrap();
    assert!(matches!(reply, Reply::Retried { lifted: 1 }));

    // A wish to cancel comes from someone else and reaches the holder with its next answer.
    let other = World::with(&world.root, in_process().await);
    other.call(Op::Cancel { by: "anna".to_owned(), now: false, only: None }).await.unwrap();
    world.call(Op::Ping).await.unwrap();
    assert_eq!(world.client.cancellations().borrow().get(&world.root).map(String::as_str), Some("anna"));
    assert!(other.client.cancellations().borrow().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_not_understood_is_left_alone() {
    let world = World::new().await;
    world.acquire(1, LEASE).await.unwrap();
    world.call(Op::Release { epoch: Epoch(1), look: None }).await.unwrap();
    let newer = world.read(".soll/record.json").replacen("\"format\": 2", "\"format\": 99", 1);
    for (text, says) in [("{ half", "soll adopt"), (newer.as_str(), "newer")] {
        world.write(".soll/record.json", text);
        let error = world.acquire(2, LEASE).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert_eq!(world.read(".soll/record.json"), text);
    }
}
