//! Reads a file by SFTP, with many requests under way, from its beginning to its end.

use futures_util::stream::{self, StreamExt};
use russh_sftp::client::error::Error;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};
use tokio::sync::mpsc;

use super::UNDER_WAY;
use super::session::{Session, is};
use crate::backup::BackupError;

impl Session {
    /// A file that is read, and how large it is.
    pub(super) async fn open_file(&self, path: &str) -> Result<(String, u64), BackupError> {
        let failed = |error: Error| self.failed("read", path, &error);
        let handle = self.raw.open(path, OpenFlags::READ, FileAttributes::empty()).await.map_err(failed)?.handle;
        let attrs = self.raw.fstat(handle.as_str()).await.map_err(failed)?.attrs;
        match attrs.size {
            Some(bytes) => Ok((handle, bytes)),
            None => Err(self.say(path, "has no size that the server would tell")),
        }
    }

    /// Sends a file from its beginning to its end, then an empty piece.
    pub(super) async fn send(
        &self,
        handle: &str,
        path: &str,
        bytes: u64,
        into: &mpsc::Sender<Result<Vec<u8>, BackupError>>,
    ) -> Result<(), BackupError> {
        let piece = self.piece;
        let starts = (0..bytes.div_ceil(piece)).map(|index| index * piece);
        let reads = starts.map(|from| self.read_at(handle, path, from, piece.min(bytes - from)));
        let mut reads = stream::iter(reads).buffered(UNDER_WAY);
        while let Some(read) = reads.next().await {
            if into.send(Ok(read?)).await.is_err() {
                return Ok(());
            }
        }
        let _ = into.send(Ok(Vec::new())).await;
        Ok(())
    }

    /// So many bytes from there: a server may give fewer at once.
    pub(super) async fn read_at(
        &self,
        handle: &str,
        path: &str,
        from: u64,
        length: u64,
    ) -> Result<Vec<u8>, BackupError> {
        let wanted = usize::try_from(length).unwrap_or(usize::MAX);
        let mut all = Vec::new();
        while all.len() < wanted {
            let left = u32::try_from(wanted - all.len()).unwrap_or(u32::MAX);
            match self.raw.read(handle, from + all.len() as u64, left).await {
                Ok(data) if data.data.is_empty() || data.data.len() > left as usize => {
                    return Err(self.say(path, "is not sent as it was asked for"));
                }
                Ok(data) if all.is_empty() => all = data.data,
                Ok(data) => all.extend_from_slice(&data.data),
                Err(error) if is(&error, StatusCode::Eof) => {
                    return Err(self.say(path, "ends before its end: it is being changed"));
                }
                Err(error) => return Err(self.failed("read", path, &error)),
            }
        }
        Ok(all)
    }
}
