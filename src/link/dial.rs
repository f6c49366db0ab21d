//! The stream to a host on which SSH is spoken: TCP to the first address that answers, or the program that the SSH
//! configuration names (`ProxyCommand`). Knows nothing of SSH.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::error::{Phase, SshError, quote};
use super::settings::{SshHost, without_ours};

/// The next address is tried so long after the one before.
const STAGGER: Duration = Duration::from_millis(250);
/// Of what a proxy says beside its work, the end is kept.
const SAID: usize = 4096;
/// How long the last words of a proxy are waited for that has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A stream to a host.
pub type Wire = Box<dyn Both>;

/// Read and written.
pub trait Both: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Both for T {}

/// The stream, and the program that carries it, where one does.
///
/// # Errors
/// Nothing answers; the program cannot be started.
pub async fn dial(place: &SshHost) -> Result<(Wire, Option<Proxy>), SshError> {
    match &place.proxy {
        None => Ok((Box::new(tcp(place).await?), None)),
        Some(command) => {
            let (wire, proxy) = Proxy::start(place, command)?;
            Ok((wire, Some(proxy)))
        }
    }
}

/// A `ProxyCommand` that runs. It ends with the connection that it carries.
pub struct Proxy {
    command: String,
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
    listener: tokio::task::JoinHandle<()>,
}

impl Proxy {
    fn start(place: &SshHost, command: &str) -> Result<(Wire, Proxy), SshError> {
        // As ssh does it: the user's shell, which becomes the program.
        let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
        let mut started = Command::new(shell);
        started.arg("-c").arg(format!("exec {command}"));
        started.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // Nothing that it asks for at a terminal is answered: it fails, instead of waiting for somebody.
        started.process_group(0).env("SSH_ASKPASS_REQUIRE", "never");
        without_ours(started.as_std_mut());
        let failed = |why: String| {
            let what = format!("`ProxyCommand {command}` cannot be started: {why}");
            SshError::new(place, Phase::Connect, what, "correct it in the SSH configuration, or use `ProxyJump`")
        };
        let mut child = started.spawn().map_err(|error| failed(error.to_string()))?;
        let (Some(stdin), Some(stdout), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed("it has no pipes".to_owned()));
        };
        let said = Arc::new(Mutex::new(Vec::new()));
        let kept = said.clone();
        let listener = tokio::spawn(async move {
            let mut piece = [0; 1024];
            while let Ok(n @ 1..) = stderr.read(&mut piece).await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&piece[..n]);
                let surplus = kept.len().saturating_sub(SAID);
                kept.drain(..surplus);
            }
        });
        let wire = Box::new(tokio::io::join(stdout, stdin));
        Ok((wire, Proxy { command: command.to_owned(), child, said, listener }))
    }

    /// What it has to say about a connection that did not come about; nothing where it is in order.
    pub async fn complaint(mut self) -> Option<String> {
        // One that ended has said all that it will.
        let ended = tokio::time::timeout(LAST_WORDS, self.child.wait()).await.ok().and_then(Result::ok);
        if ended.is_some() {
            let _ = tokio::time::timeout(LAST_WORDS, &mut self.listener).await;
        }
        let said = quote(&self.said.lock().unwrap_or_else(PoisonError::into_inner));
        let end = match ended {
            Some(status) => format!("`ProxyCommand {}` ended ({status})", self.command),
            None if said.is_empty() => return None,
            None => format!("`ProxyCommand {}` runs", self.command),
        };
        Some(if said.is_empty() { end } else { format!("{end} and said: {said}") })
    }
}

/// The first address that answers.
async fn tcp(place: &SshHost) -> Result<Prompt, SshError> {
    let lost = |what: String, cure: &str| SshError::new(place, Phase::Connect, what, cure);
    let seconds = place.connect.as_secs();
    let tried = tokio::time::timeout(place.connect, async {
        let found = tokio::net::lookup_host((place.host.as_str(), place.port)).await;
        let addresses: Vec<SocketAddr> = match found {
            Ok(addresses) => addresses.collect(),
            Err(error) => {
                return Err(lost(
                    format!("the name cannot be resolved: {error}"),
                    "correct `address`, or its DNS record",
                ));
            }
        };
        let mut attempts: FuturesUnordered<_> = (0u32..)
            .zip(&addresses)
            .map(|(turn, address)| async move {
                tokio::time::sleep(STAGGER * turn).await;
                TcpStream::connect(address).await.map_err(|error| format!("{}: {error}", address.ip()))
            })
            .collect();
        let mut failed = Vec::new();
        while let Some(attempt) = attempts.next().await {
            match attempt {
                Ok(stream) => return Ok(stream),
                Err(why) => failed.push(why),
            }
        }
        let cure = "is sshd running there, is the port right (`port = …`), does a firewall stand between?";
        Err(lost(failed.join(", "), cure))
    });
    let stream = match tried.await {
        Ok(stream) => stream?,
        Err(_) => {
            let cure = "is the host up, is the address right, does a firewall stand between?";
            return Err(lost(format!("no answer within {seconds} s"), cure));
        }
    };
    // Slower without, but not wrong.
    let _ = stream.set_nodelay(true);
    Ok(Prompt(stream))
}

/// A TCP stream whose arrivals are acknowledged at once: sshd sends small packets and waits for that, 40 ms each.
struct Prompt(TcpStream);

impl AsyncRead for Prompt {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(cx, buf);
        let _ = rustix::net::sockopt::set_tcp_quickack(&self.0, true);
        read
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
