//! A bundle that the host brings itself (`fetch_from = "host"`): downloaded, checked and unpacked aside, then taken in as
//! if a controller had sent it.

use std::time::Duration;

use crate::artifact::delta::Listing;
use crate::artifact::files::FileError;
use crate::artifact::pack::BlobStream;
use crate::artifact::source::Source;
use crate::artifact::store::{ArtifactError, ArtifactStore};
use crate::fault::fault;
use crate::host::disk::beneath::at;
use crate::host::disk::root::Root;
use crate::host::release::stage::{self, Feed};
use crate::host::wire::{HostError, Reply, Secret};
use crate::model::ids::Digest;

/// Below `.soll/`: the bundle while it is needed; what a lost run downloaded is where the next one goes on.
pub const BUNDLES: &str = "bundles";

/// So often it is asked whether anybody still waits.
const LOOK: Duration = Duration::from_secs(1);

/// Fetches, checks, unpacks, and takes in what no release here has.
///
/// # Errors
/// [`HostError::Io`]: it cannot be had, or is not what it should be: the place, the reason, the next move.
pub fn fetch(root: &Root, place: &Secret, digest: Digest, asker: &dyn Feed) -> Result<Reply, HostError> {
    let source = Source::beside(place.expose()).map_err(|error| HostError::Io(error.to_string()))?;
    root.own_dir("")?.make_missing(BUNDLES, 0o700)?;
    let dir = root.own_dir(BUNDLES)?.path().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(at("start a download into", &dir))?;
    let store = ArtifactStore::new(&dir).map_err(|error| failed(root, error))?;
    let unpacked = runtime.block_on(async {
        tokio::select! {
            unpacked = store.ensure(&source, Some(digest), &|_| ()) => Some(unpacked),
            () = gone(asker) => None,
        }
    });
    // A name lookup that hangs in the C library cannot be cancelled.
    runtime.shutdown_background();
    let Some(unpacked) = unpacked else {
        // The root is not held for somebody who is not there; the next download goes on where this one is.
        return Err(HostError::Connection("the controller was not heard any more during the download".to_owned()));
    };
    let unpacked = unpacked.map_err(|error| failed(root, error))?;
    fault!("host.fetch.after-unpack");
    let (blobs, _) = stage::missing(root, Listing::Full(unpacked.manifest.clone()))?;
    let sized: Vec<_> = blobs.iter().map(|digest| (*digest, unpacked.blob_size(digest).unwrap_or_default())).collect();
    let mut contents = Contents { stream: unpacked.stream(&blobs), error: None };
    let taken = stage::upload(root, &sized, &mut contents);
    let spoilt = match (contents.error, &taken) {
        (Some(error), _) => Some(at("read", &dir)(error)),
        (None, Err(HostError::Integrity(_))) => {
            unpacked.check(&blobs).err().map(|error| HostError::Io(error.to_string()))
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
    Ok(Reply::Fetched { tree: unpacked.manifest.digest(), bytes })
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
    let full = |error: &FileError| match error {
        FileError::DiskFull { doing, .. } => Some(format!(
            "the disk of {} is full (while {doing}): make room, or lower `keep_releases`, then run again",
            root.path().display()
        )),
        FileError::Other { .. } => None,
    };
    let text = match &error {
        ArtifactError::File(file) => full(file),
        _ => None,
    };
    HostError::Io(text.unwrap_or_else(|| error.to_string()))
}
