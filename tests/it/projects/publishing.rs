//! Services in what a daemon publishes: whoever plans from it sees what the daemon sees of them.

use super::platform::Platform;
use crate::support::engines::OLD;
use crate::support::web::{free_port, get};
use crate::support::world::until;

#[test]
fn a_plan_of_what_is_published_shows_the_services_as_the_daemon_sees_them() {
    let p = Platform::new(&OLD, "soll-published", "drift = \"report\"");
    p.w.soll("apply").exits(0);
    p.docker.run(&["stop", "-t", "1", &p.id("db")]);
    let live = p.w.soll("plan --output json").exits(0).json();
    let address = format!("127.0.0.1:{}", free_port());
    let daemon = p.w.start(&format!("run --listen {address}"), "daemon.log");
    let published = until("the daemon publishes", || get(&address, "/observation"));
    assert!(published.contains("\"service\":\"db\"") && published.contains("exited ("), "{published}");
    let theirs = p.w.soll(&format!("plan --output json --observation http://{address}/observation")).exits(0).json();
    let services = |plan: &serde_json::Value| plan["environments"][0]["hosts"][0]["services"].clone();
    assert_eq!(services(&theirs).as_array().map(Vec::len), Some(3), "{theirs:#}");
    assert_eq!(services(&theirs), services(&live));
    let told =
        p.w.soll(&format!("plan --observation http://{address}/observation"))
            .exits(0)
            .says("services: not as released");
    assert!(told.stdout.contains("db"), "{}", told.stdout);
    assert_eq!(daemon.stop(), Some(0));
}
