//! Where the contents of a release lie: one file of unique contents, one after the other, and where each entry's begin.
//!
//! No name from an archive ever becomes a name in the file system: a hostile path has nothing to act on. Knows
//! nothing of archives.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashTable;
use serde::{Deserialize, Serialize};

use crate::model::ids::{Digest, Hasher};

use super::files::{FileError, at, sync_dir};
use super::manifest::{ByDigest, Entry, Manifest, Node, from_file};
use super::picked::Picked;
use super::sparing::Sparing;

const PACK: &str = "blobs.pack";
const INDEX: &str = "manifest.json";
/// The first one had the contents by their digests.
const FORMAT: u32 = 2;
/// The size of the pieces in which contents are handed on.
pub const CHUNK: usize = 256 << 10;

/// A checked tree on this machine: the manifest, and the contents of every file in it. Cheap to clone. It stays readable
/// when its directory is removed meanwhile.
#[derive(Debug, Clone)]
pub struct Unpacked {
    /// The digest of the archive that it came from.
    pub bundle: Digest,
    pub manifest: Arc<Manifest>,
    /// What people should know of it: whole sentences without their full stop.
    pub notes: Vec<String>,
    dir: PathBuf,
    /// Where the contents of each entry begin in the pack.
    offsets: Arc<[u64]>,
    pack: Arc<File>,
}

/// What `manifest.json` holds. Written last, so that a directory with one is complete.
#[derive(Deserialize)]
struct Stored {
    format: u32,
    bundle: Digest,
    pack_bytes: u64,
    manifest: Manifest,
    #[serde(default)]
    notes: Vec<String>,
    #[serde(default)]
    offsets: Vec<u64>,
    /// Of the first format: offset and length.
    #[serde(default)]
    blobs: Vec<(Digest, (u64, u64))>,
}

/// The same, as it is written.
#[derive(Serialize)]
struct Storing<'a> {
    format: u32,
    bundle: Digest,
    pack_bytes: u64,
    manifest: &'a Manifest,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
    offsets: &'a [u64],
}

impl Unpacked {
    /// Opens what was unpacked into this directory before. An error of kind `NotFound` means that there is nothing;
    /// any other, that it cannot be used and should be unpacked anew.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let broken = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", dir.display()));
        let mut stored: Stored = from_file(File::open(dir.join(INDEX))?)
            .map_err(|error| broken(&format!("{INDEX} cannot be read: {error}")))?;
        match stored.format {
            FORMAT => {}
            1 => stored.offsets = by_digest(&stored.manifest, &stored.blobs),
            found => return Err(broken(&format!("{INDEX} has format {found}, this version reads {FORMAT}"))),
        }
        let pack = File::open(dir.join(PACK))?;
        if pack.metadata()?.len() != stored.pack_bytes {
            return Err(broken(&format!("{PACK} does not have the {} bytes that {INDEX} names", stored.pack_bytes)));
        }
        let inside = |(number, offset): (usize, &u64)| {
            let size = stored.manifest.file(number).map_or(Some(0), |(_, size)| offset.checked_add(size));
            size.is_some_and(|end| end <= stored.pack_bytes)
        };
        let complete = stored.offsets.len() == stored.manifest.len();
        if !complete || !stored.offsets.iter().enumerate().all(inside) {
            return Err(broken(&format!("{INDEX} and {PACK} do not belong together")));
        }
        Ok(Unpacked {
            bundle: stored.bundle,
            manifest: Arc::new(stored.manifest),
            notes: stored.notes,
            dir: dir.to_owned(),
            offsets: stored.offsets.into(),
            pack: Arc::new(pack),
        })
    }

    /// The contents of the file with this number. An error of kind `NotFound` where it is none of the release's.
    pub fn reader(&self, number: usize) -> io::Result<BlobReader> {
        let size = self.manifest.file(number).map(|(_, size)| size);
        let (Some(left), Some(offset)) = (size, self.offsets.get(number).copied()) else {
            let text = format!("bundle {} has no file with the number {number}", self.bundle);
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        };
        Ok(BlobReader { pack: Arc::clone(&self.pack), offset, left })
    }

    /// The contents of these files, one after the other, in pieces of at most [`CHUNK`] bytes; no piece spans two of them.
    /// They were right when they were written: who takes them checks them anyway, and asks [`Unpacked::check`] when they
    /// are not.
    pub fn stream<'a>(&'a self, files: &'a Picked) -> BlobStream<'a> {
        BlobStream { from: self, files: Box::new(files.numbers()), now: None }
    }

    /// Reads the contents of these files against their digests.
    ///
    /// # Errors
    /// Contents that this cache does not have as they were: which, where, and what to do.
    pub fn check(&self, files: &Picked) -> io::Result<()> {
        for (number, digest, _) in files.files(&self.manifest) {
            let mut hasher = Hasher::new();
            io::copy(&mut self.reader(number)?, &mut hasher)?;
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

    /// The same with another manifest: that of the entries from the one with the number `first` on, by other paths.
    pub(super) fn from(self, first: usize, manifest: Manifest) -> Self {
        let offsets = self.offsets.get(first..).unwrap_or_default().into();
        Unpacked { manifest: Arc::new(manifest), offsets, ..self }
    }

    /// The same, whose directory has another name now.
    pub(super) fn moved(self, dir: &Path) -> Self {
        Unpacked { dir: dir.to_owned(), ..self }
    }
}

/// Where the contents of each entry lie, by what the first format says; nothing where it does not say it of all.
fn by_digest(manifest: &Manifest, blobs: &[(Digest, (u64, u64))]) -> Vec<u64> {
    let (files, mut offsets) = (ByDigest::of(manifest), vec![None; manifest.len()]);
    for (digest, (offset, length)) in blobs {
        for number in files.all(manifest, digest) {
            if manifest.file(number).is_some_and(|(_, size)| size == *length) {
                offsets[number] = Some(*offset);
            }
        }
    }
    let known = |(number, offset): (usize, &Option<u64>)| offset.or(manifest.file(number).is_none().then_some(0));
    offsets.iter().enumerate().map(known).collect::<Option<_>>().unwrap_or_default()
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
    files: Box<dyn Iterator<Item = usize> + Send + 'a>,
    now: Option<BlobReader>,
}

impl BlobStream<'_> {
    fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let Some(reader) = &mut self.now else {
                let Some(number) = self.files.next() else { return Ok(None) };
                self.now = Some(self.from.reader(number)?);
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
            self.files = Box::new(std::iter::empty());
        }
        piece.transpose()
    }
}

/// Writes a pack.
pub(super) struct PackWriter {
    dir: PathBuf,
    path: PathBuf,
    out: BufWriter<Sparing>,
    end: u64,
    /// What is here, and where it begins.
    kept: Vec<(Digest, u64)>,
    /// The same by digest: a map with all of it takes three times as much while it grows.
    places: HashTable<u32>,
    hasher: RandomState,
    buffer: Vec<u8>,
}

/// One file as it is, as a tree with nothing else in it.
pub(super) fn single(dir: &Path, key: Digest, file: &Path) -> Result<Unpacked, FileError> {
    std::fs::create_dir(dir).map_err(at("making", dir))?;
    let mut from = File::open(file).map_err(at("reading", file))?;
    let size = from.metadata().map_err(at("reading", file))?.len();
    let mut pack = PackWriter::create(dir)?;
    let sha256 = pack.add(&mut from, size).map_err(|error| match error {
        PackError::Source(error) => at("reading", file)(error),
        PackError::File(error) => error,
    })?;
    let entry = Entry::plain("file", Node::File { sha256, size, executable: false });
    let manifest = Manifest::of([entry]).map_err(|error| at("writing", dir)(io::Error::other(error)))?;
    pack.finish(key, manifest, Vec::new())
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
            out: BufWriter::with_capacity(1 << 20, Sparing::new(file)),
            end: 0,
            kept: Vec::new(),
            places: HashTable::new(),
            hasher: RandomState::new(),
            buffer: vec![0; CHUNK],
        })
    }

    /// Keeps these contents, whose digest this is, unless they are there already.
    pub(super) fn keep(&mut self, digest: Digest, contents: &[u8]) -> Result<(), FileError> {
        if self.place(&digest).is_none() {
            self.out.write_all(contents).map_err(at("writing", &self.path))?;
            self.note(digest, contents.len() as u64);
        }
        Ok(())
    }

    /// Where these contents begin.
    fn place(&self, digest: &Digest) -> Option<u64> {
        let same = |number: &u32| self.kept.get(*number as usize).is_some_and(|(kept, _)| kept == digest);
        self.places.find(self.hasher.hash_one(digest), same).map(|number| self.kept[*number as usize].1)
    }

    /// These contents are at the end now.
    fn note(&mut self, digest: Digest, length: u64) {
        let PackWriter { kept, places, hasher, .. } = self;
        if let Ok(number) = u32::try_from(kept.len()) {
            kept.push((digest, self.end));
            let hash = |number: &u32| kept.get(*number as usize).map_or(0, |(digest, _)| hasher.hash_one(digest));
            places.insert_unique(hasher.hash_one(digest), number, hash);
        }
        self.end += length;
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
        if self.place(&digest).is_some() {
            // The same contents are here already, which is known only after they were read: the copy is taken back.
            self.out.seek(SeekFrom::Start(self.end)).map_err(|e| PackError::File(at("writing", &self.path)(e)))?;
        } else {
            self.note(digest, size);
        }
        Ok(digest)
    }

    /// Writes the index and makes everything durable. The directory is complete after this, and only then.
    pub(super) fn finish(self, bundle: Digest, manifest: Manifest, notes: Vec<String>) -> Result<Unpacked, FileError> {
        let offset = |number| manifest.file(number).and_then(|(digest, _)| self.place(digest)).unwrap_or(0);
        let offsets: Arc<[u64]> = (0..manifest.len()).map(offset).collect();
        let PackWriter { dir, path, out, end, .. } = self;
        let file = out.into_inner().map_err(|error| at("writing", &path)(error.into_error()))?;
        file.file().set_len(end).and_then(|()| file.file().sync_all()).map_err(at("writing", &path))?;
        let pack = File::open(&path).map_err(at("opening", &path))?;
        let path = dir.join(INDEX);
        let file = File::create_new(&path).map_err(at("creating", &path))?;
        let mut file = BufWriter::with_capacity(1 << 20, Sparing::new(file));
        let stored =
            Storing { format: FORMAT, bundle, pack_bytes: end, manifest: &manifest, notes: &notes, offsets: &offsets };
        serde_json::to_writer(&mut file, &stored).map_err(io::Error::from).map_err(at("writing", &path))?;
        file.flush().and_then(|()| file.get_ref().file().sync_all()).map_err(at("writing", &path))?;
        sync_dir(&dir)?;
        Ok(Unpacked { bundle, manifest: Arc::new(manifest), notes, dir, offsets, pack: Arc::new(pack) })
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
