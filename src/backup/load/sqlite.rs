//! A dump of SQLite, into a file that was made for it, statement by statement. A statement that could reach beyond the file
//! (`ATTACH`, `VACUUM INTO`) is not run, and neither is one that no dump has.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{Spoilt, Stored, says};
use crate::backup::{Wanted, at};

/// What SQLite itself takes as one statement.
const LONGEST: usize = 1_000_000_000;

/// Loads it into a new file, which this user alone can read.
///
/// # Errors
/// It is not what was written; SQLite refuses a statement; the file cannot be written.
pub fn load(stored: &Stored<'_>, into: &Path, wanted: &dyn Wanted) -> Result<(), Spoilt> {
    // Before the first row is in it: what an application keeps is nobody else's.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(into);
    made.map_err(at("make the database", into))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(into, flags).map_err(at("make the database", into))?;
    connection.execute_batch("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;").map_err(at("write", into))?;
    let mut run = |statement: &str| connection.execute_batch(statement).map_err(|error| refused(&error, statement));
    let mut statements = Statements::new(&mut run);
    stored.pour(&mut statements, wanted)?;
    match statements.is_complete() {
        true => {}
        false => {
            return Err(Spoilt::fail(format!(
                "{} does not end with `-- Dump completed`: it was cut off, and what is there is a part of it",
                stored.part.file
            )));
        }
    }
    connection.execute_batch("PRAGMA synchronous=FULL;").map_err(at("write", into))?;
    drop(connection);
    std::fs::File::open(into).and_then(|file| file.sync_all()).map_err(at("write", into))?;
    Ok(())
}

fn refused(error: &rusqlite::Error, statement: &str) -> Spoilt {
    use rusqlite::ErrorCode;
    let begin: String = statement.chars().take(80).collect();
    let why = format!("SQLite refuses `{}`: {error}", begin.escape_debug());
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory | ErrorCode::CannotOpen) => {
            Spoilt::open(why)
        }
        _ if lacks_extension(error) => Spoilt::open(why),
        _ => Spoilt::fail(why),
    }
}

/// Whether SQLite lacks something that the application brings along (a collation, a function, a module of virtual tables):
/// that says nothing about the backup.
pub fn lacks_extension(error: &rusqlite::Error) -> bool {
    let text = error.to_string();
    ["no such collation sequence", "no such function", "no such module", "unknown tokenizer", "no such tokenizer"]
        .iter()
        .any(|lacking| text.contains(lacking))
}

/// Where in the text the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum In {
    Code,
    Quoted(u8),
    Line,
    Remark,
}

/// Cuts a stream into statements and runs each.
pub struct Statements<'a> {
    run: &'a mut dyn FnMut(&str) -> Result<(), Spoilt>,
    within: In,
    last: u8,
    text: Vec<u8>,
    /// The first words, in capital letters.
    words: Vec<String>,
    word: String,
    /// The last sign or word before this one, and the one before that: a trigger ends with `; END ;`.
    before: [String; 2],
    remark: String,
    complete: bool,
}

impl<'a> Statements<'a> {
    /// To be run so.
    pub fn new(run: &'a mut dyn FnMut(&str) -> Result<(), Spoilt>) -> Statements<'a> {
        Statements {
            run,
            within: In::Code,
            last: b'\n',
            text: Vec::new(),
            words: Vec::new(),
            word: String::new(),
            before: Default::default(),
            remark: String::new(),
            complete: false,
        }
    }

    /// Whether the dumper said that it came to its end, and nothing came after that.
    pub fn is_complete(&self) -> bool {
        let over = self.text.trim_ascii().is_empty() && matches!(self.within, In::Code | In::Line);
        let says_so = || self.within == In::Line && self.remark.starts_with(" Dump completed");
        over && (self.complete || says_so())
    }

    fn end_of_word(&mut self) {
        if self.word.is_empty() {
            return;
        }
        let word = std::mem::take(&mut self.word).to_ascii_uppercase();
        if self.words.len() < 4 {
            self.words.push(word.clone());
        }
        self.said(word);
    }

    fn said(&mut self, what: String) {
        self.before.swap(0, 1);
        self.before[1] = what;
        self.complete = false;
    }

    fn is_trigger(&self) -> bool {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        matches!(words[..], ["CREATE", "TRIGGER", ..] | ["CREATE", "TEMP" | "TEMPORARY", "TRIGGER", ..])
    }

    fn byte(&mut self, byte: u8) -> Result<(), Spoilt> {
        let last = std::mem::replace(&mut self.last, byte);
        match self.within {
            In::Quoted(quote) => {
                self.text.push(byte);
                if byte == quote {
                    self.within = In::Code;
                }
            }
            In::Line => {
                self.text.push(byte);
                if byte != b'\n' {
                    self.remark.push(char::from(byte));
                    return Ok(());
                }
                self.within = In::Code;
                self.complete = self.remark.starts_with(" Dump completed");
                // A remark between statements belongs to none.
                if self.words.is_empty() && self.before[1].is_empty() {
                    self.text.clear();
                }
            }
            In::Remark => {
                self.text.push(byte);
                if byte == b'/' && last == b'*' {
                    self.within = In::Code;
                }
            }
            In::Code => return self.code(byte, last),
        }
        Ok(())
    }

    fn code(&mut self, byte: u8, last: u8) -> Result<(), Spoilt> {
        self.text.push(byte);
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 {
            self.word.push(char::from(byte));
            return Ok(());
        }
        self.end_of_word();
        match byte {
            b'\'' | b'"' | b'`' => {
                self.within = In::Quoted(byte);
                self.said("text".to_owned());
            }
            b'[' => {
                self.within = In::Quoted(b']');
                self.said("text".to_owned());
            }
            b'-' if last == b'-' => {
                self.within = In::Line;
                self.remark.clear();
            }
            b'*' if last == b'/' => self.within = In::Remark,
            b';' => {
                let over = !self.is_trigger() || (self.before[0] == ";" && self.before[1] == "END");
                self.said(";".to_owned());
                if over {
                    return self.end_of_statement();
                }
            }
            b'-' | b'/' => {}
            byte if byte.is_ascii_whitespace() => {}
            byte => self.said(char::from(byte).to_string()),
        }
        Ok(())
    }

    fn end_of_statement(&mut self) -> Result<(), Spoilt> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let passes = matches!(
            words[..],
            ["BEGIN" | "COMMIT" | "CREATE" | "INSERT", ..]
                | ["ANALYZE", "SQLITE_SCHEMA" | "SQLITE_MASTER", ..]
                | ["PRAGMA", "FOREIGN_KEYS" | "USER_VERSION" | "APPLICATION_ID" | "WRITABLE_SCHEMA", ..]
                | ["DELETE", "FROM", "SQLITE_SEQUENCE"]
        );
        if !passes {
            let what = words.join(" ");
            return Err(Spoilt::fail(format!(
                "the dump has a statement that no dump has, and it is not run: {}",
                what.escape_debug()
            )));
        }
        let text = std::mem::take(&mut self.text);
        self.words.clear();
        self.before = Default::default();
        let text = String::from_utf8(text).map_err(|_| Spoilt::fail("the dump has a statement that is no UTF-8"))?;
        (self.run)(&text)
    }
}

impl Write for Statements<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            if let In::Quoted(quote) = self.within {
                // Texts are most of a dump: they are passed over by what ends them.
                let skip = rest.iter().position(|b| *b == quote).unwrap_or(rest.len());
                self.text.extend_from_slice(&rest[..skip]);
                rest = &rest[skip..];
                if self.text.len() > LONGEST {
                    return Err(says(Spoilt::fail("the dump has a statement that is longer than SQLite takes")));
                }
                if skip > 0 {
                    continue;
                }
            }
            self.byte(byte).map_err(says)?;
            rest = &rest[1..];
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::backup::proof::Outcome;

    fn cut(dump: &str, size: usize) -> Result<(Vec<String>, bool), String> {
        let mut all = Vec::new();
        let mut run = |statement: &str| {
            all.push(statement.trim().to_owned());
            Ok(())
        };
        let mut statements = Statements::new(&mut run);
        let wrote = dump.as_bytes().chunks(size).try_for_each(|piece| statements.write_all(piece));
        let complete = statements.is_complete();
        wrote.map_err(|error| error.to_string())?;
        Ok((all, complete))
    }

    #[test]
    fn a_dump_is_cut_into_its_statements_whatever_stands_in_them() {
        let trigger =
            "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT CASE WHEN 1 THEN 2 END; INSERT INTO u VALUES(';'); END;";
        let made = ["BEGIN TRANSACTION;", "CREATE TABLE [a;b](x TEXT, -- it's ; one\n y);", trigger];
        let rows = ["INSERT INTO t VALUES('it''s; -- no remark',X'00','/*');", "INSERT INTO t VALUES(-1,2 /* ; ' */);"];
        let all: Vec<_> = made.into_iter().chain(rows).chain(["COMMIT;"]).collect();
        let dump = format!("{}\n-- Dump completed\n", all.join("\n"));
        for size in 1..dump.len() {
            let (statements, complete) = cut(&dump, size).unwrap();
            assert!(complete, "in pieces of {size}");
            assert_eq!(statements, all, "in pieces of {size}");
        }
        assert!(!cut(&all.join("\n"), 7).unwrap().1);
        assert!(!cut("-- Dump completed\nCOMMIT;\n", 7).unwrap().1);
        assert!(!cut("INSERT INTO t VALUES('\n-- Dump completed\n", 7).unwrap().1);
    }

    #[test]
    fn what_the_application_brings_along_is_no_verdict_about_a_dump() {
        let connection = Connection::open_in_memory().unwrap();
        let outcome = |statement: &str| {
            let error = connection.execute_batch(statement).unwrap_err();
            refused(&error, statement).outcome
        };
        for statement in [
            "CREATE TABLE a(x TEXT COLLATE german); CREATE INDEX i ON a(x);",
            "SELECT distance(1, 2);",
            "CREATE VIRTUAL TABLE v USING vectors(x);",
        ] {
            assert_eq!(outcome(statement), Outcome::Inconclusive, "{statement}");
        }
        assert_eq!(outcome("INSERT INTO missing VALUES (1);"), Outcome::Fail);
    }

    #[test]
    fn what_reaches_beyond_the_file_is_not_run() {
        for bad in
            ["ATTACH '/etc/x' AS x;", "VACUUM INTO '/tmp/x';", "DELETE FROM users;", "PRAGMA temp_store_directory='/';"]
        {
            let error = cut(bad, 3).unwrap_err();
            assert!(error.contains("is not run"), "{bad}: {error}");
        }
    }
}
