//! What people tell hosts over a network, and a fleet of three.

use super::hardships::app;
use super::net::{Fault, Host, Net, go_on, stopped};
use crate::support::world::{World, until};

const HOOKS: &str = r#"
[[environments.app.hooks]]
phase = "stop"
name = "halt"
run = "echo stop >> $DIR/log"
[[environments.app.hooks]]
phase = "start"
name = "go"
run = "echo start >> $DIR/log"
[[environments.app.hooks]]
phase = "prepare"
name = "waits"
run = "touch $DIR/waiting; while [ -e $DIR/hold ]; do sleep 0.02; done"
"#;

#[test]
fn a_person_has_the_last_word_there_too() {
    let net = Net::new();
    let host = net.host(1, "");
    let world = net.world(&[&host], &app(&[&host], HOOKS));
    world.soll("apply").exits(0);

    world.run(&["stop", "app", "--reason", "an incident"]).exits(0).says("soll start app");
    assert_eq!(world.read("log"), "stop\n");
    world.soll("release app <b>").exits(0);
    world.soll("diff app").exits(0).says("web1").says("bbbbbbbb is desired");
    world.soll("apply").exits(4).says("an incident");
    world.soll("start app").exits(0);
    assert_eq!(world.read("log"), "stop\nstart\n");

    world.write("hold", "");
    std::fs::remove_file(world.path("waiting")).unwrap();
    let run = world.start("apply", "apply.log");
    until("the hook waits", || world.path("waiting").exists().then_some(()));
    world.soll("cancel app").exits(0).says("is asked to stop at its next safe point");
    std::fs::remove_file(world.path("hold")).unwrap();
    assert_eq!(run.wait(), Some(1), "{}", world.read("apply.log"));
    assert!(world.read("apply.log").contains("cancelled by ann@"), "{}", world.read("apply.log"));
    assert_eq!(host.runs(), "a");

    world.soll("apply").exits(0);
    assert_eq!(host.runs(), "b");
    world.soll("rollback app").exits(0);
    world.soll("apply").exits(0);
    assert_eq!(host.runs(), "a");

    // Somebody rewrote the history of the state repository.
    world.git(&["reset", "-q", "--hard", "HEAD~1"]);
    world.edit("<b>", "<a>");
    world.soll("apply").exits(4).says("acknowledge");
    world.soll("acknowledge").exits(0);
    world.soll("apply").exits(0);
    assert_eq!(host.runs(), "a");
    until("no agent is left behind", || host.agents().is_empty().then_some(()));
}

/// Three hosts that run `a`; `b` is desired, and `$DIR/ill/webN` makes that host refuse it.
fn fleet(more: &str) -> (Net, [Host; 3], World) {
    let net = Net::new();
    let hosts = [1, 2, 3].map(|n| net.host(n, ""));
    let check = "[[environments.app.health.checks]]\nname = \"well\"\n\
                 run = \"test ! -e $DIR/ill/{host} -o $(cat index.html) = a\"\n";
    let world = net.world(&hosts.each_ref(), &app(&hosts.each_ref(), &format!("deadline = \"4s\"\n{more}\n{check}")));
    world.soll("apply").exits(0);
    assert_eq!(all(&hosts), "aaa");
    world.soll("release app <b>").exits(0);
    (net, hosts, world)
}

fn all(hosts: &[Host; 3]) -> String {
    hosts.iter().map(Host::runs).collect()
}

#[test]
fn one_of_three_may_fail_and_two_may_not() {
    let (_net, hosts, world) = fleet("strategy = { type = \"rolling\", batch = 1, max_failures = 1 }");
    world.write("ill/web2", "");
    world.soll("apply").exits(1).says("1 of 3 hosts failed: web2 went back");
    assert_eq!(all(&hosts), "bab");
    std::fs::remove_file(world.path("ill/web2")).unwrap();
    world.soll("retry app").exits(0);
    world.soll("apply").exits(0);
    assert_eq!(all(&hosts), "bbb");

    world.soll("release app <a>").exits(0);
    world.soll("apply").exits(0);
    world.soll("release app <b>").exits(0);
    world.edit("<b>\"\n", "<b>\"\nvariables = { turn = \"2\" }\n");
    world.write("ill/web1", "");
    world.write("ill/web3", "");
    world.soll("apply").exits(3).says("web3");
    assert_eq!(all(&hosts), "aaa");
}

#[test]
fn a_host_without_its_cable_is_caught_up_when_it_is_back() {
    let (net, hosts, world) = fleet("unreachable = \"skip\"");
    net.cable(&hosts[2], false);
    world.soll("apply").exits(0).says("web3 cannot be reached");
    assert_eq!(all(&hosts), "bba");
    net.cable(&hosts[2], true);
    world.soll("apply").exits(0);
    assert_eq!(all(&hosts), "bbb");
    world.soll("plan --detailed-exitcode").exits(0);

    // With `block` nobody goes without it.
    world.edit("\nunreachable = \"skip\"", "");
    world.soll("release app <a>").exits(0);
    net.cable(&hosts[1], false);
    world.soll("apply").exits(6).says("web2 cannot be reached");
    assert_eq!(all(&hosts), "bbb");
    net.cable(&hosts[1], true);
    world.soll("apply").exits(0);
    assert_eq!(all(&hosts), "aaa");
}

#[test]
fn a_host_that_is_lost_in_the_middle_of_a_rollout() {
    let (net, mut hosts, mut world) = fleet("strategy = { type = \"rolling\", batch = 1 }");
    world.set("SOLL_FAULT", "stop:run.after-effect@switch@2");
    let mut run = world.start("apply", "log");
    world.set("SOLL_FAULT", "");
    assert!(stopped(&mut run.child), "{}", world.read("log"));
    net.strike(&mut hosts[1], Fault::Cable);
    go_on(&run.child);
    assert_eq!(run.wait(), Some(6), "{}", world.read("log"));
    assert!(world.read("log").contains("web2"), "{}", world.read("log"));
    assert_eq!(hosts[2].runs(), "a", "the third was never touched");
    net.cure(&mut hosts[1], Fault::Cable);
    for host in &hosts {
        let record = host.record();
        let confirmed = record["confirmed"]["sha"].as_str().unwrap();
        assert!(confirmed.starts_with(['a', 'b']), "{record:#}");
    }
    world.soll("apply").exits(0);
    assert_eq!(all(&hosts), "bbb");
    world.soll("plan --detailed-exitcode").exits(0);
}

#[test]
fn a_loop_goes_on_when_the_cable_is_back() {
    let net = Net::new();
    let mut host = net.host(1, "");
    let mut world = net.world(&[&host], &app(&[&host], "deadline = \"4s\"\n"));
    world.set("SOLL_POLL", "200ms");
    let daemon = world.start("run", "log");
    until("a runs", || (host.runs() == "a" && !host.record()["confirmed"].is_null()).then_some(()));
    net.strike(&mut host, Fault::Blackhole);
    world.edit("<a>", "<b>");
    until("the loss is told", || world.read("log").contains("10.0.0.11").then_some(()));
    net.cure(&mut host, Fault::Blackhole);
    until("b runs", || (host.runs() == "b").then_some(()));
    assert_eq!(daemon.stop(), Some(0), "{}", world.read("log"));
}
