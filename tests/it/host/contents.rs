//! Staging, links, sealing, drift.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use soll::artifact::manifest::{Entry, Manifest};
use soll::host::wire::{HostError, Observe, Op, Reply};
use soll::model::desired::Shared;
use soll::model::ids::{Digest, Epoch};
use soll::model::observed::{DriftKind, DriftReport};
use soll::model::record::Refusal;

use super::world::{Bundle, LEASE, World, name, release, shared};
use crate::support::disk::Disk;

#[tokio::test(flavor = "multi_thread")]
async fn a_release_arrives_with_its_modes_and_only_what_is_missing_is_sent() {
    let world = World::new().await;
    world.acquire(1, LEASE).await.unwrap();
    let first = Bundle::new(&[
        ("public/index.php", "one"),
        ("bin/run!", "#!/bin/sh"),
        ("copy", "one"),
        ("now@", "public"),
        ("empty/", ""),
    ]);
    assert_eq!(world.missing(1, &first).await.unwrap().len(), 2, "the same bytes are asked for once");
    world.deploy(1, "r1", 'a', &first).await;
    assert_eq!(world.read("current/copy"), "one");
    assert_eq!(world.read("current/now/index.php"), "one");
    let mode = |path: &str| fs::metadata(world.path(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        [
            mode("current/bin/run"),
            mode("current/public/index.php"),
            mode("current/empty"),
            mode(".soll"),
            mode("current")
        ],
        [0o755, 0o644, 0o755, 0o700, 0o755]
    );

    let second = Bundle::new(&[("public/index.php", "one"), ("new", "two")]);
    assert_eq!(world.missing(1, &second).await.unwrap(), [Digest::of(b"two")]);
    let reply = world.extract(1, "r2", 'b', &second).await.unwrap();
    assert!(matches!(reply, Reply::Extracted { copied: 3, received: 3 }), "{reply:?}");
    // Copied, never hard-linked: an application may write in place.
    fs::write(world.path("releases/r2/public/index.php"), "changed").unwrap();
    assert_eq!(world.read("current/public/index.php"), "one");
    assert!(fs::read_dir(world.path(".soll/incoming")).unwrap().next().is_none());
    world.laws();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_changed_is_named_and_its_blob_is_asked_for_anew() {
    let world = World::new().await;
    world.acquire(1, LEASE).await.unwrap();
    world.deploy(1, "r1", 'a', &Bundle::new(&[("a", "same length"), ("b", "two")])).await;
    fs::write(world.path("releases/r1/a"), "SAME LENGTH").unwrap();
    let next = Bundle::new(&[("a", "same length"), ("b", "two"), ("c", "three")]);
    let error = world.extract(1, "r2", 'b', &next).await.unwrap_err();
    let HostError::Integrity(text) = &error else { panic!("{error:?}") };
    assert!(text.contains("releases/r1/a") && !text.contains("releases/r1/b"), "{text}");
    assert!(!world.path("releases/r2").exists() && !world.path(".soll/staging/r2").exists());
    let wanted = world.missing(1, &next).await.unwrap();
    assert!(wanted.contains(&Digest::of(b"same length")), "{wanted:?}");
    world.extract(1, "r2", 'b', &next).await.unwrap();
    assert_eq!(world.read("releases/r2/a"), "same length");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leads_out_of_a_release_is_refused_and_nothing_is_written() {
    let world = World::new().await;
    world.acquire(1, LEASE).await.unwrap();
    for path in ["../evil", "a/../../evil", "/tmp/evil"] {
        let mut bundle = Bundle::new(&[("x", "1")]);
        let bad = Manifest::of([Entry::plain(path, bundle.manifest.entry(0).unwrap().node)]).unwrap();
        bundle.manifest = bad;
        let error = world.missing(1, &bundle).await.unwrap_err();
        assert!(error.to_string().contains(path), "{error}");
        let tree = bundle.manifest.digest();
        let op = Op::Extract { epoch: Epoch(1), name: name("r1"), release: release('a'), tree };
        assert!(world.call(op).await.is_err(), "{path}");
    }
    assert!(!world.path("releases/r1").exists() && !world.path("evil").exists());
    assert!(world.client.call("/", Op::Observe(Observe::default())).await.is_err());
    assert!(world.client.call("relative", Op::Observe(Observe::default())).await.is_err());

    // A link out is made as it is said, by leave of whoever sends it.
    world.extract(1, "r1", 'a', &Bundle::new(&[("dir@", ".."), ("x", "1")])).await.unwrap();
    // A link that the release ships is not walked through on the way to a shared path.
    let error = world.link(1, "r1", &[shared("dir/logs", "logs", true)]).await.unwrap_err();
    assert!(error.to_string().contains("releases/r1/dir"), "{error}");
    assert!(!world.path("releases/logs").exists());
    assert!(world.link(1, "r1", &[shared("../../logs", "logs", true)]).await.is_err());
    assert!(world.link(1, "r1", &[shared("logs", "../../logs", true)]).await.is_err());
    // A release is never built over.
    assert!(world.extract(1, "r1", 'a', &Bundle::new(&[("x", "2")])).await.is_err());
    assert_eq!(world.read("releases/r1/x"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_that_are_not_what_they_claim_are_not_kept() {
    let world = World::new().await;
    world.acquire(1, LEASE).await.unwrap();
    let mut bundle = Bundle::new(&[("x", "right")]);
    let digest = Digest::of(b"right");
    bundle.blobs.insert(digest, b"wrong".to_vec());
    world.missing(1, &bundle).await.unwrap();
    let error = world.send(1, &bundle, &[digest]).await.unwrap_err();
    assert!(matches!(error, HostError::Integrity(_)), "{error:?}");
    assert_eq!(world.missing(1, &bundle).await.unwrap(), [digest]);
    // A hole under a good name (a power cut) is found before it gets into a release.
    world.write(&format!(".soll/incoming/{digest}"), "wrong");
    assert!(world.extract(1, "r1", 'a', &bundle).await.is_err());
    assert_eq!(world.missing(1, &bundle).await.unwrap(), [digest]);
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_paths_are_linked_and_a_missing_file_is_never_made() {
    let world = World::new().await;
    world.acquire(1, LEASE).await.unwrap();
    let bundle = Bundle::new(&[
        ("storage/framework/cache/.gitignore", "*"),
        ("storage/x", "shipped"),
        (".env", "SHIPPED=1"),
        ("a", "a"),
    ]);
    world.extract(1, "r1", 'a', &bundle).await.unwrap();
    let env = shared(".env", ".env/production.env", false);
    let all = [shared("storage", "storage", true), shared("public/uploads", "public/uploads", true), env];
    let error = world.link(1, "r1", &all).await.unwrap_err();
    assert!(
        matches!(&error, HostError::Precondition(text) if text.contains("shared/.env/production.env")),
        "{error:?}"
    );
    assert!(!world.path("shared/.env/production.env").exists());

    world.write("shared/.env/production.env", "APP_KEY=s3cret\nEMPTY=\n");
    let link = |required: &[&str]| Op::Link {
        epoch: Epoch(1),
        name: name("r1"),
        shared: all.to_vec(),
        env_file: Some(".env/production.env".to_owned()),
        required_env: required.iter().map(|name| (*name).to_owned()).collect(),
    };
    let text = world.call(link(&["APP_KEY", "DB", "EMPTY"])).await.unwrap_err().to_string();
    assert!(text.contains("does not set DB, EMPTY") && !text.contains("s3cret"), "{text}");
    world.call(link(&["APP_KEY"])).await.unwrap();
    world.call(link(&["APP_KEY"])).await.unwrap();
    let target = |path: &str| fs::read_link(world.path(path)).unwrap().display().to_string();
    assert_eq!(target("releases/r1/public/uploads"), "../../../shared/public/uploads");
    assert_eq!(target("releases/r1/storage"), "../../shared/storage");
    assert_eq!(world.read("releases/r1/.env"), "APP_KEY=s3cret\nEMPTY=\n");
    assert_eq!(world.read("shared/storage/framework/cache/.gitignore"), "*", "the skeleton came along");

    // The next release finds data there: nothing of what it ships gets into them.
    world.write("shared/storage/x", "data");
    fs::remove_dir_all(world.path("shared/storage/framework")).unwrap();
    world.extract(1, "r2", 'b', &bundle).await.unwrap();
    world.link(1, "r2", &all).await.unwrap();
    assert_eq!(world.read("releases/r2/storage/x"), "data");
    assert!(!world.path("shared/storage/framework").exists());
    let nested = [shared("storage", "storage", true), shared("storage/logs", "logs", true)];
    assert!(world.link(1, "r2", &nested).await.unwrap_err().to_string().contains("inside"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_drift_is_seen_and_what_may_change_is_not() {
    let world = World::new().await;
    world.acquire(1, LEASE).await.unwrap();
    let bundle = Bundle::new(&[("a", "a"), ("b", "b"), ("c", "c"), ("to@", "a"), ("cache/x", "x"), ("d/", "")]);
    let links = [shared("logs", "logs", true), shared("up", "up", true), shared("ok", "ok", true)];
    world.extract(1, "r1", 'a', &bundle).await.unwrap();
    world.link(1, "r1", &links).await.unwrap();
    // What a pre-switch hook makes belongs to the contents, with its odd mode.
    world.write("releases/r1/made", "by a hook");
    fs::set_permissions(world.path("releases/r1/made"), fs::Permissions::from_mode(0o600)).unwrap();
    world.seal(1, "r1", &links, &["cache/**"]).await.unwrap();
    world.switch(1, "r1", 'a').await.unwrap();
    world.confirm(1, "r1", 'a').await.unwrap();
    let scan = async || {
        let what = Observe { scan_older_than: Some(0), ..Observe::default() };
        match world.call(Op::Observe(what)).await.unwrap() {
            Reply::State(state) => state.drift.unwrap().entries,
            other => panic!("{other:?}"),
        }
    };
    world.write("releases/r1/cache/y", "the application's");
    fs::remove_file(world.path("releases/r1/cache/x")).unwrap();
    world.write("shared/logs/today.log", "data");
    assert_eq!(scan().await, []);

    world.write("releases/r1/a", "A");
    fs::remove_file(world.path("releases/r1/b")).unwrap();
    fs::set_permissions(world.path("releases/r1/c"), fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(world.path("releases/r1/made"), fs::Permissions::from_mode(0o644)).unwrap();
    world.write("releases/r1/d/new", "");
    fs::remove_file(world.path("releases/r1/to")).unwrap();
    symlink("c", world.path("releases/r1/to")).unwrap();
    fs::remove_file(world.path("releases/r1/logs")).unwrap();
    fs::create_dir(world.path("releases/r1/logs")).unwrap();
    fs::remove_dir(world.path("shared/up")).unwrap();
    let found: Vec<_> = scan().await.into_iter().map(|drift| (drift.path, drift.kind)).collect();
    use DriftKind::{Added, Changed, Link, Missing, Mode};
    let wanted = [
        ("a", Changed),
        ("b", Missing),
        ("c", Mode),
        ("d/new", Added),
        ("logs", Link),
        ("made", Mode),
        ("to", Changed),
        ("up", Link),
    ];
    assert_eq!(found, wanted.map(|(path, kind)| (path.to_owned(), kind)));
    // The last report stays; one of `None` asks for no new scan.
    world.write("releases/r1/another", "");
    assert_eq!(world.state().await.drift.unwrap().entries.len(), wanted.len());
}

/// A look that reads nothing is no full scan: the period of those goes on. One that finds what it knows writes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_every_file_leaves_the_period_of_full_scans_as_it_was() {
    let world = World::new().await;
    world.acquire(1, LEASE).await.unwrap();
    world.deploy(1, "r1", 'a', &Bundle::new(&[("a", "a"), ("b", "b")])).await;
    let look = async |what: Observe| match world.call(Op::Observe(what)).await.unwrap() {
        Reply::State(state) => state.drift.unwrap(),
        other => panic!("{other:?}"),
    };
    let stamps = async || look(Observe { stamps: true, ..Observe::default() }).await;
    let paths = |report: &DriftReport| report.entries.iter().map(|one| one.path.clone()).collect::<Vec<_>>();
    let sealed = look(Observe::default()).await;
    let (report, kept) = (stamps().await, world.read(".soll/drift.json"));
    assert!(report.at == sealed.at && report.looked.is_some() && report.age == 0, "{report:?}");
    fs::write(world.path("releases/r1/a"), "A").unwrap();
    let found = stamps().await;
    assert_eq!((paths(&found), found.at), (vec!["a".to_owned()], sealed.at));
    assert_ne!(world.read(".soll/drift.json"), kept, "whoever asks for the last report hears of it");
    assert_eq!(paths(&look(Observe::default()).await), ["a"]);
    let bytes = look(Observe { scan_older_than: Some(0), ..Observe::default() }).await;
    assert!(bytes.at > sealed.at && bytes.looked.is_none(), "{bytes:?}");
    // Without a report that says so, nothing was ever read.
    fs::remove_file(world.path(".soll/drift.json")).unwrap();
    let anew = stamps().await;
    assert!(anew.at > bytes.at && anew.looked.is_none() && paths(&anew) == ["a"], "{anew:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_directory_is_adopted_and_a_leftover_of_ours_is_not() {
    let world = World::new().await;
    world.write("releases/20240101/index.php", "old");
    world.write("releases/20240101/storage/data", "inside the tree");
    world.write("shared/.env", "A=1");
    symlink(world.path("shared/.env"), world.path("releases/20240101/.env")).unwrap();
    symlink(world.path("releases/20240101"), world.path("current")).unwrap();
    world.acquire(1, LEASE).await.unwrap();
    let state = world.state().await;
    assert_eq!(state.current.release(), Some(&name("20240101")), "an absolute link is understood");
    let links: Vec<Shared> = vec![shared(".env", ".env", false), shared("storage", "storage", true)];
    let adopt = |text: &str| Op::Adopt {
        epoch: Epoch(1),
        name: name(text),
        release: release('a'),
        shared: links.clone(),
        mutable: vec![],
    };
    let first = world.call(adopt("20240101")).await.unwrap();
    assert!(matches!(first, Reply::Sealed { .. }));
    world.confirm(1, "20240101", 'a').await.unwrap();
    world.laws();
    let state = world.state().await;
    assert!(state.record.releases[&name("20240101")].adopted);
    world.write("releases/20240101/storage/data", "more");
    let what = Observe { scan_older_than: Some(0), ..Observe::default() };
    let Reply::State(state) = world.call(Op::Observe(what)).await.unwrap() else { panic!() };
    assert_eq!(state.drift.unwrap().entries, [], "data of the application is no drift");

    world.extract(1, "r2", 'b', &Bundle::new(&[("x", "1")])).await.unwrap();
    let error = world.call(adopt("r2")).await.unwrap_err();
    assert_eq!(error, Refusal::NotSealed(name("r2")).into());
    assert_eq!(world.call(adopt("none")).await.unwrap_err(), Refusal::NoSuchRelease(name("none")).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_everything_as_it_was() {
    let disk = Disk::new("2m");
    let mut world = World::new().await;
    world.root = disk.path().join("app").display().to_string();
    world.acquire(1, LEASE).await.unwrap();
    world.deploy(1, "r1", 'a', &Bundle::new(&[("x", "small")])).await;
    let big = "x".repeat(3_000_000);
    let too_big = Bundle::new(&[("big", big.as_str())]);
    let error = world.missing(1, &too_big).await.unwrap_err().to_string();
    assert!(error.contains("no room") && error.contains(&world.root), "{error}");
    // The upload is told early and does not hang on what it still wants to send.
    let error = world.send(1, &too_big, &[Digest::of(big.as_bytes())]).await.unwrap_err().to_string();
    assert!(error.contains("no room"), "{error}");

    // Fits once as a blob, but not as several files.
    let half = "y".repeat(700_000);
    let several =
        Bundle::new(&[("1", half.as_str()), ("2", half.as_str()), ("3", half.as_str()), ("4", half.as_str())]);
    let error = world.extract(1, "r2", 'b', &several).await.unwrap_err().to_string();
    assert!(error.contains(".soll/staging") && error.contains("make room"), "{error}");
    assert!(!world.path("releases/r2").exists() && fs::read_dir(world.path(".soll/staging")).unwrap().next().is_none());
    assert_eq!(world.read("current/x"), "small");
    world.laws();
    world.deploy(1, "r3", 'c', &Bundle::new(&[("x", "next")])).await;
}
