//! A project that people brought up by hand becomes one that soll deploys: its containers give way to those of the release,
//! its volumes stay, and what the release knows nothing of is left alone.

use std::process::Command;

use super::platform::Platform;
use crate::support::engines::{Pair, on_each};

on_each!(a_project_that_runs_is_taken_over_with_its_data: old, strict);

fn a_project_that_runs_is_taken_over_with_its_data(on: &'static Pair) {
    let p = Platform::new(on, "soll-taken", "");
    by_hand(&p, on);
    p.docker.run(&["exec", &p.name("db"), "touch", "/data/kept"]);

    let (db, extra) = (p.id("db"), p.id("extra"));
    p.w.soll("apply").exits(0);
    assert_eq!((p.exec("api", "/version").as_str(), p.exec("web", "/etc/site.conf").as_str()), ("one", "one"));
    p.docker.run(&["exec", &p.name("db"), "cat", "/data/kept"]);
    assert_ne!(p.id("db"), db, "it runs as the release says it, not as it was started by hand");
    assert_eq!(p.id("extra"), extra, "the release knows nothing of it");
    p.w.soll("plan --detailed-exitcode").exits(0).says("extra");

    // From then on there is a way back.
    let db = p.id("db");
    p.w.edit("<a>", "<c>");
    p.w.soll("apply").exits(3);
    assert_eq!((p.exec("api", "/version").as_str(), p.id("db") == db, p.id("extra") == extra), ("one", true, true));
}

/// The same project as people start it, and a service that is in no release.
fn by_hand(p: &Platform<'_>, on: &Pair) {
    let text = p.w.read("state/platform/compose.yml");
    let image = p.registry.name(&format!("{}/api:aaaaaaaa", p.project));
    let text = text.replace("image: api\n", &format!("image: {image}\n"));
    let (services, volumes) = text.split_once("volumes:\n  data").unwrap();
    let (_, web) = services.split_once("  web:\n").unwrap();
    let extra = web.split("    volumes").next().unwrap();
    p.w.write("hand/compose.yml", &format!("{services}  extra:\n{extra}volumes:\n  data{volumes}"));
    p.w.write("hand/web/site.conf", "by hand");
    let words: &[&str] = if on.plugin { &["docker", "compose"] } else { &["docker-compose"] };
    let file = p.w.path("hand/compose.yml").display().to_string();
    let mut up: Command = p.w.program(words[0]);
    up.args(&words[1..]).args(["-p", &p.project, "-f", &file, "up", "-d", "api", "web", "db", "extra"]);
    let done = up.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
