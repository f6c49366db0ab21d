//! A service of the live release, from inside its container.

use std::ffi::OsString;
use std::io::Write;

use zeroize::Zeroizing;

use super::engine::Engine;
use super::held::Held;
use crate::backup::dump::tool::{Ended, Inside};
use crate::backup::{BackupError, Wanted};
use crate::host::disk::root::Root;
use crate::host::release::observe::current_release;
use crate::host::wire::HostError;

/// The container of a service that runs.
pub struct Entered {
    engine: Engine,
    id: String,
    service: String,
}

/// The first container of a service of what `current` leads to.
///
/// # Errors
/// The live release is no project, or nothing of that service runs.
pub fn enter(root: &Root, service: &str) -> Result<Entered, HostError> {
    let place = root.path().display();
    let live = current_release(root)?;
    let held = Held::of(root, &live)?;
    let held = held.ok_or_else(|| HostError::Io(format!("the live release of {place} is no project of Compose")))?;
    let engine = Engine::here()?;
    let containers = engine.containers(Some(&held.resolved.project))?;
    let mut running: Vec<_> =
        containers.iter().filter(|one| !one.is_once() && one.service() == service && one.state == "running").collect();
    running.sort_by_key(|one| one.name().to_owned());
    match running.first() {
        Some(one) => Ok(Entered { id: one.id.clone(), service: service.to_owned(), engine }),
        None => {
            let known: Vec<&str> = held.services().map(|(name, _)| name).collect();
            Err(HostError::Io(format!(
                "no container of the service {service} runs in the project {}; its services are: {}",
                held.resolved.project,
                known.join(", ")
            )))
        }
    }
}

impl Inside for Entered {
    fn name(&self) -> &str {
        &self.service
    }

    fn run(
        &self,
        words: &[OsString],
        variables: &[(&str, Zeroizing<String>)],
        to: &mut dyn Write,
        wanted: &dyn Wanted,
    ) -> Result<Ended, BackupError> {
        self.engine.exec(&self.id, words, variables, to, wanted)
    }
}
