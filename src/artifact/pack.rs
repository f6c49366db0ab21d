//! Where the contents of a release lie: one file of unique contents, one after the other, and an index by digest.
//!
//! No name from an archive ever becomes a name in the file system: a hostile path has nothing to act on. Knows
//! nothing of archives.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::ids::{Digest, Hasher};

use super::files::{FileError, at, sync_dir};
use super::manifest::Manifest;

const PACK: &str = "blobs.pack";
const INDEX: &str = "manifest.json";
const FORMAT: u32 = 1;
/// The size of the pieces in which contents are handed on.
pub const CHUNK: usize = 256 << 10;

/// A checked tree on this machine: the manifest, and the contents of every file in it. Cheap to clone. It stays readable
/// when its directory is removed meanwhile.
#[derive(Debug, Clone)]
pub struct Unpacked {
    /// The digest of the archive that it came from.
    pub bundle: Digest,
    pub manifest: Arc<Manifest>,
    dir: PathBuf,
    index: Arc<HashMap<Digest, Extent>>,
    pack: Arc<File>,
}

/// Offset and length in the pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Extent(u64, u64);

/// What `manifest.json` holds. Written last, so that a directory with one is complete.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    bundle: Digest,
    pack_bytes: u64,
    manifest: Manifest,
    blobs: Vec<(Digest, Extent)>,
}

impl Unpacked {
    /// Opens what was unpacked into this directory before. An error of kind `NotFound` means that there is nothing;
    /// any other, that it cannot be used and should be unpacked anew.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let broken = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", dir.display()));
        let stored: Stored = serde_json::from_slice(&std::fs::read(dir.join(INDEX))?)
            .map_err(|error| broken(&format!("{INDEX} cannot be read: {error}")))?;
        if stored.format != FORMAT {
            return Err(broken(&format!("{INDEX} has format {}, this version reads {FORMAT}", stored.format)));
        }
        let pack = File::open(dir.join(PACK))?;
        if pack.metadata()?.len() != stored.pack_bytes {
            return Err(broken(&format!("{PACK} does not have the {} bytes that {INDEX} names", stored.pack_bytes)));
        }
        let index: HashMap<Digest, Extent> = stored.blobs.into_iter().collect();
        let inside = |place: &Extent| place.0.checked_add(place.1).is_some_and(|end| end <= stored.pack_bytes);
        if !index.values().all(inside) || !stored.manifest.files().all(|(_, digest, _)| index.contains_key(digest)) {
            return Err(broken(&format!("{INDEX} and {PACK} do not belong together")));
        }
        Ok(Unpacked {
            bundle: stored.bundle,
            manifest: Arc::new(stored.manifest),
            dir: dir.to_owned(),
            index: Arc::new(index),
            pack: Arc::new(pack),
        })
    }

    /// The contents with this digest. An error of kind `NotFound` where no file of the release has it.
    pub fn blob_reader(&self, digest: &Digest) -> io::Result<BlobReader> {
        let Extent(offset, size) = *self.index.get(digest).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("no file of bundle {} has the digest {digest}", self.bundle),
            )
        })?;
        Ok(BlobReader { pack: Arc::clone(&self.pack), offset, left: size })
    }

    /// The size of the contents with this digest.
    pub fn blob_size(&self, digest: &Digest) -> Option<u64> {
        self.index.get(digest).map(|place| place.1)
    }

    /// These contents, one after the other, in pieces of at most [`CHUNK`] bytes; no piece spans two of them. They were
    /// right when they were written: who takes them checks them anyway, and asks [`Unpacked::check`] when they are not.
    pub fn stream<'a>(&'a self, blobs: &'a [Digest]) -> BlobStream<'a> {
        BlobStream { from: self, blobs: blobs.iter(), now: None }
    }

    /// Reads these contents against their digests.
    ///
    /// # Errors
    /// One that this cache does not have as it was: which, where, and what to do.
    pub fn check(&self, blobs: &[Digest]) -> io::Result<()> {
        for digest in blobs {
            let mut hasher = Hasher::new();
            io::copy(&mut self.blob_reader(digest)?, &mut hasher)?;
            let found = hasher.finish();
            if found != *digest {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "{} is damaged: contents with the digest {digest} now have {found}; remove the directory and \
                         try again",
                        self.dir.display()
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The same, whose directory has another name now.
    pub(super) fn moved(self, dir: &Path) -> Self {
        Unpacked { dir: dir.to_owned(), ..self }
    }
}

/// Reads one blob, independent of all other readers.
#[derive(Debug)]
pub struct BlobReader {
    pack: Arc<File>,
    offset: u64,
    left: u64,
}

impl Read for BlobReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let want = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let n = self.pack.read_at(&mut into[..want], self.offset)?;
        if n == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{PACK} was cut short")));
        }
        self.offset += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

/// See [`Unpacked::stream`]. Ends after its first error.
pub struct BlobStream<'a> {
    from: &'a Unpacked,
    blobs: std::slice::Iter<'a, Digest>,
    now: Option<BlobReader>,
}

impl BlobStream<'_> {
    fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let Some(reader) = &mut self.now else {
                let Some(digest) = self.blobs.next() else { return Ok(None) };
                self.now = Some(self.from.blob_reader(digest)?);
                continue;
            };
            let mut piece = vec![0; usize::try_from(reader.left).unwrap_or(CHUNK).min(CHUNK)];
            reader.read_exact(&mut piece)?;
            if reader.left == 0 {
                self.now = None;
            }
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }
}

impl Iterator for BlobStream<'_> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let piece = self.piece();
        if piece.is_err() {
            self.now = None;
            self.blobs = [].iter();
        }
        piece.transpose()
    }
}

/// Writes a pack.
pub(super) struct PackWriter {
    dir: PathBuf,
    path: PathBuf,
    out: BufWriter<File>,
    end: u64,
    index: HashMap<Digest, Extent>,
    buffer: Vec<u8>,
}

/// What went wrong while contents were taken over.
pub(super) enum PackError {
    /// The source of the contents failed.
    Source(io::Error),
    File(FileError),
}

impl PackWriter {
    /// Starts a pack in an empty directory.
    pub(super) fn create(dir: &Path) -> Result<Self, FileError> {
        let path = dir.join(PACK);
        let file = File::create_new(&path).map_err(at("creating", &path))?;
        Ok(PackWriter {
            dir: dir.to_owned(),
            path,
            out: BufWriter::with_capacity(1 << 20, file),
            end: 0,
            index: HashMap::new(),
            buffer: vec![0; CHUNK],
        })
    }

    /// Keeps these contents, whose digest this is, unless they are there already.
    pub(super) fn keep(&mut self, digest: Digest, contents: &[u8]) -> Result<(), FileError> {
        if !self.index.contains_key(&digest) {
            self.out.write_all(contents).map_err(at("writing", &self.path))?;
            self.index.insert(digest, Extent(self.end, contents.len() as u64));
            self.end += contents.len() as u64;
        }
        Ok(())
    }

    /// Takes exactly `size` bytes; fewer are an error of kind `UnexpectedEof`. Contents that are there already are not
    /// kept twice.
    pub(super) fn add(&mut self, from: &mut impl Read, size: u64) -> Result<Digest, PackError> {
        let mut hasher = Hasher::new();
        let mut left = size;
        while left > 0 {
            let piece = &mut self.buffer[..usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)];
            from.read_exact(piece).map_err(PackError::Source)?;
            hasher.update(piece);
            left -= piece.len() as u64;
            self.out.write_all(piece).map_err(|e| PackError::File(at("writing", &self.path)(e)))?;
        }
        let digest = hasher.finish();
        if self.index.contains_key(&digest) {
            // They are known only now: what was written is taken back.
            self.out.seek(SeekFrom::Start(self.end)).map_err(|e| PackError::File(at("writing", &self.path)(e)))?;
        } else {
            self.index.insert(digest, Extent(self.end, size));
            self.end += size;
        }
        Ok(digest)
    }

    /// Writes the index and makes everything durable. The directory is complete after this, and only then.
    pub(super) fn finish(self, bundle: Digest, manifest: Manifest) -> Result<Unpacked, FileError> {
        let PackWriter { dir, path, out, end, index, .. } = self;
        let file = out.into_inner().map_err(|error| at("writing", &path)(error.into_error()))?;
        file.set_len(end).and_then(|()| file.sync_all()).map_err(at("writing", &path))?;
        let pack = File::open(&path).map_err(at("opening", &path))?;
        let mut blobs: Vec<(Digest, Extent)> = index.iter().map(|(digest, place)| (*digest, *place)).collect();
        blobs.sort_unstable_by_key(|(_, place)| (place.0, place.1));
        let stored = Stored { format: FORMAT, bundle, pack_bytes: end, manifest, blobs };
        let path = dir.join(INDEX);
        let mut file = BufWriter::with_capacity(1 << 20, File::create_new(&path).map_err(at("creating", &path))?);
        serde_json::to_writer(&mut file, &stored).map_err(io::Error::from).map_err(at("writing", &path))?;
        file.flush().and_then(|()| file.get_ref().sync_all()).map_err(at("writing", &path))?;
        sync_dir(&dir)?;
        let (manifest, index) = (Arc::new(stored.manifest), Arc::new(index));
        Ok(Unpacked { bundle, manifest, dir, index, pack: Arc::new(pack) })
    }
}

/// Marks what lies in this directory as used now, for whoever trims. Best effort.
pub(super) fn touch(dir: &Path) {
    if let Ok(file) = File::options().append(true).open(dir.join(INDEX)) {
        // Not being able to mark it only means that it is trimmed earlier, and unpacked again when it is needed.
        let _ = file.set_modified(std::time::SystemTime::now());
    }
}

/// When it was last used, and how many bytes it takes.
pub(super) fn usage(dir: &Path) -> io::Result<(std::time::SystemTime, u64)> {
    let index = std::fs::metadata(dir.join(INDEX))?;
    Ok((index.modified()?, index.len() + std::fs::metadata(dir.join(PACK))?.len()))
}
