//! State files: what is wrong in them is said at the right place, what is right comes out as it should, edits change
//! one value and no other byte.

use std::path::{Path, PathBuf};
use std::time::Duration;

use soll::model::desired::diagnose::{Diagnostics, SourceFile};
use soll::model::desired::formats::FORMATS;
use soll::model::desired::load::{Loaded, load, matcher};
use soll::model::desired::raw::Kind;
use soll::model::desired::render::Style;
use soll::model::desired::schema::schema;
use soll::model::desired::{
    Address, Before, DriftPolicy, EnvFailure, Environment, GateTest, OnFailure, Phase, Strategy, Target, Unreachable,
    edit, recipe,
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/state").join(name)
}

/// Loads a file of a folder; its includes are looked up below the folder.
fn load_from(folder: &Path, name: &str) -> Result<Loaded, Diagnostics> {
    let read = |path: &Path| {
        let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
        SourceFile::of(name, Ok(std::fs::read_to_string(path).unwrap()))
    };
    load(read(&folder.join(name)), &|glob| {
        let matcher = matcher(glob)?;
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(next).map_err(|error| error.to_string())? {
                let path = entry.map_err(|error| error.to_string())?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if matcher.is_match(path.strip_prefix(folder).unwrap()) {
                    found.push(read(&path));
                }
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    })
}

fn load_text(text: &str) -> Result<Loaded, Diagnostics> {
    load(SourceFile::of("desired-state.toml", Ok(text.to_owned())), &|_| Ok(Vec::new()))
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.filter(|name| name.ends_with(".toml")).collect();
    names.sort();
    names
}

#[test]
fn every_malformed_file_says_what_is_wrong_and_where() {
    let folder = folder("bad");
    let names = files(&folder);
    assert!(names.len() >= 65, "only {} malformed files", names.len());
    for name in names {
        let errors = match load_from(&folder, &name) {
            Err(errors) => errors,
            Ok(_) => panic!("{name} was accepted"),
        };
        assert!(errors.has_errors(), "{name}");
        insta::with_settings!({ snapshot_path => "snapshots/state_files_bad", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name.trim_end_matches(".toml"), errors.render(Style::default()));
        });
    }
}

#[test]
fn good_files_have_the_effect_that_they_state() {
    let folder = folder("good");
    for name in files(&folder) {
        let loaded = load_from(&folder, &name).unwrap_or_else(|errors| panic!("{}", errors.render(Style::default())));
        let json = serde_json::to_string_pretty(&loaded.desired).unwrap();
        let warnings = loaded.warnings.render(Style::default());
        insta::with_settings!({ snapshot_path => "snapshots/state_files_good", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name.trim_end_matches(".toml"), format!("{json}\n\n{warnings}"));
        });
    }
}

#[test]
fn the_example_is_accepted_without_a_remark() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let loaded = load_from_root(root, "desired-state.example.toml");
    let loaded = loaded.unwrap_or_else(|errors| panic!("{}", errors.render(Style::default())));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.desired.environments.len(), 7);
}

fn load_from_root(root: &Path, name: &str) -> Result<Loaded, Diagnostics> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).map_err(|error| error.to_string());
    load(SourceFile::of(name, read(name)), &|path| Ok(vec![SourceFile::of(path, read(path))]))
}

const SHA: &str = "f0959bafdeadbeeff0959bafdeadbeeff0959baf";

fn minimal() -> Environment {
    let loaded = load_from(&folder("good"), "minimal.toml").unwrap();
    loaded.desired.environments.into_values().next().unwrap()
}

#[test]
fn what_is_not_said_has_the_default_of_the_contract() {
    let env = minimal();
    assert_eq!(env.app.as_str(), "site");
    assert_eq!(env.recipe, "generic");
    assert_eq!(env.release.as_str(), SHA);
    let local = Target {
        name: "local".parse().unwrap(),
        address: Address::Local,
        user: None,
        port: None,
        agent_dir: None,
        root: "/srv/site".to_owned(),
    };
    assert_eq!(env.targets, [local]);
    let soll::model::desired::Delivery::Bundle(bundle) = &env.delivery else { panic!("{:?}", env.delivery) };
    assert_eq!(bundle.sha256, "{url}.sha256");
    assert_eq!(bundle.checks, "{url}.checks.json");
    assert_eq!(env.drift, DriftPolicy::Report);
    assert_eq!(env.drift_every, Duration::from_secs(600));
    assert_eq!(env.on_failure, EnvFailure::Rollback);
    assert_eq!(env.deadline, Duration::from_secs(120));
    assert_eq!(env.unreachable, Unreachable::Block);
    assert_eq!(env.keep_releases, 5);
    assert_eq!(env.strategy, Strategy::AllAtOnce);
    assert_eq!(env.health.before, Before::Warn);
    assert_eq!(env.health.grace, Duration::ZERO);
    assert_eq!(env.health.attempts, 6);
    assert_eq!(env.health.interval, Duration::from_secs(5));
    assert_eq!(env.health.timeout, Duration::from_secs(5));
    assert_eq!(env.health.every, Duration::from_secs(300));
    assert_eq!((env.revert_commit, env.immutable, env.approvals), (false, false, 0));
    assert_eq!((env.frozen, env.promote, env.track, env.watch, env.emergency), (None, None, None, None, None));
    assert!(env.gates.is_empty() && env.hooks.is_empty() && env.windows.is_empty() && env.shared.is_empty());
}

#[test]
fn each_phase_has_its_own_default_for_a_failure() {
    let wanted = [
        ("prepare", OnFailure::Abort),
        ("pre-switch", OnFailure::Abort),
        ("migrate", OnFailure::Rollback),
        ("post-switch", OnFailure::Rollback),
        ("after", OnFailure::Warn),
        ("rollback", OnFailure::Warn),
    ];
    let hooks: String = wanted
        .iter()
        .map(|(phase, _)| format!("[[environments.production.hooks]]\nphase = \"{phase}\"\nrun = \"true\"\n"))
        .collect();
    let loaded = load_text(&format!("{}{hooks}", base())).unwrap();
    let env = loaded.desired.environments.values().next().unwrap();
    for (hook, (phase, on_failure)) in env.hooks.iter().zip(wanted) {
        assert_eq!((hook.phase.as_str(), hook.on_failure), (phase, on_failure));
        assert_eq!(hook.timeout, Duration::from_secs(600));
    }
    let names: Vec<_> = env.hooks.iter().map(|hook| hook.name.as_str()).collect();
    assert_eq!(names, ["true", "true-2", "true-3", "true-4", "true-5", "true-6"]);
}

fn base() -> String {
    std::fs::read_to_string(folder("good").join("minimal.toml")).unwrap()
}

#[test]
fn the_laravel_recipe_does_what_the_manuals_do() {
    let app = "[apps.api]\nrecipe = \"laravel\"\nbundle = { url = \"{sha}.tar.gz\" }\n";
    let env = format!("[environments.production]\nroot = \"/var/www/api\"\nrelease = \"{SHA}\"\n");
    let loaded = load_text(&format!("schema = 1\n{app}{env}")).unwrap();
    let env = loaded.desired.environments.values().next().unwrap();
    assert_eq!(env.health.grace, Duration::from_secs(15), "contract: recipe laravel waits 15 s");
    let structure = env.gates.iter().filter(|gate| !matches!(gate.test, GateTest::Run(_))).count();
    assert_eq!(structure, 9, "A3: nine structure gates");
    let file = env.env_file().unwrap();
    assert_eq!((file.path.as_str(), file.from.as_str()), (".env", ".env/production.env"), "A9");
    let of = |name: &str| env.hooks.iter().find(|hook| hook.name == name).unwrap();
    assert_eq!(of("migrate").on_failure, OnFailure::Rollback);
    assert_eq!(of("cache-clear").on_failure, OnFailure::Warn, "A5: cache clear warns and goes on");
    assert!(of("reload-php-fpm").reload && of("reload-php-fpm").on_failure == OnFailure::Rollback, "A5");
    assert!(env.hooks_of(Phase::Rollback).any(|hook| hook.reload), "A6: the way back reloads too");
}

#[test]
fn every_recipe_loads_and_its_commands_have_all_their_variables() {
    let kinds = [
        (Kind::Bundle, "bundle = { url = \"{sha}.tar.gz\" }\n"),
        (Kind::Git, "kind = \"git\"\nrepository = \"/srv/a.git\"\n"),
    ];
    let all = || recipe::names().flat_map(|name| kinds.map(|kind| (name, kind)));
    for (name, (kind, from)) in all().filter(|(name, _)| recipe::only_for(name).is_none()) {
        assert!(recipe::text(name, kind).unwrap().starts_with(&format!("# The recipe `{name}`")));
        let app = format!("[apps.a]\nrecipe = \"{name}\"\n{from}");
        let app = format!("{app}variables = {{ service = \"storage-api\" }}\n");
        let env = format!("[environments.e]\nroot = \"/srv/a\"\nrelease = \"{SHA}\"\n");
        let loaded = load_text(&format!("schema = 1\n{app}{env}"));
        let loaded = loaded.unwrap_or_else(|errors| panic!("{}", errors.render(Style::default())));
        assert!(loaded.warnings.is_empty(), "{name}: {}", loaded.warnings);
        // What a recipe says is what an application could have said itself.
        let text =
            recipe::text(name, kind).unwrap().replace("\n[[", "\n[[apps.a.").replace("\n[health]", "\n[apps.a.health]");
        let text = text.replace("variables = { ", "variables = { service = \"storage-api\", ");
        let written = load_text(&format!("schema = 1\n[apps.a]\n{from}{text}\n{env}"))
            .unwrap_or_else(|errors| panic!("{}", errors.render(Style::default())));
        let [mut by_recipe, by_hand] =
            [loaded, written].map(|loaded| loaded.desired.environments.into_values().next().unwrap());
        by_recipe.recipe = "generic".to_owned();
        by_recipe.variables.extend([("service".to_owned(), "storage-api".to_owned())]);
        let mut by_hand = by_hand;
        by_hand.variables.extend([("service".to_owned(), "storage-api".to_owned())]);
        assert_eq!(by_recipe, by_hand, "{name}");
    }
}

#[test]
fn the_recipe_of_projects_is_what_one_could_have_said() {
    let compose = recipe::text("compose", Kind::Compose).unwrap();
    assert!(compose.starts_with("# The recipe `compose`"));
    assert!(recipe::text("compose", Kind::Bundle).is_none() && recipe::text("laravel", Kind::Compose).is_none());
    let own = "directory = \"platform\"\nproject = \"platform\"\n";
    let env = format!("[environments.e]\nroot = \"/srv/a\"\nrelease = \"{SHA}\"\n");
    let by_hand = compose.replace("[compose]", "[apps.a.compose]");
    let texts = [
        format!("schema = 1\n[apps.a]\nkind = \"compose\"\nrecipe = \"compose\"\n[apps.a.compose]\n{own}{env}"),
        format!("schema = 1\n[apps.a]\nkind = \"compose\"\n{by_hand}{own}{env}"),
    ];
    let [mut by_recipe, by_hand] = texts.map(|text| {
        let main = SourceFile::of("desired-state.toml", Ok(text));
        let there = |path: &str| Ok(vec![SourceFile::of(path, Ok(String::new()))]);
        let loaded = load(main, &there).unwrap_or_else(|errors| panic!("{}", errors.render(Style::default())));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        loaded.desired.environments.into_values().next().unwrap()
    });
    by_recipe.recipe = "generic".to_owned();
    assert_eq!(by_recipe, by_hand);
}

#[test]
fn a_new_customer_is_three_lines() {
    let before = std::fs::read_to_string(folder("good").join("layers.toml")).unwrap();
    let before = before.replace("include = [\"environments/*.toml\"]\n", "");
    let after =
        format!("{before}\n[environments.gamma]\nextends = \"customer\"\nvariables = {{ tenant = \"gamma\" }}\n");
    let loaded = load_text(&after).unwrap_or_else(|errors| panic!("{errors}"));
    let gamma = &loaded.desired.environments[&"gamma".parse().unwrap()];
    assert_eq!(gamma.targets[0].root, "/srv/gamma/local");
    assert_eq!(gamma.variables["region"], "eu");
}

#[test]
fn the_place_of_a_release_is_the_value_that_people_commit() {
    let loaded = load_from(&folder("good"), "layers.toml").unwrap();
    for (env, file, value) in [("acme", "layers.toml", "\"v1.1.0\""), ("beta", "environments/beta.toml", "\"f0959baf")]
    {
        let place = &loaded.releases[&env.parse().unwrap()];
        let text = std::fs::read_to_string(folder("good").join(&place.file)).unwrap();
        assert_eq!(place.file, file);
        assert!(text[place.span.clone()].starts_with(value), "{env}");
        assert!(text.lines().nth(place.line - 1).unwrap().starts_with("release = "), "{env}");
    }
    assert_eq!(loaded.written.file_of(&"beta".parse().unwrap()), Some("environments/beta.toml"));
    assert_eq!(loaded.files, ["layers.toml", "environments/beta.toml"]);
}

#[test]
fn the_schema_is_the_one_that_editors_were_given() {
    let schema = serde_json::to_string_pretty(schema()).unwrap();
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!("schema", schema); });
}

#[test]
fn every_format_of_the_schema_has_a_check_and_every_key_a_description() {
    fn look(part: &serde_json::Value, path: &str) {
        if let Some(format) = part.get("format").and_then(|format| format.as_str()) {
            assert!(FORMATS.iter().any(|(name, _)| *name == format), "{path}: nobody checks `{format}`");
        }
        if let Some(properties) = part.get("properties").and_then(|properties| properties.as_object()) {
            for (key, property) in properties {
                assert!(property.get("description").is_some(), "{path}/{key} has no description");
            }
        }
        match part {
            serde_json::Value::Object(object) => {
                object.iter().for_each(|(key, part)| look(part, &format!("{path}/{key}")))
            }
            serde_json::Value::Array(items) => items.iter().for_each(|part| look(part, path)),
            _ => {}
        }
    }
    look(schema(), "");
}

#[test]
fn diagnostics_for_machines_have_places_and_no_secrets() {
    let text = format!(
        "{}drfit = 1\n[environments.production.health]\n[[environments.production.health.checks]]\nhttp = \"http://x\"\nbearer = \"hunter2\"\n",
        base()
    );
    let errors = load_text(&text).unwrap_err();
    let json = errors.to_json();
    assert_eq!(json[0]["line"], 9);
    assert_eq!(json[0]["column"], 1);
    assert_eq!(json[0]["file"], "desired-state.toml");
    assert_eq!(json[0]["help"], "did you mean `drift`?");
    assert_eq!(json.as_array().unwrap().len(), 2);
    let everything = format!("{json} {errors} {errors:?} {}", errors.render(Style::default()));
    assert!(!everything.contains("hunter2"), "{everything}");
    let coloured = errors.render(Style { colour: true, width: 80 });
    assert!(coloured.contains('\u{1b}') && !everything.contains('\u{1b}'));
}

#[test]
fn a_wrong_word_about_one_application_is_said_once() {
    let text = format!(
        "{}[environments.staging]\nroot = \"/srv/b\"\nrelease = \"{SHA}\"\n",
        base().replace("site-{sha}", "site-{shaa}")
    );
    let found = load_text(&text).unwrap_err();
    // One for each environment, since what is known differs between them.
    assert_eq!(found.iter().count(), 2);
    let text =
        text.replace("site-{shaa}", "site-{sha}").replace("[apps.site]", "[apps.site]\nshared_dirs = [\"a\", \"a/b\"]");
    assert_eq!(load_text(&text).unwrap_err().iter().count(), 1);
}

/// Edits of all ways in which an environment can be written: before, key, value, after.
#[test]
fn an_edit_changes_one_value_and_no_other_byte() {
    let new = "0123456789abcdef0123456789abcdef01234567";
    let both = [
        (
            "[environments.x]\nrelease = \"old\" # why\nroot = \"/x\"\n",
            "[environments.x]\nrelease = \"NEW\" # why\nroot = \"/x\"\n",
        ),
        (
            "\u{feff}# a\r\n[environments.x]\r\nrelease='old'\r\n",
            "\u{feff}# a\r\n[environments.x]\r\nrelease='NEW'\r\n",
        ),
        (
            "environments.x = { root = \"/\", release = \"old\" } # c",
            "environments.x = { root = \"/\", release = \"NEW\" } # c",
        ),
        ("[environments]\nx.release = \"old\"\n", "[environments]\nx.release = \"NEW\"\n"),
        ("environments.\"x\".release   =   \"old\"", "environments.\"x\".release   =   \"NEW\""),
        ("[environments.x]\nroot = \"/x\"\n", "[environments.x]\nroot = \"/x\"\nrelease = \"NEW\"\n"),
        (
            "[environments.x]\nrelease = \"\"\"\nold\"\"\"\nroot = \"/x\"",
            "[environments.x]\nrelease = \"NEW\"\nroot = \"/x\"",
        ),
        (
            "[environments.x]\n\n[environments.x.health]\nattempts = 3\n",
            "[environments.x]\nrelease = \"NEW\"\n\n[environments.x.health]\nattempts = 3\n",
        ),
    ];
    for (before, after) in both {
        assert_eq!(edit::set_release(before, "x", new).unwrap(), after.replace("NEW", new), "{before}");
    }
}

#[test]
fn freezing_adds_a_line_in_the_style_of_its_neighbours_and_unfreezing_takes_it_away() {
    let all = [
        ("[environments.x]\nrelease = \"v1\" # the line\nroot = \"/x\"\n", "frozen = \"why \\\"so\\\"\"\n"),
        ("[environments.x]\r\n  release = \"v1\"\r\n  root    = \"/x\"\r\n", "  frozen = \"why \\\"so\\\"\"\r\n"),
        (
            "[environments.x]\nroot          = \"/x\"\nrelease       = \"v1\"\n[a]\nb = 1\n",
            "frozen        = \"why \\\"so\\\"\"\n",
        ),
        ("[environments.x]\nrelease=\"v1\"\nhosts = [\n  \"a\",\n]\n", "frozen=\"why \\\"so\\\"\"\n"),
        (
            "[environments.x]\nhosts = [\n  \"a\",\n] # end\n[[environments.x.gates]]\nfile = \"a\"\n",
            "frozen = \"why \\\"so\\\"\"\n",
        ),
        ("environments.x = { release = \"v1\", root = \"/x\" }\n", ", frozen = \"why \\\"so\\\"\""),
        ("environments.x = {}\n", ""),
        (
            "environments.x.root = \"/x\"\nenvironments.x.release = \"v1\"\n",
            "environments.x.frozen = \"why \\\"so\\\"\"\n",
        ),
        ("[environments]\n\tx.release = \"v1\"\n\tx.root = \"/x\"", "\tx.frozen = \"why \\\"so\\\"\"\n"),
        ("[environments.x]\nrelease = \"v1\"", "\nfrozen = \"why \\\"so\\\"\""),
        ("\u{feff}[environments.x]\nrelease = \"v1\"\n", "frozen = \"why \\\"so\\\"\"\n"),
        ("[environments.x]\npromote.from = \"y\"\n", "frozen = \"why \\\"so\\\"\"\n"),
    ];
    for (before, line) in all {
        let frozen = edit::set_string(before, "x", "frozen", "why \"so\"").unwrap_or_else(|e| panic!("{before}: {e}"));
        if !line.is_empty() {
            assert_eq!(frozen.replacen(line, "", 1), before, "{frozen}");
            assert_ne!(frozen, before);
        }
        let again = edit::set_string(&frozen, "x", "frozen", "line one\nline two\u{1}").unwrap();
        assert!(again.contains("\"line one\\nline two\\u0001\""), "{again}");
        let thawed = edit::remove_key(&frozen, "x", "frozen").unwrap();
        let same = before.replace("{}", "{  }");
        assert!(thawed == before || thawed == same || thawed == format!("{before}\n"), "{thawed:?} is not {before:?}");
        assert_eq!(edit::remove_key(before, "x", "frozen").unwrap(), before);
    }
}

#[test]
fn what_only_a_person_should_edit_is_left_alone() {
    let error = |text: &str| edit::set_release(text, "x", SHA).unwrap_err().to_string();
    assert_eq!(error("[environments.y]\nroot = \"/\"\n"), "`environments.x` is not defined in this file");
    assert!(error("[environments.x]\nrelease = \n").contains("repair it first: state file:2:11"));
    assert!(error("\n[environments.x]\nrelease = 5\n").contains("is a whole number, not a text: edit line 3 by hand"));
    assert!(error("[environments.x.health]\nattempts = 3\n").contains("has only sub-tables"));
    let bad = edit::set_release("[environments.x]\nrelease = \"v1\"\n", "x", "f0959baf").unwrap_err();
    assert!(bad.to_string().contains("shortened commit id"), "{bad}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, ..Default::default() })]

    /// Whatever stands around it and whatever is written: the bytes before and after the value stay, and the value is read back.
    #[test]
    fn no_edit_touches_what_stands_around_it(
        comment in "[^\\x00-\\x1f\\x7f]{0,20}",
        old in "[a-z0-9 #=\\[\\]{}]{0,12}",
        value in "\\PC{0,20}[\"\\\\\n\t]{0,2}",
        crlf: bool, bom: bool, inline: bool, single: bool,
    ) {
        let quote = if single { '\'' } else { '"' };
        let head = format!("{}# {comment}\n[environments.other]\nfrozen = \"keep\"\n", if bom { "\u{feff}" } else { "" });
        let (open, close) = if inline {
            ("[environments]\nx = { root = \"/x\", frozen = ".to_owned(), format!(" }} # {comment}\n"))
        } else {
            ("[environments.x]\nfrozen = ".to_owned(), format!(" # {comment}\nroot = \"/x\"\n"))
        };
        // `[environments]` after `[environments.other]` would define it again.
        let head = if inline { head.replace("[environments.other]", "[other]") } else { head };
        let lines = |text: String| if crlf { text.replace('\n', "\r\n") } else { text };
        let (before, after) = (lines(format!("{head}{open}")), lines(close));
        let text = format!("{before}{quote}{old}{quote}{after}");
        let edited = edit::set_string(&text, "x", "frozen", &value).unwrap();
        proptest::prop_assert!(edited.starts_with(&before) && edited.ends_with(&after));
        let read: toml::Table = toml::from_str(edited.trim_start_matches('\u{feff}')).unwrap();
        proptest::prop_assert_eq!(read["environments"]["x"]["frozen"].as_str(), Some(value.as_str()));
        let removed = edit::remove_key(&edited, "x", "frozen").unwrap();
        let read: toml::Table = toml::from_str(removed.trim_start_matches('\u{feff}')).unwrap();
        proptest::prop_assert!(read["environments"]["x"].get("frozen").is_none());
        proptest::prop_assert_eq!(read["environments"]["x"]["root"].as_str(), Some("/x"));
    }

    /// Whatever a file contains, loading it ends with a state or with diagnostics that can be drawn.
    #[test]
    fn no_text_makes_the_loader_panic(text in "\\PC{0,60}", at in 0usize..400, cut in 0usize..40) {
        let mut whole = base();
        let at = (0..=at.min(whole.len())).rev().find(|at| whole.is_char_boundary(*at)).unwrap_or(0);
        let end = (at + cut).min(whole.len());
        whole.replace_range(at..end, &text);
        if let Err(errors) = load_text(&whole) {
            proptest::prop_assert!(!errors.render(Style::default()).is_empty() && !errors.to_string().is_empty());
        }
    }
}
