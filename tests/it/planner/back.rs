//! The way back.

use insta::assert_snapshot;
use soll::model::desired::{EnvFailure, OnFailure, Phase};
use soll::plan::back::{Cause, Host, back};

use super::steps;
use crate::support::states::{environment, hook, host_name, release, sha};

fn host(name: &str, switched: bool, confirmed: Option<char>, closed: bool) -> Host {
    let confirmed = confirmed.map(|digit| (release(digit, 90), Some(sha(digit))));
    Host {
        name: host_name(name),
        switched,
        confirmed,
        activation: Default::default(),
        closed,
        drained: Default::default(),
    }
}

fn cause(on_failure: OnFailure) -> Cause {
    Cause { on_failure, reason: "check `health` on web1: 503".to_owned(), revert: None, verdict: None }
}

fn plan(environment: &soll::model::desired::Environment, hosts: &[Host], cause: &Cause) -> String {
    let plan = back(environment, hosts, cause);
    soll::plan::graph::check(&plan).unwrap();
    steps(&plan)
}

#[test]
fn who_was_switched_returns_and_is_judged_then_the_state_says_so() {
    let mut env = environment("production", 'b');
    env.health.grace = std::time::Duration::from_secs(15);
    env.hooks =
        vec![hook(Phase::Rollback, "clear"), hook(Phase::Rollback, "reload"), hook(Phase::MaintenanceOff, "up")];
    let hosts = [host("web1", true, Some('a'), true), host("web2", false, Some('a'), true)];
    let cause = Cause { revert: Some((sha('b'), sha('a'))), ..cause(OnFailure::Rollback) };
    assert_snapshot!("back_rollback", plan(&env, &hosts, &cause));
    // A failure that only aborts leaves a host alone that was not switched, but opens it again.
    assert_snapshot!("back_abort", plan(&env, &hosts[1..], &self::cause(OnFailure::Abort)));
    assert_eq!(plan(&env, &[host("web2", false, Some('a'), false)], &self::cause(OnFailure::Abort)), "");
}

#[test]
fn what_is_held_or_has_no_way_back_stays_and_is_opened() {
    let mut env = environment("production", 'b');
    env.hooks = vec![hook(Phase::Rollback, "clear"), hook(Phase::MaintenanceOff, "up")];
    let nothing = [host("web1", true, None, true)];
    assert_snapshot!("back_nothing_confirmed", plan(&env, &nothing, &cause(OnFailure::Rollback)));
    env.on_failure = EnvFailure::Hold;
    let held = [host("web1", true, Some('a'), false)];
    assert_snapshot!("back_hold", plan(&env, &held, &cause(OnFailure::Rollback)));
}
