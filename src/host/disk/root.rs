//! One opened ROOT and its `.soll/`: where everything lies, and the record, read and written whole. Knows no operation.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::fault::fault;
use crate::host::disk::beneath::{Dir, at};
use crate::host::disk::leftovers;
use crate::host::disk::memory::Memory;
use crate::host::disk::reserve;
use crate::host::disk::room;
use crate::host::disk::trust;
use crate::host::wire::HostError;
use crate::model::format::{PROGRAM, Unreadable};
use crate::model::ids::ReleaseName;
use crate::model::record::{FORM, FORMAT, Leased, Record, Refusal, unknown};

/// A root directory. Opening makes nothing; [`Root::prepare`] does.
#[derive(Debug, Clone)]
pub struct Root {
    path: PathBuf,
    pub(super) memory: Arc<Mutex<Memory>>,
}

impl Root {
    /// Checks the path: absolute, without `..`, not `/` itself.
    pub fn at(path: &str) -> Result<Root, HostError> {
        let plain = Path::new(path).components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if !path.starts_with('/') || !plain || Path::new(path).parent().is_none() || path.contains('\0') {
            let text =
                format!("`{path}` cannot be a root: an absolute path without `..` is needed, and not `/` itself");
            return Err(HostError::Precondition(text));
        }
        Ok(Root { path: Path::new(path).components().collect(), memory: Arc::default() })
    }

    /// ROOT.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `ROOT/current`.
    pub fn current(&self) -> PathBuf {
        self.path.join("current")
    }

    /// `ROOT/releases`.
    pub fn releases(&self) -> PathBuf {
        self.path.join("releases")
    }

    /// `ROOT/releases/NAME`.
    pub fn release(&self, name: &ReleaseName) -> PathBuf {
        self.releases().join(name.as_str())
    }

    /// `ROOT/shared`.
    pub fn shared(&self) -> PathBuf {
        self.path.join("shared")
    }

    /// A path in `ROOT/.soll`.
    pub fn own(&self, name: &str) -> PathBuf {
        self.path.join(".soll").join(name)
    }

    /// Whether `soll` has ever acted here.
    pub fn is_managed(&self) -> bool {
        fs::symlink_metadata(self.own("")).is_ok_and(|meta| meta.is_dir())
    }

    /// Makes the layout where it is missing: ROOT, `releases/` and `shared/` with 755, `.soll/` with 700, whatever the
    /// umask.
    ///
    /// # Errors
    /// [`HostError::Exposed`]: what is there already could be changed by another user.
    pub fn prepare(&self) -> Result<(), HostError> {
        let missing: Vec<&Path> = self.path.ancestors().take_while(|path| !path.exists()).collect();
        for path in missing.iter().rev() {
            if let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str)) {
                Dir::open(parent)?.make_missing(name, 0o755)?;
            }
        }
        let ground = trust::ground(&self.path)?.ok_or_else(|| self.gone())?;
        for name in ["releases", "shared"] {
            ground.make_missing(name, 0o755)?;
        }
        ground.make_missing(trust::OWN, 0o700)?;
        let soll = trust::own(&ground)?.ok_or_else(|| self.gone())?;
        for name in ["manifests", "incoming", "staging", "trash"] {
            soll.make_missing(name, 0o700)?;
            trust::directory(&soll, name, &self.path)?;
        }
        Ok(())
    }

    fn gone(&self) -> HostError {
        HostError::Io(format!("{} was moved away while it was looked at: run it again", self.path.display()))
    }

    /// ROOT, opened and found to be the agent's alone; `None`: there is nothing yet.
    ///
    /// # Errors
    /// [`HostError::Exposed`]: another user could put other releases or another record there.
    pub fn ground(&self) -> Result<Option<Dir>, HostError> {
        trust::ground(&self.path)
    }

    /// A directory of `.soll/`, or that itself (the empty name), opened and found to be the agent's alone; `None`: it is
    /// not there.
    ///
    /// # Errors
    /// Those of [`Root::ground`].
    pub fn own_dir_if(&self, name: &str) -> Result<Option<Dir>, HostError> {
        let Some(ground) = self.ground()? else { return Ok(None) };
        let Some(mut dir) = trust::own(&ground)? else { return Ok(None) };
        for part in name.split('/').filter(|part| !part.is_empty()) {
            let Some(inner) = trust::directory(&dir, part, &self.path)? else { return Ok(None) };
            dir = inner;
        }
        Ok(Some(dir))
    }

    /// The same where it has to be there.
    ///
    /// # Errors
    /// Those of [`Root::ground`]; there is none.
    pub fn own_dir(&self, name: &str) -> Result<Dir, HostError> {
        let missing = || at("open the directory", &self.own(name))(io::Error::from(io::ErrorKind::NotFound));
        self.own_dir_if(name)?.ok_or_else(missing)
    }

    /// A file of `.soll/`, opened and found to be the agent's alone; `None`: it is not there.
    ///
    /// # Errors
    /// Those of [`Root::ground`]; the operating system said no.
    pub fn own_file(&self, name: &str, flags: OFlags) -> Result<Option<File>, HostError> {
        let (dir, name) = name.rsplit_once('/').unwrap_or(("", name));
        let Some(dir) = self.own_dir_if(dir)? else { return Ok(None) };
        trust::file(&dir, name, flags, &self.path)
    }

    /// What a file of `.soll/` holds; `None`: it is not there.
    ///
    /// # Errors
    /// Those of [`Root::own_file`].
    pub fn read_own(&self, name: &str) -> Result<Option<Vec<u8>>, HostError> {
        let Some(mut file) = self.own_file(name, OFlags::RDONLY)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(at("read", &self.own(name)))?;
        Ok(Some(bytes))
    }

    /// Removes what has a name in `.soll/`, and all that is below it; nothing there is fine.
    ///
    /// # Errors
    /// Those of [`Root::own_file`].
    pub fn remove_own(&self, name: &str) -> Result<(), HostError> {
        let (dir, name) = name.rsplit_once('/').unwrap_or(("", name));
        self.own_dir_if(dir)?.map_or(Ok(()), |dir| dir.remove(name))
    }

    /// The record; an empty one where `soll` has never acted.
    ///
    /// # Errors
    /// A newer format is refused; a record that cannot be understood is an error and stays as it is.
    pub fn record(&self) -> Result<Record, HostError> {
        Ok(self.written_record()?.map(|(record, _)| record).unwrap_or_default())
    }

    /// The record with the bytes that say it; `None` where `soll` has never acted.
    fn written_record(&self) -> Result<Option<(Record, Vec<u8>)>, HostError> {
        let path = self.own("record.json");
        let Some(bytes) = self.read_own("record.json")? else { return Ok(None) };
        match FORM.read(&bytes) {
            Ok(record) => Ok(Some((record, bytes))),
            Err(Unreadable::Newer { found, by, .. }) => {
                let by = by.unwrap_or_else(|| "the one that wrote it".to_owned());
                Err(Refusal::NewerFormat { format: found, by }.into())
            }
            Err(Unreadable::Damaged(error)) => Err(corrupt(&path, &error)),
        }
    }

    /// One transition of the record: read, changed and written under a short lock of its own, so that a health sample
    /// or a wish to cancel never loses what a run writes. Nothing is written where nothing changed or it was refused.
    pub fn update<T>(&self, change: impl FnOnce(&mut Record) -> Result<T, HostError>) -> Result<T, HostError> {
        let _turn = self.turn()?;
        let (before, bytes) = self.written_record()?.unwrap_or_default();
        let mut record = before.clone();
        let value = change(&mut record)?;
        if record != before {
            record.format = FORMAT;
            let raw = match &*bytes {
                [] => serde_json::Value::Null,
                text => serde_json::from_slice(text).map_err(|error| corrupt(&self.own("record.json"), &error))?,
            };
            let mut whole =
                unknown::keep(&raw, &before, &record).map_err(|error| corrupt(&self.own("record.json"), &error))?;
            whole["by"] = PROGRAM.into();
            self.write_record(&json(&whole)?)?;
        }
        Ok(value)
    }

    /// The short lock around the record and around the test of who holds the root.
    pub fn turn(&self) -> Result<Turn, HostError> {
        let path = self.own("turn");
        let failed = |error: io::Error| at("lock", &path)(error);
        let dir = self.own_dir("")?;
        let open = |flags| trust::file(&dir, "turn", flags, &self.path);
        let file = match open(OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND) {
            // Looking must work where nothing can be written; a lock does not need to be.
            Err(error) => open(OFlags::RDONLY).ok().flatten().ok_or(error)?,
            Ok(file) => file.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?,
        };
        loop {
            match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => continue,
                done => return done.map(|()| Turn(file)).map_err(|error| failed(error.into())),
            }
        }
    }

    /// Writes a file of `.soll/` so that it is either the old one or the new one, whatever happens (law 5).
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), HostError> {
        self.write_by(name, |file| file.write_all(bytes))
    }

    /// The same for what is long: it is written piece by piece.
    pub fn write_by(&self, name: &str, say: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), HostError> {
        let (dir, file_name) = name.rsplit_once('/').unwrap_or(("", name));
        replace(&self.own_dir(dir)?, file_name, say).map_err(at("write", &self.own(name)))
    }

    /// Writes the record. Where the disk is full this takes room that is kept for it: a host that cannot write its record
    /// cannot go back either.
    fn write_record(&self, bytes: &[u8]) -> Result<(), HostError> {
        let dir = self.own_dir("")?;
        let write = || replace(&dir, RECORD, |file| file.write_all(bytes));
        let mut written = write();
        if written.as_ref().is_err_and(room::is_no_room) {
            written = reserve::write(self, RECORD, bytes);
        }
        if written.as_ref().is_err_and(room::is_no_room) {
            written = write();
        }
        written.map_err(at("write", &self.own(RECORD)))
    }

    /// Notes when a controller was last heard, for whoever asks after this process is gone (law 6).
    pub fn note_heard(&self, ago: Duration) -> Result<(), HostError> {
        let path = self.own("heard");
        let when = SystemTime::now().checked_sub(ago).unwrap_or_else(SystemTime::now);
        let file = self.own_file("heard", OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND)?;
        let file = file.ok_or_else(|| at("write", &path)(io::Error::from(io::ErrorKind::NotFound)))?;
        file.set_modified(when).map_err(at("write", &path))
    }

    /// Whether a lease has run out by what is noted here.
    pub fn lease_over(&self, leased: &Leased) -> bool {
        let armed = SystemTime::from(leased.since);
        let noted = self.own_file("heard", OFlags::RDONLY).ok().flatten();
        let heard = noted.and_then(|file| file.metadata().ok()?.modified().ok()).unwrap_or(armed).max(armed);
        // A clock that was set back says nothing: then the lease is counted from now on by whoever watches.
        SystemTime::now().duration_since(heard).is_ok_and(|silent| silent > leased.lease)
    }

    /// The directories in `releases/` with a name that can be one, sorted.
    pub fn present(&self) -> Result<Vec<ReleaseName>, HostError> {
        let dir = self.releases();
        let mut names = Vec::new();
        for entry in list(&dir)? {
            if entry.file_type().is_ok_and(|kind| kind.is_dir())
                && let Ok(name) = entry.file_name().to_string_lossy().parse()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Clears what a killed process left: half-built trees, half-received blobs, temporary files, and entries of
    /// releases that are not there. Only for the holder of the root. What another user wrote into an old release may stay
    /// (`leftovers`).
    pub fn tidy(&self) -> Result<(), HostError> {
        leftovers::clear(self)?;
        let left = |name: &str| name.starts_with('.') && name.contains(".tmp-");
        for dir in ["incoming", "", "manifests"] {
            let dir = self.own_dir(dir)?;
            for name in dir.names()?.iter().filter(|name| left(name)) {
                dir.remove(name)?;
            }
        }
        let ground = self.ground()?.ok_or_else(|| self.gone())?;
        for name in ground.names()?.iter().filter(|name| name.starts_with(".current.tmp-")) {
            ground.remove(name)?;
        }
        let present = self.present()?;
        let gone = self.update(|record| {
            let kept = |name: &ReleaseName| {
                present.contains(name)
                    || record.confirmed.as_ref().is_some_and(|c| c.release == *name)
                    || record.probation.as_ref().is_some_and(|p| p.release == *name)
            };
            let gone: Vec<_> = record.releases.keys().filter(|name| !kept(name)).cloned().collect();
            record.releases.retain(|name, _| !gone.contains(name));
            Ok(gone)
        })?;
        for name in gone {
            for kind in ["json", "stamps"] {
                let _ = self.remove_own(&format!("manifests/{name}.{kind}"));
            }
        }
        Ok(())
    }
}

/// Where the record lies, below `.soll/`.
const RECORD: &str = "record.json";

/// Writes a file in this directory beside the old one, and then in its place.
fn replace(dir: &Dir, name: &str, say: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let unique = COUNT.fetch_add(1, Ordering::Relaxed);
    let temp = format!(".{name}.tmp-{}-{unique}", std::process::id());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let written = (|| {
        let mut file = dir.try_file(&temp, flags, Mode::RUSR | Mode::WUSR)?;
        say(&mut file).and_then(|()| file.sync_all())?;
        if name == RECORD {
            fault!("host.record.before-rename");
        }
        dir.try_rename(&temp, name)?;
        io::Result::Ok(dir.try_sync()?)
    })();
    written.inspect_err(|_| {
        let _ = dir.unlink(&temp);
    })
}

fn corrupt(path: &Path, error: &serde_json::Error) -> HostError {
    HostError::Io(format!(
        "{} cannot be understood ({error}). It is left as it is: restore it from a backup, or move it away and run \
         `soll adopt`, which takes the present `current` as the confirmed release",
        path.display()
    ))
}

/// Holds the short lock; dropping it gives it back, also where a child was just forked with a copy of it.
pub struct Turn(File);

impl Drop for Turn {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// Removes whatever is at a path, never following a link; nothing there is fine.
pub fn remove(path: &Path) -> Result<(), HostError> {
    let gone = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match gone {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The entries of a directory; none where there is no directory.
pub fn list(dir: &Path) -> Result<Vec<fs::DirEntry>, HostError> {
    match fs::read_dir(dir).and_then(Iterator::collect) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(at("list", dir)),
    }
}

/// A value of ours on one line, piece by piece: thousands of files are written and read with every deployment.
///
/// # Errors
/// It cannot be written.
pub fn write_json<T: serde::Serialize>(file: &mut File, value: &T) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(256 << 10, file);
    serde_json::to_writer(&mut out, value)?;
    out.flush()
}

/// A value of ours as JSON.
pub fn json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, HostError> {
    serde_json::to_vec_pretty(value).map_err(|error| HostError::Io(format!("cannot write a record as JSON: {error}")))
}

/// The wall clock of this host.
pub fn now() -> Timestamp {
    Timestamp::now()
}
