//! What a release directory holds: read from the disk, and kept under `.soll/manifests/`. Judges nothing.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rustix::fs::{Access, OFlags};
use rustix::io::Errno;

use crate::artifact::manifest::{Entry, Manifest, Node, from_file};
use crate::host::disk::beneath::at;
use crate::host::disk::file;
use crate::host::disk::kept::{Contents, FORM, Kept};
use crate::host::disk::people;
use crate::host::disk::root::{Root, write_json};
use crate::host::disk::stamp::{Stamp, tick};
use crate::host::release::stamps::{Known, Looks};
use crate::host::wire::HostError;
use crate::model::desired::Shared;
use crate::model::format::Unreadable;
use crate::model::ids::{Digest, Hasher, ReleaseName};
use crate::model::record::Refusal;

/// What a look at a release directory gave.
pub struct Taken {
    pub contents: Contents,
    /// What the files looked like before they were read.
    pub looks: Looks,
    /// What this user may not read: nothing of it is in the contents, nor of what lies below it.
    pub unread: Vec<Unread>,
}

/// A file or a directory that this user may not read.
pub struct Unread {
    /// Relative to the release.
    pub path: String,
    /// Owner, group and mode.
    is: String,
}

impl Unread {
    /// Whether a path is it, or lies below it.
    pub fn covers(&self, path: &str) -> bool {
        path.strip_prefix(&self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// What it is, for people.
    pub fn what(&self) -> String {
        format!("`{}` ({})", self.path, self.is)
    }
}

impl Contents {
    /// Reads a release directory, every file of it, `shared` paths and `mutable` globs aside. Sockets, pipes and
    /// devices are no contents. A name that is not UTF-8 is taken with replacement characters, the same every time.
    /// What is `known` and looks as it did is not read.
    pub fn read(dir: &Path, shared: &[Shared], mutable: &[String], known: &Known<'_>) -> Result<Taken, HostError> {
        let taken = tick();
        let mut walk = Walk {
            shared: shared.iter().map(|s| s.path.as_str()).collect(),
            mutable: globs(mutable)?,
            known,
            found: Manifest::default(),
            stamps: Vec::new(),
            modes: BTreeMap::new(),
            unread: Vec::new(),
        };
        walk.enter(dir, "")?;
        let mut manifest = walk.found;
        let stamps = manifest.sort().into_iter().map(|before| walk.stamps[before as usize]);
        let files = stamps.enumerate().filter(|(number, _)| manifest.file(*number).is_some()).map(|(_, stamp)| stamp);
        let looks = Looks { taken, files: files.collect() };
        let (shared, mutable, modes) = (shared.to_vec(), mutable.to_vec(), walk.modes);
        let contents = Contents { manifest: manifest.into(), shared, mutable, modes, ..Contents::default() };
        Ok(Taken { contents, looks, unread: walk.unread })
    }

    /// What is kept for a release; `None` where nothing is.
    pub fn load(root: &Root, name: &ReleaseName) -> Result<Option<Contents>, HostError> {
        let path = root.own(&file_name(name));
        let Some(file) = root.own_file(&file_name(name), OFlags::RDONLY)? else { return Ok(None) };
        // Thousands of entries: the version is looked for first only where it cannot be seen in what was read.
        if let Ok(contents) = from_file::<Contents>(file)
            && contents.format <= FORM.known
        {
            return Ok(Some(contents));
        }
        let Some(bytes) = root.read_own(&file_name(name))? else { return Ok(None) };
        FORM.read(&bytes).map(Some).map_err(|error| {
            let path = path.display();
            HostError::Io(match error {
                Unreadable::Newer { .. } => format!("{path} says what was released: {error}"),
                Unreadable::Damaged(error) => {
                    format!("{path} cannot be understood ({error}): stage the release anew, then remove this one")
                }
            })
        })
    }

    /// The same, read once for as long as its file looks as it did.
    pub fn recall(root: &Root, name: &ReleaseName) -> Result<Option<Arc<Kept>>, HostError> {
        let file = root.own_file(&file_name(name), OFlags::RDONLY)?;
        let looks = file.and_then(|file| file.metadata().ok()).map(|meta| (meta.len(), Stamp::of(&meta)));
        if let Some(kept) = looks.and_then(|looks| root.kept(name, looks)) {
            return Ok(Some(kept));
        }
        let Some(contents) = Contents::load(root, name)? else { return Ok(None) };
        let kept = Arc::new(Kept::new(contents));
        if let Some(looks) = looks {
            root.note_kept(name, looks, &kept);
        }
        Ok(Some(kept))
    }

    /// What is kept for a sealed release; a refusal where nothing is.
    pub fn of_sealed(root: &Root, name: &ReleaseName) -> Result<Arc<Kept>, HostError> {
        Contents::recall(root, name)?.ok_or_else(|| Refusal::NotSealed(name.clone()).into())
    }

    /// Keeps it.
    pub fn save(&self, root: &Root, name: &ReleaseName) -> Result<(), HostError> {
        root.write_by(&file_name(name), |file| write_json(file, self))
    }
}

/// Where the contents of a release are kept, below `.soll/`.
pub fn file_name(name: &ReleaseName) -> String {
    format!("manifests/{name}.json")
}

/// The digest and the size of what a reader gives.
pub fn digest(mut from: impl Read) -> io::Result<(Digest, u64)> {
    let mut size = 0;
    let digest = digest_each(&mut from, |piece| {
        size += piece.len() as u64;
        Ok(())
    })?;
    Ok((digest, size))
}

thread_local! {
    /// One for all files: a new one for each costs more than most files do.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 128 * 1024]);
}

/// The digest of what a reader gives, piece by piece, each of which is handed on.
pub fn digest_each(from: &mut impl Read, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    BUFFER.with_borrow_mut(|buffer| {
        loop {
            match from.read(buffer) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(n) => {
                    hasher.update(&buffer[..n]);
                    each(&buffer[..n])?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    })
}

/// `*` stays within one part of a path, `**` does not.
fn globs(patterns: &[String]) -> Result<GlobSet, HostError> {
    let bad = |error: globset::Error| HostError::Precondition(format!("`mutable` has a glob that is none: {error}"));
    let mut set = GlobSetBuilder::new();
    // A directory whose whole contents the application may write, it may make as well: `__pycache__` is not there before.
    let whole = patterns.iter().filter_map(|pattern| pattern.strip_suffix("/**"));
    for pattern in patterns.iter().map(String::as_str).chain(whole) {
        set.add(GlobBuilder::new(pattern).literal_separator(true).build().map_err(bad)?);
    }
    set.build().map_err(bad)
}

/// Whether this user may not look into a directory.
fn is_closed(dir: &Path) -> bool {
    let open = Access::READ_OK | Access::EXEC_OK;
    matches!(rustix::fs::access(dir, open), Err(Errno::ACCESS | Errno::PERM))
}

/// As `ls` says it.
fn described(meta: &Metadata) -> String {
    format!("{}:{} {:o}", people::user(meta.uid()), people::group(meta.gid()), meta.mode() & 0o7777)
}

struct Walk<'a> {
    shared: BTreeSet<&'a str>,
    mutable: GlobSet,
    known: &'a Known<'a>,
    /// In the order in which they were found.
    found: Manifest,
    /// What each of them looked like.
    stamps: Vec<Stamp>,
    modes: BTreeMap<String, u32>,
    unread: Vec<Unread>,
}

impl Walk<'_> {
    fn enter(&mut self, dir: &Path, prefix: &str) -> Result<(), HostError> {
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            listed => listed.map_err(at("list", dir))?,
        };
        // They are entered when this one is closed: however deep they lie, one is open at a time.
        let mut below = Vec::new();
        for entry in entries {
            let entry = entry.map_err(at("list", dir))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let rel = if prefix.is_empty() { name.into_owned() } else { format!("{prefix}/{name}") };
            if self.shared.contains(rel.as_str()) || self.mutable.is_match(&rel) {
                continue;
            }
            let path = entry.path();
            // Looked at from its directory: the whole path of thousands of files takes the kernel as long as all the rest.
            match entry.metadata().and_then(|meta| Ok((self.node(&path, &rel, &meta)?, meta))) {
                Ok((Some(node), meta)) => {
                    let mode = meta.mode() & 0o7777;
                    if !matches!(node, Node::Link { .. }) && mode != u32::from(node.usual_mode()) {
                        self.modes.insert(rel.clone(), mode);
                    }
                    let is_dir = matches!(node, Node::Dir);
                    if is_dir && is_closed(&path) {
                        self.unread.push(Unread { path: rel, is: described(&meta) });
                        continue;
                    }
                    let found = self.found.push(Entry::plain(&rel, node.as_ref()));
                    found.map_err(|error| at("read", &path)(io::Error::other(error)))?;
                    self.stamps.push(Stamp::of(&meta));
                    if is_dir {
                        below.push((path, rel));
                    }
                }
                Ok((None, _)) => {}
                // Gone between the listing and the look: it is not there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    let is = entry.metadata().map(|meta| described(&meta)).unwrap_or_default();
                    self.unread.push(Unread { path: rel, is });
                }
                Err(error) => return Err(at("read", &path)(error)),
            }
        }
        below.iter().try_for_each(|(path, rel)| self.enter(path, rel))
    }

    fn node(&self, path: &Path, rel: &str, meta: &Metadata) -> io::Result<Option<Node>> {
        let kind = meta.file_type();
        if kind.is_dir() {
            return Ok(Some(Node::Dir));
        }
        if kind.is_symlink() {
            let target = fs::read_link(path)?.to_string_lossy().into_owned();
            return Ok(Some(Node::Link { target }));
        }
        if kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device() {
            return Ok(None);
        }
        let executable = meta.mode() & 0o100 != 0;
        if let Some((sha256, size)) = self.known.contents(rel, meta) {
            return Ok(Some(Node::File { sha256, size, executable }));
        }
        // Swapped for a link or a pipe since the look: an error or a quick end, never a read of something else.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        file::regular(&file.metadata()?)?;
        // Reading a file that grows all the time must end; at the next look it has other contents.
        let (sha256, size) = digest(file.take(meta.len().saturating_add(1)))?;
        Ok(Some(Node::File { sha256, size, executable }))
    }
}
