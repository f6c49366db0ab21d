//! How the walker speaks: what a schema wants in plain words, an example of a key, and how a value of the wrong kind is
//! written rightly. Pure text.

use serde_json::Value as Json;

use super::schema::resolve;
use super::tree::{Node, Value};
use super::walk::words_of;

/// `environments.production`, with quotes where TOML wants them.
pub fn dotted(path: &[String]) -> String {
    let plain = |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    let keys: Vec<_> = path.iter().map(|key| if plain(key) { key.clone() } else { format!("\"{key}\"") }).collect();
    keys.join(".")
}

/// The table at a path, as people call it.
pub fn place(path: &[String]) -> String {
    if path.is_empty() { "the state file".to_owned() } else { format!("`{}`", dotted(path)) }
}

/// What a schema wants.
pub fn wanted(part: &'static Json) -> String {
    let resolved = resolve(part);
    if let Some(branches) = resolved.get("anyOf").and_then(Json::as_array) {
        let kinds: Vec<_> = branches.iter().map(wanted).collect();
        return kinds.join(" or ");
    }
    if words_of(resolved).is_some() {
        return "a text".to_owned();
    }
    match resolved.get("type").and_then(Json::as_str) {
        Some("string") => match resolved.get("format").and_then(Json::as_str) {
            Some("soll-duration" | "soll-pause") => "a duration in quotes",
            _ => "a text",
        },
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some("boolean") => "true or false",
        Some("array") => "a list",
        _ => "a table",
    }
    .to_owned()
}

/// The first letter large.
pub fn upper(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}

/// A line that shows how a key is written.
pub fn example_of(key: &str, part: Option<(&'static Json, &'static Json)>) -> String {
    let example = part.and_then(|(part, resolved)| sample(part).or_else(|| sample(resolved)));
    match example {
        Some(example) => format!("for example: {key} = {example}"),
        None => format!("add `{key} = …`"),
    }
}

fn sample(part: &'static Json) -> Option<String> {
    if let Some(example) = part.pointer("/examples/0") {
        return Some(example.to_string());
    }
    if let Some(words) = words_of(part) {
        return words.first().map(|word| format!("\"{word}\""));
    }
    let required = part.get("required").and_then(Json::as_array)?;
    let fields: Option<Vec<_>> = required
        .iter()
        .filter_map(Json::as_str)
        .map(|key| {
            let field = part.get("properties")?.get(key)?;
            sample(field).or_else(|| sample(resolve(field))).map(|value| format!("{key} = {value}"))
        })
        .collect();
    fields.filter(|fields| !fields.is_empty()).map(|fields| format!("{{ {} }}", fields.join(", ")))
}

/// How a value of the wrong kind is written rightly, where that can be seen.
pub fn retype(node: &Node, part: &'static Json, path: &[String]) -> Option<String> {
    let key = path.last()?;
    let resolved = resolve(part);
    let is = |kind: &str| resolved.get("type").is_some_and(|of| of == kind);
    let written = match &node.value {
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(yes) => yes.to_string(),
        _ => String::new(),
    };
    let duration = wanted(part) == "a duration in quotes";
    match &node.value {
        Value::Integer(_) if duration => Some(format!("give the unit, in quotes: \"{written}s\" or \"{written}m\"")),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) if is("string") => {
            Some(format!("write it in quotes: \"{written}\""))
        }
        Value::String(text) if is("integer") && text.parse::<i64>().is_ok() => {
            Some(format!("without the quotes: {key} = {text}"))
        }
        Value::String(text) if is("boolean") && (text == "true" || text == "false") => {
            Some(format!("without the quotes: {key} = {text}"))
        }
        Value::Table(_) if is("array") => Some(format!("a list of tables has two brackets: `[[{}]]`", dotted(path))),
        Value::Array(_) if is("object") => Some(format!("this table has one bracket: `[{}]`", dotted(path))),
        Value::String(text) if is("array") => Some(format!("in brackets: {key} = [\"{text}\"]")),
        _ => sample(part).or_else(|| sample(resolved)).map(|sample| format!("for example: {key} = {sample}")),
    }
}
