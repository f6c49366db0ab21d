//! One SSH connection: resolve, connect (through a jump host's connection), check the host's key, log in. Each phase has
//! an end in time. Knows channels; not what is said on them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use russh::client::{self, Handle};
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use russh::{AlgorithmKind, cipher};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::error::{Phase, SshError};
use super::exec::Exec;
use super::keys::{fingerprint, login};
use super::known_hosts::{self, Known, Verdict, line};
use super::settings::{Accepted, Settings, SshHost};

const LOGIN: Duration = Duration::from_secs(60);
const CHANNEL: Duration = Duration::from_secs(15);
/// The next address is tried so long after the one before.
const STAGGER: Duration = Duration::from_millis(250);
/// sshd allows ten sessions on a connection by default, and fewer where somebody was careful.
pub const SESSIONS: usize = 4;

/// A connection that stands. It ends when it is dropped and its last channel is.
pub struct Connection {
    pub place: Arc<SshHost>,
    handle: Handle<Gatekeeper>,
    /// Sessions that are open.
    sessions: AtomicUsize,
    /// One was opened at some time.
    used: AtomicBool,
    /// The host allows no more sessions than there are now.
    full: AtomicBool,
    /// Somebody found that it carries nothing any more.
    mute: AtomicBool,
    /// The connection that carries this one.
    _through: Option<Arc<Connection>>,
}

impl Connection {
    /// Connects and logs in.
    ///
    /// # Errors
    /// Names the phase that failed, and what to do.
    pub async fn open(
        settings: &Settings,
        place: Arc<SshHost>,
        through: Option<Arc<Connection>>,
    ) -> Result<Connection, SshError> {
        let known = Known::read(&place.known_hosts, &place.known_as).map_err(|(file, error)| {
            let what = format!("cannot read {}: {error}", file.display());
            SshError::new(&place, Phase::HostKey, what, "make it readable, or name another one with SOLL_KNOWN_HOSTS")
        })?;
        let config = Arc::new(config(&place, &known));
        let seen = Arc::new(Mutex::new(None));
        let accepts = settings.accept.is_some() && known.unreadable.is_empty();
        let gatekeeper = Gatekeeper { known: known.clone(), seen: seen.clone(), accepts };
        let shaken = match &through {
            Some(jump) => {
                let stream = jump.forward(&place).await?;
                tokio::time::timeout(place.connect, client::connect_stream(config, stream, gatekeeper)).await
            }
            None => {
                let stream = connect(&place).await?;
                tokio::time::timeout(place.connect, client::connect_stream(config, stream, gatekeeper)).await
            }
        };
        let mut handle = match shaken {
            Ok(Ok(handle)) => handle,
            Ok(Err(error)) => {
                let shown = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
                return Err(match shown {
                    Some((key, verdict)) => stranger(&place, &known, &key, &verdict),
                    None => unshaken(&place, &known, &error),
                });
            }
            Err(_) => {
                let what = format!("it accepts connections but did not greet within {} s", place.connect.as_secs());
                return Err(SshError::new(
                    &place,
                    Phase::Handshake,
                    what,
                    "is it an SSH server, and is it overloaded?",
                ));
            }
        };
        // The handshake is done: the host has proven that the key is its own.
        let new = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some((key, Verdict::Unknown)), Some(accepted)) = (new, &settings.accept) {
            let noted = introduce(&place, &key)?;
            accepted.lock().unwrap_or_else(PoisonError::into_inner).push(noted);
        }
        match tokio::time::timeout(LOGIN, login(&mut handle, settings, &place)).await {
            Ok(done) => done?,
            Err(_) => {
                let what = format!("no answer within {} s", LOGIN.as_secs());
                return Err(SshError::new(&place, Phase::Login, what, "look at the log of sshd on the host"));
            }
        }
        tracing::debug!(%place, "connected");
        Ok(Connection {
            place,
            handle,
            sessions: AtomicUsize::new(0),
            used: AtomicBool::new(false),
            full: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            _through: through,
        })
    }

    /// Whether a session more may be asked for.
    pub fn has_room(&self) -> bool {
        let open = self.sessions.load(Ordering::SeqCst);
        self.is_usable() && open < SESSIONS && !self.full.load(Ordering::SeqCst)
    }

    /// Whether it did not break, and is good for anything more.
    pub fn is_usable(&self) -> bool {
        let spent = self.full.load(Ordering::SeqCst) && self.sessions.load(Ordering::SeqCst) == 0;
        !self.handle.is_closed() && !spent && !self.mute.load(Ordering::SeqCst)
    }

    /// It did not break, but nothing comes through: nobody should try it again.
    pub fn give_up(&self) {
        self.mute.store(true, Ordering::SeqCst);
    }

    /// Starts a command. `None`: the host allows no more sessions on this connection, but does on another.
    ///
    /// # Errors
    /// No channel can be had.
    pub async fn exec(self: &Arc<Self>, command: &str) -> Result<Option<Exec>, SshError> {
        self.sessions.fetch_add(1, Ordering::SeqCst);
        let slot = Slot(self.clone());
        let lost = |what: String| SshError::new(&self.place, Phase::Channel, what, "look at the log of sshd there");
        let channel = match tokio::time::timeout(CHANNEL, self.handle.channel_open_session()).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(russh::Error::ChannelOpenFailure(_))) if self.used.load(Ordering::SeqCst) => {
                drop(slot);
                self.full.store(true, Ordering::SeqCst);
                return Ok(None);
            }
            Ok(Err(russh::Error::ChannelOpenFailure(why))) => {
                return Err(lost(format!("the host opens no session ({why:?}): does sshd there say `MaxSessions 0`?")));
            }
            Ok(Err(error)) => return Err(lost(format!("no session: {error}"))),
            Err(_) => return Err(lost(format!("no session within {} s", CHANNEL.as_secs()))),
        };
        self.used.store(true, Ordering::SeqCst);
        let started = channel.exec(true, command).await;
        started.map_err(|error| lost(format!("no command can be started: {error}")))?;
        Ok(Some(Exec::new(channel, slot)))
    }

    /// A stream to another host, from this one.
    async fn forward(&self, to: &SshHost) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>, SshError> {
        let lost = |what: String| {
            let cure = "can the jump host reach it, and does its sshd allow TCP forwarding (AllowTcpForwarding)?";
            SshError::new(to, Phase::Connect, format!("through {}: {what}", self.place), cure)
        };
        let channel = self.handle.channel_open_direct_tcpip(&to.host, to.port.into(), "127.0.0.1", 0);
        match tokio::time::timeout(to.connect, channel).await {
            Ok(Ok(channel)) => Ok(channel.into_stream()),
            Ok(Err(error)) => Err(lost(error.to_string())),
            Err(_) => Err(lost(format!("no answer within {} s", to.connect.as_secs()))),
        }
    }
}

/// A session that counts, and keeps its connection, until it is dropped.
pub struct Slot(Arc<Connection>);

impl Drop for Slot {
    fn drop(&mut self) {
        // First the mark, then the number: a full connection without a session is one that is given up.
        self.0.full.store(false, Ordering::SeqCst);
        self.0.sessions.fetch_sub(1, Ordering::SeqCst);
    }
}

fn config(place: &SshHost, known: &Known) -> client::Config {
    let mut config = client::Config {
        nodelay: true,
        keepalive_interval: Some(place.alive),
        keepalive_max: place.unanswered,
        ..client::Config::default()
    };
    let first = [cipher::AES_256_GCM, cipher::AES_128_GCM];
    let others = config.preferred.cipher.iter().copied().filter(|cipher| !first.contains(cipher));
    config.preferred.cipher = first.into_iter().chain(others).collect();
    let kinds = known.algorithms();
    if !kinds.is_empty() {
        config.preferred.key = kinds.into();
    }
    config
}

/// Decides on the host's key, and remembers one that it refused.
struct Gatekeeper {
    known: Known,
    seen: Arc<Mutex<Option<(PublicKey, Verdict)>>>,
    /// A host that nobody knows is believed: a person asked for that. One that is known by another key never is.
    accepts: bool,
}

impl client::Handler for Gatekeeper {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let key = shown.public_key();
        let verdict = self.known.judge(&key);
        if verdict == Verdict::Known {
            return Ok(true);
        }
        let believed = self.accepts && verdict == Verdict::Unknown;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((key, verdict));
        Ok(believed)
    }
}

/// Makes the key of a new host known.
fn introduce(place: &SshHost, key: &PublicKey) -> Result<Accepted, SshError> {
    let failed = |what: String| {
        SshError::new(place, Phase::HostKey, what, "name a file that can be written with SOLL_KNOWN_HOSTS")
    };
    let file =
        place.known_hosts.first().ok_or_else(|| failed("there is no known_hosts to add the key to".to_owned()))?;
    known_hosts::add(file, &place.known_as, key)
        .map_err(|error| failed(format!("the key cannot be added to {}: {error}", file.display())))?;
    let kind = key.algorithm().as_str().to_owned();
    Ok(Accepted { name: place.known_as.clone(), kind, fingerprint: fingerprint(key), file: file.clone() })
}

/// The host is not the one that is meant, as far as anybody knows.
fn stranger(place: &SshHost, known: &Known, key: &PublicKey, verdict: &Verdict) -> SshError {
    let kind = key.algorithm();
    let shown = format!("{} {}", kind.as_str(), fingerprint(key));
    let files: Vec<_> = place.known_hosts.iter().map(|file| file.display().to_string()).collect();
    let compare =
        "compare the fingerprint with `ssh-keygen -lf` of /etc/ssh/ssh_host_*_key.pub on the host's own console";
    let (what, cure) = match verdict {
        Verdict::Revoked(at) => (
            format!("the host shows the key {shown}, which {at} revokes"),
            "give the host a new key; until then nobody must log in there".to_owned(),
        ),
        Verdict::Changed => {
            let keys = known.keys.iter().map(|(key, at)| format!("{} ({at})", fingerprint(key)));
            let old: Vec<_> = keys.collect();
            (
                format!(
                    "the host shows the key {shown}, but is known by {}: it was set up anew, or somebody is in between",
                    old.join(", ")
                ),
                format!("{compare}; if it is right, replace the line by `{}`", line(&place.known_as, key)),
            )
        }
        Verdict::Unknown | Verdict::Known => {
            let mut what =
                format!("the host shows the key {shown}, and {} know no `{}`", files.join(", "), place.known_as);
            if let Some(at) = known.authorities.first() {
                what.push_str(&format!(
                    "; {at} trusts an authority (`@cert-authority`), but certificates are not read"
                ));
            }
            if let Some(at) = known.unreadable.first() {
                what.push_str(&format!("; {at} names it, but cannot be read"));
            }
            let file = files.first().map_or("known_hosts", String::as_str);
            (what, format!("{compare}; if it is right, add to {file}: {}", line(&place.known_as, key)))
        }
    };
    SshError::new(place, Phase::HostKey, what, cure)
}

fn unshaken(place: &SshHost, known: &Known, error: &russh::Error) -> SshError {
    match error {
        russh::Error::NoCommonAlgo { kind: AlgorithmKind::Key, theirs, .. } if !known.keys.is_empty() => {
            let keys = known.keys.iter().map(|(key, at)| format!("{} ({at})", key.algorithm().as_str()));
            let (ours, theirs) = (keys.collect::<Vec<_>>().join(", "), theirs.join(", "));
            let what = format!("the host is known by {ours}, and shows only keys of other kinds: {theirs}");
            SshError::new(place, Phase::HostKey, what, "compare its keys, and add the right one to known_hosts")
        }
        russh::Error::NoCommonAlgo { kind, ours, theirs } => {
            let what =
                format!("no {kind:?} algorithm in common: here {}, there {}", ours.join(", "), theirs.join(", "));
            SshError::new(place, Phase::Handshake, what, "allow a newer one in sshd_config there")
        }
        error => SshError::new(
            place,
            Phase::Handshake,
            error.to_string(),
            "is an SSH server behind this port, and does it accept connections from here (MaxStartups, tcp wrappers)?",
        ),
    }
}

/// The first address that answers.
async fn connect(place: &SshHost) -> Result<Prompt, SshError> {
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
