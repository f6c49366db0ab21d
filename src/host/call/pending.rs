//! What was asked of one agent and is not answered yet: who waits, what was given to a stream, what arrived. Knows no stream.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::{Semaphore, oneshot, watch};

use crate::host::call::stream::Reconnect;
use crate::host::lock;
use crate::host::wire::frame::{Frame, WINDOW};
use crate::host::wire::{Answer, HostError, Reply};

/// What callers share with the task that carries the frames. It holds no sender of frames: it must not keep the connection
/// open.
pub(in crate::host) struct Pending {
    next: AtomicU64,
    calls: Mutex<Calls>,
    cancelled: watch::Sender<BTreeMap<String, String>>,
    /// Heartbeats under way: an agent that is asked every second and is silent is not there any more.
    pub(in crate::host) beats: AtomicUsize,
    /// The agent keeps answers until it hears that they arrived.
    keeps: bool,
    /// How another stream is had when this one is lost.
    pub(in crate::host) reconnect: Mutex<Option<Arc<dyn Reconnect>>>,
}

#[derive(Default)]
struct Calls {
    by_id: HashMap<u64, Waiting>,
    /// Answers that the agent need not keep any longer.
    got: Vec<u64>,
    /// When the last answer came.
    heard: Option<Instant>,
    /// Why nothing will be answered any more.
    dead: Option<String>,
}

struct Waiting {
    root: String,
    answer: oneshot::Sender<Result<Reply, HostError>>,
    /// The call, once it was given to a stream: another one may have to carry it again.
    sent: Option<Arc<Frame>>,
    /// What an upload may send.
    window: Option<Arc<Semaphore>>,
}

/// A caller that stops waiting leaves nothing behind.
pub(in crate::host) struct Forget<'a> {
    pending: &'a Pending,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(&self.pending.calls).by_id.remove(&self.id);
    }
}

/// Where an answer comes.
pub(in crate::host) type Answered = oneshot::Receiver<Result<Reply, HostError>>;

impl Pending {
    /// `keeps`: the agent keeps answers until it hears that they arrived.
    pub(in crate::host) fn new(keeps: bool) -> Pending {
        Pending {
            next: AtomicU64::new(1),
            calls: Mutex::default(),
            cancelled: watch::Sender::new(BTreeMap::new()),
            beats: AtomicUsize::new(0),
            keeps,
            reconnect: Mutex::default(),
        }
    }

    /// When the last answer came.
    pub(in crate::host) fn heard(&self) -> Option<Instant> {
        lock(&self.calls).heard
    }

    /// Whether nothing will be answered any more.
    pub(in crate::host) fn is_dead(&self) -> bool {
        lock(&self.calls).dead.is_some()
    }

    /// The roots whose run a person asked to stop, and who that was.
    pub(in crate::host) fn cancellations(&self) -> watch::Receiver<BTreeMap<String, String>> {
        self.cancelled.subscribe()
    }

    /// Forgets a call when the guard is dropped.
    pub(in crate::host) fn forget_at_end(&self, id: u64) -> Forget<'_> {
        Forget { pending: self, id }
    }

    /// Notes a call: its number, and where its answer will come.
    pub(in crate::host) fn register(
        &self,
        root: &str,
        window: Option<Arc<Semaphore>>,
    ) -> Result<(u64, Answered), HostError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let mut calls = lock(&self.calls);
        if let Some(why) = &calls.dead {
            return Err(lost(why));
        }
        calls.by_id.insert(id, Waiting { root: root.to_owned(), answer, sent: None, window });
        Ok((id, answered))
    }

    /// What came from the agent.
    pub(in crate::host) fn take(&self, frame: Frame) {
        match frame {
            Frame::Answer(answer) => {
                let Answer { id, result, cancelled } = *answer;
                // First the wish, then the answer: who was answered finds the wish that came with it.
                let root = lock(&self.calls).by_id.get(&id).map(|waiting| waiting.root.clone());
                if let Some(root) = root {
                    self.note_cancelled(root, cancelled);
                }
                self.settle(id, result);
            }
            Frame::Credit { call, bytes } => {
                if let Some(window) = lock(&self.calls).by_id.get(&call).and_then(|waiting| waiting.window.as_ref()) {
                    // An agent gives back what it took, never more: a larger number would be a broken one.
                    window.add_permits(usize::try_from(bytes.min(WINDOW)).unwrap_or(0));
                }
            }
            _ => {}
        }
    }

    /// Answers a call.
    pub(in crate::host) fn settle(&self, id: u64, result: Result<Reply, HostError>) {
        let mut calls = lock(&self.calls);
        calls.heard = Some(Instant::now());
        if self.keeps {
            calls.got.push(id);
        }
        if let Some(waiting) = calls.by_id.remove(&id) {
            let _ = waiting.answer.send(result);
        }
    }

    /// A call is about to be given to a stream: from now on it has to be carried again when that is lost.
    pub(in crate::host) fn sending(&self, frame: &Arc<Frame>) {
        if let Frame::Call(call) = &**frame
            && let Some(waiting) = lock(&self.calls).by_id.get_mut(&call.id)
        {
            waiting.sent = Some(frame.clone());
        }
    }

    /// Whether an upload is under way.
    pub(in crate::host) fn uploads(&self) -> bool {
        lock(&self.calls).by_id.values().any(|waiting| waiting.window.is_some())
    }

    /// The answers that arrived since this was asked last.
    pub(in crate::host) fn got(&self) -> Vec<u64> {
        std::mem::take(&mut lock(&self.calls).got)
    }

    /// The stream was lost. An upload is not taken up where it was: what was under way is lost, and who asked for it asks
    /// again what is missing.
    pub(in crate::host) fn interrupt_uploads(&self) {
        let mut calls = lock(&self.calls);
        let uploads = calls.by_id.extract_if(|_, waiting| waiting.window.is_some() && waiting.sent.is_some());
        for (_, waiting) in uploads.collect::<Vec<_>>() {
            let text = "the connection broke during the upload".to_owned();
            let _ = waiting.answer.send(Err(HostError::Interrupted(text)));
        }
    }

    /// The calls that were given to a stream and have no answer, by number.
    pub(in crate::host) fn unanswered(&self) -> BTreeMap<u64, Arc<Frame>> {
        let calls = lock(&self.calls);
        calls.by_id.iter().filter_map(|(id, waiting)| Some((*id, waiting.sent.clone()?))).collect()
    }

    fn note_cancelled(&self, root: String, by: Option<String>) {
        self.cancelled.send_if_modified(|all| match by {
            Some(by) => all.insert(root, by.clone()) != Some(by),
            None => all.remove(&root).is_some(),
        });
    }

    /// Nothing will be answered any more: everyone who waits hears why.
    pub(in crate::host) fn die(&self, why: &str) {
        let mut calls = lock(&self.calls);
        calls.dead.get_or_insert_with(|| why.to_owned());
        for (_, waiting) in calls.by_id.drain() {
            let _ = waiting.answer.send(Err(lost(why)));
        }
    }

    /// Why there is no answer.
    pub(in crate::host) fn why(&self) -> HostError {
        lost(lock(&self.calls).dead.as_deref().unwrap_or("the connection to the agent was closed"))
    }
}

/// Nobody knows what became of it.
pub(in crate::host) fn lost(why: &str) -> HostError {
    HostError::Connection(
        format!("{why}; whether what was asked for happened is unknown until the host is observed again").into(),
    )
}
