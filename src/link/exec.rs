//! One command on a host: its input, its output, and how it ended. A task drains the channel whatever its users do, since
//! one that is not read stops all others of the connection; and a command that ends early ends its input, which would
//! otherwise wait for room for ever.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use russh::client::Msg;
use russh::{Channel, ChannelMsg};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

use super::connection::Slot;
use super::error::quote;

/// So much of the standard error is kept: its end.
const TAIL: usize = 16 << 10;
/// After the end of the output, so long is waited for the exit code.
const EXIT: Duration = Duration::from_secs(2);

/// How a command ended, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct End {
    pub code: Option<u32>,
    pub signal: Option<String>,
    /// The host runs no commands.
    pub refused: bool,
    /// The connection broke before the command ended.
    pub lost: bool,
    /// The end of its standard error.
    pub stderr: Vec<u8>,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.lost, self.refused, &self.signal, self.code) {
            (true, ..) => f.write_str("the SSH connection broke")?,
            (_, true, ..) => f.write_str("the host refuses to run commands")?,
            (_, _, Some(signal), _) => write!(f, "ended by signal {signal}")?,
            (_, _, _, Some(code)) => write!(f, "ended with exit code {code}")?,
            _ => f.write_str("ended")?,
        }
        if self.stderr.is_empty() { Ok(()) } else { write!(f, ": {}", quote(&self.stderr)) }
    }
}

/// A command under way. Dropping both its ends closes the channel, which may leave the command running.
pub struct Exec {
    pub output: Output,
    pub input: Input,
}

impl Exec {
    /// Takes over a channel on which a command was asked for.
    pub fn new(channel: Channel<Msg>, slot: Slot) -> Exec {
        let (mut read, write) = channel.split();
        let (sender, receiver) = mpsc::channel(16);
        let (ended, given_up) = (CancellationToken::new(), CancellationToken::new());
        let end = Arc::new(Mutex::new(End::default()));
        let writer = Box::pin(write.make_writer());
        let (noted, over, gone) = (end.clone(), ended.clone(), given_up.clone());
        tokio::spawn(async move {
            let _slot = slot;
            let mut sender = Some(sender);
            let mut eof = false;
            loop {
                let message = tokio::select! {
                    message = read.wait() => message,
                    () = gone.cancelled() => {
                        let _ = write.close().await;
                        break;
                    }
                    () = tokio::time::sleep(EXIT), if eof && sender.is_some() => {
                        // It closed its output and lives on: its users need not wait for it.
                        over.cancel();
                        sender = None;
                        continue;
                    }
                };
                let mut end = noted.lock().unwrap_or_else(PoisonError::into_inner);
                match message {
                    Some(ChannelMsg::Data { data }) => {
                        drop(end);
                        if let Some(to) = &sender
                            && to.send(data.to_vec()).await.is_err()
                        {
                            sender = None;
                        }
                    }
                    Some(ChannelMsg::ExtendedData { data, ext: 1 }) => {
                        end.stderr.extend_from_slice(&data);
                        let over = end.stderr.len().saturating_sub(TAIL);
                        end.stderr.drain(..over);
                    }
                    Some(ChannelMsg::ExitStatus { exit_status }) => end.code = Some(exit_status),
                    Some(ChannelMsg::ExitSignal { signal_name, .. }) => end.signal = Some(format!("{signal_name:?}")),
                    Some(ChannelMsg::Failure) => {
                        end.refused = true;
                        break;
                    }
                    Some(ChannelMsg::Eof) => eof = true,
                    Some(ChannelMsg::Close) => break,
                    Some(_) => {}
                    None => {
                        end.lost = end.code.is_none() && end.signal.is_none();
                        break;
                    }
                }
            }
            over.cancel();
        });
        let guard = Arc::new(given_up.drop_guard());
        let output = Output { pieces: receiver, rest: Vec::new(), at: 0, end: end.clone(), _guard: guard.clone() };
        let input = Input { writer, ended: Box::pin(ended.cancelled_owned()), end, _guard: guard };
        Exec { output, input }
    }
}

/// The standard output. After its last byte it fails with how the command ended.
pub struct Output {
    pieces: mpsc::Receiver<Vec<u8>>,
    rest: Vec<u8>,
    at: usize,
    end: Arc<Mutex<End>>,
    _guard: Arc<DropGuard>,
}

impl Output {
    /// What is known of the end now.
    pub fn end(&self) -> End {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl AsyncRead for Output {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.at == self.rest.len() {
            match std::task::ready!(self.pieces.poll_recv(cx)) {
                Some(piece) => (self.rest, self.at) = (piece, 0),
                None => {
                    let end = self.end();
                    let kind = if end.lost { io::ErrorKind::ConnectionReset } else { io::ErrorKind::BrokenPipe };
                    return Poll::Ready(Err(io::Error::new(kind, end.to_string())));
                }
            }
        }
        let n = buf.remaining().min(self.rest.len() - self.at);
        buf.put_slice(&self.rest[self.at..self.at + n]);
        self.at += n;
        Poll::Ready(Ok(()))
    }
}

/// The standard input. Shutting it down tells the command its end.
pub struct Input {
    writer: Pin<Box<dyn AsyncWrite + Send>>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    end: Arc<Mutex<End>>,
    _guard: Arc<DropGuard>,
}

impl Input {
    fn over(&mut self, cx: &mut Context<'_>) -> Option<io::Error> {
        if self.ended.as_mut().poll(cx).is_pending() {
            return None;
        }
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).to_string();
        // Asked for again, it must answer again.
        self.ended = Box::pin(over_already().cancelled_owned());
        Some(io::Error::new(io::ErrorKind::BrokenPipe, end))
    }
}

fn over_already() -> CancellationToken {
    let token = CancellationToken::new();
    token.cancel();
    token
}

impl AsyncWrite for Input {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(error) = self.over(cx) {
            return Poll::Ready(Err(error));
        }
        self.writer.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.over(cx).is_some() {
            return Poll::Ready(Ok(()));
        }
        self.writer.as_mut().poll_shutdown(cx)
    }
}
