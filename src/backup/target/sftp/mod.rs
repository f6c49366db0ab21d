//! A directory behind an SSH server that speaks SFTP: a NAS, a storage box. Host keys, keys and the way there are those of
//! [`crate::link`]; nothing is asked of the server beside SFTP (`internal-sftp`, a chroot, no shell).
//!
//! A file is a `.part`, created anew, until it is whole: written with many requests under way, made durable where the
//! server knows how, its size compared, and then renamed, which by SFTP never replaces a file. Where the connection breaks
//! before that, what is there is no backup. Paths are absolute: what a shell shows as `/volume1/backup` may be `/backup`
//! to SFTP (Synology), so a directory that is not there is told with those that are.

mod read;
mod told;
mod write;

use std::sync::Arc;

use russh_sftp::client::error::Error;
use russh_sftp::client::rawsession::Limits;
use russh_sftp::client::{Config, RawSftpSession};
use russh_sftp::protocol::{FileAttributes, StatusCode};
use tokio_util::sync::CancellationToken;

use self::told::Told;
use super::remote::{RemotePut, RemoteRead, Work};
use super::{Found, NO_RIGHT};
use crate::backup::BackupError;
use crate::link::connection::Slot;
use crate::link::endpoint::Endpoint;
use crate::link::error::{Phase, SshError};
use crate::link::settings::Settings;
use crate::link::way::travel;
use crate::model::backup::name::{TRASH, UNFINISHED};
use crate::model::desired::backup::SftpPlace;

/// Requests that are under way at once: at 20 ms of distance 64 are four times as fast as 16.
const UNDER_WAY: usize = 64;
/// A piece, where the server takes so much: with all requests under way, 8 MiB.
const PIECE: u64 = 128 << 10;
/// What every server takes.
const SURE: u64 = 32 << 10;
/// A request is given up after so long: whether the server lives is asked by SSH, every few seconds, and what waits behind
/// 8 MiB on a slow line has only to wait.
const REQUEST: u64 = 900;
/// A directory may have so many entries.
const ENTRIES: usize = 200_000;

/// A directory on a server.
#[derive(Clone)]
pub struct Sftp {
    session: Arc<Session>,
    work: Arc<Work>,
}

struct Session {
    /// `backup@nas.example.com:22`, for messages.
    place: String,
    /// Absolute, without a `/` at its end.
    base: String,
    raw: RawSftpSession,
    piece: u64,
    makes_durable: bool,
    knows_room: bool,
    /// Nothing comes from the server any more: what is asked from then on is never answered.
    broken: CancellationToken,
    /// The connection lives as long as its session counts.
    _slot: Slot,
}

impl std::fmt::Debug for Sftp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sftp({}:{})", self.session.place, self.session.base)
    }
}

impl Sftp {
    /// The directory that the state file means, for the user as whom this program runs: with that user's keys of SSH.
    ///
    /// # Errors
    /// As [`Sftp::open`].
    pub fn of(place: &SftpPlace) -> Result<Sftp, BackupError> {
        let pinned = place.host_key.iter().map(|key| key.parse()).collect::<Result<Vec<_>, _>>();
        let pinned = pinned.map_err(|error| BackupError(format!("the host key of {} is none: {error}", place.host)))?;
        let SftpPlace { user, host, port, path, .. } = place.clone();
        let endpoint = Endpoint { address: host, user, port, agent_dir: None };
        Sftp::open(&Settings { pinned, ..Settings::default() }, &endpoint, &path)
    }

    /// Connects, and looks whether the directory is there. `base` is absolute.
    ///
    /// # Errors
    /// The server cannot be reached or does not speak SFTP; the directory is not there.
    pub fn open(settings: &Settings, endpoint: &Endpoint, base: &str) -> Result<Sftp, BackupError> {
        let work = Work::new()?;
        let session = work.wait(async {
            let session = Session::open(settings, endpoint, base).await?;
            session.look().await?;
            Ok::<_, BackupError>(session)
        })?;
        Ok(Sftp { session: Arc::new(session), work })
    }

    /// See [`super::Target::put`].
    pub fn put(&self, dir: &str, name: &str) -> Result<RemotePut, BackupError> {
        let whole = self.session.path(dir, name);
        let part = format!("{whole}{UNFINISHED}");
        let session = &self.session;
        let begin = async {
            session.make(dir).await?;
            if session.size(&whole).await?.is_some() {
                return Err(session.say(&whole, "is there already, and no backup is overwritten"));
            }
            session.create(&part).await
        };
        let handle = self.work.wait(session.answered("write", &part, begin))?;
        let size = usize::try_from(session.piece).unwrap_or(usize::MAX);
        let session = session.clone();
        Ok(RemotePut::begin(&self.work, size, |pieces| async move {
            let written = session.answered("write", &part, session.write(&handle, &part, &whole, pieces)).await;
            if written.is_err() {
                // What stays where even this fails is a `.part`, which never counts.
                let taken_back = async {
                    let _ = session.raw.close(handle).await;
                    let _ = session.raw.remove(part.as_str()).await;
                    Ok(())
                };
                let _ = session.answered("remove", &part, taken_back).await;
            }
            written
        }))
    }

    /// See [`super::Target::list`].
    pub fn list(&self, dir: &str) -> Result<Vec<Found>, BackupError> {
        self.files(dir, |name| !name.ends_with(UNFINISHED))
    }

    /// See [`super::Target::unfinished`].
    pub fn unfinished(&self, dir: &str) -> Result<Vec<Found>, BackupError> {
        self.files(dir, |name| name.ends_with(UNFINISHED))
    }

    fn files(&self, dir: &str, wanted: fn(&str) -> bool) -> Result<Vec<Found>, BackupError> {
        self.work.wait(self.session.answered("list", &self.session.path(dir, ""), self.session.list(dir, wanted)))
    }

    /// See [`super::Target::read`].
    pub fn read(&self, dir: &str, name: &str) -> Result<RemoteRead, BackupError> {
        let path = self.session.path(dir, name);
        let opened = self.session.answered("read", &path, self.session.open_file(&path));
        let (handle, bytes) = self.work.wait(opened)?;
        let session = self.session.clone();
        Ok(RemoteRead::begin(&self.work, |into| async move {
            let sent = session.answered("read", &path, session.send(&handle, &path, bytes, &into)).await;
            if let Err(error) = sent {
                let _ = into.send(Err(error)).await;
            }
            let closed = async {
                let _ = session.raw.close(handle).await;
                Ok(())
            };
            let _ = session.answered("close", &path, closed).await;
        }))
    }

    /// See [`super::Target::remove`].
    pub fn remove(&self, dir: &str, name: &str) -> Result<(), BackupError> {
        let removed = self.session.remove(dir, name);
        self.work.wait(self.session.answered("remove", &self.session.path(dir, name), removed))
    }

    /// See [`super::Target::room`].
    pub fn room(&self) -> Result<Option<u64>, BackupError> {
        self.work.wait(self.session.answered("ask for the room of", &self.session.base, self.session.room()))
    }
}

impl Session {
    async fn open(settings: &Settings, endpoint: &Endpoint, base: &str) -> Result<Session, BackupError> {
        let connection = travel(settings, endpoint).await.map_err(unreached)?;
        let place = connection.place.to_string();
        let Some((stream, slot)) = connection.subsystem("sftp").await.map_err(unreached)? else {
            return Err(BackupError(format!("{place}: the server opens no session")));
        };
        let config = Config { request_timeout_secs: REQUEST, max_packet_len: 1 << 20, ..Config::default() };
        let broken = CancellationToken::new();
        let mut raw = RawSftpSession::new_with_config(Told { stream, ended: broken.clone() }, config);
        let unspoken = |error: Error| BackupError(format!("{place}: the server does not speak SFTP: {error}"));
        // A server that greets with something else is not waited for as long as a slow one.
        let greeted = tokio::time::timeout(GREETING, raw.init()).await;
        let version = greeted.map_err(|_| unspoken(Error::Timeout))?.map_err(unspoken)?;
        let knows = |name: &str| version.extensions.contains_key(name);
        let mut piece = SURE;
        if knows("limits@openssh.com") {
            let limits = Limits::from(raw.limits().await.map_err(unspoken)?);
            let most = |limit: Option<u64>| limit.unwrap_or(SURE);
            piece = PIECE.min(most(limits.read_len)).min(most(limits.write_len)).max(1);
            raw.set_limits(limits);
        }
        let base = base.trim_end_matches('/').to_owned();
        let (makes_durable, knows_room) = (knows("fsync@openssh.com"), knows("statvfs@openssh.com"));
        Ok(Session { place, base, raw, piece, makes_durable, knows_room, broken, _slot: slot })
    }

    /// What the server answers, or that it answers no more: a request that is made after its end waits for its whole limit.
    async fn answered<T>(
        &self,
        doing: &str,
        path: &str,
        asked: impl Future<Output = Result<T, BackupError>>,
    ) -> Result<T, BackupError> {
        tokio::select! {
            biased;
            answer = asked => answer,
            () = self.broken.cancelled() => {
                Err(self.failed(doing, path, &Error::UnexpectedBehavior("it ended".to_owned())))
            }
        }
    }

    /// The path of a file in a directory of the base, or of the base itself where that is empty.
    fn path(&self, dir: &str, name: &str) -> String {
        let parts = [self.base.as_str(), dir, name].into_iter().enumerate();
        let parts: Vec<_> = parts.filter(|(at, part)| *at == 0 || !part.is_empty()).map(|(_, part)| part).collect();
        parts.join("/")
    }

    fn say(&self, path: &str, what: &str) -> BackupError {
        BackupError(format!("{}: {path} {what}", self.place))
    }

    /// `nas: cannot write /backup/daily/x: …`
    fn failed(&self, doing: &str, path: &str, error: &Error) -> BackupError {
        let why = match error {
            Error::Status(status) => match status.status_code {
                StatusCode::NoSuchFile => "it is not there".to_owned(),
                StatusCode::PermissionDenied => "the account may not (permission denied)".to_owned(),
                StatusCode::OpUnsupported => "the server does not know how".to_owned(),
                StatusCode::Failure => "the server says no more than `failure`".to_owned(),
                code => format!("{code}: {}", status.error_message.escape_debug()),
            },
            Error::Timeout => format!("no answer within {REQUEST} s"),
            Error::IO(_) | Error::UnexpectedBehavior(_) => "the connection broke".to_owned(),
            error => error.to_string(),
        };
        BackupError(format!("{}: cannot {doing} {path}: {why}", self.place))
    }

    /// Whether the base is a directory.
    async fn look(&self) -> Result<(), BackupError> {
        let base = if self.base.is_empty() { "/" } else { &self.base };
        match self.raw.stat(base).await {
            Ok(found) if found.attrs.file_type().is_dir() => Ok(()),
            Ok(_) => Err(self.say(base, "is no directory: name one for the backups")),
            Err(error) if is(&error, StatusCode::NoSuchFile) => Err(self.missing(base).await),
            Err(error) => Err(self.failed("look at", base, &error)),
        }
    }

    /// The base is not there: what is, as far as the server shows it.
    async fn missing(&self, base: &str) -> BackupError {
        let mut above = base;
        while let Some((parent, _)) = above.rsplit_once('/') {
            above = parent;
            let there = if above.is_empty() { "/" } else { above };
            let Ok(names) = self.entries(there).await else { continue };
            let mut names: Vec<_> = names.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name).collect();
            names.sort();
            let more = if names.len() > 10 { ", …" } else { "" };
            names.truncate(10);
            let shown =
                if names.is_empty() { "no directory".to_owned() } else { format!("{}{more}", names.join(", ")) };
            return self.say(
                base,
                &format!(
                    "is not there; in {there} the server shows: {shown}. Make the directory, or name it as SFTP calls \
                     it, which need not be the path of a shell"
                ),
            );
        }
        self.say(base, "is not there: make the directory")
    }

    /// Makes a directory of the base, where it is missing.
    async fn make(&self, dir: &str) -> Result<(), BackupError> {
        let path = self.path(dir, "");
        match self.raw.stat(path.as_str()).await {
            Ok(found) if found.attrs.file_type().is_dir() => return Ok(()),
            Ok(_) => return Err(self.say(&path, "is no directory, and backups go there")),
            Err(error) if is(&error, StatusCode::NoSuchFile) => {}
            Err(error) => return Err(self.failed("look at", &path, &error)),
        }
        let attrs = FileAttributes { permissions: Some(0o700), ..FileAttributes::empty() };
        match self.raw.mkdir(path.as_str(), attrs).await {
            Ok(_) => Ok(()),
            Err(error) => match self.raw.stat(path.as_str()).await {
                // Somebody else made it.
                Ok(found) if found.attrs.file_type().is_dir() => Ok(()),
                _ => Err(self.failed("make the directory", &path, &error)),
            },
        }
    }

    /// How large a file is; `None`: it is not there.
    async fn size(&self, path: &str) -> Result<Option<u64>, BackupError> {
        match self.raw.lstat(path).await {
            Ok(found) => Ok(Some(found.attrs.size.unwrap_or(0))),
            Err(error) if is(&error, StatusCode::NoSuchFile) => Ok(None),
            Err(error) => Err(self.failed("look at", path, &error)),
        }
    }

    async fn list(&self, dir: &str, wanted: fn(&str) -> bool) -> Result<Vec<Found>, BackupError> {
        let path = self.path(dir, "");
        if let Err(error) = self.raw.stat(path.as_str()).await
            && is(&error, StatusCode::NoSuchFile)
        {
            return Ok(Vec::new());
        }
        let entries = self.entries(&path).await?;
        let files = entries.into_iter().filter(|entry| entry.is_file && wanted(&entry.name));
        let mut found: Vec<_> = files.map(|entry| Found { name: entry.name, bytes: entry.bytes }).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    async fn entries(&self, path: &str) -> Result<Vec<Entry>, BackupError> {
        let failed = |error: Error| self.failed("list", path, &error);
        let handle = self.raw.opendir(path).await.map_err(failed)?.handle;
        let mut all = Vec::new();
        let ended = loop {
            match self.raw.readdir(handle.as_str()).await {
                Ok(names) => {
                    let entries = names.files.into_iter().filter(|file| !matches!(file.filename.as_str(), "." | ".."));
                    all.extend(entries.map(|file| Entry {
                        is_dir: file.attrs.file_type().is_dir(),
                        is_file: file.attrs.file_type().is_file(),
                        bytes: file.attrs.size.unwrap_or(0),
                        name: file.filename,
                    }));
                    if all.len() > ENTRIES {
                        break Err(self.say(path, &format!("has more than {ENTRIES} entries")));
                    }
                }
                Err(error) if is(&error, StatusCode::Eof) => break Ok(()),
                Err(error) => break Err(failed(error)),
            }
        };
        let _ = self.raw.close(handle).await;
        ended.map(|()| all)
    }

    async fn remove(&self, dir: &str, name: &str) -> Result<(), BackupError> {
        self.make(TRASH).await?;
        let from = self.path(dir, name);
        let to = self.path(TRASH, &format!("{dir}-{name}").replace('/', "-"));
        let refused = |path: &str, error: &Error| match is(error, StatusCode::PermissionDenied) {
            true => self.say(path, &format!("stays: {NO_RIGHT} (permission denied)")),
            false => self.failed("remove", path, error),
        };
        // Of a removal that broke off.
        if self.size(&to).await?.is_some() {
            self.raw.remove(to.as_str()).await.map_err(|error| refused(&to, &error))?;
        }
        self.raw.rename(from.as_str(), to.as_str()).await.map_err(|error| refused(&from, &error))?;
        let Err(error) = self.raw.remove(to.as_str()).await else { return Ok(()) };
        // It counts as before: a manifest alone in the trash would make a good backup one without.
        let back = self.raw.rename(to.as_str(), from.as_str()).await.err();
        let lies = back.map(|back| format!("; it lies in {to} now: {}", self.failed("rename", &to, &back)));
        Err(BackupError(format!("{}{}", refused(&from, &error), lies.unwrap_or_default())))
    }

    async fn room(&self) -> Result<Option<u64>, BackupError> {
        if !self.knows_room {
            return Ok(None);
        }
        let base = if self.base.is_empty() { "/" } else { &self.base };
        match self.raw.statvfs(base).await {
            Ok(there) => {
                let unit = if there.fragment_size == 0 { there.block_size } else { there.fragment_size };
                Ok(Some(there.blocks_avail.saturating_mul(unit)))
            }
            Err(error) if is(&error, StatusCode::OpUnsupported) => Ok(None),
            Err(error) => Err(self.failed("ask for the room of", base, &error)),
        }
    }
}

/// The settings of a controller are not those of the host that logs in here: their names cure nothing.
fn unreached(mut error: SshError) -> BackupError {
    if error.phase == Phase::Login && error.cure.contains("SOLL_SSH_KEY") {
        error.cure = "the host logs in with the keys of its own user: make one (`ssh-keygen -t ed25519`), and add its .pub to \
                      authorized_keys there; one that is not called ~/.ssh/id_… is named by `IdentityFile` in ~/.ssh/config"
            .to_owned();
    }
    BackupError(error.to_string())
}

/// An entry of a directory.
struct Entry {
    name: String,
    bytes: u64,
    is_dir: bool,
    is_file: bool,
}

/// So long a server that was reached may take to greet.
const GREETING: std::time::Duration = std::time::Duration::from_secs(30);

fn is(error: &Error, code: StatusCode) -> bool {
    matches!(error, Error::Status(status) if status.status_code == code)
}
