//! Whole Debian machines: systemd, units, sudo rules, a user who is not root, and the power that fails.

use super::machine::Machine;
use super::net::Net;
use crate::support::world::until;

/// Restarts the unit by the one rule that the user has, and asks systemd whether it runs.
const UNIT: &str = r#"
[[environments.app.hooks]]
phase = "post-switch"
name = "restarts"
reload = true
run = "sudo -n systemctl restart app.service"
[[environments.app.hooks]]
phase = "rollback"
name = "restarts what is back"
run = "sudo -n systemctl restart app.service"
[[environments.app.health.checks]]
name = "unit"
systemd = "app.service"
"#;

#[test]
fn a_unit_is_restarted_by_a_user_who_may_do_just_that() {
    let net = Net::new();
    let machine = Machine::boot(&net);
    let world = machine.world(UNIT);
    world.soll("provision app").exits(0);
    world.soll("doctor app").exits(0).says("web1");
    world.soll("apply").exits(0);
    assert_eq!((machine.runs().as_str(), machine.read("/run/app.runs").as_str()), ("a", "a"));
    world.soll("preflight app").exits(0).says("web1");
    assert_eq!(machine.run("systemctl is-active app.service"), "active\n");
    world.edit("<a>", "<b>");
    world.soll("plan").exits(0).says("web1");
    world.soll("apply").exits(0);
    assert_eq!(machine.read("/run/app.runs"), "b");
    assert_eq!(machine.run("stat -c %U /srv/app/current /srv/app/releases/*/index.html"), "deploy\n".repeat(3));

    // A release with which the unit does not start: the hook or systemd says so, and it runs as before.
    world.edit("<b>", "<c>");
    world.soll("apply").exits(3).says("web1");
    assert_eq!((machine.runs().as_str(), machine.read("/run/app.runs").as_str()), ("b", "b"));
    assert_eq!(machine.run("systemctl is-active app.service"), "active\n");

    // What the rule does not allow is refused at once: nobody waits for a password.
    world.bundle('d', &[]);
    let text = world.read("state/desired-state.toml").replacen("systemctl restart", "systemctl stop", 1);
    world.commit(&text.replace(&"c".repeat(40), "<d>"));
    world.soll("apply").exits(3).says("web1").says("sudo").says("password is required");
    assert_eq!((machine.runs().as_str(), machine.read("/run/app.runs").as_str()), ("b", "b"));
    world.soll("doctor app").exits(1).says("sudo").says("systemctl stop app.service");
}

#[test]
fn the_power_fails_while_a_release_is_on_probation() {
    let net = Net::new();
    let mut machine = Machine::boot(&net);
    let patient = "deadline = \"4s\"\n[environments.app.health]\nattempts = 100\ninterval = \"200ms\"\n\
                   [[environments.app.health.checks]]\nname = \"ok\"\nrun = \"test -e /srv/app/ok\"\n";
    let world = machine.world(&format!("{patient}{UNIT}"));
    machine.run("su deploy -c 'touch /srv/app/ok'");
    world.soll("apply").exits(0);
    machine.run("rm /srv/app/ok");
    world.edit("<a>", "<b>");
    let run = world.start("apply", "log");
    until("b is on probation", || (machine.runs() == "b" && !machine.record()["probation"].is_null()).then_some(()));
    // A unit that is being restarted while everything dies says no, which would be a verdict.
    until("the unit was restarted", || world.read("log").contains(":web1:restarts").then_some(()));
    machine.dies();
    assert_eq!(run.wait(), Some(6), "{}", world.read("log"));
    assert!(world.read("log").contains("web1"), "{}", world.read("log"));
    world.soll("apply").exits(6).says("web1").says("10.0.0.50");

    machine.start();
    // Nothing was condemned, and the way back is there.
    let record = machine.record();
    assert!(record["confirmed"]["sha"].as_str().unwrap().starts_with('a'), "{record:#}");
    assert_eq!(record["quarantined"].as_array().map_or(0, Vec::len), 0, "{record:#}");
    let plan = world.soll("plan --output json").exits(0).json();
    assert_eq!(plan["environments"][0]["hosts"][0]["reachable"], true, "{plan:#}");
    machine.run("touch /srv/app/ok");
    world.soll("apply").exits(0);
    assert_eq!((machine.runs().as_str(), machine.read("/run/app.runs").as_str()), ("b", "b"));
    let record = machine.record();
    assert!(record["probation"].is_null() && record["confirmed"]["sha"].as_str().unwrap().starts_with('b'));
    world.soll("plan --detailed-exitcode").exits(0);
}

#[test]
fn a_machine_that_reboots_is_as_it_was() {
    let net = Net::new();
    let mut machine = Machine::boot(&net);
    let world = machine.world(UNIT);
    world.soll("apply").exits(0);
    machine.dies();
    machine.start();
    until("the unit runs again", || (machine.read("/run/app.runs") == "a").then_some(()));
    world.soll("plan --detailed-exitcode").exits(0);
    world.soll("apply").exits(0);
}
