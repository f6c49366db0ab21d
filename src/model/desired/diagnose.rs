//! Errors with a place: which file, line and column, which words, why, and the next move. Collected until a whole file
//! is read, so that nobody repairs one error a run. How they look on a terminal is `render`'s business.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::part::Part;
use super::secrets;
use super::tree::Span;
use crate::model::ids::EnvName;

/// Whether the state is refused or merely remarked upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Error,
    Warning,
}

/// One thing that is wrong, or worth a remark, at one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Diagnostic {
    pub span: Span,
    pub severity: Severity,
    /// What is wrong, in one sentence without its place.
    pub message: String,
    /// Stands at the underlined words.
    pub label: String,
    /// The next move.
    pub help: Option<String>,
    /// The other place that it is about, where two do not go together: nobody can say which of them is the wrong one.
    pub beside: Option<Span>,
}

impl Diagnostic {
    /// Something that must be repaired.
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        let severity = Severity::Error;
        Diagnostic { span, severity, message: message.into(), label: "here".to_owned(), help: None, beside: None }
    }

    /// Something that should be looked at.
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(span, message) }
    }

    /// Sets the words at the underline.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Sets the next move.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Names the other of two places that do not go together.
    pub fn beside(mut self, other: Span) -> Self {
        self.beside = Some(other);
        self
    }
}

/// A file that was read: its name as people write it, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Relative to the root of the state repository, `/`-separated.
    pub path: String,
    pub text: String,
    /// Why there is no text, where the file could not be read: it is wrong for itself, like one with a mistake in it.
    pub unread: Option<String>,
}

impl SourceFile {
    /// What came of reading it.
    pub fn of(path: impl Into<String>, read: Result<String, String>) -> SourceFile {
        let (text, unread) = match read {
            Ok(text) => (text, None),
            Err(why) => (String::new(), Some(why)),
        };
        SourceFile { path: path.into(), text, unread }
    }
}

/// Everything found in a set of files, with the files themselves. Secrets in them are masked (law 9).
#[derive(Clone, Default)]
pub struct Diagnostics {
    pub(super) files: Vec<SourceFile>,
    found: BTreeSet<Diagnostic>,
    /// Files that are parts of others: templates, by the place that names them.
    parts: BTreeMap<usize, Span>,
    /// Of the state file itself: what belongs to which environment.
    owned: BTreeMap<Span, EnvName>,
}

/// A place for people: 1-based, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub file: String,
    pub line: usize,
    pub column: usize,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl Diagnostics {
    /// Takes a file in and gives the number that spans of it carry.
    pub fn add_file(&mut self, path: &str, text: &str) -> usize {
        self.files.push(SourceFile { path: path.to_owned(), text: secrets::masked(text), unread: None });
        self.files.len() - 1
    }

    /// Takes a file in that another one names, at `of`, as a part of itself: what is wrong in it is wrong there.
    pub fn add_part(&mut self, path: &str, text: &str, of: Span) -> usize {
        let part = self.add_file(path, text);
        self.parts.insert(part, of);
        part
    }

    /// Adds one; the same remark about the same words counts once, however many environments it concerns.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.found.insert(diagnostic);
    }

    /// Whether something must be repaired.
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|d| d.severity == Severity::Error)
    }

    /// Notes that what stands at these places belongs to this environment alone.
    pub(super) fn owns(&mut self, name: &EnvName, spans: impl IntoIterator<Item = Span>) {
        self.owned.extend(spans.into_iter().map(|span| (span, name.clone())));
    }

    /// The parts in which something must be repaired.
    pub fn wrong_parts(&self) -> BTreeSet<Part> {
        let errors = self.found.iter().filter(|d| d.severity == Severity::Error);
        let part = |span: Span| {
            let span = self.parts.get(&span.file).copied().unwrap_or(span);
            let file = self.place(span).file;
            match self.owner(span) {
                Some(name) => Part::Environment { name: name.clone(), file },
                None => Part::File(file),
            }
        };
        errors.flat_map(|error| std::iter::once(error.span).chain(error.beside)).map(part).collect()
    }

    /// Whose a place is: its own, or a part of one that is known (a word in a text).
    fn owner(&self, span: Span) -> Option<&EnvName> {
        let last = Span { file: span.file, start: span.start, end: usize::MAX };
        let (own, name) = self.owned.range(..=last).next_back()?;
        (own.file == span.file && own.end >= span.end).then_some(name)
    }

    /// Nothing at all was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// By file and place.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.found.iter()
    }

    /// The warnings without the errors.
    pub fn warnings(&self) -> Diagnostics {
        let found = self.found.iter().filter(|d| d.severity == Severity::Warning).cloned().collect();
        Diagnostics { found, ..self.clone() }
    }

    /// Where a span begins.
    pub fn place(&self, span: Span) -> Position {
        let Some(file) = self.files.get(span.file) else {
            return Position { file: "a built-in recipe".to_owned(), line: 1, column: 1 };
        };
        let before = file.text.get(..span.start).unwrap_or(&file.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before[line_start..].chars().filter(|c| *c != '\u{feff}').count() + 1;
        Position { file: file.path.clone(), line: before.matches('\n').count() + 1, column }
    }

    /// For machines: `[{severity, file, line, column, message, label, help}]`.
    pub fn to_json(&self) -> Json {
        self.iter()
            .map(|d| {
                let Position { file, line, column } = self.place(d.span);
                let severity = if d.severity == Severity::Error { "error" } else { "warning" };
                json!({
                    "severity": severity, "file": file, "line": line, "column": column,
                    "message": d.message, "label": d.label, "help": d.help,
                })
            })
            .collect()
    }
}

/// One line each: `file:line:column: message (help)`; the form for logs and errors of other rooms.
impl std::fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, diagnostic) in self.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}: {}", self.place(diagnostic.span), diagnostic.message)?;
            if let Some(help) = &diagnostic.help {
                write!(f, " ({help})")?;
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Diagnostics {}
