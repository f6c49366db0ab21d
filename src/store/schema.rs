//! The tables, version by version. A version that was shipped is never edited: the next one follows it. An event that an
//! older program could not read needs a new version as well, with or without another table: only by its version does that
//! program see that the file is newer, not damaged (law 12). `fixtures/formats` keeps a database of each.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// Each entry leads from the version of its index to the next one.
const VERSIONS: [&str; 4] = [
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
    // A run has a subject, and what only a deployment knows is null elsewhere. Events of all runs, and notices, are one
    // sequence: `number` only grows, whatever is trimmed. A notice belongs to no run, and says what it is about: a newer one
    // about the same takes its place. Events go before runs, because deleting a run deletes its events.
    "
CREATE TABLE runs_3 (
    run          TEXT PRIMARY KEY,
    subject      TEXT NOT NULL,
    action       TEXT,
    environment  TEXT,
    hosts        TEXT NOT NULL DEFAULT '[]',
    from_release TEXT,
    from_sha     TEXT,
    to_sha       TEXT,
    release      TEXT,
    state_commit TEXT NOT NULL,
    actor        TEXT NOT NULL,
    cause        TEXT NOT NULL,
    committed_at TEXT,
    started      TEXT NOT NULL,
    finished     TEXT,
    result       TEXT,
    reason       TEXT NOT NULL DEFAULT '',
    pid          INTEGER NOT NULL,
    machine      TEXT NOT NULL,
    CHECK (subject <> 'deploy'
        OR (environment IS NOT NULL AND to_sha IS NOT NULL AND release IS NOT NULL AND action IS NULL)),
    CHECK (subject <> 'operate' OR action IS NOT NULL)
) STRICT;
INSERT INTO runs_3 (run, subject, environment, from_release, from_sha, to_sha, release, state_commit, actor, cause,
                    committed_at, started, finished, result, reason, pid, machine)
    SELECT run, 'deploy', environment, from_release, from_sha, to_sha, release, state_commit, actor, cause,
           committed_at, started, finished, result, reason, pid, machine FROM runs;

CREATE TABLE events_3 (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    run    TEXT REFERENCES runs_3 (run) ON DELETE CASCADE,
    about  TEXT,
    event  TEXT NOT NULL,
    CHECK ((run IS NULL) = (about IS NOT NULL))
) STRICT;
INSERT INTO events_3 (run, event)
    SELECT run, event FROM events JOIN runs USING (run) ORDER BY started, run, seq;

DROP TABLE events;
DROP TABLE runs;
ALTER TABLE runs_3 RENAME TO runs;
ALTER TABLE events_3 RENAME TO events;
CREATE INDEX runs_by_time ON runs (started);
CREATE INDEX runs_by_environment ON runs (subject, environment, started);
CREATE INDEX runs_unfinished ON runs (run) WHERE result IS NULL;
CREATE INDEX events_by_run ON events (run, number) WHERE run IS NOT NULL;
CREATE INDEX events_by_about ON events (about, number) WHERE about IS NOT NULL;
",
    "
CREATE TABLE hosts (
    repository TEXT NOT NULL,
    host       TEXT NOT NULL,
    machine    TEXT NOT NULL,
    since      TEXT NOT NULL,
    PRIMARY KEY (repository, host)
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
