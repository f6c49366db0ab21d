//! Servers that something else has deployed to: releases are taken over as they are, checkouts are converted and back,
//! and no byte of their data is lost, wherever the host dies.

mod capistrano;
mod converting;
mod crashes;
mod refusing;
mod releases;

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::support::world::{World, env};

/// What an environment with data says.
pub const SHARED: &str = "shared_files = [{ path = \".env\", from = \".env/production.env\" }, \"database/app.sqlite\"]\n\
    shared_dirs = [\"storage/logs\", \"public/uploads\", \"cache\"]\nmutable = [\"tmp/**\"]\n";

/// A world whose environment `staging` has a checkout in its root, with Git and with data that Git does not know.
pub fn checkout(more: &str) -> World {
    let w = World::with(&env("staging", 'a', &format!("{SHARED}{more}")));
    for (path, text) in [
        ("index.html", "live"),
        ("public/index.php", "<?php"),
        ("public/uploads/.gitignore", "*\n!.gitignore\n"),
        ("storage/logs/.gitignore", "*\n!.gitignore\n"),
        (".gitignore", ".env\n*.sqlite\nvendor\ntmp\n"),
    ] {
        w.write(&format!("staging/{path}"), text);
    }
    w.git_in("staging", &["init", "-q", "-b", "main"]);
    w.git_in("staging", &["add", "-A"]);
    w.git_in("staging", &["commit", "-q", "-m", "the application"]);
    for (path, text) in [
        (".env", "APP_KEY=hidden-key-1\n"),
        ("database/app.sqlite", "rows and rows"),
        ("public/uploads/2025/cat.jpg", "a cat"),
        ("storage/logs/app.log", "a line\n"),
        ("vendor/autoload.php", "<?php"),
        ("tmp/x", "x"),
    ] {
        w.write(&format!("staging/{path}"), text);
    }
    std::fs::set_permissions(w.path("staging/.env"), PermissionsExt::from_mode(0o600)).unwrap();
    // As `artisan storage:link` makes them: absolute.
    symlink(w.path("staging/public/uploads"), w.path("staging/public/files")).unwrap();
    symlink("index.html", w.path("staging/home")).unwrap();
    w.write("staging/.git/info/exclude", "public/files\nhome\n");
    w
}

/// A conversion whose every word is said.
pub const ADOPT: &str = "adopt staging --leave public/files --leave home";

/// Everything in the root but what `soll` keeps for itself, inodes included: the very same files.
pub fn rest(w: &World) -> BTreeMap<String, String> {
    let own = w.path("staging/.soll").display().to_string();
    w.tree("staging").into_iter().filter(|(path, _)| !path.starts_with(&own)).collect()
}

/// What an application sees through `current`, and what is in its places.
#[track_caller]
pub fn serves(w: &World) {
    for (path, text) in [
        ("index.html", "live"),
        ("home", "live"),
        ("public/index.php", "<?php"),
        (".env", "APP_KEY=hidden-key-1\n"),
        ("database/app.sqlite", "rows and rows"),
        ("public/uploads/2025/cat.jpg", "a cat"),
        ("public/files/2025/cat.jpg", "a cat"),
        ("storage/logs/app.log", "a line\n"),
        ("vendor/autoload.php", "<?php"),
    ] {
        assert_eq!(w.read(&format!("staging/current/{path}")), text, "{path}");
    }
    for (path, text) in [
        (".env/production.env", "APP_KEY=hidden-key-1\n"),
        ("database/app.sqlite", "rows and rows"),
        ("public/uploads/2025/cat.jpg", "a cat"),
    ] {
        assert_eq!(w.read(&format!("staging/shared/{path}")), text, "{path}");
    }
    assert!(w.path("staging/shared/cache").is_dir());
    assert!(w.path("staging/shared/checkout.git/HEAD").is_file());
}
