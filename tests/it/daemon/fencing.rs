//! Two loops over the same roots, one that is frozen, and one that is killed (laws 3 and 6).

use rustix::process::Signal;

use super::state::Yard;
use crate::support::site::{sha, until};

const QUICK: &[(&str, &str)] = &[("SOLL_POLL", "200ms")];

#[test]
fn two_loops_never_both_act() {
    let mut yard = Yard::new().slow_hook("prepare").env("web", 1, "").env("api", 1, "");
    yard.let_go();
    yard.commit();
    let other = yard.site.at("other");
    let one = yard.site.daemon(&[], QUICK);
    let two = yard.site.daemon(&[], &[("SOLL_POLL", "200ms"), ("SOLL_STATE_DIR", &other)]);
    for n in 1..=5 {
        yard.set("api", n, "");
        yard.release("web", n);
        one.until("both converge", || yard.runs("web", n) && yard.runs("api", n));
    }
    for env in ["web", "api"] {
        let shas = yard.site.read(&format!("{env}.prepare"));
        let want: Vec<_> = (1..=5).map(sha).collect();
        assert_eq!(shas.lines().collect::<Vec<_>>(), want, "{}\n{}", one.text(), two.text());
    }
    assert_eq!(one.stop().0, Some(0));
    assert_eq!(two.stop().0, Some(0));
}

#[test]
fn one_that_was_frozen_finds_itself_fenced() {
    let yard = Yard::new().slow_hook("prepare").env("web", 1, "deadline = \"1s\"");
    yard.commit();
    let frozen = yard.site.daemon(&[], QUICK);
    yard.begins("web", "prepare", 1);
    frozen.signal(Signal::STOP);
    // The hook ends after the lease: the agent finishes its effect, then lets go. Time itself is what is tested here.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    yard.let_go();
    let other = yard.site.at("other");
    let next = yard.site.daemon(&[], &[("SOLL_POLL", "200ms"), ("SOLL_STATE_DIR", &other)]);
    next.until("another one takes over", || yard.runs("web", 1));
    let record = yard.site.record("web");
    frozen.signal(Signal::CONT);
    frozen.says("does not hold this root");
    frozen.says("web: in sync");
    let after = yard.site.record("web");
    assert_eq!((record.confirmed, record.epoch), (after.confirmed, after.epoch), "its late effects were refused");
    assert_eq!(yard.began("web", "prepare"), 2);
    assert_eq!(yard.results("web"), ["error"], "{}", frozen.text());
    assert_eq!(next.stop().0, Some(0));
    assert_eq!(frozen.stop().0, Some(0));
}

#[test]
fn a_host_that_hears_nobody_goes_back_and_the_second_time_condemns() {
    // Long enough to be killed in, and nothing in it that an agent would have to finish first.
    let grace = "deadline = \"1s\"\n[environments.web.health]\ngrace = \"@\"\nattempts = 1";
    let (none, long) = (grace.replace('@', "0s"), grace.replace('@', "1m"));
    let mut yard = Yard::new().env("web", 1, &none);
    yard.commit();
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.until("the first commit", || yard.results("web") == ["succeeded"]);
    daemon.kill();
    yard.set("web", 2, &long);
    yard.commit();
    for life in 1..=2 {
        let daemon = yard.site.daemon(&[], QUICK);
        daemon.until("the switch", || yard.site.record("web").probation.is_some() && yard.site.live("web") == sha(2));
        daemon.kill();
        until("the host goes back", || yard.runs("web", 1));
        let plan = yard.site.soll(&["plan"]).expect(0);
        assert!(plan.out.contains("went back by itself"), "life {life}: {}", plan.out);
        yard.site.soll(&["status"]).expect(0);
    }
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.says("is quarantined");
    assert!(yard.runs("web", 1));
    assert_eq!(daemon.stop().0, Some(0));
    assert_eq!(yard.results("web"), ["succeeded", "interrupted", "interrupted"]);
}
