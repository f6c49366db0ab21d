//! From an archive to a checked tree, in one pass over its bytes. Trusts nothing in it.
//!
//! Paths in the archive only ever become text in a manifest; contents go into one pack file ([`super::pack`]). So a
//! hostile archive can be refused or can waste what the limits allow, and nothing else. The result appears under its
//! name complete, or not at all.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

use crate::model::ids::Digest;

use super::decode::{Format, Pieces, decode};
use super::files::{FileError, at, inside, sync_dir};
use super::intake::{Intake, Stop};
use super::manifest::Manifest;
use super::pack::{PackWriter, Unpacked};
use super::tarball::{Cause, Fault, Members};
use super::tree::{Reason, shown};

/// So many pieces of decoded bytes are ahead of whoever takes them.
const AHEAD: usize = 8;

/// How much an archive may ask for.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of all files together.
    pub total_bytes: u64,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Paths, directories that are only implied included.
    pub entries: usize,
    /// How many bytes one compressed byte may become …
    pub ratio: u64,
    /// … once so many have come out.
    pub ratio_after: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { total_bytes: 20 << 30, file_bytes: 20 << 30, entries: 500_000, ratio: 1000, ratio_after: 64 << 20 }
    }
}

/// Why an archive did not become a tree.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive is at fault; trying again will not help.
    #[error("{place} is refused{}: {}", because(entry.as_deref()), advised(reason))]
    Refused { place: String, entry: Option<String>, reason: Reason },
    /// This machine is at fault.
    #[error(transparent)]
    File(#[from] FileError),
}

impl UnpackError {
    /// The same of the place where the archive came from: people do not know the file that it was fetched into.
    pub fn of(self, from: &str) -> UnpackError {
        match self {
            UnpackError::Refused { entry, reason, .. } => {
                UnpackError::Refused { place: from.to_owned(), entry, reason }
            }
            UnpackError::File(error) => UnpackError::File(error),
        }
    }
}

fn because(entry: Option<&str>) -> String {
    entry.map(|entry| format!(" because of `{entry}`")).unwrap_or_default()
}

/// What is wrong, and what to do: what we would refuse as well is not cured by packing it with us.
fn advised(reason: &Reason) -> String {
    match reason {
        Reason::Packing(text) => format!("{text}; `soll bundle DIR` makes bundles that pass"),
        Reason::Contents(text) => text.clone(),
    }
}

/// Unpacks an archive (tar, tar.gz, tar.zst, told apart by their first bytes) into `dest`, which must not exist yet.
/// Blocks: seconds for a large one.
pub fn unpack(archive: &Path, dest: &Path, limits: &Limits) -> Result<Unpacked, UnpackError> {
    unpack_as(None, &[archive], dest, limits)
}

/// The same of archives that were made on this machine and belong over one another: what comes of them goes by this digest,
/// and not by that of their bytes.
pub(super) fn unpack_as(
    made_as: Option<Digest>,
    archives: &[impl AsRef<Path>],
    dest: &Path,
    limits: &Limits,
) -> Result<Unpacked, UnpackError> {
    if dest.symlink_metadata().is_ok() {
        let exists = io::Error::from(io::ErrorKind::AlreadyExists);
        return Err(at("unpacking into", dest)(exists).into());
    }
    let parent = dest.parent().unwrap_or(Path::new("/"));
    let name = dest.file_name().unwrap_or_default().to_string_lossy();
    let staging = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .tempdir_in(parent)
        .map_err(inside("making a directory in", parent))?;

    let mut pack = PackWriter::create(staging.path())?;
    let (bundle, manifest, notes) = read(archives, &mut pack, limits)?;
    let unpacked = pack.finish(made_as.unwrap_or(bundle), manifest, notes)?;
    // From here on the staging directory is not a temporary one any more.
    let staging = staging.keep();
    std::fs::rename(&staging, dest).map_err(|error| {
        let _ = std::fs::remove_dir_all(&staging);
        at("moving what was unpacked to", dest)(error)
    })?;
    sync_dir(parent)?;
    Ok(unpacked.moved(dest))
}

/// Contents into the pack, everything else into the manifest; the digest is that of the last archive. With what people
/// should know of it.
fn read(
    archives: &[impl AsRef<Path>],
    pack: &mut PackWriter,
    limits: &Limits,
) -> Result<(Digest, Manifest, Vec<String>), UnpackError> {
    let mut intake = Intake::new(pack, limits);
    let mut last = (Path::new(""), None);
    for archive in archives {
        last = (archive.as_ref(), Some(take(archive.as_ref(), &mut intake, limits)?));
    }
    let (tree, notes) = intake.finish().map_err(|stop| stopped(last.0, stop))?;
    let empty = || {
        Reason::contents(
            "it is empty, and a release without a single file is never meant; look at what the build packs",
        )
    };
    let bundle = last.1.filter(|_| !tree.is_empty()).ok_or_else(|| refused(last.0, None, empty()))?;
    let manifest = tree.finish().map_err(|(path, reason)| refused(last.0, Some(path.as_bytes()), reason))?;
    Ok((bundle, manifest, notes))
}

/// Takes in the members of one archive. Gives its digest.
fn take(archive: &Path, intake: &mut Intake<'_>, limits: &Limits) -> Result<Digest, UnpackError> {
    let file = File::open(archive).map_err(at("opening", archive))?;
    let mut file = BufReader::with_capacity(256 << 10, file);
    let format = Format::of(file.fill_buf().map_err(at("reading", archive))?);
    let format = format.map_err(|why| refused(archive, None, why))?;
    let take_all = |pieces: Receiver<io::Result<Vec<u8>>>, intake: &mut Intake<'_>| {
        let mut members = Members::new(Pieces::of(pieces));
        while intake.next(&mut members).map_err(|stop| stopped(archive, stop))? {}
        Ok(())
    };
    // Decoding takes as long as hashing and writing what comes out: they need not wait for each other.
    std::thread::scope(|scope| {
        let (sender, pieces) = sync_channel(AHEAD);
        let decoding = std::thread::Builder::new()
            .name("decoder".to_owned())
            .spawn_scoped(scope, move || decode(file, format, limits, &sender))
            .map_err(at("starting a thread for", archive))?;
        let taken: Result<(), UnpackError> = take_all(pieces, intake);
        let decoded = decoding.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // What is wrong with a member says more than what is wrong with the stream.
        taken?;
        decoded.map_err(|cause| failed(archive, None, cause))
    })
}

fn refused(archive: &Path, entry: Option<&[u8]>, reason: Reason) -> UnpackError {
    UnpackError::Refused {
        place: archive.display().to_string(),
        entry: entry.map(|name| shown(&String::from_utf8_lossy(name))),
        reason,
    }
}

fn failed(archive: &Path, entry: Option<&[u8]>, cause: Cause) -> UnpackError {
    match cause {
        Cause::Refused(reason) => refused(archive, entry, reason),
        Cause::Io(error) => at("reading", archive)(error).into(),
    }
}

fn stopped(archive: &Path, stop: Stop) -> UnpackError {
    match stop {
        Stop::Archive(Fault { entry, cause }) => failed(archive, entry.as_deref(), cause),
        Stop::File(error) => error.into(),
    }
}
