//! The names in an environment file, and a text without its values: they leave this module for a digest only (law 9). Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::mask::mask_whole;

/// The variables that a file sets to something: `KEY=VALUE` lines, with `export`, quotes (also over several lines) and
/// comments. A name with an empty value does not count: an application that needs it would not start (E4).
pub fn set_names(text: &str) -> BTreeSet<String> {
    assignments(text).into_iter().map(|(name, _)| name).collect()
}

/// `output` without the values of a file, those aside that are too short to be a secret and too common to be hidden.
pub fn mask(output: &str, file: &str) -> String {
    let telling = |name: &str| {
        let name = name.to_ascii_uppercase();
        ["PASS", "SECRET", "TOKEN", "KEY", "DSN"].iter().any(|word| name.contains(word))
    };
    let mut hidden: Vec<_> = assignments(file)
        .into_iter()
        .filter(|(name, value)| value.chars().count() >= if telling(name) { 4 } else { 8 })
        .map(|(_, value)| value)
        .collect();
    // Longest first: one value inside another would leave the rest of that standing.
    hidden.sort_by_key(|value| std::cmp::Reverse(value.len()));
    let lines = |value: &String| value.lines().map(str::to_owned).collect::<Vec<_>>();
    hidden
        .iter()
        .flat_map(lines)
        .filter(|line| line.chars().count() >= 4)
        .fold(output.to_owned(), |text, line| mask_whole(&text, &line))
}

/// The value of a variable, as an application reads it: the last assignment, without its quotes. For a digest only.
pub fn value(text: &str, name: &str) -> Option<String> {
    assignments(text).into_iter().rfind(|(known, _)| known == name).map(|(_, value)| value)
}

fn assignments(text: &str) -> Vec<(String, String)> {
    let named = lines(text).into_iter().filter_map(|Assignment { name, value, .. }| Some((name?, value)));
    named.filter(|(name, value)| !value.is_empty() && is_name(name)).collect()
}

/// A line of such a file that says something.
pub struct Assignment {
    /// Counted from 1; the first one of a value over several.
    pub number: usize,
    /// What stands before `=`, if anything does.
    pub name: Option<String>,
    pub value: String,
}

/// Every line that is neither empty nor a comment, whatever its name looks like.
pub fn lines(text: &str) -> Vec<Assignment> {
    let mut found = Vec::new();
    let mut lines = text.trim_start_matches('\u{feff}').lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else {
            found.push(Assignment { number, name: None, value: String::new() });
            continue;
        };
        let name = name.trim();
        let value = value.trim_start();
        let value = match value.chars().next() {
            None | Some('#') => String::new(),
            Some(quote @ ('"' | '\'')) => {
                let mut inner = value[1..].to_owned();
                // A key in several lines: what is inside is no assignment.
                while end(&inner, quote).is_none() {
                    let Some((more, _)) = lines.next() else { break };
                    inner.push('\n');
                    inner.push_str(more);
                }
                let end = end(&inner, quote).unwrap_or(inner.len());
                inner.truncate(end);
                inner
            }
            Some(_) => value.split_once(" #").map_or(value, |(value, _)| value).trim_end().to_owned(),
        };
        found.push(Assignment { number, name: Some(name.to_owned()), value });
    }
    found
}

/// The names in which two files differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differences {
    pub new: Vec<String>,
    pub changed: Vec<String>,
    pub gone: Vec<String>,
}

/// How one environment file differs from another: names alone. A line of a secret that only looks like an assignment is none.
pub fn differences(old: &str, new: &str) -> Differences {
    let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (assignments(old).into_iter().collect(), assignments(new).into_iter().collect());
    let told = |names: Vec<&String>| names.into_iter().filter(|name| is_told(name)).cloned().collect();
    Differences {
        new: told(new.keys().filter(|name| !old.contains_key(*name)).collect()),
        changed: told(
            new.iter()
                .filter(|(name, value)| old.get(*name).is_some_and(|was| was != *value))
                .map(|(n, _)| n)
                .collect(),
        ),
        gone: told(old.keys().filter(|name| !new.contains_key(*name)).collect()),
    }
}

/// Names as people write them. The lines of a key, which may end in `=`, mix capitals and small letters and are long.
fn is_told(name: &str) -> bool {
    let (upper, lower) = (|c: char| c.is_ascii_uppercase(), |c: char| c.is_ascii_lowercase());
    name.len() <= 64 && !(name.contains(upper) && name.contains(lower))
}

/// Those of `required` that the file does not set, in the order asked for.
pub fn missing(text: &str, required: &[String]) -> Vec<String> {
    let names = set_names(text);
    required.iter().filter(|name| !names.contains(*name)).cloned().collect()
}

/// Where a quoted value ends.
fn end(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == quote && !escaped {
            return Some(at);
        }
        escaped = c == '\\' && !escaped && quote == '"';
    }
    None
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_empty_ones_are_not() {
        let text = "\u{feff}APP_KEY=base64:x=\n# NOT=1\n  export DB_PASSWORD='a b' # why\nEMPTY=\nALSO=\"\"\nGAP= # nothing\n\
                    SPACED = v\nPEM=\"line\nINNER=not a name\nend\\\" still\nlast\"\nAFTER=\"a\"\nexportED=1\nno line\n1X=2\n";
        let names: Vec<_> = set_names(text).into_iter().collect();
        assert_eq!(names, ["AFTER", "APP_KEY", "DB_PASSWORD", "PEM", "SPACED", "exportED"]);
        let asked = ["B".to_owned(), "APP_KEY".to_owned(), "EMPTY".to_owned()];
        assert_eq!(missing(text, &asked), ["B", "EMPTY"]);
    }

    #[test]
    fn values_are_masked_and_words_are_not() {
        let file = "APP_ENV=local\nDB_PASSWORD=\"s3 \\\"x\"\nURL=https://h/abc # why\nPEM='first line\nsecond line'\nPIN_KEY=12\n";
        let output = "local s3 \\\"x, https://h/abc/d and https://h; second line, first line, 12";
        assert_eq!(mask(output, file), "local ***, ***/d and https://h; ***, ***, 12");
    }
}
