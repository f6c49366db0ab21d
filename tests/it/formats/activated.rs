//! What runs a release, units and a project of services, as the first version that knew of them left it
//! (`fixtures/formats/activated-vN`, made by `fixtures/formats/make-activated`): it is read by this one, and means the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use soll::host::disk::root::Root;
use soll::host::release::compose::Held;
use soll::journal::{RunResult, RunState, Subject};
use soll::model::desired::Desired;
use soll::model::desired::diagnose::SourceFile;
use soll::model::desired::load::{Sources, load_without, matcher};
use soll::model::ids::EnvName;
use soll::model::observed::Observed;
use soll::model::published::EnvironmentV2;
use soll::model::record::Record;
use soll::plan::{Context, Plan, plan_environment};
use soll::store::Store;

use super::fixtures;
use crate::support::world::World;

const VERSIONS: [&str; 1] = ["activated-v5"];

fn folder(version: &str) -> PathBuf {
    fixtures().join("formats").join(version)
}

fn read(version: &str, name: &str) -> String {
    let path = folder(version).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The id of the directory of the project, as Git calls it.
fn tree(version: &str) -> String {
    let w = World::new();
    for file in ["compose.yml", "web/site.conf"] {
        let text = read(version, &format!("state/platform/{file}"));
        fs::create_dir_all(w.path("project/platform/web")).unwrap();
        fs::write(w.path("project/platform").join(file), text).unwrap();
    }
    w.git(&["init", "-q", "-b", "main", &w.path("project").display().to_string()]);
    w.commit_in("project", "the project");
    w.git_in("project", &["rev-parse", "HEAD:platform"]).trim().to_owned()
}

/// The state as that version has read it.
fn desired(version: &str) -> Desired {
    let tree = tree(version);
    let files = |glob: &str| {
        let matcher = matcher(glob)?;
        let all = ["env/platform.env", "platform/compose.yml", "platform/web/site.conf"];
        let matching = all.into_iter().filter(|path| matcher.is_match(Path::new(path)));
        Ok(matching.map(|path| SourceFile::of(path, Ok(read(version, &format!("state/{path}"))))).collect())
    };
    let sources = Sources { files: &files, tree: &|_| Ok(Some(tree.clone())) };
    let main = SourceFile::of("desired-state.toml", Ok(read(version, "state/desired-state.toml")));
    load_without(main, &sources, &BTreeSet::new()).unwrap_or_else(|errors| panic!("{version}: {errors}")).desired
}

/// A plan that was saved and reviewed before an upgrade is not stale after it, and nothing is deployed because of it.
#[test]
fn what_was_observed_gives_the_plan_that_was_made_of_it() {
    for version in VERSIONS {
        let saved: Plan = serde_json::from_str(&read(version, "plan.json")).unwrap();
        let mut published: serde_json::Value = serde_json::from_str(&read(version, "observation.json")).unwrap();
        let published: BTreeMap<EnvName, EnvironmentV2> =
            serde_json::from_value(published["observed"]["environments"].take()).unwrap();
        let environments = published.into_iter().map(|(name, seen)| (name, seen.unveil()));
        let observed = Observed { environments: environments.collect() };
        let desired = desired(version);
        assert_eq!(saved.environments.len(), 2, "{version}");
        for saved_env in &saved.environments {
            let env = &desired.environments[&saved_env.name];
            let now = "2026-11-30T20:31:00Z".parse().unwrap();
            let context = Context { commit: &saved.commit, now, secrets: None };
            let made = plan_environment(&desired, &observed, env, &context);
            assert_eq!(made.fingerprint, saved_env.fingerprint, "{version} {}", env.name);
            let ids = |steps: &[soll::plan::Step]| steps.iter().map(|step| step.id.clone()).collect::<Vec<_>>();
            assert_eq!(ids(&made.steps), ids(&saved_env.steps), "{version} {}", env.name);
            assert!(made.steps.iter().any(|step| step.action.kind() == "activate"), "{version} {}", env.name);
        }
    }
}

/// What a host remembers is all understood: a key that nobody reads any more would have been lost.
#[test]
fn the_record_of_a_host_is_read_and_written_as_it_was() {
    for version in VERSIONS {
        for root in ["root", "platform"] {
            let text = read(version, &format!("{root}/.soll/record.json"));
            let record: Record = serde_json::from_str(&text).unwrap();
            assert_eq!(record.quarantined.len(), 1, "{version} {root}: what failed is remembered");
            assert!(record.confirmed.is_some(), "{version} {root}");
            let mut before: serde_json::Value = serde_json::from_str(&text).unwrap();
            // Who wrote it.
            before.as_object_mut().unwrap().remove("by");
            assert_eq!(serde_json::to_value(&record).unwrap(), before, "{version} {root}");
        }
    }
}

/// Another digest would make every container anew.
#[test]
fn the_services_of_a_release_have_the_digests_that_their_containers_bear() {
    for version in VERSIONS {
        let current = fs::read_link(folder(version).join("platform/current")).unwrap();
        let release = current.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let held = Held::of(&Root::at(folder(version).join("platform").to_str().unwrap()).unwrap(), &release)
            .unwrap()
            .unwrap();
        let labels = read(version, "labels");
        let labels = labels.lines().filter_map(|line| line.split_once(' '));
        let labels: Vec<_> = labels.map(|(service, digest)| (service.to_owned(), digest.to_owned())).collect();
        assert_eq!(held.services().collect::<Vec<_>>(), [("api", 1), ("db", 1), ("web", 2)], "{version}");
        let lasting: Vec<_> = held.digests.into_iter().filter(|(service, _)| service != "migrate").collect();
        assert_eq!(lasting, labels, "{version}");
    }
}

#[test]
fn the_history_is_read() {
    for version in VERSIONS {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(folder(version).join("soll.db"), dir.path().join("soll.db")).unwrap();
        let store = Store::open(dir.path()).unwrap();
        for env in ["production", "platform"] {
            let runs = store.runs(Some(&env.parse().unwrap()), Some(Subject::Deploy), 10).unwrap();
            let ended: Vec<_> = runs.iter().rev().map(|run| run.result.unwrap()).collect();
            assert_eq!(ended, [RunResult::Succeeded, RunResult::Succeeded, RunResult::RolledBack], "{version} {env}");
            for run in &runs {
                let events = store.events(&run.run).unwrap();
                let state = RunState::of(events.iter().map(|(_, event)| event));
                assert_eq!(state.result.map(|(result, _)| result), run.result, "{version} {env}");
            }
        }
    }
}
