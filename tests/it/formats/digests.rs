//! The digests that hosts remember are what they were, byte for byte.

use std::collections::BTreeMap;
use std::path::Path;

use soll::model::desired::diagnose::SourceFile;
use soll::model::desired::load::{load, matcher};
use soll::model::desired::{Desired, digests};
use soll::model::ids::{Digest, HostName};

use super::fixtures;

fn desired(name: &str) -> Desired {
    let folder = fixtures().join("state/good");
    let read = |path: &Path| {
        let name = path.strip_prefix(&folder).unwrap().to_str().unwrap();
        SourceFile::of(name, Ok(std::fs::read_to_string(path).unwrap()))
    };
    let included = |glob: &str| {
        let matcher = matcher(glob)?;
        let folders = ["environments", "platform", "env"].map(|name| std::fs::read_dir(folder.join(name)).unwrap());
        let below = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
        Ok(below.filter(|path| matcher.is_match(path.strip_prefix(&folder).unwrap())).map(|path| read(&path)).collect())
    };
    load(read(&folder.join(name)), &included).unwrap_or_else(|errors| panic!("{name}: {errors}")).desired
}

/// File, environment and, of a share in pull mode, its host; then configuration, inputs, links, environment.
fn lines(file: &str) -> Vec<String> {
    let desired = desired(file);
    let all = desired.environments.values().map(|env| {
        let [config, inputs, links] = [env.config_digest(), env.inputs_digest(), digests::links(&env.shared)];
        format!("{file} {} {config} {inputs} {links} {}", env.name, env.digest())
    });
    let mut lines: Vec<String> = all.collect();
    let hosts: Vec<HostName> = desired.hosts().into_iter().cloned().collect();
    for host in hosts {
        let share = desired.clone().pulled(&host);
        lines.extend(
            share.environments.values().map(|env| format!("{file} {}@{host} - - - {}", env.name, env.digest())),
        );
    }
    lines
}

/// A difference here redeploys every fleet and lifts every verdict. A recipe that is changed shows here, too: whoever uses
/// it gets other hooks, which is a new case, and should be meant.
#[test]
fn what_hosts_remember_has_the_digest_that_it_had() {
    let first = ["commits.toml", "contract.toml", "every-key.toml", "layers.toml", "minimal.toml", "policy.toml"];
    for (name, files) in [
        ("v1/digests.txt", &first[..]),
        ("digests-units.txt", &["units.toml"]),
        ("digests-projects.txt", &["compose.toml", "files.toml"]),
    ] {
        let pinned = std::fs::read_to_string(fixtures().join("formats").join(name)).unwrap();
        let pinned: Vec<&str> = pinned.lines().filter(|line| !line.starts_with('#')).collect();
        let now: Vec<String> = files.iter().flat_map(|file| lines(file)).collect();
        assert_eq!(now, pinned, "{name}");
    }
}

/// What lets a bundle in changes nothing of what runs, nor of a verdict about it.
#[test]
fn where_links_may_lead_is_no_input_of_a_release() {
    let before = desired("minimal.toml").environments.into_values().next().unwrap();
    let mut after = before.clone();
    after.links_out.push("/usr/bin/python3*".to_owned());
    assert_eq!(after.inputs_digest(), before.inputs_digest());
    assert_eq!(after.config_digest(), before.config_digest());
    assert_ne!(after.digest(), before.digest(), "a saved plan is stale all the same");
}

/// What runs a release is judged with it, and is an input of it: another unit at the same commit is started. Whoever has none
/// keeps every digest, also with a time in which they would settle.
#[test]
fn units_make_another_case_and_other_inputs() {
    let before = desired("minimal.toml").environments.into_values().next().unwrap();
    let all = |env: &soll::model::desired::Environment| [env.config_digest(), env.inputs_digest(), env.digest()];
    let slow = soll::model::desired::Environment { settle: std::time::Duration::from_secs(60), ..before.clone() };
    assert_eq!(all(&slow), all(&before));
    let with = |name: &str, user| {
        let unit = soll::model::activation::Unit { name: name.to_owned(), user };
        soll::model::desired::Environment { units: vec![unit], ..before.clone() }
    };
    let cases = [before.clone(), with("a.service", false), with("a.service", true), with("b.service", false)];
    let slow = soll::model::desired::Environment { settle: slow.settle, ..with("b.service", false) };
    let cases: Vec<_> = cases.iter().chain([&slow]).map(all).collect();
    for kind in 0..3 {
        let each: std::collections::BTreeSet<_> = cases.iter().map(|digests| digests[kind].to_string()).collect();
        assert_eq!(each.len(), cases.len(), "{kind}");
    }
}

/// What is rendered is judged with the release, and a change of it is a change of what is approved. Whoever renders nothing keeps
/// every digest; where a template is decides nothing.
#[test]
fn rendered_files_make_another_case() {
    use soll::model::desired::{Environment, File};
    let before = desired("minimal.toml").environments.into_values().next().unwrap();
    let file = |text: &str, mode: u32, owner: Option<&str>| File {
        path: ".env".to_owned(),
        from: ".env".to_owned(),
        template: format!("env/{mode}"),
        text: text.to_owned(),
        mode,
        owner: owner.map(str::to_owned),
    };
    let with = |file: File| Environment { files: vec![file], ..before.clone() };
    let all = |env: &Environment| [env.config_digest().to_string(), env.digest().to_string()];
    let cases = [
        before.clone(),
        with(file("A=1", 0o600, None)),
        with(file("A=2", 0o600, None)),
        with(file("A=1", 0o640, None)),
        with(file("A=1", 0o600, Some("www-data"))),
    ];
    for kind in 0..2 {
        let each: std::collections::BTreeSet<_> = cases.iter().map(|env| all(env)[kind].clone()).collect();
        assert_eq!(each.len(), cases.len(), "{kind}");
    }
    let elsewhere = with(File { template: "elsewhere".to_owned(), ..file("A=1", 0o600, None) });
    assert_eq!(all(&elsewhere), all(&cases[1]));
    assert_eq!(cases[1].inputs_digest(), before.inputs_digest(), "the links of the release say it");
}

/// The same archive on other terms is another release: a verdict about the other one is not about it. What runs is made anew
/// by its record, and not because its variables were others.
#[test]
fn what_is_stripped_of_an_archive_makes_another_case() {
    let before = desired("minimal.toml").environments.into_values().next().unwrap();
    let mut after = before.clone();
    crate::support::states::bundle_of(&mut after).strip = 1;
    assert_eq!(after.inputs_digest(), before.inputs_digest());
    assert_ne!(after.config_digest(), before.config_digest());
    assert_ne!(after.digest(), before.digest());
}

#[test]
fn shared_files_have_the_digest_that_they_had() {
    let none = digests::files(&BTreeMap::new()).to_string();
    assert_eq!(none, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    let two = [(".env", b"APP_KEY=1".as_slice()), ("config/local.php", b"<?php")];
    let two = two.map(|(path, text)| (path.to_owned(), Digest::of(text))).into();
    assert_eq!(digests::files(&two).to_string(), "3f51778745b26fe4bb3a72b34fb8945b21f8096210abd1b61ff6eac5ee65058b");
}

/// What a release of a commit goes by stands in the records of hosts: another digest would make every release anew.
#[test]
fn commits_go_by_the_digest_that_they_had() {
    let env = crate::support::states::of_commits(crate::support::states::environment("production", 'a'));
    let soll::model::desired::Delivery::Git(all) = env.delivery else { panic!("its releases are commits") };
    let sha = "f0959bafdeadbeeff0959bafdeadbeeff0959baf".parse().unwrap();
    let directory = soll::model::desired::Checkout { directory: "web".to_owned(), ..all.clone() };
    let submodules = soll::model::desired::Checkout { submodules: true, ..all.clone() };
    let by_hosts = soll::model::desired::Checkout {
        fetch_from: soll::model::desired::FetchFrom::Host,
        checks: String::new(),
        ..all.clone()
    };
    assert_eq!(by_hosts.digest(&sha), all.digest(&sha), "who fetches changes nothing of what is made");
    let digests = [all, directory, submodules].map(|one| one.digest(&sha).to_string());
    assert_eq!(digests, PINNED);
}

const PINNED: [&str; 3] = [
    "428d690f3136bf55880ee5f603a07ce8635129dc4bb3ca33e9408c5076b98209",
    "e6d9fc2bc3016927183bf405888d56e50eb904ed5cfbcad5385a8d2c417c0dfc",
    "1d12aca86043ec0732a66fbb3b5571313bc2185de91afc3972450f621e858bd7",
];
