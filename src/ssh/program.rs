//! The programs that may be put on hosts: this one, on machines like this one, and those that the settings name. Each is
//! known by its SHA-256: a host runs exactly what this controller speaks to, or is given it. Reading tens of megabytes takes
//! longer than a look at a host: a file that looks as it did when it was read is not read again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::disk::stamp::{Stamp, tick};
use crate::host::release::contents;
use crate::link::settings::Settings;
use crate::model::ids::Digest;

/// This program, whatever has become of its file since it was started.
const OWN: &str = "/proc/self/exe";
/// So many are remembered: those of the versions that are in use beside each other.
const REMEMBERED: usize = 16;

/// The agent's program for one kind of machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub path: PathBuf,
    pub digest: Digest,
    pub size: u64,
}

/// By what `uname -m` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs(pub BTreeMap<String, Program>);

impl Programs {
    /// Reads and hashes them all, where that was not done before.
    ///
    /// # Errors
    /// One that is configured cannot be read: its path, and why.
    pub fn read(settings: &Settings) -> Result<Programs, String> {
        let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
        let mut paths = BTreeMap::from([(machine, PathBuf::from(OWN))]);
        paths.extend(settings.agents.clone());
        let mut memory = Memory::open(settings.memory.as_deref());
        let mut all = BTreeMap::new();
        for (machine, path) in paths {
            let (digest, size) = memory
                .digest(&path)
                .map_err(|error| format!("cannot read the agent for {machine}, {}: {error}", path.display()))?;
            all.insert(machine, Program { path, digest, size });
        }
        memory.keep();
        Ok(Programs(all))
    }
}

/// The digests of programs that were read before. A cache: without it they are read.
struct Memory {
    path: Option<PathBuf>,
    /// The latest last.
    seen: Vec<Seen>,
    changed: bool,
}

/// One file as it looked when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    device: u64,
    size: u64,
    #[serde(flatten)]
    stamp: Stamp,
    sha256: Digest,
}

impl Memory {
    fn open(path: Option<&Path>) -> Memory {
        let read = path.and_then(|path| fs::read(path).ok());
        let seen = read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Memory { path: path.map(Path::to_owned), seen, changed: false }
    }

    fn digest(&mut self, path: &Path) -> io::Result<(Digest, u64)> {
        let taken = tick();
        let file = File::open(path)?;
        let meta = file.metadata()?;
        let (device, size, stamp) = (meta.dev(), meta.len(), Stamp::of(&meta));
        let known = |seen: &&Seen| (seen.device, seen.size, seen.stamp) == (device, size, stamp);
        if let Some(seen) = self.seen.iter().find(known) {
            return Ok((seen.sha256, size));
        }
        let (sha256, size) = contents::digest(file)?;
        // A file that was written within the last tick of the clock could still change and look the same.
        if !stamp.is_racy(taken) && size == meta.len() {
            self.seen.push(Seen { device, size, stamp, sha256 });
            self.changed = true;
        }
        Ok((sha256, size))
    }

    /// What cannot be kept is read again next time.
    fn keep(mut self) {
        let Some((path, dir)) = self.path.as_deref().and_then(|path| Some((path, path.parent()?))) else { return };
        if !self.changed {
            return;
        }
        self.seen.drain(..self.seen.len().saturating_sub(REMEMBERED));
        let write = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(dir)?;
            file.write_all(&serde_json::to_vec(&self.seen)?)?;
            file.persist(path)?;
            Ok(())
        };
        if let Err(error) = write() {
            tracing::debug!(path = %path.display(), %error, "the digests of agents are not remembered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_read_once_and_again_when_it_looks_different() {
        let temp = tempfile::tempdir().unwrap();
        let (path, program) = (temp.path().join("programs.json"), temp.path().join("soll"));
        fs::write(&program, "one").unwrap();
        let read = |path: &Path| {
            let mut memory = Memory::open(Some(path));
            let read = memory.digest(&program).unwrap();
            let changed = memory.changed;
            memory.keep();
            (read, changed)
        };
        let one = (Digest::of(b"one"), 3);
        // Written just now it may be too young to be remembered, and its `ctime` cannot be set back.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while read(&path) != (one, true) {
            assert!(std::time::Instant::now() < deadline, "it is never remembered");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        assert_eq!(read(&path), (one, false), "remembered, it is not read");
        // What is remembered is what is believed: so it was not read indeed.
        let mut forged: Vec<Seen> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        forged[0].sha256 = Digest::of(b"forged");
        fs::write(&path, serde_json::to_vec(&forged).unwrap()).unwrap();
        assert_eq!(read(&path).0, (Digest::of(b"forged"), 3));
        fs::write(&program, "two").unwrap();
        assert_eq!(read(&path).0, (Digest::of(b"two"), 3), "same size, another time");
        fs::write(&path, "rubbish").unwrap();
        assert_eq!(read(&path).0, (Digest::of(b"two"), 3));
    }
}
