//! What a host says, on its way into the journal and onto a terminal.

use crate::support::world::{APP, World, env};

/// A hook whose output and a gate whose words would clear a terminal and write something else there.
const LOUD: &str = r#"
[[apps.web.hooks]]
phase = "prepare"
run = "printf 'before \\033[2J\\033[H\\033]0;owned\\007 \\342\\200\\256 after\\rX\\n'; exit 1"
on_failure = "abort"
"#;

fn wild(text: &str) -> Vec<char> {
    text.chars()
        .filter(|c| c.is_control() && *c != '\n' && *c != '\t' || ('\u{202a}'..='\u{202e}').contains(c))
        .collect()
}

#[test]
fn no_control_character_of_a_hook_comes_through() {
    let w = World::with("");
    w.commit(&format!("{APP}{LOUD}{}", env("staging", 'a', "")));
    let applied = w.soll("apply");
    assert_ne!(applied.exit, 0);
    let run = w.soll("history --output json").json()[0]["run"].as_str().unwrap().to_owned();
    let shown = w.soll(&format!("show {run}"));
    let raw = w.soll(&format!("show {run} --output json"));
    assert!(shown.stdout.contains("before"), "{}", shown.stdout);
    for said in [&applied, &shown, &w.soll("why staging"), &w.soll("status"), &w.soll("plan")] {
        assert!(wild(&format!("{}{}", said.stdout, said.stderr)).is_empty(), "{:?}", said.stdout);
    }
    // In JSON they would stand escaped: what is kept has none, either.
    for escaped in ["\\u001b", "\\u0007", "\u{202e}"] {
        assert!(!raw.stdout.contains(escaped), "{escaped}: {}", raw.stdout);
    }
    let journal = std::fs::read(w.path("ctl/soll.db")).unwrap();
    let wal = std::fs::read(w.path("ctl/soll.db-wal")).unwrap_or_default();
    let text = String::from_utf8_lossy(&[journal, wal].concat()).into_owned();
    assert!(text.contains("before") && !text.contains("\\u001b") && !text.contains("owned\\u0007"), "the journal");
}

/// This machine is a host like any other: whoever may write into a release names a file as they like.
#[test]
fn no_control_character_of_a_file_name_on_this_machine_comes_through() {
    let w = World::staging("");
    w.write("staging/current/a\u{1b}[2Jowned\u{202e}\u{9b}31m", "x");
    for line in ["plan --output json", "status --drift --output json", "diff staging --output json", "why staging"] {
        let said = w.soll(line).exits(0);
        assert!(wild(&format!("{}{}", said.stdout, said.stderr)).is_empty(), "{line}: {:?}", said.stdout);
        assert!(!said.stdout.contains("\\u001b") && !said.stdout.contains("\\u009b"), "{line}: {}", said.stdout);
    }
    assert!(w.soll("diff staging").exits(0).stdout.contains("+ aowned"));
}
