//! Several hosts: batches, barriers, hosts that are away.

use std::time::Duration;

use insta::assert_snapshot;
use soll::model::desired::backup::{Cron, Keep};
use soll::model::desired::{Backup, Batch, Environment, Phase, Strategy, Unreachable};
use soll::model::ids::Digest;
use soll::model::machine::{Machine, NotedBy, OtherMachine};
use soll::model::observed::HostObserved;
use soll::model::record::Migration;
use soll::plan::{Code, Verdict};

use super::compact;
use crate::support::states::*;

fn rolling(batch: Batch, max_failures: u32) -> Strategy {
    Strategy::Rolling { batch, max_failures, pause: Duration::ZERO }
}

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
    env.strategy = rolling(Batch::Hosts(1), 0);
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

/// So many hosts, and nothing but a switch and a check on each.
fn fleet(hosts: usize, strategy: Strategy) -> Environment {
    let mut env = environment("production", 'b');
    env.targets = (1..=hosts).map(|n| target(&format!("web{n}"))).collect();
    env.gates.clear();
    env.strategy = strategy;
    env
}

fn of(hosts: &[(String, Host)]) -> Vec<(&str, &Host)> {
    hosts.iter().map(|(name, host)| (name.as_str(), host)).collect()
}

#[test]
fn a_quarter_of_eight_hosts_at_a_time_with_a_pause_between_them() {
    let strategy = Strategy::Rolling { batch: Batch::Percent(25), max_failures: 1, pause: Duration::from_secs(30) };
    let mut env = fleet(8, strategy);
    env.hooks = vec![hook(Phase::Migrate, "migrate")];
    let hosts: Vec<_> = (1..=8).map(|n| (format!("web{n}"), Host::running(&env, 'a'))).collect();
    let plan = Case::new(&env, &of(&hosts)).env("production");
    assert_snapshot!("eight_hosts_rolling", compact(&plan));
}

#[test]
fn a_host_that_failed_alone_is_left_behind_and_the_others_go_on() {
    let env = fleet(3, rolling(Batch::Hosts(1), 1));
    let (new, old) = (Host::running(&env, 'b'), Host::running(&env, 'a'));
    let failed = old.clone().failed_alone(&env, 'b');
    let plan = |env: &Environment, hosts: [&Host; 3]| {
        Case::new(env, &[("web1", hosts[0]), ("web2", hosts[1]), ("web3", hosts[2])]).env("production")
    };
    assert_snapshot!("left_behind", compact(&plan(&env, [&new, &failed, &old])));
    // Nothing is left to do but that one: out of sync, and in nobody's way but its own.
    assert_snapshot!("left_behind_at_rest", compact(&plan(&env, [&new, &failed, &new])));
    // While it is on probation it goes back before anything else.
    let caught = Host::running(&env, 'a').switched(&env, 'b', 1).failed_alone(&env, 'b');
    assert_snapshot!("left_behind_on_probation", compact(&plan(&env, [&new, &caught, &old])));
    // One too many, or a strategy that spares nobody, and it is a verdict on the release.
    assert_snapshot!("left_behind_too_many", compact(&plan(&env, [&old, &failed, &failed])));
    let strict = Environment { strategy: rolling(Batch::Hosts(1), 0), ..env.clone() };
    assert_eq!(plan(&strict, [&new, &failed, &old]).blocking().count(), 1);
    // One that all hosts were told outranks what one was told alone.
    let told = failed.clone().failed(&env, 'b');
    let plan = plan(&env, [&old, &told, &failed]);
    assert!(plan.blocking().next().is_some(), "{}", compact(&plan));
}

#[test]
fn another_machine_is_no_host_and_stops_only_those_who_want_all() {
    let other = OtherMachine {
        known: Machine { id: Digest::of(b"one"), since: ago(60) },
        by: NotedBy::Controller,
        found: Some(Digest::of(b"two")),
    };
    let plan = |env: &Environment| {
        Case::new(env, &[("web1", &Host::running(env, 'a'))])
            .unreachable("production", "web2")
            .seen("production", |seen| seen.other_machines = [(host_name("web2"), other.clone())].into())
            .env("production")
    };
    let env = pair('b');
    let strict = plan(&env);
    let found: Vec<_> = strict.blocking().map(|blocker| blocker.code).collect();
    assert_eq!((strict.verdict, found), (Verdict::NoGo, vec![Code::OtherMachine]), "{}", compact(&strict));
    let blocker = strict.blocking().next().unwrap();
    assert!(blocker.message.starts_with("web2: another machine answers under this name"), "{}", blocker.message);
    assert!(blocker.fix.contains("`soll acknowledge --host web2`"), "{}", blocker.fix);
    // Who goes on without hosts that are away goes on without this one, and says so.
    let lenient = plan(&Environment { unreachable: Unreachable::Skip, ..env });
    assert_eq!(lenient.verdict, Verdict::Go);
    assert!(lenient.steps.iter().all(|step| step.host.as_ref() != Some(&host_name("web2"))));
    assert!(lenient.blockers.iter().any(|b| b.code == Code::OtherMachine), "{}", compact(&lenient));
}

#[test]
fn in_pull_mode_one_host_is_planned_and_the_others_are_named() {
    let mut env = fleet(2, rolling(Batch::Hosts(1), 1));
    env.hooks = vec![hook(Phase::Migrate, "migrate")];
    let whole = Case::new(&env, &[]).desired;
    let plan = |name: &str, done: Option<Migration>| {
        let pulled = whole.clone().pulled(&host_name(name));
        let mine = pulled.environments[&env.name].clone();
        assert_eq!(mine.targets.len(), 1);
        assert_eq!(mine.targets[0].address, soll::model::desired::Address::Local);
        let mut case = Case::new(&mine, &[(name, &Host::running(&env, 'a'))]).seen("production", |seen| {
            let web1 = |done| Host::running(&env, 'a').migration(&env, 'b', done).0;
            let published = done.map(|done| HostObserved::Reached(Box::new(web1(done))));
            seen.elsewhere = published.map(|web1| (host_name("web1"), web1)).into_iter().collect();
        });
        case.desired = pulled;
        case.env("production")
    };
    assert_snapshot!("pull_first", compact(&plan("web1", None)));
    assert_snapshot!("pull_second_blind", compact(&plan("web2", None)));
    let seen = plan("web2", Some(Migration::Done));
    assert!(seen.blocking().next().is_none(), "{}", compact(&seen));
    for not_yet in [Migration::Begun, Migration::Failed] {
        let plan = plan("web2", Some(not_yet));
        assert!(plan.blocking().any(|b| b.message.contains("has not migrated bbbbbbbb yet")), "{}", compact(&plan));
        assert!(plan.steps.iter().all(|step| !step.irreversible));
    }
}

/// The data are on the first host, and it saves them: the others have nothing that could be due, by a schedule or before a
/// deployment.
#[test]
fn in_pull_mode_the_first_host_saves_and_the_others_do_not() {
    let mut env = fleet(2, rolling(Batch::Hosts(1), 1));
    env.backups = vec![Backup {
        name: "nightly".to_owned(),
        schedule: Some(Cron { line: "0 2 * * *".to_owned(), zone: "UTC".to_owned() }),
        zone: "UTC".to_owned(),
        pre_deploy: true,
        keep: Keep::default(),
        max_shrink: 50,
        compress: soll::model::backup::name::Compression::Gzip,
        encrypt: Vec::new(),
        identity: None,
        limit: None,
        ping: None,
        restore_test: None,
        databases: Vec::new(),
        files: Vec::new(),
        targets: Vec::new(),
    }];
    let whole = Case::new(&env, &[]).desired;
    for (name, told, saves) in [
        ("web1", "due now; there is no good one yet", true),
        ("web2", "made on the first host of the environment, which looks after itself", false),
    ] {
        let pulled = whole.clone().pulled(&host_name(name));
        let mut case = Case::new(&pulled.environments[&env.name], &[(name, &Host::running(&env, 'a'))]);
        case.desired = pulled;
        let plan = case.env("production");
        assert_eq!(plan.backups[0].told(), told);
        assert_eq!(plan.steps.iter().any(|step| step.id.starts_with("backup:")), saves, "{}", compact(&plan));
    }
}
