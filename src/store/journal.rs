//! The events of runs, in one sequence over all of them. What is appended is on the disk before `append` returns (law 5),
//! and the ledger's row changes in the same transaction as the event that it comes from (law 8).

use std::sync::PoisonError;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::ledger::{self, RunRow};
use super::{Fault, Store, StoreError};
use crate::journal::{Event, RunResult};
use crate::model::ids::RunId;

impl Store {
    /// Appends one event and gives its number, which is higher than that of everything appended before, by whatever process.
    /// A first line ([`Event::opens`]) opens the run in this process's name, and `Finished` closes it: after that its journal
    /// takes nothing more.
    pub fn append(&self, run: &RunId, event: &Event) -> Result<u64, StoreError> {
        let opens = event.opens();
        if opens {
            self.claim(run)?;
        }
        let written = self.write("write the journal", |t| insert(t, run, event));
        // A run that could not be opened, or is over, is nobody's any more.
        if (opens && written.is_err()) || (written.is_ok() && matches!(event, Event::Finished { .. })) {
            self.give_up(run);
        }
        written
    }

    /// All events of a run with their numbers, in their order.
    pub fn events(&self, run: &RunId) -> Result<Vec<(u64, Event)>, StoreError> {
        self.events_after(run, 0)
    }

    /// The events of a run after this number: for whoever follows it.
    pub fn events_after(&self, run: &RunId, number: u64) -> Result<Vec<(u64, Event)>, StoreError> {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.read("read the journal", |connection| {
            let sql = "SELECT number, event FROM events WHERE run = ?1 AND number > ?2 ORDER BY number";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_map(params![run.as_str(), number], event_of)?.collect()
        })
    }

    /// Ends the unfinished runs whose process is gone, as `Interrupted`, and gives them. For the start of a program:
    /// nothing of them is resumed, the next pass observes and plans anew (law 5).
    pub fn interrupt_dead(&self, now: Timestamp) -> Result<Vec<RunRow>, StoreError> {
        let mut ended = Vec::new();
        for row in self.unfinished()? {
            if self.alive(&row.run)? {
                continue;
            }
            let reason =
                format!("the controller (pid {} on {}) died in it, or could not write its end", row.pid, row.machine);
            let event = Event::Finished { at: now, result: RunResult::Interrupted, reason };
            match self.write("end an interrupted run", |t| insert(t, &row.run, &event)) {
                Ok(_) => ended.push(self.run(row.run.as_str())?),
                // Another process was faster.
                Err(StoreError::Over { .. }) => {}
                Err(error) => return Err(error),
            }
            self.forget(&row.run);
        }
        Ok(ended)
    }

    /// A run of this process broke off because its journal could not be written (a full disk): nobody works on it any more.
    /// Its end is written as soon as that can be done, by this process or by the next one.
    pub fn broke_off(&self, run: &RunId, now: Timestamp, reason: &str) {
        self.give_up(run);
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).insert(run.clone(), reason.to_owned());
        self.end_broken(now);
    }

    /// Writes the ends that are still owed. What cannot be written is tried again at the next call.
    pub fn end_broken(&self, now: Timestamp) {
        let owed = self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (run, reason) in owed {
            let event = Event::Finished { at: now, result: RunResult::Error, reason };
            match self.write("end a run that broke off", |t| insert(t, &run, &event)) {
                // Not even its first line is there, or another process has ended it.
                Ok(_) | Err(StoreError::NoSuchRun(_) | StoreError::Over { .. }) => {
                    self.broken.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
                }
                Err(error) => tracing::warn!(%run, %error, "the end of a run cannot be written yet"),
            }
        }
    }

    /// Deletes the events of what is older than the newest `keep` runs about the same in its environment: operations take no
    /// place away from deployments. The rows stay: they are the ledger (G3). Gives how many runs lost their events.
    pub fn trim(&self, keep: u32) -> Result<usize, StoreError> {
        self.write("trim the journal", |t| {
            let sql = "
                SELECT run FROM (
                    SELECT run, result, row_number() OVER (
                        PARTITION BY subject, environment ORDER BY started DESC, run DESC
                    ) AS age
                    FROM runs
                ) AS old
                WHERE age > ?1 AND result IS NOT NULL AND EXISTS (SELECT 1 FROM events WHERE events.run = old.run)";
            let mut statement = t.prepare(sql)?;
            let old: Vec<String> = statement.query_map([keep], |row| row.get(0))?.collect::<Result<_, _>>()?;
            for run in &old {
                t.execute("DELETE FROM events WHERE run = ?1", [run])?;
            }
            Ok(old.len())
        })
    }
}

fn insert(t: &Transaction<'_>, run: &RunId, event: &Event) -> Result<u64, Fault> {
    let known: Option<Option<String>> =
        t.query_row("SELECT result FROM runs WHERE run = ?1", [run.as_str()], |row| row.get(0)).optional()?;
    match (known, event) {
        (None, Event::Started(started)) => ledger::open_deployment(t, run, started)?,
        (None, Event::Operation(operation)) => ledger::open_operation(t, run, operation)?,
        (None, _) => return Err(StoreError::NoSuchRun(run.to_string()).into()),
        (Some(_), event) if event.opens() => return Err(StoreError::Twice(run.clone()).into()),
        (Some(Some(result)), _) => return Err(StoreError::Over { run: run.clone(), result }.into()),
        (Some(None), Event::Finished { at, result, reason }) => ledger::close(t, run, *at, *result, reason)?,
        (Some(None), _) => {}
    }
    let text = serde_json::to_string(event).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
    let sql = "INSERT INTO events (run, event) VALUES (?1, ?2) RETURNING number";
    let number: i64 = t.query_row(sql, params![run.as_str(), text], |row| row.get(0))?;
    Ok(u64::try_from(number).unwrap_or(0))
}

/// One line of the journal.
pub(super) fn event_of(row: &Row<'_>) -> rusqlite::Result<(u64, Event)> {
    let (number, text): (i64, String) = (row.get(0)?, row.get(1)?);
    let event = serde_json::from_str(&text)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(e)))?;
    Ok((u64::try_from(number).unwrap_or(0), event))
}
