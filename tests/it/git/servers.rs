//! Where repositories are, and what their servers give out.

use super::{app, desire, grow, release, staging};
use crate::ssh::server::Sshd;
use crate::support::world::World;

/// A bare copy of the application at `$DIR/app.git`, to which `grow` pushes.
fn bare(w: &World) {
    let (app, bare) = (w.fill("$DIR/app"), w.fill("$DIR/app.git"));
    w.git_in("state", &["clone", "-q", "--bare", &app, &bare]);
    w.git_in("app", &["remote", "add", "origin", &bare]);
}

fn pushed(w: &World, files: &[(&str, &str)]) -> String {
    let sha = grow(w, files);
    w.git_in("app", &["push", "-q", "origin", "main"]);
    sha
}

#[test]
fn a_file_address_and_a_path_are_the_same_to_a_host() {
    let w = app("", "");
    w.soll("apply").exits(0);
    w.edit("repository = \"$DIR/app\"", "repository = \"file://$DIR/app\"");
    w.soll("apply").exits(0).says("in sync");
    let second = grow(&w, &[("index.html", "two")]);
    release(&w, &second).exits(0);
    assert_eq!(w.runs("staging"), "two");
}

#[test]
fn a_server_that_gives_out_only_what_branches_lead_to_is_enough() {
    let mut w = app("", "");
    bare(&w);
    w.edit("repository = \"$DIR/app\"", "repository = \"file://$DIR/app.git\"");
    // Version 0 of the protocol, by which a server may refuse what it does not advertise.
    w.write("gitconfig", "[protocol]\nversion = 0\n");
    w.set("GIT_CONFIG_GLOBAL", "$DIR/gitconfig");
    for name in ["allowAnySHA1InWant", "allowTipSHA1InWant", "allowReachableSHA1InWant"] {
        w.git_in("app.git", &["config", &format!("uploadpack.{name}"), "false"]);
    }
    w.soll("apply").exits(0);
    // The head comes alone; what lies before it, and before what came alone already, comes with the history.
    let second = pushed(&w, &[("index.html", "two")]);
    let third = pushed(&w, &[("index.html", "three")]);
    release(&w, &third).exits(0);
    pushed(&w, &[("index.html", "four")]);
    release(&w, &second).exits(0);
    assert_eq!(w.runs("staging"), "two");
    release(&w, &"f".repeat(40)).exits(1).says("no branch or tag of");
    assert_eq!(w.runs("staging"), "two");
}

#[test]
fn the_key_of_git_opens_a_server_over_ssh() {
    let sshd = Sshd::new("");
    let mut w = app("", "");
    bare(&w);
    let address = format!("ssh://{}@127.0.0.1:{}{}", crate::ssh::server::me(), sshd.port, w.fill("$DIR/app.git"));
    w.edit("repository = \"$DIR/app\"", &format!("repository = \"{address}\""));
    w.write("known_hosts", &sshd.known("ed25519"));
    w.set("SOLL_KNOWN_HOSTS", "$DIR/known_hosts");
    w.write("ssh_config", "");
    w.set("SOLL_SSH_CONFIG", "$DIR/ssh_config");
    w.soll("plan").exits(0).says("nobody could see whether");
    w.soll("apply").exits(1).says("git could not").says("127.0.0.1");
    assert!(!w.path("staging/current").exists());
    w.soll("doctor staging").exits(1).says("give this controller a key for it");
    w.set("SOLL_SSH_KEY", sshd.path("key").to_str().unwrap());
    w.soll("doctor staging").says("answers: 1 branches and tags");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "one");
}

#[test]
fn other_protocols_are_no_addresses() {
    let w = app("", "");
    w.edit("repository = \"$DIR/app\"", "repository = \"git://127.0.0.1/app.git\"");
    w.soll("apply").exits(1).says("not a repository address");
    let first = w.git_in("app", &["rev-parse", "HEAD"]);
    desire(&w, "", &staging(&first, ""));
    w.soll("apply").exits(0);
}
