//! From archives to trees and back: what is refused and why, what is made harmless, and that nothing outside the
//! destination ever changes.

mod hostile;
mod producers;
mod raw;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use soll::artifact::bundle::{self, BundleError, Making};
use soll::artifact::manifest::{Manifest, Node};
use soll::artifact::pack::Unpacked;
use soll::artifact::picked::Picked;
use soll::artifact::terms::Terms;
use soll::artifact::unpack::{Limits, unpack};
use soll::model::desired::{Gate, GateTest};
use soll::model::ids::{Digest, Sha};

/// Everything below a directory: kind, mode, contents or target.
fn everything(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = std::fs::symlink_metadata(&path).unwrap();
            let mode = meta.permissions().mode();
            let what = if meta.is_dir() {
                left.push(path.clone());
                format!("dir {mode:o}")
            } else if meta.is_symlink() {
                format!("link {}", std::fs::read_link(&path).unwrap().display())
            } else {
                format!("file {mode:o} {} {}", Digest::of(&std::fs::read(&path).unwrap()), meta.len())
            };
            found.insert(path, what);
        }
    }
    found
}

/// A directory with things worth damaging around the place where archives are unpacked.
struct Ground {
    dir: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("canary")).unwrap();
        std::fs::create_dir_all(dir.path().join("cache")).unwrap();
        std::fs::write(dir.path().join("canary/secret"), "sings").unwrap();
        symlink("canary", dir.path().join("release")).unwrap();
        Ground { dir }
    }

    /// Unpacks, and sees to it that only the destination changed, and that only by whole trees.
    fn unpack(&self, bytes: &[u8], limits: &Limits) -> Result<Unpacked, String> {
        let archive = self.dir.path().join("archive");
        let dest = self.dir.path().join("cache/tree");
        std::fs::write(&archive, bytes).unwrap();
        let before = everything(self.dir.path());
        let unpacked = unpack(&archive, &dest, limits);
        let is_there = unpacked.is_ok();
        let result = unpacked.and_then(|unpacked| Terms::default().take(unpacked, "ARCHIVE"));
        let mut after = everything(self.dir.path());
        if is_there {
            assert!(after.remove(&dest).is_some_and(|what| what.starts_with("dir")));
            assert!(after.remove(&dest.join("blobs.pack")).is_some());
            assert!(after.remove(&dest.join("manifest.json")).is_some());
            std::fs::remove_dir_all(&dest).unwrap();
        }
        assert_eq!(before, after, "something outside the destination changed");
        result.map_err(|error| error.to_string().replace(&archive.display().to_string(), "ARCHIVE"))
    }
}

fn listing(manifest: &Manifest) -> String {
    let mut out = String::new();
    for entry in manifest.entries() {
        match &entry.node {
            Node::Dir => write!(out, " {}/", entry.path),
            Node::File { size, executable, .. } => {
                write!(out, " {}({size}{})", entry.path, if *executable { " x" } else { "" })
            }
            Node::Link { target } => write!(out, " {}->{target}", entry.path),
        }
        .unwrap();
    }
    out
}

/// What a directory should become, found out by other means than the code under test.
fn expected(dir: &Path) -> BTreeMap<String, String> {
    let relative = |path: PathBuf| path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
    let canonical = |what: String| match what.split_once(' ').unwrap() {
        ("dir", _) => "dir".to_owned(),
        ("link", target) => format!("link {target}"),
        (_, rest) => {
            let (mode, contents) = rest.split_once(' ').unwrap();
            let executable = u32::from_str_radix(mode, 8).unwrap() & 0o111 != 0;
            format!("file {executable} {contents}")
        }
    };
    everything(dir).into_iter().map(|(path, what)| (relative(path), canonical(what))).collect()
}

fn found(manifest: &Manifest) -> BTreeMap<String, String> {
    assert!(manifest.entries().is_sorted_by(|a, b| a.path < b.path));
    let what = |node: Node<&str>| match node {
        Node::Dir => "dir".to_owned(),
        Node::File { sha256, size, executable } => format!("file {executable} {sha256} {size}"),
        Node::Link { target } => format!("link {target}"),
    };
    manifest.entries().map(|entry| (entry.path.to_owned(), what(entry.node))).collect()
}

#[test]
fn hostile_archives() {
    let ground = Ground::new();
    let cases = hostile::all();
    let names: std::collections::BTreeSet<_> = cases.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), cases.len(), "a name is used twice");
    let mut out = String::new();
    for (name, bytes) in cases {
        let outcome = match ground.unpack(&bytes, &hostile::limits()) {
            Ok(tree) => format!("accepted:{}", listing(&tree.manifest)),
            Err(error) => error,
        };
        writeln!(out, "{name}\n    {outcome}").unwrap();
    }
    insta::assert_snapshot!(out);
}

/// A real tree: long names, links, hard links, modes, empty things, contents of all sizes.
fn real_tree(dir: &Path) {
    let deep = format!("vendor/{}/{}", "long-directory-name-".repeat(6), "n".repeat(200));
    for (path, size) in
        [("artisan", 120), ("public/index.php", 1), ("empty", 0), ("big.bin", 700_001), (&deep, 300_000)]
    {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, (0..size as u32).map(|i| (i ^ (i >> 9)) as u8).collect::<Vec<_>>()).unwrap();
    }
    std::fs::copy(dir.join("big.bin"), dir.join("big-again.bin")).unwrap();
    std::fs::set_permissions(dir.join("artisan"), std::fs::Permissions::from_mode(0o4775)).unwrap();
    std::fs::create_dir_all(dir.join("storage/empty dir ü")).unwrap();
    std::fs::hard_link(dir.join("artisan"), dir.join("zartisan")).unwrap();
    symlink("../storage/app/public", dir.join("public/storage")).unwrap();
    symlink(&deep, dir.join("far")).unwrap();
}

#[test]
fn what_the_system_tar_writes_is_understood() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    real_tree(&tree);
    for flags in [["--format=gnu", "-z"], ["--format=pax", "-z"], ["--format=pax", "--zstd"], ["--format=gnu", "-p"]] {
        let archive = dir.path().join("archive");
        let made = Command::new("tar").args(flags).arg("-cf").arg(&archive).arg("-C").arg(&tree).arg(".").status();
        assert!(made.unwrap().success());
        let dest = dir.path().join(format!("dest{}{}", flags[0], flags[1]));
        let unpacked = unpack(&archive, &dest, &Limits::default()).unwrap();
        assert_eq!(found(&unpacked.manifest), expected(&tree), "{flags:?}");
        assert_eq!(unpacked.bundle, Digest::of(&std::fs::read(&archive).unwrap()));
        assert_eq!(unpacked.manifest.get("artisan").unwrap().path, "artisan");
        let reopened = Unpacked::open(&dest).unwrap();
        assert_eq!((reopened.bundle, &reopened.manifest), (unpacked.bundle, &unpacked.manifest));
    }
}

#[test]
fn contents_come_back_as_they_went_in() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, out) = (dir.path().join("tree"), dir.path().join("out"));
    real_tree(&tree);
    let made = bundle::create(&tree, &sha(), &out, &Making::default()).unwrap();
    let unpacked = unpack(&made.archive, &dir.path().join("dest"), &Limits::default()).unwrap();
    let all = Picked::of(0..unpacked.manifest.len());
    let mut whole = Vec::new();
    for (number, _, size) in all.files(&unpacked.manifest) {
        let path = unpacked.manifest.entry(number).unwrap().path;
        let bytes = std::fs::read(tree.join(path)).unwrap();
        let mut one = Vec::new();
        unpacked.reader(number).unwrap().read_to_end(&mut one).unwrap();
        assert!(one == bytes && one.len() as u64 == size, "{path}");
        whole.extend(bytes);
    }
    let files = Picked::of(all.files(&unpacked.manifest).map(|(number, ..)| number));
    let pieces: Vec<Vec<u8>> = unpacked.stream(&files).collect::<Result<_, _>>().unwrap();
    assert!(pieces.iter().all(|piece| piece.len() <= 256 << 10) && pieces.concat() == whole);
    // The copies of `big.bin` and `artisan` are kept once.
    let unique: std::collections::BTreeMap<_, _> = unpacked.manifest.files().map(|(_, d, size)| (d, size)).collect();
    assert_eq!(std::fs::metadata(dir.path().join("dest/blobs.pack")).unwrap().len(), unique.values().sum::<u64>());

    let stranger = unpacked.manifest.len();
    assert_eq!(unpacked.reader(stranger).unwrap_err().kind(), std::io::ErrorKind::NotFound);

    unpacked.check(&files).unwrap();
    let pack = dir.path().join("dest/blobs.pack");
    let mut rotten = std::fs::read(&pack).unwrap();
    rotten[5] ^= 1;
    std::fs::write(&pack, &rotten).unwrap();
    let error = unpacked.check(&files).unwrap_err();
    assert!(error.to_string().contains("is damaged"), "{error}");
    std::fs::write(&pack, &rotten[1..]).unwrap();
    assert_eq!(Unpacked::open(&dir.path().join("dest")).unwrap_err().kind(), std::io::ErrorKind::InvalidData);
}

fn sha() -> Sha {
    "f0959bafdeadbeeff0959bafdeadbeeff0959baf".parse().unwrap()
}

fn gated(gates: &[Gate]) -> Making {
    Making { gates: gates.to_vec(), ..Making::default() }
}

fn gate(test: GateTest) -> Gate {
    Gate { name: "structure".to_owned(), test, timeout: std::time::Duration::from_secs(1) }
}

#[test]
fn a_bundle_is_reproducible_and_what_lies_beside_it_fits() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    for tree in [&one, &two] {
        real_tree(tree);
        std::fs::create_dir_all(tree.join(".git/objects")).unwrap();
    }
    std::fs::set_permissions(two.join("empty"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(two.join(".git/HEAD"), "ref: refs/heads/main").unwrap();
    let checks = BTreeMap::from([("run-tests".to_owned(), "success".to_owned())]);
    let gates = [
        gate(GateTest::File("artisan".into())),
        gate(GateTest::Dir("public".into())),
        gate(GateTest::Run("false".into())),
    ];
    let first = bundle::create(&one, &sha(), &dir.path().join("out1"), &Making { checks, ..gated(&gates) }).unwrap();
    let second = bundle::create(&two, &sha(), &dir.path().join("out2"), &gated(&gates)).unwrap();
    assert_eq!(first.sha256, second.sha256);
    assert_eq!(first.sha256, Digest::of(&std::fs::read(&first.archive).unwrap()));
    assert_eq!(second.checks, None);
    let out = dir.path().join("out1");
    assert!(Command::new("sha256sum").arg("-c").arg(&first.sha256_file).current_dir(&out).status().unwrap().success());
    let record = std::fs::read_to_string(first.checks.unwrap()).unwrap();
    insta::assert_snapshot!(record);
    let names: Vec<String> = everything(&dir.path().join("out1"))
        .into_keys()
        .map(|p| p.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    insta::assert_snapshot!(names.join("\n"));
    // The system's tar reads it too, and finds the same tree.
    let again = dir.path().join("again");
    std::fs::create_dir(&again).unwrap();
    assert!(Command::new("tar").arg("-xzf").arg(&first.archive).arg("-C").arg(&again).status().unwrap().success());
    std::fs::remove_dir_all(one.join(".git")).unwrap();
    assert_eq!(expected(&again), expected(&one));
}

#[test]
fn a_tree_that_could_not_be_deployed_becomes_no_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut text = String::new();
    let mut refuse = |name: &str, gates: &[Gate], make: &dyn Fn(&Path)| {
        let tree = dir.path().join(name);
        std::fs::create_dir(&tree).unwrap();
        make(&tree);
        let error = bundle::create(&tree, &sha(), &out, &gated(gates)).unwrap_err();
        assert_eq!(everything(&out), BTreeMap::new(), "{name}: something was left");
        writeln!(text, "{}", error.to_string().replace(&dir.path().display().to_string(), "")).unwrap();
    };
    let file = |path: &str| gate(GateTest::File(path.into()));
    let gates = [file("artisan"), file("vendor/autoload.php"), gate(GateTest::Dir("public".into())), file("linked")];
    refuse("gates", &gates, &|tree| {
        std::fs::write(tree.join("public"), "a file").unwrap();
        symlink("nowhere", tree.join("linked")).unwrap();
    });
    refuse("empty", &[], &|_| {});
    refuse("link", &[], &|tree| symlink("../../etc/passwd", tree.join("l")).unwrap());
    refuse("absolute", &[], &|tree| symlink("/etc/passwd", tree.join("l")).unwrap());
    refuse("pipe", &[], &|tree| assert!(Command::new("mkfifo").arg(tree.join("p")).status().unwrap().success()));
    refuse("records", &[], &|tree| std::fs::create_dir(tree.join(".soll")).unwrap());
    insta::assert_snapshot!(text);

    let tree = dir.path().join("inside");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("x"), "x").unwrap();
    let inside = bundle::create(&tree, &sha(), &tree.join("dist"), &Making::default());
    assert!(matches!(inside, Err(BundleError::OutputInside { .. })), "{inside:?}");
}

/// One thing in a random tree: path, kind, contents.
fn thing() -> impl Strategy<Value = (Vec<String>, u8, Vec<u8>)> {
    let part = prop_oneof!["[a-c]", "[a-zA-Z0-9 ._ü+-]{1,30}x", "[a-z]{120,200}"];
    (prop::collection::vec(part, 1..5), 0..5_u8, prop::collection::vec(any::<u8>(), 0..2000))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_survives_the_round_trip(things in prop::collection::vec(thing(), 1..20)) {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("always"), "here").unwrap();
        for (parts, kind, contents) in things {
            let path = tree.join(parts.join("/"));
            // What collides with an earlier thing is left out.
            let Ok(()) = std::fs::create_dir_all(path.parent().unwrap()) else { continue };
            if path.symlink_metadata().is_ok() || path.parent().unwrap().canonicalize().unwrap() != path.parent().unwrap() {
                continue;
            }
            match kind {
                0 => std::fs::create_dir(&path).unwrap(),
                1 => symlink(format!("dangling/{}", "t".repeat(contents.len() % 200)), &path).unwrap(),
                2 => symlink(format!("{}always", "../".repeat(parts.len() - 1)), &path).unwrap(),
                _ => std::fs::write(&path, &contents).unwrap(),
            }
            if kind == 3 {
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o711)).unwrap();
            }
        }
        let made = bundle::create(&tree, &sha(), &dir.path().join("out"), &Making::default()).unwrap();
        let unpacked = unpack(&made.archive, &dir.path().join("dest"), &Limits::default()).unwrap();
        prop_assert_eq!(found(&unpacked.manifest), expected(&tree));
        prop_assert_eq!(unpacked.manifest.len(), made.entries);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bytes are changed anywhere; in half of the cases the checksums of the headers are put right again, so that the
    /// damage gets past the first check. `Ground` asserts that nothing outside changes; a panic fails the test.
    #[test]
    fn damaged_archives_do_no_damage(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
        repair in any::<bool>(),
        form in 0..3_u8,
    ) {
        let tar = raw::Tar::new().dir("a").file("a/f", "x".repeat(700)).pax(&[("path", b"a/long"), ("mtime", b"1.5")])
            .file("l", "y").link("a/link", "f").hard("h", "a/f").extension(b'L', "some/long/name\0").file("s", "z");
        let clean = tar.end();
        let mut bytes = clean.clone();
        if form == 1 {
            bytes = raw::gzip(&bytes);
        } else if form == 2 {
            bytes = raw::zstd(&bytes);
        }
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        if form == 0 && repair {
            for block in bytes.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
                raw::seal(block);
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(tree) = Ground::new().unpack(&bytes, &hostile::limits()) {
            for entry in tree.manifest.entries() {
                let part = |part: &str| !part.is_empty() && part != "." && part != "..";
                prop_assert!(entry.path.split('/').all(part), "{}", entry.path);
            }
        }
    }
}
