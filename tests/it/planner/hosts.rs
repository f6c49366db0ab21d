//! Several hosts: batches, barriers, hosts that are away.

use insta::assert_snapshot;
use soll::model::desired::{Batch, Environment, Phase, Strategy, Unreachable};
use soll::model::record::Migration;

use super::compact;
use crate::support::states::*;

fn pair(desired: char) -> Environment {
    let mut env = environment("production", desired);
    env.targets = vec![target("web1"), target("web2")];
    env
}

#[test]
fn all_at_once_switches_together_after_all_are_ready() {
    let mut env = pair('b');
    env.hooks = vec![hook(Phase::Migrate, "migrate")];
    let host = Host::running(&env, 'a');
    let case = Case::new(&env, &[("web1", &host), ("web2", &host)]);
    assert_snapshot!("two_hosts_at_once", compact(&case.env("production")));
}

#[test]
fn rolling_judges_a_batch_before_the_next_one() {
    let mut env = pair('b');
    env.strategy = Strategy::Rolling { batch: Batch::Hosts(1), max_failures: 0 };
    env.hooks = vec![hook(Phase::MaintenanceOn, "down"), hook(Phase::MaintenanceOff, "up")];
    let host = Host::running(&env, 'a');
    let case = Case::new(&env, &[("web1", &host), ("web2", &host)]);
    assert_snapshot!("two_hosts_rolling", compact(&case.env("production")));
}

#[test]
fn hosts_that_need_different_things_share_one_barrier() {
    let mut env = pair('b');
    env.hooks = vec![hook(Phase::Rollback, "clear"), hook(Phase::PreSwitch, "cache")];
    let old = Host::running(&env, 'a');
    let has = Host::fresh().deployed(&env, 'b', 300).deployed(&env, 'a', 90);
    let case = Case::new(&env, &[("web1", &old), ("web2", &has)]);
    assert_snapshot!("deploy_and_switch", compact(&case.env("production")));
}

#[test]
fn only_the_host_that_differs_takes_part() {
    let env = pair('b');
    let (old, new) = (Host::running(&env, 'a'), Host::running(&env, 'b'));
    let plan = Case::new(&env, &[("web1", &new), ("web2", &old)]).env("production");
    assert_snapshot!("one_of_two", compact(&plan));
}

#[test]
fn a_migration_that_another_host_did_is_not_done_again() {
    let mut env = pair('b');
    env.unreachable = Unreachable::Skip;
    env.hooks = vec![hook(Phase::Migrate, "migrate")];
    // web2 was away when web1 migrated and switched; now it catches up.
    let did = Host::running(&env, 'b').migration(&env, 'b', Migration::Done);
    let late = Host::running(&env, 'a');
    let plan = Case::new(&env, &[("web1", &did), ("web2", &late)]).env("production");
    assert!(plan.steps.iter().any(|s| s.id == "switch:web2"));
    assert!(plan.steps.iter().all(|s| !s.irreversible), "{}", compact(&plan));
    // And one that is unknown there blocks here.
    let unknown = Host::running(&env, 'b').migration(&env, 'b', Migration::Begun);
    let plan = Case::new(&env, &[("web1", &unknown), ("web2", &late)]).env("production");
    assert_snapshot!("migration_unknown_elsewhere", compact(&plan));
}

#[test]
fn a_host_that_is_away_blocks_or_is_skipped() {
    let mut env = pair('b');
    let host = Host::running(&env, 'a');
    let plan = |env: &Environment| Case::new(env, &[("web1", &host)]).unreachable("production", "web2");
    assert_snapshot!("unreachable_block", compact(&plan(&env).env("production")));
    env.unreachable = Unreachable::Skip;
    assert_snapshot!("unreachable_skip", compact(&plan(&env).env("production")));
}

#[test]
fn a_host_that_nobody_looked_at_is_not_in_sync() {
    let env = pair('a');
    let plan = Case::new(&env, &[("web1", &Host::running(&env, 'a'))]).env("production");
    assert_snapshot!("not_looked_at", compact(&plan));
}
