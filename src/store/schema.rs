//! The tables, version by version. A version that was shipped is never edited: the next one follows it. An event that an
//! older program could not read needs a new version as well, with or without another table: only by its version does that
//! program see that the file is newer, not damaged (law 12). `fixtures/formats` keeps a database of each.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// Each entry leads from the version of its index to the next one.
const VERSIONS: [&str; 2] = [
    "
CREATE TABLE runs (
    run          TEXT PRIMARY KEY,
    environment  TEXT NOT NULL,
    from_release TEXT,
    from_sha     TEXT,
    to_sha       TEXT NOT NULL,
    release      TEXT NOT NULL,
    state_commit TEXT NOT NULL,
    actor        TEXT NOT NULL,
    cause        TEXT NOT NULL,
    committed_at TEXT,
    started      TEXT NOT NULL,
    finished     TEXT,
    result       TEXT,
    reason       TEXT NOT NULL DEFAULT '',
    pid          INTEGER NOT NULL,
    machine      TEXT NOT NULL
) STRICT;
CREATE INDEX runs_by_time ON runs (started);
CREATE INDEX runs_by_environment ON runs (environment, started);
CREATE INDEX runs_unfinished ON runs (run) WHERE result IS NULL;

CREATE TABLE events (
    run   TEXT NOT NULL REFERENCES runs (run) ON DELETE CASCADE,
    seq   INTEGER NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE resolutions (
    state_commit TEXT NOT NULL,
    repository   TEXT NOT NULL,
    reference    TEXT NOT NULL,
    sha          TEXT NOT NULL,
    PRIMARY KEY (state_commit, repository, reference)
) STRICT, WITHOUT ROWID;

CREATE TABLE accepted (
    branch       TEXT PRIMARY KEY,
    state_commit TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE backoff (
    environment TEXT PRIMARY KEY,
    failures    INTEGER NOT NULL,
    next_at     TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    reason      TEXT NOT NULL
) STRICT, WITHOUT ROWID;
",
    "
CREATE TABLE verified (
    branch       TEXT PRIMARY KEY,
    signers      TEXT NOT NULL,
    state_commit TEXT NOT NULL
) STRICT, WITHOUT ROWID;
",
];

/// The version that this program writes.
pub const CURRENT: i64 = VERSIONS.len() as i64;

/// Brings the file to [`CURRENT`], all of it or nothing. A newer file is refused: an old program would read it wrongly.
pub fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let database = |error| StoreError::database(path, "bring its tables up to date", error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(database)?;
    let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(database)?;
    if found > CURRENT {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: CURRENT });
    }
    for step in &VERSIONS[usize::try_from(found).unwrap_or(0)..] {
        transaction.execute_batch(step).map_err(database)?;
    }
    transaction.pragma_update(None, "user_version", CURRENT).map_err(database)?;
    transaction.commit().map_err(database)
}
