//! The README and the pages with commands keep their word: their `sh` blocks are run, in their order and in one shell, and
//! each `text` block below one is what it prints (`…` stands for anything, on one line).

use std::process::{Command, Stdio};

/// A block of shell, and the lines that it is said to print, with the line of the page where it begins.
struct Block {
    line: usize,
    shell: String,
    printed: Option<String>,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open: Option<(&str, usize, String)> = None;
    for (n, line) in page.lines().enumerate() {
        open = match (open, line.strip_prefix("```")) {
            (None, Some(kind)) => Some((kind, n + 1, String::new())),
            (None, None) => None,
            (Some((kind, at, text)), None) => Some((kind, at, text + line + "\n")),
            (Some((kind, at, text)), Some(_)) => {
                match kind {
                    "sh" => blocks.push(Block { line: at, shell: text, printed: None }),
                    "text" => {
                        let above = blocks.last_mut().filter(|block| block.printed.is_none());
                        above.unwrap_or_else(|| panic!("line {at}: output of which command?")).printed = Some(text);
                    }
                    "" => panic!(
                        "line {at}: a block needs a kind: sh, text (its output), or what it is (toml, ini, json)"
                    ),
                    _ => {}
                }
                None
            }
        };
    }
    assert!(open.is_none(), "the last block is not closed");
    blocks
}

/// `said` with `…` for anything, against the whole line.
fn fits(said: &str, line: &str) -> bool {
    let mut pieces = said.split('…');
    let Some(mut rest) = pieces.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let pieces: Vec<_> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        let Some((_, after)) = rest.split_once(piece) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// Every line that was promised, in order; `…` alone skips what nobody wants to read.
fn differs(said: &str, printed: &str) -> Option<String> {
    let mut lines = printed.lines().map(str::trim_end);
    let mut skipping = false;
    for said in said.lines().map(str::trim_end) {
        if said == "…" {
            skipping = true;
            continue;
        }
        let found = if skipping {
            lines.find(|line| fits(said, line)).is_some()
        } else {
            lines.next().is_some_and(|l| fits(said, l))
        };
        if !found {
            return Some(said.to_owned());
        }
        skipping = false;
    }
    let rest: Vec<_> = lines.collect();
    (!skipping && !rest.is_empty()).then(|| format!("(the end), but: {}", rest.join("\n")))
}

#[test]
fn the_readme_does_what_it_says() {
    plays("README.md", 3);
}

#[test]
fn the_tour_does_what_it_says() {
    plays("docs/tour.md", 14);
}

#[test]
fn the_page_of_commits_does_what_it_says() {
    plays("docs/git.md", 5);
}

#[test]
fn the_page_of_backups_does_what_it_says() {
    plays("docs/backups.md", 6);
}

#[test]
fn the_page_of_adoption_does_what_it_says() {
    plays("docs/adoption.md", 4);
}

#[test]
fn the_page_of_ci_does_what_it_says() {
    plays("docs/ci.md", 4);
}

#[test]
fn the_page_of_hooks_does_what_it_says() {
    plays("docs/hooks.md", 2);
}

#[test]
fn the_page_of_secrets_does_what_it_says() {
    plays("docs/secrets.md", 3);
}

/// The pages with commands of a shell that are run elsewhere: `laravel::` does it on a Debian of its own.
const ELSEWHERE: [&str; 1] = ["docs/laravel.md"];

/// Whoever writes a page with commands learns here that it is to be played, too.
#[test]
fn every_page_with_commands_is_played() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(root.join("tests/it/readme.rs")).expect("this file");
    let pages = std::fs::read_dir(root.join("docs")).expect("the pages").map(|entry| entry.expect("a page").path());
    let (mut played, mut wrong) = (0, Vec::new());
    for path in pages.chain(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|page| root.join(page))) {
        let page = path.strip_prefix(root).expect("below it").display().to_string();
        if blocks(&std::fs::read_to_string(&path).expect("a page")).is_empty() || ELSEWHERE.contains(&page.as_str()) {
            continue;
        }
        played += 1;
        if !source.contains(&format!("plays(\"{page}\", ")) {
            wrong.push(page);
        }
    }
    assert!(played >= 8, "{played}");
    assert!(wrong.is_empty(), "nobody plays {wrong:?}: add a test, or call their blocks `console`");
}

/// Runs the commands of a page, which has at least so many blocks of them, in an empty directory.
fn plays(page: &str, least: usize) {
    let text = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect("the page");
    let blocks = blocks(&text);
    assert!(blocks.len() >= least, "only {} blocks of shell were found", blocks.len());
    // One shell: what one block exports, the next one has. Each prints into a file of its own.
    let mut script = "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n".to_owned();
    for (n, block) in blocks.iter().enumerate() {
        script.push_str(&format!("exec >\"$BLOCKS/{n}\" 2>&1\n{}\n", block.shell));
    }
    let place = tempfile::tempdir().expect("a folder");
    let (work, out) = (place.path().join("work"), place.path().join("out"));
    for dir in [&work, &out] {
        std::fs::create_dir(dir).expect("a folder");
    }
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_soll")).parent().expect("a directory");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").expect("a PATH"));
    let mut shell = Command::new("bash");
    shell.arg("-c").arg(&script).env_clear().envs([("PATH", path.as_str()), ("LC_ALL", "C.UTF-8"), ("USER", "ann")]);
    shell.env("HOME", place.path()).env("BLOCKS", &out).env("GIT_CONFIG_NOSYSTEM", "1");
    for role in ["AUTHOR", "COMMITTER"] {
        shell.env(format!("GIT_{role}_NAME"), "Ann").env(format!("GIT_{role}_EMAIL"), "ann@example.com");
    }
    // The guide's daemon listens; two tests on one machine shall not meet.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    shell.env("PORT", free.port().to_string());
    let status = shell.current_dir(&work).stdin(Stdio::null()).status().expect("bash runs");
    let printed = |n: usize| std::fs::read_to_string(out.join(n.to_string())).unwrap_or_default();
    if !status.success() {
        // The last file that was opened is the block that failed; the daemon of the guide says why, if it was it.
        let n = (0..blocks.len()).rev().find(|n| out.join(n.to_string()).exists()).unwrap_or_default();
        let log = std::fs::read_to_string(work.join("loop.log")).unwrap_or_default();
        panic!("{page} line {}: {status}\n{}\nit printed:\n{}\n{log}", blocks[n].line, blocks[n].shell, printed(n));
    }
    let wrong = blocks.iter().enumerate().filter_map(|(n, block)| {
        let missing = differs(block.printed.as_ref()?, &printed(n))?;
        Some(format!("{page} line {}\nmissing: {missing}\nprinted:\n{}", block.line, printed(n)))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "it prints something else than it says.\n{}", wrong.join("\n\n"));
}

#[test]
fn what_it_says_is_compared_line_by_line() {
    assert_eq!(differs("a … c\n…\nlast\n", "a b b c\nanything\nat all\nlast\n"), None);
    assert_eq!(differs("a\n", "a\nb\n").as_deref(), Some("(the end), but: b"));
    assert_eq!(differs("a\n…\n", "a\nb\n"), None);
    assert_eq!(differs("a\nc\n", "a\nb\nc\n").as_deref(), Some("c"));
    assert!(!fits("a … c", "a b d") && !fits("ab", "abc") && fits("…", "") && fits("… b", "a b b"));
}
