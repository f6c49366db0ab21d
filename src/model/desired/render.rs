//! Diagnostics on a terminal: the line, the words underlined, the reason, the next move. Colour only where it is asked
//! for. Knows nothing of what the files mean.

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents};
use miette::{SourceCode, SourceSpan, SpanContents};

use super::diagnose::{Diagnostic, Diagnostics, Severity};

/// How diagnostics are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    pub colour: bool,
    /// Columns of the terminal.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Style { colour: false, width: 110 }
    }
}

impl Diagnostics {
    /// Every diagnostic with its place drawn, in the order of files and lines.
    pub fn render(&self, style: Style) -> String {
        let theme = if style.colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(style.width.max(40))
            .with_links(false)
            .with_context_lines(1)
            .tab_width(4);
        let mut out = String::new();
        for diagnostic in self.iter() {
            let drawn = Drawn::new(self, diagnostic);
            // Drawing into memory fails only on a span outside the text; the plain line is better than nothing.
            if handler.render_report(&mut out, &drawn).is_err() {
                out.push_str(&format!("{}: {}\n", self.place(diagnostic.span), diagnostic.message));
            }
            out.push('\n');
        }
        // Lines that end in blanks differ between terminals and editors for no reason.
        let lines: Vec<_> = out.trim_end().lines().map(str::trim_end).collect();
        lines.join("\n") + "\n"
    }
}

/// One diagnostic as the drawing library wants it.
struct Drawn<'a> {
    diagnostic: &'a Diagnostic,
    source: Source,
    span: SourceSpan,
}

impl<'a> Drawn<'a> {
    fn new(all: &Diagnostics, diagnostic: &'a Diagnostic) -> Self {
        let (name, text) = all.files.get(diagnostic.span.file).map_or(("", ""), |file| (&file.path, &file.text));
        // Marks that a terminal would act on are left out, and the span moves along.
        let shown = |part: &str| part.replace(['\u{feff}', '\r'], "");
        let end = diagnostic.span.end.min(text.len());
        let start = diagnostic.span.start.min(end);
        let before = shown(text.get(..start).unwrap_or_default()).len();
        let marked = text.get(start..end).unwrap_or_default();
        // A span over several lines is drawn on its first: the rest would only push the reason away.
        let length = shown(marked.lines().next().unwrap_or_default()).len();
        let source = Source { name: name.to_owned(), text: shown(text) };
        Drawn { diagnostic, span: (before, length).into(), source }
    }
}

impl std::fmt::Debug for Drawn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.diagnostic.message)
    }
}

impl std::fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.diagnostic.message)
    }
}

impl std::error::Error for Drawn<'_> {}

impl miette::Diagnostic for Drawn<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'h>(&'h self) -> Option<Box<dyn std::fmt::Display + 'h>> {
        self.diagnostic.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new_with_span(Some(self.diagnostic.label.clone()), self.span);
        Some(Box::new(std::iter::once(label)))
    }
}

/// A text whose columns are counted in characters (the library counts bytes).
struct Source {
    name: String,
    text: String,
}

impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let contents = self.text.read_span(span, before, after)?;
        let start = contents.span().offset();
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let column = self.text[line_start..start].chars().count();
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            contents.data(),
            *contents.span(),
            contents.line(),
            column,
            contents.line_count(),
        )))
    }
}
