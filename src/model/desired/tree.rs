//! The spanned tree of a file: every key and value with the place where it stands. Built from TOML, walked against the
//! schema, merged layer over layer, and kept beside the parsed structs so that every later error still knows its place.
//! Knows nothing of environments or releases.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::diagnose::{Diagnostic, Diagnostics};

/// Where something stands: which of the loaded files, and the bytes in it (a byte order mark counts).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub file: usize,
    pub start: usize,
    pub end: usize,
}

impl Span {
    /// The bytes.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// For a table of a `[header]` the header, for one of dotted keys the key.
    pub span: Span,
    pub value: Value,
}

/// What a file can hold. Dates are kept as text: no key of a state file wants one.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
}

/// A table by key.
pub type Table = BTreeMap<String, Entry>;

/// One key of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: Span,
    pub node: Node,
}

/// Parses a file. What could be understood is returned even where there are syntax errors, which go to `into`.
pub fn parse(file: usize, text: &str, into: &mut Diagnostics) -> Node {
    let bom = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let (table, errors) = DeTable::parse_recoverable(&text[bom..]);
    let mut builder = Builder { file, bom, too_big: Vec::new() };
    let root = Node { span: builder.span(0..0), value: Value::Table(builder.table(table.get_ref())) };
    for span in builder.too_big {
        let help = format!("whole numbers go from {} to {}", i64::MIN, i64::MAX);
        into.push(Diagnostic::error(span, "this number is too large").label("does not fit").help(help));
    }
    let spans = errors.iter().map(|error| error.span().unwrap_or(0..0));
    let spans: Vec<_> = spans.map(|span| Span { file, start: span.start + bom, end: span.end + bom }).collect();
    for (error, span) in errors.iter().zip(&spans) {
        // Under a header that is there twice every key is there twice: the header says it.
        let header = header_line(text, span.start);
        let under_doubled =
            header.is_some_and(|header| spans.iter().any(|other| line_start(text, other.start) == header));
        if !(under_doubled && error.message().starts_with("duplicate key")) {
            into.push(syntax(*span, error.message(), text, &root));
        }
    }
    root
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Where the line of the `[header]` above a line begins; `None` for a header itself and before the first one.
fn header_line(text: &str, at: usize) -> Option<usize> {
    let is_header = |line: &str| line.trim_start_matches('\u{feff}').trim_start().starts_with('[');
    let own = line_start(text, at);
    if is_header(&text[own..]) {
        return None;
    }
    let mut start = 0;
    let mut found = None;
    for line in text[..own].split_inclusive('\n') {
        if is_header(line) {
            found = Some(start);
        }
        start += line.len();
    }
    found
}

/// One syntax error in words that say what to do.
fn syntax(span: Span, message: &str, text: &str, root: &Node) -> Diagnostic {
    let rest_of_line = || text[span.start..].lines().next().unwrap_or_default().trim();
    if message.starts_with("duplicate key") {
        let name = &text[span.range()];
        let what = format!("`{name}` is defined twice");
        let error = Diagnostic::error(span, what).label("the second definition");
        return match first_definition(text, span, root) {
            Some(line) => error.help(format!("the first one is in line {line}: keep one of them")),
            None => error.help("keep one of them"),
        };
    }
    if message.starts_with("string values must be quoted") {
        let error = Diagnostic::error(span, "this value is not valid TOML").label("a value is expected here");
        return match rest_of_line() {
            "" => error.help("write the value, or remove the key"),
            word => error.help(format!("texts are written in quotes: \"{}\"", word.trim_matches('"'))),
        };
    }
    if message.contains("basic string") || message.contains("literal string") {
        let error = Diagnostic::error(span, "this text does not end").label("a quote is expected here");
        return error.help("close the quotes; a text over several lines stands between three of them: \"\"\"");
    }
    let error = Diagnostic::error(span, format!("syntax error: {message}")).label("here");
    if message.contains("unquoted key") { error.help("a key with other characters stands in quotes") } else { error }
}

/// The line of the first definition of a key or table that is defined again at `second`.
fn first_definition(text: &str, second: Span, root: &Node) -> Option<usize> {
    let line_of = |at: usize| text[..at].matches('\n').count() + 1;
    let start = line_start(text, second.start);
    let line = text[start..].lines().next()?.trim_start_matches('\u{feff}').trim_start();
    if let Some(header) = line.strip_prefix('[') {
        // The header up to and with the doubled key, as keys: `environments.x` of `[environments.x]`.
        let wanted = header_keys(header.split_once(']').map_or(header, |(keys, _)| keys))?;
        let mut at = 0;
        for raw in text.split_inclusive('\n') {
            let trimmed = raw.trim_start_matches('\u{feff}').trim_start();
            if at < start
                && let Some(header) = trimmed.strip_prefix('[')
                && header_keys(header.split_once(']').map_or(header, |(keys, _)| keys)).as_ref() == Some(&wanted)
            {
                return Some(line_of(at));
            }
            at += raw.len();
        }
        // Not a header: dotted keys or an inline table made it.
        let mut node = root;
        let mut key = None;
        for part in &wanted {
            let entry = node.table()?.get(part)?;
            (node, key) = (&entry.node, Some(entry.key));
        }
        return key.filter(|key| key.start < start).map(|key| line_of(key.start));
    }
    // A plain key: the line of the same section that starts with it.
    let name = &text[second.range()];
    let section = header_line(text, second.start).unwrap_or(0);
    let same = |line: &str| {
        let line = line.trim_start_matches('\u{feff}').trim_start();
        line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(['=', '.']))
    };
    let before = text[section..start].lines().position(same)?;
    Some(line_of(section) + before)
}

fn header_keys(dotted: &str) -> Option<Vec<String>> {
    let dotted = dotted.trim_start_matches('[');
    let text = format!("{dotted} = 0");
    let mut table = DeTable::parse(&text).ok()?.into_inner();
    let mut keys = Vec::new();
    loop {
        let (key, value) = table.into_iter().next()?;
        keys.push(key.into_inner().into_owned());
        match value.into_inner() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(keys),
        }
    }
}

struct Builder {
    file: usize,
    bom: usize,
    too_big: Vec<Span>,
}

impl Builder {
    fn span(&self, range: Range<usize>) -> Span {
        Span { file: self.file, start: range.start + self.bom, end: range.end + self.bom }
    }

    fn table(&mut self, table: &DeTable<'_>) -> Table {
        table
            .iter()
            .map(|(key, value)| {
                let entry = Entry { key: self.span(key.span()), node: self.node(value) };
                (key.get_ref().clone().into_owned(), entry)
            })
            .collect()
    }

    fn node(&mut self, value: &toml::Spanned<DeValue<'_>>) -> Node {
        let span = self.span(value.span());
        let value = match value.get_ref() {
            DeValue::String(text) => Value::String(text.clone().into_owned()),
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix());
                if parsed.is_err() && !number.as_str().is_empty() {
                    self.too_big.push(span);
                }
                Value::Integer(parsed.unwrap_or(i64::MAX))
            }
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(yes) => Value::Boolean(*yes),
            DeValue::Datetime(date) => Value::Datetime(date.to_string()),
            DeValue::Array(items) => Value::Array(items.iter().map(|item| self.node(item)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node { span, value }
    }
}

impl Node {
    /// The table, where it is one.
    pub fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The items, where it is an array.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Array(items) => items,
            _ => &[],
        }
    }

    /// The text, where it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value under a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.table()?.get(key).map(|entry| &entry.node)
    }

    /// The places of all that stands in it, of keys and of values.
    pub fn spans(&self, into: &mut Vec<Span>) {
        into.push(self.span);
        match &self.value {
            Value::Table(table) => table.values().for_each(|entry| {
                into.push(entry.key);
                entry.node.spans(into);
            }),
            Value::Array(items) => items.iter().for_each(|item| item.spans(into)),
            _ => {}
        }
    }

    /// The place of a value below this one (numbers index arrays), or of the deepest part of the path that is there.
    pub fn at(&self, path: &[&str]) -> Span {
        let mut node = self;
        let mut place = self.span;
        for part in path {
            let next = match &node.value {
                Value::Table(table) => table.get(*part).map(|entry| &entry.node),
                Value::Array(items) => part.parse().ok().and_then(|index: usize| items.get(index)),
                _ => None,
            };
            let Some(next) = next else { break };
            (node, place) = (next, next.span);
        }
        place
    }

    /// The place of a key of this table, or of the table.
    pub fn key(&self, key: &str) -> Span {
        self.table().and_then(|table| table.get(key)).map_or(self.span, |entry| entry.key)
    }

    /// What people call this kind of value.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::String(_) => "a text",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Boolean(_) => "true or false",
            Value::Datetime(_) => "a date",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// The plain value without places.
    pub fn json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::String(text) | Value::Datetime(text) => Json::from(text.as_str()),
            Value::Integer(number) => Json::from(*number),
            Value::Float(number) => Json::from(*number),
            Value::Boolean(yes) => Json::from(*yes),
            Value::Array(items) => items.iter().map(Node::json).collect(),
            Value::Table(table) => {
                Json::Object(table.iter().map(|(key, entry)| (key.clone(), entry.node.json())).collect())
            }
        }
    }
}
