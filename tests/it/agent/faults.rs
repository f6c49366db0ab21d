//! `kill -9` at every named point: the next look is truthful, the laws hold, and the work goes on.

use std::collections::BTreeMap;

use soll::fault;
use soll::host::wire::{CommandRole, Cwd, HostError, Observe, Op, Reply};
use soll::model::desired::Shared;
use soll::model::ids::Epoch;
use soll::model::observed::Current;
use soll::model::record::Migration;

use super::process::{Agent, lost};
use crate::host::world::{Bundle, LEASE, SHORT, World, in_process, name, release, sha, shared, shell, temp, until};

const ROLLBACK: &str = "echo back >> ../../hook";

#[tokio::test(flavor = "multi_thread")]
async fn at_every_point() {
    let mut passed = BTreeMap::new();
    for point in fault::HOST {
        // The record is written at every step: dying in the first few of these writes is as many cases.
        let nth = if *point == "host.record.before-rename" { 1..=9 } else { 1..=1 };
        for n in nth {
            die_at(&format!("{point}@{n}")).await;
            *passed.entry(*point).or_insert(0) += 1;
        }
    }
    assert_eq!(passed.len(), fault::HOST.len());
}

fn links() -> Vec<Shared> {
    vec![shared("logs", "logs", true), shared(".env", ".env", false)]
}

async fn die_at(fault: &str) {
    let temp = temp();
    let root = temp.path().join("app").display().to_string();
    let world = World::with(&root, in_process().await);
    world.write("shared/.env", "A=1");
    world.write("releases/20200101000000/x", "old");
    world.acquire(1, LEASE).await.unwrap();
    world.deploy(1, "r1", 'a', &Bundle::new(&[("x", "1"), ("same", "same")])).await;
    world.call(Op::Release { epoch: Epoch(1), look: None }).await.unwrap();

    let agent = Agent::start(&root, Some(fault)).await;
    let story = story(&agent.world).await;
    if story.is_ok() {
        // The points of going back: nobody is heard any more.
        agent.abandon().wait().await.unwrap();
    } else {
        assert!(lost(&story), "{fault}: {story:?}");
        let status = agent.wait().await;
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{fault} was not passed");
    }

    // A look, before anyone repairs anything.
    let state = world.state().await;
    world.laws();
    assert_eq!(state.holder, None, "{fault}");
    let record = &state.record;
    assert_eq!(record.confirmed.as_ref().map(|c| &c.release), Some(&name("r1")), "{fault}");
    let live = state.current.release().unwrap_or_else(|| panic!("{fault}: {:?}", state.current)).clone();
    if live != name("r1") {
        let probation = record.probation.as_ref().map(|p| &p.release);
        assert!(probation == Some(&live) || record.releases[&live].failed, "{fault}: {record:?}");
    }
    for known in &state.releases {
        let ours = record.releases.contains_key(known);
        assert!(ours || *known == name("20200101000000"), "{fault}: {known} could be taken for someone else's");
    }
    if fault.starts_with("host.go-back") {
        until("the lease is over", async || {
            let state = world.state().await;
            (state.lease_over || state.record.probation.is_none()).then_some(())
        })
        .await;
    }

    // The next run: it knows where it is, and gets to its end.
    let state = world.acquire(record.epoch.0 + 1, LEASE).await.unwrap_or_else(|error| panic!("{fault}: {error}"));
    world.laws();
    let epoch = state.record.epoch.0;
    if fault.starts_with("host.go-back") {
        assert!(state.record.probation.is_none() && state.current == Current::Release(name("r1")), "{fault}");
        assert!(world.read("hook").starts_with("back\n"), "{fault}: the rollback hook ran");
    }
    for leftover in ["staging", "trash"] {
        let mut entries = std::fs::read_dir(world.path(".soll").join(leftover)).unwrap();
        assert!(entries.next().is_none(), "{fault}: {leftover}");
    }
    let parts = std::fs::read_dir(world.path(".soll")).unwrap().chain(std::fs::read_dir(&root).unwrap());
    for entry in parts {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.contains(".tmp-"), "{fault}: {name} was left");
    }
    if state.record.probation.is_some() {
        // The confirmed release may itself be on probation, after somebody moved the link by hand: then it stays.
        let epoch = Epoch(epoch);
        let end = if state.record.way_back().is_some() {
            Op::Return { epoch, verdict: None }
        } else {
            Op::Hold { epoch, verdict: None }
        };
        world.call(end).await.unwrap_or_else(|error| panic!("{fault}: {error}"));
        assert_eq!(world.read("current/x"), "1", "{fault}");
        world.laws();
    }
    if state.record.migrations.values().any(|migration| *migration == Migration::Begun) {
        let word = Some(Migration::Failed);
        world.call(Op::Retry { epoch: Epoch(epoch), sha: sha('b'), migration: word, done: Vec::new() }).await.unwrap();
    }
    world.deploy(epoch, "r9", 'd', &next()).await;
    world.call(Op::Prune { epoch: Epoch(epoch), keep: 1 }).await.unwrap();
    world.laws();
    let state = world.state().await;
    assert_eq!(state.releases, [name("r9")], "{fault}");
    assert_eq!(state.record.releases.len(), 1, "{fault}");
    let what = Observe { scan_older_than: Some(0), ..Observe::default() };
    let Ok(Reply::State(state)) = world.call(Op::Observe(what)).await else { panic!("{fault}") };
    assert_eq!(state.drift.unwrap().entries, [], "{fault}");
}

fn next() -> Bundle {
    Bundle::new(&[("x", "2"), ("same", "same"), ("logs/.keep", "")])
}

/// A run that passes every point; at its end a release is on probation, with a short lease.
async fn story(world: &World) -> Result<(), HostError> {
    world.acquire(2, LEASE).await?;
    let epoch = Epoch(2);
    world.extract(2, "r2", 'b', &next()).await?;
    world.link(2, "r2", &links()).await?;
    let cwd = Cwd::Release(name("r2"));
    let key = format!("{}/hook", sha('b'));
    let close = CommandRole::Close { open: vec![shell("true")], lease: LEASE };
    for means in [CommandRole::Migration { key, case: None }, close, CommandRole::Open] {
        world.call(Op::Hook { epoch, cwd: cwd.clone(), command: shell("true"), means }).await?;
    }
    world.seal(2, "r2", &links(), &[]).await?;
    world.switch(2, "r2", 'b').await?;
    world.call(Op::Return { epoch, verdict: None }).await?;
    world.switch(2, "r2", 'b').await?;
    world.call(Op::Hold { epoch, verdict: None }).await?;
    world.switch(2, "r1", 'a').await?;
    world.confirm(2, "r1", 'a').await?;
    let adopted = name("20200101000000");
    world.call(Op::Adopt { epoch, name: adopted, release: release('0'), shared: vec![], mutable: vec![] }).await?;
    world.call(Op::Prune { epoch, keep: 1 }).await?;
    let bundle = Bundle::new(&[("x", "3")]);
    world.stage(2, "r3", 'c', &bundle, &[]).await?;
    let probation = world.probation(2, "r3", 'c', SHORT, ROLLBACK);
    world.call(Op::Switch { epoch, probation }).await?;
    Ok(())
}
