//! From a directory to a bundle: what CI runs once for a commit (A2, A3). The same tree gives the same bytes.
//!
//! Refuses exactly what [`super::unpack`] would refuse, so that a bundle that was made is a bundle that deploys.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::model::desired::{Gate, GateTest};
use crate::model::ids::{Digest, Sha};

use super::apple_double::{self, LeftOut};
use super::archive;
use super::checksum;
use super::files::{FileError, at, digest, inside, sync_dir};
use super::inspect::BuildRecord;
use super::manifest::{Entry, Manifest, Node};
use super::secret_files;
use super::terms::Terms;
use super::tree::{Found, Reason, Tree, canonical, resolve, shown};
use super::unpack::Limits;

/// What is said of a bundle, and asked of its tree.
#[derive(Debug, Default)]
pub struct Making {
    /// Each check of the build with its conclusion.
    pub checks: BTreeMap<String, String>,
    /// Those of a file or a directory must pass; those that run a command are for the host.
    pub gates: Vec<Gate>,
    /// The terms on which the application will take it.
    pub terms: Terms,
    /// One of the same commit with other contents is replaced.
    pub force: bool,
}

/// So many files are named where there are more.
pub const NAMED: usize = 10;

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
    /// What people should know of it: whole sentences without their full stop.
    pub notes: Vec<String>,
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
    Refused { dir: PathBuf, entry: String, reason: Reason },
    /// One SHA is one bundle: somebody may have taken the other one already.
    #[error(
        "{} is there already with other contents (sha256 {there}; this build has {new}), and hosts may run it. Was something \
         built anew that is in no commit, or is the SHA of another one? Give the SHA of what was built, or replace it with `--force`",
        place.display()
    )]
    Exists { place: PathBuf, there: Digest, new: Digest },
    /// The output would become part of the next bundle.
    #[error("the output directory {} lies inside {}; choose one beside it", out.display(), dir.display())]
    OutputInside { dir: PathBuf, out: PathBuf },
    #[error(transparent)]
    File(#[from] FileError),
}

/// Makes `deployment-bundle-SHA.tar.gz`, its `.sha256` and, where there are checks, its `.checks.json` in `out_dir`.
///
/// `.git` at the top stays out. The checksum is written last: where it is, the bundle is complete.
pub fn create(dir: &Path, sha: &Sha, out_dir: &Path, making: &Making) -> Result<Created, BundleError> {
    std::fs::create_dir_all(out_dir).map_err(inside("making", out_dir))?;
    let real = |path: &Path| std::fs::canonicalize(path).map_err(inside("reading", path));
    if real(out_dir)?.starts_with(real(dir)?) {
        return Err(BundleError::OutputInside { dir: dir.to_owned(), out: out_dir.to_owned() });
    }
    let (manifest, mut notes) = survey(dir, making)?;
    let checks = &making.checks;

    let name = format!("deployment-bundle-{sha}.tar.gz");
    let bundle = out_dir.join(&name);
    let sha256_file = out_dir.join(format!("{name}.sha256"));
    let record_file = out_dir.join(format!("{name}.checks.json"));
    let part = tempfile::Builder::new().prefix(&format!(".{name}.")).suffix(".part").tempfile_in(out_dir);
    let part = part.map_err(inside("making a file in", out_dir))?;
    let (sha256, bytes) = archive::write(dir, &manifest, part.as_file(), part.path())?;
    match there(&bundle, &sha256_file)? {
        // Nothing was there when it was looked at: what has come since then is another build's, and stays.
        None => {
            place_new(part, &bundle)?;
            remove(&record_file)?;
        }
        // The same once more. Its checksum may be of a bundle that was taken elsewhere.
        Some(there) if there.digest == sha256 => place(part, &bundle)?,
        Some(there) if !making.force => {
            return Err(BundleError::Exists { place: there.place, there: there.digest, new: sha256 });
        }
        Some(_) => {
            // An older checksum must not stand beside a newer bundle, not even for a moment.
            remove(&sha256_file)?;
            remove(&record_file)?;
            place(part, &bundle)?;
        }
    }
    let checks = if checks.is_empty() {
        // Of the same contents: whoever made them has said how its checks ended.
        record_file.exists().then_some(record_file)
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
    notes.extend(secrets(dir, &manifest));
    notes.extend(opened(dir, &manifest));
    Ok(Created { archive: bundle, sha256, sha256_file, checks, bytes, entries: manifest.len(), notes })
}

/// What lies at the places of a bundle of this commit.
struct Existing {
    place: PathBuf,
    digest: Digest,
}

/// A bundle, or the checksum of one that was taken elsewhere.
fn there(archive: &Path, sha256_file: &Path) -> Result<Option<Existing>, FileError> {
    if archive.exists() {
        return Ok(Some(Existing { place: archive.to_owned(), digest: digest(archive)? }));
    }
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    // What cannot be read says nothing, and is written anew.
    let said = std::fs::read(sha256_file).ok().and_then(|text| checksum::parse(&text, &name).ok());
    Ok(said.map(|digest| Existing { place: sha256_file.to_owned(), digest }))
}

/// What to say of files whose names are those of secrets.
fn secrets(dir: &Path, manifest: &Manifest) -> Option<String> {
    let found = secret_files::among(manifest);
    let names = listed(found.iter().map(String::as_str).collect())?;
    Some(format!(
        "{} holds what is called as secrets are: {names}. Whoever can read the bundle reads them: leave them out, and let \
         shared_files bring them on the host",
        dir.display()
    ))
}

/// What to say of files that not everybody may read here: on a host everybody may.
fn opened(dir: &Path, manifest: &Manifest) -> Option<String> {
    let mode = |path: &str| std::fs::symlink_metadata(dir.join(path)).map(|meta| meta.permissions().mode());
    let is_closed = |path: &&str| mode(path).is_ok_and(|mode| mode & 0o004 == 0);
    let names = listed(manifest.files().map(|(path, ..)| path).filter(is_closed).collect())?;
    Some(format!(
        "not everybody may read these in {}, and on a host everybody may, because `soll bundle` gives all files the same modes: \
         {names}. Pack it with `tar` where modes matter",
        dir.display()
    ))
}

/// The first of these paths; `None`: there is none.
fn listed(paths: Vec<&str>) -> Option<String> {
    let first: Vec<String> = paths.iter().take(NAMED).map(|path| format!("`{}`", shown(path))).collect();
    let more = match paths.len().saturating_sub(NAMED) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    (!paths.is_empty()).then(|| format!("{}{more}", first.join(", ")))
}

/// Everything that goes into the bundle, and whether it passes. Contents are not read yet: digests are left empty.
/// With what people should know of it.
fn survey(dir: &Path, making: &Making) -> Result<(Manifest, Vec<String>), BundleError> {
    let limits = Limits::default();
    let refused =
        |entry: &str, reason: Reason| BundleError::Refused { dir: dir.to_owned(), entry: shown(entry), reason };
    let mut tree = Tree::new(limits.entries);
    let mut total = 0_u64;
    let mut left_out = LeftOut::default();
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
                let text = "it is neither file, directory nor symbolic link with a target of UTF-8; leave it out";
                refused(&path, Reason::contents(text))
            })?;
            if let Node::File { size, .. } = node {
                total = total.saturating_add(size);
                if size > limits.file_bytes || total > limits.total_bytes {
                    let (one, all) = (limits.file_bytes, limits.total_bytes);
                    let text =
                        format!("a release has at most {all} bytes, {one} in one file; leave out what is not needed");
                    return Err(refused(&path, Reason::contents(text)));
                }
            }
            if node == Node::Dir {
                left.push(relative);
            }
            // It would be left out where the bundle is unpacked.
            if matches!(node, Node::File { .. }) && is_beside(&full, &path)? {
                left_out.add(&path);
                continue;
            }
            // Modes and times are those of nobody's machine: two people make the same bundle of the same files.
            tree.add(Entry::plain(&path, node.as_ref()), None).map_err(|reason| refused(&path, reason))?;
        }
    }
    let is_empty = tree.is_empty();
    let manifest = tree.finish().map_err(|(path, reason)| refused(&path, reason))?;
    if is_empty {
        return Err(refused(".", Reason::contents("it is empty: was everything built?")));
    }
    // What an environment would not take is not made for it.
    let taken = making.terms.shape(&manifest).map_err(|(path, why)| {
        let here = "Here `--links-out GLOB` says what links_out says, and `--gates-of ENV` reads it";
        let text = if why.contains("links_out") { format!("{why}. {here}") } else { why };
        refused(path.as_deref().unwrap_or("."), Reason::Contents(text))
    })?;
    let shaped = taken.manifest.as_ref().unwrap_or(&manifest);
    let missing: Vec<String> = making.gates.iter().filter_map(|gate| lacks(shaped, &gate.test)).collect();
    if !missing.is_empty() {
        return Err(BundleError::Missing { dir: dir.to_owned(), missing });
    }
    Ok((manifest, left_out.told().into_iter().collect()))
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

/// Whether a file is one that macOS put there.
fn is_beside(full: &Path, path: &str) -> Result<bool, FileError> {
    if !apple_double::is_called_so(path) {
        return Ok(false);
    }
    let mut start = Vec::new();
    let read = archive::open(full).and_then(|file| file.take(apple_double::MAGIC.len() as u64).read_to_end(&mut start));
    read.map_err(at("reading", full))?;
    Ok(apple_double::is_one(path, &start))
}

/// What a gate misses. Links are followed, as on the host; what lies outside, the host alone can say.
fn lacks(manifest: &Manifest, test: &GateTest) -> Option<String> {
    let (path, directory) = match test {
        GateTest::File(path) => (path, false),
        GateTest::Dir(path) => (path, true),
        GateTest::Run(_) => return None,
    };
    match resolve(manifest, path) {
        Found::Outside => None,
        Found::Node(Node::Dir) if directory => None,
        Found::Node(Node::File { .. }) if !directory => None,
        _ => Some(format!("the {} `{path}`", if directory { "directory" } else { "file" })),
    }
}

fn write(dir: &Path, to: &Path, text: &str) -> Result<(), FileError> {
    let mut part =
        tempfile::Builder::new().suffix(".part").tempfile_in(dir).map_err(inside("making a file in", dir))?;
    part.write_all(text.as_bytes()).and_then(|()| part.as_file().sync_all()).map_err(at("writing", to))?;
    place(part, to)
}

/// The same where there is none of that name.
fn place_new(part: tempfile::NamedTempFile, to: &Path) -> Result<(), FileError> {
    part.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(at("writing", to))?;
    part.persist_noclobber(to).map_err(|error| at("renaming to", to)(error.error))?;
    Ok(())
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
