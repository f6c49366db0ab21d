//! The ledger: one row per run, for ever (G3). Exit code, page, metric and notification come from it (law 8).

use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::{Row, Transaction, params};
use serde::Serialize;

use super::{Store, StoreError};
use crate::journal::event::Started;
use crate::journal::operation::Action;
use crate::journal::{Operation, RunResult, Subject};
use crate::model::ids::{EnvName, HostName, ReleaseName, RunId, Sha};

/// One run. Serializes to the contract's `history` (1.3), with more keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunRow {
    pub run: RunId,
    pub subject: Subject,
    /// `None`: an operation that is about no single one.
    pub environment: Option<EnvName>,
    /// What only a run of its subject has.
    #[serde(flatten)]
    pub details: Details,
    /// `None`: not over yet.
    pub result: Option<RunResult>,
    /// Why it ended as it did; empty for a success.
    pub reason: String,
    pub started: Timestamp,
    pub finished: Option<Timestamp>,
    pub actor: String,
    /// Of the state repository.
    pub commit: String,
    /// Why it was started.
    pub cause: String,
    /// The controller's process, for people; whether it lives is [`Store::alive`]'s to say.
    pub pid: u32,
    pub machine: String,
}

/// What only a run of its subject has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Details {
    Deployment(Deployment),
    Operation {
        action: Action,
        /// The hosts that it was about.
        hosts: Vec<HostName>,
    },
}

/// From which release to which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deployment {
    /// What ran before: the commit, or the directory's name where nobody knows its commit.
    pub from: Option<String>,
    /// The commit that was desired, or the directory's name where nobody knows its commit.
    pub to: String,
    pub from_release: Option<ReleaseName>,
    /// The directory that a deployment makes.
    pub release: ReleaseName,
    /// When the desired commit was committed, for the lead time.
    pub committed_at: Option<Timestamp>,
}

impl RunRow {
    /// From which release to which, where it is a deployment.
    pub fn deployment(&self) -> Option<&Deployment> {
        match &self.details {
            Details::Deployment(deployment) => Some(deployment),
            Details::Operation { .. } => None,
        }
    }
}

const COLUMNS: &str = "run, environment, from_release, from_sha, to_sha, release, state_commit, actor, cause, \
                       committed_at, started, finished, result, reason, pid, machine, subject, action, hosts";

impl Store {
    /// The newest runs, newest first, of one environment or of all, about one subject or any.
    pub fn runs(
        &self,
        env: Option<&EnvName>,
        subject: Option<Subject>,
        limit: usize,
    ) -> Result<Vec<RunRow>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let (env, subject) = (env.map(EnvName::as_str), subject.map(Subject::as_str));
        match (env, subject) {
            // Each as SQLite finds it by an index.
            (Some(env), Some(subject)) => {
                let tail = "WHERE subject = ?2 AND environment = ?1 ORDER BY started DESC, run DESC LIMIT ?3";
                self.select(tail, params![env, subject, limit])
            }
            (env, subject) => {
                let tail = "WHERE (?1 IS NULL OR environment = ?1) AND (?2 IS NULL OR subject = ?2) \
                            ORDER BY started DESC, run DESC LIMIT ?3";
                self.select(tail, params![env, subject, limit])
            }
        }
    }

    /// The newest deployment of an environment.
    pub fn last_run(&self, env: &EnvName) -> Result<Option<RunRow>, StoreError> {
        Ok(self.runs(Some(env), Some(Subject::Deploy), 1)?.pop())
    }

    /// Whether an environment had deployments, and none of its newest ones was about this commit.
    pub fn is_new(&self, env: &EnvName, sha: &Sha) -> Result<bool, StoreError> {
        self.read("read the ledger", |connection| {
            let newest = "SELECT to_sha FROM runs WHERE subject = 'deploy' AND environment = ?1 \
                          ORDER BY started DESC LIMIT 100";
            let sql = format!("SELECT count(*) > 0 AND sum(to_sha = ?2) = 0 FROM ({newest})");
            connection.prepare_cached(&sql)?.query_row(params![env.as_str(), sha.as_str()], |row| {
                Ok(row.get::<_, Option<bool>>(0)?.unwrap_or_default())
            })
        })
    }

    /// The runs that are not over, oldest first.
    pub fn unfinished(&self) -> Result<Vec<RunRow>, StoreError> {
        self.select("WHERE result IS NULL ORDER BY started, run", [])
    }

    /// The run with this name, or the only one whose name begins so.
    pub fn run(&self, wanted: &str) -> Result<RunRow, StoreError> {
        let tail = "WHERE substr(run, 1, length(?1)) = ?1 ORDER BY run <> ?1, started DESC, run DESC LIMIT 9";
        let mut rows = if wanted.is_empty() { Vec::new() } else { self.select(tail, [wanted])? };
        match rows.as_slice() {
            [] => Err(StoreError::NoSuchRun(wanted.to_owned())),
            [first, ..] if first.run.as_str() == wanted || rows.len() == 1 => Ok(rows.swap_remove(0)),
            _ => {
                let mut candidates: Vec<_> = rows.iter().take(8).map(|row| row.run.to_string()).collect();
                if rows.len() > candidates.len() {
                    candidates.push("…".to_owned());
                }
                Err(StoreError::Ambiguous { wanted: wanted.to_owned(), candidates })
            }
        }
    }

    fn select(&self, tail: &str, params: impl rusqlite::Params) -> Result<Vec<RunRow>, StoreError> {
        self.read("read the ledger", |connection| {
            let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM runs {tail}"))?;
            statement.query_map(params, row_of)?.collect()
        })
    }
}

/// The row of a deployment that begins.
pub(super) fn open_deployment(t: &Transaction<'_>, run: &RunId, started: &Started) -> rusqlite::Result<()> {
    t.execute(
        "INSERT INTO runs (run, subject, environment, from_release, from_sha, to_sha, release, state_commit, actor, cause, \
         committed_at, started, pid, machine) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        params![
            run.as_str(),
            Subject::Deploy.as_str(),
            started.environment.as_str(),
            started.from.as_ref().map(ReleaseName::as_str),
            started.from_sha.as_ref().map(Sha::as_str),
            started.to.as_str(),
            started.release.as_str(),
            started.commit,
            started.actor,
            started.reason,
            started.committed_at.map(at),
            at(started.at),
            std::process::id(),
            machine(),
        ],
    )?;
    Ok(())
}

/// The row of an operation that begins.
pub(super) fn open_operation(t: &Transaction<'_>, run: &RunId, operation: &Operation) -> rusqlite::Result<()> {
    let hosts = serde_json::to_string(&operation.hosts);
    let hosts = hosts.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    t.execute(
        "INSERT INTO runs (run, subject, action, environment, hosts, state_commit, actor, cause, started, pid, machine) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            run.as_str(),
            operation.action.subject().as_str(),
            operation.action.as_str(),
            operation.environment.as_ref().map(EnvName::as_str),
            hosts,
            operation.commit,
            operation.actor,
            operation.reason,
            at(operation.at),
            std::process::id(),
            machine(),
        ],
    )?;
    Ok(())
}

/// The end of a run.
pub(super) fn close(
    t: &Transaction<'_>,
    run: &RunId,
    when: Timestamp,
    result: RunResult,
    reason: &str,
) -> rusqlite::Result<()> {
    let sql = "UPDATE runs SET finished = ?2, result = ?3, reason = ?4 WHERE run = ?1";
    t.execute(sql, params![run.as_str(), at(when), result.as_str(), reason])?;
    Ok(())
}

/// A time as text of one length, so that texts sort like times and nothing is rounded.
pub(super) fn at(when: Timestamp) -> String {
    format!("{when:.9}")
}

/// A column that has a grammar.
pub(super) fn parsed<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get::<_, String>(column)?.parse().map_err(|e| unreadable(column, e))
}

fn maybe<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get::<_, Option<String>>(column)?.map(|text| text.parse().map_err(|e| unreadable(column, e))).transpose()
}

/// A column that holds one word of a list.
fn word<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_value(text.into()).map_err(|e| unreadable(column, e))
}

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

fn row_of(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    let subject: Subject = word(row, 16)?;
    let result: Option<String> = row.get(12)?;
    Ok(RunRow {
        run: parsed(row, 0)?,
        subject,
        environment: maybe(row, 1)?,
        details: match subject {
            Subject::Deploy => Details::Deployment(deployment_of(row)?),
            Subject::Operate | Subject::Backup | Subject::RestoreTest | Subject::Restore => {
                let hosts: String = row.get(18)?;
                let hosts = serde_json::from_str(&hosts).map_err(|e| unreadable(18, e))?;
                Details::Operation { action: word(row, 17)?, hosts }
            }
        },
        commit: row.get(6)?,
        actor: row.get(7)?,
        cause: row.get(8)?,
        started: parsed(row, 10)?,
        finished: maybe(row, 11)?,
        result: result.map(|_| word(row, 12)).transpose()?,
        reason: row.get(13)?,
        pid: row.get(14)?,
        machine: row.get(15)?,
    })
}

fn deployment_of(row: &Row<'_>) -> rusqlite::Result<Deployment> {
    let from_release: Option<ReleaseName> = maybe(row, 2)?;
    let from_sha: Option<Sha> = maybe(row, 3)?;
    let (release, to): (ReleaseName, Sha) = (parsed(row, 5)?, parsed(row, 4)?);
    Ok(Deployment {
        from: from_sha.map(|s| s.to_string()).or_else(|| from_release.as_ref().map(|r| r.to_string())),
        to: if to.is_unknown() { release.to_string() } else { to.to_string() },
        from_release,
        release,
        committed_at: maybe(row, 9)?,
    })
}

fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "this machine".to_owned(),
        name => name.to_owned(),
    }
}
