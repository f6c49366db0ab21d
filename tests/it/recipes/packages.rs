//! `recipe = "node"` and `recipe = "php"` for commits: with Composer itself, and with a stand-in for npm that does what npm does
//! to a directory. What the recipes make of their answers is what is asked here.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::web::Web;
use crate::support::world::{Ran, World};

/// Does as npm does, and notes how it was called.
const NPM: &str = r#"#!/bin/sh
echo "$@" >> $DIR/called
case $1 in
ci)
    if grep -q away package-lock.json; then echo 'npm error code ECONNREFUSED' >&2; exit 1; fi
    if grep -q wrong package-lock.json; then echo 'npm error code ERESOLVE' >&2; exit 1; fi
    mkdir -p node_modules/left-pad
    cp package-lock.json node_modules/left-pad/of ;;
run) cp node_modules/left-pad/of built ;;
prune) touch node_modules/pruned ;;
esac
"#;

/// Whatever it is asked, it is well.
const WELL: &str = "#!/bin/sh\necho v1\n";

/// A world whose application is a repository `app`, with these lines of its own, and these programs in `tools`.
fn world(app: &str, tools: &[(&str, &str)]) -> World {
    let w = World::new();
    for (name, text) in tools {
        w.write(&format!("tools/{name}"), text);
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(w.path(&format!("tools/{name}")), mode).unwrap();
    }
    w.write("production/shared/.env", "APP=1\n");
    w.write("app/code", "one");
    w.git_in("app", &["init", "-q", "-b", "main"]);
    let environment = "[environments.production]\nroot = \"$DIR/production\"\nrelease = \"@\"\n";
    w.write(
        "state.toml",
        &format!("schema = 1\n\n[apps.shop]\nkind = \"git\"\nrepository = \"$DIR/app\"\n{app}\n{environment}"),
    );
    w
}

/// Commits what the application is by now, and has it deployed.
fn deploy(w: &World) -> Ran {
    let release = w.commit_in("app", "change");
    w.commit(&w.read("state.toml").replace('@', &release));
    w.soll("apply")
}

fn calls(w: &World, first: &str) -> usize {
    w.read("called").lines().filter(|line| line.starts_with(first)).count()
}

#[test]
fn packages_of_node_are_installed_once_for_a_lock_file() {
    let app = "recipe = \"node\"\nunits = []\n\
        variables = { service = \"shop\", node = \"$DIR/tools/node\", npm = \"$DIR/tools/npm\" }\n\
        [[apps.shop.health.checks]]\nname = \"service\"\nrun = \"test -f built\"\n";
    let w = world(app, &[("npm", NPM), ("node", WELL)]);
    w.write("app/package.json", "{}");
    w.write("app/package-lock.json", "one");
    deploy(&w).exits(0).hides("copied from");
    w.write("app/code", "two");
    deploy(&w).exits(0).says("copied from");
    assert_eq!((calls(&w, "ci "), calls(&w, "run build --if-present"), calls(&w, "prune --omit=dev")), (1, 2, 2));
    let pruned = |place: &str| w.path(&format!("production/{place}")).join("node_modules/pruned").exists();
    assert!(pruned("current"), "what only the build needs is gone");
    w.write("app/package-lock.json", "other");
    deploy(&w).exits(0).hides("copied from");
    assert_eq!((calls(&w, "ci "), w.read("production/current/built").as_str()), (2, "other"));
    // A registry that is away gives no verdict, and what cannot be installed is one; neither touches what runs.
    let live = w.release("production");
    w.write("app/package-lock.json", "away");
    deploy(&w).exits(1).says("it can be tried again").says("exit code 75");
    assert_eq!(w.quarantined("production").len(), 0);
    w.write("app/package-lock.json", "wrong");
    deploy(&w).exits(1).says("prepare hook `packages` says no");
    assert_eq!(w.quarantined("production").len(), 1);
    std::fs::remove_file(w.path("app/package-lock.json")).unwrap();
    deploy(&w).exits(1).says("there is no package-lock.json");
    assert_eq!(w.release("production"), live);
}

/// What Composer installs from: a package of this address, and nothing from anywhere else.
fn composer_json(address: &str) -> String {
    format!(
        r#"{{"name": "acme/shop", "config": {{"secure-http": false}}, "require": {{"acme/hello": "1.0.0"}}, "repositories": [
            {{"packagist.org": false}},
            {{"type": "package", "package": {{"name": "acme/hello", "version": "1.0.0",
              "dist": {{"type": "tar", "url": "{address}"}}, "autoload": {{"psr-4": {{"Acme\\Hello\\": "src/"}}}}}}}}]}}"#
    )
}

/// An archive with this package in it.
fn package(w: &World) -> Vec<u8> {
    w.write("hello/composer.json", r#"{"name": "acme/hello", "version": "1.0.0"}"#);
    w.write("hello/src/Hello.php", "<?php namespace Acme\\Hello; class Hello { const VERSION = '1.0.0'; }");
    let done = Command::new("tar").arg("-C").arg(w.path("hello")).args(["-cf", "-", "composer.json", "src"]).output();
    let done = done.unwrap();
    assert!(done.status.success(), "{done:?}");
    done.stdout
}

/// Writes `composer.lock`, as a developer does.
fn lock(w: &World) {
    let mut command = Command::new("composer");
    command.args(["update", "--no-install", "--no-interaction"]).current_dir(w.path("app"));
    command.env("COMPOSER_HOME", w.path("composer")).env("COMPOSER_ALLOW_SUPERUSER", "1");
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn packages_of_php_are_those_of_the_lock_file() {
    let reload = |phase: &str, name: &str| {
        format!("[[apps.shop.hooks]]\nname = \"{name}\"\nphase = \"{phase}\"\nrun = \"echo reloaded >> $DIR/called\"\n")
    };
    let app = format!(
        "recipe = \"php\"\n{}{}",
        reload("post-switch", "reload-php-fpm"),
        reload("rollback", "rollback-reload-php-fpm")
    );
    let w = world(&app, &[]);
    // Without a composer.json there is nothing to install.
    deploy(&w).exits(0);
    assert_eq!(calls(&w, "reloaded"), 1);

    let web = Web::start();
    web.set_bytes("/hello.tar", 200, package(&w));
    w.write("app/composer.json", &composer_json(&web.url("/hello.tar")));
    deploy(&w).exits(1).says("there is no composer.lock");
    lock(&w);
    deploy(&w).exits(0);
    assert_eq!(calls(&w, "reloaded"), 2);
    assert!(w.path("production/current/vendor/acme/hello/src/Hello.php").exists());

    // The package is in the cache that outlives releases: nobody is asked for it again.
    web.set("/hello.tar", 503, "busy");
    w.write("app/code", "two");
    deploy(&w).exits(0);
    assert!(w.path("production/current/vendor/acme/hello/src/Hello.php").exists());

    // An origin that is away gives no verdict, and what cannot be installed is one; neither touches what runs.
    let (live, failed) = (w.release("production"), w.quarantined("production").len());
    for (status, path) in [(503, "/other.tar"), (429, "/busy.tar")] {
        web.set(path, status, "busy");
        w.write("app/composer.json", &composer_json(&web.url(path)));
        lock(&w);
        let why = format!("{} file could not be downloaded", web.url(path).replace("http://", "\"http://") + "\"");
        deploy(&w).exits(1).says("it can be tried again").says(&why).hides("--prefer-source");
        assert_eq!(w.quarantined("production").len(), failed);
    }
    w.write("app/composer.json", &composer_json(&web.url("/missing.tar")));
    lock(&w);
    deploy(&w).exits(1).says("prepare hook `packages` says no").says("404").hides("--prefer-source");
    assert_eq!(w.quarantined("production").len(), failed + 1);
    assert_eq!(w.release("production"), live);
}
