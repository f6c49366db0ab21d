//! A plain checkout becomes a root with releases, is deployed to, or becomes a checkout again.

use super::{ADOPT, checkout, rest, serves};
use crate::ssh::server::{Sshd, world_with};

#[test]
fn a_dry_run_says_every_step_and_does_none() {
    let w = checkout("");
    let before = w.tree("staging");
    let said = w.soll(&format!("{ADOPT} --dry-run")).exits(0).hides("hidden-key-1");
    said.says("move .env to releases/")
        .says("move .git to shared/checkout.git")
        .says("/database/app.sqlite to shared/database/app.sqlite")
        .says("link current -> releases/")
        .says("`vendor` stays with this release")
        .says("--keep-links");
    assert_eq!(w.tree("staging"), before);
}

#[test]
fn a_checkout_is_converted_deployed_to_and_its_data_stay() {
    let w = checkout("");
    let head = w.git_in("staging", &["rev-parse", "--short=8", "HEAD"]);
    w.soll(ADOPT).exits(0).hides("hidden-key-1");
    serves(&w);
    assert!(w.release("staging").ends_with(&format!("-{head}")), "{}", w.release("staging"));
    assert!(!w.path("staging/public").exists() && !w.path("staging/.git").exists());
    let converted = rest(&w);
    w.soll(ADOPT).exits(0).says("current leads to");
    assert_eq!(rest(&w), converted, "a second time changes nothing");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
    for (path, text) in [
        (".env", "APP_KEY=hidden-key-1\n"),
        ("public/uploads/2025/cat.jpg", "a cat"),
        ("database/app.sqlite", "rows and rows"),
    ] {
        assert_eq!(w.read(&format!("staging/current/{path}")), text, "{path}");
    }
    w.soll("adopt staging --undo").exits(1).says("since the conversion");
    assert_eq!(w.runs("staging"), "a");
}

#[test]
fn an_undo_is_the_same_tree_again() {
    let w = checkout("");
    let before = rest(&w);
    for more in ["", " --keep-links"] {
        w.soll(&format!("{ADOPT}{more}")).exits(0);
        w.soll("adopt staging --undo --dry-run").exits(0).says("would undo: link current -> releases/");
        serves(&w);
        w.soll("adopt staging --undo").exits(0).says("everything is where it was");
        assert_eq!(rest(&w), before);
    }
    w.soll("adopt staging --undo").exits(1).says("nothing to undo");
}

#[test]
fn links_may_stay_for_a_web_server() {
    let w = checkout("");
    w.soll(&format!("{ADOPT} --keep-links")).exits(0);
    serves(&w);
    assert_eq!(w.read("staging/public/index.php"), "<?php");
    assert_eq!(std::fs::read_link(w.path("staging/public")).unwrap().to_str(), Some("current/public"));
    assert!(!w.path("staging/.git").exists());
    w.soll("apply").exits(0);
    assert_eq!(w.read("staging/index.html"), "a", "the links follow `current`");
}

#[test]
fn a_server_behind_ssh_is_converted_as_well() {
    let sshd = Sshd::new("");
    let w = world_with(&sshd, "", "shared_files = [\".env\"]\n");
    w.write("staging/index.html", "live");
    w.write("staging/.env", "APP_KEY=hidden-key-1\n");
    let before = rest(&w);
    w.soll("adopt staging").exits(0).hides("hidden-key-1");
    assert_eq!(
        (w.runs("staging").as_str(), w.read("staging/shared/.env").as_str()),
        ("live", "APP_KEY=hidden-key-1\n")
    );
    w.soll("adopt staging --undo").exits(0);
    assert_eq!(rest(&w), before);
}
