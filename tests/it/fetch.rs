//! Fetching against servers that fail in every way known, and the cache on top of it.

pub mod server;
mod store;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use crate::support::disk::Disk;
use server::{Reply, Server};
use soll::artifact::fetch::{FetchError, FetchSettings, Fetched, Fetcher, Progress};
use soll::artifact::source::Source;
use soll::artifact::unpack::{Limits, unpack};
use soll::model::ids::{Digest, Sha};
use soll::model::observed::Fact;

/// Long enough for a busy machine, except for the pauses between attempts.
fn patient() -> FetchSettings {
    FetchSettings { pause: Duration::from_millis(1), max_bytes: 1 << 20, ..FetchSettings::default() }
}

/// 300,000 bytes that differ everywhere.
fn contents() -> Vec<u8> {
    (0..300_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

/// Bytes that do not compress.
fn noise(salt: u64, bytes: usize) -> Vec<u8> {
    (salt..).flat_map(|i| *Digest::of(&i.to_le_bytes()).as_bytes()).take(bytes).collect()
}

fn nobody(_: Progress) {}

/// Fetches `/b.tar.gz` into `dir`.
async fn fetch(server: &Server, settings: FetchSettings, dir: &Path, expected: Digest) -> Result<Fetched, FetchError> {
    let source = Source::beside(&format!("{}/b.tar.gz", server.address)).unwrap();
    Fetcher::new(settings).fetch(&source, expected, dir, &nobody).await
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Fetches, and checks that the right file is there and nothing else.
async fn fetch_well(server: &Server) -> Fetched {
    let dir = tempfile::tempdir().unwrap();
    let digest = Digest::of(&contents());
    let fetched = fetch(server, patient(), dir.path(), digest).await.unwrap();
    assert!(std::fs::read(&fetched.path).unwrap() == contents());
    assert_eq!(fetched.bytes, 300_000);
    assert_eq!(names(dir.path()), ["b.tar.gz"]);
    fetched
}

fn partial(from: usize, etag: &str) -> Reply {
    Reply::new("206 Partial Content", &contents()[from..])
        .header(format!("Content-Range: bytes {from}-299999/300000"))
        .header(format!("ETag: {etag}"))
}

#[tokio::test]
async fn a_server_that_recovers_is_asked_again() {
    let server = Server::start().await;
    let busy = Reply::new("500 Internal Server Error", "busy");
    server.on("/b.tar.gz", [busy.clone(), busy.clone(), Reply::ok(contents())]);
    fetch_well(&server).await;
    assert_eq!(server.asked("GET /b.tar.gz").len(), 3);

    server.on("/b.tar.gz", [busy]);
    let dir = tempfile::tempdir().unwrap();
    let error = fetch(&server, patient(), dir.path(), Digest::of(b"")).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(server.asked("GET /b.tar.gz").len(), 3 + 5);
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_stopped() {
    let server = Server::start().await;
    let first = Reply::ok(contents()).header("ETag: \"one\"").broken_after(100_000);
    let second = partial(100_000, "\"one\"").broken_after(50_000);
    server.on("/b.tar.gz", [first, second, partial(150_000, "\"one\"")]);
    fetch_well(&server).await;
    let asked = server.asked("GET /b.tar.gz");
    let ranges: Vec<_> = asked.iter().map(|a| (a.headers.get("range"), a.headers.get("if-range"))).collect();
    let one = "\"one\"".to_owned();
    assert_eq!(
        ranges,
        [
            (None, None),
            (Some(&"bytes=100000-".to_owned()), Some(&one)),
            (Some(&"bytes=150000-".to_owned()), Some(&one))
        ]
    );
    assert!(asked[0].headers["user-agent"].starts_with("soll/"));
    assert_eq!(asked[0].headers["accept-encoding"], "identity");
}

#[tokio::test]
async fn a_download_that_its_process_did_not_finish_is_taken_up_by_the_next() {
    let server = Server::start().await;
    let dir = tempfile::tempdir().unwrap();
    let digest = Digest::of(&contents());
    let first = Reply::ok(contents()).header("Last-Modified: Sun, 02 Nov 2025 15:49:00 GMT").broken_after(120_000);
    server.on("/b.tar.gz", [first, Reply::new("503 Service Unavailable", "")]);
    assert!(fetch(&server, patient(), dir.path(), digest).await.unwrap_err().is_transient());
    assert_eq!(names(dir.path()), ["b.tar.gz.part", "b.tar.gz.part.etag"]);

    server.on("/b.tar.gz", [partial(120_000, "\"any\"")]);
    let seen = Mutex::new(Vec::new());
    let source = Source::beside(&format!("{}/b.tar.gz", server.address)).unwrap();
    let fetcher = Fetcher::new(patient());
    let fetched = fetcher.fetch(&source, digest, dir.path(), &|progress| seen.lock().unwrap().push(progress)).await;
    assert!(std::fs::read(fetched.unwrap().path).unwrap() == contents());
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.first(), Some(&Progress { done: 120_000, total: Some(300_000) }));
    assert_eq!(seen.last(), Some(&Progress { done: 300_000, total: Some(300_000) }));
    let asked = server.asked("GET /b.tar.gz");
    assert_eq!(asked.last().unwrap().headers["if-range"], "Sun, 02 Nov 2025 15:49:00 GMT");
    assert_eq!(names(dir.path()), ["b.tar.gz"]);
}

#[tokio::test]
async fn what_cannot_be_resumed_starts_anew() {
    let old = || Reply::ok(vec![7; 300_000]).header("ETag: \"old\"").broken_after(100_000);
    let cases: Vec<(&str, Vec<Reply>)> = vec![
        ("the server ignores ranges", vec![old(), Reply::ok(contents())]),
        ("another version, said by 200", vec![old(), Reply::ok(contents()).header("ETag: \"new\"")]),
        ("another version, said by the ETag alone", vec![old(), partial(100_000, "\"new\""), Reply::ok(contents())]),
        ("another version, not said at all", vec![old(), partial(100_000, "\"old\""), Reply::ok(contents())]),
        ("a shorter version", vec![old(), Reply::new("416 Range Not Satisfiable", ""), Reply::ok(contents())]),
        ("another range than asked for", vec![old(), partial(90_000, "\"old\""), Reply::ok(contents())]),
    ];
    for (name, replies) in cases {
        let server = Server::start().await;
        let count = replies.len();
        server.on("/b.tar.gz", replies);
        fetch_well(&server).await;
        let asked = server.asked("GET /b.tar.gz");
        assert_eq!(asked.len(), count, "{name}");
        assert_eq!(asked[1].headers.get("range").map(String::as_str), Some("bytes=100000-"), "{name}");
    }
    for weak in ["ETag: W/\"weak\"", "X-Nothing: 1"] {
        let server = Server::start().await;
        server.on("/b.tar.gz", [Reply::ok(contents()).header(weak).broken_after(9), Reply::ok(contents())]);
        fetch_well(&server).await;
        assert_eq!(server.asked("GET /b.tar.gz")[1].headers.get("range"), None, "{weak}");
    }
}

#[tokio::test]
async fn what_is_wrong_for_good_is_said_at_once_and_leaves_nothing() {
    let mut out = String::new();
    let expected = Digest::of(&contents());
    let large = vec![0; (1 << 20) + 1];
    let cases = [
        ("missing", Reply::new("404 Not Found", ""), "missing"),
        ("gone", Reply::new("410 Gone", ""), "missing"),
        ("forbidden", Reply::new("403 Forbidden", ""), "refused"),
        ("another file", Reply::ok("another file"), "mismatch"),
        ("too large, announced", Reply::ok(large.clone()), "refused"),
        ("too large, not announced", Reply::ok(large).chunked(), "refused"),
        ("redirected in circles", Reply::new("302 Found", "").header("Location: /b.tar.gz"), "refused"),
        ("redirected to a file", Reply::new("302 Found", "").header("Location: file:///etc/passwd"), "refused"),
        ("part of something", partial(5, "\"x\""), "refused"),
    ];
    for (name, reply, kind) in cases {
        let server = Server::start().await;
        server.on("/b.tar.gz", [reply]);
        let dir = tempfile::tempdir().unwrap();
        let address = server.address.replace("http://", "http://ci:hunter2@");
        let source = Source::beside(&format!("{address}/b.tar.gz?signature=hunter2")).unwrap();
        let error = Fetcher::new(patient()).fetch(&source, expected, dir.path(), &nobody).await.unwrap_err();
        let found = match &error {
            FetchError::Transient { .. } => "transient",
            FetchError::Missing { .. } => "missing",
            FetchError::Refused { .. } | FetchError::Denied { .. } => "refused",
            FetchError::Mismatch { .. } => "mismatch",
            FetchError::File(_) => "file",
        };
        assert_eq!(found, kind, "{name}: {error}");
        assert_eq!(names(dir.path()), [""; 0], "{name}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{name} tells a secret");
        assert!(name.contains("circles") || server.asked("GET").len() == 1, "{name} was tried again");
        out += &format!("{name}: {}\n", error.to_string().replace(&server.address, "SERVER"));
    }
    insta::assert_snapshot!(out);
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let server = Server::start().await;
    server.on("/b.tar.gz", [Reply::ok(contents()).silent_after(1000)]);
    let dir = tempfile::tempdir().unwrap();
    let hasty = FetchSettings { read_timeout: Duration::from_millis(50), retries: 1, ..patient() };
    let error = fetch(&server, hasty, dir.path(), Digest::of(b"")).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("took too long"), "{error}");
    assert_eq!(server.asked("GET").len(), 2);

    let overall = FetchSettings { total_timeout: Duration::from_millis(50), ..patient() };
    let error = fetch(&server, overall, dir.path(), Digest::of(b"")).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("not complete after 50ms"), "{error}");
}

fn sha() -> Sha {
    "f0959bafdeadbeeff0959bafdeadbeeff0959baf".parse().unwrap()
}

fn wanted() -> Vec<String> {
    vec!["run-tests".to_owned()]
}

#[tokio::test]
async fn what_stands_beside_a_bundle_is_seen_and_never_guessed() {
    let server = Server::start().await;
    let source = Source::beside(&format!("{}/b.tar.gz", server.address)).unwrap();
    let fetcher = Fetcher::new(FetchSettings { read_timeout: Duration::from_millis(50), ..patient() });
    let digest = Digest::of(b"x");
    let record = format!(
        r#"{{"sha":"{}","status":"completed","conclusion":"success","checks":{{"run-tests":"success"}}}}"#,
        sha()
    );

    let facts = fetcher.inspect(&source, &sha(), &wanted()).await;
    assert_eq!((facts.sha256, facts.checks), (Fact::Missing, Fact::Missing));

    server.on("/b.tar.gz.sha256", [Reply::ok(format!("{digest}  b.tar.gz\n"))]);
    server.on("/b.tar.gz.checks.json", [Reply::new("502 Bad Gateway", ""), Reply::ok(record)]);
    let facts = fetcher.inspect(&source, &sha(), &wanted()).await;
    assert_eq!(facts.sha256, Fact::Known(digest));
    assert_eq!(facts.checks, Fact::Known(BTreeMap::from([("run-tests".to_owned(), "success".to_owned())])));
    assert_eq!(fetcher.inspect(&source, &sha(), &[]).await.checks, Fact::NotAsked);
    let stranger = "0123456789012345678901234567890123456789".parse().unwrap();
    let Fact::Known(checks) = fetcher.inspect(&source, &stranger, &wanted()).await.checks else {
        panic!("a record is there")
    };
    assert!(!checks.contains_key("run-tests") && checks["build"].contains("another commit"), "{checks:?}");
    assert!(server.asked("GET /b.tar.gz HTTP").is_empty(), "the bundle itself was fetched");

    let mut out = String::new();
    for bad in [
        Reply::ok("null\n"),
        Reply::ok(""),
        Reply::ok("<html>Sign in</html>"),
        Reply::ok(b"\xff\xfe".as_slice()),
        Reply::ok(vec![b'a'; 2 << 20]),
        Reply::new("403 Forbidden", ""),
        Reply::new("500 Internal Server Error", ""),
        Reply::ok("x").silent_after(0),
    ] {
        server.on("/b.tar.gz.sha256", [bad.clone()]).on("/b.tar.gz.checks.json", [bad]);
        let facts = fetcher.inspect(&source, &sha(), &wanted()).await;
        let (Fact::Unknown(sha256), Fact::Unknown(checks)) = (facts.sha256, facts.checks) else { panic!("{out}") };
        out += &format!("{sha256}\n{checks}\n");
    }
    insta::assert_snapshot!(out.replace(&server.address, "SERVER"));
}

#[tokio::test]
async fn whether_a_bundle_exists() {
    let server = Server::start().await;
    let source = Source::beside(&format!("{}/b.tar.gz", server.address)).unwrap();
    let fetcher = Fetcher::new(patient());
    assert_eq!(fetcher.exists(&source).await, Fact::Missing);
    server.on("/b.tar.gz.sha256", [Reply::ok("x")]);
    assert_eq!(fetcher.exists(&source).await, Fact::Missing);
    server.on("/b.tar.gz", [Reply::ok("x")]);
    assert_eq!(fetcher.exists(&source).await, Fact::Known(()));
    assert!(server.asked("GET").is_empty());
    server.on("HEAD /b.tar.gz", [Reply::new("405 Method Not Allowed", "")]);
    assert_eq!(fetcher.exists(&source).await, Fact::Known(()));
    assert_eq!(server.asked("GET")[0].headers["range"], "bytes=0-0");
    server.on("/b.tar.gz", [Reply::new("403 Forbidden", "")]);
    assert!(matches!(fetcher.exists(&source).await, Fact::Unknown(why) if why.contains("403")));

    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("b.tar.gz");
    let local = Source::beside(bundle.to_str().unwrap()).unwrap();
    assert_eq!(fetcher.exists(&local).await, Fact::Missing);
    std::fs::write(dir.path().join("b.tar.gz.sha256"), "x").unwrap();
    std::fs::create_dir(&bundle).unwrap();
    assert!(matches!(fetcher.exists(&local).await, Fact::Unknown(why) if why.contains("is not a file")));
    let error = fetcher.fetch(&local, Digest::of(b""), dir.path(), &nobody).await.unwrap_err();
    assert!(matches!(error, FetchError::Refused { .. }), "{error}");
    std::fs::remove_dir(&bundle).unwrap();
    assert!(Command::new("mkfifo").arg(&bundle).status().unwrap().success());
    let error = fetcher.fetch(&local, Digest::of(b""), dir.path(), &nobody).await.unwrap_err();
    assert!(matches!(error, FetchError::Refused { .. }), "{error}");
    assert!(matches!(fetcher.exists(&local).await, Fact::Unknown(_)));
}

#[tokio::test]
async fn a_full_disk_is_called_by_its_name() {
    let disk = Disk::new("1m");
    let other = tempfile::tempdir().unwrap();
    let tree = other.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("noise"), noise(0, 2_000_000)).unwrap();
    let made = soll::artifact::bundle::create(&tree, &sha(), &other.path().join("out"), &Default::default()).unwrap();

    let server = Server::start().await;
    server.on("/b.tar.gz", [Reply::ok(std::fs::read(&made.archive).unwrap())]);
    let error = fetch(&server, FetchSettings::default(), disk.path(), made.sha256).await.unwrap_err();
    let place = disk.path().display().to_string();
    assert!(error.to_string().starts_with(&format!("the disk of {place} is full")), "{error}");
    assert_eq!(names(disk.path()), [""; 0]);

    let error = unpack(&made.archive, &disk.path().join("dest"), &Limits::default()).unwrap_err();
    assert!(error.to_string().starts_with(&format!("the disk of {place}/")), "{error}");
    assert_eq!(names(disk.path()), [""; 0]);

    let full = disk.path().join("out");
    let error = soll::artifact::bundle::create(&tree, &sha(), &full, &Default::default()).unwrap_err();
    assert!(error.to_string().starts_with(&format!("the disk of {place}/out is full")), "{error}");
    assert_eq!(names(&full), [""; 0]);
}

/// What would fill the disk to its end is refused before it does: the journal of the run lies on the same one.
#[tokio::test]
async fn a_bundle_leaves_room_for_the_journal_beside_it() {
    let disk = Disk::new("1m");
    let other = tempfile::tempdir().unwrap();
    let made = |name: &str, bytes| {
        let tree = other.path().join(name);
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("noise"), noise(0, bytes)).unwrap();
        soll::artifact::bundle::create(&tree, &sha(), &other.path().join(format!("out-{name}")), &Default::default())
            .unwrap()
    };
    let server = Server::start().await;
    // Both fit on the disk of 1,048,576 bytes; the second leaves less than the eighth part of it.
    for (name, bytes, fits) in [("small", 700_000, true), ("large", 980_000, false)] {
        let made = made(name, bytes);
        let archive = std::fs::read(&made.archive).unwrap();
        assert!(archive.len() < 1_020_000);
        server.on("/b.tar.gz", [Reply::ok(archive)]);
        let fetched = fetch(&server, FetchSettings::default(), disk.path(), made.sha256).await;
        assert_eq!(fetched.is_ok(), fits, "{name}: {fetched:?}");
        for name in names(disk.path()) {
            std::fs::remove_file(disk.path().join(name)).unwrap();
        }
        let unpacked = unpack(&made.archive, &disk.path().join("dest"), &Limits::default());
        assert_eq!(unpacked.is_ok(), fits, "{name}: {unpacked:?}");
        let _ = std::fs::remove_dir_all(disk.path().join("dest"));
    }
}
