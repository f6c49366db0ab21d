//! Reasons against a change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use insta::assert_snapshot;
use jiff::SignedDuration;
use soll::model::desired::*;
use soll::model::ids::Digest;
use soll::model::observed::{Approval, ArtifactFacts, Fact, Resolved};
use soll::model::record::{Confirmed, Migration, Stopped};
use soll::plan::{Code, EnvPlan, Verdict};

use super::compact;
use crate::support::states::*;

/// Production wants `b` and runs `a`.
fn simple(change: impl FnOnce(&mut Environment)) -> (Environment, Case) {
    let mut env = environment("production", 'b');
    change(&mut env);
    let host = Host::running(&env, 'a');
    let case = Case::new(&env, &[("web1", &host)]);
    (env, case)
}

/// The blockers alone: the steps are those of any deployment.
fn blockers(env: &EnvPlan) -> String {
    compact(env).lines().filter(|l| !l.contains(" <- ")).map(|l| format!("{l}\n")).collect()
}

fn codes(env: &EnvPlan) -> Vec<Code> {
    env.blockers.iter().map(|b| b.code).collect()
}

#[test]
fn a_quarantined_case_is_not_tried_again_by_itself() {
    let env = environment("production", 'b');
    let host = Host::running(&env, 'a').failed(&env, 'b');
    assert_snapshot!("quarantined", blockers(&Case::new(&env, &[("web1", &host)]).env("production")));
    // A person says so, the configuration changes, the files change, or another bundle stands there: another case.
    let retried = host.clone().with(|s| assert_eq!(s.record.retry(&sha('b')), 1));
    let mut other = env.clone();
    other.health.attempts = 9;
    let file = host.clone().file(".env", Some("APP_KEY=repaired"));
    let rebuilt = Fact::Known(Digest::of(b"built again"));
    let cases = [
        Case::new(&env, &[("web1", &retried)]),
        Case::new(&other, &[("web1", &host)]),
        Case::new(&env, &[("web1", &file)]),
        Case::new(&env, &[("web1", &host)]).seen("production", |seen| {
            seen.artifact = Some(ArtifactFacts { sha256: rebuilt, checks: Fact::NotAsked });
        }),
    ];
    for case in cases {
        let plan = case.env("production");
        assert_eq!((plan.verdict, codes(&plan)), (Verdict::Go, vec![]), "{}", compact(&plan));
    }
}

#[test]
fn frozen_and_stopped_say_who_and_why() {
    let (env, case) = simple(|env| env.frozen = Some("incident 4711".to_owned()));
    assert_snapshot!("frozen", blockers(&case.env("production")));
    let stopped = Stopped { reason: "disk is full".to_owned(), by: "ada".to_owned(), at: ago(30) };
    let host = Host::running(&env, 'a').with(|s| s.record.stopped = Some(stopped));
    let env = environment("production", 'b');
    assert_snapshot!("stopped", blockers(&Case::new(&env, &[("web1", &host)]).env("production")));
    // What is as desired is blocked by nothing.
    let (env, _) = simple(|env| env.frozen = Some("incident 4711".to_owned()));
    let still = Case::new(&env, &[("web1", &Host::running(&env, 'b'))]).env("production");
    assert_eq!(codes(&still), []);
}

#[test]
fn a_return_asks_less_than_a_new_release() {
    let mut env = environment("production", 'a');
    env.promote = Some(Promote { from: env_name("staging"), soak: Duration::from_secs(3600), by: Match::Sha });
    let host = Host::fresh().deployed(&env, 'a', 300).deployed(&env, 'b', 90);
    // Staging is not even looked at.
    assert_eq!(codes(&Case::new(&env, &[("web1", &host)]).env("production")), []);
    env.frozen = Some("incident".to_owned());
    assert_eq!(codes(&Case::new(&env, &[("web1", &host)]).env("production")), [Code::Frozen]);
}

fn word(by: &str, approve: bool, plan: &EnvPlan) -> Approval {
    let note = (!approve).then(|| "the migration drops a column".to_owned());
    // What people claim of the time decides nothing.
    Approval { by: by.to_owned(), at: ago(7), approve, note, reviewed: plan.reviewed.clone(), trusted: true }
}

#[test]
fn approvals_are_counted_per_person_and_bound_to_what_was_reviewed() {
    let (env, case) = simple(|env| env.approvals = 2);
    let pending = case.env("production");
    assert_snapshot!("approvals_pending", blockers(&pending));
    assert_eq!(pending.verdict, Verdict::Pending);
    let yes = |by: &str| word(by, true, &pending);
    let no = |by: &str| word(by, false, &pending);
    let said = |words: Vec<Approval>| case.clone().seen("production", |s| s.approvals = words).env("production");
    let go = said(vec![yes("ada"), yes("bob")]);
    assert_eq!(codes(&go), [], "{}", compact(&go));
    // One person counts once, words about another plan and untrusted ones never.
    let twice = said(vec![yes("ada"), yes("ada")]);
    assert!(twice.blockers[0].message.starts_with("1 of 2"), "{}", compact(&twice));
    let elsewhere = Case::new(&env, &[("web1", &Host::running(&env, 'c'))]).env("production");
    let other = said(vec![word("ada", true, &elsewhere), yes("bob")]);
    assert!(other.blockers[0].message.starts_with("1 of 2"), "{}", compact(&other));
    let untrusted = Approval { trusted: false, ..yes("eve") };
    assert!(said(vec![untrusted]).blockers[0].message.starts_with("0 of 2"));
    // A rejection outweighs approvals, until that person changes their mind: what they said last counts.
    assert_snapshot!("approvals_rejected", blockers(&said(vec![yes("ada"), yes("bob"), no("eve")])));
    assert_eq!(codes(&said(vec![yes("ada"), no("eve"), yes("eve")])), []);
    assert_eq!(said(vec![yes("ada"), yes("eve"), no("eve")]).verdict, Verdict::NoGo);
}

#[test]
fn an_approval_does_not_outlive_what_it_was_about() {
    let (env, case) = simple(|env| env.approvals = 1);
    let binding = case.env("production").binding;
    let changed = |change: &dyn Fn(&mut Environment)| {
        let mut env = env.clone();
        change(&mut env);
        Case::new(&env, &[("web1", &Host::running(&env, 'a'))]).env("production").binding
    };
    assert_eq!(changed(&|_| ()), binding);
    type Change<'a> = &'a dyn Fn(&mut Environment);
    let changes: [(&str, Change<'_>); 16] = [
        ("to", &|env| env.release = environment("production", 'c').release),
        ("configuration", &|env| drop(env.variables.insert("x".into(), "y".into()))),
        ("irreversible steps", &|env| env.hooks.push(hook(Phase::Migrate, "migrate"))),
        ("bundle", &|env| bundle_of(env).url = "https://evil.example.com/{sha}.tar.gz".to_owned()),
        ("checksum", &|env| bundle_of(env).sha256 = "https://evil.example.com/{sha}.sha256".to_owned()),
        ("record of the build", &|env| bundle_of(env).checks = "https://evil.example.com/{sha}.json".to_owned()),
        ("who fetches", &|env| bundle_of(env).fetch_from = FetchFrom::Host),
        ("what is stripped of it", &|env| bundle_of(env).strip = 1),
        ("where links may lead", &|env| env.links_out.push("/usr/bin/python3*".to_owned())),
        ("checks", &|env| env.checks.push("tests".to_owned())),
        ("address", &|env| env.targets[0].address = Address::Remote("evil.example.com".to_owned())),
        ("user", &|env| env.targets[0].user = Some("root".to_owned())),
        ("port", &|env| env.targets[0].port = Some(2222)),
        ("root", &|env| env.targets[0].root = "/srv/other".to_owned()),
        ("what a failure does", &|env| env.on_failure = EnvFailure::Hold),
        ("strategy", &|env| {
            let (batch, pause) = (Batch::Hosts(1), Duration::ZERO);
            env.strategy = Strategy::Rolling { batch, max_failures: 1, pause };
        }),
    ];
    for (what, change) in changes {
        assert_ne!(changed(change), binding, "{what}");
    }
    let from = Host::running(&env, 'c');
    assert_ne!(Case::new(&env, &[("web1", &from)]).env("production").binding, binding, "from");
    let rebuilt = case.clone().seen("production", |seen| {
        let sha256 = Fact::Known(Digest::of(b"built again"));
        seen.artifact = Some(ArtifactFacts { sha256, checks: Fact::NotAsked });
    });
    assert_ne!(rebuilt.env("production").binding, binding, "the bundle itself");
    // What nobody reviews: retention, the freeze, health between deployments.
    assert_eq!(changed(&|env| env.keep_releases = 9), binding);
}

/// `A -> B -> A -> B`: the approval of the first way counted for the second.
#[test]
fn an_approval_is_used_up_by_what_it_allowed_and_by_nothing_else() {
    let (env, _) = simple(|env| env.approvals = 1);
    let planned = |host: &Host| Case::new(&env, &[("web1", host)]).env("production");
    let first = planned(&Host::running(&env, 'a'));
    let approved = word("ada", true, &first);
    let counts = |host: &Host| {
        let case =
            Case::new(&env, &[("web1", host)]).seen("production", |seen| seen.approvals = vec![approved.clone()]);
        !codes(&case.env("production")).contains(&Code::Approval)
    };
    let running = Host::running(&env, 'a');
    assert!(counts(&running));
    // A failed attempt, a switch that nobody confirmed, a return by itself: the next attempt is the one that was approved.
    let switched = running.clone().switched(&env, 'b', 5);
    assert!(counts(&switched), "half way");
    let mut returned = switched.clone();
    returned.0.record.lease_ran_out(ago(1));
    assert!(counts(&returned.at(release('a', 90).as_str())), "went back by itself");
    assert!(counts(&running.clone().staged(&env, 'b', 5)), "staged");
    // Confirmed, and left again.
    let there = Host::running(&env, 'a').deployed(&env, 'b', 30);
    let back = there.deployed(&env, 'a', 10);
    assert!(!counts(&back), "A -> B -> A -> B");
    assert!(!counts(&Host::running(&env, 'a').deployed(&env, 'a', 10)), "confirmed anew");
    // What ran before anybody deployed becomes the confirmed release in the same run: that is no confirmation of it.
    let found = Host::fresh().foreign("20251028_150000-aaaaaaaa").at("20251028_150000-aaaaaaaa");
    let adopted = found.clone().with(|state| {
        let confirmed = Confirmed {
            release: "20251028_150000-aaaaaaaa".parse().unwrap(),
            sha: Some(sha('a')),
            bundle: None,
            at: ago(5),
            inputs: None,
            files: Default::default(),
            activation: Default::default(),
        };
        state.record.confirmed = Some(confirmed);
    });
    let [before, after] = [planned(&found), planned(&adopted)].map(|plan| plan.reviewed.unwrap());
    assert!(before.allows(&after));
}

#[test]
fn of_a_rollout_that_died_half_way_the_rest_is_still_approved() {
    let mut env = environment("production", 'b');
    (env.approvals, env.targets) = (1, vec![target("web1"), target("web2")]);
    env.hooks.push(hook(Phase::Migrate, "migrate"));
    let (one, two) = (Host::running(&env, 'a'), Host::running(&env, 'a'));
    let case = |one: &Host, two: &Host| Case::new(&env, &[("web1", one), ("web2", two)]);
    let approved = word("ada", true, &case(&one, &two).env("production"));
    let open = |one: &Host, two: &Host, said: &Approval| {
        let case = case(one, two).seen("production", |seen| seen.approvals = vec![said.clone()]);
        codes(&case.env("production")).contains(&Code::Approval)
    };
    assert!(!open(&one, &two, &approved));
    let done = one.clone().deployed(&env, 'b', 5).migration(&env, 'b', Migration::Done);
    let half = two.clone().switched(&env, 'b', 5);
    assert!(!open(&done, &half, &approved), "one is confirmed and has migrated, the other was switched");
    // The other way round: who approved the rest did not approve a migration, nor another host.
    let rest = word("ada", true, &case(&done, &two).env("production"));
    assert!(!open(&done, &two, &rest));
    assert!(open(&one, &two, &rest));
    let again = done.clone().migration(&env, 'b', Migration::Failed);
    assert!(open(&again, &two, &rest), "the migration came back");
    // A rejection of a part forbids the whole.
    let no = Approval { approve: false, ..rest };
    let forbidden = case(&one, &two).seen("production", |seen| seen.approvals = vec![approved, no]).env("production");
    assert_eq!(forbidden.verdict, Verdict::NoGo);
}

#[test]
fn what_has_no_name_cannot_be_approved() {
    let (env, case) = simple(|env| env.approvals = 1);
    let unseen = |sha256: Fact<Digest>| {
        case.clone().seen("production", |seen| {
            seen.artifact = Some(ArtifactFacts { sha256, checks: Fact::NotAsked });
        })
    };
    for fact in [Fact::Unknown("no route".to_owned()), Fact::Missing, Fact::NotAsked] {
        let plan = unseen(fact.clone()).env("production");
        assert!(plan.reviewed.as_ref().unwrap().unnamed);
        let said = word("ada", true, &plan);
        let plan = unseen(fact).seen("production", |seen| seen.approvals = vec![said]).env("production");
        let blocker = plan.blockers.iter().find(|b| b.code == Code::Approval).unwrap();
        assert!(blocker.message.contains("cannot be approved"), "{}", compact(&plan));
    }
    // A return fetches nothing.
    let back = Host::running(&env, 'b').deployed(&env, 'a', 30);
    let plan = Case::new(&env, &[("web1", &back)]).seen("production", |seen| seen.artifact = None).env("production");
    let said = word("ada", true, &plan);
    let case = Case::new(&env, &[("web1", &back)])
        .seen("production", |seen| (seen.artifact, seen.approvals) = (None, vec![said]));
    assert_eq!(codes(&case.env("production")), []);
}

#[test]
fn a_commit_that_was_built_again_is_not_what_the_source_confirmed() {
    let staging = environment("staging", 'b');
    let mut env = environment("production", 'b');
    env.promote = Some(Promote { from: staging.name.clone(), soak: Duration::ZERO, by: Match::Sha });
    let (there, here) = (Host::running(&staging, 'b'), Host::running(&env, 'a'));
    let case = Case::new(&env, &[("web1", &here)]).and(&staging, &[("web1", &there)]);
    assert_eq!(codes(&case.env("production")), []);
    let rebuilt = |sha256: Fact<Digest>| {
        let facts = Some(ArtifactFacts { sha256, checks: Fact::NotAsked });
        case.clone().seen("production", |seen| seen.artifact = facts).env("production")
    };
    let plan = rebuilt(Fact::Known(Digest::of(b"built again")));
    assert_eq!(codes(&plan), [Code::NotPromoted]);
    assert!(plan.blockers[0].message.contains("another bundle"), "{}", compact(&plan));
    // Where one of them does not know, the commit decides as before.
    assert!(!codes(&rebuilt(Fact::Unknown("no route".to_owned()))).contains(&Code::NotPromoted));
}

/// Production is promoted from staging, which runs `staged`; it wants `b` and runs `a`.
fn promoted(by: Match, staging: (&Environment, &Host)) -> Case {
    let mut env = environment("production", 'b');
    env.promote = Some(Promote { from: env_name("staging"), soak: Duration::from_secs(3600), by });
    Case::new(&env, &[("web1", &Host::running(&env, 'a'))]).and(staging.0, &[("web1", staging.1)])
}

#[test]
fn production_takes_what_staging_has_run_well_for_long_enough() {
    let staging = environment("staging", 'b');
    let long = Host::fresh().deployed(&staging, 'b', 61);
    assert_eq!(codes(&promoted(Match::Sha, (&staging, &long)).env("production")), []);
    let short = Host::fresh().deployed(&staging, 'b', 20);
    assert_snapshot!("soak", blockers(&promoted(Match::Sha, (&staging, &short)).env("production")));
    let sampled = promoted(Match::Sha, (&staging, &short));
    let later = Case { now: noon() + SignedDuration::from_mins(3), ..sampled };
    assert_eq!(later.env("production").blockers, promoted(Match::Sha, (&staging, &short)).env("production").blockers);
}

#[test]
fn production_does_not_take_what_staging_does_not_run_well() {
    let staging = environment("staging", 'c');
    let other = Host::running(&staging, 'c');
    assert_snapshot!("not_promoted", blockers(&promoted(Match::Sha, (&staging, &other)).env("production")));

    let staging = environment("staging", 'b');
    let gap = Host::running(&staging, 'b').with(|s| s.record.green.as_mut().unwrap().last = ago(11));
    assert_snapshot!("not_green", blockers(&promoted(Match::Sha, (&staging, &gap)).env("production")));

    // Staging's own release failed there and it fell back to what production wants: healthy, and not green.
    let staging = environment("staging", 'c');
    let back = Host::running(&staging, 'b').failed(&staging, 'c');
    assert_snapshot!("staging_fell_back", blockers(&promoted(Match::Sha, (&staging, &back)).env("production")));

    let probation = Host::running(&staging, 'a').switched(&staging, 'c', 2);
    let plan = promoted(Match::Sha, (&staging, &probation)).env("production");
    assert_eq!(codes(&plan), [Code::NotGreen], "{}", compact(&plan));
    let by_hand = Host::running(&staging, 'c').foreign("x").at("x");
    let plan = promoted(Match::Sha, (&staging, &by_hand)).env("production");
    assert_eq!(codes(&plan), [Code::NotGreen], "{}", compact(&plan));
    let away = promoted(Match::Sha, (&staging, &Host::fresh())).unreachable("staging", "web1").env("production");
    assert_eq!(codes(&away), [Code::NotGreen], "{}", compact(&away));
}

#[test]
fn a_source_that_was_not_looked_at_promotes_nothing() {
    let staging = environment("staging", 'b');
    let mut case = promoted(Match::Sha, (&staging, &Host::running(&staging, 'b')));
    assert_eq!(codes(&case.env("production")), []);
    case.observed.environments.remove(&env_name("staging"));
    assert_snapshot!("source_not_seen", blockers(&case.env("production")));
    case.desired.environments.remove(&env_name("staging"));
    assert_eq!(codes(&case.env("production")), [Code::NotGreen]);
}

#[test]
fn a_merge_is_recognised_by_bundle_or_tree() {
    let staging = environment("staging", 'c');
    let host = Host::running(&staging, 'c');
    let by_bundle = promoted(Match::Bundle, (&staging, &host));
    assert_eq!(codes(&by_bundle.env("production")), [Code::NotPromoted]);
    let same = by_bundle.seen("production", |seen| {
        seen.artifact = Some(ArtifactFacts { sha256: Fact::Known(bundle('c')), checks: Fact::NotAsked });
    });
    assert_eq!(codes(&same.env("production")), []);
    let by_tree = promoted(Match::Tree, (&staging, &host));
    assert_eq!(codes(&by_tree.env("production")), [Code::NotPromoted], "two unknown trees are not one");
    let by_tree = by_tree.seen("production", |seen| seen.tree = Some("t1".to_owned()));
    assert_eq!(codes(&by_tree.env("production")), [Code::NotPromoted]);
    let by_tree = by_tree.seen("staging", |seen| drop(seen.live_trees.insert(sha('c'), "t1".to_owned())));
    assert_eq!(codes(&by_tree.env("production")), []);
}

#[test]
fn an_emergency_skips_what_it_names_for_one_release_and_says_so() {
    let staging = environment("staging", 'b');
    let short = Host::fresh().deployed(&staging, 'b', 20);
    let emergency = |digit, skip: &[&str]| {
        let mut case = promoted(Match::Sha, (&staging, &short));
        let env = case.desired.environments.get_mut(&env_name("production")).unwrap();
        let skip = skip.iter().map(|s| (*s).to_owned()).collect();
        env.emergency = Some(Emergency { release: sha(digit), reason: "CVE-2025-1".to_owned(), skip });
        env.approvals = 1;
        case.env("production")
    };
    let skipped = emergency('b', &["soak", "approval", "index"]);
    assert_snapshot!("emergency", blockers(&skipped));
    assert!(skipped.steps.iter().all(|s| s.action.kind() != "gate"));
    assert_eq!(codes(&emergency('c', &["soak", "approval"])), [Code::Approval, Code::Soak], "another release");
    assert_eq!(codes(&emergency('b', &["promotion"])), [Code::Approval, Code::Emergency]);
}

#[test]
fn a_bundle_counts_only_with_its_checks() {
    let checks = |checks: Fact<BTreeMap<String, String>>| {
        let (_, case) = simple(|env| env.checks = vec!["run-tests".to_owned(), "static-analysis".to_owned()]);
        let facts = ArtifactFacts { sha256: Fact::Known(bundle('b')), checks };
        case.seen("production", |seen| seen.artifact = Some(facts)).env("production")
    };
    let record = |pairs: &[(&str, &str)]| {
        Fact::Known(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>())
    };
    let good = [("run-tests", "success"), ("static-analysis", "success"), ("build", "success")];
    assert_eq!(codes(&checks(record(&good))), []);
    assert_snapshot!("checks_missing", blockers(&checks(Fact::Missing)));
    let bad = [("run-tests", "failure"), ("static-analysis", "success"), ("build", "cancelled")];
    assert_snapshot!("checks_not_success", blockers(&checks(record(&bad))));
    assert_eq!(codes(&checks(Fact::Unknown("403".to_owned()))), [Code::Checks]);
    assert_eq!(codes(&checks(Fact::NotAsked)), [Code::Checks], "not read is not passed");
    let (_, case) = simple(|env| env.checks = vec!["run-tests".to_owned()]);
    let unseen = case.seen("production", |seen| seen.artifact = None).env("production");
    assert_eq!(codes(&unseen), [Code::Checks], "not looked at is not passed");
}

#[test]
fn a_missing_bundle_blocks_and_one_that_could_not_be_seen_is_noted() {
    let sha256 = |sha256| {
        let (_, case) = simple(|_| ());
        let facts = ArtifactFacts { sha256, checks: Fact::NotAsked };
        case.seen("production", |seen| seen.artifact = Some(facts)).env("production")
    };
    assert_snapshot!("bundle_missing", blockers(&sha256(Fact::Missing)));
    let unknown = sha256(Fact::Unknown("connection refused".to_owned()));
    assert_eq!((unknown.verdict, codes(&unknown)), (Verdict::Go, vec![Code::Note]));
}

#[test]
fn what_the_host_or_the_controller_lacks_is_said_before_anything_starts() {
    let mut env = environment("production", 'b');
    let bearer = Some("HEALTH_TOKEN".to_owned());
    let url = "http://127.0.0.1/x".to_owned();
    env.health.checks[0].probe = Probe::Http { url, status: 200, bearer, body: None };
    let host = Host::running(&env, 'a').with(|s| s.missing_env = vec!["APP_KEY".to_owned(), "DB_PASSWORD".to_owned()]);
    let mut case = Case::new(&env, &[("web1", &host)]);
    case.secrets = Some(BTreeSet::new());
    assert_snapshot!("variable_and_secret_missing", blockers(&case.env("production")));
    case.secrets = Some(BTreeSet::from(["HEALTH_TOKEN".to_owned()]));
    assert_eq!(codes(&case.env("production")), [Code::VariableMissing]);
    // Without the file every variable is missing: that is said once.
    let gone = host.file(".env", None);
    assert_snapshot!("shared_file_missing", blockers(&Case::new(&env, &[("web1", &gone)]).env("production")));
}

#[test]
fn a_tag_that_cannot_be_resolved_changes_nothing() {
    let mut env = environment("production", 'b');
    env.release = ReleaseRef::Tag("v1.1.0".to_owned());
    let case = Case::new(&env, &[("web1", &Host::running(&env, 'a'))]);
    let unknown = Resolved::Unknown("there is no such tag".to_owned());
    let unknown = case.clone().seen("production", |seen| seen.resolved = unknown);
    assert_snapshot!("tag_unresolved", compact(&unknown.env("production")));
    let known = case.seen("production", |seen| seen.resolved = Resolved::Sha(sha('b')));
    assert!(known.env("production").has_changes());
}

#[test]
fn a_watch_follows_health_and_precedes_the_confirmation() {
    let (_, case) = simple(|env| {
        env.watch = Some(Watch {
            duration: Duration::from_secs(600),
            every: Duration::from_secs(30),
            metrics: vec![Metric {
                name: "error-rate".to_owned(),
                source: MetricSource::Run { command: "./errors".to_owned() },
                limit: Limit::Above(5.0),
                grade: Grade::P1,
                on_failure: OnFailure::Rollback,
                from: From::Host,
                failure_limit: 0,
            }],
        });
    });
    assert_snapshot!("watch", compact(&case.env("production")));
}
