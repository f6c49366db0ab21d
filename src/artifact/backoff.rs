//! Another attempt after an accident: how many, and how long after the last one.

use std::time::Duration;

use super::fetch::FetchError;

/// Counts attempts, and waits between them.
pub(super) struct Backoff {
    left: u32,
    pause: Duration,
}

impl Backoff {
    pub(super) fn new(retries: u32, pause: Duration) -> Self {
        Backoff { left: retries, pause }
    }

    /// Waits where another attempt makes sense; gives the error back where it does not.
    pub(super) async fn pause(&mut self, error: FetchError) -> Result<(), FetchError> {
        if !error.is_transient() || self.left == 0 {
            return Err(error);
        }
        tracing::debug!(%error, pause = ?self.pause, "trying again");
        tokio::time::sleep(self.pause).await;
        self.left -= 1;
        self.pause *= 2;
        Ok(())
    }
}
