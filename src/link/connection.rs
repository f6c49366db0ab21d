//! One SSH connection: resolve, connect (through a jump host's connection), check the host's key, log in. Each phase has
//! an end in time. Knows channels; not what is said on them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, Handle, Msg};
use russh::{AlgorithmKind, Channel, ChannelMsg, ChannelStream, cipher, kex};

use super::dial::{Proxy, Wire, dial};
use super::error::{Phase, SshError, quote};
use super::exec::Exec;
use super::gatekeeper::{Gatekeeper, introduce, stranger};
use super::host_certificate;
use super::keys::login;
use super::known_hosts::{Known, Verdict};
use super::settings::{Settings, SshHost};

const LOGIN: Duration = Duration::from_secs(60);
const CHANNEL: Duration = Duration::from_secs(15);
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
    /// The program that does.
    _proxy: Option<Proxy>,
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
        let known = match &settings.pinned[..] {
            [] => Known::read(&place.known_hosts, &place.called).map_err(|(file, error)| {
                let what = format!("cannot read {}: {error}", file.display());
                let cure = "make it readable, or name another one with SOLL_KNOWN_HOSTS";
                SshError::new(&place, Phase::HostKey, what, cure)
            })?,
            keys => Known::pinned(keys),
        };
        let config = Arc::new(config(&place, &known));
        let seen = Arc::new(Mutex::new(None));
        let accepts = settings.accept.is_some() && known.unreadable.is_empty();
        let banner = Arc::new(Mutex::new(String::new()));
        let gatekeeper = Gatekeeper {
            known: known.clone(),
            place: place.clone(),
            seen: seen.clone(),
            accepts,
            banner: banner.clone(),
        };
        let (stream, proxy): (Wire, _) = match &through {
            Some(jump) => (jump.forward(&place).await?, None),
            None => dial(&place).await?,
        };
        let shaken = tokio::time::timeout(place.connect, client::connect_stream(config, stream, gatekeeper)).await;
        let mut handle = match shaken {
            Ok(Ok(handle)) => handle,
            Ok(Err(error)) => {
                let shown = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
                return Err(match shown {
                    Some(shown) => stranger(&place, &known, &shown),
                    None => complained(unshaken(&place, &known, &error), proxy).await,
                });
            }
            Err(_) => {
                let what = format!("it accepts connections but did not greet within {} s", place.connect.as_secs());
                let cure = "is it an SSH server, and is it overloaded?";
                return Err(complained(SshError::new(&place, Phase::Handshake, what, cure), proxy).await);
            }
        };
        // The handshake is done: the host has proven that the key is its own.
        let new = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        let new = new.filter(|shown| shown.verdict == Verdict::Unknown);
        if let (Some(shown), Some(accepted)) = (new, &settings.accept) {
            let noted = introduce(&place, &shown.key)?;
            accepted.lock().unwrap_or_else(PoisonError::into_inner).push(noted);
        }
        match tokio::time::timeout(LOGIN, login(&mut handle, settings, &place)).await {
            Ok(done) => done.map_err(|error| {
                let said = banner.lock().unwrap_or_else(PoisonError::into_inner);
                expired(error, &said, &place)
            })?,
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
            _proxy: proxy,
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
        let Some((channel, slot)) = self.session().await? else { return Ok(None) };
        let started = channel.exec(true, command).await;
        started.map_err(|error| self.lost(format!("no command can be started: {error}")))?;
        Ok(Some(Exec::new(channel, slot)))
    }

    /// Starts a subsystem, as `sftp`: what is spoken with it goes over this stream. `None`: the host allows no more sessions
    /// on this connection. The session counts for as long as the slot lives.
    ///
    /// # Errors
    /// No channel can be had, or the host has no such subsystem.
    pub async fn subsystem(self: &Arc<Self>, name: &str) -> Result<Option<(ChannelStream<Msg>, Slot)>, SshError> {
        let Some((mut channel, slot)) = self.session().await? else { return Ok(None) };
        let refused = |what: String| {
            let cure = format!("let `Subsystem {name}` be set in sshd_config there, and look at its log");
            SshError::new(&self.place, Phase::Channel, what, cure)
        };
        let asked = channel.request_subsystem(true, name).await;
        asked.map_err(|error| self.lost(format!("`{name}` cannot be asked for: {error}")))?;
        loop {
            match tokio::time::timeout(CHANNEL, channel.wait()).await {
                Ok(Some(ChannelMsg::Success)) => return Ok(Some((channel.into_stream(), slot))),
                Ok(Some(ChannelMsg::WindowAdjusted { .. })) => {}
                Ok(Some(_)) => return Err(refused(format!("the host does not start `{name}`"))),
                Ok(None) => return Err(self.lost(format!("the connection broke while `{name}` was asked for"))),
                Err(_) => return Err(refused(format!("`{name}` did not start within {} s", CHANNEL.as_secs()))),
            }
        }
    }

    /// A session, and the slot that counts it. `None`: the host allows no more on this connection.
    async fn session(self: &Arc<Self>) -> Result<Option<(Channel<Msg>, Slot)>, SshError> {
        self.sessions.fetch_add(1, Ordering::SeqCst);
        let slot = Slot(self.clone());
        let channel = match tokio::time::timeout(CHANNEL, self.handle.channel_open_session()).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(russh::Error::ChannelOpenFailure(_))) if self.used.load(Ordering::SeqCst) => {
                drop(slot);
                self.full.store(true, Ordering::SeqCst);
                return Ok(None);
            }
            Ok(Err(russh::Error::ChannelOpenFailure(why))) => {
                let what = format!("the host opens no session ({why:?}): does sshd there say `MaxSessions 0`?");
                return Err(self.lost(what));
            }
            Ok(Err(error)) => return Err(self.lost(format!("no session: {error}"))),
            Err(_) => return Err(self.lost(format!("no session within {} s", CHANNEL.as_secs()))),
        };
        self.used.store(true, Ordering::SeqCst);
        Ok(Some((channel, slot)))
    }

    fn lost(&self, what: String) -> SshError {
        SshError::new(&self.place, Phase::Channel, what, "look at the log of sshd there")
    }

    /// A stream to another host, from this one.
    async fn forward(&self, to: &SshHost) -> Result<Wire, SshError> {
        let lost = |what: String| {
            let cure = "can the jump host reach it, and does its sshd allow TCP forwarding (AllowTcpForwarding)?";
            SshError::new(to, Phase::Connect, format!("through {}: {what}", self.place), cure)
        };
        let channel = self.handle.channel_open_direct_tcpip(&to.host, to.port.into(), "127.0.0.1", 0);
        match tokio::time::timeout(to.connect, channel).await {
            Ok(Ok(channel)) => Ok(Box::new(channel.into_stream())),
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
    // Servers that were hardened by other rules have nothing else; the library leaves them out by default.
    let nist = [kex::ECDH_SHA2_NISTP256, kex::ECDH_SHA2_NISTP384, kex::ECDH_SHA2_NISTP521];
    config.preferred.kex = config.preferred.kex.iter().copied().chain(nist).collect();
    if !known.authorities.is_empty() {
        config.preferred.host_key_certificates = host_certificate::kinds().into();
    }
    let kinds = known.algorithms();
    if !kinds.is_empty() {
        config.preferred.key = kinds.into();
    }
    config
}

/// A login that was refused, where the host's banner says that the account behind it has run out.
fn expired(error: SshError, banner: &str, place: &SshHost) -> SshError {
    match super::expired::cure(banner, &place.user) {
        Some(cure) => {
            SshError { what: format!("{}; it says: {}", error.what, quote(banner.as_bytes())), cure, ..error }
        }
        None => error,
    }
}

/// A failure on the way that a program was, with what that said.
async fn complained(error: SshError, proxy: Option<Proxy>) -> SshError {
    let Some(complaint) = (match proxy {
        Some(proxy) => proxy.complaint().await,
        None => None,
    }) else {
        return error;
    };
    let what = format!("{}: {complaint}", error.what);
    SshError { what, cure: "does that command lead to the host when it is typed at a shell here?".to_owned(), ..error }
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
            let real = |names: &[String]| {
                names.iter().filter(|name| !is_remark(name)).map(String::as_str).collect::<Vec<_>>().join(", ")
            };
            let what = format!("no {kind:?} algorithm in common: here {}, there {}", real(ours), real(theirs));
            SshError::new(place, Phase::Handshake, what, allow(kind, ours, theirs))
        }
        error => SshError::new(
            place,
            Phase::Handshake,
            error.to_string(),
            "is an SSH server behind this port, and does it accept connections from here (MaxStartups, tcp wrappers)?",
        ),
    }
}

/// Names in a list of algorithms that are none, but say what a side can do besides.
fn is_remark(name: &str) -> bool {
    name.starts_with("ext-info-") || name.starts_with("kex-strict-")
}

/// The line that makes a server and this program understand each other.
fn allow(kind: &AlgorithmKind, ours: &[String], theirs: &[String]) -> String {
    let key = match kind {
        AlgorithmKind::Kex => "KexAlgorithms",
        AlgorithmKind::Key => "HostKeyAlgorithms",
        AlgorithmKind::Cipher => "Ciphers",
        AlgorithmKind::Mac => "MACs",
        AlgorithmKind::Compression => return "set `Compression no` in sshd_config there".to_owned(),
    };
    // The first one that the server's own list would be lengthened by.
    let wanted = ours.iter().find(|name| !is_remark(name)).map_or("", String::as_str);
    let wanted = if matches!(kind, AlgorithmKind::Kex) { "curve25519-sha256" } else { wanted };
    let all: Vec<_> = theirs.iter().filter(|name| !is_remark(name)).map(String::as_str).chain([wanted]).collect();
    format!("in sshd_config there let the line be `{key} {}`, and reload sshd", all.join(","))
}
