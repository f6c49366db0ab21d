//! A plan of what is published is the daemon's own, in every state that an environment can be in; and what is published
//! tells nothing that is nobody's business.

use std::time::Duration;

use serde_json::Value;
use soll::model::compose::ServiceSeen;
use soll::model::desired::{DriftPolicy, Environment, Match, Phase, Promote, Unreachable};
use soll::model::ids::{Digest, Epoch};
use soll::model::machine::{self, Machine, NotedBy, OtherMachine};
use soll::model::observed::{
    Approval, Attempt, CheckResult, Current, DriftKind, HostObserved, Remark, Resolved, Verdict,
};
use soll::model::published::{Environments, FORM, SCHEMA, Veil, View};
use soll::model::record::{Closed, Command, Healed, Holder, Migration, Returned, Stopped, Watched};
use soll::plan::{EnvPlan, Plan};
use soll::run::publish;

use crate::support::states::*;

/// What must never be read in what is published.
const PLANTED: [&str; 6] = ["10.9.8.7", "sesame", "ann@example.com", "503 in 4 ms", "hunter2", "deploy@web1"];

fn veil() -> Veil {
    Veil::new(&[7; 32])
}

/// What a daemon publishes of this case, as text.
pub fn published(case: &Case) -> String {
    let one = |(name, seen)| {
        let env = &case.desired.environments[name];
        let view = publish::environment(&veil(), &case.desired, env, ("c0ffee00".to_owned(), case.now), seen);
        (env.name.clone(), view)
    };
    let environments = case.observed.environments.iter().map(one).collect();
    let (by, commit) = ("soll 0.1.0 (golden)".to_owned(), "c0ffee00".to_owned());
    let view = View { schema: SCHEMA, by, commit, at: case.now, observed: Environments { environments } };
    serde_json::to_string_pretty(&view).unwrap() + "\n"
}

/// The same case, as somebody sees it who reads that.
pub fn read(case: &Case, text: &str) -> Case {
    let view: View = FORM.read(text.as_bytes()).unwrap();
    let mut case = case.clone();
    let environments = view.observed.environments.into_iter();
    case.observed.environments = environments.map(|(name, seen)| (name, seen.unveil())).collect();
    case
}

/// A plan without the texts that people and hosts wrote, which are not published.
fn told(plan: &Plan) -> Value {
    let mut plan = serde_json::to_value(plan).unwrap();
    for env in plan["environments"].as_array_mut().unwrap() {
        // Bound to what shared files hold.
        env["binding"] = Value::Null;
        env["reviewed"] = Value::Null;
        for blocker in env["blockers"].as_array_mut().unwrap() {
            let code = blocker["code"].as_str().unwrap().to_owned();
            let hidden = ["unreachable", "quarantined", "stopped", "returned", "rejected", "unresolved", "note"];
            if hidden.contains(&&*code)
                || (code == "migration-unknown" && blocker["message"].to_string().contains(" by "))
            {
                blocker["message"] = Value::Null;
            }
            if ["closed", "rejected", "note"].contains(&&*code) {
                blocker["fix"] = Value::Null;
            }
        }
        for host in env["hosts"].as_array_mut().unwrap() {
            for service in host["services"].as_array_mut().into_iter().flatten() {
                service.as_object_mut().unwrap().remove("ports");
            }
            if host["reachable"] == false {
                host["reason"] = Value::Null;
            }
        }
    }
    plan
}

#[track_caller]
fn same(what: &str, case: &Case) -> Plan {
    let text = published(case);
    for planted in PLANTED {
        assert!(!text.contains(planted), "{what}: `{planted}` is published:\n{text}");
    }
    for env in case.observed.environments.values() {
        for host in env.hosts.values() {
            let HostObserved::Reached(state) = host else { continue };
            let files =
                state.files.values().flatten().chain(state.record.confirmed.iter().flat_map(|c| c.files.values()));
            let cases =
                state.record.quarantined.iter().map(|q| &q.key).chain(state.record.probation.iter().map(|p| &p.key));
            for digest in files.chain(cases.map(|key| &key.files)) {
                assert!(
                    !text.contains(&digest.to_string()),
                    "{what}: the digest of a shared file is published:\n{text}"
                );
            }
        }
    }
    let (live, theirs) = (case.plan(), read(case, &text).plan());
    let told = |plan| serde_json::to_string_pretty(&told(plan)).unwrap();
    assert_eq!(told(&theirs), told(&live), "{what}");
    theirs
}

fn word(by: &str, approve: bool, plan: &EnvPlan) -> Approval {
    Approval {
        by: by.to_owned(),
        at: ago(2),
        approve,
        note: Some("ask ann@example.com".to_owned()),
        reviewed: plan.reviewed.clone(),
        trusted: true,
    }
}

fn command(run: &str) -> Command {
    let env = [("PASSWORD".to_owned(), "hunter2".to_owned())].into();
    Command { name: run.to_owned(), run: run.to_owned(), env, timeout: Duration::from_secs(1), hides: Vec::new() }
}

fn checked(name: &str, verdict: Verdict) -> CheckResult {
    let attempt = Attempt { at: ago(1), verdict, evidence: "503 in 4 ms: sesame".to_owned(), millis: 4 };
    CheckResult { check: name.to_owned(), verdict, attempts: vec![attempt] }
}

/// Services in these states, the last one of which a person has started beside those of the release.
fn services(states: &[&str]) -> Vec<ServiceSeen> {
    let one = |(at, state): (usize, &&str)| ServiceSeen {
        service: format!("service{at}"),
        wanted: 2,
        running: if *state == "running" { 2 } else { 1 },
        image: format!("registry.example.com/acme/api:1@sha256:{}", "1".repeat(64)),
        digest_ok: at != 1,
        state: (*state).to_owned(),
        health: Some("healthy".to_owned()),
        restarts: 3,
        ports: vec!["10.9.8.7:80->80/tcp".to_owned()],
    };
    let extra = ServiceSeen { service: "debug".to_owned(), state: "extra".to_owned(), ..ServiceSeen::default() };
    states.iter().enumerate().map(one).chain([extra]).collect()
}

fn production(desired: char) -> Environment {
    environment("production", desired)
}

#[test]
fn a_plan_of_what_is_published_is_the_daemons_own() {
    let env = production('b');
    let a = Host::running(&env, 'a');
    let one = |host: &Host| Case::new(&env, &[("web1", host)]);
    let with = |change: &dyn Fn(&mut soll::model::observed::HostState)| one(&a.clone().with(|state| change(state)));
    let healing = Environment { drift: DriftPolicy::Heal, ..production('a') };
    let drifted = Host::running(&healing, 'a').drifted(&[("index.php", DriftKind::Changed), ("x", DriftKind::Added)]);
    let migrating = Environment { hooks: vec![hook(Phase::Migrate, "migrate")], ..production('b') };
    let begun = Host::running(&migrating, 'a').migration(&migrating, 'b', Migration::Begun);
    let holder = Holder { who: "ann@example.com pid 7".to_owned(), since: ago(1), epoch: Epoch(3), pid: 7 };
    let tagged = production('b');
    let watched = Watched { time: Duration::from_secs(40), broken: [("errors".to_owned(), 1)].into() };
    let cases = [
        ("in sync", one(&Host::running(&env, 'b'))),
        ("nothing runs yet", one(&Host::fresh())),
        ("a release is wanted", one(&a)),
        ("a file is missing", one(&a.clone().file(".env", None).with(|s| s.missing_env = vec!["APP_KEY".to_owned()]))),
        ("a file changed", one(&Host::running(&env, 'b').file(".env", Some("APP_KEY=hunter2")))),
        ("what was healed drifted again", {
            let healed = Healed { release: drifted.0.current.release().unwrap().clone(), at: ago(1), times: 9 };
            let host = drifted.clone().with(|state| state.record.healed = Some(healed.clone()));
            Case::new(&healing, &[("web1", &host)])
        }),
        ("it drifted, which is reported", {
            let env = production('a');
            Case::new(&env, &[("web1", &Host::running(&env, 'a').drifted(&[("a.php", DriftKind::Missing)]))])
        }),
        ("it drifted, which is healed", Case::new(&healing, &[("web1", &drifted)])),
        ("quarantined", one(&a.clone().failed(&env, 'b'))),
        ("quarantined with another .env", one(&a.clone().failed(&env, 'b').file(".env", Some("APP_KEY=2")))),
        ("on probation", one(&a.clone().switched(&env, 'b', 1))),
        ("on probation, watched", {
            let on = a.clone().switched(&env, 'b', 1);
            one(&on.with(|state| state.record.probation.as_mut().unwrap().watched = Some(watched)))
        }),
        (
            "closed for maintenance",
            with(&|state| {
                let (lease, open) = (Duration::from_secs(9), vec![command("open sesame")]);
                state.record.closed =
                    Some(Closed { epoch: Epoch(3), at: ago(4), lease, open, start: Default::default() });
            }),
        ),
        (
            "stopped",
            with(&|state| {
                let (reason, by) = ("sesame".to_owned(), "ann@example.com".to_owned());
                state.record.stopped = Some(Stopped { reason, by, at: ago(4) });
            }),
        ),
        (
            "went back by itself",
            with(&|state| {
                let reason = "hook `open sesame` said no: hunter2".to_owned();
                state.record.returned = Some(Returned { from: release('b', 5), to: None, at: ago(4), reason });
            }),
        ),
        ("lost", one(&a).unreachable("production", "web1")),
        (
            "lost, and a reason with an address",
            one(&a).seen("production", |seen| {
                let why = "deploy@web1.example.com:22: refused".to_owned();
                seen.hosts.insert(host_name("web1"), HostObserved::Unreachable(why));
            }),
        ),
        (
            "another machine answers",
            one(&a).seen("production", |seen| {
                let known = Machine { id: Digest::of(b"machine"), since: ago(900) };
                let other = OtherMachine { known, by: NotedBy::Record, found: None };
                let why = machine::refused(&host_name("web1"), &other);
                seen.hosts.insert(host_name("web1"), HostObserved::Unreachable(why));
                seen.other_machines.insert(host_name("web1"), other);
            }),
        ),
        ("a migration is under way", {
            let begun = begun.clone().with(|state| state.holder = Some(holder.clone()));
            Case::new(&migrating, &[("web1", &begun)])
        }),
        ("a migration is unknown", Case::new(&migrating, &[("web1", &begun)])),
        ("a migration is done", {
            let done = Host::running(&migrating, 'a').migration(&migrating, 'b', Migration::Done);
            Case::new(&migrating, &[("web1", &done)])
        }),
        ("somewhere else", one(&a.clone().link(Current::Elsewhere("/srv/old".to_owned())))),
        ("not a link", one(&a.clone().link(Current::NotALink))),
        ("unhealthy", with(&|state| state.health = vec![checked("health", Verdict::Fail)])),
        ("unsure", one(&a).seen("production", |seen| seen.health = vec![checked("health", Verdict::Inconclusive)])),
        (
            "unresolved",
            Case::new(&tagged, &[("web1", &a)]).seen("production", |seen| {
                seen.resolved = Resolved::NotAsked;
            }),
        ),
        ("services that differ", with(&|state| state.services = services(&["running", "exited (1)"]))),
        ("services that nobody can see", with(&|state| state.services_unseen = Some("sesame".to_owned()))),
        ("services that differ, which is healed", {
            let host = Host::running(&healing, 'a').with(|state| state.services = services(&["exited (1)"]));
            Case::new(&healing, &[("web1", &host)])
        }),
        (
            "words that do not count",
            one(&a).seen("production", |seen| {
                let message = "the approval by Ann <ann@example.com> does not count".to_owned();
                seen.remarks = vec![Remark { message, fix: "sesame".to_owned() }];
            }),
        ),
    ];
    for (what, case) in &cases {
        let _ = same(what, case);
    }
    // What is known of shared files is not what they hold: a word that is bound to that cannot be given.
    let plan = same("a release is wanted", &one(&a)).environments.remove(0);
    assert_eq!((plan.binding, plan.reviewed), (None, None));
    let bare = a.clone().with(|state| state.files.clear());
    let plan = read(&one(&bare), &published(&one(&bare))).env("production");
    assert_eq!(plan.binding, one(&bare).env("production").binding);
}

#[test]
fn words_count_for_the_reader_where_they_do_for_the_daemon() {
    let mut env = production('b');
    env.approvals = 1;
    env.targets = vec![target("web1"), target("web2")];
    env.hooks.push(hook(Phase::Migrate, "sesame"));
    env.hooks[0].name = "migrate".to_owned();
    let (a, done) = (Host::running(&env, 'a'), Host::running(&env, 'a').deployed(&env, 'b', 5));
    let case = |one: &Host| Case::new(&env, &[("web1", one), ("web2", &a)]);
    let whole = case(&a).env("production");
    let said = |one: &Host, words: Vec<Approval>| case(one).seen("production", |seen| seen.approvals = words);
    let yes = || word("Ann <ann@example.com>", true, &whole);
    let verdict = |what: &str, case: Case| same(what, &case).environments.remove(0).verdict.as_str();
    assert_eq!(verdict("nobody spoke", said(&a, Vec::new())), "PENDING");
    assert_eq!(verdict("approved", said(&a, vec![yes()])), "GO");
    assert_eq!(verdict("rejected", said(&a, vec![yes(), word("eve@example.com", false, &whole)])), "NO-GO");
    assert_eq!(
        verdict("approved after all", said(&a, vec![word("Ann <ann@example.com>", false, &whole), yes()])),
        "GO"
    );
    let half = done.migration(&env, 'b', Migration::Done);
    assert_eq!(verdict("a part is done", said(&half, vec![yes()])), "GO");
    let rest = word("Ann <ann@example.com>", true, &case(&half).env("production"));
    assert_eq!(verdict("only a part was approved", said(&a, vec![rest])), "PENDING");
    // The reader looks at another commit: what was approved there is not this.
    let mut other = read(&said(&a, vec![yes()]), &published(&said(&a, vec![yes()])));
    let changed = other.desired.environments.get_mut(&env_name("production")).unwrap();
    changed.variables.insert("x".to_owned(), "y".to_owned());
    assert_eq!(other.env("production").verdict.as_str(), "PENDING");
}

#[test]
fn a_promotion_is_judged_by_what_its_source_publishes() {
    let staging = environment("staging", 'b');
    for (soak, minutes) in [("soaked", 90), ("soaks", 5)] {
        for by in [Match::Sha, Match::Bundle, Match::Tree] {
            let mut env = production('b');
            env.promote = Some(Promote { from: staging.name.clone(), soak: Duration::from_secs(3600), by });
            env.unreachable = Unreachable::Skip;
            let theirs = Host::fresh().deployed(&staging, 'b', minutes);
            let case = Case::new(&staging, &[("web1", &theirs)]).and(&env, &[("web1", &Host::running(&env, 'a'))]);
            let case = case.seen("production", |seen| seen.tree = Some("tree".to_owned()));
            let case = case.seen("staging", |seen| drop(seen.live_trees.insert(sha('b'), "tree".to_owned())));
            let plan = same(soak, &case);
            assert_eq!(
                plan.environments.iter().all(|env| env.verdict.as_str() == "GO"),
                minutes == 90,
                "{soak} {by:?}"
            );
        }
    }
}

#[test]
fn a_token_says_no_more_than_whether_two_are_equal() {
    let env = production('b');
    let digest = Digest::of(b"APP_KEY=1").to_string();
    let of = |key: u8| {
        let case = Case::new(&env, &[("web1", &Host::running(&env, 'a'))]);
        let seen = &case.observed.environments[&env.name];
        let view = publish::environment(&Veil::new(&[key; 32]), &case.desired, &env, (String::new(), case.now), seen);
        serde_json::to_value(view).unwrap()["hosts"]["web1"]["reached"].clone()
    };
    let (one, other) = (of(1), of(2));
    assert_eq!(one["files"], one["confirmed"]["files"]);
    assert_ne!(one["files"], other["files"]);
    assert!(!one.to_string().contains(&digest));
}

/// Versions of rendered files are digests of what is secret: they are tokens wherever they are published, in links as well, and
/// a reader plans with them what the daemon plans.
#[test]
fn versions_of_rendered_files_are_published_as_tokens() {
    let mut env = production('a');
    env.files = vec![soll::model::desired::File {
        path: ".env".to_owned(),
        from: ".env".to_owned(),
        template: "production.env".to_owned(),
        text: "APP_KEY={secret:APP_KEY}".to_owned(),
        mode: 0o600,
        owner: None,
    }];
    let made = |now: &str| {
        // What is rendered is not looked for on the host.
        let told = |state: &mut soll::model::observed::HostState| state.files.clear();
        Host::fresh().with(told).renders(".env", "1").deployed(&env, 'a', 90).renders(".env", now)
    };
    for (now, word) in [("1", "in-sync"), ("2", "out-of-sync")] {
        let host = made(now);
        let case = Case::new(&env, &[("web1", &host)]);
        let text = published(&case);
        let links = host.0.record.releases.values().filter_map(|release| release.links);
        for digest in host.0.rendered.values().copied().chain(links) {
            assert!(!text.contains(&digest.to_string()), "{now}: {digest} is published:\n{text}");
        }
        let plan = same(now, &case);
        assert_eq!(serde_json::to_value(plan.environments[0].sync).unwrap(), word);
        // Templates and variables are reviewed, and stand in the configuration; nobody reviews a secret.
        assert_eq!(plan.environments[0].binding, case.env("production").binding);
    }
}
