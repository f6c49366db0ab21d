//! Links of the pages, and between them: each leads to a file, and what follows a `#` to a heading there, as forges name them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::pages;

/// The lines of a page that are no part of a block.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    })
}

/// The names that a forge gives to the headings of a page: the second of one name has `-1` at its end, and so on.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in prose(page) {
        let text = line.trim_start_matches('#');
        let Some(text) = text.strip_prefix(' ').filter(|_| line.starts_with('#')) else { continue };
        let kept: String = text
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let again = (1..).map(|n| format!("{kept}-{n}"));
        let name = std::iter::once(kept.clone()).chain(again).find(|name| !names.contains(name));
        names.extend(name);
    }
    names
}

/// The text without what stands in backticks, of which a forge makes no link. A span ends with as many backticks as it began
/// with, and a lone one is a character like any other.
fn without_code(text: &str) -> String {
    let (mut kept, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('`') {
        let ticks = rest[at..].len() - rest[at..].trim_start_matches('`').len();
        let (before, behind) = (&rest[..at], &rest[at + ticks..]);
        kept.push_str(before);
        // Spans do not reach over the end of a paragraph.
        let paragraph = behind.find("\n\n").unwrap_or(behind.len());
        let mut from = 0;
        let end = loop {
            let Some(next) = behind[from..paragraph].find('`').map(|next| from + next) else { break None };
            let run = behind[next..].len() - behind[next..].trim_start_matches('`').len();
            if run == ticks {
                break Some(next + run);
            }
            from = next + run;
        };
        rest = match end {
            Some(end) => &behind[end..],
            None => {
                kept.push_str(&rest[at..at + ticks]);
                behind
            }
        };
    }
    kept + rest
}

/// Where the links of a page lead to, each as it is written. What stands in backticks has none, and may be what leads
/// (`` [`x`](y.md) ``).
fn links(page: &str) -> Vec<String> {
    let text: Vec<&str> = prose(page).collect();
    let text = without_code(&text.join("\n"));
    let mut found = Vec::new();
    for (n, rest) in text.split("](").enumerate() {
        if n > 0 {
            found.extend(rest.split_once(')').map(|(link, _)| link.to_owned()));
        }
    }
    found
}

/// A path without `..` in it; nothing is asked of the disk.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut all, part| {
        if part == Component::ParentDir {
            all.pop();
        } else {
            all.push(part);
        }
        all
    })
}

/// What is wrong with the links of one page.
fn broken(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let wrong = |link: &String| {
        let (file, anchor) = link.split_once('#').map_or((link.as_str(), None), |(file, anchor)| (file, Some(anchor)));
        let to = match file {
            "" => page.to_owned(),
            file => plain(&page.parent().unwrap().join(file)),
        };
        let there = match anchor {
            None => to.exists(),
            Some(anchor) => fs::read_to_string(&to).is_ok_and(|page| anchors(&page).contains(anchor)),
        };
        !there
    };
    let near = |link: &String| !link.contains("://") && !link.starts_with("mailto:");
    links(&text).into_iter().filter(near).filter(wrong).map(|link| format!("{}: {link}", page.display())).collect()
}

#[test]
fn the_links_of_every_page_lead_somewhere() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for page in pages() {
        seen += links(&fs::read_to_string(&page).unwrap()).len();
        wrong.extend(broken(&page));
    }
    assert!(seen > 180, "{seen}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("page.md");
    fs::write(dir.path().join("other.md"), "# Other\n## `a …`, twice\n## a  twice\n```\n# no heading\n```\n").unwrap();
    let good =
        "[a](other.md) [b](other.md#a--twice) [c](other.md#a--twice-1) [d](#this-page) [e](https://example.com/x#y)";
    fs::write(&page, format!("# This page\n{good}\n```\n[f](nowhere.md)\n```\n")).unwrap();
    assert_eq!(broken(&page), Vec::<String>::new());
    fs::write(&page, "# This page\n[a](nowhere.md) [b](other.md#no-heading) [c](#that-page)").unwrap();
    assert_eq!(broken(&page).len(), 3);
}

#[test]
fn code_is_no_link_and_may_be_what_leads() {
    let page = "[`a`](a.md) `[b](b.md)` ``[c](c.md) ` `` lone ` [d](d.md)\n\n`[e](e.md)\n[f](f.md)`";
    assert_eq!(links(page), ["a.md", "d.md"]);
    // A list is a paragraph, too: what begins in one item and ends in the next is no code.
    assert_eq!(links("- `x` [a](a.md)\n- [b](b.md) `y`"), ["a.md", "b.md"]);
}

/// Who has read the first page knows of all the others.
#[test]
fn the_readme_is_short_and_leads_to_every_page() {
    let readme = fs::read_to_string("README.md").unwrap();
    assert!(readme.len() < 12_000, "{} bytes", readme.len());
    let named: BTreeSet<PathBuf> =
        links(&readme).iter().filter_map(|link| link.split('#').next().map(PathBuf::from)).collect();
    let missing: Vec<_> =
        pages().into_iter().filter(|page| !named.contains(page) && page.as_os_str() != "README.md").collect();
    assert!(missing.is_empty(), "README.md has no link to {missing:?}");
}

/// What the program, its example and its comments call a page is one.
#[test]
fn the_pages_that_the_source_names_are_there() {
    fn files(dir: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path, into);
            } else if path.extension().is_some_and(|ext| ext == "rs" || ext == "toml") {
                into.push(path);
            }
        }
    }
    let mut all = vec![PathBuf::from("desired-state.example.toml")];
    files(Path::new("src"), &mut all);
    let (mut seen, mut wrong) = (0, Vec::new());
    for file in all {
        let text = fs::read_to_string(&file).unwrap();
        for rest in text.split("docs/").skip(1) {
            let Some((name, after)) = rest.split_once(".md") else { continue };
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
                continue;
            }
            seen += 1;
            let anchor: Option<String> = after
                .strip_prefix('#')
                .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect());
            let page = fs::read_to_string(format!("docs/{name}.md")).unwrap_or_default();
            if page.is_empty() || anchor.is_some_and(|anchor| !anchors(&page).contains(&anchor)) {
                wrong.push(format!("{}: docs/{name}.md", file.display()));
            }
        }
    }
    assert!(seen >= 5, "{seen}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
