//! One statement of a dump, from its first words: whether it may pass, what it makes, and what of it is left out.

use super::Events;
use super::set::Set;
use super::words::Word;

/// What comes of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet, or nothing more.
    More,
    /// These bytes are left out.
    Cut(usize, usize),
    /// These bytes are left out, and these others stand there.
    Swap(usize, usize, &'static str),
    /// Nothing but rows follow.
    Rows,
    /// No dump has it, or it reaches beyond its database.
    Refuse(String),
    /// Nobody can say what it is: it is read in one way here, and in another one there.
    Unclear(String),
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

/// How a statement stands to a remark that is run by some servers alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Maybe {
    /// There was none.
    No,
    /// All of it stands in one.
    Whole,
    /// It stood in one, which is over: nothing may come after it.
    Over,
    /// Part of it stands in one.
    Part,
    /// That has just ended.
    After,
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
    maybe: Maybe,
    set: Set,
    /// Whether the events that it makes may happen, as far as that is not said yet.
    events: Events,
}

/// What may be made, changed and dropped in a database.
const STORED: [&str; 7] = ["VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "PACKAGE", "SEQUENCE"];
const PLAIN: [&str; 2] = ["TABLE", "INDEX"];

impl Statement {
    /// None of it has come yet.
    pub fn new(events: Events) -> Statement {
        Statement {
            kind: Kind::Open,
            from: None,
            words: Vec::new(),
            name: None,
            made: None,
            own: false,
            definer: Definer::No,
            maybe: Maybe::No,
            set: Set::default(),
            events,
        }
    }

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
    /// It is none that a dump has, or nobody can say what it is.
    pub fn end(&mut self, at: usize) -> Result<Option<(usize, usize)>, Decision> {
        let cut = match self.definer {
            Definer::User(from, to) => Some((from, to)),
            _ => None,
        };
        if matches!(self.maybe, Maybe::Whole | Maybe::Part) {
            return Err(unclear("a remark that does not end"));
        }
        match self.kind {
            Kind::Left if self.maybe != Maybe::No => Err(unclear("ALTER DATABASE in a remark")),
            Kind::Left => Ok(self.from.map(|from| (from, at))),
            Kind::Set => match self.set.end() {
                Decision::More => Ok(cut),
                other => Err(other),
            },
            Kind::Insert => {
                let why = "the dump has an INSERT without VALUES, which no dump of a table has".to_owned();
                Err(Decision::Refuse(why))
            }
            Kind::Open if !matches!(self.words.first().map(String::as_str), None | Some("BEGIN")) => {
                Err(Decision::Refuse(refused(&self.words.join(" "))))
            }
            _ => Ok(cut),
        }
    }

    /// Its next word.
    pub fn word(&mut self, word: &Word) -> Decision {
        match word {
            Word::Unclear { what, .. } => return unclear(what),
            Word::Maybe { opens, .. } => return self.maybe(*opens),
            Word::Sign { sign: b'\\', .. } => return Decision::Refuse(refused("\\")),
            _ => {}
        }
        match (self.maybe, word) {
            (Maybe::Over, _) | (Maybe::After, Word::Sign { sign: b'.', .. }) => {
                return unclear("something after a remark");
            }
            (Maybe::After, _) => self.maybe = Maybe::No,
            _ => {}
        }
        self.from.get_or_insert(word.from());
        if self.kind == Kind::Set {
            return match word {
                Word::Plain { text, .. } if is_global(&text.to_ascii_uppercase()) => {
                    let text = text.to_ascii_uppercase();
                    Decision::Refuse(refused(&format!("SET {}", text.trim_start_matches('@'))))
                }
                word => self.set.word(word),
            };
        }
        if let Some(cut) = self.definer(word) {
            return cut;
        }
        let (plain, name) = match word {
            Word::Plain { text, .. } => (Some(text.to_ascii_uppercase()), Some(text.clone())),
            // In double quotes it is a name where a mode of SQL says so.
            Word::Name { text, .. } | Word::Text { text, .. } => (None, Some(text.clone())),
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
            Kind::Stored(_) if self.made.is_none() => {
                if !matches!(plain.as_deref(), Some("IF" | "NOT" | "EXISTS" | "BODY")) {
                    self.made.clone_from(&name);
                    self.own = name.is_some();
                }
                Decision::More
            }
            Kind::Stored(kind) if kind == "EVENT" && self.events == Events::Disabled => {
                match (word, plain.as_deref()) {
                    (Word::Plain { from, to, .. }, Some("ENABLE")) => {
                        self.events = Events::AsSaved;
                        Decision::Swap(*from, *to, "DISABLE")
                    }
                    (_, Some("DISABLE")) => {
                        self.events = Events::AsSaved;
                        Decision::More
                    }
                    (Word::Plain { from, .. }, Some("COMMENT" | "DO")) => {
                        self.events = Events::AsSaved;
                        Decision::Swap(*from, *from, "DISABLE ")
                    }
                    _ => Decision::More,
                }
            }
            Kind::Plain if self.words[0] != "CREATE" && name.as_ref().is_some_and(|name| name.starts_with('@')) => {
                Decision::Refuse(refused(&format!("{} with a variable", self.words[0])))
            }
            _ => Decision::More,
        };
        // A number is no name, and neither is a variable.
        self.name = name.filter(|name| !name.starts_with(|first: char| first.is_ascii_digit() || first == '@'));
        decision
    }

    /// A remark begins or ends that some servers run and others pass over: what it is about is the same in both readings only
    /// where all of a statement stands in it, or properties of a table.
    fn maybe(&mut self, opens: bool) -> Decision {
        let is_table = self.kind == Kind::Plain && self.words.first().is_some_and(|word| word == "CREATE");
        self.maybe = match (opens, self.maybe) {
            (true, Maybe::No) if self.is_empty() => Maybe::Whole,
            (true, Maybe::No | Maybe::After) if is_table => Maybe::Part,
            (false, Maybe::Whole) => Maybe::Over,
            (false, Maybe::Part) => Maybe::After,
            _ => return unclear("a remark in the middle of a statement"),
        };
        Decision::More
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

/// Nobody can say what it is.
fn unclear(what: &str) -> Decision {
    Decision::Unclear(what.to_owned())
}

pub(super) fn refused(what: &str) -> String {
    format!("the dump has a statement that no dump of one database has, and it is not run: {}", what.escape_debug())
}
