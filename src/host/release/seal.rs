//! The moment from which the contents of a release do not change: sealing our own, adopting someone else's.

use std::sync::Arc;

use crate::artifact::manifest::Manifest;
use crate::fault::fault;
use crate::host::disk::beneath::{Dir, check};
use crate::host::disk::kept::Contents;
use crate::host::disk::people;
use crate::host::disk::root::Root;
use crate::host::release::contents::{Taken, Unread};
use crate::host::release::drift::{self, Depth, leads_home};
use crate::host::release::stamps::{Known, Stamps};
use crate::host::wire::excerpt::Excerpt;
use crate::host::wire::{HostError, Reply};
use crate::model::desired::{Shared, digests};
use crate::model::ids::{Digest, ReleaseName};
use crate::model::record::{Refusal, Release};
use crate::model::shown::counted;

/// Records the contents as the pre-switch hooks left them, makes them durable, and seals the release.
pub fn seal(root: &Root, name: &ReleaseName, shared: &[Shared], mutable: &[String]) -> Result<Reply, HostError> {
    let record = root.record()?;
    let release = record.releases.get(name).ok_or_else(|| Refusal::NoSuchRelease(name.clone()))?;
    if release.sealed {
        // The answer to an earlier request was lost: it is asked again, and the contents are what they were.
        return Ok(Reply::Sealed { tree: Contents::of_sealed(root, name)?.tree(), unread: Excerpt::default() });
    }
    for one in shared {
        check(&one.path)?;
        if !leads_home(root, name, one) {
            let text = format!("release {name} cannot be sealed: `{}` does not lead to shared/{}", one.path, one.from);
            return Err(HostError::Precondition(text));
        }
    }
    let dir = Dir::open(&root.releases())?.sub(name.as_str())?;
    dir.sync_all()?;
    root.make_light();
    let (staged, tree) = staged(root, name, release.tree)?;
    let known = Known::load(root, name, (&staged, tree));
    let Taken { contents, looks, unread } = Contents::read(dir.path(), shared, mutable, &known)?;
    if let Some(first) = unread.first() {
        return Err(HostError::Precondition(closed(name, first, unread.len())));
    }
    let tree = contents.manifest.digest();
    Stamps::durable(looks, tree).save(root, name);
    fault!("host.seal.before-manifest");
    finish(root, name, (&contents, tree), digests::links(shared), || fault!("host.seal.after-manifest"))?;
    fault!("host.seal.after-record");
    root.forget_offered();
    // Just looked at: the next pass need not do it again.
    drift::note(root, name, Vec::new(), 0);
    Ok(Reply::Sealed { tree, unread: Excerpt::default() })
}

/// What was extracted, and its digest.
fn staged(root: &Root, name: &ReleaseName, tree: Option<Digest>) -> Result<(Arc<Manifest>, Digest), HostError> {
    if let Some((manifest, tree)) = tree.and_then(|tree| Some((root.offered(&tree)?.manifest.clone(), tree))) {
        return Ok((manifest, tree));
    }
    let manifest = Contents::load(root, name)?.map(|kept| kept.manifest).unwrap_or_default();
    let tree = manifest.digest();
    Ok((manifest, tree))
}

/// Takes over a directory in `releases/` as it is (A8). Shared paths in it that lead to `shared/` are watched as links;
/// at the others lies data of the application, which is neither contents nor drift.
pub fn adopt(
    root: &Root,
    name: &ReleaseName,
    release: Release,
    shared: &[Shared],
    mutable: &[String],
) -> Result<Reply, HostError> {
    let dir = Dir::open(&root.releases())?.sub(name.as_str()).map_err(|_| Refusal::NoSuchRelease(name.clone()))?;
    match root.record()?.releases.get(name) {
        Some(known) if known.sealed => {
            return Ok(Reply::Sealed { tree: Contents::of_sealed(root, name)?.tree(), unread: Excerpt::default() });
        }
        // Ours, and never finished: no one vouches for it.
        Some(known) if !known.adopted => return Err(Refusal::NotSealed(name.clone()).into()),
        _ => {}
    }
    shared.iter().try_for_each(|one| check(&one.path))?;
    let entry = Release { adopted: true, sealed: false, ..release };
    root.update(|record| {
        record.staged(name.clone(), entry);
        Ok(())
    })?;
    fault!("host.adopt.after-entry");
    let Taken { mut contents, unread, .. } = Contents::read(dir.path(), shared, mutable, &Known::default())?;
    let (linked, data): (Vec<_>, Vec<_>) = shared.iter().cloned().partition(|one| leads_home(root, name, one));
    contents.shared = linked;
    // What cannot be read is not vouched for: the release is the way back without it, as it was until now.
    let data = data.iter().map(|one| &one.path).chain(unread.iter().map(|one| &one.path));
    contents.mutable.extend(data.flat_map(|path| {
        let path = globset::escape(path);
        [path.clone(), format!("{path}/**")]
    }));
    let tree = contents.manifest.digest();
    finish(root, name, (&contents, tree), digests::links(shared), || fault!("host.adopt.after-manifest"))?;
    fault!("host.adopt.after-record");
    let unread: Vec<String> = unread.iter().map(Unread::what).collect();
    Ok(Reply::Sealed { tree, unread: Excerpt::from(unread).cut() })
}

/// Why a release that this user cannot read in full is not sealed.
fn closed(name: &ReleaseName, first: &Unread, count: usize) -> String {
    let more = if count == 1 { String::new() } else { format!(" and {} more", count - 1) };
    let what = first.what();
    format!(
        "release {name} cannot be sealed: {what}{more} cannot be read by {}; what the application writes for itself belongs into \
         `mutable` (mutable = [\"{}/**\"]) or into shared_dirs, and what a hook makes has to be readable",
        people::user(rustix::process::geteuid().as_raw()),
        first.path
    )
}

/// A sealed release against what was sealed, before it is returned to (law 1). One that drifted loses its seal: nobody
/// vouches for it any more, and the next plan makes it anew.
pub fn verify(root: &Root, name: &ReleaseName) -> Result<(), HostError> {
    let report = drift::scan(root, name, Depth::Stamps)?.ok_or_else(|| Refusal::NotSealed(name.clone()))?;
    let Some(first) = report.entries.first() else { return Ok(()) };
    let text = format!(
        "release {name} is not what was sealed ({}, `{}` first): it is not returned to, but made anew",
        counted(report.count(), "path differs", "paths differ"),
        first.path
    );
    root.update(|record| {
        if let Some(release) = record.releases.get_mut(name) {
            release.sealed = false;
        }
        Ok(())
    })?;
    Err(HostError::Integrity(text))
}

fn finish(
    root: &Root,
    name: &ReleaseName,
    (contents, tree): (&Contents, Digest),
    links: Digest,
    between: impl FnOnce(),
) -> Result<(), HostError> {
    contents.save(root, name)?;
    between();
    root.update(|record| Ok(record.seal(name, tree, links)?))
}
