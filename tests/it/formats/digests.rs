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
    let read = |path: &Path| SourceFile {
        path: path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned(),
        text: std::fs::read_to_string(path).unwrap(),
    };
    let included = |glob: &str| {
        let matcher = matcher(glob)?;
        let below = std::fs::read_dir(folder.join("environments")).unwrap().map(|entry| entry.unwrap().path());
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
    let pinned = std::fs::read_to_string(fixtures().join("formats/v1/digests.txt")).unwrap();
    let pinned: Vec<&str> = pinned.lines().filter(|line| !line.starts_with('#')).collect();
    let files = ["contract.toml", "every-key.toml", "layers.toml", "minimal.toml", "policy.toml"];
    let now: Vec<String> = files.into_iter().flat_map(lines).collect();
    assert_eq!(now, pinned);
}

#[test]
fn shared_files_have_the_digest_that_they_had() {
    let none = digests::files(&BTreeMap::new()).to_string();
    assert_eq!(none, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    let two = [(".env", b"APP_KEY=1".as_slice()), ("config/local.php", b"<?php")];
    let two = two.map(|(path, text)| (path.to_owned(), Digest::of(text))).into();
    assert_eq!(digests::files(&two).to_string(), "3f51778745b26fe4bb3a72b34fb8945b21f8096210abd1b61ff6eac5ee65058b");
}
