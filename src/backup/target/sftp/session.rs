//! What is asked of a server that speaks SFTP, beside the contents of files.

use russh_sftp::client::error::Error;
use russh_sftp::client::rawsession::Limits;
use russh_sftp::client::{Config, RawSftpSession};
use russh_sftp::protocol::{FileAttributes, StatusCode};
use tokio_util::sync::CancellationToken;

use super::super::{Found, NO_RIGHT};
use super::told::Told;
use crate::backup::{BackupError, room};
use crate::link::connection::Slot;
use crate::link::endpoint::Endpoint;
use crate::link::error::{Phase, SshError};
use crate::link::settings::Settings;
use crate::link::way::travel;
use crate::model::backup::name::TRASH;

/// A piece, where the server takes so much: with all requests under way, 8 MiB.
const PIECE: u64 = 128 << 10;
/// What every server takes.
const SURE: u64 = 32 << 10;
/// A request is given up after so long: whether the server lives is asked by SSH, every few seconds, and what waits behind
/// 8 MiB on a slow line has only to wait.
const REQUEST: u64 = 900;
/// So long a server that was reached may take to greet.
const GREETING: std::time::Duration = std::time::Duration::from_secs(30);
/// A directory may have so many entries.
const ENTRIES: usize = 200_000;

/// What was opened on a server.
pub(super) struct Session {
    /// `backup@nas.example.com:22`, for messages.
    pub(super) place: String,
    /// Absolute, without a `/` at its end.
    pub(super) base: String,
    pub(super) raw: RawSftpSession,
    pub(super) piece: u64,
    pub(super) makes_durable: bool,
    knows_room: bool,
    /// Nothing comes from the server any more: what is asked from then on is never answered.
    broken: CancellationToken,
    /// The connection lives as long as its session counts.
    _slot: Slot,
}

impl Session {
    pub(super) async fn open(settings: &Settings, endpoint: &Endpoint, base: &str) -> Result<Session, BackupError> {
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
    pub(super) async fn answered<T>(
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
    pub(super) fn path(&self, dir: &str, name: &str) -> String {
        let parts = [self.base.as_str(), dir, name].into_iter().enumerate();
        let parts: Vec<_> = parts.filter(|(at, part)| *at == 0 || !part.is_empty()).map(|(_, part)| part).collect();
        parts.join("/")
    }

    pub(super) fn say(&self, path: &str, what: &str) -> BackupError {
        BackupError(format!("{}: {path} {what}", self.place))
    }

    /// `nas: cannot write /backup/daily/x: …`
    pub(super) fn failed(&self, doing: &str, path: &str, error: &Error) -> BackupError {
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
    pub(super) async fn look(&self) -> Result<(), BackupError> {
        let base = if self.base.is_empty() { "/" } else { &self.base };
        match self.raw.stat(base).await {
            Ok(found) if found.attrs.file_type().is_dir() => Ok(()),
            Ok(_) => Err(self.say(base, "is no directory: name one for the backups")),
            Err(error) if is(&error, StatusCode::NoSuchFile) => Err(self.missing(base).await),
            Err(error) => Err(self.failed("look at", base, &error)),
        }
    }

    /// The base is not there: what is, as far as the server shows it.
    pub(super) async fn missing(&self, base: &str) -> BackupError {
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
    pub(super) async fn make(&self, dir: &str) -> Result<(), BackupError> {
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
    pub(super) async fn size(&self, path: &str) -> Result<Option<u64>, BackupError> {
        match self.raw.lstat(path).await {
            Ok(found) => Ok(Some(found.attrs.size.unwrap_or(0))),
            Err(error) if is(&error, StatusCode::NoSuchFile) => Ok(None),
            Err(error) => Err(self.failed("look at", path, &error)),
        }
    }

    pub(super) async fn list(&self, dir: &str, wanted: fn(&str) -> bool) -> Result<Vec<Found>, BackupError> {
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

    pub(super) async fn remove(&self, dir: &str, name: &str) -> Result<(), BackupError> {
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

    pub(super) async fn room(&self) -> Result<Option<u64>, BackupError> {
        if !self.knows_room {
            return Ok(None);
        }
        let base = if self.base.is_empty() { "/" } else { &self.base };
        match self.raw.statvfs(base).await {
            Ok(there) => {
                let unit = if there.fragment_size == 0 { there.block_size } else { there.fragment_size };
                Ok(room::said(there.blocks, there.blocks_avail, unit))
            }
            Err(error) if is(&error, StatusCode::OpUnsupported) || is(&error, StatusCode::PermissionDenied) => Ok(None),
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

pub(super) fn is(error: &Error, code: StatusCode) -> bool {
    matches!(error, Error::Status(status) if status.status_code == code)
}
