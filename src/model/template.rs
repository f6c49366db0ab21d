//! `{name}` in URLs and commands. Only known names are replaced, so that `awk '{print $1}'` and `${HOME}` stay as they are.

use std::collections::BTreeMap;

/// The values that a text may name.
pub type Values = BTreeMap<String, String>;

/// `text` with every `{name}` of `values` replaced, in one pass: a value is never read as a template again.
pub fn fill(text: &str, values: &Values) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        let dollar = rest[..open].ends_with('$');
        rest = &rest[open..];
        let value = rest.find('}').and_then(|close| values.get(&rest[1..close]).map(|value| (close, value)));
        match value {
            Some((close, value)) if !dollar => {
                out.push_str(value);
                rest = &rest[close + 1..];
            }
            _ => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The names that `text` mentions as `{name}` (letters, digits, `_`), for checking URLs, where an unknown one is a mistake.
pub fn names(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        rest = &rest[open + 1..];
        if let Some(close) = rest.find('}') {
            let name = &rest[..close];
            if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                found.push(name);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_names_are_replaced() {
        let values: Values =
            [("sha".to_owned(), "{tenant}".to_owned()), ("tenant".to_owned(), "acme".to_owned())].into();
        assert_eq!(fill("a-{sha}-{tenant} ${tenant} {print $1} {", &values), "a-{tenant}-acme ${tenant} {print $1} {");
        assert_eq!(names("{sha}/{x y}/{tenant}"), ["sha", "tenant"]);
    }
}
