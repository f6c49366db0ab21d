//! What a `SET` of a dump sets: nothing by which the statements after it are read otherwise. In some modes of SQL and some
//! character sets a quote, or a backslash, is not what it is here; such a dump cannot be looked at. One that hides behind an
//! expression, a number or a variable what it sets is none that a dumper writes.

use super::statement::{Decision, refused};
use super::words::Word;

/// Modes, and sets of characters, in which a text ends elsewhere.
const OTHER: [&str; 17] = [
    "ANSI",
    "ANSI_QUOTES",
    "NO_BACKSLASH_ESCAPES",
    "ORACLE",
    "MSSQL",
    "DB2",
    "MAXDB",
    "POSTGRESQL",
    "BIG5",
    "CP932",
    "GB18030",
    "GB2312",
    "GBK",
    "SJIS",
    "UCS2",
    "UTF16",
    "UTF32",
];
/// By what statements are read.
const GUARDED: [&str; 5] = ["SQL_MODE", "CHARACTER_SET_CLIENT", "NAMES", "CHARSET", "CHARACTER SET"];
/// Where dumpers keep these, to set them back.
const SAVED: [(&str, &str); 4] = [
    ("OLD_SQL_MODE", "SQL_MODE"),
    ("SAVED_SQL_MODE", "SQL_MODE"),
    ("OLD_CHARACTER_SET_CLIENT", "CHARACTER_SET_CLIENT"),
    ("SAVED_CS_CLIENT", "CHARACTER_SET_CLIENT"),
];

/// A `SET` that goes by, assignment after assignment.
#[derive(Debug, Default)]
pub struct Set {
    /// What is set, in capital letters.
    target: Vec<String>,
    /// To what; `None`: that has not come yet.
    value: Option<Value>,
}

#[derive(Debug, Default)]
struct Value {
    words: Vec<String>,
    text: Option<String>,
}

impl Set {
    /// Its next word.
    pub fn word(&mut self, word: &Word) -> Decision {
        match (word, &mut self.value) {
            (Word::Sign { sign: b',', .. }, _) => {
                let checked = self.end();
                *self = Set::default();
                return checked;
            }
            (Word::Sign { sign: b'=', .. }, None) => self.value = Some(Value::default()),
            (Word::Sign { sign: b':', .. }, None) | (Word::Sign { sign: b'.', .. }, _) => {}
            (Word::Sign { sign, .. }, _) => return refuse(&char::from(*sign).to_string()),
            (Word::Plain { text, .. } | Word::Name { text, .. }, None) => {
                self.target.push(text.to_ascii_uppercase());
                let all = self.target.join(" ");
                if matches!(all.as_str(), "NAMES" | "CHARSET" | "CHARACTER SET") {
                    self.target = vec![all];
                    self.value = Some(Value::default());
                }
                if self.target[0] == "STATEMENT" {
                    return refuse("STATEMENT");
                }
            }
            (Word::Plain { text, .. } | Word::Name { text, .. }, Some(value)) => {
                value.words.push(text.to_ascii_uppercase());
            }
            (Word::Text { text, .. }, Some(value)) if value.words.is_empty() && value.text.is_none() => {
                value.text = Some(text.to_ascii_uppercase());
            }
            _ => return refuse("an expression"),
        }
        Decision::More
    }

    /// The end of an assignment.
    pub fn end(&self) -> Decision {
        let Set { target, value: Some(Value { words, text }) } = self else { return Decision::More };
        let is_set_of_names = target.first().is_some_and(|first| GUARDED[2..].contains(&first.as_str()));
        let is_path = words.first().is_some_and(|first| first.starts_with('@')) && words.len() <= 3;
        let is_collated =
            is_set_of_names && words.get(words.len().saturating_sub(2)).is_some_and(|word| word == "COLLATE");
        let simple = match text {
            Some(_) => words.is_empty() || (is_collated && words.len() == 2),
            None => words.len() <= 1 || is_path || is_collated,
        };
        if !simple {
            return refuse("an expression");
        }
        let pieces = text.iter().flat_map(|text| text.split(','));
        let other = pieces.chain(words.iter().map(String::as_str)).map(str::trim).find(|piece| OTHER.contains(piece));
        if let Some(other) = other {
            return Decision::Unclear(format!("SET {}: after it texts end elsewhere than it can be seen here", other));
        }
        let own = target.last().map(String::as_str).unwrap_or_default();
        let is_user = |name: &str| name.starts_with('@') && !name.starts_with("@@");
        let last = words.last().map(String::as_str).unwrap_or_default();
        if is_user(own) {
            let saved = SAVED.iter().find(|(name, _)| *name == own.trim_start_matches('@'));
            let fits = |of: &str| words.first().is_some_and(|first| first.starts_with("@@")) && is(last, of);
            return match saved {
                Some((_, of)) if !fits(of) => refuse(own),
                _ => Decision::More,
            };
        }
        let own = own.trim_start_matches('@');
        if !GUARDED.contains(&own) || text.is_some() {
            return Decision::More;
        }
        let is_known = match words.first() {
            Some(first) if is_user(first) => {
                SAVED.iter().any(|(name, of)| *name == first.trim_start_matches('@') && is(of, own))
            }
            Some(first) if first.starts_with("@@") => is(last, own),
            Some(first) => !first.starts_with(|digit: char| digit.is_ascii_digit()),
            None => false,
        };
        if is_known { Decision::More } else { refuse(own) }
    }
}

/// Whether a name, with or without what stands before it, is this one.
fn is(name: &str, wanted: &str) -> bool {
    name.trim_start_matches('@') == wanted
}

fn refuse(what: &str) -> Decision {
    Decision::Refuse(refused(&format!("SET {what}")))
}
