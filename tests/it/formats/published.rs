//! What a daemon publishes, as its version 2 has it: written the same, and read for ever.

use soll::model::desired::{Before, Environment, Phase, Probe};
use soll::model::observed::{Approval, Attempt, CheckResult, DriftKind, Verdict};
use soll::model::record::{Ailing, Migration, Returned};

use super::fixtures;
use crate::planner::published::{published, read};
use crate::support::states::*;

/// Something of everything.
fn case() -> Case {
    let mut env = Environment { approvals: 1, ..environment("production", 'd') };
    env.targets = vec![target("web1"), target("web2"), target("web3")];
    env.hooks = vec![hook(Phase::Migrate, "migrate")];
    env.health.before = Before::Warn;
    let check = env.health.checks[0].clone();
    let run = Probe::Run { command: "test -e index.html".to_owned() };
    env.health.checks.push(soll::model::desired::Check { name: "test -e index.html".to_owned(), probe: run, ..check });
    let checked = |name: &str, verdict| {
        let attempt = Attempt { at: ago(1), verdict, evidence: "200 in 3 ms".to_owned(), millis: 3 };
        CheckResult { check: name.to_owned(), verdict, attempts: vec![attempt] }
    };
    let web1 = Host::fresh().deployed(&env, 'a', 300).deployed(&env, 'b', 90).failed(&env, 'c');
    let web1 = web1.migration(&env, 'b', Migration::Done).drifted(&[("index.php", DriftKind::Changed)]);
    let web1 = web1.with(|state| {
        state.health = vec![checked("health", Verdict::Pass), checked("test -e index.html", Verdict::Fail)];
        state.missing_env = vec!["APP_KEY".to_owned()];
        state.record.ailing = Some(Ailing { release: release('b', 90), since: ago(9), samples: 1 });
    });
    let web2 = Host::fresh().deployed(&env, 'a', 300).switched(&env, 'd', 2).file(".env", Some("APP_KEY=2"));
    let web2 = web2.with(|state| {
        let reason = "no controller was heard".to_owned();
        let (from, to) = (release('c', 20), Some(release('a', 300)));
        state.record.returned = Some(Returned { from, to, at: ago(18), reason });
    });
    let case = Case::new(&env, &[("web1", &web1), ("web2", &web2)]).unreachable("production", "web3");
    let plan = case.env("production");
    case.seen("production", |seen| {
        seen.health = vec![checked("health", Verdict::Inconclusive)];
        seen.approvals = vec![Approval {
            by: "ann@example.com".to_owned(),
            at: ago(3),
            approve: true,
            note: None,
            reviewed: plan.reviewed.clone(),
            trusted: true,
        }];
        seen.live_trees.insert(sha('b'), "b".repeat(40));
    })
}

#[test]
fn what_is_published_is_written_and_read_as_ever() {
    let (case, path) = (case(), fixtures().join("formats/observation-2.json"));
    let text = published(&case);
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "what is published has another form than version 2: {}", path.display());
    let plan = read(&case, &golden).env("production");
    assert_eq!(plan.fingerprint, case.env("production").fingerprint);
    let ids = |steps: &[soll::plan::Step]| steps.iter().map(|step| step.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&plan.steps), ids(&case.env("production").steps));
    // What this version does not know does not keep it from reading the rest.
    let more = golden.replacen("\"resolved\"", "\"invented\": {\"later\": 1},\n      \"resolved\"", 1);
    assert_eq!(read(&case, &more).env("production"), plan);
}
