//! What a daemon publishes, and who believes it.

use crate::support::web::{Web, free_port, get};
use crate::support::world::{World, until};

/// Two checks that count how often they are asked: one that the host runs, one at a server.
fn counted(web: &Web) -> String {
    format!(
        "[environments.staging.health]\nevery = \"1h\"\n\
         [[environments.staging.health.checks]]\nname = \"runs\"\nrun = \"echo x >> $DIR/asked\"\n\
         [[environments.staging.health.checks]]\nname = \"web\"\nhttp = \"{}\"\n",
        web.url("/health")
    )
}

#[test]
fn a_hundred_who_ask_touch_no_host() {
    let web = Web::start();
    web.set("/health", 200, "fine");
    let mut w = World::staging(&counted(&web));
    w.set("SOLL_POLL", "1h");
    let address = format!("127.0.0.1:{}", free_port());
    let daemon = w.start(&format!("run --listen {address}"), "daemon.log");
    until("the daemon publishes", || get(&address, "/observation"));
    let asked = || (w.read("asked").lines().count(), web.seen().len());
    let before = asked();
    for _ in 0..100 {
        let seen = get(&address, "/observation").unwrap();
        let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
        assert_eq!(seen["commit"], w.head());
    }
    assert_eq!(asked(), before);
    assert_eq!(daemon.stop(), Some(0));
}
