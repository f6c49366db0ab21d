//! The links from a release to `ROOT/shared/`: what must outlive a release lies there (A1, A9).

use std::fs;
use std::path::Path;

use rustix::io::Errno;

use crate::fault::fault;
use crate::host::disk::beneath::{Dir, at, check, is_dir, is_file, is_link};
use crate::host::disk::file;
use crate::host::disk::root::{Root, list};
use crate::host::release::observe::missing_env;
use crate::host::wire::HostError;
use crate::model::desired::Shared;
use crate::model::ids::ReleaseName;
use crate::model::record::Refusal;

/// Makes the links of a release that is not sealed. Shared directories are made where they are missing; a shared file
/// that is missing is a verdict, never an empty file. What the release ships at such a place gives way to the link;
/// an empty shared directory takes it over as its skeleton.
pub fn link(
    root: &Root,
    name: &ReleaseName,
    shared: &[Shared],
    env_file: Option<&str>,
    required_env: &[String],
) -> Result<(), HostError> {
    let record = root.record()?;
    let release = record.releases.get(name).ok_or_else(|| Refusal::NoSuchRelease(name.clone()))?;
    if release.sealed {
        let text = format!("release {name} is sealed: its links do not change any more, stage the release anew");
        return Err(HostError::Precondition(text));
    }
    verify(root, shared, env_file)?;
    verify_env(root, env_file, required_env)?;
    let tree = Dir::open(&root.releases())?.sub(name.as_str())?;
    let home = Dir::open(&root.shared())?;
    for one in shared {
        if one.directory && !fs::metadata(home.path().join(&one.from)).is_ok_and(|meta| meta.is_dir()) {
            home.make_all(&one.from)?;
        }
        link_one(&home, &tree, one)?;
    }
    Ok(())
}

/// The target of a shared path's link: relative, so that ROOT can be moved or be seen from inside a container.
pub fn target(shared: &Shared) -> String {
    let depth = shared.path.split('/').count() + 1;
    format!("{}shared/{}", "../".repeat(depth), shared.from)
}

fn link_one(home: &Dir, tree: &Dir, shared: &Shared) -> Result<(), HostError> {
    let (parent, last) = shared.path.rsplit_once('/').unwrap_or(("", &shared.path));
    let dir = tree.make_all(parent)?;
    let target = target(shared);
    if let Some(stat) = dir.stat(last)? {
        if is_link(&stat) && dir.target(last)? == target {
            return Ok(());
        }
        let place = home.path().join(&shared.from);
        if is_dir(&stat) && shared.directory && list(&place)?.is_empty() {
            // The application's user may have made a link there since it was looked at.
            let to = home.try_sub(&shared.from).map_err(|error| match error {
                Errno::LOOP => HostError::Io(format!(
                    "{} is empty and lies behind a link, through which nothing is copied: copy what the release ships \
                     there by hand (or mount it at its place instead of the link), then run again",
                    place.display()
                )),
                error => at("open the directory", &place)(error),
            })?;
            skeleton(&dir.sub(last)?, &to)?;
        }
        dir.remove(last)?;
    }
    fault!("host.link.before-link");
    dir.link(&target, last)?;
    fault!("host.link.after-link");
    Ok(())
}

/// Copies directories and files that do not exist yet, links in it through no other.
fn skeleton(from: &Dir, to: &Dir) -> Result<(), HostError> {
    for name in from.names()? {
        let name = name.as_str();
        let Some(stat) = from.stat(name)? else { continue };
        if is_dir(&stat) {
            if to.stat(name)?.is_none() {
                to.make(name)?;
            }
            skeleton(&from.sub(name)?, &to.sub(name)?)?;
        } else if to.stat(name)?.is_some() {
            continue;
        } else if is_link(&stat) {
            to.link(&from.target(name)?, name)?;
        } else if is_file(&stat) {
            let mut source = from.read(name)?;
            let mut copy = to.create(name, stat.st_mode & 0o777)?;
            std::io::copy(&mut source, &mut copy).map_err(at("write", &to.path().join(name)))?;
        }
    }
    Ok(())
}

fn verify(root: &Root, shared: &[Shared], env_file: Option<&str>) -> Result<(), HostError> {
    for one in shared {
        check(&one.path)?;
        check(&one.from)?;
        let inside = |other: &&Shared| other.path != one.path && one.path.starts_with(&format!("{}/", other.path));
        if let Some(outer) = shared.iter().find(inside) {
            return Err(HostError::Precondition(format!(
                "the shared path `{}` lies inside the shared path `{}`: drop one of them",
                one.path, outer.path
            )));
        }
        let home = root.shared().join(&one.from);
        if !one.directory {
            readable(&home, env_file == Some(one.from.as_str()))?;
        }
    }
    Ok(())
}

fn readable(home: &Path, is_env: bool) -> Result<(), HostError> {
    match file::fits(home, if is_env { file::CONFIGURATION } else { u64::MAX }) {
        Ok(()) => Ok(()),
        Err(error) if file::is_unfit(&error) => Err(HostError::Precondition(format!(
            "the shared file {} cannot be used: {error}. Put a regular file in its place, then run again",
            home.display()
        ))),
        Err(error) if let Some(why) = file::leads_nowhere(home, &error) => Err(HostError::Precondition(format!(
            "the shared file {} cannot be used: {why}. Put a regular file in its place, then run again",
            home.display()
        ))),
        Err(_) => Err(HostError::Precondition(format!(
            "the shared file {} is missing: put it there (it is never made empty), then run again",
            home.display()
        ))),
    }
}

fn verify_env(root: &Root, env_file: Option<&str>, required: &[String]) -> Result<(), HostError> {
    let missing = missing_env(root, env_file, required)?;
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(", ");
    Err(HostError::Precondition(match env_file {
        Some(from) => {
            let path = root.shared().join(from);
            format!("{} does not set {names}: add what is missing, then run again", path.display())
        }
        None => format!(
            "`required_env` asks for {names}, but no shared file is an environment file: add one to `shared_files`"
        ),
    }))
}
