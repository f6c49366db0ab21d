//! Between whoever writes and reads a backup, byte after byte on a thread of its own, and a target that is reached over a
//! network, piece after piece: what is under way is bounded, so that memory stays the same however much goes by.

use std::io::{self, Read, Write};
use std::sync::{Arc, mpsc as answers};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::backup::BackupError;

/// Pieces that wait for their turn, beside those that are under way.
const WAITING: usize = 2;

/// The thread on which a target is spoken with. Its users block, and must not be on a thread of another one.
pub struct Work(Option<Runtime>);

impl Work {
    /// A new one.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn new() -> Result<Arc<Work>, BackupError> {
        let built = Builder::new_multi_thread().worker_threads(1).thread_name("target").enable_all().build();
        let failed = |error| BackupError(format!("no thread for a target can be started: {error}"));
        Ok(Arc::new(Work(Some(built.map_err(failed)?))))
    }

    fn runtime(&self) -> &Runtime {
        let Some(runtime) = &self.0 else { unreachable!("it ends with its last user") };
        runtime
    }

    /// Waits for something that the target does.
    pub fn wait<T>(&self, doing: impl Future<Output = T>) -> T {
        self.runtime().block_on(doing)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // Whoever lets go of a target may stand on a thread on which nothing may be waited for.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What comes to the end of a target that writes.
pub enum Piece {
    Bytes(Vec<u8>),
    /// All is written. Where the pieces end without it, nothing of them counts.
    End,
}

/// A file on its way to a target behind a network.
pub struct RemotePut {
    pieces: Option<mpsc::Sender<Piece>>,
    done: answers::Receiver<Result<(), BackupError>>,
    piece: Vec<u8>,
    size: usize,
    _work: Arc<Work>,
}

impl RemotePut {
    /// `write` takes the pieces, of `size` bytes each and the last one smaller, until their end.
    pub fn begin<F>(work: &Arc<Work>, size: usize, write: impl FnOnce(mpsc::Receiver<Piece>) -> F) -> RemotePut
    where
        F: Future<Output = Result<(), BackupError>> + Send + 'static,
    {
        let (pieces, receiver) = mpsc::channel(WAITING);
        let (answer, done) = answers::sync_channel(1);
        let writing = write(receiver);
        work.runtime().spawn(async move {
            // Nobody hears it where the put was dropped.
            let _ = answer.send(writing.await);
        });
        RemotePut { pieces: Some(pieces), done, piece: Vec::with_capacity(size), size, _work: work.clone() }
    }

    fn send(&mut self, piece: Piece) -> Result<(), BackupError> {
        let sent = self.pieces.as_ref().is_some_and(|pieces| pieces.blocking_send(piece).is_ok());
        if sent { Ok(()) } else { self.failed() }
    }

    /// Why nothing is taken any more.
    fn failed(&mut self) -> Result<(), BackupError> {
        self.pieces = None;
        match self.done.recv() {
            Ok(Err(error)) => Err(error),
            _ => Err(BackupError("the target took no more, and did not say why".to_owned())),
        }
    }

    /// All is written; waits until the target has it, whole and under its name.
    ///
    /// # Errors
    /// The target did not keep it.
    pub fn end(mut self) -> Result<(), BackupError> {
        let rest = std::mem::take(&mut self.piece);
        if !rest.is_empty() {
            self.send(Piece::Bytes(rest))?;
        }
        self.send(Piece::End)?;
        self.done.recv().unwrap_or_else(|_| Err(BackupError("the target did not say how it ended".to_owned())))
    }
}

impl Write for RemotePut {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.size - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == self.size {
            let full = std::mem::replace(&mut self.piece, Vec::with_capacity(self.size));
            self.send(Piece::Bytes(full)).map_err(io::Error::other)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for RemotePut {
    fn drop(&mut self) {
        // What was begun is taken back before the connection is let go.
        if self.pieces.take().is_some() {
            let _ = self.done.recv_timeout(PATIENCE);
        }
    }
}

/// So long is waited until a target has taken back what was begun.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// A file on its way from a target behind a network.
pub struct RemoteRead {
    pieces: mpsc::Receiver<Result<Vec<u8>, BackupError>>,
    piece: Vec<u8>,
    at: usize,
    over: bool,
    _work: Arc<Work>,
}

impl RemoteRead {
    /// `read` gives the pieces, and at last an empty one.
    pub fn begin<F>(work: &Arc<Work>, read: impl FnOnce(mpsc::Sender<Result<Vec<u8>, BackupError>>) -> F) -> RemoteRead
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, pieces) = mpsc::channel(WAITING);
        work.runtime().spawn(read(sender));
        RemoteRead { pieces, piece: Vec::new(), at: 0, over: false, _work: work.clone() }
    }
}

impl Read for RemoteRead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() && !self.over {
            match self.pieces.blocking_recv() {
                Some(Ok(piece)) => {
                    self.over = piece.is_empty();
                    (self.piece, self.at) = (piece, 0);
                }
                Some(Err(error)) => return Err(io::Error::other(error)),
                // An end that nobody told is none.
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the target stopped in the middle")),
            }
        }
        let count = into.len().min(self.piece.len() - self.at);
        into[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
