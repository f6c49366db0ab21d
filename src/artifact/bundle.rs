//! From a directory to a bundle: what CI runs once for a commit (A2, A3). The same tree gives the same bytes.
//!
//! Refuses exactly what [`super::unpack`] would refuse, so that a bundle that was made is a bundle that deploys.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};

use crate::model::desired::{Gate, GateTest};
use crate::model::ids::{Digest, Hasher, Sha};

use super::files::{FileError, at, inside, sync_dir};
use super::inspect::BuildRecord;
use super::manifest::{Entry, Manifest, Node};
use super::tree::{Tree, canonical, shown};
use super::unpack::Limits;

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// `deployment-bundle-SHA.tar.gz`.
    pub archive: PathBuf,
    pub sha256: Digest,
    /// The file with the digest, beside the archive.
    pub sha256_file: PathBuf,
    /// The record of the build, beside the archive, where there were checks.
    pub checks: Option<PathBuf>,
    pub bytes: u64,
    pub entries: usize,
}

/// Why no bundle was made. Nothing is left of it in the output directory.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Gates that the tree does not pass (A3): all of them.
    #[error(
        "no bundle was made, because {} lacks {}: was everything built?",
        dir.display(),
        missing.join(", ")
    )]
    Missing { dir: PathBuf, missing: Vec<String> },
    /// Something that no release may contain.
    #[error("no bundle was made, because of `{entry}` in {}: {reason}", dir.display())]
    Refused { dir: PathBuf, entry: String, reason: String },
    /// The output would become part of the next bundle.
    #[error("the output directory {} lies inside {}; choose one beside it", out.display(), dir.display())]
    OutputInside { dir: PathBuf, out: PathBuf },
    #[error(transparent)]
    File(#[from] FileError),
}

/// Makes `deployment-bundle-SHA.tar.gz`, its `.sha256` and, where there are checks, its `.checks.json` in `out_dir`.
///
/// `.git` at the top stays out. Gates that name a file or a directory must pass; gates that run a command are for the
/// host. The checksum is written last: where it is, the bundle is complete.
pub fn create(
    dir: &Path,
    sha: &Sha,
    out_dir: &Path,
    checks: &BTreeMap<String, String>,
    gates: &[Gate],
) -> Result<Created, BundleError> {
    std::fs::create_dir_all(out_dir).map_err(inside("making", out_dir))?;
    let real = |path: &Path| std::fs::canonicalize(path).map_err(inside("reading", path));
    if real(out_dir)?.starts_with(real(dir)?) {
        return Err(BundleError::OutputInside { dir: dir.to_owned(), out: out_dir.to_owned() });
    }
    let manifest = survey(dir, gates)?;

    let name = format!("deployment-bundle-{sha}.tar.gz");
    let archive = out_dir.join(&name);
    let sha256_file = out_dir.join(format!("{name}.sha256"));
    let record_file = out_dir.join(format!("{name}.checks.json"));
    let part = tempfile::Builder::new().prefix(&format!(".{name}.")).suffix(".part").tempfile_in(out_dir);
    let part = part.map_err(inside("making a file in", out_dir))?;
    let (sha256, bytes) = pack(dir, &manifest, part.as_file(), part.path())?;

    // An older checksum must not stand beside a newer bundle, not even for a moment.
    remove(&sha256_file)?;
    remove(&record_file)?;
    place(part, &archive)?;
    let checks = if checks.is_empty() {
        None
    } else {
        let good = checks.values().all(|conclusion| conclusion == "success");
        let record = BuildRecord {
            sha: sha.to_string(),
            status: Some("completed".to_owned()),
            conclusion: Some(if good { "success" } else { "failure" }.to_owned()),
            checks: checks.iter().map(|(name, conclusion)| (name.clone(), Some(conclusion.clone()))).collect(),
        };
        let text =
            serde_json::to_string_pretty(&record).map_err(io::Error::from).map_err(at("writing", &record_file))?;
        write(out_dir, &record_file, &format!("{text}\n"))?;
        Some(record_file)
    };
    write(out_dir, &sha256_file, &format!("{sha256}  {name}\n"))?;
    sync_dir(out_dir)?;
    Ok(Created { archive, sha256, sha256_file, checks, bytes, entries: manifest.entries.len() })
}

/// Everything that goes into the bundle, and whether it passes. Contents are not read yet: digests are left empty.
fn survey(dir: &Path, gates: &[Gate]) -> Result<Manifest, BundleError> {
    let limits = Limits::default();
    let refused =
        |entry: &str, reason: String| BundleError::Refused { dir: dir.to_owned(), entry: shown(entry), reason };
    let mut tree = Tree::new(limits.entries);
    let mut total = 0_u64;
    let mut left = vec![PathBuf::new()];
    while let Some(below) = left.pop() {
        let here = dir.join(&below);
        for entry in std::fs::read_dir(&here).map_err(inside("reading", &here))? {
            let relative = below.join(entry.map_err(inside("reading", &here))?.file_name());
            if relative == Path::new(".git") {
                continue;
            }
            let lossy = relative.to_string_lossy();
            let path = canonical(relative.as_os_str().as_bytes()).map_err(|reason| refused(&lossy, reason))?;
            // `None` is the root, which no directory lists.
            let Some(path) = path else { continue };
            let full = dir.join(&relative);
            let found = std::fs::symlink_metadata(&full).map_err(at("reading", &full))?;
            let node = node(&full, &found)?.ok_or_else(|| {
                refused(
                    &path,
                    "it is neither file, directory nor symbolic link, and cannot be part of a release".into(),
                )
            })?;
            if let Node::File { size, .. } = node {
                total = total.saturating_add(size);
                if size > limits.file_bytes || total > limits.total_bytes {
                    let (one, all) = (limits.file_bytes, limits.total_bytes);
                    return Err(refused(&path, format!("a release has at most {all} bytes, {one} in one file")));
                }
            }
            if node == Node::Dir {
                left.push(relative);
            }
            tree.add(&path, node).map_err(|reason| refused(&path, reason))?;
        }
    }
    let missing: Vec<String> = gates.iter().filter_map(|gate| lacks(&tree, &gate.test)).collect();
    if !missing.is_empty() {
        return Err(BundleError::Missing { dir: dir.to_owned(), missing });
    }
    if tree.is_empty() {
        return Err(refused(".", "it is empty".to_owned()));
    }
    tree.finish().map_err(|(path, reason)| refused(&path, reason))
}

fn node(path: &Path, found: &Metadata) -> Result<Option<Node>, BundleError> {
    let kind = found.file_type();
    if kind.is_dir() {
        return Ok(Some(Node::Dir));
    }
    if kind.is_file() {
        let executable = found.permissions().mode() & 0o111 != 0;
        return Ok(Some(Node::File { sha256: Digest::of(b""), size: found.len(), executable }));
    }
    if kind.is_symlink() {
        let target = std::fs::read_link(path).map_err(at("reading", path))?;
        // Not UTF-8: refused like every other kind that cannot be part of a release.
        return Ok(target.into_os_string().into_string().ok().map(|target| Node::Link { target }));
    }
    Ok(None)
}

/// What a gate misses. Links are followed, as on the host.
fn lacks(tree: &Tree, test: &GateTest) -> Option<String> {
    let (path, directory) = match test {
        GateTest::File(path) => (path, false),
        GateTest::Dir(path) => (path, true),
        GateTest::Run(_) => return None,
    };
    match tree.resolve(path) {
        Some(Node::Dir) if directory => None,
        Some(Node::File { .. }) if !directory => None,
        _ => Some(format!("the {} `{path}`", if directory { "directory" } else { "file" })),
    }
}

/// Writes the archive; gives its digest and size.
fn pack(dir: &Path, manifest: &Manifest, file: &File, path: &Path) -> Result<(Digest, u64), FileError> {
    let failed = at("writing", path);
    let out = Hashing { out: BufWriter::with_capacity(1 << 20, file), hasher: Hasher::new(), bytes: 0 };
    // 3 is Unix: the default is that of the machine.
    let gzip = GzBuilder::new().mtime(0).operating_system(3).write(out, Compression::default());
    let mut tar = tar::Builder::new(gzip);
    for entry in &manifest.entries {
        append(&mut tar, dir, entry)?;
    }
    let finished = tar.into_inner().and_then(|gzip| gzip.finish()).and_then(|mut out| {
        out.flush()?;
        Ok((out.hasher.finish(), out.bytes))
    });
    let (sha256, bytes) = finished.map_err(failed)?;
    file.sync_all().map_err(at("syncing", path))?;
    Ok((sha256, bytes))
}

fn append(tar: &mut tar::Builder<impl Write>, dir: &Path, entry: &Entry) -> Result<(), FileError> {
    let full = dir.join(&entry.path);
    let failed = at("adding", &full);
    let mut header = tar::Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    let done = match &entry.node {
        Node::Dir => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            tar.append_data(&mut header, &entry.path, io::empty())
        }
        Node::Link { target } => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            append_link(tar, &mut header, &entry.path, target)
        }
        Node::File { size, executable, .. } => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_mode(if *executable { 0o755 } else { 0o644 });
            header.set_size(*size);
            // It was a file when it was listed: a link that took its place meanwhile is not followed.
            let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
            let file = File::options().read(true).custom_flags(flags).open(&full);
            file.and_then(|file| {
                let mut reader = Exactly { from: BufReader::with_capacity(256 << 10, file), left: *size };
                tar.append_data(&mut header, &entry.path, &mut reader)
            })
        }
    };
    done.map_err(failed)
}

/// Targets are written as they are: the library would tidy them up.
fn append_link(
    tar: &mut tar::Builder<impl Write>,
    header: &mut tar::Header,
    path: &str,
    target: &str,
) -> io::Result<()> {
    if target.len() <= 100 {
        header.set_link_name_literal(target)?;
        return tar.append_data(header, path, io::empty());
    }
    tar.append_link(header, path, target)
}

/// Gives exactly as many bytes as were listed: a file that changes while it is read would shift all that follows.
struct Exactly<R> {
    from: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let changed = || Err(io::Error::other("it changed while it was read; bundle a tree that nothing writes to"));
        let n = self.from.read(into)?;
        match (n as u64, self.left) {
            (0, 0) => Ok(0),
            (0, _) => changed(),
            (n, left) if n > left => changed(),
            (n, _) => {
                self.left -= n;
                Ok(n as usize)
            }
        }
    }
}

struct Hashing<W> {
    out: W,
    hasher: Hasher,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let n = self.out.write(piece)?;
        self.hasher.update(&piece[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn write(dir: &Path, to: &Path, text: &str) -> Result<(), FileError> {
    let mut part =
        tempfile::Builder::new().suffix(".part").tempfile_in(dir).map_err(inside("making a file in", dir))?;
    part.write_all(text.as_bytes()).and_then(|()| part.as_file().sync_all()).map_err(at("writing", to))?;
    place(part, to)
}

/// Gives a finished file its name, and the mode of an ordinary one: web servers are to read it.
fn place(part: tempfile::NamedTempFile, to: &Path) -> Result<(), FileError> {
    part.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(at("writing", to))?;
    part.persist(to).map_err(|error| at("renaming to", to)(error.error))?;
    Ok(())
}

fn remove(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("removing", path)(error)),
        _ => Ok(()),
    }
}
