//! Every way of losing a host, at every kind of step of a deployment. The controller stands still at the place (or the agent
//! in the middle of its effect) while the fault is made, which lasts until the controller has ended; then it is cured.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};

use rustix::process::Signal;

use super::net::{Fault, Host, Net, go_on, stopped};
use crate::crash::chain::{Chain, Plot};
use crate::crash::points::{DEPLOYMENT, long};
use crate::support::answers::Web;
use crate::support::site::until;

/// A chain of deployments to a host of this network.
struct Line {
    net: Net,
    host: Host,
    chain: Chain,
    /// A place of the agent, and what follows its death there.
    cases: usize,
}

impl Line {
    fn new() -> Line {
        let net = Net::new();
        // A host that asks after its connections: agents of lost controllers do not wait for ever.
        let host = net.host(1, "ClientAliveInterval 3\nClientAliveCountMax 3");
        let mut chain = Chain::bare();
        chain.web = Web::start_in(host.space.network());
        chain.more = format!("hosts = [\"web1\"]\ndeadline = \"6s\"\n{}", host.table());
        chain.site.vars = net.variables(&[&host]);
        chain.site.inside = net.controller.enter();
        let chain = chain.begun();
        Line { net, host, chain, cases: 0 }
    }

    fn start(&self, fault: &str) -> Child {
        let mut command = self.chain.site.command(&["apply"]);
        let file = |name: &str| std::fs::File::create(self.chain.site.path(name)).unwrap();
        command.env("SOLL_FAULT", fault).stdout(file("out")).stderr(file("err")).stdin(Stdio::null());
        command.spawn().unwrap()
    }

    /// A fault while the controller stands still at a place, and what follows.
    fn case(&mut self, fault: Fault, place: &str) {
        let what = format!("{fault:?} at {place}");
        let wanted = self.chain.next(Plot::Good);
        let mut run = self.start(&format!("stop:{place}"));
        assert!(stopped(&mut run), "{what}: the place was not passed: {}", self.said());
        self.net.strike(&mut self.host, fault);
        go_on(&run);
        self.ends(run, fault, &what, &wanted);
    }

    /// A fault while the agent stands still in the middle of an effect, and what follows.
    fn middle(&mut self, fault: Fault, place: &str) {
        let what = format!("{fault:?} while the agent is at {place}");
        let wanted = self.chain.next(Plot::Good);
        let profile = self.host.sshd.home().join(".bashrc");
        std::fs::write(&profile, format!("export SOLL_FAULT=stop:{place}\n")).unwrap();
        let mut run = self.start("");
        let mut at = Vec::new();
        until(&what, || {
            let ended = run.try_wait().unwrap();
            assert!(ended.is_none(), "{what}: the place was not passed: {ended:?} {}", self.said());
            at = self.host.agents();
            at.retain(|agent| agent.stands_still());
            !at.is_empty()
        });
        std::fs::remove_file(&profile).unwrap();
        self.net.strike(&mut self.host, fault);
        at.iter().for_each(|agent| agent.kill(Signal::CONT));
        self.ends(run, fault, &what, &wanted);
    }

    /// The controller itself is killed.
    fn dies(&mut self, place: &str) {
        let what = format!("the controller is killed at {place}");
        let wanted = self.chain.next(Plot::Good);
        let status = self.start(place).wait().unwrap();
        assert_eq!(status.signal(), Some(9), "{what}: the place was not passed: {}", self.said());
        self.follows(&what, &wanted);
    }

    fn said(&self) -> String {
        self.chain.site.read("out") + &self.chain.site.read("err")
    }

    #[track_caller]
    fn ends(&mut self, mut run: Child, fault: Fault, what: &str, wanted: &str) {
        let mut code = None;
        until(what, || {
            code = run.try_wait().unwrap();
            code.is_some()
        });
        let (code, said) = (code.unwrap().code(), self.said());
        let confirmed = ["run.after-effect@confirm", "@prune"].iter().any(|place| what.contains(place));
        if fault == Fault::Agent && confirmed {
            // What is left to do is housekeeping, and the next look starts another agent.
            assert_eq!(code, Some(0), "{what}: {said}");
            let pruned = what.contains("run.after-effect@prune");
            assert!(said.contains("prune:web1") && said.contains("WARNING") != pruned, "{what}: {said}");
        } else {
            assert_eq!(code, Some(6), "{what}: {said}");
            // The run could not go on, or it is over and its result cannot be looked at.
            let told = |line: &str| line.contains("unreachable: web1: ") && line.contains("apply again");
            let blind = said.contains("web1 cannot be reached") && said.contains("bring it back");
            assert!(said.lines().any(told) || blind, "{what}: names no host or no cure: {said}");
        }
        self.chain.laws(what);
        self.net.cure(&mut self.host, fault);
        self.follows(what, wanted);
    }

    /// Commands tell the truth, the next `apply` converges, nothing is left behind.
    #[track_caller]
    fn follows(&mut self, what: &str, wanted: &str) {
        self.chain.laws(what);
        self.chain.truthful(Plot::Good, what, wanted);
        self.chain.laws(what);
        self.chain.converge(Plot::Good, what);
        self.chain.settled(Plot::Good, what);
        self.chain.ran(wanted);
        until("no agent is left behind", || self.host.agents().is_empty());
        self.cases += 1;
    }
}

/// Around these kinds of steps, before the effect and after it.
fn play(fault: Fault, kinds: &[&str]) {
    let mut line = Line::new();
    let all = if long() { DEPLOYMENT } else { kinds };
    for (i, kind) in all.iter().enumerate() {
        for (j, place) in ["run.after-intent", "run.after-effect"].iter().enumerate() {
            if long() || (i + j) % 2 == 0 {
                line.case(fault, &format!("{place}@{kind}"));
            }
        }
    }
    assert!(line.cases >= kinds.len());
}

#[test]
fn the_cable_is_cut() {
    play(Fault::Cable, &["fetch", "switch", "health"]);
}

#[test]
fn everything_is_swallowed() {
    play(Fault::Blackhole, &["upload", "migrate", "confirm"]);
}

#[test]
fn the_connection_is_reset() {
    play(Fault::Reset, &["extract", "seal", "reload", "prune"]);
}

#[test]
fn sshd_is_killed() {
    play(Fault::Sshd, &["verify", "gate", "maintenance", "watch"]);
}

#[test]
fn the_agent_is_killed() {
    play(Fault::Agent, &["link", "hook", "grace", "assets"]);
}

#[test]
fn the_controller_is_killed() {
    let mut line = Line::new();
    let kinds = if long() { DEPLOYMENT } else { &["health-before", "upload", "migrate", "switch", "confirm"] };
    for kind in kinds {
        line.dies(&format!("run.after-intent@{kind}"));
        line.dies(&format!("run.after-effect@{kind}"));
    }
}

/// Places of the agent at which its effect is half done.
const MIDDLE: &[&str] = &[
    "host.upload.mid-blob",
    "host.extract.mid-tree",
    "host.extract.after-rename",
    "host.hook.after-run",
    "host.seal.after-manifest",
    "host.switch.after-arm",
    "host.switch.after-rename",
    "host.confirm.before-record",
    "host.confirm.after-record",
];

#[test]
fn the_way_is_lost_in_the_middle_of_an_effect() {
    let faults = [Fault::Cable, Fault::Reset, Fault::Sshd, Fault::Blackhole, Fault::Agent];
    let mut line = Line::new();
    for (i, place) in MIDDLE.iter().enumerate() {
        for (j, fault) in faults.iter().enumerate() {
            if long() || (i % 2 == 0 && j == i / 2) {
                line.middle(*fault, place);
            }
        }
    }
}
