//! A release that is only tried: built in `.soll/staging/`, linked to `shared/` as it is, asked its gates, and thrown
//! away. It never comes near `releases/`, makes nothing in `shared/`, and what a crash leaves of it the next holder of
//! the root clears (`Root::tidy`).

use std::fs;
use std::path::PathBuf;

use crate::fault::fault;
use crate::host::disk::beneath::{check, is_dir};
use crate::host::disk::command;
use crate::host::disk::leftovers;
use crate::host::disk::root::Root;
use crate::host::release::blobs::Blobs;
use crate::host::release::build;
use crate::host::release::hook;
use crate::host::release::stage;
use crate::host::wire::trial::Trial;
use crate::host::wire::{HostError, Reply};
use crate::model::desired::Shared;
use crate::model::ids::Digest;

/// The name in `.soll/staging/`; no release can be called so.
const NAME: &str = ".trial";

/// Does it.
pub fn perform(root: &Root, trial: &Trial) -> Result<Reply, HostError> {
    match trial {
        Trial::Build { tree, shared } => build(root, tree, shared).map(|()| Reply::Done),
        Trial::Gate { gate, command } => hook::gate_in(&place(root)?, gate, command.as_ref()).map(Reply::Gate),
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

fn build(root: &Root, tree: &Digest, shared: &[Shared]) -> Result<(), HostError> {
    let manifest = stage::offered(root, tree)?;
    stage::verify_shape(&manifest)?;
    let staging = root.own_dir("staging")?;
    put_aside(root)?;
    staging.make(NAME)?;
    let tree = staging.sub(NAME)?;
    build::build(&mut Blobs::open(root)?, &tree, &manifest)?;
    fault!("host.trial.after-build");
    for one in shared {
        check(&one.path)?;
        check(&one.from)?;
        let home = root.shared().join(&one.from);
        let there = fs::metadata(&home).is_ok_and(|meta| meta.is_dir() == one.directory);
        let (parent, last) = one.path.rsplit_once('/').unwrap_or(("", &one.path));
        let dir = tree.make_all(parent)?;
        match dir.stat(last)? {
            // Not shared yet: what the release ships stands for it.
            Some(stat) if !there && is_dir(&stat) == one.directory => continue,
            Some(_) => dir.remove(last)?,
            None => {}
        }
        match there {
            true => dir.link(&home.to_string_lossy(), last)?,
            false if one.directory => dir.make(last)?,
            // Missing, and said by who asked for the trial.
            false => {}
        }
    }
    Ok(())
}

fn clear(root: &Root) -> Result<(), HostError> {
    put_aside(root)?;
    Blobs::open(root)?.drop_uploads()
}

/// Removes the trial. What a gate wrote into it as another user stays, out of the way.
fn put_aside(root: &Root) -> Result<(), HostError> {
    let staging = root.own_dir("staging")?;
    if staging.stat(NAME)?.is_some() {
        leftovers::throw_away(&staging, NAME, &root.own_dir("trash")?)?;
    }
    leftovers::clear(root).map(drop)
}
