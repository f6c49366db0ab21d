//! The names in an environment file. Values are read over and never leave this module (law 9). Pure.

use std::collections::BTreeSet;

/// The variables that a file sets to something: `KEY=VALUE` lines, with `export`, quotes (also over several lines) and
/// comments. A name with an empty value does not count: an application that needs it would not start (E4).
pub fn set_names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut lines = text.trim_start_matches('\u{feff}').lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else { continue };
        let name = name.trim();
        let value = value.trim_start();
        let empty = match value.chars().next() {
            None | Some('#') => true,
            Some(quote @ ('"' | '\'')) => {
                let first = &value[1..];
                let mut empty = first.starts_with(quote);
                let mut closed = ends(first, quote);
                // A key in several lines: what is inside is no assignment.
                while !closed {
                    let Some(more) = lines.next() else { break };
                    closed = ends(more, quote);
                    empty = false;
                }
                empty
            }
            Some(_) => false,
        };
        if !empty && is_name(name) {
            names.insert(name.to_owned());
        }
    }
    names
}

/// Those of `required` that the file does not set, in the order asked for.
pub fn missing(text: &str, required: &[String]) -> Vec<String> {
    let names = set_names(text);
    required.iter().filter(|name| !names.contains(*name)).cloned().collect()
}

fn ends(text: &str, quote: char) -> bool {
    let mut escaped = false;
    for c in text.chars() {
        if c == quote && !escaped {
            return true;
        }
        escaped = c == '\\' && !escaped && quote == '"';
    }
    false
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
}
