//! From the bytes of a dump to its words. Texts, remarks and the rows of an insert are passed over; what MySQL runs although it
//! stands in a remark (`/*!50003 … */`) is no remark.

/// A word of a statement, with where it lies in what is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// Letters, digits, `_`, `$` and `@`.
    Plain { text: String, from: usize, to: usize },
    /// In backticks: a name. Without them.
    Name { text: String, from: usize, to: usize },
    /// A text in quotes.
    Text { from: usize, to: usize },
    /// Anything else that is no space.
    Sign { sign: u8, at: usize },
    /// The delimiter: a statement is over. `at`: where it begins.
    End { at: usize },
}

impl Word {
    /// Where it begins.
    pub fn from(&self) -> usize {
        match self {
            Word::Plain { from, .. } | Word::Name { from, .. } | Word::Text { from, .. } => *from,
            Word::Sign { at, .. } | Word::End { at } => *at,
        }
    }

    /// Where it has ended.
    pub fn to(&self) -> usize {
        match self {
            Word::Plain { to, .. } | Word::Name { to, .. } | Word::Text { to, .. } => *to,
            Word::Sign { at, .. } | Word::End { at } => at + 1,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum In {
    Code,
    Plain,
    Quoted(u8),
    Escaped(u8),
    /// To the end of the line.
    Line,
    /// To `*/`.
    Remark,
    /// After `/*`.
    Opening,
    /// After `/*M`.
    OpeningM,
    /// In the version after `/*!`.
    Version,
    /// The rest of a line that begins with `DELIMITER`.
    Delimiter,
}

/// Where in a dump the next byte stands.
#[derive(Debug)]
pub struct Lexer {
    within: In,
    last: u8,
    /// Where the word began that is being read.
    from: usize,
    text: Vec<u8>,
    /// In a remark that is run.
    runs: bool,
    delimiter: Vec<u8>,
    /// So many bytes of the delimiter have been seen, and where it began.
    matched: (usize, usize),
    /// Nothing but rows follow, to the end of the statement.
    rows: bool,
    /// No word of the statement has come yet.
    fresh: bool,
}

impl Default for Lexer {
    fn default() -> Self {
        Lexer {
            within: In::Code,
            last: b'\n',
            from: 0,
            text: Vec::new(),
            runs: false,
            delimiter: b";".to_vec(),
            matched: (0, 0),
            rows: false,
            fresh: true,
        }
    }
}

/// At most two words end with one byte: a plain one, and the sign after it.
pub type Words = [Option<Word>; 2];

const NONE: Words = [None, None];

impl Lexer {
    /// To the end of this statement nothing but its end is of interest.
    pub fn skip_words(&mut self) {
        self.rows = true;
    }

    /// What is held has lost so many bytes at its beginning.
    pub fn back(&mut self, by: usize) {
        self.from = self.from.saturating_sub(by);
        self.matched.1 = self.matched.1.saturating_sub(by);
    }

    /// Where something began that is not read to its end.
    pub fn begun(&self) -> Option<usize> {
        match self.within {
            In::Plain => Some(self.from),
            In::Quoted(b'`') if !self.rows => Some(self.from),
            _ if self.matched.0 > 0 => Some(self.matched.1),
            _ => None,
        }
    }

    /// The end of the dump.
    pub fn end(&mut self, at: usize) -> Words {
        match self.within {
            In::Plain => [Some(self.plain(at)), None],
            In::Quoted(_) | In::Escaped(_) | In::Remark => [Some(Word::Sign { sign: b'\'', at }), None],
            _ => NONE,
        }
    }

    /// One byte, or more that are passed over at once. Gives where the next one stands, and what has ended.
    pub fn step(&mut self, held: &[u8], at: usize) -> (usize, Words) {
        let byte = held[at];
        if let In::Quoted(quote) = self.within {
            let ends = |b: &u8| *b == quote || (*b == b'\\' && quote != b'`');
            let skip = held[at..].iter().position(ends).unwrap_or(held.len() - at);
            if skip > 0 {
                if quote == b'`' && !self.rows {
                    self.text.extend_from_slice(&held[at..at + skip]);
                }
                self.last = held[at + skip - 1];
                return (at + skip, NONE);
            }
        }
        let words = self.byte(byte, at);
        self.last = byte;
        (at + 1, words)
    }

    fn byte(&mut self, byte: u8, at: usize) -> Words {
        match self.within {
            In::Escaped(quote) => self.within = In::Quoted(quote),
            In::Quoted(quote) if byte == quote => {
                self.within = In::Code;
                if self.rows {
                    return NONE;
                }
                let (from, to) = (self.from, at + 1);
                let text = String::from_utf8_lossy(&std::mem::take(&mut self.text)).into_owned();
                return [
                    Some(if quote == b'`' { Word::Name { text, from, to } } else { Word::Text { from, to } }),
                    None,
                ];
            }
            In::Quoted(quote) => self.within = In::Escaped(quote),
            In::Line if byte == b'\n' => self.within = In::Code,
            In::Remark if byte == b'/' && self.last == b'*' => self.within = In::Code,
            In::Line | In::Remark => {}
            In::Opening if byte == b'!' => self.within = In::Version,
            In::Opening if byte == b'M' => self.within = In::OpeningM,
            In::OpeningM if byte == b'!' => self.within = In::Version,
            In::Opening | In::OpeningM => self.within = In::Remark,
            In::Version if byte.is_ascii_digit() => {}
            // The line by which MariaDB's client forbids commands of its own: no older one understands it.
            In::Version if byte == b'\\' => self.within = In::Remark,
            In::Version => {
                self.within = In::Code;
                self.runs = true;
                return self.code(byte, at);
            }
            In::Delimiter if byte == b'\n' => {
                let told = self.text.trim_ascii();
                if !told.is_empty() {
                    self.delimiter = told.to_vec();
                }
                self.text.clear();
                self.within = In::Code;
                self.fresh = true;
            }
            In::Delimiter => self.text.push(byte),
            In::Plain if is_plain(byte) => self.text.push(byte),
            In::Plain => {
                self.within = In::Code;
                let word = self.plain(at);
                if self.within == In::Delimiter {
                    return if byte == b'\n' { self.byte(byte, at) } else { NONE };
                }
                let [next, _] = self.code(byte, at);
                return [Some(word), next];
            }
            In::Code => return self.code(byte, at),
        }
        NONE
    }

    /// The plain word that ends here; where it says that the delimiter is another one, that is no word of a statement.
    fn plain(&mut self, to: usize) -> Word {
        let text = String::from_utf8_lossy(&std::mem::take(&mut self.text)).into_owned();
        if self.fresh && text.eq_ignore_ascii_case("DELIMITER") {
            self.within = In::Delimiter;
        }
        self.fresh = false;
        Word::Plain { text, from: self.from, to }
    }

    fn code(&mut self, byte: u8, at: usize) -> Words {
        if self.delimiter.get(self.matched.0) == Some(&byte) {
            if self.matched.0 == 0 {
                self.matched.1 = at;
            }
            self.matched.0 += 1;
            if self.matched.0 == self.delimiter.len() {
                let begun = self.matched.1;
                self.matched = (0, 0);
                (self.rows, self.fresh) = (false, true);
                return [Some(Word::End { at: begun }), None];
            }
            return NONE;
        }
        self.matched = (0, 0);
        match byte {
            b'-' if self.last == b'-' => self.within = In::Line,
            b'#' => self.within = In::Line,
            b'*' if self.last == b'/' => self.within = In::Opening,
            b'/' if self.last == b'*' && self.runs => self.runs = false,
            b'\'' | b'"' | b'`' => {
                self.within = In::Quoted(byte);
                self.from = at;
                self.fresh = false;
                self.text.clear();
            }
            _ if self.rows || byte.is_ascii_whitespace() => {}
            _ if is_plain(byte) => {
                self.within = In::Plain;
                self.from = at;
                self.text.clear();
                self.text.push(byte);
            }
            // They may be the beginning of a remark, or its end.
            b'-' | b'/' | b'*' => {}
            sign => return [Some(Word::Sign { sign, at }), None],
        }
        NONE
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'@') || byte >= 0x80
}
