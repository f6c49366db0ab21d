//! What was asked of hosts and not answered in time. A host that hangs is asked for the same no second time while it hangs:
//! otherwise each pass would leave one more thread there, or here, that nobody can end.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// What was asked for: of which host, about which root, which operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asked {
    /// `user@address:port`, or words for this machine.
    pub place: String,
    pub root: String,
    pub doing: &'static str,
}

/// What is not answered yet, and since when.
#[derive(Default)]
pub struct Overdue(Arc<Mutex<HashMap<Asked, Timestamp>>>);

/// There is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Late {
    /// None came in time.
    Now,
    /// None has come since then, and nothing was asked for again.
    Since(Timestamp),
}

impl Overdue {
    /// Waits so long for the answer. One that does not come in time is waited for aside, and until it is there the same is
    /// not asked for again.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn within<T: Send + 'static>(
        &self,
        asked: Asked,
        patience: Duration,
        now: impl Fn() -> Timestamp,
        answer: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Late> {
        if let Some(since) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&asked) {
            return Err(Late::Since(*since));
        }
        let began = now();
        let mut answer = Box::pin(answer);
        if let Ok(answer) = tokio::time::timeout(patience, &mut answer).await {
            return Ok(answer);
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(asked.clone(), began);
        let all = self.0.clone();
        tokio::spawn(async move {
            answer.await;
            all.lock().unwrap_or_else(PoisonError::into_inner).remove(&asked);
        });
        Err(Late::Now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(root: &str) -> Asked {
        Asked { place: "web1".to_owned(), root: root.to_owned(), doing: "observing" }
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_hangs_is_not_asked_again_until_it_has_answered() {
        let overdue = Overdue::default();
        let at = Timestamp::UNIX_EPOCH;
        let sleep = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        let ask =
            async |root, seconds| overdue.within(asked(root), Duration::from_secs(30), || at, sleep(seconds)).await;
        assert_eq!(ask("/a", 29).await, Ok(()));
        assert_eq!(ask("/a", 100).await, Err(Late::Now));
        assert_eq!(ask("/a", 0).await, Err(Late::Since(at)), "it would have answered, and is not asked");
        assert_eq!(ask("/b", 0).await, Ok(()), "another root is");
        sleep(71).await;
        assert_eq!(ask("/a", 0).await, Ok(()), "the first answer has come");
    }
}
