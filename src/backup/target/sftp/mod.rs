//! A directory behind an SSH server that speaks SFTP: a NAS, a storage box. Host keys, keys and the way there are those of
//! [`crate::link`]; nothing is asked of the server beside SFTP (`internal-sftp`, a chroot, no shell).
//!
//! A file is a `.part`, created anew, until it is whole: written with many requests under way, made durable where the
//! server knows how, its size compared, and then renamed, which by SFTP never replaces a file. Where the connection breaks
//! before that, what is there is no backup. Paths are absolute: what a shell shows as `/volume1/backup` may be `/backup`
//! to SFTP (Synology), so a directory that is not there is told with those that are.

mod read;
mod session;
mod told;
mod write;

use std::sync::Arc;

use self::session::Session;
use super::Found;
use super::remote::{RemotePut, RemoteRead, Work};
use crate::backup::BackupError;
use crate::link::endpoint::Endpoint;
use crate::link::settings::Settings;
use crate::model::backup::name::UNFINISHED;
use crate::model::desired::backup::SftpPlace;

/// Requests that are under way at once: at 20 ms of distance 64 are four times as fast as 16.
const UNDER_WAY: usize = 64;

/// A directory on a server.
#[derive(Clone)]
pub struct Sftp {
    session: Arc<Session>,
    work: Arc<Work>,
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
