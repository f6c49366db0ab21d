//! From a commit to its environments: by notification, by polling, by a webhook.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use hmac::{Hmac, KeyInit, Mac};

use super::state::Yard;
use crate::support::site::{sha, until};

/// Nothing is found by polling in this time.
const NEVER: &[(&str, &str)] = &[("SOLL_POLL", "1h")];

#[test]
fn a_local_commit_is_followed_by_notification() {
    let mut yard = Yard::new().env("web", 1, "").env("api", 1, "");
    yard.commit();
    let daemon = yard.site.daemon(&[], NEVER);
    daemon.until("the first commit", || yard.runs("web", 1) && yard.runs("api", 1));
    daemon.says("web: in sync");
    let mut took = Vec::new();
    for n in 2..=4 {
        yard.set("api", n, "");
        let committed = Instant::now();
        yard.release("web", n);
        let step = format!("-> {}", &sha(n)[..8]);
        daemon.says(&step);
        took.push(daemon.when(&step).unwrap().duration_since(committed));
        daemon.until("both follow", || yard.runs("web", n) && yard.runs("api", n));
    }
    println!("commit to first step: {took:?} (aim: under 1 s)");
    assert_eq!(daemon.stop().0, Some(0));
    assert_eq!(yard.results("web"), ["succeeded"; 4]);
}

/// A bare repository that the state repository pushes to.
fn remote(yard: &Yard) -> String {
    let bare = yard.site.at("bare.git");
    yard.site.git(&["clone", "-q", "--bare", ".", &bare]);
    yard.site.git(&["remote", "add", "origin", &bare]);
    format!("file://{bare}")
}

#[test]
fn a_remote_repository_is_polled() {
    let mut yard = Yard::new().env("web", 1, "");
    yard.commit();
    let remote = remote(&yard);
    let daemon = yard.site.daemon(&[], &[("SOLL_POLL", "200ms"), ("SOLL_REPO", &remote)]);
    daemon.until("the first commit", || yard.runs("web", 1));
    yard.release("web", 2);
    yard.site.git(&["push", "-q", "origin", "main"]);
    daemon.until("the push is found", || yard.runs("web", 2));
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn a_signed_webhook_makes_it_look_at_once() {
    let mut yard = Yard::new().env("web", 1, "");
    yard.commit();
    let remote = remote(&yard);
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let vars =
        [("SOLL_POLL", "1h"), ("SOLL_REPO", &remote), ("SOLL_LISTEN", &address), ("SOLL_SECRET_WEBHOOK", "swordfish")];
    let daemon = yard.site.daemon(&[], &vars);
    daemon.until("the first commit", || yard.runs("web", 1));
    yard.release("web", 2);
    yard.site.git(&["push", "-q", "origin", "main"]);
    let body = r#"{"ref":"refs/heads/main"}"#;
    let signed = |key: &[u8]| {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
        mac.update(body.as_bytes());
        let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("x-hub-signature-256: sha256={digits}\r\n")
    };
    assert_eq!(post(&address, "", body), "401");
    assert_eq!(post(&address, &signed(b"guess"), body), "401");
    assert!(!yard.runs("web", 2), "it looked on the word of a stranger");
    assert_eq!(post(&address, &signed(b"swordfish"), body), "202");
    daemon.until("the nudge", || yard.runs("web", 2));
    assert_eq!(daemon.stop().0, Some(0));
}

/// The status of a POST.
fn post(address: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!("POST /webhook HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\nconnection: close\r\n");
    write!(stream, "{head}{headers}\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn a_tracked_branch_is_followed_from_the_start() {
    let yard = Yard::new();
    let app = yard.site.path("app");
    std::fs::create_dir(&app).unwrap();
    let git = |args: &[&str]| {
        let done = yard.site.bare("git").current_dir(&app).args(args).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["commit", "-q", "--allow-empty", "-m", "first"]);
    let first = git(&["rev-parse", "HEAD"]);
    yard.site.bundle(&first, &[("index.html", &first)]);
    let repository = format!("repository = \"{}\"\n", app.display());
    let yard = yard.app(&repository).env("web", 1, "track = { branch = \"main\" }");
    yard.commit();
    let daemon = yard.site.daemon(&[], NEVER);
    daemon.until("the branch is followed", || yard.site.live("web") == first);
    assert!(yard.site.read("state/desired-state.toml").contains(&first));
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn a_state_file_that_is_wrong_is_told_once_and_its_cure_is_followed() {
    let mut yard = Yard::new().env("web", 1, "");
    yard.commit();
    let daemon = yard.site.daemon(&[], &[("SOLL_POLL", "150ms")]);
    daemon.until("the first commit", || yard.runs("web", 1));
    yard.site.commit("schema = 1\n[environments.web]\nrelease = 5\n");
    daemon.says("not acted on");
    yard.readme("the same mistake, once more");
    // The old state stays in force: a link moved by hand is put right on its word.
    std::fs::remove_file(yard.site.path("web/current")).unwrap();
    daemon.until("the old state", || yard.runs("web", 1));
    assert_eq!(daemon.count("not acted on"), 1, "{}", daemon.text());
    // Another mistake of the same number of errors is another one.
    yard.site.commit("schema = 1\n[environments.web]\nrelease = 7\n");
    daemon.until("the second mistake", || daemon.count("not acted on") == 2);
    yard.release("web", 2);
    daemon.until("the cure", || yard.runs("web", 2));
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn a_force_push_stops_the_loop_until_it_is_acknowledged() {
    let mut yard = Yard::new().env("web", 1, "");
    yard.commit();
    let daemon = yard.site.daemon(&[], &[("SOLL_POLL", "150ms")]);
    daemon.until("the first commit", || yard.runs("web", 1));
    yard.release("web", 2);
    daemon.until("the second commit", || yard.runs("web", 2));
    yard.site.git(&["reset", "-q", "--hard", "HEAD~1"]);
    yard.release("web", 3);
    daemon.says("the branch was rewritten");
    // Neither on its word, nor on that of the one before it.
    let current = yard.site.path("web/current");
    std::fs::remove_file(&current).unwrap();
    let told = daemon.count("not acted on");
    yard.readme("on top of it");
    daemon.until("the newer one is refused too", || daemon.count("not acted on") > told);
    assert!(std::fs::symlink_metadata(&current).is_err(), "{}", daemon.text());
    let blocked = yard.site.soll(&["apply"]).expect(4);
    assert!(blocked.err.contains("acknowledge"), "{}", blocked.err);
    let shown = yard.site.soll(&["acknowledge"]).expect(0);
    assert!(shown.out.contains("lost:"), "{}", shown.out);
    until("the loop goes on", || yard.runs("web", 3));
    assert_eq!(daemon.stop().0, Some(0));
}
