//! What a release holds of its project: read from its own file, and from nowhere else.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde_json::Value;

use super::resolve;
use crate::host::disk::beneath::at;
use crate::host::disk::file;
use crate::host::disk::root::Root;
use crate::host::wire::HostError;
use crate::model::compose::{RESOLVED, Resolved};
use crate::model::ids::ReleaseName;

/// No project is described by more bytes.
const MOST: u64 = 16 << 20;

/// The project of a release.
#[derive(Debug, Clone)]
pub struct Held {
    pub release: ReleaseName,
    pub file: PathBuf,
    pub resolved: Resolved,
    /// Of the definition of each service.
    pub digests: BTreeMap<String, String>,
}

impl Held {
    /// `None`: the release is of no project.
    pub fn of(root: &Root, release: &ReleaseName) -> Result<Option<Held>, HostError> {
        let file = root.release(release).join(RESOLVED);
        let text = match file::read(&file, MOST) {
            Ok(text) => zeroize::Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at("read", &file)(error)),
        };
        let unread = |why: String| HostError::Io(format!("{} cannot be understood: {why}", file.display()));
        let (resolved, digests) = resolve::held(&text).map_err(unread)?;
        Ok(Some(Held { release: release.clone(), file, resolved, digests }))
    }

    /// The services that stay up, each with how many containers it has.
    pub fn services(&self) -> impl Iterator<Item = (&str, u32)> {
        self.resolved.scale.iter().map(|(name, count)| (name.as_str(), *count))
    }
}

/// What the program is given of a release; `None`: it has none that can be read.
pub fn document(root: &Root, release: &ReleaseName) -> Option<Value> {
    let text = zeroize::Zeroizing::new(file::read(&root.release(release).join(RESOLVED), MOST).ok()?);
    serde_json::from_slice(&text).ok()
}

/// The name of the project in such a file.
pub fn project(file: &std::path::Path) -> Option<String> {
    let text = zeroize::Zeroizing::new(file::read(file, MOST).ok()?);
    resolve::held(&text).ok().map(|(resolved, _)| resolved.project)
}
