//! Pull mode: a server that nobody reaches runs its project itself, from the state repository.

use super::platform::Platform;
use crate::support::engines::OLD;
use crate::support::world::until;

const SERVER: &str = "hosts = [\"docker1\"]\ndrift = \"heal\"\nhealth = { every = \"1s\" }\n[hosts.docker1]\naddress = \"docker1.example.com\"\n";

#[test]
fn a_server_that_nobody_reaches_deploys_returns_and_heals() {
    let mut p = Platform::new(&OLD, "soll-pulled", SERVER);
    p.w.set("SOLL_POLL", "100ms");
    let daemon = p.w.start("run --host docker1", "daemon.log");
    let runs = |version: &str| {
        until(&format!("it runs {version}"), || {
            let is_quiet = p.w.record("staging")["probation"].is_null();
            (is_quiet && p.version().as_deref() == Some(version)).then_some(())
        });
    };
    runs("one");
    let db = p.id("db");
    p.w.edit("<a>", "<b>");
    runs("two");
    p.docker.run(&["stop", "-t", "1", &db]);
    until("it is brought up again", || {
        (p.docker.run(&["inspect", "--format", "{{.State.Running}}", &db]) == "true").then_some(())
    });
    p.w.edit("<b>", "<c>");
    until("the bad one is condemned", || (p.w.quarantined("staging") == ["c"]).then_some(()));
    runs("two");
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(p.id("db"), db);
}
