//! Deployments and returns while people use the application.

use std::time::Instant;

use super::load::Load;
use super::stack::Stack;

/// So many in the ordinary run, and with `SOLL_LONG=1`.
const TIMES: (usize, usize) = (10, 100);

#[test]
fn nobody_notices_deployments_and_returns() {
    let times = if std::env::var_os("SOLL_LONG").is_some() { TIMES.1 } else { TIMES.0 };
    let mut stack = Stack::start();
    stack.more = "keep_releases = 3\n".to_owned();
    let mut before = stack.release(&[]);
    stack.deploy(&before).exits(0);
    stack.supervise();
    let load = Load::start(stack.port);
    let (mut deployed, mut returned) = (0, 0);
    for n in 0..times {
        // Two forward, then one back.
        let is_return = n % 3 == 2;
        let next = if is_return { before.clone() } else { stack.release(&[]) };
        let live = stack.shows();
        let ran = stack.deploy(&next).exits(0);
        let settled = Instant::now();
        assert_eq!(ran.stderr.contains("extract"), !is_return, "{}", ran.stderr);
        // The grace period and the checks are over: from here on nothing of the release before is served.
        let seen = load.answered_since(settled, 24);
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [next[..8].to_owned()], "number {n}");
        before = live;
        if is_return { returned += 1 } else { deployed += 1 }
    }
    let count = load.end();
    println!("{deployed} deployments, {returned} returns, {} requests, {} failed", count.requests, count.failed.len());
    assert!(count.failed.is_empty(), "{} of {} failed: {:#?}", count.failed.len(), count.requests, count.failed);
    assert!(count.requests > 100 * times, "{} requests are no load", count.requests);
}
