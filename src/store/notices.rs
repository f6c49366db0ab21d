//! Notices, in one sequence with the events of runs: whoever passes them on remembers the number of the last one and asks for
//! everything after it.

use rusqlite::{Row, params};

use super::journal::event_of;
use super::{Store, StoreError};
use crate::journal::notice::Noted;
use crate::journal::{Entry, What};
use crate::model::ids::EnvName;

impl Store {
    /// Appends these, in one go.
    pub fn note(&self, all: &[Noted]) -> Result<(), StoreError> {
        self.write("write the journal", |t| {
            let mut statement = t.prepare_cached("INSERT INTO events (about, event) VALUES (?1, ?2)")?;
            for noted in all {
                let text =
                    serde_json::to_string(noted).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
                statement.execute(params![noted.notice.about(), text])?;
            }
            Ok(())
        })
    }

    /// The newest notice about each thing: how things stand.
    pub fn standing(&self) -> Result<Vec<Noted>, StoreError> {
        self.read("read the journal", |connection| {
            let sql = "SELECT number, event FROM events WHERE number IN \
                       (SELECT max(number) FROM events WHERE about IS NOT NULL GROUP BY about) ORDER BY number";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_map([], |row| Ok(noted_of(row)?.1))?.collect()
        })
    }

    /// The newest notices with their numbers, newest first, of one environment or of all.
    pub fn notices(&self, env: Option<&EnvName>, limit: usize) -> Result<Vec<(u64, Noted)>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read("read the journal", |connection| {
            let sql = "SELECT number, event FROM events WHERE about IS NOT NULL \
                       AND (?1 IS NULL OR json_extract(event, '$.environment') = ?1) ORDER BY number DESC LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_map(params![env.map(EnvName::as_str), limit], noted_of)?.collect()
        })
    }

    /// Everything after this number, events of runs and notices, in its order; at most so many.
    pub fn after(&self, number: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read("read the journal", |connection| {
            let sql = "SELECT number, event, run FROM events WHERE number > ?1 ORDER BY number LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_map(params![number, limit], entry_of)?.collect()
        })
    }

    /// Deletes notices that are older than the newest `keep`, unless they say how something stands. Gives how many went.
    pub fn trim_notices(&self, keep: usize) -> Result<usize, StoreError> {
        let keep = i64::try_from(keep).unwrap_or(i64::MAX);
        self.write("trim the journal", |t| {
            let sql = "DELETE FROM events WHERE about IS NOT NULL \
                       AND number NOT IN (SELECT max(number) FROM events WHERE about IS NOT NULL GROUP BY about) \
                       AND number NOT IN (SELECT number FROM events WHERE about IS NOT NULL ORDER BY number DESC LIMIT ?1)";
            Ok(t.execute(sql, [keep])?)
        })
    }
}

fn noted_of(row: &Row<'_>) -> rusqlite::Result<(u64, Noted)> {
    let (number, text): (i64, String) = (row.get(0)?, row.get(1)?);
    let noted = serde_json::from_str(&text)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(e)))?;
    Ok((u64::try_from(number).unwrap_or(0), noted))
}

fn entry_of(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let run: Option<String> = row.get(2)?;
    Ok(match run {
        Some(_) => {
            let (number, event) = event_of(row)?;
            Entry { number, what: What::Event { run: super::ledger::parsed(row, 2)?, event } }
        }
        None => {
            let (number, noted) = noted_of(row)?;
            Entry { number, what: What::Notice(noted) }
        }
    })
}
