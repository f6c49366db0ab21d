//! What holds for every plan, over random environments and hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::{
    Just, ProptestConfig, Strategy as _, prop, prop_assert, prop_assert_eq, prop_compose, prop_oneof, proptest,
};
use soll::model::desired::*;
use soll::model::observed::{Attempt, CheckResult, Current, DriftKind, HostObserved, Verdict};
use soll::model::record::Migration;
use soll::plan::{Action, EnvPlan, Step, graph};

use super::compact;
use crate::support::states::*;

/// What a random host has behind it; the environment is handed in later.
#[derive(Debug, Clone, Copy)]
enum Past {
    Fresh,
    Runs(char),
    Had(char, char),
    Probation(char, char),
    FirstProbation(char),
    Held(char),
    Foreign(char),
    ForeignCurrent(char),
    ByHand(char, char),
    Elsewhere,
    Gone,
    NotALink,
    OtherFile(char),
    OtherInputs(char),
    Drifted(char),
    Failed(char),
    MigrationBegun(char),
    MigrationDone(char),
    Away,
}

fn build(past: Past, env: &Environment) -> Option<Host> {
    let name = |digit: char| format!("20251001_080000-{}", digit.to_string().repeat(7));
    let had = |old, new| Host::fresh().deployed(env, old, 300).deployed(env, new, 90);
    Some(match past {
        Past::Fresh => Host::fresh(),
        Past::Runs(a) => Host::running(env, a),
        Past::Had(a, b) => had(a, b),
        Past::Probation(a, b) => Host::running(env, a).switched(env, b, 1),
        Past::FirstProbation(a) => Host::fresh().switched(env, a, 1),
        Past::Held(a) => Host::fresh().switched(env, a, 9).with(|s| s.record.hold(s.record.epoch).unwrap()),
        Past::Foreign(a) => Host::running(env, 'd').foreign(&name(a)),
        Past::ForeignCurrent(a) => Host::fresh().foreign(&name(a)).at(&name(a)),
        Past::ByHand(a, b) => had(a, b).at(release(a, 300).as_str()),
        Past::Elsewhere => Host::running(env, 'a').link(Current::Elsewhere("/srv/old".to_owned())),
        Past::Gone => Host::running(env, 'a').link(Current::Missing),
        Past::NotALink => Host::fresh().link(Current::NotALink),
        Past::OtherFile(a) => Host::running(env, a).file(".env", Some("APP_KEY=9")),
        Past::OtherInputs(a) => {
            let mut other = env.clone();
            other.variables.insert("tenant".to_owned(), "before".to_owned());
            Host::running(&other, a)
        }
        Past::Drifted(a) => Host::running(env, a).drifted(&[("index.php", DriftKind::Changed)]),
        Past::Failed(a) => Host::running(env, 'd').failed(env, a),
        Past::MigrationBegun(a) => migrated(Host::running(env, 'd'), env, a, Migration::Begun),
        Past::MigrationDone(a) => migrated(Host::running(env, a), env, a, Migration::Done),
        Past::Away => return None,
    })
}

fn migrated(host: Host, env: &Environment, digit: char, state: Migration) -> Host {
    match env.hooks_of(Phase::Migrate).next() {
        Some(_) => host.migration(env, digit, state),
        None => host,
    }
}

fn pasts() -> impl proptest::strategy::Strategy<Value = Past> {
    let digit = || prop::sample::select(vec!['a', 'b', 'c']);
    prop_oneof![
        Just(Past::Fresh),
        digit().prop_map(Past::Runs),
        (digit(), digit()).prop_map(|(a, b)| if a == b { Past::Runs(a) } else { Past::Had(a, b) }),
        (digit(), digit()).prop_map(|(a, b)| if a == b { Past::Runs(a) } else { Past::Probation(a, b) }),
        digit().prop_map(Past::FirstProbation),
        digit().prop_map(Past::Held),
        digit().prop_map(Past::Foreign),
        digit().prop_map(Past::ForeignCurrent),
        (digit(), digit()).prop_map(|(a, b)| if a == b { Past::Runs(a) } else { Past::ByHand(a, b) }),
        Just(Past::Elsewhere),
        Just(Past::Gone),
        Just(Past::NotALink),
        digit().prop_map(Past::OtherFile),
        digit().prop_map(Past::OtherInputs),
        digit().prop_map(Past::Drifted),
        digit().prop_map(Past::Failed),
        digit().prop_map(Past::MigrationBegun),
        digit().prop_map(Past::MigrationDone),
        Just(Past::Away),
    ]
}

const PHASES: [Phase; 9] = [
    Phase::Prepare,
    Phase::MaintenanceOn,
    Phase::Migrate,
    Phase::PreSwitch,
    Phase::PostSwitch,
    Phase::MaintenanceOff,
    Phase::Verify,
    Phase::After,
    Phase::Rollback,
];

prop_compose! {
    fn environments()(
        desired in prop::sample::select(vec!['a', 'b', 'c']),
        // Two hooks may have one name, within a phase and across phases.
        hooks in prop::collection::vec((prop::sample::select(PHASES.to_vec()), prop::sample::select(vec!["x", "reload"])), 0..8),
        gates in 0..3usize,
        checks in 0..3usize,
        grace in prop::bool::ANY,
        watch in prop::bool::ANY,
        batch in prop::option::of(1..4u32),
        drift in prop::sample::select(vec![DriftPolicy::Report, DriftPolicy::Heal, DriftPolicy::Ignore]),
        skip in prop::bool::ANY,
        approvals in 0..2u32,
    ) -> Environment {
        let mut env = environment("production", desired);
        env.hooks = hooks.into_iter().map(|(phase, name)| hook(phase, name)).collect();
        env.gates = (0..gates).map(|_| env.gates[0].clone()).collect();
        env.health.checks = (0..checks).map(|n| http(["health", "ready"][n])).collect();
        env.health.grace = if grace { Duration::from_secs(15) } else { Duration::ZERO };
        env.watch = watch.then(|| Watch {
            duration: Duration::from_secs(60), every: Duration::from_secs(10), metrics: Vec::new(),
        });
        env.strategy = batch.map_or(soll::model::desired::Strategy::AllAtOnce, |n| {
            soll::model::desired::Strategy::Rolling { batch: Batch::Hosts(n), max_failures: 0, pause: Duration::ZERO }
        });
        env.drift = drift;
        env.unreachable = if skip { Unreachable::Skip } else { Unreachable::Block };
        env.approvals = approvals;
        env
    }
}

fn case(mut env: Environment, pasts: &[Past]) -> Case {
    let names: Vec<String> = (1..=pasts.len()).map(|n| format!("web{n}")).collect();
    env.targets = names.iter().map(|name| target(name)).collect();
    let hosts: Vec<_> = pasts.iter().map(|past| build(*past, &env)).collect();
    let there: Vec<_> = names.iter().zip(&hosts).filter_map(|(n, h)| Some((n.as_str(), h.as_ref()?))).collect();
    let mut case = Case::new(&env, &there);
    for (name, _) in names.iter().zip(&hosts).filter(|(_, host)| host.is_none()) {
        case = case.unreachable("production", name);
    }
    case
}

/// For every step, all that comes before it.
fn ancestors(steps: &[Step]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    // Steps are pushed after what they wait for; `graph::check` and this lookup fail where that is not so.
    for step in steps {
        let mut before = BTreeSet::new();
        for id in &step.after {
            before.insert(id.as_str());
            before.extend(all[id.as_str()].iter().copied());
        }
        all.insert(&step.id, before);
    }
    all
}

fn of<'a>(plan: &'a EnvPlan, wanted: impl Fn(&Step) -> bool + 'a) -> impl Iterator<Item = &'a Step> {
    plan.steps.iter().filter(move |s| wanted(s))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_can_be_run_and_says_the_same_twice(env in environments(), pasts in prop::collection::vec(pasts(), 1..4)) {
        let case = case(env, &pasts);
        let plan = case.plan();
        prop_assert_eq!(graph::check(&plan.environments[0].steps), Ok(()));
        let mut again = case.plan();
        prop_assert_eq!(serde_json::to_vec(&plan).unwrap(), serde_json::to_vec(&again).unwrap());
        // Estimates are not part of what is compared.
        let times = plan.environments[0].steps.iter().map(|s| (s.id.clone(), 7)).collect();
        again.environments[0].estimate(&times);
        prop_assert_eq!(plan.compare_bytes(), again.compare_bytes());
        // A saved plan is what was saved.
        let saved: soll::plan::Plan = serde_json::from_slice(&serde_json::to_vec(&plan).unwrap()).unwrap();
        prop_assert_eq!(saved, plan);
    }

    #[test]
    fn the_order_of_a_plan(env in environments(), pasts in prop::collection::vec(pasts(), 1..4)) {
        let plan = case(env, &pasts).env("production");
        let before = ancestors(&plan.steps);
        let seals: Vec<_> = of(&plan, |s| matches!(s.action, Action::Seal { .. })).collect();
        let gates: Vec<_> = of(&plan, |s| matches!(s.action, Action::Gate { .. })).collect();
        let migrations: Vec<_> = of(&plan, |s| s.irreversible).collect();
        for switch in of(&plan, |s| matches!(s.action, Action::Switch { .. })) {
            for first in seals.iter().chain(&gates).chain(&migrations) {
                prop_assert!(before[switch.id.as_str()].contains(first.id.as_str()), "{} before {}\n{}", first.id, switch.id, compact(&plan));
            }
        }
        // A migration cannot be taken back: everything that can say no without it comes first.
        for migration in &migrations {
            for gate in &gates {
                prop_assert!(before[migration.id.as_str()].contains(gate.id.as_str()), "{}", compact(&plan));
            }
        }
        let judges = |s: &Step| matches!(s.action, Action::Health { .. } | Action::Assets { .. } | Action::Watch { .. });
        for confirm in of(&plan, |s| matches!(s.action, Action::Confirm { .. })) {
            for judge in of(&plan, judges) {
                prop_assert!(before[confirm.id.as_str()].contains(judge.id.as_str()), "{} before {}\n{}", judge.id, confirm.id, compact(&plan));
            }
            let switch = format!("switch:{}", confirm.host.as_ref().unwrap());
            if before.contains_key(switch.as_str()) {
                prop_assert!(before[confirm.id.as_str()].contains(switch.as_str()));
            }
        }
        for prune in of(&plan, |s| matches!(s.action, Action::Prune { .. })) {
            let confirm = format!("confirm:{}", prune.host.as_ref().unwrap());
            prop_assert!(before[prune.id.as_str()].contains(confirm.as_str()), "law 2\n{}", compact(&plan));
        }
    }

    #[test]
    fn who_is_as_desired_gets_no_step_and_who_is_not_gets_some(env in environments(), pasts in prop::collection::vec(pasts(), 1..4)) {
        let plan = case(env, &pasts).env("production");
        for host in &plan.hosts {
            let steps = of(&plan, |s| s.host.as_ref() == Some(&host.name)).count();
            let still = !host.reachable || host.reason == "runs what is desired";
            prop_assert_eq!(steps == 0, still, "{}: {}\n{}", host.name, host.reason, compact(&plan));
        }
    }

    #[test]
    fn where_a_switch_is_planned_there_is_a_way_back_or_nothing_to_lose(env in environments(), pasts in prop::collection::vec(pasts(), 1..4)) {
        let case = case(env, &pasts);
        let plan = case.env("production");
        let before = ancestors(&plan.steps);
        for switch in of(&plan, |s| matches!(s.action, Action::Switch { .. })) {
            let host = switch.host.as_ref().unwrap();
            let HostObserved::Reached(state) = &case.observed.environments[&plan.name].hosts[host] else { unreachable!() };
            let adopts = before[switch.id.as_str()].contains(format!("adopt:{host}").as_str());
            let lost = match state.current.release() {
                None => false,
                Some(current) => !state.record.releases.get(current).is_some_and(|r| r.failed),
            };
            prop_assert!(state.record.confirmed.is_some() || adopts || !lost, "{}", compact(&plan));
        }
    }

    #[test]
    fn health_and_times_void_no_plan(env in environments(), pasts in prop::collection::vec(pasts(), 1..4), shift in 1..600i64) {
        let case = case(env, &pasts);
        let plan = case.env("production");
        let later = case.clone().seen("production", |seen| {
            seen.health = vec![degraded()];
            for host in seen.hosts.values_mut() {
                let HostObserved::Reached(state) = host else { continue };
                state.health = vec![degraded()];
                state.record.green = None;
                if let Some(drift) = &mut state.drift {
                    drift.at = ago(-shift);
                }
            }
        });
        let again = later.clone().seen("production", |seen| {
            for host in seen.hosts.values_mut() {
                let HostObserved::Reached(state) = host else { continue };
                if let Some(confirmed) = &mut state.record.confirmed {
                    confirmed.at = ago(shift);
                }
            }
        });
        // Confirmed anew it is another start for an approval, and the same plan.
        prop_assert_eq!(again.env("production").fingerprint, plan.fingerprint);
        let later = Case { now: ago(-shift), ..later }.env("production");
        prop_assert_eq!(later.fingerprint, plan.fingerprint);
        prop_assert_eq!(later.binding, plan.binding);
        prop_assert_eq!(later.steps, plan.steps);
    }
}

fn degraded() -> CheckResult {
    let evidence = "503 in 3 ms".to_owned();
    let attempt = Attempt { at: noon(), verdict: Verdict::Fail, evidence, millis: 3 };
    CheckResult { check: "health".to_owned(), verdict: Verdict::Fail, attempts: vec![attempt] }
}

#[test]
fn what_decides_on_the_hosts_voids_a_plan() {
    let env = environment("production", 'b');
    let fingerprint = |host: Host| Case::new(&env, &[("web1", &host)]).env("production").fingerprint;
    let host = Host::running(&env, 'a');
    let before = fingerprint(host.clone());
    assert_ne!(fingerprint(host.clone().foreign("20251001_080000-ccccccc")), before, "releases");
    assert_ne!(fingerprint(host.clone().switched(&env, 'c', 1)), before, "probation and current");
    assert_ne!(fingerprint(Host::fresh().deployed(&env, 'a', 91)), before, "confirmed");
    let mut other = env.clone();
    other.keep_releases = 9;
    assert_ne!(Case::new(&other, &[("web1", &host)]).env("production").fingerprint, before, "configuration");
}

/// A fleet of a thousand with a gate, five hooks and a check: `after` entries grew with the square of it, to tens of
/// megabytes. Counted in bytes, not in time.
#[test]
fn the_plan_and_the_journal_of_a_thousand_hosts_are_below_ten_megabytes() {
    use soll::journal::event::{Event, Started, StepEnd};
    let mut env = environment("production", 'b');
    env.targets = (0..1000).map(|n| target(&format!("web{n:04}"))).collect();
    let phases = [Phase::MaintenanceOn, Phase::Migrate, Phase::PreSwitch, Phase::PostSwitch, Phase::MaintenanceOff];
    env.hooks = phases.map(|phase| hook(phase, phase.as_str())).to_vec();
    let hosts: Vec<_> = env.targets.iter().map(|target| (target.name.to_string(), Host::running(&env, 'a'))).collect();
    let hosts: Vec<_> = hosts.iter().map(|(name, host)| (name.as_str(), host)).collect();
    let (batch, pause) = (Batch::Percent(10), Duration::ZERO);
    for strategy in [Strategy::AllAtOnce, Strategy::Rolling { batch, max_failures: 0, pause }] {
        env.strategy = strategy;
        let plan = Case::new(&env, &hosts).plan();
        let steps = &plan.environments[0].steps;
        graph::check(steps).unwrap();
        assert!(steps.len() > 13_000, "{}", steps.len());
        let named: usize = steps.iter().map(|step| step.after.len()).sum();
        assert!(named < 3 * steps.len(), "{named} entries for {} steps", steps.len());
        // Every switch still comes after every seal, and every confirmation after every verdict.
        let behind = |id: &str| before(steps, id);
        let of = |kind: &str| steps.iter().filter(|step| step.id.starts_with(kind)).count();
        let (switch, confirm) = (behind("switch:web0999"), behind("confirm:web0000"));
        assert_eq!(switch.iter().filter(|id| id.starts_with("seal:")).count(), of("seal:"));
        assert_eq!(confirm.iter().filter(|id| id.starts_with("health:")).count(), of("health:"));

        let shown = serde_json::to_vec_pretty(&plan).unwrap().len();
        let mut journal = Vec::new();
        let started = Started {
            run: "20251102_120000-1".parse().unwrap(),
            environment: env.name.clone(),
            at: noon(),
            commit: "c".repeat(40),
            actor: "Ann".to_owned(),
            from: Some(release('a', 90)),
            from_sha: Some(sha('a')),
            to: sha('b'),
            release: release('b', 0),
            committed_at: Some(noon()),
            reason: "a commit".to_owned(),
            steps: steps.clone(),
        };
        journal.push(Event::Started(Box::new(started)));
        for step in steps {
            let note = "200 in 12 ms: what there usually is to say about a step".to_owned();
            journal.push(Event::Intended { step: step.id.clone(), at: noon() });
            if step.id.starts_with("health") {
                let attempt = Attempt { at: noon(), verdict: Verdict::Pass, evidence: note.clone(), millis: 12 };
                journal.push(Event::Attempted { step: step.id.clone(), attempt });
            }
            journal.push(Event::Ended { step: step.id.clone(), at: noon(), millis: 1200, end: StepEnd::Done { note } });
        }
        let journaled: usize = journal.iter().map(|event| serde_json::to_vec(event).unwrap().len()).sum();
        println!("{} steps, {named} entries: plan {shown} bytes, journal {journaled} bytes", steps.len());
        assert!(shown < 10_000_000 && journaled < 10_000_000, "plan {shown} bytes, journal {journaled} bytes");
    }
}

/// All steps that come before this one.
fn before(steps: &[Step], id: &str) -> BTreeSet<String> {
    let by_id: BTreeMap<&str, &Step> = steps.iter().map(|step| (step.id.as_str(), step)).collect();
    let (mut found, mut open) = (BTreeSet::new(), vec![id.to_owned()]);
    while let Some(next) = open.pop() {
        for before in &by_id[next.as_str()].after {
            if found.insert(before.clone()) {
                open.push(before.clone());
            }
        }
    }
    found
}
