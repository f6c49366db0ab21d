//! The cache: once for all who ask, whole or absent whatever happens, and no larger than told.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use soll::artifact::bundle::{self, Making};
use soll::artifact::fetch::FetchError;
use soll::artifact::pack::Unpacked;
use soll::artifact::source::Source;
use soll::artifact::store::{ArtifactError, ArtifactStore};
use soll::artifact::unpack::Limits;
use soll::model::ids::Digest;

use super::server::{Reply, Server};
use super::{names, nobody, noise, patient, sha};

/// A bundle of 200,000 bytes that do not compress, and its digest.
fn bundle(salt: u64) -> (Vec<u8>, Digest) {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("noise"), noise(salt, 200_000)).unwrap();
    std::fs::write(tree.join("artisan"), "#!/usr/bin/env php").unwrap();
    let made = bundle::create(&tree, &sha(), &dir.path().join("out"), &Making::default()).unwrap();
    (std::fs::read(made.archive).unwrap(), made.sha256)
}

fn store(dir: &Path) -> ArtifactStore {
    ArtifactStore::with(dir, patient(), Limits::default()).unwrap()
}

async fn serving(bytes: &[u8], digest: Digest) -> (Server, Source) {
    let server = Server::start().await;
    server.on("/b.tar.gz", [Reply::ok(bytes).header("ETag: \"one\"")]);
    server.on("/b.tar.gz.sha256", [Reply::ok(format!("{digest}  b.tar.gz"))]);
    let source = Source::beside(&format!("{}/b.tar.gz", server.address)).unwrap();
    (server, source)
}

fn artisan(unpacked: &Unpacked) -> String {
    let number = unpacked.manifest.find("artisan").unwrap();
    let mut text = String::new();
    unpacked.reader(number).unwrap().read_to_string(&mut text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_ask_and_one_fetches() {
    let (bytes, digest) = bundle(1);
    let (server, source) = serving(&bytes, digest).await;
    let dir = tempfile::tempdir().unwrap();
    // Locks belong to open files, not to processes: two caches here are as strange to each other as two processes.
    let stores = [store(dir.path()), store(dir.path())];
    let mut tasks = Vec::new();
    for i in 0..8 {
        let (store, source) = (stores[i % 2].clone(), source.clone());
        tasks.push(tokio::spawn(async move {
            store.ensure(&source, (i % 3 == 0).then_some(digest), &nobody).await.unwrap()
        }));
    }
    for task in tasks {
        assert_eq!(artisan(&task.await.unwrap()), "#!/usr/bin/env php");
    }
    assert_eq!(server.asked("GET /b.tar.gz HTTP").len(), 1);
    assert_eq!(stores[0].get(&digest).unwrap().bundle, digest);
    assert!(stores[0].get(&Digest::of(b"other")).is_none());
    assert_eq!(names(&dir.path().join("work")), [""; 0]);
}

#[tokio::test]
async fn what_is_not_the_promised_bundle_never_gets_in() {
    let (bytes, digest) = bundle(2);
    let (_server, source) = serving(&bytes, digest).await;
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let other = Digest::of(b"other");
    let error = store.ensure(&source, Some(other), &nobody).await.unwrap_err();
    assert!(
        matches!(&error, ArtifactError::Fetch(FetchError::Mismatch { expected, found, .. }) if (*expected, *found) == (other, digest)),
        "{error}"
    );
    let hostile = [0x1f_u8, 0x8b, 8, 0, 0];
    let (_server, source) = serving(&hostile, Digest::of(&hostile)).await;
    let error = store.ensure(&source, None, &nobody).await.unwrap_err();
    assert!(matches!(error, ArtifactError::Unpack(_)) && !error.is_transient(), "{error}");
    assert_eq!(names(&dir.path().join("bundles")), [""; 0]);
}

#[tokio::test]
async fn a_damaged_copy_is_made_anew() {
    let (bytes, digest) = bundle(3);
    let (server, source) = serving(&bytes, digest).await;
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.ensure(&source, None, &nobody).await.unwrap();
    let place = dir.path().join("bundles").join(digest.to_string());
    let pack = std::fs::read(place.join("blobs.pack")).unwrap();
    std::fs::write(place.join("blobs.pack"), &pack[1..]).unwrap();
    assert!(store.get(&digest).is_none());
    assert_eq!(artisan(&store.ensure(&source, None, &nobody).await.unwrap()), "#!/usr/bin/env php");
    std::fs::write(place.join("manifest.json"), "{").unwrap();
    assert_eq!(artisan(&store.ensure(&source, None, &nobody).await.unwrap()), "#!/usr/bin/env php");
    assert_eq!(server.asked("GET /b.tar.gz HTTP").len(), 3);
}

#[tokio::test]
async fn trimming_takes_the_longest_unused_and_breaks_no_reader() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let mut digests = Vec::new();
    for salt in 10..13 {
        let (bytes, digest) = bundle(salt * 1_000_000);
        let (_server, source) = serving(&bytes, digest).await;
        store.ensure(&source, None, &nobody).await.unwrap();
        digests.push(digest);
    }
    let age = |digest: &Digest, hours: u64| {
        let path = dir.path().join("bundles").join(digest.to_string()).join("manifest.json");
        let at = std::time::SystemTime::now() - Duration::from_secs(hours * 3600);
        std::fs::File::options().append(true).open(path).unwrap().set_modified(at).unwrap();
    };
    for (digest, hours) in digests.iter().zip([30, 20, 10]) {
        age(digest, hours);
    }
    let hour = Duration::from_secs(3600);
    assert_eq!(store.trim(hour * 31, u64::MAX).unwrap(), []);
    // Reading makes the oldest one the youngest.
    let reader = store.get(&digests[0]).unwrap();
    assert_eq!(store.trim(hour * 15, u64::MAX).unwrap(), [digests[1]]);
    assert_eq!(store.trim(hour * 31, 300_000).unwrap(), [digests[2]]);
    assert_eq!(store.trim(hour * 31, 0).unwrap(), [digests[0]]);
    assert_eq!(artisan(&reader), "#!/usr/bin/env php");
    assert!(digests.iter().all(|digest| store.get(digest).is_none()));
    for room in ["bundles", "work", "locks"] {
        assert_eq!(names(&dir.path().join(room)), [""; 0], "{room}");
    }
}

/// What `kill_9` starts as a process of its own.
#[tokio::test]
#[ignore = "a helper process of `kill_9_in_the_middle_leaves_nothing_half_done`"]
async fn child() {
    let dir = PathBuf::from(std::env::var_os("CHILD_DIR").unwrap());
    let source = Source::beside(&std::env::var("CHILD_URL").unwrap()).unwrap();
    store(&dir).ensure(&source, None, &nobody).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_in_the_middle_leaves_nothing_half_done() {
    let (bytes, digest) = bundle(4);
    let (server, source) = serving(&bytes, digest).await;
    let half = bytes.len() / 2;
    let whole = Reply::ok(bytes.clone()).header("ETag: \"one\"");
    let rest = Reply::new("206 Partial Content", &bytes[half..])
        .header(format!("Content-Range: bytes {half}-{}/{}", bytes.len() - 1, bytes.len()))
        .header("ETag: \"one\"");
    server.on("/b.tar.gz", [whole.silent_after(half), rest]);
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "fetch::store::child", "--ignored", "--quiet"])
        .env("CHILD_DIR", dir.path())
        .env("CHILD_URL", format!("{}/b.tar.gz", server.address))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let work = dir.path().join("work").join(digest.to_string());
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::fs::metadata(work.join("b.tar.gz.part")).map_or(0, |found| found.len()) < half as u64 {
        assert!(Instant::now() < deadline, "the helper process downloads nothing");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // It holds the lock: nobody sweeps its work away, and nobody gets half a bundle.
    let store = store(dir.path());
    assert!(work.join("b.tar.gz.part").exists() && store.get(&digest).is_none());
    child.kill().unwrap();
    child.wait().unwrap();

    // As if it had died while it unpacked.
    std::fs::create_dir_all(work.join(".tree.x")).unwrap();
    std::fs::write(work.join(".tree.x/blobs.pack"), "half").unwrap();
    let store = super::store::store(dir.path());
    assert!(!work.join(".tree.x").exists() && work.join("b.tar.gz.part").exists());
    assert_eq!(artisan(&store.ensure(&source, None, &nobody).await.unwrap()), "#!/usr/bin/env php");
    let asked = server.asked("GET /b.tar.gz HTTP");
    assert_eq!(asked.last().unwrap().headers["range"], format!("bytes={half}-"));
    assert_eq!(asked.len(), 2);
    assert_eq!(names(&dir.path().join("work")), [""; 0]);
}
