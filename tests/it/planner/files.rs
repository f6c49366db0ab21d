//! Rendered files in the plan: what is linked to another version is made anew, and what is not known is never taken for it.

use std::collections::BTreeSet;

use insta::assert_snapshot;
use soll::model::desired::{Environment, File};
use soll::plan::intent::{links_digest, quarantine_key};

use super::compact;
use crate::support::states::*;

fn with_file(digit: char, text: &str) -> Environment {
    let file = File {
        path: ".env".to_owned(),
        from: ".env".to_owned(),
        template: "env/production.env".to_owned(),
        text: text.to_owned(),
        mode: 0o600,
        owner: None,
    };
    Environment { files: vec![file], ..environment("production", digit) }
}

/// A host whose live release reads the version `made`, where `now` is what is desired.
fn host(env: &Environment, digit: char, made: &str, now: &str) -> Host {
    Host::fresh().renders(".env", made).deployed(env, digit, 90).renders(".env", now)
}

fn plan(env: &Environment, host: &Host) -> String {
    compact(&Case::new(env, &[("web1", host)]).env("production"))
}

#[test]
fn another_version_is_a_deployment_of_the_same_commit() {
    let env = with_file('a', "APP_KEY={secret:APP_KEY}\n");
    let same = plan(&env, &host(&env, 'a', "1", "1"));
    assert!(same.starts_with("GO in-sync"), "{same}");
    assert_snapshot!("files_changed", plan(&env, &host(&env, 'a', "1", "2")));
    let told = host(&env, 'a', "1", "2").with(|state| state.rerendered = vec![".env: changed APP_KEY".to_owned()]);
    assert_snapshot!("files_changed_by_name", plan(&env, &told));
    // What could not be rendered is like nothing that is there.
    let unknown = host(&env, 'a', "1", "1").with(|state| state.rendered.clear());
    assert!(plan(&env, &unknown).contains("render"), "{}", plan(&env, &unknown));
}

#[test]
fn an_old_release_is_returned_to_with_the_version_that_it_has() {
    let env = with_file('a', "APP_KEY={secret:APP_KEY}\n");
    let both = |made: &str, now: &str| {
        Host::fresh().renders(".env", made).deployed(&env, 'a', 300).deployed(&env, 'b', 90).renders(".env", now)
    };
    assert_snapshot!("files_switch_to", plan(&env, &both("1", "1")));
    // With another version it is made anew: the old one would run with what nobody desires any more.
    assert!(plan(&env, &both("1", "2")).contains("render"), "{}", plan(&env, &both("1", "2")));
}

#[test]
fn a_secret_that_is_missing_blocks_by_its_name() {
    let env = with_file('b', "APP_KEY={secret:APP_KEY}\nOTHER={secret:OTHER@2}\n");
    let host = host(&env, 'a', "1", "1").with(|state| state.rendered.clear());
    let mut case = Case::new(&env, &[("web1", &host)]);
    case.secrets = Some(BTreeSet::from(["APP_KEY".to_owned(), "HEALTH_TOKEN".to_owned()]));
    assert_snapshot!("files_secret_missing", compact(&case.env("production")));
}

#[test]
fn a_repaired_template_or_version_is_another_case() {
    let (env, other) = (with_file('a', "A=1\n"), with_file('a', "A=2\n"));
    let (one, two) = (host(&env, 'a', "1", "1"), host(&env, 'a', "1", "2"));
    let key = |env: &Environment, host: &Host| quarantine_key(env, &host.0, &sha('a'), None);
    assert_ne!(key(&env, &one), key(&other, &one));
    assert_ne!(key(&env, &one), key(&env, &two));
    assert_ne!(links_digest(&env, &one.0), links_digest(&env, &two.0));
    let plain = environment("production", 'a');
    assert_eq!(links_digest(&plain, &one.0), links_digest(&plain, &two.0), "whoever renders nothing keeps its digests");
}
