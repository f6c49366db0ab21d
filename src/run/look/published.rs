//! An observation for those who have no access to the hosts: written by the daemon, read by `plan --observation` in a
//! pull request. It holds no secret: observations never do.

use std::collections::btree_map::Entry;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::format::{Form, Unreadable, fault};
use crate::model::observed::Observed;

/// What a daemon publishes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Published {
    /// The version of this form. The first program that published said none.
    #[serde(default = "first")]
    pub schema: u64,
    /// The commit that was acted on.
    pub commit: String,
    pub at: Timestamp,
    pub observed: Observed,
}

/// The version of observations that are published.
pub const SCHEMA: u64 = 1;

const FORM: Form = Form { known: SCHEMA, unsaid: Some(1) };

fn first() -> u64 {
    1
}

/// More than this is no observation of ours.
const LIMIT: usize = 256 << 20;

/// Whoever publishes answers within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Several observations as one: hosts that look after themselves publish each its own. What was read first stands.
pub fn merge(into: &mut Observed, more: Observed) {
    for (name, theirs) in more.environments {
        match into.environments.entry(name) {
            Entry::Vacant(free) => drop(free.insert(theirs)),
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                for (host, seen) in theirs.hosts {
                    if let Entry::Vacant(free) = known.hosts.entry(host) {
                        let other = theirs.other_machines.get(free.key());
                        known.other_machines.extend(other.map(|other| (free.key().clone(), other.clone())));
                        free.insert(seen);
                    }
                }
                known.live_trees.extend(theirs.live_trees);
            }
        }
    }
}

impl Published {
    /// Reads a file, or an address of a daemon (`http://host:port/observation`).
    pub async fn read(place: &str) -> Result<Published, String> {
        let bytes = if place.starts_with("http://") || place.starts_with("https://") {
            let failed = |error: reqwest::Error| format!("cannot fetch the observation: {}", error.without_url());
            let client = reqwest::Client::builder().timeout(PATIENCE).build().map_err(failed)?;
            let answer =
                client.get(place).send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
            answer.bytes().await.map_err(failed)?.to_vec()
        } else {
            std::fs::read(place).map_err(|error| format!("cannot read the observation {place}: {error}"))?
        };
        if bytes.len() > LIMIT {
            return Err(format!("{place} is too large to be an observation"));
        }
        FORM.read(&bytes).map_err(|error| match error {
            Unreadable::Newer { .. } => format!("the observation {place} cannot be read here: {error}"),
            Unreadable::Damaged(error) => format!("{place} is no observation: {}", fault(&error)),
        })
    }
}
