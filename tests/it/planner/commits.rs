//! Releases of kind `git`: what of the plan is theirs.

use insta::assert_snapshot;
use soll::model::desired::FetchFrom;
use soll::model::observed::Fact;

use super::compact;
use crate::support::states::*;

#[test]
fn a_commit_is_sent_by_the_controller_or_fetched_by_each_host() {
    let mut env = of_commits(environment("production", 'b'));
    env.targets = vec![target("web1"), target("web2")];
    let running = Host::running(&env, 'a');
    let hosts = [("web1", &running), ("web2", &Host::fresh())];
    assert_snapshot!("commit_by_controller", compact(&Case::new(&env, &hosts).env("production")));
    checkout_of(&mut env).fetch_from = FetchFrom::Host;
    assert_snapshot!("commit_by_hosts", compact(&Case::new(&env, &hosts).env("production")));
    // Who fetches changes nothing of what is there.
    let there = Host::running(&env, 'b');
    let plan = Case::new(&env, &[("web1", &there), ("web2", &there)]).env("production");
    assert!(plan.steps.is_empty(), "{}", compact(&plan));
}

#[test]
fn another_part_of_the_same_commit_makes_the_release_anew() {
    let env = of_commits(environment("production", 'a'));
    let host = Host::running(&env, 'a');
    let plan = |env: &soll::model::desired::Environment| Case::new(env, &[("web1", &host)]).env("production");
    assert!(plan(&env).steps.is_empty(), "{}", compact(&plan(&env)));
    let mut other = env.clone();
    checkout_of(&mut other).directory = "web".to_owned();
    assert_snapshot!("commit_other_directory", compact(&plan(&other)));
    let mut with = env.clone();
    checkout_of(&mut with).submodules = true;
    assert_snapshot!("commit_with_submodules", compact(&plan(&with)));
    // The old release of the other part is none to return to for this one.
    let back = Host::fresh().deployed(&other, 'a', 300).deployed(&env, 'b', 90);
    let plan = Case::new(&env, &[("web1", &back)]).env("production");
    assert!(plan.steps.iter().any(|step| step.id == "fetch"), "{}", compact(&plan));
}

#[test]
fn what_is_not_there_and_what_was_not_checked_blocks_in_its_own_words() {
    let mut env = of_commits(environment("production", 'b'));
    env.checks = vec!["test".to_owned()];
    let host = Host::running(&env, 'a');
    let case = Case::new(&env, &[("web1", &host)]);
    let missing = case.clone().seen("production", |seen| {
        let artifact = seen.artifact.as_mut().unwrap();
        (artifact.sha256, artifact.checks) = (Fact::Missing, Fact::Missing);
    });
    assert_snapshot!("commit_missing", compact(&missing.env("production")));
    let unseen = case.seen("production", |seen| {
        let artifact = seen.artifact.as_mut().unwrap();
        artifact.sha256 = Fact::Unknown("timed out".to_owned());
        artifact.checks = Fact::Unknown("timed out".to_owned());
    });
    assert_snapshot!("commit_unseen", compact(&unseen.env("production")));
}
