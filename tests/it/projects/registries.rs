//! Registries that do not give what is asked for: nothing of it is a verdict on a release, and no login is left behind.

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use base64ct::{Base64, Encoding};

use super::platform::Platform;
use crate::support::docker::Docker;
use crate::support::engines::{Pair, on_each};
use crate::support::registry::{Gate, PASSWORD, Registry, USER};
use crate::support::world::until;

on_each!(too_many_requests_are_an_error_that_is_tried_again_later: strict; old);

fn too_many_requests_are_an_error_that_is_tried_again_later(on: &'static Pair) {
    let registry = Registry::start();
    let gate = Gate::before(&registry);
    let mut p = Platform::with(on.docker(), "soll-many", "", registry, gate.port);
    p.w.soll("apply").exits(0);
    let api = p.id("api");
    gate.shut(true);
    p.w.edit("<a>", "<b>");
    p.w.soll("apply").exits(1).says("cannot be pulled").says("many");
    assert!(gate.refused() > 0 && p.w.quarantined("staging").is_empty());
    assert_eq!((p.id("api"), p.exec("api", "/version").as_str()), (api, "one"));

    // By itself it is tried again, after a while that becomes longer, until there is room for it.
    p.w.set("SOLL_POLL", "100ms");
    let daemon = p.w.start("run", "daemon.log");
    until("the daemon waits", || p.w.read("daemon.log").contains("again in").then_some(()));
    let before = gate.refused();
    until("it is tried once more", || (gate.refused() > before).then_some(()));
    gate.shut(false);
    let confirmed = || p.w.record("staging")["confirmed"]["sha"].as_str().map(str::to_owned);
    until("it converges", || confirmed().filter(|sha| sha.starts_with('b')));
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(p.exec("api", "/version"), "two");
    assert!(p.w.quarantined("staging").is_empty());
    let runs = p.w.soll("history --output json").exits(0).json();
    let errors = runs.as_array().unwrap().iter().filter(|run| run["result"] == "error").count();
    // One by hand, and of those that wait 2 s, 6 s, 18 s as many as a slow machine needs: a loop would have made hundreds.
    assert!((2..=5).contains(&errors), "{runs:#}");
}

on_each!(a_login_is_tried_named_and_kept_nowhere: strict; old);

fn a_login_is_tried_named_and_kept_nowhere(on: &'static Pair) {
    let registry = Registry::closed();
    let (address, port) = (registry.address(), registry.port);
    let mut p = {
        // They are noted in one file, which the client reads and writes anew.
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Docker::here().login(&address, USER, PASSWORD);
        let p = Platform::with(on.docker(), "soll-login", "", registry, port);
        Docker::here().run(&["logout", &address]);
        p
    };
    let login =
        format!("registries = {{ \"{address}\" = {{ user = \"{USER}\", password = \"REGISTRY\" }} }}\nonce = [");
    // Without a login, with a wrong one, with the right one.
    p.w.soll("apply").exits(1).says("cannot be pulled");
    p.w.edit("once = [", &login);
    p.w.soll("plan").says("REGISTRY");
    p.w.set("SOLL_SECRET_REGISTRY", "not-this-one");
    p.w.soll("apply").exits(1).says("cannot be pulled").hides("not-this-one");
    p.w.soll("doctor").exits(1).says(&format!("{address} refuses the login")).hides("not-this-one");
    assert!(p.docker.containers(&p.project).is_empty() && p.w.quarantined("staging").is_empty());
    p.w.set("SOLL_SECRET_REGISTRY", PASSWORD);
    p.w.soll("doctor").says(&format!("{address} takes the login")).hides(PASSWORD);
    p.w.soll("apply").exits(0).hides(PASSWORD);
    assert_eq!(p.exec("api", "/version"), "one");
    // Neither as it is, nor as it is sent.
    let sent = Base64::encode_string(format!("{USER}:{PASSWORD}").as_bytes());
    for text in [PASSWORD, &sent] {
        for dir in [p.w.path(""), p.docker.home(), p.docker.dir().join("data")] {
            let found = Command::new("grep").args(["-rlaF", "--devices=skip", text]).arg(&dir).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&found.stdout), "", "the login is on a disk");
        }
    }
}
