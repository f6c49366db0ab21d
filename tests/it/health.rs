//! The health room against real sockets: what each answer of a target is worth, and that no secret comes back.

mod assets;
mod http;
mod metrics;
mod server;
mod tls;

use std::time::Duration;

use jiff::Timestamp;
use soll::health::Context;
use soll::health::probe::{attempt, attempt_blocking};
use soll::model::desired::Probe;
use soll::model::observed::{Attempt, Verdict};

use server::{Reply, Server};

/// Has a slash, which JSON and URLs may escape.
const TOKEN: &str = "Zx9/kLm+Qr7TuVw2";

/// Far longer than anything here takes: only tests of timeouts shorten it.
fn context() -> Context<'static> {
    Context { secret: None, dir: None, timeout: Duration::from_secs(20), now: Timestamp::now }
}

/// The evidence, once it is sure that no part of the token is in what leaves the room.
fn clean(attempt: &Attempt) -> &str {
    let all = format!("{attempt:?} {}", serde_json::to_string(attempt).unwrap());
    for start in 0..=TOKEN.len() - 8 {
        assert!(!all.contains(&TOKEN[start..start + 8]), "part of the token in {all}");
    }
    &attempt.evidence
}

/// Evidence with its digits before ` ms` replaced, since they differ from run to run.
fn untimed(evidence: &str) -> String {
    let mut words: Vec<&str> = evidence.split(' ').collect();
    for i in 1..words.len() {
        if words[i].starts_with("ms") && words[i - 1].bytes().all(|b| b.is_ascii_digit()) {
            words[i - 1] = "N";
        }
    }
    words.join(" ")
}

/// Verdict and evidence of one attempt.
async fn found(probe: &Probe, ctx: &Context<'_>) -> (Verdict, String) {
    let attempt = attempt(probe, ctx).await;
    (attempt.verdict, untimed(clean(&attempt)))
}

/// A port of this machine on which nobody listens.
async fn closed_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn tcp_connects_or_says_who_refused() {
    let server = Server::start(|_| Reply::Hang).await;
    let of = |address: String| Probe::Tcp { address };
    let (verdict, evidence) = found(&of(server.address()), &context()).await;
    assert_eq!((verdict, evidence), (Verdict::Pass, format!("connected to {} in N ms", server.address())));

    let port = closed_port().await;
    let refused = format!("no connection to 127.0.0.1:{port}: connection refused");
    let probe = of(format!("127.0.0.1:{port}"));
    // On a task of its own, as the controller does it.
    let elsewhere = tokio::spawn(async move { found(&probe, &context()).await });
    assert_eq!(elsewhere.await.unwrap(), (Verdict::Fail, refused));

    for unusable in ["nowhere", "name.invalid:80", "127.0.0.1:0"] {
        let (verdict, evidence) = found(&of(unusable.to_owned()), &context()).await;
        assert_eq!(verdict, Verdict::Inconclusive, "{unusable}: {evidence}");
    }
}

#[tokio::test]
async fn systemd_is_asked_where_it_runs_and_otherwise_nothing_is_known() {
    let booted = std::path::Path::new("/run/systemd/system").exists();
    let absent = Probe::Systemd { unit: "soll-no-such-unit.service".to_owned() };
    let (verdict, evidence) = found(&absent, &context()).await;
    match booted {
        true => assert_eq!(verdict, Verdict::Fail, "{evidence}"),
        false => assert_eq!(
            (verdict, evidence.as_str()),
            (Verdict::Inconclusive, "systemd does not run here, so nothing is known about soll-no-such-unit.service")
        ),
    }
    let (verdict, evidence) = found(&Probe::Systemd { unit: "--host=x".to_owned() }, &context()).await;
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(evidence.contains("not the name of a unit"), "{evidence}");
}

#[tokio::test]
async fn command_checks_are_not_run_by_the_prober() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("ran");
    let probe = Probe::Run { command: format!("touch {}", trace.display()) };
    let (verdict, evidence) = found(&probe, &context()).await;
    assert_eq!(verdict, Verdict::Inconclusive, "{evidence}");
    assert!(!trace.exists());
}

#[test]
fn the_blocking_form_finds_the_same_without_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::start(|_| Reply::ok("fine")));
    let ctx = Context { now: || Timestamp::UNIX_EPOCH, ..context() };
    let probe = http::get(&server.url("/health"));
    let attempt = attempt_blocking(&probe, &ctx);
    assert_eq!((attempt.verdict, untimed(&attempt.evidence)), (Verdict::Pass, "200 in N ms".to_owned()));
    assert_eq!(attempt.at, Timestamp::UNIX_EPOCH);

    let source = metrics::whole_body(&server.url("/"));
    assert_eq!(soll::health::metric::sample_blocking(&source, &ctx), Err("the answer is not a number".to_owned()));
}
