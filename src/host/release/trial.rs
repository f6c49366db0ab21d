//! A release that is only tried: built in `.soll/staging/`, linked to `shared/` as it is, with its rendered files as they would
//! be, asked its gates, and thrown away. It never comes near `releases/`, makes nothing in `shared/`, and what a crash leaves of
//! it the next holder of the root clears (`Root::tidy`).

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use crate::fault::fault;
use crate::host::disk::beneath::{Dir, at, check, is_dir};
use crate::host::disk::command;
use crate::host::disk::leftovers;
use crate::host::disk::root::Root;
use crate::host::release::blobs::{self, Blobs};
use crate::host::release::build;
use crate::host::release::hook;
use crate::host::release::stage;
use crate::host::wire::render::Version;
use crate::host::wire::trial::Trial;
use crate::host::wire::{HostError, Reply};
use crate::model::desired::Shared;
use crate::model::ids::Digest;

/// The name in `.soll/staging/`; no release can be called so.
const NAME: &str = ".trial";

/// Does it.
pub fn perform(root: &Root, trial: &Trial) -> Result<Reply, HostError> {
    match trial {
        Trial::Build { tree, shared, rendered } => build(root, tree, shared, rendered).map(|()| Reply::Done),
        Trial::Gate { gate, command } => {
            hook::gate_in(&place(root)?, gate, command.as_ref(), &command::run).map(Reply::Gate)
        }
        Trial::Run { command } => command::run(command, &place(root)?).map(Reply::Command),
        Trial::Drop => clear(root).map(|()| Reply::Done),
    }
}

fn place(root: &Root) -> Result<PathBuf, HostError> {
    let path = root.own("staging").join(NAME);
    if path.is_dir() {
        return Ok(path);
    }
    Err(HostError::Precondition("there is no trial under way here".to_owned()))
}

fn build(root: &Root, tree: &Digest, shared: &[Shared], rendered: &[Version]) -> Result<(), HostError> {
    let offered = stage::offered(root, tree)?;
    stage::verify_shape(&offered.manifest)?;
    let staging = root.own_dir("staging")?;
    put_aside(root)?;
    staging.make(NAME)?;
    let tree = staging.sub(NAME)?;
    build::build(&mut Blobs::open(root, &offered)?, &tree, false)?;
    fault!("host.trial.after-build");
    for one in shared {
        check(&one.path)?;
        check(&one.from)?;
        let (parent, last) = one.path.rsplit_once('/').unwrap_or(("", &one.path));
        let dir = tree.make_all(parent)?;
        match rendered.iter().find(|version| version.from == one.from) {
            Some(version) => put(&dir, last, version)?,
            None => link(root, one, &dir, last)?,
        }
    }
    Ok(())
}

/// A rendered file in the place where the release reads it.
fn put(dir: &Dir, name: &str, version: &Version) -> Result<(), HostError> {
    if dir.stat(name)?.is_some() {
        dir.remove(name)?;
    }
    let mut file = dir.create(name, 0o600)?;
    file.write_all(version.contents.expose().as_bytes()).map_err(at("write", &dir.path().join(name)))
}

/// A link to what is shared, where it is there.
fn link(root: &Root, one: &Shared, dir: &Dir, name: &str) -> Result<(), HostError> {
    let home = root.shared().join(&one.from);
    let there = fs::metadata(&home).is_ok_and(|meta| meta.is_dir() == one.directory);
    match dir.stat(name)? {
        // Not shared yet: what the release ships stands for it.
        Some(stat) if !there && is_dir(&stat) == one.directory => return Ok(()),
        Some(_) => dir.remove(name)?,
        None => {}
    }
    match there {
        true => dir.link(&home.to_string_lossy(), name),
        false if one.directory => dir.make(name),
        // Missing, and said by who asked for the trial.
        false => Ok(()),
    }
}

fn clear(root: &Root) -> Result<(), HostError> {
    put_aside(root)?;
    blobs::drop_uploads(root)
}

/// Removes the trial. What a gate wrote into it as another user stays, out of the way.
fn put_aside(root: &Root) -> Result<(), HostError> {
    let staging = root.own_dir("staging")?;
    if staging.stat(NAME)?.is_some() && !leftovers::throw_away(&staging, NAME, &root.own_dir("trash")?)? {
        staging.remove(NAME)?;
    }
    leftovers::clear(root).map(drop)
}
