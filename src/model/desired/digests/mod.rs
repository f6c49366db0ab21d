//! The digests that decide (law 12): whether what runs was made with what is desired, which case a verdict was about, and
//! whether a saved plan is stale. Hosts remember them for years, so they are never taken of the live types: a field
//! that is added there would change every digest, redeploy every fleet and lift every verdict.
//!
//! They are taken of views of their own, version 1, whose bytes are those of the first release. Each view takes its live
//! type apart field by field: a new field does not compile until somebody says in which views it stands. There it is
//! skipped where it has its default, so that whoever does not use it keeps every digest. `tests/it/formats` pins them.

mod asked;
mod environment;
mod made_of;
mod rules;

use std::collections::BTreeMap;

use serde::Serialize;

use self::asked::{GateV1, HealthV1, HookV1, WatchV1};
use self::environment::all;
pub use self::environment::{ApprovedV2, EnvironmentV1};
use self::made_of::{FileV1, SharedV1, UnitV1, UnitsV1};
use super::{Delivery, Environment, Shared};
use crate::model::ids::Digest;

impl Environment {
    /// The digest over what a verdict about a release depends on: recipe, gates, hooks, shared paths, health, variables (law 4).
    pub fn config_digest(&self) -> Digest {
        let gates: Vec<GateV1<'_>> = all(&self.gates);
        let hooks: Vec<HookV1<'_>> = all(&self.hooks);
        let shared: Vec<SharedV1<'_>> = all(&self.shared);
        let health = HealthV1::from(&self.health);
        let watch = self.watch.as_ref().map(WatchV1::from);
        let config =
            ((&self.recipe, gates, hooks, shared, &self.mutable), (&self.required_env, &self.variables, health, watch));
        // The same archive stripped otherwise is another release. What of a commit is deployed stands in the digest that it
        // goes by.
        let strip = match &self.delivery {
            Delivery::Bundle(bundle) => bundle.strip,
            Delivery::Git(_) | Delivery::Compose(_) => 0,
        };
        let settle = self.delivery.compose().map(|_| asked::in_seconds(self.settle));
        let later = LaterV1 { units: UnitsV1::of(self), files: all(&self.files), settle, drains: all(&self.drains) };
        match (strip, later.is_empty()) {
            (0, true) => Digest::of_json(&config),
            (strip, true) => Digest::of_json(&(config, strip)),
            (strip, false) => Digest::of_json(&(config, strip, later)),
        }
    }

    /// The digest over what a running release was made with beside its SHA: a difference is a change at the same SHA (A10).
    pub fn inputs_digest(&self) -> Digest {
        let shared: Vec<SharedV1<'_>> = all(&self.shared);
        match UnitsV1::of(self) {
            None => Digest::of_json(&(&self.variables, shared)),
            Some(units) => Digest::of_json(&(&self.variables, shared, units)),
        }
    }

    /// The digest over all of it: whether anything at all is desired otherwise than before.
    pub fn digest(&self) -> Digest {
        Digest::of_json(&EnvironmentV1::from(self))
    }
}

/// What stands in the configuration's digest since the first release, where it is used: what comes next comes here.
#[derive(Serialize)]
struct LaterV1<'a> {
    /// What runs a release decides how it is judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    units: Option<UnitsV1<'a>>,
    /// A repaired template is another case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<FileV1<'a>>,
    /// In which services settle that are no units. What else of a project decides stands in the digest that it goes by.
    #[serde(skip_serializing_if = "Option::is_none")]
    settle: Option<f64>,
    /// Who works on while the database changes decides what may go wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    drains: Vec<UnitV1<'a>>,
}

impl LaterV1<'_> {
    fn is_empty(&self) -> bool {
        self.units.is_none() && self.files.is_empty() && self.settle.is_none() && self.drains.is_empty()
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
