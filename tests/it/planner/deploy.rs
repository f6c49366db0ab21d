//! One host: what it runs against what it should run.

use insta::assert_snapshot;
use soll::journal::FailureClass;
use soll::journal::consequence::tolerated;
use soll::model::desired::{Before, DriftPolicy, Emergency, Gate, Phase};
use soll::model::observed::{Current, DriftKind};
use soll::model::record::Migration;

use super::compact;
use crate::support::states::*;

#[test]
fn first_deploy_on_a_fresh_root() {
    let mut env = environment("production", 'b');
    env.hooks = vec![hook(Phase::MaintenanceOn, "down"), hook(Phase::PostSwitch, "reload"), hook(Phase::After, "warm")];
    assert_snapshot!("first_deploy", compact(&Case::new(&env, &[("web1", &Host::fresh())]).env("production")));
}

#[test]
fn what_runs_as_desired_needs_nothing() {
    let env = environment("production", 'a');
    let host = Host::running(&env, 'a');
    assert_snapshot!("in_sync", compact(&Case::new(&env, &[("web1", &host)]).env("production")));
}

#[test]
fn a_newer_commit_is_deployed_with_every_phase_in_its_order() {
    let mut env = environment("production", 'b');
    env.health.grace = std::time::Duration::from_secs(15);
    let phases = [
        (Phase::Prepare, "install"),
        (Phase::MaintenanceOn, "down"),
        (Phase::Migrate, "migrate"),
        (Phase::PreSwitch, "cache"),
        (Phase::PostSwitch, "clear"),
        (Phase::PostSwitch, "reload"),
        (Phase::MaintenanceOff, "up"),
        (Phase::Verify, "smoke"),
        (Phase::After, "announce"),
        (Phase::Rollback, "clear"),
    ];
    env.hooks = phases.map(|(phase, name)| hook(phase, name)).to_vec();
    let host = Host::running(&env, 'a');
    assert_snapshot!("newer_sha", compact(&Case::new(&env, &[("web1", &host)]).env("production")));
}

#[test]
fn gates_are_asked_side_by_side_and_what_follows_waits_for_all() {
    let mut env = environment("production", 'b');
    let gate = env.gates[0].clone();
    env.gates =
        ["index", "artisan", "vendor", "autoload"].map(|name| Gate { name: name.to_owned(), ..gate.clone() }).to_vec();
    let host = Host::running(&env, 'a');
    assert_snapshot!("several_gates", compact(&Case::new(&env, &[("web1", &host)]).env("production")));
    // One that an emergency skips leaves no hole.
    let (release, reason) = (sha('b'), "a hotfix".to_owned());
    env.emergency = Some(Emergency { release, reason, skip: vec!["autoload".to_owned()] });
    assert_snapshot!("several_gates_but_one", compact(&Case::new(&env, &[("web1", &host)]).env("production")));
}

#[test]
fn a_release_that_is_still_there_is_switched_to() {
    let mut env = environment("production", 'a');
    env.hooks = vec![hook(Phase::Migrate, "migrate"), hook(Phase::Rollback, "clear")];
    let host = Host::fresh().deployed(&env, 'a', 300).deployed(&env, 'b', 90);
    assert_snapshot!("existing_release", compact(&Case::new(&env, &[("web1", &host)]).env("production")));
}

#[test]
fn an_old_release_that_drifted_or_has_other_links_is_staged_anew() {
    let env = environment("production", 'a');
    let host = Host::fresh().deployed(&env, 'a', 300).deployed(&env, 'b', 90);
    let drifted = host.clone().with(|s| s.current = Current::Release(release('a', 300)));
    let drifted =
        drifted.drifted(&[("x", DriftKind::Changed)]).with(|s| s.current = Current::Release(release('b', 90)));
    let relinked = host.with(|s| {
        s.record.releases.get_mut(&release('a', 300)).unwrap().links = Some(soll::model::ids::Digest::of(b"other"));
    });
    for host in [drifted, relinked] {
        let plan = Case::new(&env, &[("web1", &host)]).env("production");
        assert!(plan.steps.iter().any(|s| s.id == "fetch"), "{}", compact(&plan));
    }
}

#[test]
fn a_foreign_release_of_the_desired_commit_is_taken_over_and_switched_to() {
    let env = environment("production", 'b');
    let old = "20251001_080000-bbbbbbb";
    let host = Host::running(&env, 'a').foreign(old);
    assert_snapshot!("foreign_release", compact(&Case::new(&env, &[("web1", &host)]).env("production")));
    // Nothing is confirmed yet: what runs becomes the way back before it is left.
    let host = Host::fresh().foreign(old).foreign("20251030_080000-aaaaaaa").at("20251030_080000-aaaaaaa");
    assert_snapshot!("foreign_root_return", compact(&Case::new(&env, &[("web1", &host)]).env("production")));
}

#[test]
fn a_foreign_current_is_adopted_where_it_is_desired_and_before_it_is_left() {
    let env = environment("production", 'a');
    let host = Host::fresh().foreign("20251030_080000-aaaaaaa").at("20251030_080000-aaaaaaa");
    assert_snapshot!("adopt_desired", compact(&Case::new(&env, &[("web1", &host)]).env("production")));
    let env = environment("production", 'b');
    assert_snapshot!("adopt_then_deploy", compact(&Case::new(&env, &[("web1", &host)]).env("production")));
}

#[test]
fn a_current_switched_by_hand_is_out_of_sync() {
    let env = environment("production", 'b');
    let host = Host::fresh().deployed(&env, 'a', 300).deployed(&env, 'b', 90).at(release('a', 300).as_str());
    assert_snapshot!("hand_switched", compact(&Case::new(&env, &[("web1", &host)]).env("production")));
    // The other way round: the hand switched to what is desired now, and nobody has judged it.
    let env = environment("production", 'a');
    assert_snapshot!("hand_switched_to_desired", compact(&Case::new(&env, &[("web1", &host)]).env("production")));
}

#[test]
fn a_current_that_is_no_release() {
    let env = environment("production", 'a');
    for (name, current) in [
        ("current_missing", Current::Missing),
        ("current_elsewhere", Current::Elsewhere("/srv/old".to_owned())),
        ("current_not_a_link", Current::NotALink),
    ] {
        let host = Host::running(&env, 'a').link(current);
        assert_snapshot!(name, compact(&Case::new(&env, &[("web1", &host)]).env("production")));
    }
}

#[test]
fn a_changed_variable_is_a_change_at_the_same_commit() {
    let mut env = environment("production", 'a');
    env.hooks = vec![hook(Phase::PostSwitch, "reload"), hook(Phase::Migrate, "migrate")];
    let host = Host::running(&env, 'a');
    env.variables.insert("tenant".to_owned(), "other".to_owned());
    assert_snapshot!("variable_changed", compact(&Case::new(&env, &[("web1", &host)]).env("production")));
}

#[test]
fn a_changed_environment_file_is_a_change_at_the_same_commit() {
    let env = environment("production", 'a');
    let host = Host::running(&env, 'a').file(".env", Some("APP_KEY=2"));
    assert_snapshot!("env_file_changed", compact(&Case::new(&env, &[("web1", &host)]).env("production")));
}

#[test]
fn a_changed_shared_path_makes_the_release_anew() {
    let mut env = environment("production", 'a');
    let host = Host::running(&env, 'a');
    let storage = soll::model::desired::Shared { path: "storage".into(), from: "storage".into(), directory: true };
    env.shared.push(storage);
    assert_snapshot!("shared_path_changed", compact(&Case::new(&env, &[("web1", &host)]).env("production")));
}

#[test]
fn drift_is_reported_healed_or_ignored() {
    let mut env = environment("production", 'a');
    let paths = [("public/index.php", DriftKind::Changed), ("shell.php", DriftKind::Added)];
    let host = Host::running(&env, 'a').drifted(&paths);
    for (name, policy) in [
        ("drift_report", DriftPolicy::Report),
        ("drift_heal", DriftPolicy::Heal),
        ("drift_ignore", DriftPolicy::Ignore),
    ] {
        env.drift = policy;
        assert_snapshot!(name, compact(&Case::new(&env, &[("web1", &host)]).env("production")));
    }
}

#[test]
fn a_probation_that_a_dead_run_left_is_judged_and_confirmed() {
    let mut env = environment("production", 'b');
    env.hooks = vec![hook(Phase::PostSwitch, "reload"), hook(Phase::MaintenanceOff, "up")];
    let host = Host::running(&env, 'a').switched(&env, 'b', 1);
    assert_snapshot!("probation_resumed", compact(&Case::new(&env, &[("web1", &host)]).env("production")));
    // A newer commit goes past it.
    let next = soll::model::desired::Environment { release: environment("production", 'c').release, ..env };
    assert_snapshot!("probation_overtaken", compact(&Case::new(&next, &[("web1", &host)]).env("production")));
}

#[test]
fn a_release_that_was_held_is_no_way_back() {
    let env = environment("production", 'b');
    let host = Host::fresh().switched(&env, 'a', 90).with(|s| s.record.hold(s.record.epoch).unwrap());
    let plan = Case::new(&env, &[("web1", &host)]).env("production");
    assert!(plan.steps.iter().all(|s| s.action.kind() != "adopt"), "{}", compact(&plan));
}

#[test]
fn a_migration_runs_until_it_is_done_and_never_while_unknown() {
    let mut env = environment("production", 'b');
    env.hooks = vec![hook(Phase::Migrate, "migrate")];
    for (name, state) in [
        ("migration_begun", Migration::Begun),
        ("migration_done", Migration::Done),
        ("migration_failed", Migration::Failed),
    ] {
        let host = Host::running(&env, 'a').migration(&env, 'b', state);
        assert_snapshot!(name, compact(&Case::new(&env, &[("web1", &host)]).env("production")));
    }
}

#[test]
fn a_migration_under_way_says_who_runs_it() {
    let mut env = environment("production", 'b');
    env.hooks = vec![hook(Phase::Migrate, "migrate")];
    let host = Host::running(&env, 'a').migration(&env, 'b', Migration::Begun).with(|s| {
        let (since, epoch) = (ago(1), s.record.epoch);
        let who = "deploy@ci pid 7, run r1".to_owned();
        s.holder = Some(soll::model::record::Holder { who, since, epoch, pid: 7 });
    });
    let plan = Case::new(&env, &[("web1", &host)]).env("production");
    assert!(plan.blockers[0].message.contains("deploy@ci pid 7, run r1"), "{}", compact(&plan));
    assert!(plan.blockers[0].blocks());
}

#[test]
fn what_runs_and_is_ill_is_no_way_back_and_what_could_not_be_taken_over_stops_the_run() {
    let mut env = environment("production", 'b');
    env.health.before = Before::Warn;
    let host = Host::fresh().foreign("20251001_080000-aaaaaaa").with(|s| {
        s.current = Current::Release("20251001_080000-aaaaaaa".parse().unwrap());
    });
    let plan = Case::new(&env, &[("web1", &host)]).env("production");
    let step = |kind: &str| {
        let found = plan.steps.iter().find(|step| step.action.kind() == kind);
        found.unwrap_or_else(|| panic!("{kind} is not in {}", compact(&plan)))
    };
    let others = [FailureClass::Error, FailureClass::Connection, FailureClass::Stale];
    assert!(tolerated(step("adopt"), FailureClass::Verdict), "the new release may be its cure");
    assert!(others.iter().all(|class| !tolerated(step("adopt"), *class)), "the way back would be missing");
    assert!(others.iter().all(|class| tolerated(step("prune"), *class)));
    for kind in ["adopt", "prune"] {
        assert!(!tolerated(step(kind), FailureClass::Fenced), "{kind}: somebody else has taken over");
    }
    assert!(!tolerated(step("switch"), FailureClass::Verdict));
}
