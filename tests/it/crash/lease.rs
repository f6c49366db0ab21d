//! Nobody takes over: the host goes back by itself, once as an error, twice as a verdict (law 6).

use soll::fault;

use super::chain::{Chain, Dies, Plot, ROOT};
use crate::support::site::until;

const SHORT: &str = "deadline = \"1s\"";

/// The controller dies after the switch; its agent goes back when the lease is over.
fn abandon(chain: &mut Chain, fault: &str) -> String {
    let wanted = chain.next(Plot::Good);
    let first = chain.site.with(&["apply"], &[("SOLL_FAULT", fault)]);
    assert_eq!(first.signal, Some(9), "{fault}: {first:?}");
    wanted
}

#[test]
fn the_host_goes_back_by_itself_and_the_second_time_is_a_verdict() {
    let mut chain = Chain::new();
    chain.more = SHORT.to_owned();
    let wanted = abandon(&mut chain, "run.after-result@switch");
    let old = chain.record().confirmed.unwrap();
    until("the host goes back", || chain.record().probation.is_none());
    chain.laws("after the first lease");
    assert_eq!(chain.current(), Some(old.release.clone()));
    assert_eq!(chain.site.read("back").lines().last(), old.sha.as_ref().map(|sha| sha.as_str()), "its rollback hook");
    let plan = chain.site.soll(&["plan"]).expect(0);
    assert!(plan.out.contains("went back by itself"), "{}", plan.out);
    let status = chain.site.soll(&["status"]).expect(0);
    assert!(status.out.contains("interrupted") || status.out.contains("died in it"), "{}", status.out);

    // An error is tried again; dying again in the same case is a verdict.
    let again = chain.site.with(&["apply"], &[("SOLL_FAULT", "run.after-result@switch")]);
    assert_eq!(again.signal, Some(9), "{again:?}");
    until("the host goes back again", || chain.record().probation.is_none());
    chain.laws("after the second lease");
    let blocked = chain.site.soll(&["apply"]).expect(7);
    assert!(blocked.out.contains("no controller was heard"), "{}", blocked.out);
    let status = chain.site.soll(&["status", "--output", "json"]).expect(0).json();
    assert_eq!(status["environments"][0]["quarantined"][0]["key"]["sha"], wanted, "{status:#}");
    chain.site.soll(&["retry", "web"]).expect(0);
    chain.site.soll(&["apply"]).expect(0);
    chain.settled(Plot::Good, "after a person's word");
}

/// The agent dies on its own way back; whoever comes next makes the host go back, whatever stands in the way of a plan.
#[test]
fn an_agent_that_dies_going_back_is_relieved() {
    let mut chain = Chain::new();
    for (i, place) in fault::HOST.iter().filter(|place| place.starts_with("host.go-back.")).enumerate() {
        chain.more = format!("{SHORT}\nvariables = {{ turn = \"{i}\" }}");
        let both = format!("run.after-result@switch,{place}");
        let wanted = abandon(&mut chain, &both);
        let old = chain.record().confirmed.unwrap().release;
        until("the agent dies", || chain.site.agents().is_empty());
        chain.laws(place);
        // Frozen meanwhile: the way back is nobody's plan, and happens all the same.
        chain.more += "\nfrozen = \"an incident\"";
        chain.again(&wanted);
        until("the lease is over and the host is relieved", || {
            let code = chain.site.soll(&["apply"]).code;
            assert!(code == Some(4), "{place}: {code:?}");
            chain.record().probation.is_none()
        });
        chain.laws(place);
        assert_eq!(chain.current(), Some(old), "{place}");
        chain.more = format!("{SHORT}\nvariables = {{ turn = \"{i}\" }}");
        chain.again(&wanted);
        chain.site.soll(&["apply"]).expect(0);
        chain.settled(Plot::Good, place);
    }
}

/// Nobody is left at all while a release goes back. The verdict is recorded with the return, by one change of the record: a
/// host that has not gone back is judged again, and one that has knows why, so that nothing is deployed again and again.
#[test]
fn a_verdict_goes_with_the_way_back_whoever_dies_on_it() {
    let places = [
        "run.after-turned-back",
        "host.return.before-link",
        "host.return.after-link",
        "host.return.after-record",
        "run.before-quarantine",
    ];
    for place in places {
        let mut chain = Chain::new();
        let old = chain.record().confirmed.unwrap().release;
        let bad = chain.next(Plot::Bad);
        chain.site.with(&["apply"], &[("SOLL_FAULT", place)]);
        chain.site.kill_agents();
        let record = chain.record();
        let knows = record.quarantined.iter().any(|q| q.verdict && q.key.sha.as_str() == bad);
        assert_eq!(
            knows,
            record.probation.is_none(),
            "{place}: back without the reason, or the reason without the way: {record:?}"
        );
        let next = chain.site.soll(&["apply"]).expect(if knows { 7 } else { 3 });
        assert!(knows || next.out.contains("rolled-back"), "{place}: {}", next.out);
        assert_eq!(chain.current(), Some(old), "{place}");
        let releases =
            record.releases.values().filter(|release| release.sha.as_ref().is_some_and(|sha| sha.as_str() == bad));
        assert_eq!(releases.count(), 1, "{place}: it was deployed again");
        chain.site.soll(&["apply"]).expect(7);
        assert_eq!(chain.site.record(ROOT).quarantined.len(), 1, "{place}");
        chain.case(Plot::Good, Dies::Both, "run.after-intent@confirm");
    }
}

/// The run dies while the site is closed, before anything is switched, and its commit is taken back: there is nothing
/// left to do, but for the door.
#[test]
fn a_closed_door_is_opened_by_whoever_is_left() {
    let closed = |chain: &Chain| chain.site.read("maintenance").lines().last() == Some("on");
    for (dies, agents_live) in [(Dies::Controller, true), (Dies::Both, false)] {
        let mut chain = Chain::new();
        let old = chain.record().confirmed.unwrap().sha.unwrap().to_string();
        chain.more = if agents_live { SHORT.to_owned() } else { String::new() };
        let first = {
            chain.next(Plot::Good);
            chain.site.with(&["apply"], &[("SOLL_FAULT", "run.after-result@migrate")])
        };
        assert_eq!(first.signal, Some(9), "{dies:?}: {first:?}");
        assert!(closed(&chain) && chain.record().closed.is_some(), "{dies:?}: it was closed");
        if agents_live {
            until("the host opens it by itself", || chain.record().closed.is_none());
        } else {
            chain.site.kill_agents();
            let plan = chain.site.soll(&["plan"]).expect(0);
            assert!(plan.out.contains("is closed for maintenance since"), "{}", plan.out);
            chain.again(&old);
            chain.site.soll(&["apply"]).expect(0);
        }
        assert!(!closed(&chain), "{dies:?}: it stays closed");
        assert_eq!(chain.record().closed, None, "{dies:?}");
        chain.again(&old);
        chain.site.soll(&["apply"]).expect(0);
        assert_eq!(chain.site.live(ROOT), old);
    }
}
