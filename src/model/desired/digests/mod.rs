//! The digests that decide (law 12): whether what runs was made with what is desired, which case a verdict was about, and
//! whether a saved plan is stale. Hosts remember them for years, so they are never taken of the live types: a field
//! that is added there would change every digest, redeploy every fleet and lift every verdict.
//!
//! They are taken of views of their own, version 1, whose bytes are those of the first release. Each view takes its live
//! type apart field by field: a new field does not compile until somebody says in which views it stands. There it is
//! skipped where it has its default, so that whoever does not use it keeps every digest. `tests/it/formats` pins them.

mod asked;
mod environment;

use std::collections::BTreeMap;

use self::asked::{GateV1, HealthV1, HookV1, WatchV1};
pub use self::environment::{ApprovedV2, EnvironmentV1};
use self::environment::{SharedV1, all};
use super::{Environment, Shared};
use crate::model::ids::Digest;

impl Environment {
    /// The digest over what a verdict about a release depends on: recipe, gates, hooks, shared paths, health, variables (law 4).
    pub fn config_digest(&self) -> Digest {
        let gates: Vec<GateV1<'_>> = all(&self.gates);
        let hooks: Vec<HookV1<'_>> = all(&self.hooks);
        let shared: Vec<SharedV1<'_>> = all(&self.shared);
        let health = HealthV1::from(&self.health);
        let watch = self.watch.as_ref().map(WatchV1::from);
        Digest::of_json(&(
            (&self.recipe, gates, hooks, shared, &self.mutable),
            (&self.required_env, &self.variables, health, watch),
        ))
    }

    /// The digest over what a running release was made with beside its SHA: a difference is a change at the same SHA (A10).
    pub fn inputs_digest(&self) -> Digest {
        let shared: Vec<SharedV1<'_>> = all(&self.shared);
        Digest::of_json(&(&self.variables, shared))
    }

    /// The digest over all of it: whether anything at all is desired otherwise than before.
    pub fn digest(&self) -> Digest {
        Digest::of_json(&EnvironmentV1::from(self))
    }
}

/// The digest of the shared paths that are linked into a release.
pub fn links(shared: &[Shared]) -> Digest {
    let shared: Vec<SharedV1<'_>> = all(shared);
    Digest::of_json(&shared)
}

/// The digest of the shared files that a release ran with, by path.
pub fn files(present: &BTreeMap<String, Digest>) -> Digest {
    Digest::of_json(present)
}
