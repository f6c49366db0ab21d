//! Commands that need no host: validate, init, bundle, recipe, schema, completions, man.

use crate::support::world::{World, env};

#[test]
fn every_error_is_told_at_once_with_its_place() {
    let w = World::with(&env("staging", 'a', ""));
    w.soll("validate").exits(0).says("valid: 1 environment");
    // The work tree is what is checked, before it is committed.
    w.write(
        "state/desired-state.toml",
        &w.read("state/desired-state.toml").replace("release =", "relaese =").replace("attempts = 2", "attempts = 0"),
    );
    w.soll("validate").exits(1).says("relaese").says("release").says("attempts").says("desired-state.toml:6:12");
    w.soll("validate --ref HEAD").exits(0);
    w.soll("plan").exits(0);
    w.write("elsewhere.toml", "schema = 2\n");
    w.soll("validate $DIR/elsewhere.toml").exits(1).says("elsewhere.toml:1:10");
    w.soll("validate $DIR/none.toml").exits(1).says("none.toml");
}

#[test]
fn a_first_file_is_valid_and_never_written_over() {
    let w = World::new();
    for recipe in ["generic", "static", "laravel"] {
        let path = w.path(&format!("{recipe}.toml"));
        let path = path.to_str().unwrap();
        w.run(&["init", path, "--recipe", recipe]).exits(0).says("soll validate");
        w.run(&["validate", path]).exits(0);
    }
    let before = w.read("static.toml");
    w.soll("init $DIR/static.toml").exits(1).says("is there already");
    assert_eq!(w.read("static.toml"), before);
    w.soll("init $DIR/x.toml --recipe nonsense").exits(64).says("laravel");
}

#[test]
fn recipes_schema_completions_and_the_manual() {
    let w = World::new();
    let names = w.soll("recipe").exits(0).stdout;
    for name in ["generic", "static", "laravel", "python"] {
        assert!(names.lines().any(|line| line == name), "{names}");
        assert!(!w.soll(&format!("recipe {name}")).exits(0).stdout.is_empty());
    }
    w.soll("recipe laravel").exits(0).says("artisan");
    w.soll("recipe nonsense").exits(64).says("generic");
    let schema = w.soll("schema").exits(0).json();
    assert!(schema["properties"]["environments"].is_object(), "{schema}");
    for shell in ["bash", "zsh", "fish"] {
        w.soll(&format!("completions {shell}")).exits(0).says("rollback");
    }
    w.soll("man").exits(0).says(".TH").says("acknowledge");
    w.soll("--version").exits(0).says("soll 0.1.0 (");
}

#[test]
fn a_bundle_is_reproducible_and_complete_or_not_made() {
    let w = World::new();
    w.write("build/x/index.html", "x");
    w.soll("bundle $DIR/build/x --sha <a> --out $DIR/one").exits(0);
    w.soll("bundle $DIR/build/x --sha <a> --out $DIR/two").exits(0);
    let name = w.fill("deployment-bundle-<a>.tar.gz");
    let archive = |dir: &str| std::fs::read(w.path(&format!("{dir}/{name}"))).unwrap();
    assert_eq!(archive("one"), archive("two"));
    let check = w
        .program("sha256sum")
        .args(["--check", &format!("{name}.sha256")])
        .current_dir(w.path("one"))
        .output()
        .unwrap();
    assert!(check.status.success(), "{check:?}");
    w.soll("bundle $DIR/build/x --sha abc --out $DIR/one").exits(64);
    w.soll("bundle $DIR/build/x --sha <a> --out $DIR/one --check tests").exits(64).says("NAME=CONCLUSION");
    w.soll("bundle $DIR/none --sha <a> --out $DIR/one").exits(1);
    // The gates of an environment that name files hold already here (A3).
    w.commit(&format!(
        "{}[[apps.web.gates]]\nfile = \"public/index.php\"\n{}",
        crate::support::world::APP,
        env("staging", 'a', "")
    ));
    w.soll("bundle $DIR/build/x --sha <b> --out $DIR/one --gates-of staging").exits(1).says("public/index.php");
    assert!(!w.path(&w.fill("one/deployment-bundle-<b>.tar.gz")).exists());
    w.write("build/x/public/index.php", "x");
    w.soll("bundle $DIR/build/x --sha <b> --out $DIR/one --gates-of staging").exits(0);
    w.soll("bundle $DIR/build/x --sha <b> --out $DIR/one --gates-of nowhere").exits(64);
}

#[test]
fn a_reader_that_goes_away_is_nobodys_mistake() {
    let w = World::new();
    let mut command = w.program("sh");
    command.arg("-c").arg(format!("{} man | head -n 1", env!("CARGO_BIN_EXE_soll")));
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// A CI job that waits asks the forge as often as the loop would, however often it looks at the hosts.
#[test]
fn waiting_asks_a_remote_repository_no_oftener_than_the_loop() {
    let mut w = World::staging("");
    w.git(&["config", "receive.denyCurrentBranch", "ignore"]);
    w.soll("release staging <b>").exits(0);
    // Every look at the remote is a git of its own.
    let git = String::from_utf8(std::process::Command::new("which").arg("git").output().unwrap().stdout).unwrap();
    w.write(
        "bin/git",
        &format!("#!/bin/sh\ncase \"$*\" in *fetch*) echo x >> $DIR/fetched;; esac\nexec {} \"$@\"\n", git.trim()),
    );
    std::fs::set_permissions(w.path("bin/git"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("$DIR/bin:{}", std::env::var("PATH").unwrap());
    w.set("PATH", &path);
    w.set("SOLL_REPO", "file://$DIR/state");
    w.set("SOLL_POLL", "1h");
    let fetched = || w.read("fetched").lines().count();
    // The first one ever also makes the mirror.
    w.soll("wait staging --timeout 0s").exits(1);
    w.write("fetched", "");
    w.soll("wait staging --timeout 0s").exits(1);
    let once = fetched();
    assert!(once > 0, "no look was noticed");
    w.write("fetched", "");
    w.soll("wait staging --timeout 2s").exits(1);
    assert_eq!(fetched(), once, "the remote is asked at every look");
}
