//! HTTP checks (C1) against every kind of answer.

use std::time::Duration;

use soll::health::Context;
use soll::host::wire::Secret;
use soll::model::desired::Probe;
use soll::model::observed::Verdict;

use super::server::{Reply, Server};
use super::{TOKEN, closed_port, context, found};

pub fn get(url: &str) -> Probe {
    Probe::Http { url: url.to_owned(), status: 200, bearer: None, body: None }
}

fn with_token(url: &str) -> Probe {
    Probe::Http { url: url.to_owned(), status: 200, bearer: Some("HEALTHCHECK_TOKEN".to_owned()), body: None }
}

fn with_body(url: &str, text: &str) -> Probe {
    Probe::Http { url: url.to_owned(), status: 200, bearer: None, body: Some(text.to_owned()) }
}

fn pass(evidence: &str) -> (Verdict, String) {
    (Verdict::Pass, evidence.to_owned())
}

fn fail(evidence: impl Into<String>) -> (Verdict, String) {
    (Verdict::Fail, evidence.into())
}

#[tokio::test]
async fn the_status_is_the_verdict() {
    let server = Server::start(|request| match request.path.as_str() {
        "/health" => Reply::ok("{\"status\":\"ok\"}"),
        "/long" => Reply::status(500, &"stack trace ".repeat(50)),
        "/control" => Reply::status(500, "a\r\n\tb\u{1b}[31mc\0d"),
        "/elsewhere" => Reply::ok("you should not be here"),
        "/redirect" => Reply::with(302, "location: /elsewhere\r\n", ""),
        _ => Reply::status(503, "database is gone"),
    })
    .await;
    let of = async |path: &str| found(&get(&server.url(path)), &context()).await;
    assert_eq!(of("/health").await, pass("200 in N ms"));
    assert_eq!(of("/down").await, fail("503 instead of 200 after N ms: database is gone"));
    assert_eq!(of("/redirect").await, fail("302 instead of 200 after N ms, Location: /elsewhere"));
    assert_eq!(of("/control").await, fail("500 instead of 200 after N ms: a b [31mc d"));
    let (_, long) = of("/long").await;
    let quoted = long.strip_prefix("500 instead of 200 after N ms: ").unwrap();
    assert_eq!(quoted.len(), 119, "120 characters, the blank at their end taken off: {quoted}");

    let moved = Probe::Http { url: server.url("/redirect"), status: 302, bearer: None, body: None };
    assert_eq!(found(&moved, &context()).await, pass("302 in N ms"));

    let seen = server.seen();
    assert!(seen.iter().all(|request| request.path != "/elsewhere"), "a redirect was followed");
    assert_eq!(seen[0].header("user-agent"), Some(concat!("soll/", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn the_body_must_contain_what_is_asked() {
    let server = Server::start(|request| match request.path.as_str() {
        "/endless" => Reply::Endless("HTTP/1.1 200 OK\r\n\r\n"),
        "/broken-off" => Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this".to_vec()),
        "/latin" => Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n\xff\xfeok!".to_vec()),
        _ => Reply::ok("database ok"),
    })
    .await;
    let of = async |path: &str, text: &str| found(&with_body(&server.url(path), text), &context()).await;
    assert_eq!(of("/", "ok").await, pass("200 in N ms"));
    assert_eq!(of("/latin", "ok!").await, pass("200 in N ms"));
    assert_eq!(of("/", "queue ok").await, fail("body does not contain \"queue ok\" (200 in N ms)"));
    assert_eq!(of("/endless", "ok").await, fail("the first MiB of the body does not contain \"ok\" (200 in N ms)"));
    let (verdict, evidence) = of("/broken-off", "ok").await;
    assert_eq!(verdict, Verdict::Fail);
    assert!(evidence.starts_with("no complete HTTP answer from 127.0.0.1:"), "{evidence}");
}

#[tokio::test]
async fn a_target_that_breaks_down_fails_and_says_how() {
    let server = Server::start(|request| match request.path.as_str() {
        "/garbage" => Reply::Raw(b"220 smtp.example.com ESMTP\r\n".to_vec()),
        "/closed" => Reply::Reset,
        _ => Reply::Hang,
    })
    .await;
    let address = server.address();
    let of = async |path: &str, ctx: &Context<'_>| found(&get(&server.url(path)), ctx).await;

    let (verdict, garbage) = of("/garbage", &context()).await;
    assert_eq!(verdict, Verdict::Fail, "{garbage}");
    assert!(garbage.starts_with(&format!("no complete HTTP answer from {address}: ")), "{garbage}");
    let (verdict, closed) = of("/closed", &context()).await;
    assert_eq!(verdict, Verdict::Fail, "{closed}");
    let reset = of("/reset", &context()).await;
    assert_eq!(reset, fail(format!("{address} reset the connection in the middle of its answer")));

    let impatient = Context { timeout: Duration::from_millis(150), ..context() };
    assert_eq!(of("/hang", &impatient).await, fail(format!("no complete answer from {address} within N ms")));

    let port = closed_port().await;
    let refused = found(&get(&format!("http://127.0.0.1:{port}/health")), &context()).await;
    assert_eq!(refused, fail(format!("no connection to 127.0.0.1:{port}: connection refused")));
}

#[tokio::test]
async fn what_the_prober_lacks_is_inconclusive() {
    for (url, why) in [
        ("not a url", "the URL of this check is not usable"),
        ("ftp://127.0.0.1/x", "only http:// and https:// are spoken"),
        ("http://user:pass@127.0.0.1/", "it carries credentials"),
        ("http://name.invalid/health", "the name name.invalid does not resolve here"),
    ] {
        let (verdict, evidence) = found(&get(url), &context()).await;
        assert_eq!(verdict, Verdict::Inconclusive, "{evidence}");
        assert!(evidence.contains(why) && !evidence.contains("user:pass"), "{evidence}");
    }

    let server = Server::start(|_| Reply::ok("")).await;
    let (verdict, missing) = found(&with_token(&server.url("/")), &context()).await;
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(missing.contains("SOLL_SECRET_HEALTHCHECK_TOKEN"), "{missing}");
    let secret = Secret::new(format!("{TOKEN}\n"));
    let ctx = Context { secret: Some(&secret), ..context() };
    let (verdict, broken) = found(&with_token(&server.url("/")), &ctx).await;
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(broken.contains("no header can carry"), "{broken}");
    assert!(server.seen().is_empty(), "nothing is asked without the secret");
}

#[tokio::test]
async fn a_token_is_sent_to_its_target_and_comes_back_nowhere() {
    let server = Server::start(|request| {
        let sent = request.header("authorization").unwrap_or("nothing").to_owned();
        match request.path.as_str() {
            "/health" if sent == format!("Bearer {TOKEN}") => Reply::ok("ok"),
            "/echo" => Reply::status(401, &format!("you sent {sent}.")),
            "/json" => Reply::status(401, &format!("{{\"sent\":\"{}\"}}", sent.replace('/', "\\/"))),
            "/parts" => Reply::status(401, &format!("bad: {}… {}", &sent[..18], &sent[11..])),
            "/at-the-cut" => Reply::status(401, &format!("{}{sent}", "-".repeat(105))),
            "/redirect" => Reply::with(302, "location: http://127.0.0.1:1/\r\n", &sent),
            _ => Reply::status(401, &sent),
        }
    })
    .await;
    let secret = Secret::new(TOKEN.to_owned());
    let ctx = Context { secret: Some(&secret), ..context() };
    // `found` itself fails on every part of the token.
    let of = async |path: &str| found(&with_token(&server.url(path)), &ctx).await;
    assert_eq!(of("/health").await, pass("200 in N ms"));
    assert_eq!(of("/echo").await, fail("401 instead of 200 after N ms: you sent Bearer ***."));
    assert_eq!(of("/json").await, fail("401 instead of 200 after N ms: {\"sent\":\"Bearer ***\"}"));
    assert_eq!(of("/parts").await, fail("401 instead of 200 after N ms: bad: Bearer ***… ***"));
    assert_eq!(of("/at-the-cut").await.0, Verdict::Fail);
    assert_eq!(of("/redirect").await, fail("302 instead of 200 after N ms, Location: http://127.0.0.1:1/: Bearer ***"));

    let unnamed = found(&get(&server.url("/none")), &ctx).await;
    assert_eq!(unnamed, fail("401 instead of 200 after N ms: nothing"), "a check that names no secret sends none");
}
