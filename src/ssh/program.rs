//! The programs that may be put on hosts: this one, on machines like this one, and those that the settings name. Each is
//! known by its SHA-256: a host runs exactly what this controller speaks to, or is given it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::settings::Settings;
use crate::model::ids::Digest;

/// This program, whatever has become of its file since it was started.
const OWN: &str = "/proc/self/exe";

/// One program.
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
    /// Reads and hashes them all.
    ///
    /// # Errors
    /// One that is configured cannot be read: its path, and why.
    pub fn read(settings: &Settings) -> Result<Programs, String> {
        let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
        let mut paths = BTreeMap::from([(machine, PathBuf::from(OWN))]);
        paths.extend(settings.agents.clone());
        let mut all = BTreeMap::new();
        for (machine, path) in paths {
            let program = hash(path.clone())
                .map_err(|error| format!("cannot read the agent for {machine}, {}: {error}", path.display()))?;
            all.insert(machine, program);
        }
        Ok(Programs(all))
    }
}

fn hash(path: PathBuf) -> io::Result<Program> {
    let mut file = File::open(&path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 256 * 1024];
    let mut size = 0;
    loop {
        let n = file.read(&mut piece)?;
        if n == 0 {
            break;
        }
        hash.update(&piece[..n]);
        size += n as u64;
    }
    Ok(Program { path, digest: Digest::from_bytes(hash.finalize().into()), size })
}
