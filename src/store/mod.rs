//! The controller's memory in SQLite: run journal and ledger, resolved tags, accepted commits, the machines of hosts, backoff.
//! Losing it loses history, never safety: what decides is on the hosts (contract 1.4). Several processes may use one file at a
//! time.
//!
//! It may know events, notices and identifiers. It knows no planner, no host and no clock: `now` is handed in.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use crate::model::ids::RunId;

pub mod backoff;
mod estimates;
mod facts;
mod hosts;
mod journal;
mod ledger;
mod live;
mod notices;
mod schema;

pub use backoff::Backoff;
pub use ledger::{Deployment, Details, RunRow};

/// So many runs of each subject keep their events in each environment (see [`Store::trim`]).
pub const KEEP_RUNS: u32 = 500;

/// So many notices are kept (see [`Store::trim_notices`]).
pub const KEEP_NOTICES: usize = 10_000;

/// So many tags that were peeled are remembered (see [`Store::trim_resolutions`]).
pub const KEEP_RESOLUTIONS: usize = 10_000;

/// How long a writer waits for another process. A write takes milliseconds; a longer wait means that someone hangs.
const BUSY: Duration = Duration::from_secs(10);

/// The open store. Every method blocks: from async code call it through `spawn_blocking`, or accept a few milliseconds.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    live_dir: PathBuf,
    connection: Mutex<Connection>,
    /// The locks that say that this process works on a run.
    live: Mutex<BTreeMap<RunId, File>>,
    /// Runs of this process that are over and whose end could not be written, with how they ended.
    broken: Mutex<BTreeMap<RunId, String>>,
}

impl Store {
    /// Makes the directory that everything is kept in, for this user alone. One that is there already and others may look
    /// into is closed to them where it is ours; else that is told.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make_private(dir: &Path) -> Result<(), StoreError> {
        let io = |error| StoreError::Io { path: dir.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
        let found = std::fs::metadata(dir).map_err(io)?;
        let mode = found.permissions().mode();
        if mode & 0o077 == 0 {
            return Ok(());
        }
        // A directory that many share is not ours to close.
        let empty = || std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
        let ours = found.uid() == rustix::process::geteuid().as_raw()
            && mode & 0o1000 == 0
            && (dir.join("soll.db").exists() || dir.join("cache").exists() || empty());
        let closed = ours && std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).is_ok();
        if !closed {
            tracing::warn!(
                "others may look into the state directory {0} (mode {1:o}); close it: chmod 700 {0}, or name another one with --state-dir",
                dir.display(),
                mode & 0o7777
            );
        }
        Ok(())
    }

    /// Opens `DIR/soll.db` and brings it to this program's schema. A directory that is made gets mode 0700, the file
    /// 0600: the journal holds what commands printed.
    pub fn open(dir: &Path) -> Result<Store, StoreError> {
        let path = dir.join("soll.db");
        let live_dir = dir.join("live");
        let io = |path: &Path, error| StoreError::Io { path: path.to_owned(), error };
        Store::make_private(dir)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&live_dir).map_err(|e| io(&live_dir, e))?;
        // The first opener changes the journal mode and migrates; SQLite's own busy handler does not cover that.
        let opening = dir.join("soll.opening");
        let turn = private(&opening).map_err(|e| io(&opening, e))?;
        turn.lock().map_err(|e| io(&opening, e))?;
        private(&path).map_err(|e| io(&path, e))?;
        let database = |error| StoreError::database(&path, "open it", error);
        let mut connection = Connection::open(&path).map_err(database)?;
        connection.busy_timeout(BUSY).map_err(database)?;
        // Every journaled line must survive a power cut before its effect begins (law 5).
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
            .map_err(database)?;
        schema::migrate(&mut connection, &path)?;
        Ok(Store {
            path,
            live_dir,
            connection: Mutex::new(connection),
            live: Mutex::default(),
            broken: Mutex::default(),
        })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads. `doing` completes "cannot … in FILE".
    fn read<T>(&self, doing: &str, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        work(&self.connection()).map_err(|error| StoreError::database(&self.path, doing, error))
    }

    /// Writes in one transaction that has the write lock from its start, so that what it read is still so when it writes.
    fn write<T>(&self, doing: &str, work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>) -> Result<T, StoreError> {
        let mut connection = self.connection();
        let database = |error| StoreError::database(&self.path, doing, error);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(database)?;
        let value = work(&transaction).map_err(|fault| match fault {
            Fault::Sqlite(error) => database(error),
            Fault::Store(error) => error,
        })?;
        transaction.commit().map_err(database)?;
        Ok(value)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic in between left no transaction behind: it was rolled back when it was dropped.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens or makes a file that only its owner reads.
fn private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// What may go wrong inside a transaction.
enum Fault {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Fault::Sqlite(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Fault::Store(error)
    }
}

/// Why the store does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path}: {error}. The state directory must be writable; another one: --state-dir", path = path.display())]
    Io { path: PathBuf, error: std::io::Error },
    #[error(
        "{path} is damaged: {error}. Move it away and run again: only history is lost, what decides is on the hosts",
        path = path.display()
    )]
    Corrupt { path: PathBuf, error: rusqlite::Error },
    #[error(
        "{path} has schema {found}, this program knows {known}: use a newer soll, the one that wrote it or a later one. To go \
         back to this one for good, use another --state-dir: only history is lost, what decides is on the hosts",
        path = path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error(
        "{path}: another process has held it for more than {} s, cannot {doing}. Who has it open: fuser {path}",
        BUSY.as_secs(),
        path = path.display()
    )]
    Busy { path: PathBuf, doing: String },
    #[error("cannot {doing} in {path}: its disk is full. Free some space or point --state-dir at a larger disk", path = path.display())]
    Full { path: PathBuf, doing: String },
    #[error("cannot {doing} in {path}: {error}", path = path.display())]
    Database { path: PathBuf, doing: String, error: rusqlite::Error },
    #[error("run {0} is not in the journal: `soll history` lists what is")]
    NoSuchRun(String),
    #[error("`{wanted}` may be {}: give more of it", candidates.join(", "))]
    Ambiguous { wanted: String, candidates: Vec<String> },
    #[error("run {run} is over ({result}): its journal takes no more events")]
    Over { run: RunId, result: String },
    #[error("run {0} is in the journal already: run names are given once")]
    Twice(RunId),
}

impl StoreError {
    fn database(path: &Path, doing: &str, error: rusqlite::Error) -> Self {
        let (path, doing) = (path.to_owned(), doing.to_owned());
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreError::Corrupt { path, error },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy { path, doing },
            Some(ErrorCode::DiskFull) => StoreError::Full { path, doing },
            // Where it cannot even make its index it calls a full disk an I/O error.
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) if is_full(&path) => {
                StoreError::Full { path, doing }
            }
            _ if unreadable(&error) => StoreError::Corrupt { path, error },
            _ => StoreError::Database { path, doing, error },
        }
    }
}

/// Not a page is left for whoever runs this.
fn is_full(path: &Path) -> bool {
    let at = path.parent().unwrap_or(path);
    rustix::fs::statvfs(at).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < 64 * 1024)
}

/// A value that no version of this program wrote.
fn unreadable(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_commit_is_synced_and_rows_need_their_run() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let pragma = |name: &str| {
            let value =
                |c: &Connection| c.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
            store.read("ask", value).unwrap()
        };
        assert_eq!(pragma("synchronous"), rusqlite::types::Value::Integer(2), "FULL");
        assert_eq!(pragma("journal_mode"), rusqlite::types::Value::Text("wal".to_owned()));
        assert_eq!(pragma("foreign_keys"), rusqlite::types::Value::Integer(1));
    }
}
