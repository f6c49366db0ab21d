//! The pages keep their word: what `docs/troubleshooting.md` has as the words of the program, the program says; commands and
//! flags are those of the program; links lead somewhere (`links`); lists are complete (`references`).

mod links;
mod references;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::source::{Token, tokens};

/// What stands for anything: in the page, and for the placeholders of a text of the program.
const ANY: char = '…';

/// The messages of the page: its headings in backticks.
fn messages(page: &str) -> Vec<&str> {
    page.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect()
}

/// Every text of the program, as it is printed.
fn texts(dir: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts(&path, into);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let all = tokens(&fs::read_to_string(&path).unwrap());
            into.extend(all.into_iter().filter_map(|(_, token)| match token {
                Token::Text(text) => Some(printed(&text)),
                _ => None,
            }));
        }
    }
}

/// A literal without its escapes, and with [`ANY`] for each placeholder.
fn printed(literal: &str) -> String {
    let (mut text, mut chars) = (String::new(), literal.chars().peekable());
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('\n') => while chars.next_if(|next| next.is_whitespace()).is_some() {},
                Some('n') => text.push('\n'),
                Some(other) => text.push(other),
                None => {}
            },
            '{' if chars.next_if_eq(&'{').is_none() => {
                while chars.next().is_some_and(|next| next != '}') {}
                text.push(ANY);
            }
            '}' => {
                chars.next_if_eq(&'}');
                text.push('}');
            }
            other => text.push(other),
        }
    }
    text
}

/// Whether one text of the program has all that is said, in that order; a piece never reaches over a placeholder.
fn says(text: &str, message: &str) -> bool {
    let mut rest = text;
    message.split(ANY).map(|piece| piece.trim_matches('`')).filter(|piece| !piece.is_empty()).all(|piece| {
        match rest.split_once(piece) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        }
    })
}

/// All pages: those below `docs/`, and those beside it.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<_> = fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(PathBuf::from));
    pages.sort();
    pages
}

/// The commands of a page: what stands in backticks and begins with the name of the program and one of its commands, and
/// the lines of its `console` blocks.
fn commands(page: &str) -> Vec<&str> {
    let spans = page.split('`').skip(1).step_by(2).filter(|span| !span.contains('\n'));
    let blocks = page.split("```console\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let lines = blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("$ ").or(line.strip_prefix("# ")));
    let commands = lines.filter_map(|line| line.split(" #").next()).flat_map(|line| line.split("&&")).map(str::trim);
    let is_command = |rest: &str| rest.starts_with(|first: char| first.is_ascii_lowercase());
    spans.chain(commands).filter(|span| span.strip_prefix("soll ").is_some_and(is_command)).collect()
}

#[test]
fn the_commands_of_every_page_are_those_of_the_program() {
    let (mut looked, mut wrong) = (0, Vec::new());
    for page in &pages() {
        for line in commands(&fs::read_to_string(page).unwrap()) {
            looked += 1;
            let words: Vec<&str> = line.split_whitespace().collect();
            let help = |of: &[&str]| Command::new(env!("CARGO_BIN_EXE_soll")).args(of).arg("--help").output().unwrap();
            // A command of commands says what they are, and each of them its flags.
            let mut asked = help(&words[1..2]);
            if String::from_utf8_lossy(&asked.stdout).contains("\nCommands:\n") && words.len() > 2 {
                asked = help(&words[1..3]);
            }
            let help = asked;
            let help_text = String::from_utf8_lossy(&help.stdout).into_owned();
            let flags = words.iter().filter_map(|word| word.trim_matches(['[', ']', ',']).split('=').next());
            let unknown = flags.filter(|flag| flag.starts_with("--") && !help_text.contains(*flag)).collect::<Vec<_>>();
            if !help.status.success() || !unknown.is_empty() {
                wrong.push(format!("{}: `{line}` {unknown:?}", page.display()));
            }
        }
    }
    assert!(looked > 100, "{looked}");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(commands("`soll adopt ENV --yes`, `soll`, `SOLL_REPO`"), ["soll adopt ENV --yes"]);
    let block = "```console\n$ soll plan web    # looks\n# soll run && soll wait web\nplan: nothing\n```";
    assert_eq!(commands(block), ["soll plan web", "soll run", "soll wait web"]);
}

#[test]
fn the_words_of_troubleshooting_are_those_of_the_program() {
    let page = fs::read_to_string("docs/troubleshooting.md").unwrap();
    let messages = messages(&page);
    assert_eq!(messages.len(), page.matches("\n### ").count(), "a heading that is no message in backticks");
    assert!(messages.len() > 30, "{}", messages.len());
    let mut all = Vec::new();
    texts(Path::new("src"), &mut all);
    let unsaid: Vec<_> = messages.iter().filter(|message| !all.iter().any(|text| says(text, message))).collect();
    assert!(unsaid.is_empty(), "the program says none of these: {unsaid:#?}");
    assert!(!all.iter().any(|text| says(text, "the release was … to … by hand … again")), "anything would be said");
}

/// A whole state file in a page is one that is accepted without a remark.
#[test]
fn state_files_of_the_pages_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap();
        for block in page.split("```toml\n").skip(1).filter_map(|rest| rest.split("\n```").next()) {
            if !block.starts_with("schema = 1") {
                continue;
            }
            let file = dir.path().join("desired-state.toml");
            fs::write(&file, block).unwrap();
            // A project is a directory beside the file.
            fs::create_dir_all(dir.path().join("platform")).unwrap();
            fs::write(dir.path().join("platform/compose.yml"), "services: {}\n").unwrap();
            let ran = Command::new(env!("CARGO_BIN_EXE_soll")).arg("validate").arg(&file).output().unwrap();
            let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
            assert!(ran.status.success() && !said.contains('⚠'), "{}: {said}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 5, "only {seen} whole state files were found");
}

/// Whoever is told a code finds it on the page, whatever stands beside it.
#[test]
fn every_reason_of_a_plan_is_on_the_page_of_troubleshooting() {
    let page = fs::read_to_string("docs/troubleshooting.md").unwrap();
    let source = fs::read_to_string("src/plan/mod.rs").unwrap();
    let codes = source.split_once("pub enum Code {").and_then(|(_, rest)| rest.split_once("\n}")).unwrap().0;
    let names = codes.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let names: Vec<_> = names.filter_map(|line| line.strip_suffix(',')).collect();
    assert!(names.len() > 30 && names.contains(&"HealDidNotLast"), "{names:?}");
    let kebab = |name: &str| {
        let word =
            |c: char| if c.is_ascii_uppercase() { format!("-{}", c.to_ascii_lowercase()) } else { c.to_string() };
        name.chars().map(word).collect::<String>().trim_start_matches('-').to_owned()
    };
    // As a plan has them.
    assert_eq!(serde_json::to_value(soll::plan::Code::HealDidNotLast).unwrap(), kebab("HealDidNotLast").as_str());
    let missing: Vec<_> =
        names.iter().map(|name| kebab(name)).filter(|code| !page.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
