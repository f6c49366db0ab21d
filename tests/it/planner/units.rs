//! Units in the plan: what restarts after the link has moved, and what a way back restarts.

use insta::assert_snapshot;
use soll::model::activation::{Activation, Unit};
use soll::model::desired::{Environment, OnFailure, Phase};
use soll::model::record::{Ailing, Record};
use soll::plan::back::{Cause, Host as Returning, back};

use super::{compact, steps};
use crate::support::states::*;

fn unit(name: &str) -> Unit {
    Unit { name: name.to_owned(), user: false }
}

fn with_units(digit: char, names: &[&str]) -> Environment {
    Environment { units: names.iter().map(|name| unit(name)).collect(), ..environment("production", digit) }
}

fn plan(env: &Environment, host: &Host) -> String {
    compact(&Case::new(env, &[("web1", host)]).env("production"))
}

#[test]
fn whatever_moves_the_link_or_changes_what_it_runs_with_restarts_the_units() {
    let mut env = with_units('b', &["storage-{tenant}.service"]);
    env.variables.insert("tenant".to_owned(), "acme".to_owned());
    env.hooks = vec![hook(Phase::PostSwitch, "warm"), hook(Phase::Rollback, "clear")];
    let running = Host::running(&env, 'a');
    assert_snapshot!("units_deploy", plan(&env, &running));
    let there = Host::fresh().deployed(&env, 'b', 300).deployed(&env, 'a', 90);
    assert_snapshot!("units_switch_to", plan(&env, &there));
    assert_snapshot!("units_resume", plan(&env, &Host::running(&env, 'a').switched(&env, 'b', 5)));
    let changed = Host::running(&env, 'b').file(".env", Some("APP_KEY=2"));
    assert_snapshot!("units_reconfigure", plan(&env, &changed));
    // Another unit at the same commit.
    let before = Host::running(&with_units('b', &["storage-acme.service"]), 'b');
    assert_snapshot!("units_other", plan(&with_units('b', &["storage.service"]), &before));
    assert!(
        plan(&env, &Host::running(&env, 'b')).starts_with("GO in-sync"),
        "{}",
        plan(&env, &Host::running(&env, 'b'))
    );
}

#[test]
fn a_service_that_keeps_failing_restarts_without_a_hook_for_that() {
    let env = with_units('a', &["storage.service"]);
    let failing = |env: &Environment| {
        let samples = env.health.failures;
        let ailing = Ailing { release: release('a', 90), since: ago(10), samples };
        Host::running(env, 'a').with(|state| state.record.ailing = Some(ailing))
    };
    assert_snapshot!("units_restart", plan(&env, &failing(&env)));
    let without = environment("production", 'a');
    assert!(!plan(&without, &failing(&without)).contains("confirm"), "{}", plan(&without, &failing(&without)));
}

#[test]
fn a_host_that_is_back_and_has_not_activated_it_is_switched_to_what_it_is_at() {
    let env = with_units('a', &["storage.service"]);
    let host = Host::running(&env, 'a').switched(&env, 'b', 5).with(|state| {
        state.record.probation.as_mut().unwrap().activation = Activation::of(&env, &target("web1"));
        state.record.returning();
        state.current = soll::model::observed::Current::Release(release('a', 90));
    });
    assert_snapshot!("units_returning", plan(&env, &host));
}

#[test]
fn a_way_back_restarts_what_ran_then_and_stops_what_came_with_the_failure() {
    let env = with_units('b', &["storage.service", "mailer.service"]);
    let target = target("web1");
    let old = Activation::of(&with_units('a', &["worker.service", "storage.service"]), &target);
    let confirmed = |activation: &Activation| {
        let Host(state) = Host::running(&env, 'a');
        let mut record: Record = state.record;
        record.confirmed.as_mut().unwrap().activation = activation.clone();
        record
    };
    let found = Activation::back(&env, &target, &confirmed(&old));
    assert_eq!((&found.units, &found.stop), (&old.units, &vec![unit("mailer.service")]));
    // Of a release that was confirmed before there were units, and where there is none: those of now.
    for record in [confirmed(&Activation::default()), Record::default()] {
        let now = Activation::back(&env, &target, &record);
        assert_eq!((now.told().as_str(), now.stop.len()), ("storage.service, mailer.service", 0));
    }
    let env = Environment { hooks: vec![hook(Phase::Rollback, "clear")], ..env };
    let confirmed = Some((release('a', 90), Some(sha('a'))));
    let name = host_name("web1");
    let host =
        Returning { name, switched: true, confirmed, activation: found, closed: false, drained: Activation::default() };
    let cause = Cause { on_failure: OnFailure::Rollback, reason: "503".to_owned(), revert: None, verdict: None };
    assert_snapshot!("units_back", steps(&back(&env, &[host], &cause)));
}

#[test]
fn a_probation_lasts_until_the_units_run_what_is_back() {
    let env = with_units('b', &["storage.service"]);
    let Host(state) = Host::running(&env, 'a').switched(&env, 'b', 5);
    let (mut record, new) = (state.record, release('b', 5));
    record.activated();
    assert!(record.probation.is_some(), "an activation of the way forward ends nothing");
    record.returning();
    assert!(record.probation.as_ref().unwrap().returning && record.releases[&new].failed);
    assert_eq!(record.way_back(), Some(&release('a', 90)));
    let mut lost = record.clone();
    record.activated();
    assert!(record.probation.is_none() && record.returned.is_none());
    // Nobody activated it: the lease says so.
    lost.lease_ran_out(noon());
    assert!(lost.probation.is_none() && lost.returned.is_some());
}

#[test]
fn workers_rest_while_a_migration_runs_and_start_again_where_it_comes_to_nothing() {
    let units = with_units('b', &["web.service", "worker-{tenant}.service"]);
    let mut env = Environment { drains: vec![unit("worker-{tenant}.service")], ..units };
    env.variables.insert("tenant".to_owned(), "acme".to_owned());
    env.hooks =
        vec![hook(Phase::MaintenanceOn, "down"), hook(Phase::Migrate, "migrate"), hook(Phase::MaintenanceOff, "up")];
    assert_snapshot!("units_drain", plan(&env, &Host::running(&env, 'a')));
    // Nothing runs yet, or nothing is migrated: nobody is in the way.
    for (env, host) in [
        (env.clone(), Host::fresh()),
        (Environment { hooks: Vec::new(), ..env.clone() }, Host::running(&env, 'a')),
        (env.clone(), Host::fresh().deployed(&env, 'b', 300).deployed(&env, 'a', 90)),
    ] {
        assert!(!plan(&env, &host).contains("drain"), "{}", plan(&env, &host));
    }
    let drained = Activation::drained(&env, &target("web1"));
    assert_eq!(drained.told(), "worker-acme.service");
    let confirmed = Some((release('a', 90), Some(sha('a'))));
    let name = host_name("web1");
    let host = Returning { name, switched: false, confirmed, activation: Activation::default(), closed: true, drained };
    let cause = Cause { on_failure: OnFailure::Rollback, reason: "no".to_owned(), revert: None, verdict: None };
    assert_snapshot!("units_drained_back", steps(&back(&env, &[host], &cause)));
}
