//! An observation for those who have no access to the hosts: written by the daemon, read by `plan --observation` in a
//! pull request. It holds no secret: observations never do.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::observed::Observed;

/// What a daemon publishes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Published {
    /// The commit that was acted on.
    pub commit: String,
    pub at: Timestamp,
    pub observed: Observed,
}

/// More than this is no observation of ours.
const LIMIT: usize = 256 << 20;

impl Published {
    /// Reads a file, or an address of a daemon (`http://host:port/observation`).
    pub async fn read(place: &str) -> Result<Published, String> {
        let bytes = if place.starts_with("http://") || place.starts_with("https://") {
            let failed = |error: reqwest::Error| format!("cannot fetch the observation: {}", error.without_url());
            let answer = reqwest::get(place).await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
            answer.bytes().await.map_err(failed)?.to_vec()
        } else {
            std::fs::read(place).map_err(|error| format!("cannot read the observation {place}: {error}"))?
        };
        if bytes.len() > LIMIT {
            return Err(format!("{place} is too large to be an observation"));
        }
        serde_json::from_slice(&bytes).map_err(|error| format!("{place} is no observation: {error}"))
    }
}
