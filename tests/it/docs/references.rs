//! Pages that list something list all of it: keys of the state file, settings, variables, commands, phases, words.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::source::{Token, tokens};

fn page(name: &str) -> String {
    fs::read_to_string(Path::new("docs").join(name)).unwrap()
}

fn soll(words: &[&str]) -> String {
    let ran = Command::new(env!("CARGO_BIN_EXE_soll")).args(words).output().unwrap();
    assert!(ran.status.success(), "{words:?}");
    String::from_utf8(ran.stdout).unwrap()
}

fn schema() -> serde_json::Value {
    serde_json::from_str(&soll(&["schema"])).unwrap()
}

/// The words of a page that stand in backticks: keys and values, without what is around them.
fn words(page: &str) -> BTreeSet<&str> {
    let spans = page.split('`').skip(1).step_by(2).filter(|span| !span.contains('\n'));
    spans.flat_map(|span| span.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-'))).collect()
}

/// The keys of the state file, with the table of the schema that has each of them.
fn keys(of: &serde_json::Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut tables: Vec<(String, &serde_json::Value)> = vec![("the file".to_owned(), of)];
    tables.extend(of["$defs"].as_object().unwrap().iter().map(|(name, table)| (name.clone(), table)));
    for (name, table) in tables {
        for key in table["properties"].as_object().into_iter().flatten().map(|(key, _)| key) {
            keys.entry(key.clone()).or_default().insert(name.clone());
        }
    }
    keys
}

#[test]
fn every_key_of_the_state_file_is_on_its_page() {
    let (schema, page) = (schema(), page("state-file.md"));
    let (keys, words) = (keys(&schema), words(&page));
    assert!(keys.len() > 120, "{}", keys.len());
    let missing: Vec<_> = keys.iter().filter(|(key, _)| !words.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "docs/state-file.md does not name {missing:#?}");
}

#[test]
fn the_phases_are_on_their_page_in_their_order() {
    let page = page("hooks.md");
    let table = page.split_once("| phase |").unwrap().1;
    let named = table.lines().skip(2).map_while(|row| row.strip_prefix("| `")?.split_once('`').map(|(phase, _)| phase));
    let named: Vec<_> = named.collect();
    let schema = schema();
    let phase = &schema["$defs"]["Phase"];
    let one = |value: &serde_json::Value| value["const"].as_str().map(str::to_owned);
    let listed = phase["enum"].as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned));
    let single = phase["oneOf"].as_array().into_iter().flatten().flat_map(|v| {
        let many = v["enum"].as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned));
        many.chain(one(v)).collect::<Vec<_>>()
    });
    let there: BTreeSet<String> = listed.chain(single).collect();
    assert_eq!(there.len(), 12, "{phase}");
    assert_eq!(named.iter().map(|phase| (*phase).to_owned()).collect::<BTreeSet<_>>(), there);
    // A deployment's, in the order in which they come.
    let order =
        ["prepare", "maintenance-on", "migrate", "pre-switch", "post-switch", "maintenance-off", "verify", "after"];
    assert_eq!(named[..order.len()], order);
}

#[test]
fn every_command_and_every_exit_code_is_on_the_page_of_commands() {
    let (page, help) = (page("commands.md"), soll(&["--help"]));
    let listed = help.split_once("\nCommands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let commands: Vec<_> = listed
        .lines()
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() > 30, "{commands:?}");
    let words = words(&page);
    let missing: Vec<_> = commands.iter().filter(|command| **command != "help" && !words.contains(*command)).collect();
    assert!(missing.is_empty(), "docs/commands.md does not name {missing:?}");
    let codes = help.split_once("Exit codes:").unwrap().1;
    let codes: Vec<_> = codes.split(|c: char| !c.is_ascii_digit()).filter(|code| !code.is_empty()).collect();
    assert_eq!(codes, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "64"]);
    let missing: Vec<_> = codes.iter().filter(|code| !page.contains(&format!("\n| {code} |"))).collect();
    assert!(missing.is_empty(), "docs/commands.md has no row for {missing:?}");
}

/// Every text of the program that is the name of a variable of it.
fn variables(dir: &Path, into: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            variables(&path, into);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let named = |c: char| c.is_ascii_uppercase() || c == '_';
            into.extend(tokens(&fs::read_to_string(&path).unwrap()).into_iter().filter_map(|(_, token)| match token {
                Token::Text(text) if text.starts_with("SOLL_") && text.chars().all(named) => Some(text),
                _ => None,
            }));
        }
    }
}

#[test]
fn every_variable_of_the_program_is_on_a_page() {
    let mut all = BTreeSet::new();
    variables(Path::new("src"), &mut all);
    // What the build and the tests set, and what git is told of by the program itself.
    let own = ["SOLL_", "SOLL_COMMIT", "SOLL_FAULT", "SOLL_GIT_USERNAME", "SOLL_GIT_PASSWORD"];
    all.retain(|name| !own.contains(&name.as_str()));
    assert!(all.len() > 25, "{all:?}");
    let pages = format!("{}{}", page("settings.md"), page("hooks.md"));
    let missing: Vec<_> = all.iter().filter(|name| !pages.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "neither docs/settings.md nor docs/hooks.md names {missing:?}");
}

/// The controller's own file is refused with the list of its keys where one is unknown: that list is the page's, too.
#[test]
fn every_key_of_the_settings_is_on_their_page() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    fs::write(&file, "nothing_of_this_name = 1\n").unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_soll")).args(["status", "--config"]).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    let listed = said.split_once("expected one of").unwrap_or_else(|| panic!("{said}")).1;
    let listed = listed.lines().next().unwrap();
    let keys: Vec<_> = listed.split('`').skip(1).step_by(2).collect();
    assert!(keys.len() > 20, "{said}");
    let page = page("settings.md");
    let words = words(&page);
    let missing: Vec<_> = keys.iter().filter(|key| !words.contains(*key)).collect();
    assert!(missing.is_empty(), "docs/settings.md does not name {missing:?}");
}

#[test]
fn every_benchmark_is_on_their_page() {
    let page = page("benchmarks.md");
    let names = fs::read_dir("tests/bench").unwrap().map(|entry| entry.unwrap().path());
    // What has a suffix is a part of the others.
    let scripts: Vec<_> = names.filter(|path| path.is_file() && path.extension().is_none()).collect();
    assert!(scripts.len() >= 5, "{scripts:?}");
    let missing: Vec<_> = scripts.iter().filter(|path| !page.contains(&format!("`{}`", path.display()))).collect();
    assert!(missing.is_empty(), "docs/benchmarks.md does not name {missing:?}");
}

/// The words in which plans and `status` say how something is.
#[test]
fn the_words_of_a_plan_are_in_the_glossary() {
    use soll::plan::{Health, Sync, Verdict};
    let page = page("glossary.md");
    let word = |value: serde_json::Value| value.as_str().unwrap().to_owned();
    let sync = [Sync::InSync, Sync::OutOfSync, Sync::Unknown].map(|it| word(serde_json::to_value(it).unwrap()));
    let health = [Health::Healthy, Health::Progressing, Health::Degraded, Health::Missing, Health::Unknown];
    let health = health.map(|it| word(serde_json::to_value(it).unwrap()));
    let verdicts = [Verdict::Go, Verdict::NoGo, Verdict::Pending].map(|it| word(serde_json::to_value(it).unwrap()));
    let words = words(&page);
    let all = sync.iter().chain(&health).chain(&verdicts);
    let missing: Vec<_> = all.filter(|word| !words.contains(word.as_str())).collect();
    assert!(missing.is_empty(), "docs/glossary.md does not name {missing:?}");
    for grade in ["P0", "P1", "P2"] {
        assert!(words.contains(grade), "{grade}");
    }
}
