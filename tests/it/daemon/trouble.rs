//! What goes wrong in one environment is not the others' trouble; what fails is not tried for ever.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use super::state::Yard;
use crate::support::site::sha;

const QUICK: &[(&str, &str)] = &[("SOLL_POLL", "150ms")];

#[test]
fn a_slow_and_a_broken_one_hold_nobody_up() {
    let yard = Yard::new();
    let go = yard.site.at("go");
    let slow = format!(
        "[[environments.slow.hooks]]\nphase = \"prepare\"\nrun = \"\"\"while [ ! -e {go} ]; do sleep 0.02; done\"\"\""
    );
    let yard = yard.env("slow", 1, &slow).env("broken", 8, "").env("missing", 9, "");
    let mut yard = yard.env("one", 1, "").env("two", 1, "");
    yard.commit();
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.until("the healthy ones", || yard.runs("one", 1) && yard.runs("two", 1));
    daemon.says("broken: broken does not change");
    daemon.says("missing: missing does not change");
    yard.release("one", 2);
    daemon.until("a second commit", || yard.runs("one", 2));
    assert_eq!(yard.site.live("slow"), "", "it is still at it");
    yard.let_go();
    daemon.until("the slow one", || yard.runs("slow", 1));
    // Its first release had nothing to go back to: it stays, and is not called good.
    assert_eq!(yard.results("broken"), ["failed"]);
    assert_eq!(yard.results("missing"), [""; 0]);
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn what_failed_is_not_tried_again_by_itself() {
    let mut yard = Yard::new().slow_hook("prepare").env("web", 1, "").env("api", 1, "");
    yard.let_go();
    yard.commit();
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.until("the first commit", || yard.runs("web", 1) && yard.runs("api", 1));
    yard.release("web", 8);
    daemon.says("ROLLED BACK");
    daemon.says("is quarantined");
    for n in 2..=4 {
        yard.readme(&format!("words {n}"));
        yard.release("api", n);
        daemon.until("another environment goes on", || yard.runs("api", n));
    }
    assert!(yard.runs("web", 1));
    assert_eq!(yard.began("web", "prepare"), 2, "{}", daemon.text());
    assert_eq!(yard.results("web"), ["succeeded", "rolled-back"]);
    yard.release("web", 5);
    daemon.until("a cure", || yard.runs("web", 5));
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn a_bundle_server_that_comes_back_is_enough() {
    let yard = Yard::new();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bundle = format!("bundle = {{ url = \"http://{address}/deployment-bundle-{{sha}}.tar.gz\" }}\n");
    let yard = yard.env("web", 1, &bundle);
    yard.commit();
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.says("again in");
    server(address, yard.site.path("bundles"));
    daemon.until("it converges by itself", || yard.results("web").last().is_some_and(|last| last == "succeeded"));
    assert!(yard.runs("web", 1));
    let results = yard.results("web");
    // Two seconds, then six: whoever starts the server at once sees two attempts, a slow machine one more.
    assert!((2..=3).contains(&results.len()), "{results:?}");
    assert!(yard.site.record("web").quarantined.is_empty());
    assert_eq!(daemon.stop().0, Some(0));
}

/// Serves the files of a directory.
fn server(address: SocketAddr, dir: PathBuf) {
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let name = head.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
            let (status, body) = match std::fs::read(dir.join(name)) {
                Ok(bytes) => ("200 OK", bytes),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let length = body.len();
            // A client that is gone hears nothing.
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            if !head.starts_with("HEAD") {
                let _ = stream.write_all(&body);
            }
        }
    });
}

#[test]
fn one_that_was_interrupted_by_a_kill_is_closed_by_the_next_life() {
    let yard = Yard::new().slow_hook("prepare").env("web", 1, "");
    yard.commit();
    let daemon = yard.site.daemon(&[], QUICK);
    yard.begins("web", "prepare", 1);
    daemon.kill();
    yard.let_go();
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.until("the next life", || yard.results("web") == ["interrupted", "succeeded"]);
    assert!(yard.runs("web", 1));
    assert_eq!(yard.site.live("web"), sha(1));
}
