//! Edits of one value of one environment, or of one template, byte for byte: comments, layout, line ends and a byte order mark
//! stay as they are, because the text is spliced and never written anew. Every edit is read back before it is returned.
//! Pure: works on the text of the file that defines the table ([`super::written::Written`]).

use std::fmt;

use super::diagnose::Diagnostics;
use super::release;
use super::tree::{self, Entry, Node, Span, Value};

/// Why an edit was not made. The text is untouched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    #[error("the state file has syntax errors; repair it first: {0}")]
    Syntax(String),
    #[error("`{0}` is not defined in this file")]
    NoTable(String),
    #[error("`{key}` of `{table}` is {found}, not a text: edit line {line} by hand")]
    NotText { table: String, key: String, found: &'static str, line: usize },
    #[error("`{key}` of `{table}` cannot be edited here (line {line}): {what}")]
    ByHand { table: String, key: String, line: usize, what: &'static str },
    #[error("{0}")]
    Value(String),
}

/// The table that an edit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableName<'a> {
    section: &'static str,
    name: &'a str,
}

impl<'a> TableName<'a> {
    /// `[templates.NAME]`.
    pub fn template(name: &'a str) -> TableName<'a> {
        TableName { section: "templates", name }
    }
}

/// `[environments.NAME]`.
impl<'a> From<&'a str> for TableName<'a> {
    fn from(name: &'a str) -> TableName<'a> {
        TableName { section: "environments", name }
    }
}

impl fmt::Display for TableName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.section, self.name)
    }
}

/// Sets the desired release of an environment, or of all that take theirs from a template.
///
/// # Errors
/// Where the text is no release, the table is not in this file, or only a person can make the edit.
pub fn set_release<'a>(text: &'a str, table: impl Into<TableName<'a>>, new: &str) -> Result<String, EditError> {
    release::check(new).map_err(|fault| match fault.help {
        Some(help) => EditError::Value(format!("{} ({help})", fault.message)),
        None => EditError::Value(fault.message),
    })?;
    set_string(text, table, "release", new)
}

/// Sets a text of a table; a key that is not there yet becomes a line of its own, in the style of its neighbours.
///
/// # Errors
/// Where the table is not in this file, or only a person can make the edit.
pub fn set_string<'a>(
    text: &'a str,
    table: impl Into<TableName<'a>>,
    key: &'a str,
    value: &str,
) -> Result<String, EditError> {
    let edit = Edit::new(text, table.into(), key)?;
    let edited = match edit.present() {
        Some(entry) => {
            if entry.node.text().is_none() {
                let (found, line) = (entry.node.kind(), edit.line(entry.key));
                return Err(EditError::NotText { table: edit.name.to_string(), key: key.to_owned(), found, line });
            }
            let old = &text[entry.node.span.range()];
            edit.splice(entry.node.span.start, entry.node.span.end, &quoted(value, old.starts_with('\'')))
        }
        None => edit.insert(value)?,
    };
    edit.prove(edited, Some(value))
}

/// Removes a text of a table, with its whole line. One that is not there is no error.
///
/// # Errors
/// Where the table is not in this file, or only a person can make the edit.
pub fn remove_key<'a>(text: &'a str, table: impl Into<TableName<'a>>, key: &'a str) -> Result<String, EditError> {
    let edit = Edit::new(text, table.into(), key)?;
    let Some(entry) = edit.present() else { return Ok(text.to_owned()) };
    if entry.node.text().is_none() {
        let (found, line) = (entry.node.kind(), edit.line(entry.key));
        return Err(EditError::NotText { table: edit.name.to_string(), key: key.to_owned(), found, line });
    }
    let edited = match edit.home() {
        Home::Inline => edit.remove_inline(entry),
        _ => edit.splice(edit.line_start(entry.key.start), edit.line_end(entry.node.span.end), ""),
    };
    edit.prove(edited, None)
}

/// How a table is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Home {
    /// `[environments.x]`
    Header,
    /// `x = { … }`
    Inline,
    /// `environments.x.root = …`
    Dotted,
}

struct Edit<'a> {
    text: &'a str,
    name: TableName<'a>,
    key: &'a str,
    tree: Node,
    table: Node,
}

impl<'a> Edit<'a> {
    fn new(text: &'a str, name: TableName<'a>, key: &'a str) -> Result<Self, EditError> {
        let tree = parse(text)?;
        let table = tree.get(name.section).and_then(|all| all.get(name.name)).filter(|node| node.table().is_some());
        let table = table.cloned().ok_or_else(|| EditError::NoTable(name.to_string()))?;
        Ok(Edit { text, name, key, tree, table })
    }

    fn present(&self) -> Option<&Entry> {
        self.table.table()?.get(self.key)
    }

    fn home(&self) -> Home {
        match self.text.as_bytes().get(self.table.span.start) {
            Some(b'[') => Home::Header,
            Some(b'{') => Home::Inline,
            _ => Home::Dotted,
        }
    }

    fn line(&self, span: Span) -> usize {
        self.text[..span.start].matches('\n').count() + 1
    }

    fn splice(&self, start: usize, end: usize, with: &str) -> String {
        [&self.text[..start], with, &self.text[end..]].concat()
    }

    fn line_start(&self, at: usize) -> usize {
        let start = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        // A byte order mark belongs to the file, not to its first line.
        if self.text[start..].starts_with('\u{feff}') { start + 3 } else { start }
    }

    /// After the line break that ends the line of `at`, or the end of the text.
    fn line_end(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |newline| at + newline + 1)
    }

    fn newline(&self) -> &'static str {
        if self.text.contains("\r\n") { "\r\n" } else { "\n" }
    }

    /// The keys that stand in the table itself, in the order of the text: the new one follows the best of them.
    fn neighbour(&self) -> Option<(&str, &Entry)> {
        let inside = |entry: &Entry| match self.home() {
            // Sub-tables with headers of their own stand elsewhere.
            Home::Header | Home::Dotted => self.text.as_bytes().get(entry.node.span.start) != Some(&b'['),
            Home::Inline => true,
        };
        let plain = |entry: &Entry| entry.node.table().is_none() || self.text[entry.node.span.range()].starts_with('{');
        let array = |entry: &Entry| matches!(entry.node.value, Value::Array(_));
        let entries = || {
            let all = self.table.table().into_iter().flatten();
            // `key = [1]` is a plain value although it starts with a bracket.
            all.filter(|(_, entry)| {
                let value =
                    array(entry) && self.text[entry.key.end..entry.node.span.start.max(entry.key.end)].contains('=');
                plain(entry) && (inside(entry) || value)
            })
        };
        let named = |name: &str| entries().find(|(key, _)| *key == name);
        let found = named("release").or_else(|| entries().max_by_key(|(_, entry)| entry.key.start));
        found.map(|(key, entry)| (key.as_str(), entry))
    }

    fn insert(&self, value: &str) -> Result<String, EditError> {
        let value = quoted(value, false);
        let newline = self.newline();
        match (self.home(), self.neighbour()) {
            (Home::Header, None) => {
                let at = self.line_end(self.table.span.end);
                Ok(self.line_after(at, &format!("{} = {value}", self.key), newline))
            }
            (Home::Header | Home::Dotted, Some((_, entry))) => {
                let start = self.line_start(entry.key.start);
                // `  environments.x.` of a dotted key, or just its indentation.
                let prefix = &self.text[start..entry.key.start];
                let gap = &self.text[entry.key.end..entry.node.span.start];
                let gap = self.aligned(gap, entry.key);
                let at = self.line_end(entry.node.span.end);
                Ok(self.line_after(at, &format!("{prefix}{}{gap}{value}", self.key), newline))
            }
            (Home::Inline, Some((_, entry))) => {
                let at = entry.node.span.end;
                Ok(self.splice(at, at, &format!(", {} = {value}", self.key)))
            }
            (Home::Inline, None) => {
                let span = self.table.span;
                Ok(self.splice(span.start, span.end, &format!("{{ {} = {value} }}", self.key)))
            }
            (Home::Dotted, None) => Err(EditError::ByHand {
                table: self.name.to_string(),
                key: self.key.to_owned(),
                line: self.line(self.table.span),
                what: "it has only sub-tables; add a line under a header of its own, such as `[environments.NAME]`",
            }),
        }
    }

    /// The space around `=` as the neighbour has it; aligned columns stay aligned where the new key is short enough.
    fn aligned(&self, gap: &str, neighbour: Span) -> String {
        let (before, after) = gap.split_once('=').unwrap_or((" ", " "));
        let width = neighbour.end - neighbour.start + before.len();
        let pad = match before {
            "" => 0,
            " " => 1,
            _ => width.saturating_sub(self.key.len()).max(1),
        };
        format!("{}={after}", " ".repeat(pad))
    }

    fn line_after(&self, at: usize, line: &str, newline: &str) -> String {
        if at == self.text.len() && !self.text.ends_with('\n') {
            // The last line has no end: it gets one, and the new last line has none, as before.
            return self.splice(at, at, &format!("{newline}{line}"));
        }
        self.splice(at, at, &format!("{line}{newline}"))
    }

    fn remove_inline(&self, entry: &Entry) -> String {
        let (start, end) = (entry.key.start, entry.node.span.end);
        let after = &self.text[end..];
        let blanks = after.len() - after.trim_start().len();
        if after.trim_start().starts_with(',') {
            let rest = &after[blanks + 1..];
            let gap = rest.len() - rest.trim_start_matches([' ', '\t']).len();
            return self.splice(start, end + blanks + 1 + gap, "");
        }
        // The last one takes the comma before it along.
        let before = self.text[..start].trim_end();
        if before.ends_with(',') { self.splice(before.len() - 1, end, "") } else { self.splice(start, end, "") }
    }

    /// The edited text says what it should and nothing else changed, or there is no edit.
    fn prove(&self, edited: String, value: Option<&str>) -> Result<String, EditError> {
        let without = |tree: &Node| {
            let mut json = tree.json();
            let table = json.get_mut(self.name.section).and_then(|all| all.get_mut(self.name.name));
            let had = table.and_then(|table| table.as_object_mut()).and_then(|table| table.remove(self.key));
            (json, had)
        };
        let same = parse(&edited).is_ok_and(|after| {
            let ((before, _), (after, now)) = (without(&self.tree), without(&after));
            before == after && now.as_ref().and_then(|now| now.as_str()) == value
        });
        if same {
            return Ok(edited);
        }
        let (table, key, line) = (self.name.to_string(), self.key.to_owned(), self.line(self.table.span));
        Err(EditError::ByHand {
            table,
            key,
            line,
            what: "its table is written in a way that only a person should change",
        })
    }
}

fn parse(text: &str) -> Result<Node, EditError> {
    let mut errors = Diagnostics::default();
    errors.add_file("state file", text);
    let tree = tree::parse(0, text, &mut errors);
    if errors.has_errors() { Err(EditError::Syntax(errors.to_string())) } else { Ok(tree) }
}

/// A TOML string; single quotes where the old value had them and the new one can.
fn quoted(value: &str, single: bool) -> String {
    if single && !value.contains(|c: char| c == '\'' || c.is_control()) {
        return format!("'{value}'");
    }
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
