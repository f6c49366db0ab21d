//! The hosts that lead to a place (`ProxyJump`), and a connection through all of them. Knows nothing of who shares what.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::connection::Connection;
use super::endpoint::Endpoint;
use super::error::{Phase, SshError};
use super::settings::{Settings, SshHost};

/// The hosts that lead there, that one last.
///
/// # Errors
/// What the configuration says of one of them cannot be read or done, or leads in a circle.
pub async fn way(settings: &Settings, endpoint: &Endpoint) -> Result<Vec<Arc<SshHost>>, SshError> {
    behind(settings, endpoint, &mut Vec::new()).await
}

fn behind<'a>(
    settings: &'a Settings,
    endpoint: &'a Endpoint,
    before: &'a mut Vec<String>,
) -> BoxFuture<'a, Result<Vec<Arc<SshHost>>, SshError>> {
    Box::pin(async move {
        let place = settings.place(endpoint).await?;
        let name = place.to_string();
        if before.contains(&name) {
            let what = format!("the jump hosts lead in a circle: {}, {name}", before.join(", "));
            return Err(SshError::new(endpoint, Phase::Configuration, what, "correct `ProxyJump`"));
        }
        before.push(name);
        let mut way = Vec::new();
        for (index, jump) in place.jumps.iter().enumerate() {
            // The second is reached through the first, whatever the configuration says of it alone.
            match index {
                0 => way.extend(behind(settings, jump, before).await?),
                _ => way.push(Arc::new(settings.place(jump).await?)),
            }
        }
        way.push(Arc::new(place));
        Ok(way)
    })
}

/// A connection of its own to that place, through connections of its own to whatever lies before it.
///
/// # Errors
/// One of them cannot be reached: where, in which phase, why, and what to do.
pub async fn travel(settings: &Settings, endpoint: &Endpoint) -> Result<Arc<Connection>, SshError> {
    let mut way = way(settings, endpoint).await?;
    let last = way.pop().ok_or_else(|| {
        SshError::new(endpoint, Phase::Configuration, "no host leads there", "look at the SSH configuration")
    })?;
    // Keys that are pinned are those of the last one.
    let others = Settings { pinned: Vec::new(), ..settings.clone() };
    let mut through = None;
    for jump in way {
        through = Some(Arc::new(Connection::open(&others, jump, through).await?));
    }
    Connection::open(settings, last, through).await.map(Arc::new)
}
