//! Writes a file by SFTP, with many requests under way, until it is whole there.

use futures_util::stream::{FuturesUnordered, StreamExt};
use russh_sftp::client::error::Error;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};
use tokio::sync::mpsc;

use super::super::remote::Piece;
use super::UNDER_WAY;
use super::session::{Session, is};
use crate::backup::BackupError;

impl Session {
    /// A new file. One that a run left which broke off is removed first: who holds the root is the only one who writes here.
    pub(super) async fn create(&self, part: &str) -> Result<String, BackupError> {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
        let attrs = || FileAttributes { permissions: Some(0o600), ..FileAttributes::empty() };
        let first = match self.raw.open(part, flags, attrs()).await {
            Ok(handle) => return Ok(handle.handle),
            Err(error) => error,
        };
        if !matches!(first, Error::Status(_)) || self.size(part).await?.is_none() {
            return Err(self.failed("write", part, &first));
        }
        self.raw
            .remove(part)
            .await
            .map_err(|error| self.failed("remove what is left of another run,", part, &error))?;
        let second = self.raw.open(part, flags, attrs()).await;
        second.map(|handle| handle.handle).map_err(|error| self.failed("write", part, &error))
    }

    pub(super) async fn write(
        &self,
        handle: &str,
        part: &str,
        whole: &str,
        mut pieces: mpsc::Receiver<Piece>,
    ) -> Result<(), BackupError> {
        let mut under_way = FuturesUnordered::new();
        let mut at = 0u64;
        let mut ended = false;
        while !ended || !under_way.is_empty() {
            tokio::select! {
                Some(done) = under_way.next(), if !under_way.is_empty() => {
                    if let Err(error) = done {
                        return Err(self.unwritten(part, &error).await);
                    }
                }
                piece = pieces.recv(), if !ended && under_way.len() < UNDER_WAY => match piece {
                    Some(Piece::Bytes(bytes)) => {
                        let (from, length) = (at, bytes.len() as u64);
                        at += length;
                        under_way.push(self.raw.write(handle, from, bytes));
                    }
                    Some(Piece::End) => ended = true,
                    None => return Err(self.say(part, "was given up before its end")),
                },
            }
        }
        drop(under_way);
        if self.makes_durable {
            self.raw.fsync(handle).await.map_err(|error| self.failed("make durable", part, &error))?;
        }
        // Some servers tell only now that the disk is full.
        if let Err(error) = self.raw.close(handle).await {
            return Err(self.unwritten(part, &error).await);
        }
        match self.size(part).await? {
            Some(there) if there == at => {}
            there => {
                let there = there.map_or_else(|| "is not there".to_owned(), |there| format!("has {there} bytes"));
                return Err(self.say(part, &format!("{there} where {at} were written")));
            }
        }
        let Err(error) = self.raw.rename(part, whole).await else { return Ok(()) };
        match self.size(whole).await? {
            Some(_) => Err(self.say(whole, "is there already, and no backup is overwritten")),
            None => Err(self.failed("rename to its name", part, &error)),
        }
    }

    /// A piece was not taken. That a disk is full is told as no more than a failure.
    pub(super) async fn unwritten(&self, part: &str, error: &Error) -> BackupError {
        let room = if is(error, StatusCode::Failure) { self.room().await.ok().flatten() } else { None };
        match room {
            Some(room) if room < self.piece * UNDER_WAY as u64 => {
                self.say(part, &format!("does not fit: the target is full ({room} bytes are free); make room there"))
            }
            _ => self.failed("write", part, error),
        }
    }
}
