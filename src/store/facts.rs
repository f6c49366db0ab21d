//! Small facts that a controller keeps between passes: what tags came to, which commits were accepted, who waits.

use rusqlite::{OptionalExtension, params};

use super::ledger::{at, parsed};
use super::{Backoff, Store, StoreError};
use crate::model::ids::{Digest, EnvName, Sha};

impl Store {
    /// What `reference` of an application's repository came to when the state repository was at `commit` (B6): a tag
    /// that is moved later changes nothing until the state does.
    pub fn resolution(&self, commit: &str, repository: &str, reference: &str) -> Result<Option<Sha>, StoreError> {
        self.read("read what a tag came to", |connection| {
            let sql = "SELECT sha FROM resolutions WHERE state_commit = ?1 AND repository = ?2 AND reference = ?3";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_row(params![commit, repository, reference], |row| parsed(row, 0)).optional()
        })
    }

    /// Records it once: what was recorded first stays, and is what this gives.
    pub fn set_resolution(
        &self,
        commit: &str,
        repository: &str,
        reference: &str,
        sha: &Sha,
    ) -> Result<Sha, StoreError> {
        self.write("record what a tag came to", |t| {
            let sql = "INSERT INTO resolutions (state_commit, repository, reference, sha) VALUES (?1, ?2, ?3, ?4) \
                       ON CONFLICT DO UPDATE SET sha = sha RETURNING sha";
            let values = params![commit, repository, reference, sha.as_str()];
            Ok(t.query_row(sql, values, |row| parsed(row, 0))?)
        })
    }

    /// Where there are more than `limit`, forgets what tags came to at commits that are not acted on any more: neither the
    /// accepted one nor that of a run under way. A commit that comes back has its tags peeled again. Gives how many went.
    pub fn trim_resolutions(&self, limit: usize) -> Result<usize, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.write("forget old tags", |t| {
            let there: i64 = t.query_row("SELECT count(*) FROM resolutions", [], |row| row.get(0))?;
            if there <= limit {
                return Ok(0);
            }
            let sql = "DELETE FROM resolutions WHERE state_commit NOT IN (SELECT state_commit FROM accepted) \
                       AND state_commit NOT IN (SELECT state_commit FROM runs WHERE result IS NULL)";
            Ok(t.execute(sql, [])?)
        })
    }

    /// The commit of a state branch that was acted on last (law 10). `key`: repository and branch.
    pub fn accepted(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.read("read the accepted commit", |connection| {
            let mut statement = connection.prepare_cached("SELECT state_commit FROM accepted WHERE branch = ?1")?;
            statement.query_row([key], |row| row.get(0)).optional()
        })
    }

    /// Moves it. Whether it may move is decided by whoever knows the commits.
    pub fn set_accepted(&self, key: &str, commit: &str) -> Result<(), StoreError> {
        self.write("record the accepted commit", |t| {
            let sql = "INSERT INTO accepted (branch, state_commit) VALUES (?1, ?2) \
                       ON CONFLICT DO UPDATE SET state_commit = excluded.state_commit";
            t.execute(sql, [key, commit])?;
            Ok(())
        })
    }

    /// The commit of a state branch up to which every signature was verified, by these signers (law 10). `key`: repository
    /// and branch.
    pub fn verified(&self, key: &str, signers: &Digest) -> Result<Option<String>, StoreError> {
        self.read("read which commits were verified", |connection| {
            let sql = "SELECT state_commit FROM verified WHERE branch = ?1 AND signers = ?2";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_row(params![key, signers.to_string()], |row| row.get(0)).optional()
        })
    }

    /// Remembers it, and forgets what other signers had verified.
    pub fn set_verified(&self, key: &str, signers: &Digest, commit: &str) -> Result<(), StoreError> {
        self.write("record which commits were verified", |t| {
            let sql = "INSERT OR REPLACE INTO verified (branch, signers, state_commit) VALUES (?1, ?2, ?3)";
            t.execute(sql, params![key, signers.to_string(), commit])?;
            Ok(())
        })
    }

    /// What an environment waits for after an error.
    pub fn backoff(&self, env: &EnvName) -> Result<Option<Backoff>, StoreError> {
        self.read("read the backoff", |connection| {
            let sql = "SELECT failures, next_at, fingerprint, reason FROM backoff WHERE environment = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let backoff = statement.query_row([env.as_str()], |row| {
                Ok(Backoff {
                    failures: row.get(0)?,
                    next_at: parsed(row, 1)?,
                    fingerprint: parsed(row, 2)?,
                    reason: row.get(3)?,
                })
            });
            backoff.optional()
        })
    }

    /// Makes an environment wait.
    pub fn set_backoff(&self, env: &EnvName, backoff: &Backoff) -> Result<(), StoreError> {
        self.write("record the backoff", |t| {
            let sql = "INSERT OR REPLACE INTO backoff (environment, failures, next_at, fingerprint, reason) \
                       VALUES (?1, ?2, ?3, ?4, ?5)";
            let (next_at, fingerprint) = (at(backoff.next_at), backoff.fingerprint.to_string());
            t.execute(sql, params![env.as_str(), backoff.failures, next_at, fingerprint, backoff.reason])?;
            Ok(())
        })
    }

    /// It need not wait any more.
    pub fn clear_backoff(&self, env: &EnvName) -> Result<(), StoreError> {
        self.write("clear the backoff", |t| {
            t.execute("DELETE FROM backoff WHERE environment = ?1", [env.as_str()])?;
            Ok(())
        })
    }
}
