//! Releases of kind `compose`: what of the plan is theirs, and what is told of their services.

use std::collections::BTreeSet;

use insta::assert_snapshot;
use soll::model::activation::Activation;
use soll::model::compose::ServiceSeen;
use soll::model::desired::{DriftPolicy, Environment, FilesFrom, OnFailure, Phase, Registry};
use soll::model::observed::Fact;
use soll::plan::back::{Cause, Host as Returning, back};
use soll::plan::render::services;
use soll::plan::{Code, EnvPlan};

use super::{compact, steps};
use crate::support::states::*;

fn production(digit: char) -> Environment {
    of_services(environment("production", digit))
}

fn service(name: &str, image: &str) -> ServiceSeen {
    ServiceSeen {
        service: name.to_owned(),
        wanted: 1,
        running: 1,
        image: image.to_owned(),
        digest_ok: true,
        state: "running".to_owned(),
        ..ServiceSeen::default()
    }
}

/// An `api` of that release, a worker and a database beside it.
fn three(host: Host, digit: char) -> Host {
    let short = digit.to_string().repeat(8);
    let api = format!("r.example/acme/api:{short}@sha256:{}", "1".repeat(64));
    let health = Some("healthy".to_owned());
    let seen = vec![
        ServiceSeen { health, ..service("api", &api) },
        service("db", "postgres:16@sha256:2222"),
        ServiceSeen { wanted: 3, running: 3, ..service("worker", "r.example/acme/worker:1") },
    ];
    host.with(|state| state.services = seen)
}

/// The same with one of them changed.
fn but(host: &Host, name: &str, change: impl FnOnce(&mut ServiceSeen)) -> Host {
    host.clone().with(|state| change(state.services.iter_mut().find(|seen| seen.service == name).unwrap()))
}

fn plan(env: &Environment, host: &Host) -> EnvPlan {
    Case::new(env, &[("web1", host)]).env("production")
}

#[test]
fn images_are_pulled_everywhere_before_anything_is_stopped_anywhere() {
    let mut env = production('b');
    env.targets = vec![target("web1"), target("web2")];
    env.hooks = vec![hook(Phase::Prepare, "render"), hook(Phase::Migrate, "migrate")];
    let hosts = [("web1", &Host::running(&env, 'a')), ("web2", &Host::fresh())];
    let found = Case::new(&env, &hosts).env("production");
    assert_snapshot!("services_deploy", compact(&found));
    let all = |kind: &str| found.steps.iter().filter(|step| step.action.kind() == kind).count();
    assert_eq!((all("pull"), all("activate"), all("switch")), (2, 2, 2));
}

/// I5: what a service leaves behind does not come back, so the plan says so before anybody approves it.
#[test]
fn what_leaves_its_data_behind_cannot_be_taken_back() {
    let mut env = production('b');
    let host = three(Host::running(&production('a'), 'a'), 'a');
    let marked = |found: &EnvPlan| {
        let marked = found.steps.iter().filter(|step| step.irreversible);
        marked.map(|step| (step.action.kind(), step.reason.clone())).collect::<Vec<_>>()
    };
    assert_eq!(marked(&plan(&env, &host)), []);
    files_of(&mut env).replace_volumes = vec!["db".to_owned()];
    let found = marked(&plan(&env, &host));
    let (kind, why) = found.first().expect("one step is marked");
    assert_eq!((found.len(), *kind), (1, "activate"));
    assert!(why.contains("db may leave its data behind, as `replace_volumes` says"), "{why}");
}

#[test]
fn another_tree_image_or_variable_makes_the_release_anew_at_the_same_commit() {
    let env = production('a');
    let host = three(Host::running(&env, 'a'), 'a');
    assert!(plan(&env, &host).steps.is_empty(), "{}", compact(&plan(&env, &host)));
    let mut tree = env.clone();
    files_of(&mut tree).from = FilesFrom::Directory { path: "platform".to_owned(), tree: "8".repeat(40) };
    assert_snapshot!("services_other_tree", compact(&plan(&tree, &host)));
    let changes: [fn(&mut Environment); 4] = [
        |env| drop(files_of(env).images.insert("api".to_owned(), "r.example/api:{sha}".to_owned())),
        |env| files_of(env).once = vec!["migrate".to_owned()],
        |env| files_of(env).scale = [("worker".to_owned(), 5)].into(),
        |env| drop(env.variables.insert("tenant".to_owned(), "other".to_owned())),
    ];
    for change in changes {
        let mut other = env.clone();
        change(&mut other);
        let found = plan(&other, &host);
        assert!(found.steps.iter().any(|step| step.id == "pull:web1"), "{}", compact(&found));
    }
    // Who logs in, and where the directory lies, is no other release.
    let mut same = env.clone();
    let login = Registry { user: "deploy".to_owned(), password: "TOKEN".to_owned() };
    files_of(&mut same).registries.insert("r.example".to_owned(), login);
    assert!(plan(&same, &host).steps.is_empty());
    // What is resolved into a release does not follow a shared file by itself.
    let changed = host.clone().file(".env", Some("APP_KEY=2"));
    assert_snapshot!("services_other_env_file", compact(&plan(&env, &changed)));
}

#[test]
fn a_release_that_is_there_is_returned_to_without_a_registry() {
    let env = production('a');
    let there = Host::fresh().deployed(&env, 'a', 300).deployed(&production('b'), 'b', 90);
    let found = plan(&env, &three(there, 'b'));
    assert_snapshot!("services_switch_to", compact(&found));
    assert!(!found.steps.iter().any(|step| step.action.kind() == "pull"));
    let confirmed = Some((release('a', 300), Some(sha('a'))));
    let activation = Activation::of(&env, &target("web1"));
    let host = Returning {
        name: host_name("web1"),
        switched: true,
        confirmed,
        activation,
        closed: false,
        drained: Activation::default(),
    };
    let cause = Cause { on_failure: OnFailure::Rollback, reason: "503".to_owned(), revert: None, verdict: None };
    assert_snapshot!("services_back", steps(&back(&env, &[host], &cause)));
}

#[test]
fn services_that_differ_are_told_or_brought_up_again() {
    let env = production('a');
    let well = three(Host::running(&env, 'a'), 'a');
    let down = but(&well, "worker", |seen| seen.running = 1);
    let down = but(&down, "db", |seen| (seen.running, seen.state) = (0, "exited (1)".to_owned()));
    assert_snapshot!("services_reported", compact(&plan(&env, &down)));
    let heal = Environment { drift: DriftPolicy::Heal, hooks: vec![hook(Phase::Restart, "kick")], ..env.clone() };
    assert!(plan(&heal, &well).steps.is_empty());
    assert_snapshot!("services_revived", compact(&plan(&heal, &down)));
    let ignore = Environment { drift: DriftPolicy::Ignore, ..env.clone() };
    assert!(plan(&ignore, &down).blockers.is_empty() && plan(&ignore, &down).steps.is_empty());
    // A container that somebody made under its name is none of the release: told, and left alone.
    let beside = well.clone().with(|state| {
        let extra = ServiceSeen { wanted: 0, digest_ok: false, state: "extra".to_owned(), ..service("psql", "x") };
        state.services.push(extra);
    });
    let found = plan(&heal, &beside);
    assert!(found.steps.is_empty() && found.blockers.iter().any(|b| b.code == Code::Drift), "{}", compact(&found));
    // What does not stay up is the release's own fault.
    let condemned = down.clone().with(|state| {
        let key = soll::plan::intent::quarantine_key(&heal, state, &sha('a'), Some(made_of(&heal, 'a')));
        let verdict = soll::model::record::Quarantine {
            key,
            reason: "db exited".to_owned(),
            at: ago(1),
            verdict: true,
            alone: false,
        };
        state.record.quarantine(verdict);
    });
    assert!(plan(&heal, &condemned).steps.is_empty(), "{}", compact(&plan(&heal, &condemned)));
    let unseen = well.with(|state| {
        state.services.clear();
        state.services_unseen = Some("the engine does not answer".to_owned());
    });
    let found = plan(&heal, &unseen);
    assert!(found.steps.is_empty(), "what cannot be seen is not brought up: {}", compact(&found));
    assert!(found.blockers.iter().any(|b| b.message.contains("does not answer")), "{}", compact(&found));
}

#[test]
fn soll_and_ist_stand_beside_each_other() {
    let mut env = production('b');
    files_of(&mut env).scale = [("worker".to_owned(), 5)].into();
    files_of(&mut env).images.insert("mail".to_owned(), "r.example/mail:{sha8}".to_owned());
    let host = three(Host::running(&production('a'), 'a'), 'a');
    let host = but(&host, "db", |seen| (seen.digest_ok, seen.restarts) = (false, 4));
    let found = plan(&env, &host);
    let lines = services::of(&found, &found.hosts[0]).join("\n");
    assert_snapshot!("services_lines", format!("{lines}\n\n{}", services::summary(&found.hosts[0].services)));
    let whole = Case::new(&env, &[("web1", &host)]).plan();
    let text = soll::plan::render::text(&whole, soll::plan::render::Style::Plain);
    let markdown = soll::plan::render::markdown(&whole);
    for part in ["5 are wanted", "r.example/mail:bbbbbbbb", "not as released"] {
        assert!(text.contains(part) && markdown.contains(part), "{part}\n{text}\n{markdown}");
    }
    // How a service is at the moment is no part of what is compared (law 7).
    let other = but(&host, "api", |seen| (seen.health, seen.restarts) = (Some("starting".to_owned()), 1));
    assert_eq!(whole.compare_bytes(), Case::new(&env, &[("web1", &other)]).plan().compare_bytes());
}

#[test]
fn what_a_plan_needs_of_the_controller_stands_in_its_way() {
    let mut env = production('b');
    let login = Registry { user: "deploy".to_owned(), password: "REGISTRY_TOKEN".to_owned() };
    files_of(&mut env).registries.insert("r.example".to_owned(), login);
    let host = Host::running(&env, 'a');
    let mut case = Case::new(&env, &[("web1", &host)]);
    case.secrets = Some(BTreeSet::new());
    assert_snapshot!("services_without_a_secret", compact(&case.env("production")));
    case.secrets = Some(BTreeSet::from(["REGISTRY_TOKEN".to_owned()]));
    assert!(case.env("production").blockers.is_empty());
    // A state file that lies on a disk says nothing of what a commit would hold.
    let unknown = case.seen("production", |seen| seen.artifact.as_mut().unwrap().sha256 = Fact::Missing);
    assert!(unknown.env("production").blockers.iter().any(|b| b.code == Code::CommitMissing));
}
