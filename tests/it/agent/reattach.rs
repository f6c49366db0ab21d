//! A connection that breaks and comes back: nothing runs twice, nothing is lost, and who was replaced stays out.

use std::io::Cursor;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use soll::host::wire::{CommandRole, Cwd, HostError, Op, Reply};
use soll::model::ids::Epoch;
use soll::model::record::Refusal;
use tokio::io::{AsyncRead, ReadBuf};

use super::leases::two_releases;
use super::process::lost;
use super::wire::Wire;
use crate::host::world::{Bundle, LEASE, SHORT, World, in_process, name, shell, temp, until, upload};

const PATIENCE: Duration = Duration::from_secs(60);

fn hook(run: &str) -> Op {
    Op::Hook { epoch: Epoch(1), cwd: Cwd::Current, command: shell(run), means: CommandRole::Work }
}

/// Says that it began, and ends when it may.
const WAITS: &str = "echo ran >> began; while test ! -e go; do sleep 0.02; done; echo ended";

fn refused(result: &Result<Reply, HostError>) -> bool {
    matches!(result, Err(HostError::Refused { refusal: Refusal::Fenced { .. } }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_under_way_is_waited_for_and_runs_once() {
    let temp = temp();
    let (wire, world) = Wire::to(&temp.path().display().to_string(), PATIENCE).await;
    world.acquire(1, LEASE).await.unwrap();
    let asked = world.call(hook(WAITS));
    let breaks = async {
        for n in 0..3 {
            until("it runs", async || world.path("began").exists().then_some(())).await;
            wire.cut(true);
            // Whatever is asked meanwhile is answered, too.
            assert!(world.call(Op::Ping).await.is_ok(), "{n}");
        }
        world.write("go", "");
    };
    let (ended, ()) = tokio::join!(asked, breaks);
    let Ok(Reply::Command(result)) = ended else { panic!("{ended:?}") };
    assert_eq!((result.output.trim(), world.read("began").as_str()), ("ended", "ran\n"));
    assert!(world.call(Op::Release { epoch: Epoch(1), look: None }).await.is_ok(), "the root is held as before");
    // The last client is gone, and says so: the agent does not linger.
    let mut agent = wire.take_agent();
    drop(world);
    assert!(agent.wait().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_arrived_is_sent_again_and_what_ended_meanwhile_is_told() {
    let temp = temp();
    let (wire, world) = Wire::to(&temp.path().display().to_string(), PATIENCE).await;
    world.acquire(1, LEASE).await.unwrap();
    // Swallowed on the way there.
    wire.mute();
    let cut = async {
        until("it is on its way", async || (wire.swallowed() > 0).then_some(())).await;
        wire.cut(false);
        wire.mend();
    };
    let (ended, ()) = tokio::join!(world.call(hook("echo once >> count")), cut);
    assert!(ended.is_ok(), "{ended:?}");
    // Ended while nobody listened.
    let cut = async {
        until("it runs", async || world.path("began").exists().then_some(())).await;
        wire.cut(false);
        world.write("go", "");
        until("it ended", async || world.path("over").exists().then_some(())).await;
        wire.mend();
    };
    let (ended, ()) = tokio::join!(world.call(hook(&format!("{WAITS}; touch over"))), cut);
    let Ok(Reply::Command(result)) = ended else { panic!("{ended:?}") };
    assert_eq!(result.output.trim(), "ended");
    assert_eq!((world.read("count").as_str(), world.read("began").as_str()), ("once\n", "ran\n"));
}

/// Gives its bytes, and cuts the wire when half of them are gone.
struct Cutting {
    bytes: Cursor<Vec<u8>>,
    wire: Option<Arc<Wire>>,
}

impl AsyncRead for Cutting {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.bytes.position() > self.bytes.get_ref().len() as u64 / 2
            && let Some(wire) = self.wire.take()
        {
            wire.cut(true);
        }
        Pin::new(&mut self.bytes).poll_read(cx, buf)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_upload_goes_on_where_it_stopped() {
    let temp = temp();
    let (wire, world) = Wire::to(&temp.path().display().to_string(), PATIENCE).await;
    world.acquire(1, LEASE).await.unwrap();
    let big: Vec<(String, String)> = (0..40).map(|n| (format!("f{n:02}"), format!("{n:07}").repeat(100_000))).collect();
    let bundle = Bundle::new(&big.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect::<Vec<_>>());
    let all = world.missing(1, &bundle).await.unwrap();
    let (list, bytes) = bundle.pick(&all);
    let mut source = Cutting { bytes, wire: Some(wire.clone()) };
    let ended = upload(&world.client, &world.root, 1, list, &mut source).await;
    assert!(matches!(&ended, Err(HostError::Interrupted(_))), "{ended:?}");
    let left = world.missing(1, &bundle).await.unwrap();
    assert!(!left.is_empty() && left.len() < all.len(), "{} of {}", left.len(), all.len());
    world.send(1, &bundle, &left).await.unwrap();
    world.extract(1, "r1", 'a', &bundle).await.unwrap();
    assert_eq!(world.read("releases/r1/f39"), big[39].1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_took_over_meanwhile_stays_in() {
    let temp = temp();
    let root = temp.path().display().to_string();
    let (wire, world) = Wire::to(&root, PATIENCE).await;
    world.acquire(1, LEASE).await.unwrap();
    wire.cut(false);
    let other = World::with(&root, in_process().await);
    // A lost controller keeps nobody out.
    until("the root is free", async || other.acquire(2, LEASE).await.ok()).await;
    wire.mend();
    let late = world.call(hook("touch late")).await;
    // Either the lock or the epoch says so.
    assert!(refused(&late) || matches!(late, Err(HostError::Locked { .. })), "{late:?}");
    other.call(Op::Release { epoch: Epoch(2), look: None }).await.unwrap();
    let late = world.call(hook("touch late")).await;
    assert!(refused(&late), "{late:?}");
    assert!(!world.path("late").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ran_out_meanwhile_is_over() {
    let temp = temp();
    let root = temp.path().display().to_string();
    two_releases(&root).await;

    let (wire, world) = Wire::to(&root, PATIENCE).await;
    world.acquire(2, LEASE).await.unwrap();
    let probation = world.probation(2, "r2", 'b', SHORT, "true");
    world.call(Op::Switch { epoch: Epoch(2), probation }).await.unwrap();
    assert_eq!(world.read("current/x"), "2");
    wire.cut(false);
    until("the host goes back", async || (world.read("current/x") == "1").then_some(())).await;
    wire.mend();
    let late = world.call(Op::Hold { epoch: Epoch(2), verdict: None }).await;
    // There is nothing left to come back for: the agent may have ended.
    assert!(refused(&late) || lost(&late), "{late:?}");
    let world = World::with(&root, in_process().await);
    let record = world.state().await.record;
    assert_eq!(record.returned.map(|returned| (returned.from, returned.to)), Some((name("r2"), Some(name("r1")))));
    world.laws();
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_an_end_to_patience_and_to_an_agent() {
    let temp = temp();
    let root = temp.path().display().to_string();
    let (wire, world) = Wire::to(&root, Duration::from_millis(300)).await;
    world.acquire(1, LEASE).await.unwrap();
    wire.cut(false);
    let gone = world.call(Op::Ping).await;
    assert!(lost(&gone), "{gone:?}");
    let text = gone.unwrap_err().to_string();
    assert!(text.contains("the cable is out"), "{text}");
    assert!(world.client.is_dead());

    let (wire, world) = Wire::to(&root, PATIENCE).await;
    until("the root is free", async || world.acquire(2, LEASE).await.ok()).await;
    wire.kill_agent();
    let gone = world.call(Op::Ping).await;
    assert!(lost(&gone) && gone.unwrap_err().to_string().contains("its process is gone"));
}
