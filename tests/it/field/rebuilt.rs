//! What people and CI packed without meaning to: another build under the same SHA, files of secrets, changes that are in no
//! commit.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::world::World;

const MAKE: &str = "bundle $DIR/app --sha <a> --out $DIR/out";

fn world() -> World {
    let w = World::new();
    w.write("app/index.html", "one");
    w
}

fn archive(w: &World) -> String {
    w.fill("$DIR/out/deployment-bundle-<a>.tar.gz")
}

#[test]
fn one_sha_is_one_bundle_until_somebody_says_otherwise() {
    let w = world();
    w.soll(MAKE).exits(0).hides("warning");
    let before = w.tree("out");
    // The same once more is nothing new; the checks that it passed may be.
    w.soll(MAKE).exits(0).says(&archive(&w)).hides("warning");
    assert_eq!(w.tree("out").keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    w.soll(&format!("{MAKE} --check run-tests=success")).exits(0);
    w.soll(MAKE).exits(0);
    let record = fs::read_to_string(format!("{}.checks.json", archive(&w))).unwrap();
    assert!(record.contains("run-tests"), "{record}");

    w.write("app/index.html", "two");
    let before = w.tree("out");
    let said = w.soll(MAKE).exits(1).says(&archive(&w)).says("is there already with other contents");
    said.says("--force").says("hosts may run it");
    w.soll(&format!("{MAKE} --check run-tests=success")).exits(1);
    assert_eq!(w.tree("out"), before, "nothing of it was touched");
    w.soll(&format!("{MAKE} --force")).exits(0);
    assert_ne!(w.tree("out"), before);
    assert!(!fs::exists(format!("{}.checks.json", archive(&w))).unwrap(), "what passed was another build");
    w.soll(MAKE).exits(0);
    // The archive was taken away to a server, and its checksum stayed.
    fs::remove_file(archive(&w)).unwrap();
    w.soll(MAKE).exits(0);
    fs::remove_file(archive(&w)).unwrap();
    w.write("app/index.html", "three");
    w.soll(MAKE).exits(1).says(&format!("{}.sha256 is there already", archive(&w)));
    assert!(!fs::exists(archive(&w)).unwrap());
    // Something that is no checksum stands for no bundle.
    fs::write(format!("{}.sha256", archive(&w)), "half a li").unwrap();
    w.soll(MAKE).exits(0);
    let sum = fs::read_to_string(format!("{}.sha256", archive(&w))).unwrap();
    assert!(sum.ends_with("tar.gz\n"), "{sum}");
}

#[test]
fn a_damaged_bundle_is_not_taken_for_the_same_one() {
    let w = world();
    w.soll(MAKE).exits(0);
    let whole = fs::read(archive(&w)).unwrap();
    fs::write(archive(&w), &whole[..whole.len() / 2]).unwrap();
    w.soll(MAKE).exits(1).says("is there already with other contents");
    w.soll(&format!("{MAKE} --force")).exits(0);
    assert_eq!(fs::read(archive(&w)).unwrap(), whole);
}

#[test]
fn what_is_called_as_secrets_are_is_told_and_an_example_is_not() {
    let w = world();
    for path in [".env.example", "id_rsa.pub", "src/credentials.php", "vendor/ca-bundle/cacert.pem"] {
        w.write(&format!("app/{path}"), "public");
    }
    w.soll(MAKE).exits(0).hides("warning");
    for path in [".env", "deploy/.env.production", "tls/server.pem", "tls/server.key", "id_ed25519", "credentials.json"]
    {
        w.write(&format!("app/{path}"), "hunter2");
    }
    let ran = w.soll(&format!("{MAKE} --force --output json")).exits(0).hides("hunter2");
    let all = ran.json()["warnings"][0].as_str().unwrap().to_owned();
    for path in [
        "`.env`",
        "`deploy/.env.production`",
        "`tls/server.pem`",
        "`tls/server.key`",
        "`id_ed25519`",
        "`credentials.json`",
    ] {
        assert!(all.contains(path), "{path}: {all}");
    }
    assert!(!all.contains("example") && !all.contains("cacert") && all.contains("shared_files"), "{all}");
    assert!(ran.stderr.contains("warning: "), "{}", ran.stderr);
    for n in 0..30 {
        w.write(&format!("app/keys/{n:02}.key"), "x");
    }
    w.soll(&format!("{MAKE} --force")).exits(0).says(" and 26 more");
}

#[test]
fn what_not_everybody_may_read_is_told_because_on_a_host_everybody_may() {
    let w = world();
    w.write("app/config/tokens.php", "x");
    let file = w.path("app/config/tokens.php");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    w.soll(MAKE)
        .exits(0)
        .says("warning: not everybody may read these")
        .says("`config/tokens.php`")
        .says("Pack it with `tar`");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    w.soll(MAKE).exits(0).hides("warning");
}

/// A clone whose HEAD is the SHA and in which nothing was changed is the only one that nothing is said of.
#[test]
fn changes_in_no_commit_and_another_head_are_told() {
    let w = world();
    w.write("app/.gitignore", "/dist/\n/out/\n");
    w.write("app/src/main.js", "1");
    w.git_in("app", &["init", "-q", "-b", "main"]);
    w.git_in("app", &["add", "-A"]);
    w.git_in("app", &["commit", "-q", "-m", "one"]);
    let sha = w.git_in("app", &["rev-parse", "HEAD"]);
    let make = |dir: &str, sha: &str| w.soll(&format!("bundle $DIR/{dir} --sha {sha} --out $DIR/out --force")).exits(0);
    // What the build makes lies where Git was told not to look.
    w.write("app/dist/main.js", "1");
    make("app", &sha).hides("warning");
    make("app/dist", &sha).hides("warning");
    let other = w.fill("<b>");
    for dir in ["app", "app/dist"] {
        make(dir, &other).says(&format!("has {} checked out", &sha[..8])).says("is said to be of bbbbbbbb");
    }
    w.write("app/src/main.js", "2");
    w.write("app/notes.txt", "x");
    make("app", &sha).says("in no commit").says("`notes.txt`, `src/main.js`").hides("checked out");
    make("app/dist", &sha).says("in no commit").says("`src/main.js`").hides("notes.txt");
    w.git_in("app", &["add", "-A"]);
    make("app", &sha).says("`notes.txt`, `src/main.js`");
    w.git_in("app", &["commit", "-q", "-m", "two"]);
    make("app", &w.git_in("app", &["rev-parse", "HEAD"])).hides("warning");
    // A directory of builds that is new to Git as a whole is no surprise, and what is in it is what is meant.
    w.write("app/public/index.html", "x");
    make("app/public", &w.git_in("app", &["rev-parse", "HEAD"])).hides("warning");
    fs::remove_file(w.path("app/src/main.js")).unwrap();
    make("app", &w.git_in("app", &["rev-parse", "HEAD"])).says("`src/main.js`");
}
