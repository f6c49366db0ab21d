//! What of a release its containers mount: put aside under paths that are named by the contents (I2), so that another release
//! with the same file is no other definition, and a changed one is.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use crate::host::disk::beneath::{Dir, at};
use crate::host::disk::file;
use crate::host::disk::root::{Root, remove};
use crate::host::release::contents::digest;
use crate::host::wire::HostError;
use crate::model::ids::Digest;

/// Below `.soll/`.
pub const PLACE: &str = "mounts";
/// Between the name of a place and the time at which it was put aside, because somebody had changed what lay there.
const WRITTEN: &str = ".changed-";

/// The mounts of one release.
pub struct Mounts<'a> {
    root: &'a Root,
    /// The release, as paths of its project may name it.
    release: Vec<PathBuf>,
    /// `releases`, likewise.
    releases: Vec<PathBuf>,
    /// What it uses, by name below [`PLACE`].
    pub used: BTreeSet<String>,
    pub warnings: Vec<String>,
}

impl<'a> Mounts<'a> {
    /// None yet.
    pub fn new(root: &'a Root, release: &Path) -> Result<Mounts<'a>, HostError> {
        let both = |path: PathBuf| -> Result<Vec<PathBuf>, HostError> {
            let real = path.canonicalize().map_err(at("look at", &path))?;
            Ok(vec![path, real])
        };
        let (release, releases) = (both(release.to_owned())?, both(root.releases())?);
        Ok(Mounts { root, release, releases, used: BTreeSet::new(), warnings: Vec::new() })
    }

    /// The path that a mount of `source` has from now on; `None`: it stays, because it is no path of a release. `writable`: a
    /// container may write there.
    pub fn place(&mut self, who: &str, source: &str, writable: bool) -> Result<Option<String>, HostError> {
        let path = plain(Path::new(source));
        let inside =
            |places: &[PathBuf]| places.iter().find_map(|place| path.strip_prefix(place).ok().map(Path::to_owned));
        let Some(rel) = inside(&self.release) else {
            return match inside(&self.releases) {
                None => Ok(None),
                Some(_) => Err(HostError::Precondition(format!(
                    "{who} mounts {source}, which leads out of the release and would be another place with each one: name a \
                     volume, an absolute path, or one of `shared_dirs`"
                ))),
            };
        };
        let path = self.release[0].join(&rel);
        let real = path.canonicalize().map_err(|error| {
            HostError::Precondition(format!(
                "{who} mounts `{}`, and the release has no such file ({error}): commit it, name a volume for data, or make it \
                 one of `shared_dirs`",
                rel.display()
            ))
        })?;
        // What is linked to `shared/` outlives releases at a path that stays the same.
        let shared = self.root.shared();
        if let Ok(rest) =
            shared.canonicalize().and_then(|home| real.strip_prefix(home).map(Path::to_owned).map_err(io::Error::other))
        {
            return Ok(Some(shared.join(rest).display().to_string()));
        }
        if !real.starts_with(&self.release[1]) {
            return Err(HostError::Precondition(format!(
                "{who} mounts `{}`, which leads to {} outside the release: mount that path itself",
                rel.display(),
                real.display()
            )));
        }
        self.keep(who, &real, writable).map(Some)
    }

    /// Puts it aside, where that is not done yet. What containers have written into what lies there may be data: it is never
    /// removed.
    fn keep(&mut self, who: &str, real: &Path, writable: bool) -> Result<String, HostError> {
        let contents = described(real)?;
        let name = contents.to_string();
        let last = match real == self.release[1] {
            true => "release".into(),
            false => real.file_name().map(|last| last.to_string_lossy().into_owned()).unwrap_or_default(),
        };
        self.root.own_dir("")?.make_missing(PLACE, 0o700)?;
        let home = self.root.own_dir(PLACE)?;
        let kept = home.path().join(&name).join(&last);
        if fs::symlink_metadata(&kept).is_ok() {
            if described(&kept).is_ok_and(|is| is == contents) {
                self.used.insert(name);
                return Ok(kept.display().to_string());
            }
            if writable {
                self.warnings.push(format!(
                    "{who} has written into `{last}` of a release that it mounts: that stays as it is only until the release brings \
                     another `{last}`; mount it read-only (:ro), and keep data in a volume or one of `shared_dirs`"
                ));
                self.used.insert(name);
                return Ok(kept.display().to_string());
            }
            let aside = format!("{name}{WRITTEN}{}", jiff::Timestamp::now().as_millisecond());
            home.rename(&name, &aside)?;
            self.warnings.push(format!(
                "somebody has changed `{last}`, which {who} mounts: it is again as the release has it, and what was there lies in {}",
                home.path().join(&aside).display()
            ));
        }
        let temp = format!(".{name}.tmp-{}", std::process::id());
        home.remove(&temp)?;
        let dir = home.make_as(&temp, 0o755)?;
        copy(real, &dir.path().join(&last))?;
        dir.sync_all()?;
        home.rename(&temp, &name)?;
        home.sync()?;
        self.used.insert(name);
        Ok(kept.display().to_string())
    }
}

/// Removes what none of these uses, and nobody has written into.
pub fn sweep(root: &Root, used: &BTreeSet<String>) -> Result<(), HostError> {
    let Some(home) = root.own_dir_if(PLACE)? else { return Ok(()) };
    for name in home.names()?.iter().filter(|name| !used.contains(*name)) {
        let is_unfinished = name.starts_with('.');
        if is_unfinished || !differs(&home.path().join(name), name) {
            home.remove(name)?;
        }
    }
    Ok(())
}

/// Whether `source`, a path below [`PLACE`] that a container mounts, holds something else than the release that brought it.
pub fn is_written(root: &Root, source: &str) -> bool {
    let home = root.own(PLACE);
    let name = Path::new(source).strip_prefix(&home).ok().and_then(|rest| rest.components().next());
    name.and_then(|name| name.as_os_str().to_str()).is_some_and(|name| differs(&home.join(name), name))
}

/// What cannot be read was written by somebody.
fn differs(dir: &Path, name: &str) -> bool {
    let Ok(mut entries) = fs::read_dir(dir) else { return true };
    match (entries.next(), entries.next()) {
        (Some(Ok(one)), None) => described(&one.path()).map_or(true, |is| is.to_string() != name),
        (None, _) => false,
        _ => true,
    }
}

/// Without `.` and `..`, which a program leaves in what it prints.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

/// A digest of a file or a directory: names, modes, contents, links.
fn described(path: &Path) -> Result<Digest, HostError> {
    let mut lines = Vec::new();
    describe(path, "", &mut lines)?;
    Ok(Digest::of(lines.concat().as_bytes()))
}

fn describe(path: &Path, rel: &str, lines: &mut Vec<String>) -> Result<(), HostError> {
    let failed = |error: io::Error| at("read", path)(error);
    let meta = fs::symlink_metadata(path).map_err(failed)?;
    let mode = meta.permissions().mode() & 0o777;
    if meta.is_dir() {
        lines.push(format!("d {mode:o} {rel:?}\n"));
        let mut names: Vec<_> = Dir::open(path)?.names()?;
        names.sort();
        for name in names {
            describe(&path.join(&name), &format!("{rel}/{name}"), lines)?;
        }
    } else if meta.is_symlink() {
        lines.push(format!("l {rel:?} {:?}\n", fs::read_link(path).map_err(failed)?));
    } else {
        let (file, _) = file::open(path).map_err(failed)?;
        let (digest, _) = digest(file).map_err(failed)?;
        lines.push(format!("f {mode:o} {rel:?} {digest}\n"));
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), HostError> {
    let failed = |error: io::Error| at("write", to)(error);
    let meta = fs::symlink_metadata(from).map_err(failed)?;
    remove(to)?;
    if meta.is_symlink() {
        return symlink(fs::read_link(from).map_err(failed)?, to).map_err(failed);
    }
    if meta.is_dir() {
        fs::create_dir(to).map_err(failed)?;
        for name in Dir::open(from)?.names()? {
            copy(&from.join(&name), &to.join(&name))?;
        }
    } else {
        let (mut source, _) = file::open(from).map_err(failed)?;
        let mut target = File::create_new(to).map_err(failed)?;
        io::copy(&mut source, &mut target).and_then(|_| target.sync_all()).map_err(failed)?;
    }
    fs::set_permissions(to, fs::Permissions::from_mode(meta.permissions().mode() & 0o777)).map_err(failed)
}
