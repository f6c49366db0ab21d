//! How many do something at the same time. Whoever only waits for a host that does not answer is not counted meanwhile:
//! hosts that hang must not use up the width that the others need (law 13).

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Notify;

/// A host that answers within this time is not waited for.
const PROMPT: Duration = Duration::from_secs(1);

tokio::task_local! {
    static TURN: Arc<Turn>;
}

/// So many at the same time.
pub struct Width {
    most: usize,
    working: Mutex<usize>,
    freed: Notify,
}

/// The place of one of them; when the last copy is dropped the next one has it.
pub struct Turn {
    width: Arc<Width>,
    /// Calls under way that a host does not answer.
    waiting: Mutex<usize>,
    /// What it is a part of waits with it.
    outer: Option<Arc<Turn>>,
}

/// While a host does not answer; the place is counted again when it is dropped.
struct Away {
    turn: Arc<Turn>,
    _outer: Option<Box<Away>>,
}

/// Waits for a host. After a moment the place of whoever waits is somebody else's until the answer comes.
pub async fn wait<F: Future>(turn: Option<Arc<Turn>>, call: F) -> F::Output {
    tokio::pin!(call);
    match tokio::time::timeout(PROMPT, &mut call).await {
        Ok(answer) => answer,
        Err(_) => {
            let _away = turn.map(Away::from);
            call.await
        }
    }
}

/// The same for what takes its time: it is waited for while `so_far` does not move.
pub async fn wait_while_still<F: Future>(turn: Option<Arc<Turn>>, so_far: &AtomicU64, call: F) -> F::Output {
    tokio::pin!(call);
    let (mut last, mut away) = (so_far.load(Ordering::Relaxed), None);
    loop {
        match tokio::time::timeout(PROMPT, &mut call).await {
            Ok(answer) => return answer,
            Err(_) => {
                let now = so_far.load(Ordering::Relaxed);
                if now != last {
                    away = None;
                } else if away.is_none() {
                    away = turn.clone().map(Away::from);
                }
                last = now;
            }
        }
    }
}

/// The place in which this is done, if it is in one.
pub fn turn() -> Option<Arc<Turn>> {
    TURN.try_with(Arc::clone).ok()
}

impl Width {
    /// For so many.
    pub fn new(most: usize) -> Arc<Width> {
        Arc::new(Width { most, working: Mutex::new(0), freed: Notify::new() })
    }

    /// A place, where there is one.
    pub fn begin(self: &Arc<Self>) -> Option<Arc<Turn>> {
        let mut working = lock(&self.working);
        if *working >= self.most {
            return None;
        }
        *working += 1;
        Some(Arc::new(Turn { width: self.clone(), waiting: Mutex::new(0), outer: turn() }))
    }

    /// Does all of it, and gives what came of it in the same order.
    pub async fn all<F: Future>(self: &Arc<Self>, work: impl IntoIterator<Item = F>) -> Vec<F::Output> {
        let mut work = work.into_iter().enumerate();
        let (mut running, mut done) = (FuturesUnordered::new(), Vec::new());
        let mut next = work.next();
        loop {
            while next.is_some()
                && let Some(turn) = self.begin()
            {
                let one = next.take().map(|(place, one)| turn.scope(async move { (place, one.await) }));
                running.extend(one);
                next = work.next();
            }
            tokio::select! {
                Some(one) = running.next() => done.push(one),
                () = self.freed.notified(), if next.is_some() => {}
                else => break,
            }
        }
        done.sort_by_key(|(place, _)| *place);
        done.into_iter().map(|(_, one)| one).collect()
    }

    fn leave(&self) {
        let mut working = lock(&self.working);
        *working = working.saturating_sub(1);
        self.freed.notify_one();
    }
}

impl Turn {
    /// Does something in this place.
    pub async fn scope<F: Future>(self: Arc<Self>, work: F) -> F::Output {
        TURN.scope(self, work).await
    }
}

impl From<Arc<Turn>> for Away {
    fn from(turn: Arc<Turn>) -> Away {
        let mut waiting = lock(&turn.waiting);
        *waiting += 1;
        if *waiting == 1 {
            turn.width.leave();
        }
        drop(waiting);
        let _outer = turn.outer.clone().map(|outer| Box::new(Away::from(outer)));
        Away { turn, _outer }
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        let mut waiting = lock(&self.turn.waiting);
        *waiting -= 1;
        // Whoever is under way goes on at once, also where others have begun meanwhile.
        if *waiting == 0 {
            *lock(&self.turn.width.working) += 1;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.width.leave();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty do something for a while, seventeen of them wait for a host for an hour, and the width is two.
    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_host_is_not_counted() {
        let (width, outer) = (Width::new(2), Width::new(1));
        let began = tokio::time::Instant::now();
        let at_once = Arc::new(Mutex::new((0, 0)));
        let work = (0..20).map(|n| {
            let at_once = at_once.clone();
            async move {
                if n < 17 {
                    wait(turn(), tokio::time::sleep(Duration::from_secs(3600))).await;
                    return n;
                }
                {
                    let mut now = lock(&at_once);
                    now.0 += 1;
                    now.1 = now.1.max(now.0);
                }
                tokio::time::sleep(Duration::from_secs(60)).await;
                lock(&at_once).0 -= 1;
                assert!(began.elapsed() < Duration::from_secs(1800), "{n} was held up");
                n
            }
        });
        let pass = outer.begin().unwrap();
        assert!(outer.begin().is_none());
        let all = tokio::spawn({
            let (width, work) = (width.clone(), work.collect::<Vec<_>>());
            pass.scope(async move { width.all(work).await })
        });
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(outer.begin().is_some(), "what it is a part of waits with it");
        assert_eq!(all.await.unwrap(), (0..20).collect::<Vec<_>>());
        assert_eq!(lock(&at_once).1, 2, "those who work are counted");
        assert_eq!(*lock(&width.working), 0);
        assert!(outer.begin().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_is_counted_and_what_stands_still_is_not() {
        let (width, so_far) = (Width::new(1), Arc::new(AtomicU64::new(0)));
        let turn = width.begin().unwrap();
        let moving = {
            let so_far = so_far.clone();
            async move {
                for _ in 0..100 {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    so_far.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_secs(50)).await;
            }
        };
        let waits = tokio::spawn({
            let (turn, so_far) = (turn.clone(), so_far.clone());
            async move { wait_while_still(Some(turn), &so_far, moving).await }
        });
        tokio::time::sleep(Duration::from_secs(45)).await;
        assert!(width.begin().is_none(), "it moves");
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(width.begin().is_some(), "it stands still");
        waits.await.unwrap();
        drop(turn);
        assert_eq!(*lock(&width.working), 0);
    }
}
