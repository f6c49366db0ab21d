//! From the bytes of a dump to its words. Texts, remarks and the rows of an insert are passed over; what MySQL runs although it
//! stands in a remark (`/*!50003 … */`) is no remark.
//!
//! What the client, or one server or another, may read otherwise than this does is a word of its own ([`Word::Unclear`]), so that
//! nothing is believed of a statement of which it is not known where it ends. Of a remark that is run by new servers alone
//! both readings are looked at ([`Word::Maybe`]).

/// A word of a statement, with where it lies in what is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// Letters, digits, `_`, `$` and `@`.
    Plain { text: String, from: usize, to: usize },
    /// In backticks: a name. Without them.
    Name { text: String, from: usize, to: usize },
    /// A text in quotes, its beginning without them. In double quotes it may be a name.
    Text { text: String, from: usize, to: usize },
    /// Anything else that is no space.
    Sign { sign: u8, at: usize },
    /// The delimiter: a statement is over. `at`: where it begins.
    End { at: usize },
    /// A remark begins, or ends, that some servers run and others pass over.
    Maybe { opens: bool, at: usize },
    /// Something that is not read in the same way by everybody: what.
    Unclear { what: &'static str, at: usize },
}

impl Word {
    /// Where it begins.
    pub fn from(&self) -> usize {
        match self {
            Word::Plain { from, .. } | Word::Name { from, .. } | Word::Text { from, .. } => *from,
            Word::Sign { at, .. } | Word::End { at } | Word::Maybe { at, .. } | Word::Unclear { at, .. } => *at,
        }
    }

    /// Where it has ended.
    pub fn to(&self) -> usize {
        match self {
            Word::Plain { to, .. } | Word::Name { to, .. } | Word::Text { to, .. } => *to,
            Word::Sign { at, .. } | Word::End { at } | Word::Maybe { at, .. } | Word::Unclear { at, .. } => at + 1,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum In {
    Code,
    Plain,
    Quoted(u8),
    Escaped(u8),
    /// After `--`: a remark only where a space follows.
    Dashes,
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

/// Whether what stands here is in a remark that is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runs {
    /// It is in none.
    No,
    /// By every server there is.
    Always,
    /// By some, and others pass it over.
    Maybe,
}

/// Remarks of MySQL up to this version are run by every server, also by MariaDB, which passes over those of 5.7 and later.
const SURE: u32 = 50_699;
/// Whoever else reads a dump knows these as delimiters, and none of them may stand in a name.
const DELIMITERS: [&[u8]; 5] = [b";", b";;", b"//", b"|", b"||"];
/// A command of the client wherever it stands outside of a text.
const COMMAND: &[u8] = b"delimiter";
/// Of a text so much is kept.
const TEXT: usize = 1024;

/// Where in a dump the next byte stands.
#[derive(Debug)]
pub struct Lexer {
    within: In,
    last: u8,
    /// Where the word began that is being read.
    from: usize,
    text: Vec<u8>,
    runs: Runs,
    /// The version of a remark that begins, and whether it is one of MariaDB alone.
    version: (String, bool),
    /// So many bytes of [`COMMAND`] have been seen among rows.
    command: usize,
    /// A remark has just ended: its last sign is the beginning of nothing.
    closed: bool,
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
            runs: Runs::No,
            version: (String::new(), false),
            command: 0,
            closed: false,
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

fn unclear(what: &'static str, at: usize) -> Words {
    [Some(Word::Unclear { what, at }), None]
}

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
            _ if self.runs == Runs::Maybe => [Some(Word::Sign { sign: b'*', at }), None],
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
                let piece = &held[at..at + skip];
                if !self.rows {
                    let keeps = if quote == b'`' { skip } else { TEXT.saturating_sub(self.text.len()).min(skip) };
                    self.text.extend_from_slice(&piece[..keeps]);
                }
                // Passed over by others, the remark ends in the middle of this text.
                let ends = piece.windows(2).any(|two| two == b"*/") || (self.last == b'*' && piece[0] == b'/');
                self.last = held[at + skip - 1];
                let unclear = self.runs == Runs::Maybe && ends;
                return (at + skip, [unclear.then_some(Word::Unclear { what: "a text in a remark", at }), None]);
            }
        }
        let words = self.byte(byte, at);
        self.last = if std::mem::take(&mut self.closed) { b' ' } else { byte };
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
                    Some(if quote == b'`' { Word::Name { text, from, to } } else { Word::Text { text, from, to } }),
                    None,
                ];
            }
            In::Quoted(quote) => self.within = In::Escaped(quote),
            In::Line if byte == b'\n' => self.within = In::Code,
            In::Remark if byte == b'/' && self.last == b'*' => {
                self.within = In::Code;
                self.closed = true;
            }
            In::Line | In::Remark => {}
            In::Dashes => {
                self.within = In::Code;
                return match byte {
                    b'\n' => NONE,
                    byte if byte.is_ascii_whitespace() => self.begin(In::Line, at),
                    // The server begins a remark here, and the client does not.
                    byte if byte.is_ascii_control() => unclear("a remark", at),
                    _ => self.code(byte, at),
                };
            }
            In::Opening if byte == b'!' => return self.begin(In::Version, at),
            In::Opening if byte == b'M' => self.within = In::OpeningM,
            In::OpeningM if byte == b'!' => {
                self.version.1 = true;
                return self.begin(In::Version, at);
            }
            In::Opening | In::OpeningM => {
                let words = self.begin(In::Remark, at);
                // `/*/` and `/**/` as everybody reads them.
                if byte == b'/' {
                    self.closed = true;
                }
                return words;
            }
            In::Version if byte.is_ascii_digit() => self.version.0.push(char::from(byte)),
            // The line by which MariaDB's client forbids commands of its own: no older one understands it.
            In::Version if byte == b'\\' && self.version.0 == "999999" => {
                self.version = Default::default();
                self.within = In::Remark;
            }
            In::Version => return self.version(byte, at),
            In::Delimiter if byte == b'\n' => {
                self.within = In::Code;
                self.fresh = true;
                let told = std::mem::take(&mut self.text);
                match told.trim_ascii() {
                    b"" => {}
                    told if DELIMITERS.contains(&told) => self.delimiter = told.to_vec(),
                    _ => return unclear("a delimiter that no dump has", at),
                }
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

    /// Begins a remark, of whichever kind.
    fn begin(&mut self, within: In, at: usize) -> Words {
        self.within = within;
        match self.runs {
            Runs::No => NONE,
            Runs::Always if within != In::Version => NONE,
            _ => unclear("a remark in a remark", at),
        }
    }

    /// The version of a remark that is run has been read: by whom it is run.
    fn version(&mut self, byte: u8, at: usize) -> Words {
        self.within = In::Code;
        let (digits, is_mariadb) = std::mem::take(&mut self.version);
        let number: u32 = digits.parse().unwrap_or(u32::MAX);
        self.runs = match digits.len() {
            0 if !is_mariadb => Runs::Always,
            5 if !is_mariadb && number <= SURE => Runs::Always,
            0 | 5 | 6 => Runs::Maybe,
            _ => return unclear("the version of a remark", at),
        };
        let [next, more] = self.code(byte, at);
        match self.runs {
            Runs::Maybe if more.is_some() => unclear("a remark", at),
            Runs::Maybe => [Some(Word::Maybe { opens: true, at }), next],
            _ => [next, more],
        }
    }

    /// The plain word that ends here; where it says that the delimiter is another one, that is no word of a statement.
    fn plain(&mut self, to: usize) -> Word {
        let text = String::from_utf8_lossy(&std::mem::take(&mut self.text)).into_owned();
        let from = self.from;
        if self.fresh && self.runs == Runs::No && text.eq_ignore_ascii_case("DELIMITER") {
            self.within = In::Delimiter;
        } else if text.as_bytes().windows(COMMAND.len()).any(|piece| piece.eq_ignore_ascii_case(COMMAND)) {
            return Word::Unclear { what: "the word DELIMITER", at: from };
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
                if self.runs == Runs::Maybe {
                    return unclear("a delimiter in a remark", at);
                }
                return [Some(Word::End { at: begun }), None];
            }
            return NONE;
        }
        self.matched = (0, 0);
        if self.rows {
            let next = COMMAND.get(self.command) == Some(&byte.to_ascii_lowercase());
            let first = COMMAND.first() == Some(&byte.to_ascii_lowercase());
            self.command = if next { self.command + 1 } else { usize::from(first) };
            if self.command == COMMAND.len() {
                self.command = 0;
                return unclear("the word DELIMITER", at);
            }
        }
        match byte {
            b'-' if self.last == b'-' => self.within = In::Dashes,
            b'#' => return self.begin(In::Line, at),
            b'*' if self.last == b'/' => self.within = In::Opening,
            b'/' if self.last == b'*' && self.runs != Runs::No => {
                let runs = std::mem::replace(&mut self.runs, Runs::No);
                self.closed = true;
                if runs == Runs::Maybe {
                    self.rows = false;
                    return [Some(Word::Maybe { opens: false, at }), None];
                }
            }
            // A command of the client, whatever stands around it.
            b'\\' => return [Some(Word::Sign { sign: byte, at }), None],
            b'@' if self.rows => return unclear("a variable among rows", at),
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
