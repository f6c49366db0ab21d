//! The same deaths around units: at the end the process runs the release that `current` leads to, whoever died. systemd is
//! played by a program of its own that starts real processes, so that nothing of this machine is touched.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::chain::{Chain, Dies, Plot};
use crate::support::site::until;

/// Its unit stands in `current`, and does not start with a release that is bad.
const SYSTEMCTL: &str = r#"#!/bin/sh
cd $DIR/unit
# What is said of it changes at once.
becomes() { echo "InvocationID=$1 ActiveState=$2 MainPID=$3 Result=$4" | tr ' ' '\n' > next && mv next state; }
case $1 in
    show)
        printf 'LoadState=loaded\nSubState=played\nType=simple\nNRestarts=0\nNeedDaemonReload=no\n'
        cat state
        ;;
    stop)
        # One that comes back at once.
        test -e stuck && exit 0
        kill -9 $(cat pid) 2> /dev/null
        becomes $(wc -l < starts) inactive 0 success
        ;;
    restart)
        kill -9 $(cat pid) 2> /dev/null
        echo . >> starts
        start=$(wc -l < starts)
        if grep -q bad $DIR/web/current/index.html; then
            becomes $start failed 0 exit-code
        else
            (cd $DIR/web/current && SOLL_ROOT=$DIR/web exec setsid sleep 300 > /dev/null 2>&1 < /dev/null) &
            echo $! > pid
            becomes $start active $! success
        fi
        ;;
esac
"#;

/// A chain whose root is run by a unit.
fn chain() -> Chain {
    let mut chain = Chain::bare();
    chain.more = "unit = \"app.service\"\nsettle = \"1ms\"".to_owned();
    chain.site.write("unit/state", "InvocationID=\nActiveState=inactive\nMainPID=0\nResult=success\n");
    chain.site.write("unit/pid", "");
    chain.site.write("sbin/systemctl", &SYSTEMCTL.replace("$DIR", chain.site.at("").trim_end_matches('/')));
    fs::set_permissions(chain.site.path("sbin/systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
    let enter = format!("mount --bind {} /usr/local/sbin && exec \"$@\"", chain.site.at("sbin"));
    chain.site.inside = ["unshare", "--mount", "sh", "-c", &enter, "sh"].map(str::to_owned).to_vec();
    let chain = chain.begun();
    active(&chain, "the first deployment");
    chain
}

/// The directory in which the process of the unit stands.
fn stands(chain: &Chain) -> Option<String> {
    let pid = chain.site.read("unit/pid");
    let cwd = fs::read_link(format!("/proc/{}/cwd", pid.trim())).ok()?;
    Some(cwd.file_name()?.to_str()?.to_owned())
}

/// It runs what `current` leads to.
#[track_caller]
fn active(chain: &Chain, what: &str) {
    let current = chain.current().map(|release| release.to_string());
    assert_eq!(stands(chain), current, "{what}: {}", chain.site.read("unit/state"));
}

fn play(plot: Plot, cases: &[(Dies, String)]) {
    let mut chain = chain();
    for (dies, fault) in cases {
        chain.case(plot, *dies, fault);
        active(&chain, &format!("{plot:?}, {dies:?} at {fault}"));
    }
}

/// Every place around a step, at its first or second passage; the ways of dying take turns.
fn around(kind: &str, passage: u32) -> Vec<(Dies, String)> {
    let place = |place: &str| format!("{place}@{kind}@{passage}");
    let dies = [Dies::Controller, Dies::Both].into_iter().cycle();
    dies.zip(soll::fault::STEP.iter().map(|name| place(name))).collect()
}

#[test]
fn around_an_activation() {
    play(Plot::Good, &around("activate", 1));
}

#[test]
fn around_the_activation_of_a_way_back() {
    let mut cases = around("rollback", 1);
    cases.extend(around("activate", 2));
    play(Plot::Bad, &cases);
}

#[test]
fn the_agent_in_an_activation() {
    let agent =
        |places: &[&str]| places.iter().map(|p| (Dies::Agent, format!("host.activate.{p}"))).collect::<Vec<_>>();
    play(Plot::Good, &agent(&["before-unit", "after-units"]));
    // Forward it fails as it starts: the second unit that starts is that of the way back.
    play(Plot::Bad, &agent(&["before-unit@2", "after-units", "before-record", "after-record"]));
}

/// Nobody takes over: the agent goes back alone, and what it is back at runs; so it does where it dies on the way.
#[test]
fn a_host_alone_activates_what_it_goes_back_to() {
    let mut chain = chain();
    let short = format!("{}\ndeadline = \"1s\"", chain.more);
    for (i, place) in
        ["", "host.go-back.after-link", "host.go-back.after-units", "host.go-back.after-hooks"].iter().enumerate()
    {
        chain.more = format!("{short}\nvariables = {{ turn = \"{i}\" }}");
        chain.next(Plot::Good);
        let old = chain.record().confirmed.unwrap().release;
        let fault = format!("run.after-result@activate,{place}");
        let first = chain.site.with(&["apply"], &[("SOLL_FAULT", &fault)]);
        assert_eq!(first.signal, Some(9), "{fault}: {first:?}");
        assert_ne!(stands(&chain), Some(old.to_string()), "{place}: the new one ran");
        if !place.is_empty() {
            until("the agent dies", || chain.site.agents().is_empty());
            until("the lease is over", || {
                chain.site.soll(&["apply"]);
                chain.record().probation.is_none()
            });
        } else {
            until("the host goes back", || chain.record().probation.is_none());
            assert_eq!(chain.current(), Some(old), "{place}");
        }
        active(&chain, place);
        chain.converge(Plot::Good, place);
        active(&chain, place);
    }
}

/// Stopped before the migration, it runs again whoever dies: with the new release, and with the old one where the migration
/// says no.
fn draining() -> Chain {
    let mut chain = chain();
    chain.more = "units = [{ name = \"app.service\", drain = true }]\nsettle = \"1ms\"".to_owned();
    chain
}

#[test]
fn around_the_rest_of_a_worker() {
    let mut chain = draining();
    for plot in [Plot::Good, Plot::Unmigrated] {
        let agent = ["after-record", "after-units"].map(|place| (Dies::Agent, format!("host.drain.{place}")));
        for (dies, fault) in around("drain", 1).into_iter().chain(agent) {
            chain.case(plot, dies, &fault);
            active(&chain, &format!("{plot:?}, {dies:?} at {fault}"));
        }
    }
    // On the way back, nothing having moved.
    for (dies, fault) in around("activate", 1) {
        chain.case(Plot::Unmigrated, dies, &fault);
        active(&chain, &format!("{dies:?} at {fault}"));
    }
}

/// The worker of the release that runs: that it does not rest says nothing about the one that was to come.
#[test]
fn a_worker_that_does_not_rest_condemns_nobody() {
    let mut chain = draining();
    chain.next(Plot::Good);
    chain.site.write("unit/stuck", "");
    let failed = chain.site.soll(&["apply"]).expect(1);
    assert!(format!("{}{}", failed.out, failed.err).contains("it does not stop"), "{failed:?}");
    assert!(chain.record().quarantined.is_empty(), "{:#?}", chain.record());
    active(&chain, "it goes on");
    fs::remove_file(chain.site.path("unit/stuck")).unwrap();
    chain.converge(Plot::Good, "it rests now");
    active(&chain, "it rests now");
}

#[test]
fn a_host_alone_starts_the_workers_that_rest() {
    let mut chain = draining();
    for place in ["run.after-effect@drain", "run.after-result@drain"] {
        chain.more = format!("{}\ndeadline = \"1s\"", draining_lines(place));
        chain.next(Plot::Good);
        let first = chain.site.with(&["apply"], &[("SOLL_FAULT", place)]);
        assert_eq!(first.signal, Some(9), "{place}: {first:?}");
        assert_eq!(stands(&chain), None, "{place}: it rests");
        until("the host starts it", || chain.record().closed.is_none());
        active(&chain, place);
        chain.converge(Plot::Good, place);
        active(&chain, place);
    }
}

fn draining_lines(turn: &str) -> String {
    format!(
        "units = [{{ name = \"app.service\", drain = true }}]\nsettle = \"1ms\"\nvariables = {{ turn = \"{turn}\" }}"
    )
}
