//! The stream of frames to one agent, and how another one is had when it is lost.

use std::io;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::host::wire::HostError;
use crate::host::wire::frame::{self, Frame};

/// The two directions of a connection.
pub struct Stream {
    pub(in crate::host) output: Box<dyn AsyncRead + Unpin + Send>,
    pub(in crate::host) input: Box<dyn AsyncWrite + Unpin + Send>,
}

/// How to reach an agent that was reached before.
pub trait Reconnect: Send + Sync {
    /// Another stream to the agent of this session. `silent`: the old one did not end, it only carries nothing any more.
    ///
    /// # Errors
    /// It cannot be had now; it may be later.
    fn reconnect<'a>(&'a self, session: &'a str, silent: bool) -> BoxFuture<'a, Result<Stream, HostError>>;
    /// Where the agent is, for people.
    fn place(&self) -> String;
    /// How long to try.
    fn patience(&self) -> Duration;
}

impl Stream {
    /// Of what an agent writes and what it reads.
    pub fn new(
        output: impl AsyncRead + Unpin + Send + 'static,
        input: impl AsyncWrite + Unpin + Send + 'static,
    ) -> Stream {
        Stream { output: Box::new(output), input: Box::new(input) }
    }

    /// The next frame; `None` at a clean end. `heard` is called whenever something came.
    pub(in crate::host) async fn read(&mut self, heard: &mut (dyn FnMut() + Send)) -> io::Result<Option<Frame>> {
        read(&mut self.output, heard).await
    }

    /// Writes a frame, whole.
    pub(in crate::host) async fn send(&mut self, frame: &Frame, packed: bool) -> io::Result<()> {
        send(&mut self.input, frame, packed).await
    }
}

/// The next frame; `None` at a clean end. `heard` is called whenever something came.
pub(in crate::host) async fn read(
    from: &mut (impl AsyncRead + Unpin),
    heard: &mut (dyn FnMut() + Send),
) -> io::Result<Option<Frame>> {
    let mut head = [0; 4];
    match from.read_exact(&mut head).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        done => done.map(|_| ())?,
    }
    heard();
    let mut body = vec![0; frame::length(head)?];
    let mut have = 0;
    while have < body.len() {
        match from.read(&mut body[have..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => have += n,
        }
        heard();
    }
    Frame::decode(&body).map(Some)
}

/// Writes a frame, whole.
pub(in crate::host) async fn send(to: &mut (impl AsyncWrite + Unpin), frame: &Frame, packed: bool) -> io::Result<()> {
    put(to, &if packed { frame.encode_packed()? } else { frame.encode()? }).await
}

/// Writes a frame that is encoded.
pub(in crate::host) async fn put(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}
