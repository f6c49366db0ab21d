//! Counts the rows of an SQL dump while it goes by, table by table, and remembers how it ended. `information_schema` guesses
//! by half; what is in the stream is what a restore will have. Reads the dialect of `mysqldump` and `mariadb-dump`, and keeps
//! a bounded part of the stream, however long a line is.

use std::collections::BTreeMap;

/// A statement is recognised by its first bytes; a longer beginning is none that counts.
const HEAD: usize = 4096;
/// Of a remark so many bytes are kept.
const REMARK: usize = 64;

/// What went by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// Rows by table; a table that is made and stays empty has none.
    pub tables: BTreeMap<String, u64>,
    /// Whether the dumper said that it came to its end. A stream that is cut between two statements is a valid dump of half
    /// the tables: nothing but this remark tells, and only where it is one, with nothing after it.
    pub is_complete: bool,
}

/// Where in the text the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Between statements.
    Start,
    /// In the first words of one.
    Head,
    /// In the rest of a statement that is of no interest.
    Rest,
    /// In the list of columns of an insert.
    Columns,
    /// Between the rows of an insert, or in one.
    Rows,
    /// In a routine or trigger, until its delimiter is taken back.
    Body,
}

/// What the next byte belongs to, whatever the statement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum In {
    Code,
    /// In a text in these quotes.
    Quoted(u8),
    /// The byte after a backslash in such a text.
    Escaped(u8),
    /// To the end of the line.
    Line,
    /// After `/*`: the next byte says whether it is a comment, or what MySQL runs all the same.
    Opening,
    /// To `*/`.
    Comment,
}

/// Watches a dump go by.
#[derive(Debug)]
pub struct Counter {
    at: At,
    within: In,
    depth: u32,
    head: Vec<u8>,
    /// The line of a body, as far as it may be the end of it.
    line: Vec<u8>,
    last: u8,
    /// The last remark, while no statement came after it.
    remark: Vec<u8>,
    table: String,
    counted: Counted,
}

impl Default for Counter {
    fn default() -> Self {
        Counter {
            at: At::Start,
            within: In::Code,
            depth: 0,
            head: Vec::new(),
            line: Vec::new(),
            last: b'\n',
            remark: Vec::new(),
            table: String::new(),
            counted: Counted::default(),
        }
    }
}

impl Counter {
    /// More of the dump, cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            // Long texts are most of a dump: they are passed over by what ends them.
            if let In::Quoted(quote) = self.within {
                let ends = |b: &u8| *b == quote || (*b == b'\\' && quote != b'`');
                let skip = rest.iter().position(ends).unwrap_or(rest.len());
                if skip > 0 {
                    self.keep(&rest[..skip]);
                    self.last = rest[skip - 1];
                    rest = &rest[skip..];
                    continue;
                }
            }
            self.byte(byte);
            self.last = byte;
            rest = &rest[1..];
        }
    }

    /// The end of it.
    pub fn end(self) -> Counted {
        let between = self.at == At::Start && matches!(self.within, In::Code | In::Line);
        Counted { is_complete: between && self.remark.starts_with(b"-- Dump completed"), ..self.counted }
    }

    /// Bytes of the first words of a statement.
    fn keep(&mut self, bytes: &[u8]) {
        if self.at == At::Head && self.head.len() < HEAD {
            self.head.extend_from_slice(bytes);
        }
    }

    fn byte(&mut self, byte: u8) {
        if self.at == At::Body {
            return self.body(byte);
        }
        match self.within {
            In::Escaped(quote) => {
                self.keep(&[byte]);
                self.within = In::Quoted(quote);
            }
            In::Quoted(quote) => {
                self.keep(&[byte]);
                // A doubled quote ends the text and begins another one at once: the rows are the same.
                self.within = if byte == quote { In::Code } else { In::Escaped(quote) };
            }
            In::Line if byte == b'\n' => self.within = In::Code,
            In::Comment if byte == b'/' && self.last == b'*' => self.within = In::Code,
            In::Opening if byte == b'!' => {
                self.within = In::Code;
                if self.at == At::Start {
                    self.at = At::Rest;
                }
            }
            In::Opening => self.within = In::Comment,
            In::Line if self.remark.len() < REMARK => self.remark.push(byte),
            In::Line | In::Comment => {}
            In::Code => self.code(byte),
        }
    }

    fn code(&mut self, byte: u8) {
        match byte {
            b'-' if self.last == b'-' && matches!(self.at, At::Start | At::Head) && self.head.len() <= 1 => {
                self.begin();
                self.within = In::Line;
                self.remark = b"--".to_vec();
                return;
            }
            b'#' if self.at == At::Start => {
                self.within = In::Line;
                self.remark.clear();
                return;
            }
            b'*' if self.last == b'/' => {
                // What `/*!40101 … */` holds is run, texts in it included; it never holds rows.
                self.within = In::Opening;
                if self.at == At::Head && self.head == b"/" {
                    self.begin();
                }
                return;
            }
            b'\'' | b'"' | b'`' => {
                self.within = In::Quoted(byte);
                if self.at == At::Start {
                    self.at = At::Rest;
                    self.remark.clear();
                }
                self.keep(&[byte]);
                return;
            }
            b';' if self.depth == 0 => return self.begin(),
            _ => {}
        }
        match self.at {
            At::Start if byte.is_ascii_whitespace() => {}
            At::Start => {
                self.at = At::Head;
                // It may be the beginning of the next one.
                if byte != b'-' {
                    self.remark.clear();
                }
                self.head.push(byte);
            }
            At::Head => self.head(byte),
            At::Columns if byte == b')' => self.at = At::Head,
            At::Rows => match byte {
                b'(' => {
                    if self.depth == 0 {
                        *self.counted.tables.entry(self.table.clone()).or_default() += 1;
                    }
                    self.depth += 1;
                }
                b')' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            },
            At::Rest | At::Columns | At::Body => {}
        }
    }

    fn head(&mut self, byte: u8) {
        if byte == b'\n' && self.head.starts_with(b"DELIMITER ") {
            let takes_back = self.head.trim_ascii_end().ends_with(b" ;");
            self.begin();
            self.at = if takes_back { At::Start } else { At::Body };
            return;
        }
        if byte == b'(' {
            return self.opened();
        }
        self.head.push(byte);
        if self.head.len() >= HEAD {
            self.at = At::Rest;
        }
    }

    /// The first parenthesis of a statement says what it is.
    fn opened(&mut self) {
        let text = String::from_utf8_lossy(&self.head).into_owned();
        let Some((verb, name, rest)) = named(&text) else {
            self.at = At::Rest;
            return;
        };
        match verb {
            Verb::Create => {
                self.counted.tables.entry(name).or_default();
                self.at = At::Rest;
            }
            Verb::Insert => {
                self.table = name;
                if rest.trim_end().to_ascii_uppercase().ends_with("VALUES") {
                    self.at = At::Rows;
                    self.depth = 1;
                    *self.counted.tables.entry(self.table.clone()).or_default() += 1;
                } else {
                    self.at = At::Columns;
                }
            }
        }
    }

    fn begin(&mut self) {
        self.at = At::Start;
        self.head.clear();
        self.depth = 0;
    }

    /// In a body only the line that ends it counts: what it would insert one day is no row now.
    fn body(&mut self, byte: u8) {
        if byte != b'\n' {
            if self.line.len() < 64 {
                self.line.push(byte);
            }
            return;
        }
        let line = self.line.trim_ascii();
        if line == b"DELIMITER ;" {
            self.begin();
        }
        self.line.clear();
    }
}

/// What a statement does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Create,
    Insert,
}

/// The verb, the table, and what follows its name.
fn named(head: &str) -> Option<(Verb, String, &str)> {
    let upper = head.get(..32.min(head.len())).unwrap_or(head).to_ascii_uppercase();
    let (verb, words) = [
        (Verb::Create, "CREATE TABLE IF NOT EXISTS "),
        (Verb::Create, "CREATE TABLE "),
        (Verb::Insert, "INSERT INTO "),
        (Verb::Insert, "REPLACE INTO "),
        (Verb::Insert, "INSERT IGNORE INTO "),
    ]
    .into_iter()
    .find(|(_, words)| upper.starts_with(words))?;
    let text = &head[words.len()..];
    let Some(quoted) = text.strip_prefix('`') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return Some((verb, text[..end].to_owned(), &text[end..]));
    };
    let mut name = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '`' if chars.next_if(|(_, next)| *next == '`').is_some() => name.push('`'),
            '`' => return Some((verb, name, &quoted[at + 1..])),
            c => name.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> BTreeMap<String, u64> {
        // Cut at every place: the answer is the same.
        let whole = one(&[text.as_bytes()]);
        for at in 0..text.len() {
            let (before, after) = text.as_bytes().split_at(at);
            assert_eq!(one(&[before, after]), whole, "cut at {at}");
        }
        whole
    }

    fn one(parts: &[&[u8]]) -> BTreeMap<String, u64> {
        let mut counter = Counter::default();
        parts.iter().for_each(|part| counter.feed(part));
        counter.end().tables
    }

    fn tables(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
        of.iter().map(|(name, rows)| ((*name).to_owned(), *rows)).collect()
    }

    #[test]
    fn rows_are_counted_whatever_stands_in_them() {
        let dump = "-- MariaDB dump\n/*!40101 SET NAMES utf8mb4 */;\nDROP TABLE IF EXISTS `a`;\n\
                    CREATE TABLE `a` (\n  `x` int DEFAULT NULL COMMENT 'a;(b'\n) ENGINE=InnoDB;\n\
                    LOCK TABLES `a` WRITE;\n/*!40000 ALTER TABLE `a` DISABLE KEYS */;\n\
                    INSERT INTO `a` VALUES\n(1,'x'),\n(2,'it''s (no) row;'),(3,'back\\'slash),(4,5'),\n(4,0xAB);\n\
                    INSERT INTO `a` VALUES (5,'-- none'),(6,'/* none');\nUNLOCK TABLES;\n\
                    CREATE TABLE `empty` (`y` int);\n\
                    INSERT INTO `b``c` (`d`, `e(f`) VALUES (1,2),(POINT(1,2),(3));\n";
        assert_eq!(counted(dump), tables(&[("a", 6), ("empty", 0), ("b`c", 2)]));
    }

    #[test]
    fn what_a_trigger_would_insert_is_no_row() {
        let dump = "CREATE TABLE `t` (`x` int);\nDELIMITER ;;\n/*!50003 CREATE TRIGGER `g` AFTER INSERT ON `t` FOR EACH ROW \
                    BEGIN\nINSERT INTO `log` VALUES (1),(2);\nEND */;;\nDELIMITER ;\nINSERT INTO `t` VALUES (1);\n";
        assert_eq!(counted(dump), tables(&[("t", 1)]));
    }

    #[test]
    fn only_the_last_line_says_that_it_is_complete() {
        let ends = |text: &str| {
            let mut counter = Counter::default();
            text.as_bytes().chunks(7).for_each(|part| counter.feed(part));
            counter.end().is_complete
        };
        assert!(ends("INSERT INTO `t` VALUES (1);\n-- Dump completed on 2026-11-30  2:00:01\n"));
        assert!(ends("-- Dump completed\n"));
        assert!(!ends("INSERT INTO `t` VALUES (1);\n"));
        assert!(!ends("INSERT INTO `t` VALUES ('\n-- Dump completed');\n"));
        assert!(!ends("INSERT INTO `t` VALUES ('\n-- Dump completed"));
        assert!(!ends("-- Dump completed\nINSERT INTO `t` VALUES (1);\n"));
        assert!(!ends(""));
    }
}
