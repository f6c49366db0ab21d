//! Holds a spanned tree against the JSON Schema and reports everything that does not fit, all at once: unknown and
//! missing keys, wrong types, bad words and numbers, bad formats. Knows the schema language, not what the keys mean.

use serde_json::{Map, Value as Json};

use super::diagnose::{Diagnostic, Diagnostics};
use super::formats;
use super::schema::{resolve, schema};
use super::suggest;
use super::tree::{Node, Table, Value};
use super::words::{self, dotted};

/// Checks a whole file. An included one need not repeat `schema`.
pub fn file(root: &Node, included: bool, into: &mut Diagnostics) {
    let mut walker = Walker { into, above: Vec::new(), included, entry: false };
    walker.value(root, schema(), &mut Vec::new());
}

struct Walker<'a> {
    into: &'a mut Diagnostics,
    /// The tables around this one: their path and what they may hold.
    above: Vec<(String, &'static Map<String, Json>)>,
    included: bool,
    /// The value is an entry of a list.
    entry: bool,
}

impl Walker<'_> {
    fn value(&mut self, node: &Node, part: &'static Json, path: &mut Vec<String>) {
        let entry = std::mem::take(&mut self.entry);
        let resolved = resolve(part);
        if let Some(branches) = resolved.get("anyOf").and_then(Json::as_array) {
            return match branches.iter().find(|branch| accepts(resolve(branch), node)) {
                Some(branch) => {
                    self.entry = entry;
                    self.value(node, branch, path)
                }
                None => self.wrong_type(node, part, path, entry),
            };
        }
        if let Some(words) = words_of(resolved) {
            return match node.text() {
                Some(text) => self.word(node, text, &words, resolved, path),
                None => self.wrong_type(node, part, path, entry),
            };
        }
        if !accepts(resolved, node) {
            return self.wrong_type(node, part, path, entry);
        }
        match &node.value {
            Value::Table(table) => self.table(node, table, resolved, path),
            Value::Array(items) => self.array(node, items, part, path),
            Value::String(text) => self.format(node, text, part),
            Value::Integer(number) => self.number(node, *number as f64, part, path),
            Value::Float(number) => self.number(node, *number, part, path),
            Value::Boolean(_) | Value::Datetime(_) => {}
        }
    }

    fn table(&mut self, node: &Node, table: &Table, part: &'static Json, path: &mut Vec<String>) {
        let Some(known) = part.get("properties").and_then(Json::as_object) else {
            return self.map(table, part, path);
        };
        let mut meant = Vec::new();
        for (key, entry) in table {
            let Some(property) = known.get(key) else {
                let near = suggest::closest(key, known.keys().map(String::as_str));
                meant.extend(near.filter(|near| !table.contains_key(*near)));
                self.unknown_key(key, entry.key, near, known, path);
                continue;
            };
            path.push(key.clone());
            self.above.push((dotted(&path[..path.len() - 1]), known));
            self.value(&entry.node, property, path);
            self.above.pop();
            path.pop();
        }
        let required = part.get("required").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        for key in required.iter().filter_map(Json::as_str) {
            let skip = self.included && path.is_empty() && key == "schema";
            // A misspelt key was reported already: to call it missing as well would be noise.
            if !skip && !table.contains_key(key) && !meant.contains(&key) {
                let help = words::example_of(key, known.get(key).map(|part| (part, resolve(part))));
                let message = format!("`{key}` is missing in {}", words::place(path));
                self.into.push(Diagnostic::error(node.span, message).label(format!("needs `{key}`")).help(help));
            }
        }
        self.one_of(node, table, part, path);
    }

    /// A table whose keys are names.
    fn map(&mut self, table: &Table, part: &'static Json, path: &mut Vec<String>) {
        for (key, entry) in table {
            let format = part.pointer("/propertyNames/format").and_then(Json::as_str);
            if let Some(Err(fault)) = format.and_then(|format| formats::check(format, key)) {
                let error = Diagnostic::error(entry.key, fault.message).label("this name");
                self.into.push(Diagnostic { help: fault.help, ..error });
            }
            if let Some(values) = part.get("additionalProperties") {
                path.push(key.clone());
                self.value(&entry.node, values, path);
                path.pop();
            }
        }
    }

    fn array(&mut self, node: &Node, items: &[Node], part: &'static Json, path: &mut Vec<String>) {
        let both = [part, resolve(part)];
        if let Some(least) = both.iter().find_map(|part| part.get("minItems")).and_then(Json::as_u64)
            && (items.len() as u64) < least
        {
            let key = path.last().map(String::as_str).unwrap_or_default();
            let error = Diagnostic::error(node.span, format!("`{key}` is an empty list")).label("nothing in it");
            self.into.push(error.help("name at least one, or remove the key"));
        }
        if let Some(of) = both.iter().find_map(|part| part.get("items")) {
            for item in items {
                self.entry = true;
                self.value(item, of, path);
            }
            self.entry = false;
        }
    }

    fn one_of(&mut self, node: &Node, table: &Table, part: &'static Json, path: &[String]) {
        for group in part.get("x-one-of").and_then(Json::as_array).into_iter().flatten() {
            let keys: Vec<_> = group.as_array().into_iter().flatten().filter_map(Json::as_str).collect();
            let present: Vec<_> = keys.iter().filter(|key| table.contains_key(**key)).collect();
            let choice = suggest::list("exactly one of them", keys.iter().copied());
            match present.as_slice() {
                [_] => {}
                [] => {
                    let message = format!("this entry of `{}` does not say what it asks", dotted(path));
                    let message = if keys.contains(&"above") {
                        format!("this entry of `{}` does not say when its figure is bad", dotted(path))
                    } else {
                        message
                    };
                    let typo = table.keys().any(|key| suggest::closest(key, keys.iter().copied()).is_some());
                    if !typo {
                        self.into.push(Diagnostic::error(node.span, message).label("needs one more key").help(choice));
                    }
                }
                [first, rest @ ..] => {
                    for key in rest {
                        let message = format!("`{key}` and `{first}` cannot stand in one entry");
                        let error = Diagnostic::error(node.key(key), message).label("one too many");
                        self.into.push(error.help(format!("{choice}; write two entries for both")));
                    }
                }
            }
        }
    }

    fn unknown_key(
        &mut self,
        key: &str,
        span: super::tree::Span,
        near: Option<&str>,
        known: &'static Map<String, Json>,
        path: &[String],
    ) {
        let error =
            Diagnostic::error(span, format!("unknown key `{key}` in {}", words::place(path))).label("not known here");
        let below = known.iter().find(|(_, part)| {
            let part = resolve(part);
            resolve(part.get("items").unwrap_or(part)).pointer("/properties").is_some_and(|p| p.get(key).is_some())
        });
        let above = self.above.iter().rev().find(|(_, known)| known.contains_key(key));
        let help = if let Some((place, _)) = above {
            let place = if place.is_empty() { "the top of the file".to_owned() } else { format!("`[{place}]`") };
            format!("`{key}` belongs to {place}: move it there, above the next `[header]`")
        } else if let (Some((table, part)), None) = (below, near) {
            let list = resolve(part).get("items").is_some();
            let header = dotted(&[path, std::slice::from_ref(table)].concat());
            if list {
                format!("`{key}` belongs into an entry of `[[{header}]]`")
            } else {
                format!("`{key}` belongs into `[{header}]`")
            }
        } else {
            suggest::help(key, "known keys", known.keys().map(String::as_str))
        };
        self.into.push(error.help(help));
    }

    fn word(&mut self, node: &Node, text: &str, words: &[&str], part: &'static Json, path: &[String]) {
        if words.contains(&text) {
            return;
        }
        let key = path.last().map(String::as_str).unwrap_or_default();
        if let Some(later) = part.pointer("/x-not-yet").and_then(|later| later.get(text)).and_then(Json::as_str) {
            let message = format!("this version does not know {later} (`{key} = \"{text}\"`) yet");
            let error = Diagnostic::error(node.span, message).label("not known yet");
            return self.into.push(error.help(suggest::list("it knows", words.iter().copied())));
        }
        let message = format!("`{key}` cannot be \"{text}\"");
        let help = suggest::help(text, "possible values", words.iter().copied());
        self.into.push(Diagnostic::error(node.span, message).label("not one of the known words").help(help));
    }

    fn format(&mut self, node: &Node, text: &str, part: &'static Json) {
        let format = [part, resolve(part)].iter().find_map(|part| part.get("format")).and_then(Json::as_str);
        if let Some(Err(fault)) = format.and_then(|format| formats::check(format, text)) {
            let error = Diagnostic::error(node.span, fault.message).label("this value");
            self.into.push(Diagnostic { help: fault.help, ..error });
        }
    }

    fn number(&mut self, node: &Node, number: f64, part: &'static Json, path: &[String]) {
        let limit = |name| part.get(name).and_then(Json::as_f64);
        let (least, most) = (limit("minimum"), limit("maximum"));
        let key = path.last().map(String::as_str).unwrap_or_default();
        if !number.is_finite() {
            return self.into.push(Diagnostic::error(node.span, format!("`{key}` must be a finite number")));
        }
        if least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most) {
            let range = match (least, most) {
                (Some(least), Some(most)) if least == most => format!("be {least}"),
                (Some(least), Some(most)) => format!("lie between {least} and {most}"),
                (Some(least), None) => format!("be {least} at least"),
                _ => format!("be {} at most", most.unwrap_or_default()),
            };
            let error = Diagnostic::error(node.span, format!("`{key}` must {range}")).label("out of range");
            let why = part.get("x-why").and_then(Json::as_str).map(str::to_owned);
            self.into.push(Diagnostic { help: why, ..error });
        }
    }

    fn wrong_type(&mut self, node: &Node, part: &'static Json, path: &[String], entry: bool) {
        let wanted = words::wanted(part);
        let key = path.last().map_or("the file", String::as_str);
        let what = if entry { format!("an entry of `{key}`") } else { format!("`{key}`") };
        let message = format!("{what} must be {wanted}, not {}", node.kind());
        let error = Diagnostic::error(node.span, message).label(format!("{} is expected", words::upper(&wanted)));
        self.into.push(Diagnostic { help: words::retype(node, part, path), ..error });
    }
}

/// Whether the kind of value fits; what is inside is not looked at.
pub(super) fn accepts(part: &'static Json, node: &Node) -> bool {
    if let Some(branches) = part.get("anyOf").and_then(Json::as_array) {
        return branches.iter().any(|branch| accepts(resolve(branch), node));
    }
    match part.get("type").and_then(Json::as_str) {
        Some("string") => matches!(node.value, Value::String(_)),
        Some("integer") => matches!(node.value, Value::Integer(_)),
        Some("number") => matches!(node.value, Value::Integer(_) | Value::Float(_)),
        Some("boolean") => matches!(node.value, Value::Boolean(_)),
        Some("array") => matches!(node.value, Value::Array(_)),
        Some("object") => matches!(node.value, Value::Table(_)),
        _ => words_of(part).is_none() || matches!(node.value, Value::String(_)),
    }
}

/// The words of an enumeration, however the schema writes it.
pub(super) fn words_of(part: &'static Json) -> Option<Vec<&'static str>> {
    if let Some(words) = part.get("enum").and_then(Json::as_array) {
        return Some(words.iter().filter_map(Json::as_str).collect());
    }
    if let Some(word) = part.get("const").and_then(Json::as_str) {
        return Some(vec![word]);
    }
    let branches = part.get("oneOf").and_then(Json::as_array)?;
    let words: Option<Vec<_>> = branches.iter().map(words_of).collect();
    words.map(|words| words.concat())
}
