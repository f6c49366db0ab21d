//! A check as C2 wants it: up to so many attempts, so far apart, each of them recorded. Generic over how an attempt is
//! made and how time passes, so that hosts, the controller and simulations share it.

use std::time::Duration;

use super::verdict::judge;
use crate::model::desired::Check;
use crate::model::observed::{Attempt, CheckResult};

/// Drives one check to its verdict. `attempt` is called with 0, 1, 2, …; `sleep` with `interval`, between attempts only.
/// Dropping the future between two awaits loses nothing but the record of this check.
pub async fn check<A, S>(
    check: &Check,
    attempts: u32,
    interval: Duration,
    mut attempt: impl FnMut(u32) -> A,
    mut sleep: impl FnMut(Duration) -> S,
) -> CheckResult
where
    A: Future<Output = Attempt>,
    S: Future<Output = ()>,
{
    let mut made = Vec::new();
    loop {
        made.push(attempt(u32::try_from(made.len()).unwrap_or(u32::MAX)).await);
        if let Some(verdict) = judge(&made, attempts) {
            return CheckResult { check: check.name.clone(), verdict, attempts: made };
        }
        sleep(interval).await;
    }
}
