//! What controllers and agents say to each other, held together with the number by which they know that they understand one
//! another: an agent that was configured by hand may be of another build, and a field that it does not know would be ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use soll::host::wire::frame::PROTOCOL;
use soll::model::ids::Digest;

/// Raise the number with every change of what is said, and pin both here.
const PINNED: (u32, &str) = (11, "ad9923617b1710004f43d446cbea402ed5c9da9c6f591e5bbb8feee2eae15b8d");

/// The types that have a form in JSON, by file and name: their fields and what is said about those to serde, without
/// comments, docs and layout.
fn forms(dir: &Path, into: &mut BTreeMap<(String, String), String>) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            forms(&path, into);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let lines = code.lines().map(str::trim).filter(|line| !line.starts_with("//"));
            let code = lines.collect::<Vec<_>>().join(" ");
            for (name, form) in types(&code) {
                into.insert((path.display().to_string(), name), form);
            }
        }
    }
}

/// Each `struct` and `enum` that derives a form.
fn types(code: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for part in code.split("#[derive(").skip(1) {
        let Some((derives, item)) = part.split_once(")]") else { continue };
        let is_form = derives.split(',').any(|one| matches!(one.trim(), "Serialize" | "Deserialize"));
        let head = item.find("struct ").map(|at| (at, 7)).into_iter().chain(item.find("enum ").map(|at| (at, 5))).min();
        let Some((at, length)) = head.filter(|_| is_form) else { continue };
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let name: String = item[at + length..].chars().take_while(|c| is_name(*c)).collect();
        found.push((name, body(item)));
    }
    found
}

/// Up to the end of the item: the bracket that closes its first one outside attributes, or a semicolon.
fn body(item: &str) -> String {
    let (mut depth, mut opened) = (0usize, false);
    let end = item.char_indices().find(|(_, c)| {
        match c {
            '{' | '(' | '[' => {
                depth += 1;
                opened |= *c == '{' && depth == 1;
            }
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            ';' if depth == 0 => return true,
            _ => {}
        }
        opened && depth == 0
    });
    let end = end.map_or(item.len(), |(at, c)| at + c.len_utf8());
    item[..end].split_whitespace().collect::<Vec<_>>().join(" ")
}

fn words(form: &str) -> impl Iterator<Item = &str> {
    form.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| word.starts_with(char::is_uppercase))
}

#[test]
fn what_is_said_has_not_changed_without_a_new_number() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut said, mut others) = (BTreeMap::new(), BTreeMap::new());
    forms(&src.join("host/wire"), &mut said);
    for dir in ["model", "artifact", "host"] {
        forms(&src.join(dir), &mut others);
    }
    // The lines of a listing follow their call as data.
    let flat = others.iter().filter(|((_, name), _)| name == "Flat").map(|(key, form)| (key.clone(), form.clone()));
    said.extend(flat.collect::<Vec<_>>());
    assert!(said.len() > 20 && others.len() > 80, "{} {}", said.len(), others.len());
    // What these consist of is said as well.
    loop {
        let named: BTreeSet<String> = said.values().flat_map(|form| words(form)).map(str::to_owned).collect();
        let more = others.iter().filter(|(key, _)| named.contains(&key.1) && !said.contains_key(*key));
        let more: Vec<_> = more.map(|(key, form)| (key.clone(), form.clone())).collect();
        if more.is_empty() {
            break;
        }
        said.extend(more);
    }
    for name in ["HostState", "Record", "Drift", "Observe", "Gate", "Listing", "Flat", "Kind"] {
        assert!(said.keys().any(|(_, known)| known == name), "{name} is not among what is said");
    }
    let forms: BTreeSet<(&str, &str)> = said.iter().map(|((_, name), form)| (name.as_str(), form.as_str())).collect();
    let now = Digest::of_json(&forms).to_string();
    assert_eq!(
        (PROTOCOL, now.as_str()),
        PINNED,
        "what controllers and agents say to each other has changed: raise `host::wire::frame::PROTOCOL`, and pin its number \
         with this digest in {}",
        file!()
    );
}
