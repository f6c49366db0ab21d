//! One statement of a dump, from its first words: whether it may pass, what it makes, and what of it is left out.

use super::words::Word;

/// What comes of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet, or nothing more.
    More,
    /// These bytes are left out.
    Cut(usize, usize),
    /// Nothing but rows follow.
    Rows,
    /// No dump has it, or it reaches beyond its database.
    Refuse(String),
}

/// What a statement is, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// Its first words say not yet.
    Open,
    /// Of tables: no name in it may have another one before it.
    Plain,
    /// Makes what has a body, in which names of tables stand before those of columns: only its own name is looked at.
    Stored(String),
    /// Rows of a table; nothing but `VALUES` may follow the names.
    Insert,
    Set,
    /// It is left out.
    Left,
}

/// A clause that says in whose name a view, trigger or routine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Definer {
    No,
    /// After the word, which begins here.
    Word(usize),
    /// After the sign `=`.
    Equals(usize),
    /// After the user's name, which ends there: a host may follow.
    User(usize, usize),
    /// After the `@`.
    At(usize),
}

/// A statement that goes by.
#[derive(Debug)]
pub struct Statement {
    kind: Kind,
    /// Where it begins.
    from: Option<usize>,
    /// The plain words of its beginning, in capital letters.
    words: Vec<String>,
    /// What the last word was, if it was a name or could be one.
    name: Option<String>,
    made: Option<String>,
    /// Whether that was the last word.
    own: bool,
    definer: Definer,
}

impl Default for Statement {
    fn default() -> Self {
        let (kind, definer) = (Kind::Open, Definer::No);
        Statement { kind, from: None, words: Vec::new(), name: None, made: None, own: false, definer }
    }
}

/// What may be made, changed and dropped in a database.
const STORED: [&str; 6] = ["VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "PACKAGE"];
const PLAIN: [&str; 3] = ["TABLE", "SEQUENCE", "INDEX"];

impl Statement {
    /// Whether nothing of one has come.
    pub fn is_empty(&self) -> bool {
        self.from.is_none()
    }

    /// The kind and the name of what it made.
    pub fn made(&self) -> Option<(&String, &String)> {
        match &self.kind {
            Kind::Stored(kind) if self.words.first().is_some_and(|word| word == "CREATE") => {
                Some((kind, self.made.as_ref()?))
            }
            _ => None,
        }
    }

    /// From where on what is held waits for a decision.
    pub fn holds(&self) -> Option<usize> {
        let definer = match self.definer {
            Definer::No => None,
            Definer::Word(from) | Definer::Equals(from) | Definer::User(from, _) | Definer::At(from) => Some(from),
        };
        match self.kind {
            Kind::Open | Kind::Left => self.from,
            _ => definer,
        }
    }

    /// What is held has lost so many bytes at its beginning.
    pub fn back(&mut self, by: usize) {
        self.from = self.from.map(|from| from.saturating_sub(by));
        let less = |at: usize| at.saturating_sub(by);
        self.definer = match self.definer {
            Definer::No => Definer::No,
            Definer::Word(from) => Definer::Word(less(from)),
            Definer::Equals(from) => Definer::Equals(less(from)),
            Definer::User(from, to) => Definer::User(less(from), less(to)),
            Definer::At(from) => Definer::At(less(from)),
        };
    }

    /// Its delimiter, which begins here. Gives what of it is left out.
    ///
    /// # Errors
    /// It is none that a dump has.
    pub fn end(&mut self, at: usize) -> Result<Option<(usize, usize)>, String> {
        let cut = match self.definer {
            Definer::User(from, to) => Some((from, to)),
            _ => None,
        };
        match self.kind {
            Kind::Left => Ok(self.from.map(|from| (from, at))),
            Kind::Insert => Err("the dump has an INSERT without VALUES, which no dump of a table has".to_owned()),
            Kind::Open if !matches!(self.words.first().map(String::as_str), None | Some("BEGIN")) => {
                Err(refused(&self.words.join(" ")))
            }
            _ => Ok(cut),
        }
    }

    /// Its next word.
    pub fn word(&mut self, word: &Word) -> Decision {
        self.from.get_or_insert(word.from());
        if let Some(cut) = self.definer(word) {
            return cut;
        }
        let (plain, name) = match word {
            Word::Plain { text, .. } => (Some(text.to_ascii_uppercase()), Some(text.clone())),
            Word::Name { text, .. } => (None, Some(text.clone())),
            _ => (None, None),
        };
        let own = std::mem::take(&mut self.own);
        if let Word::Sign { sign: b'.', .. } = word
            && let Some(name) = self.name.take()
        {
            return self.qualified(&name, own);
        }
        let decision = match &self.kind {
            Kind::Open => self.open(word, plain.as_deref()),
            Kind::Insert => match plain.as_deref() {
                Some("VALUES" | "VALUE") => {
                    self.kind = Kind::Plain;
                    Decision::Rows
                }
                Some("SELECT" | "TABLE" | "SET" | "WITH") => Decision::Refuse(
                    "the dump has an INSERT that reads tables, which no dump of a table has".to_owned(),
                ),
                _ => Decision::More,
            },
            Kind::Set => match plain.as_deref() {
                Some(word) if is_global(word) => {
                    Decision::Refuse(refused(&format!("SET {}", word.trim_start_matches('@'))))
                }
                _ => Decision::More,
            },
            Kind::Stored(_) if self.made.is_none() => {
                if !matches!(plain.as_deref(), Some("IF" | "NOT" | "EXISTS" | "BODY")) {
                    self.made.clone_from(&name);
                    self.own = name.is_some();
                }
                Decision::More
            }
            _ => Decision::More,
        };
        // A number is no name, and neither is a variable.
        self.name = name.filter(|name| !name.starts_with(|first: char| first.is_ascii_digit() || first == '@'));
        decision
    }

    /// A name that stands before a dot. `own`: where its own name should be.
    fn qualified(&self, name: &str, own: bool) -> Decision {
        match matches!(self.kind, Kind::Plain | Kind::Insert) || own {
            true => Decision::Refuse(format!(
                "the dump names a database: `{name}`. Restored beside the real one it would change the real one; make it again \
                 without `--databases`"
            )),
            false => Decision::More,
        }
    }

    fn open(&mut self, word: &Word, plain: Option<&str>) -> Decision {
        let Some(word_of) = plain else {
            return match word {
                // `ALGORITHM = UNDEFINED`, and what is in brackets.
                _ if self.words.first().is_some_and(|first| first == "CREATE" || first == "DROP") => Decision::More,
                Word::Sign { sign, .. } => Decision::Refuse(refused(&char::from(*sign).to_string())),
                _ => Decision::Refuse(refused("a text")),
            };
        };
        self.words.push(word_of.to_owned());
        let known = |kind: &str| kind == word_of;
        self.kind = match (self.words[0].as_str(), self.words.len()) {
            ("INSERT" | "REPLACE", 1) => Kind::Insert,
            ("SET", 1) => Kind::Set,
            ("LOCK" | "UNLOCK" | "COMMIT" | "START", 1) => Kind::Plain,
            ("CREATE" | "DROP" | "ALTER" | "BEGIN" | "DO" | "SELECT", 1) => Kind::Open,
            // Where a sequence of MariaDB stands.
            ("DO" | "SELECT", 2) if word_of == "SETVAL" => Kind::Plain,
            (_, 1) => return Decision::Refuse(refused(word_of)),
            ("ALTER", _) if word_of == "TABLE" => Kind::Plain,
            ("ALTER", _) if matches!(word_of, "DATABASE" | "SCHEMA") => Kind::Left,
            ("CREATE" | "DROP", _) if STORED.into_iter().any(known) => Kind::Stored(word_of.to_owned()),
            ("CREATE" | "DROP", _) if PLAIN.into_iter().any(known) => Kind::Plain,
            ("CREATE", 2..=12) if PASSED.into_iter().any(known) => Kind::Open,
            ("DROP", 2) if word_of == "TEMPORARY" => Kind::Open,
            (first, _) => return Decision::Refuse(refused(&format!("{first} {word_of}"))),
        };
        Decision::More
    }

    /// A clause `DEFINER=user@host`, from its word to its end.
    fn definer(&mut self, word: &Word) -> Option<Decision> {
        let is_host = |text: &str| text.starts_with('@');
        let begins = |this: &Self| match word {
            Word::Plain { text, from, .. }
                if text.eq_ignore_ascii_case("DEFINER")
                    && this.words.first().is_some_and(|first| first == "CREATE") =>
            {
                Definer::Word(*from)
            }
            _ => Definer::No,
        };
        match (self.definer, word) {
            (Definer::Word(from), Word::Sign { sign: b'=', .. }) => self.definer = Definer::Equals(from),
            (Definer::Equals(from), Word::Plain { text, .. }) if text.ends_with('@') => {
                self.definer = Definer::At(from)
            }
            (Definer::Equals(from), Word::Plain { text, to, .. }) if text.contains('@') => {
                self.definer = Definer::No;
                return Some(Decision::Cut(from, *to));
            }
            (Definer::Equals(from), word) => self.definer = Definer::User(from, word.to()),
            (Definer::User(from, _), Word::Plain { text, .. }) if text == "@" => self.definer = Definer::At(from),
            (Definer::User(from, _), Word::Plain { text, to, .. }) if is_host(text) => {
                self.definer = Definer::No;
                return Some(Decision::Cut(from, *to));
            }
            (Definer::At(from), word) => {
                self.definer = Definer::No;
                return Some(Decision::Cut(from, word.to()));
            }
            // `DEFINER=CURRENT_USER`, and the word that comes after it.
            (Definer::User(from, to), word) => {
                self.definer = Definer::No;
                return Some(match self.word(word) {
                    Decision::More => Decision::Cut(from, to),
                    other => other,
                });
            }
            (Definer::No | Definer::Word(_), _) => {
                let before = self.definer;
                self.definer = begins(self);
                // What was no clause (`SQL SECURITY DEFINER`) is a word like others.
                return match (before, self.definer) {
                    (_, Definer::Word(_)) => Some(Decision::More),
                    _ => None,
                };
            }
        }
        Some(Decision::More)
    }
}

/// What may stand between `CREATE` and what is made.
const PASSED: [&str; 17] = [
    "OR",
    "REPLACE",
    "TEMPORARY",
    "ALGORITHM",
    "UNDEFINED",
    "MERGE",
    "TEMPTABLE",
    "SQL",
    "SECURITY",
    "INVOKER",
    "DEFINER",
    "AGGREGATE",
    "UNIQUE",
    "FULLTEXT",
    "SPATIAL",
    "IF",
    "NOT",
];

/// Whether a word after `SET` reaches beyond the session.
fn is_global(word: &str) -> bool {
    let word = word.trim_start_matches('@');
    matches!(word, "GLOBAL" | "PERSIST" | "PERSIST_ONLY" | "PASSWORD" | "ROLE" | "DEFAULT_ROLE")
}

fn refused(what: &str) -> String {
    format!("the dump has a statement that no dump of one database has, and it is not run: {}", what.escape_debug())
}
