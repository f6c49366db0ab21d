//! A bundle, or the tree of a commit, that the host brings itself (`fetch_from = "host"`): downloaded, checked and unpacked
//! aside, then taken in as if a controller had sent it.

use std::path::Path;
use std::time::Duration;

use crate::artifact::fetch::FetchError;
use crate::artifact::files::FileError;
use crate::artifact::pack::{BlobStream, Unpacked};
use crate::artifact::source::Source;
use crate::artifact::store::{ArtifactError, ArtifactStore};
use crate::artifact::terms::Terms;
use crate::artifact::unpack::UnpackError;
use crate::fault::fault;
use crate::host::disk::beneath::at;
use crate::host::disk::kept::Offered;
use crate::host::disk::root::Root;
use crate::host::release::checkout::Wish;
use crate::host::release::prune::Cures;
use crate::host::release::stage::{self, Compared, Feed};
use crate::host::wire::{Commit, HostError, Reply, Secret};
use crate::model::ids::Digest;

/// Below `.soll/`: the bundle while it is needed; what a lost run downloaded is where the next one goes on.
pub const BUNDLES: &str = "bundles";

/// So often it is asked whether anybody still waits.
const LOOK: Duration = Duration::from_secs(1);

/// Fetches, checks, unpacks, and takes in what no release here has; on the terms of the application.
///
/// # Errors
/// [`HostError::Io`]: it cannot be had, or is not what it should be: the place, the reason, the next move.
pub fn fetch(
    root: &Root,
    (place, commit): (&Secret, Option<&Commit>),
    (digest, terms): (Digest, &Terms),
    keep: Option<u32>,
    asker: &dyn Feed,
) -> Result<Reply, HostError> {
    let wanted = match commit {
        Some(commit) => Wanted::Commit(Wish::new(root, place, commit)?),
        None => Wanted::Bundle(Source::beside(place.expose()).map_err(|error| HostError::Io(error.to_string()))?),
    };
    root.own_dir("")?.make_missing(BUNDLES, 0o700)?;
    let dir = root.own_dir(BUNDLES)?.path().to_owned();
    let (mut cures, mut removed) = (Cures::of(keep), Vec::new());
    let unpacked = loop {
        let error = match bring(root, &dir, (&wanted, digest), asker)?.and_then(|unpacked| {
            let taken = terms.take(unpacked, &wanted.place());
            Ok(taken?)
        }) {
            Ok(unpacked) => break unpacked,
            Err(error) => error,
        };
        let went = if error.is_full() { cures.next(root)? } else { Vec::new() };
        if went.is_empty() {
            if error.is_full() {
                root.remove_own(BUNDLES)?;
            }
            return Err(failed(root, error));
        }
        removed.extend(went);
    };
    fault!("host.fetch.after-unpack");
    let tree = unpacked.manifest.digest();
    let compared = stage::compare(root, Offered::new(tree, unpacked.manifest.clone()), keep);
    if compared.is_err() {
        // What was unpacked takes as much as the release would.
        root.remove_own(BUNDLES)?;
    }
    let Compared { files, removed: went, .. } = compared?;
    removed.extend(went);
    let mut contents = Contents { stream: unpacked.stream(&files), error: None };
    let taken = stage::upload(root, &tree, &files, &mut contents);
    let spoilt = match (contents.error, &taken) {
        (Some(error), _) => Some(at("read", &dir)(error)),
        (None, Err(HostError::Integrity(_))) => {
            unpacked.check(&files).err().map(|error| HostError::Io(error.to_string()))
        }
        _ => None,
    };
    if let Some(error) = spoilt {
        // What cannot be read now could not be read the next time, either.
        root.remove_own(BUNDLES)?;
        return Err(error);
    }
    let bytes = taken?;
    root.remove_own(BUNDLES)?;
    Ok(Reply::Fetched { tree, bytes, removed, notes: unpacked.notes.clone() })
}

/// The bundle, from where it is or from what an earlier attempt left of it.
fn bring(
    root: &Root,
    dir: &Path,
    (wanted, digest): (&Wanted, Digest),
    asker: &dyn Feed,
) -> Result<Result<Unpacked, ArtifactError>, HostError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(at("start a download into", dir))?;
    let store = ArtifactStore::new(dir).map_err(|error| failed(root, error))?;
    let brought = runtime.block_on(async {
        tokio::select! {
            brought = wanted.bring(&store, digest) => Some(brought),
            () = gone(asker) => None,
        }
    });
    // A name lookup that hangs in the C library cannot be cancelled. Git can.
    wanted.stop();
    runtime.shutdown_background();
    // The root is not held for somebody who is not there; the next download goes on where this one is.
    let gone = || HostError::Connection("the controller was not heard any more during the download".into());
    brought.ok_or_else(gone)
}

/// What is fetched.
enum Wanted {
    Bundle(Source),
    Commit(Wish),
}

impl Wanted {
    async fn bring(&self, store: &ArtifactStore, digest: Digest) -> Result<Unpacked, ArtifactError> {
        match self {
            Wanted::Bundle(source) => store.ensure(source, Some(digest), &|_| ()).await,
            Wanted::Commit(wish) => wish.bring(store, digest).await,
        }
    }

    /// Nobody waits for it any more.
    fn stop(&self) {
        match self {
            Wanted::Bundle(_) => {}
            Wanted::Commit(wish) => wish.stop(),
        }
    }

    /// Where it is from, for people.
    fn place(&self) -> String {
        match self {
            Wanted::Bundle(source) => source.url.to_string(),
            Wanted::Commit(wish) => wish.place(),
        }
    }
}

async fn gone(asker: &dyn Feed) {
    while !asker.is_gone() {
        tokio::time::sleep(LOOK).await;
    }
}

/// The blobs of the bundle, as the upload of a controller would bring them.
struct Contents<'a> {
    stream: BlobStream<'a>,
    error: Option<std::io::Error>,
}

impl Feed for Contents<'_> {
    fn next(&mut self) -> Option<Vec<u8>> {
        self.stream.next()?.map_err(|error| self.error = Some(error)).ok()
    }
}

/// The advice for a controller's cache does not fit a host.
fn failed(root: &Root, error: ArtifactError) -> HostError {
    let full = |doing: &str| {
        let place = root.path().display();
        format!("the disk of {place} is full (while {doing}): make room, or lower `keep_releases`, then run again")
    };
    let text = match &error {
        ArtifactError::File(file)
        | ArtifactError::Unpack(UnpackError::File(file))
        | ArtifactError::Fetch(FetchError::File(file)) => match file {
            FileError::DiskFull { doing, .. } => Some(full(doing)),
            FileError::Other { .. } => None,
        },
        ArtifactError::Origin(_) if error.is_full() => Some(full("fetching a commit")),
        _ => None,
    };
    HostError::Io(text.unwrap_or_else(|| error.to_string()))
}
