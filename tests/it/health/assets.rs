//! Asset validation (C3): manifests good and bad, servers that miss some.

use std::path::Path;

use soll::health::Context;
use soll::model::desired::Probe;
use soll::model::observed::Verdict;

use super::server::{Reply, Server};
use super::{context, found};

const MANIFEST: &str = "public/build/manifest.json";

fn release(manifest: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(MANIFEST);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, manifest).unwrap();
    dir
}

async fn check(dir: &Path, manifest: &str, base_url: &str) -> (Verdict, String) {
    let probe = Probe::Assets { manifest: manifest.to_owned(), base_url: base_url.to_owned() };
    found(&probe, &Context { dir: Some(dir), ..context() }).await
}

const VITE: &str = r#"{
  "resources/js/app.js": {"file": "assets/app.1a.js", "isEntry": true, "css": ["assets/app.2b.css"], "assets": ["assets/logo.svg"]},
  "resources/js/admin.js": {"file": "assets/admin.3c.js", "css": ["assets/app.2b.css"], "imports": ["_vendor.js"]}
}"#;

#[tokio::test]
async fn everything_that_a_manifest_names_is_asked_for_once() {
    // One answers HEAD without a length, one refuses HEAD: GET settles both.
    let server = Server::start(|request| match (request.method.as_str(), request.path.as_str()) {
        ("HEAD", "/build/assets/logo.svg") => Reply::status(405, ""),
        ("HEAD", "/build/assets/app.2b.css") => Reply::Raw(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
        ("HEAD", _) => Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".to_vec()),
        _ => Reply::ok("contents!"),
    })
    .await;
    let dir = release(VITE);
    let (verdict, evidence) = check(dir.path(), MANIFEST, &server.url("/build/")).await;
    assert_eq!((verdict, evidence.as_str()), (Verdict::Pass, "4 assets of public/build/manifest.json served in N ms"));
    let mut asked: Vec<String> =
        server.seen().iter().map(|request| format!("{} {}", request.method, request.path)).collect();
    asked.sort();
    assert_eq!(
        asked,
        [
            "GET /build/assets/app.2b.css",
            "GET /build/assets/logo.svg",
            "HEAD /build/assets/admin.3c.js",
            "HEAD /build/assets/app.1a.js",
            "HEAD /build/assets/app.2b.css",
            "HEAD /build/assets/logo.svg",
        ]
    );
}

#[tokio::test]
async fn missing_and_empty_assets_are_named() {
    let server = Server::start(|request| match request.path.as_str() {
        "/assets/app.1a.js" => Reply::status(404, "not found"),
        "/assets/app.2b.css" => Reply::ok(""),
        "/assets/admin.3c.js" => Reply::with(200, "content-type: text/html; charset=utf-8\r\n", "<html>"),
        _ => Reply::ok("contents!"),
    })
    .await;
    let dir = release(VITE);
    let (verdict, evidence) = check(dir.path(), MANIFEST, &server.url("")).await;
    assert_eq!(verdict, Verdict::Fail);
    assert_eq!(
        evidence,
        "of the 4 assets of public/build/manifest.json these are missing: \
         assets/admin.3c.js (an HTML page is served in its place), assets/app.1a.js (404), assets/app.2b.css (empty)"
    );
}

#[tokio::test]
async fn five_bad_names_settle_it() {
    let entries: Vec<String> = (0..400).map(|n| format!(r#""{n}":{{"file":"a/{n:03}.js"}}"#)).collect();
    let dir = release(&format!("{{{}}}", entries.join(",")));
    let server = Server::start(|_| Reply::status(404, "")).await;
    let (verdict, evidence) = check(dir.path(), MANIFEST, &server.url("")).await;
    assert_eq!(verdict, Verdict::Fail);
    assert_eq!(evidence.matches("(404)").count(), 5, "{evidence}");
    assert!(evidence.ends_with("(and the rest was not tried)"), "{evidence}");
    assert!(server.seen().len() < 60, "{} requests for a verdict that five gave", server.seen().len());
}

#[tokio::test]
async fn a_missing_or_broken_manifest_fails_by_its_name() {
    let server = Server::start(|_| Reply::ok("contents!")).await;
    for (manifest, why) in [
        ("{ not json", "is not valid JSON"),
        ("{}", "names no asset"),
        (r#"{"a":{"file":"../../.env"}}"#, "names something that is not a plain path"),
        (r#"{"a":{"file":"https://elsewhere.example/a.js"}}"#, "names something that is not a plain path"),
    ] {
        let dir = release(manifest);
        let (verdict, evidence) = check(dir.path(), MANIFEST, &server.url("")).await;
        assert_eq!(verdict, Verdict::Fail, "{evidence}");
        assert!(evidence.starts_with(MANIFEST) && evidence.contains(why), "{evidence}");
    }
    let dir = release("{}");
    let (verdict, evidence) = check(dir.path(), "public/other.json", &server.url("")).await;
    assert_eq!((verdict, evidence.as_str()), (Verdict::Fail, "public/other.json does not exist in the release"));
    let (verdict, evidence) = check(dir.path(), "public/build", &server.url("")).await;
    assert_eq!((verdict, evidence.as_str()), (Verdict::Fail, "public/build is not a file"));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_inconclusive() {
    let dir = release(VITE);
    for (manifest, base) in
        [("/etc/passwd", "http://127.0.0.1:1"), ("../x", "http://127.0.0.1:1"), (MANIFEST, "http://name.invalid/")]
    {
        let (verdict, evidence) = check(dir.path(), manifest, base).await;
        assert_eq!(verdict, Verdict::Inconclusive, "{evidence}");
    }
    let probe = Probe::Assets { manifest: MANIFEST.to_owned(), base_url: "http://127.0.0.1:1".to_owned() };
    let (verdict, evidence) = found(&probe, &context()).await;
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(evidence.contains("no release here"), "{evidence}");
}
