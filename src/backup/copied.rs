//! Counts the rows of a dump of PostgreSQL while it goes by, table by table, and remembers how it ended: lines between
//! `COPY … FROM stdin;` and `\.` are rows. What stands in texts, comments and bodies of functions is none, whatever it looks
//! like. Keeps a bounded part of the stream, however long a line is.

use crate::backup::count::Counted;

/// A statement is recognised by its first bytes; a longer beginning is none that counts.
const HEAD: usize = 64 * 1024;
/// Of a line that may say something so many bytes are kept.
const LINE: usize = 128;
/// What `pg_dump` writes last.
const LAST: &[u8] = b"-- PostgreSQL database dump complete";

/// What the next byte belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum In {
    Code,
    /// In `'…'`, with backslashes that escape in `E'…'`.
    Text {
        escapes: bool,
    },
    /// After a backslash in `E'…'`.
    Escaped,
    /// In `"…"`.
    Name,
    /// After a `$` in code: perhaps the tag of a body.
    Tag(Vec<u8>),
    /// In `$tag$…$tag$`: the tag, and how much of its end has come.
    Body {
        tag: Vec<u8>,
        seen: usize,
    },
    /// To the end of the line.
    Line,
    /// In `/* … */`, which nests; whether the last byte may end it or begin another one.
    Comment {
        depth: u32,
        star: bool,
        stroke: bool,
    },
    /// A line for psql itself: `\restrict`, `\unrestrict`, `\connect`.
    Meta,
    /// After `COPY … FROM stdin;`: the rows begin with the next line.
    Copy,
    /// Rows, to the line `\.`.
    Rows,
}

/// Watches a dump go by.
#[derive(Debug)]
pub struct Copied {
    within: In,
    /// The statement so far, without comments.
    head: Vec<u8>,
    /// The line so far, as far as it may say something.
    line: Vec<u8>,
    /// The two bytes before the next one, the newest first.
    last: [u8; 2],
    /// Whether backslashes escaped in the last text.
    escaped: bool,
    table: String,
    /// Of that table, since its `COPY`.
    rows: u64,
    counted: Counted,
    /// The last line that the dumper writes has come, and no statement after it.
    is_over: bool,
}

impl Default for Copied {
    fn default() -> Self {
        Copied {
            within: In::Code,
            head: Vec::new(),
            line: Vec::new(),
            last: [b'\n'; 2],
            escaped: false,
            table: String::new(),
            rows: 0,
            counted: Counted::default(),
            is_over: false,
        }
    }
}

impl Copied {
    /// More of the dump, cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            // Rows are most of a dump: they are passed over line by line.
            if self.within == In::Rows {
                let end = rest.iter().position(|byte| *byte == b'\n');
                let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
                let room = LINE.saturating_sub(self.line.len());
                self.line.extend_from_slice(&line[..line.len().min(room)]);
                rest = after;
                if end.is_some() {
                    self.row();
                    rest = &rest[1..];
                }
                continue;
            }
            self.byte(rest[0]);
            self.last = [rest[0], self.last[0]];
            rest = &rest[1..];
        }
    }

    /// The end of it.
    pub fn end(mut self) -> Counted {
        if matches!(self.within, In::Line) {
            self.remark();
            self.within = In::Code;
        }
        let between = matches!(self.within, In::Code | In::Meta) && self.head.trim_ascii().is_empty();
        Counted { is_complete: between && self.is_over, ..self.counted }
    }

    fn row(&mut self) {
        let is_end = self.line == b"\\.";
        self.line.clear();
        if is_end {
            *self.counted.tables.entry(std::mem::take(&mut self.table)).or_default() += std::mem::take(&mut self.rows);
            self.within = In::Code;
            self.last = [b'\n'; 2];
        } else {
            self.rows += 1;
        }
    }

    fn byte(&mut self, byte: u8) {
        match &mut self.within {
            In::Code => return self.code(byte),
            In::Text { escapes: true } if byte == b'\\' => self.within = In::Escaped,
            In::Text { escapes } if byte == b'\'' => {
                self.escaped = *escapes;
                self.within = In::Code;
            }
            In::Escaped => self.within = In::Text { escapes: true },
            In::Name if byte == b'"' => self.within = In::Code,
            In::Text { .. } | In::Name => {}
            In::Tag(tag) if byte == b'$' => {
                let tag = [b"$", &tag[..], b"$"].concat();
                self.within = In::Body { tag, seen: 0 };
            }
            In::Tag(tag) if byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii() => tag.push(byte),
            In::Tag(_) => {
                self.within = In::Code;
                return self.code(byte);
            }
            In::Body { tag, seen } => {
                // A tag has its `$` at its ends alone: what does not go on may only begin again.
                *seen = if byte == tag[*seen] { *seen + 1 } else { usize::from(byte == b'$') };
                if *seen == tag.len() {
                    self.within = In::Code;
                }
                return;
            }
            In::Line | In::Meta if byte == b'\n' => {
                if self.within == In::Line {
                    self.remark();
                }
                self.line.clear();
                self.within = In::Code;
                return;
            }
            In::Line | In::Meta => {
                if self.line.len() < LINE {
                    self.line.push(byte);
                }
                return;
            }
            In::Comment { depth, star, stroke } => {
                match byte {
                    b'/' if *star => *depth -= 1,
                    b'*' if *stroke => *depth += 1,
                    _ => {}
                }
                // `/*/` is no comment that is over.
                let opened = byte == b'*' && *stroke;
                (*star, *stroke) = (byte == b'*' && !opened, byte == b'/' && !*star);
                if *depth == 0 {
                    self.within = In::Code;
                }
                return;
            }
            In::Copy => {
                if byte == b'\n' {
                    self.within = In::Rows;
                }
                return;
            }
            In::Rows => return,
        }
        self.keep(byte);
    }

    fn keep(&mut self, byte: u8) {
        if self.head.len() < HEAD {
            self.head.push(byte);
        }
    }

    fn code(&mut self, byte: u8) {
        let [last, before] = self.last;
        let at_start = self.head.trim_ascii().is_empty();
        match byte {
            b'\'' => {
                // A doubled quote ended the text and begins another one at once: that is of the same kind.
                let escapes = if last == b'\'' { self.escaped } else { matches!(last, b'E' | b'e') && !word(before) };
                self.within = In::Text { escapes };
            }
            b'"' => self.within = In::Name,
            b'$' if !word(last) => self.within = In::Tag(Vec::new()),
            b'-' if last == b'-' => {
                self.head.pop();
                self.line = b"--".to_vec();
                self.within = In::Line;
                return;
            }
            b'*' if last == b'/' => {
                self.head.pop();
                self.within = In::Comment { depth: 1, star: false, stroke: false };
                return;
            }
            b'\\' if at_start && last == b'\n' => {
                self.within = In::Meta;
                return;
            }
            b';' => return self.statement(),
            byte if at_start && byte.is_ascii_whitespace() => return,
            _ => {}
        }
        self.keep(byte);
    }

    /// A line of remarks.
    fn remark(&mut self) {
        self.is_over |= self.line == LAST && self.head.trim_ascii().is_empty();
        self.line.clear();
    }

    fn statement(&mut self) {
        let head = std::mem::take(&mut self.head);
        self.is_over = false;
        if let Some(table) = copied(&String::from_utf8_lossy(&head)) {
            self.table = table;
            self.line.clear();
            self.within = In::Copy;
        }
    }
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || !byte.is_ascii()
}

/// The table of `COPY name (columns) FROM stdin`, as `schema.table`.
fn copied(statement: &str) -> Option<String> {
    let statement = statement.trim();
    let rest = statement.strip_prefix("COPY ")?;
    statement.ends_with(" FROM stdin").then_some(())?;
    let (mut name, mut quoted) = (String::new(), false);
    let mut chars = rest.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => name.push('"'),
            '"' => quoted = !quoted,
            ' ' | '(' if !quoted => return Some(name),
            c => name.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> Counted {
        let whole = one(&[text.as_bytes()]);
        // Cut at every place: the answer is the same.
        for at in 0..text.len() {
            let (before, after) = text.as_bytes().split_at(at);
            assert_eq!(one(&[before, after]), whole, "cut at {at}");
        }
        whole
    }

    fn one(parts: &[&[u8]]) -> Counted {
        let mut counter = Copied::default();
        parts.iter().for_each(|part| counter.feed(part));
        counter.end()
    }

    fn rows(text: &str) -> Vec<(String, u64)> {
        counted(text).tables.into_iter().collect()
    }

    fn is(of: &[(&str, u64)]) -> Vec<(String, u64)> {
        of.iter().map(|(name, rows)| ((*name).to_owned(), *rows)).collect()
    }

    #[test]
    fn lines_between_copy_and_its_end_are_rows() {
        let dump = "--\n-- PostgreSQL database dump\n--\n\\restrict abc\nSET x = 'a;COPY public.no (x) FROM stdin;';\n\
                    CREATE TABLE public.users (\n    name text DEFAULT 'it''s -- (none)'::text\n);\n\
                    COPY public.users (id, name) FROM stdin;\n1\tit's\n2\t\\\\.\n\n\\N\t--\n\\.\n\n\n\
                    COPY \"we ird\".\"a\"\"b(c\" (\"FROM stdin;\") FROM stdin;\n\\.\n\
                    COPY public.none  FROM stdin;\n\n\n\\.\n";
        assert_eq!(rows(dump), is(&[("public.none", 2), ("public.users", 4), ("we ird.a\"b(c", 0)]));
    }

    #[test]
    fn what_only_looks_like_rows_is_none() {
        let copy = "COPY public.no (x) FROM stdin;\n1\n\\.\n";
        for text in [
            format!("CREATE FUNCTION public.f() RETURNS void AS $_$\n{copy}$1 $_\n$_$;\n"),
            format!("CREATE FUNCTION public.f() RETURNS void AS $$\n{copy}$$;\n"),
            format!("COMMENT ON TABLE public.a IS 'x\n{copy}';\n"),
            format!("COMMENT ON TABLE public.a IS E'x\\'\n''{copy}\\'x;\n{copy}';\n"),
            format!("/* x /* y */\n{copy}*/ SELECT 1;\n"),
            format!("/*/\n{copy}*/ SELECT 1;\n"),
            format!("CREATE TABLE public.a (\"\n{copy}\" int);\n"),
            "-- COPY public.no (x) FROM stdin;\n".to_owned(),
            "SELECT COPY public.no FROM stdin;\n".to_owned(),
        ] {
            let all = format!("{text}COPY public.yes (x) FROM stdin;\n1\n\\.\n");
            assert_eq!(rows(&all), is(&[("public.yes", 1)]), "{text}");
        }
    }

    #[test]
    fn only_the_last_lines_say_that_it_is_complete() {
        let last = "--\n-- PostgreSQL database dump complete\n--\n\n";
        assert!(counted(&format!("SELECT 1;\n\n{last}")).is_complete);
        assert!(counted(&format!("SELECT 1;\n\n{last}\\unrestrict abc\n\n")).is_complete);
        assert!(counted("-- PostgreSQL database dump complete").is_complete);
        assert!(!counted("SELECT 1;\n").is_complete);
        assert!(!counted(&format!("{last}SELECT 1;\n")).is_complete);
        assert!(!counted(&format!("{last}SELECT 1")).is_complete);
        assert!(!counted(&format!("COPY public.a (x) FROM stdin;\n{last}")).is_complete);
        assert!(!counted(&format!("SELECT '\n{last}")).is_complete);
        assert!(!counted(&format!("SELECT $$\n{last}")).is_complete);
    }
}
