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

/// The text below each heading of a page, without what is below the next one, whatever its depth.
fn sections(page: &str) -> BTreeMap<&str, &str> {
    let parts = page.split("\n#").skip(1).filter_map(|part| part.split_once('\n'));
    parts.map(|(title, text)| (title.trim_start_matches('#').trim(), text)).collect()
}

/// Where the keys of each table of the schema are told: in one part of the page. Whoever adds a table says here where.
const TOLD: &[(&str, &[&str])] = &[
    ("The tables", &["the file", "BoundSecrets"]),
    ("What a release is", &["Bundle", "Checkout", "ChecksFrom"]),
    ("A project of Docker Compose", &["Compose", "Registry"]),
    ("What it runs with", &["File", "OtherUnit", "RenamedFile"]),
    ("How it is checked", &["Assets", "Check", "Gate", "Health", "Hook"]),
    ("An environment alone", &["Approvers", "Emergency", "Metric", "Promote", "Strategy", "Track", "Watch", "Window"]),
    ("A host", &["Host"]),
    ("A backup", &["Backup", "BackupTarget", "Database", "FileSet", "Keep", "RestoreTest", "Scratch"]),
];

/// What an application or an environment may say is told in several parts.
const WIDE: [&str; 2] = ["App", "Environment"];
const PARTS: [&str; 6] = [
    "An application, or an environment",
    "What a release is",
    "A project of Docker Compose",
    "What it runs with",
    "How it is checked",
    "An environment alone",
];

#[test]
fn every_key_of_the_state_file_is_in_its_part_of_the_page() {
    let (schema, page) = (schema(), page("state-file.md"));
    let (keys, sections) = (keys(&schema), sections(&page));
    assert!(keys.len() > 120, "{}", keys.len());
    let told = |titles: &[&str]| -> BTreeSet<&str> {
        titles
            .iter()
            .flat_map(|title| words(sections.get(title).unwrap_or_else(|| panic!("no part `{title}`"))))
            .collect()
    };
    let mut missing = Vec::new();
    for (key, tables) in &keys {
        for table in tables {
            let part = TOLD.iter().find(|(_, tables)| tables.contains(&table.as_str())).map(|(title, _)| *title);
            let words = match part {
                Some(title) => told(&[title]),
                None if WIDE.contains(&table.as_str()) => told(&PARTS),
                None => panic!("where on the page are the keys of `{table}` told?"),
            };
            if !words.contains(key.as_str()) {
                missing.push(format!("`{key}` of {table}: {}", part.unwrap_or("any part")));
            }
        }
    }
    assert!(missing.is_empty(), "docs/state-file.md does not name {missing:#?}");
}

/// The commands of a help text.
fn listed(help: &str) -> Vec<String> {
    let Some((_, rest)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    let lines = rest.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

/// The flags that a command has for itself.
fn own_flags(help: &str) -> Vec<String> {
    let Some((_, rest)) = help.split_once("\nOptions:\n") else { return Vec::new() };
    let lines = rest.lines().take_while(|line| !line.is_empty());
    // What is said of a flag stands further to the right, and may name other commands' flags.
    let lines = lines.filter(|line| line.len() - line.trim_start().len() <= 6).map(str::trim_start);
    let lines = lines.filter(|line| line.starts_with('-'));
    let flags = lines.filter_map(|line| line.split([' ', ',', '=']).find(|word| word.starts_with("--")));
    flags.filter(|flag| !["--help", "--version"].contains(flag)).map(str::to_owned).collect()
}

/// By what several environments are named (`cli::chosen`).
const SEVERAL: [&str; 3] = ["--app", "--template", "--all"];

/// From the program to the page: what `--help` of a command has, the row of that command has.
#[test]
fn every_flag_of_a_command_is_in_its_row() {
    let page = page("commands.md");
    let rows: Vec<(&str, &str)> = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | ")).collect();
    let above = words_with_dashes(page.split("\n## ").next().unwrap_or_default());
    let (mut seen, mut missing) = (0, Vec::new());
    let mut commands: Vec<Vec<String>> = listed(&soll(&["-h"])).into_iter().map(|name| vec![name]).collect();
    while let Some(command) = commands.pop() {
        let words: Vec<&str> = command.iter().map(String::as_str).chain(["-h"]).collect();
        let help = soll(&words);
        let below = listed(&help);
        if !below.is_empty() {
            commands.extend(below.into_iter().map(|sub| [command.clone(), vec![sub]].concat()));
            continue;
        }
        let name = command.join(" ");
        let is_of = |cell: &str| {
            cell.split('`').skip(1).step_by(2).any(|span| span == name || span.starts_with(&format!("{name} ")))
        };
        // What every command that takes several environments has is told above all rows.
        let takes_several = rows.iter().any(|(cell, _)| is_of(cell) && (cell.contains("ENV…") || cell.contains("TO…")));
        let row: String = rows.iter().filter(|(cell, _)| is_of(cell)).map(|(_, text)| *text).collect();
        if row.is_empty() {
            missing.push(format!("no row for {name}"));
        }
        let words = words_with_dashes(&row);
        for flag in own_flags(&help) {
            seen += 1;
            let is_above = takes_several && SEVERAL.contains(&flag.as_str()) && above.contains(flag.as_str());
            if !is_above && !words.contains(flag.as_str()) {
                missing.push(format!("{name} {flag}"));
            }
        }
    }
    assert!(seen > 80, "{seen}");
    assert!(missing.is_empty(), "docs/commands.md lacks {missing:#?}");
}

/// The words of a row that stand in backticks, each as it is written.
fn words_with_dashes(row: &str) -> BTreeSet<&str> {
    row.split('`').skip(1).step_by(2).flat_map(|span| span.split([' ', ',', '='])).collect()
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
